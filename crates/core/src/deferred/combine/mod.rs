//! Several deferreds, one result: [`list`], [`gather`], [`race`] and their like over any number of one type, [`join`] over a few of
//! different types. Locks and queues are in [`sync`](crate::sync).
//!
//! | file | what |
//! |---|---|
//! | `gather.rs`, `race.rs`, `join.rs` | the combinations |
//! | `error.rs` | what they fail with |
//! | `junction.rs` | what they have in common: who is told, when, and what becomes of the rest |
//!
//! However many inputs there are, firing and cancelling them takes the stack of one. A combination that is an input of another fires inside
//! it: each such level takes the stack of a callback.

pub use self::error::{FailureGroup, FirstError};
pub use self::gather::{gather, gather_with, list};
pub use self::join::{Join, join};
pub use self::race::{first_value, race};

mod error;
mod gather;
mod join;
mod junction;
mod race;
#[cfg(test)]
mod tests;

/// What becomes of the other inputs of a combination once its result is known. A cancelled combination has cancelled them all, and hears
/// none of them after its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// They run on. Their values are dropped; their errors are logged as failures nobody looked at.
    RunOn,
    /// They run on, and whatever they come to is dropped.
    #[doc(alias = "consumeErrors")]
    Ignore,
    /// They are cancelled, before anything that waits for the combination runs, and whatever they come to is dropped.
    Cancel,
}
