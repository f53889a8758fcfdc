//! The simulated network: hosts, links, faults and a virtual clock in one process, all from one seed.
//!
//! A [`World`] has [`Host`]s; a [`SimDriver`] on a host is a driver like the others, so a reactor and its protocols run here
//! unchanged. Nothing sleeps: time goes to the next event when nothing is left to do at the present one.
//! `net.rs` holds the state and the clock, the file of each other noun what happens to it.

mod bind;
mod datagram;
mod driver;
mod host;
mod link;
mod net;
mod process;
mod program;
mod queue;
mod service;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use driver::SimDriver;
pub use host::{Crash, Host};
pub use link::Link;
pub(crate) use program::Halt;
pub use program::Program;
pub use trace::Delivered;
pub use world::World;
