//! Doubles and checks for tests of protocols: all in memory, in virtual time, without a system.
//!
//! | what | for |
//! |---|---|
//! | [`Case`] | a function on a reactor of its own, as the attribute `#[marline::test]` runs it |
//! | [`talk`], [`Conversation`], [`Step`] | a dialogue as a script |
//! | [`MemoryTransport`] | one protocol, driven by hand |
//! | [`Pump`], [`Chunks`] | two protocols joined, with the bytes between them cut at will |
//! | [`TestReactor`] | timers, ports and connections in a simulated network, with a clock the test moves |
//! | [`CapturedLog`] | what was logged; errors nobody expected fail the test |
//! | [`Leaks`] | what was left open |
//! | [`Stalls`] | callbacks that held the loop, on a kernel |
//! | [`success_result_of`], [`failure_result_of`], [`assert_no_result`] | what a Deferred has come to |
//!
//! A script is the shortest test; a [`MemoryTransport`] shows what lies between the lines; a network of many hosts, with faults, is in
//! [`sim`](crate::sim).

mod captured_log;
mod case;
mod leaks;
mod memory;
mod pump;
mod results;
mod stalls;
mod talk;
mod test_reactor;

pub use captured_log::CapturedLog;
pub use case::{Body, Case, Outcome, Prop, Seed, Stage};
pub use leaks::Leaks;
pub use memory::MemoryTransport;
pub use pump::{Chunks, Pump};
pub use results::{assert_no_result, failure_result_of, success_result_of};
pub use stalls::Stalls;
pub use talk::{Conversation, Step, talk};
pub use test_reactor::TestReactor;
pub use tracing::Level;
