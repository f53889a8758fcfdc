//! Work that goes on for a while: calls in equal steps of time, waiting, long computations in slices, a program of one task.
//!
//! | what | for |
//! |---|---|
//! | [`LoopingCall`] | a function called in equal steps of time |
//! | [`Reactor::sleep`](crate::Reactor::sleep), [`defer_later`](crate::Reactor::defer_later) | a Deferred that fires later |
//! | [`Cooperator`], [`CooperativeTask`] | long computations, a slice a turn, so that connections are not kept waiting |
//! | [`Slices`], [`Reactor::yield_now`](crate::Reactor::yield_now) | the same for futures |
//! | [`react`], [`Exit`] | a program that ends with its main task |
//!
//! # Where time stands still
//!
//! Work that is to go on in the next turn (a looping call without an interval, the next slice) lets the turn's completions in between. In a
//! simulation a turn takes no time, and work that always goes on at once would hold the clock for ever. There it is called again a
//! millisecond later.

mod cooperative;
mod cooperator;
mod grid;
mod looping;
mod outcome;
mod pace;
mod react;
mod sleep;
mod slice;
#[cfg(test)]
mod tests;

pub use cooperative::{CooperativeTask, TaskEnd, TaskError};
pub use cooperator::Cooperator;
pub use looping::{AlreadyLooping, LoopingCall, NotLooping};
pub use outcome::TaskResult;
pub use react::{Exit, MainResult, react};
pub use slice::{Slice, Slices};
