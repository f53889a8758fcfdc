//! The steps of a chain: what is to be done with a result, by side (value, error, both) and by what the step returns (a value, a `Result`,
//! a `Deferred`).

use std::panic::Location;

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use super::outcome::Step;

/// # Steps for a value
///
/// An error passes them by.
impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Makes another value of the value.
    #[track_caller]
    #[doc(alias = "addCallback")]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> Deferred<U, E> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => Step::Value(f(value)),
            Err(error) => Step::Passed(error),
        })
    }

    /// Makes a result of the value.
    #[track_caller]
    #[doc(alias = "addCallback")]
    pub fn and_then<U: 'static>(
        self,
        f: impl FnOnce(T) -> Result<U, E> + 'static,
    ) -> Deferred<U, E> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => f(value).into(),
            Err(error) => Step::Passed(error),
        })
    }

    /// Makes another deferred of the value, and waits for it.
    ///
    /// A step that returns the very deferred that waits for it gets [`Interrupt::Abandoned`]. One that returns a deferred further down its
    /// own chain makes that chain wait for ever.
    #[track_caller]
    #[doc(alias = "addCallback")]
    pub fn then<U: 'static>(self, f: impl FnOnce(T) -> Deferred<U, E> + 'static) -> Deferred<U, E> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => Step::Wait(f(value)),
            Err(error) => Step::Passed(error),
        })
    }
}

/// # Steps for an error
///
/// A value passes them by.
impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Makes another error of the error.
    #[track_caller]
    #[doc(alias = "addErrback")]
    pub fn map_err<E2: Fault>(self, f: impl FnOnce(E) -> E2 + 'static) -> Deferred<T, E2> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => Step::Value(value),
            Err(error) => Step::Passed(f(error)),
        })
    }

    /// Makes a value of the error.
    #[track_caller]
    #[doc(alias = "addErrback")]
    pub fn recover(self, f: impl FnOnce(E) -> T + 'static) -> Self {
        self.step(Location::caller(), move |result| {
            Step::Value(match result {
                Ok(value) => value,
                Err(error) => f(error),
            })
        })
    }

    /// Makes a result of the error.
    #[track_caller]
    #[doc(alias = "addErrback")]
    pub fn or_else<E2: Fault>(
        self,
        f: impl FnOnce(E) -> Result<T, E2> + 'static,
    ) -> Deferred<T, E2> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => Step::Value(value),
            Err(error) => f(error).into(),
        })
    }

    /// Makes another deferred of the error, and waits for it.
    #[track_caller]
    #[doc(alias = "addErrback")]
    pub fn or_then<E2: Fault>(
        self,
        f: impl FnOnce(E) -> Deferred<T, E2> + 'static,
    ) -> Deferred<T, E2> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => Step::Value(value),
            Err(error) => Step::Wait(f(error)),
        })
    }
}

/// # Steps for either
impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Makes a result of the result.
    #[track_caller]
    #[doc(alias = "addBoth")]
    pub fn both<U: 'static, E2: Fault>(
        self,
        f: impl FnOnce(Result<T, E>) -> Result<U, E2> + 'static,
    ) -> Deferred<U, E2> {
        self.step(Location::caller(), move |result| f(result).into())
    }

    /// Makes another deferred of the result, and waits for it.
    #[track_caller]
    #[doc(alias = "addBoth")]
    pub fn both_then<U: 'static, E2: Fault>(
        self,
        f: impl FnOnce(Result<T, E>) -> Deferred<U, E2> + 'static,
    ) -> Deferred<U, E2> {
        self.step(Location::caller(), move |result| Step::Wait(f(result)))
    }

    /// Calls one of two functions, on one level: `on_error` does not see an error that `on_value` returns.
    #[track_caller]
    #[doc(alias = "addCallbacks")]
    pub fn either<U: 'static, E2: Fault>(
        self,
        on_value: impl FnOnce(T) -> Result<U, E2> + 'static,
        on_error: impl FnOnce(E) -> Result<U, E2> + 'static,
    ) -> Deferred<U, E2> {
        self.step(Location::caller(), move |result| match result {
            Ok(value) => on_value(value).into(),
            Err(error) => on_error(error).into(),
        })
    }

    /// Calls one of two functions, as [`either`](Self::either) does, and waits for the deferred it returns.
    #[track_caller]
    #[doc(alias = "addCallbacks")]
    pub fn either_then<U: 'static, E2: Fault>(
        self,
        on_value: impl FnOnce(T) -> Deferred<U, E2> + 'static,
        on_error: impl FnOnce(E) -> Deferred<U, E2> + 'static,
    ) -> Deferred<U, E2> {
        self.step(Location::caller(), move |result| {
            Step::Wait(match result {
                Ok(value) => on_value(value),
                Err(error) => on_error(error),
            })
        })
    }

    /// Calls `f` whatever the result is, which goes on unchanged.
    #[track_caller]
    #[doc(alias = "addBoth")]
    pub fn finally(self, f: impl FnOnce() + 'static) -> Self {
        self.step(Location::caller(), move |result| {
            f();
            match result {
                Ok(value) => Step::Value(value),
                Err(error) => Step::Passed(error),
            }
        })
    }
}

/// # The end of a chain
impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Gives the result to `f`; nothing comes after. A panic in `f` is logged as an unhandled failure.
    #[track_caller]
    pub fn done(self, f: impl FnOnce(Result<T, E>) + 'static) {
        drop(self.step::<(), Interrupt>(Location::caller(), move |result| {
            f(result);
            Step::Value(())
        }));
    }

    /// Lets the chain run and drops its result, an error unlogged.
    #[track_caller]
    pub fn ignore(self) {
        self.done(drop);
    }
}
