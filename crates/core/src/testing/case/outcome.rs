//! What a test function may return.

use std::fmt::Debug;

use crate::deferred::{Deferred, Fault};
use crate::failure::Failure;

/// What a test may come to: nothing, a `Result`, a [`Deferred`] of either.
pub trait Outcome: 'static {
    /// What is waited for.
    fn into_deferred(self) -> Deferred<()>;
}

impl Outcome for () {
    fn into_deferred(self) -> Deferred<()> {
        Deferred::ready(())
    }
}

impl<T: Outcome, E: Debug + 'static> Outcome for Result<T, E> {
    fn into_deferred(self) -> Deferred<()> {
        match self {
            Ok(value) => value.into_deferred(),
            Err(error) => Deferred::failed(Failure::msg(format!("{error:?}"))),
        }
    }
}

impl<T: Outcome, E: Fault + Debug> Outcome for Deferred<T, E> {
    fn into_deferred(self) -> Deferred<()> {
        self.both_then(Outcome::into_deferred)
    }
}
