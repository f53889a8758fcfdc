//! Time-outs: a chain is cancelled if its result has not come after some time.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::Deferred;
use super::cancel::CancelHandle;
use super::interrupt::Fault;
use super::outcome::Step;
use crate::{DelayedCall, Reactor};

/// # Time-outs
impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Cancels this deferred if its result has not come `after` so long, and makes [`Interrupt::TimedOut`](super::Interrupt::TimedOut) of the
    /// [`Interrupt::Cancelled`](super::Interrupt::Cancelled) that comes of it.
    ///
    /// Only what is before it is covered: steps added to the deferred that this returns have all the time they want. If the steps before
    /// it make something else of the cancel, a value or an error of their own, that stands; so does a cancel that was not the
    /// time-out's. The timer is gone as soon as a result passes. If the reactor is closed or dropped before, there is no time-out any more.
    ///
    /// A `Cancelled` is known as such inside a [`Failure`](crate::failure::Failure) however it came here. Inside an error type of your own it is
    /// known if it came along the chain, also through [`map_err`](Self::map_err) and [`Resolver::follow`](super::Resolver::follow); if a step
    /// returned it anew, or a resolver was fired with it, it stays what it is: see [`timeout_with`](Self::timeout_with).
    ///
    /// ```
    /// use std::time::Duration;
    /// use marline_core::deferred::{Deferred, Interrupt};
    /// use marline_core::testing::{TestReactor, failure_result_of};
    ///
    /// let reactor = TestReactor::new();
    /// let (answer, resolver) = Deferred::<String>::new();
    /// let answer = answer.timeout(&reactor, Duration::from_secs(10));
    /// reactor.advance(Duration::from_secs(10));
    /// assert!(resolver.is_cancelled());
    /// assert_eq!(failure_result_of(answer).check(), Some(&Interrupt::TimedOut));
    /// ```
    #[track_caller]
    #[doc(alias = "addTimeout")]
    pub fn timeout(self, reactor: &Reactor, after: Duration) -> Self {
        self.timed(reactor, after, Location::caller(), |result| match result {
            Ok(value) => Step::Value(value),
            Err(error) => Step::TimedOut(error),
        })
    }

    /// Cancels this deferred if its result has not come `after` so long, and then gives what comes of it to `f`, to be replaced. `f` is called only
    /// after a time-out, whatever came of it. All else is as with [`timeout`](Self::timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use marline_core::deferred::Deferred;
    /// use marline_core::testing::{TestReactor, success_result_of};
    ///
    /// let reactor = TestReactor::new();
    /// let (answer, _resolver) = Deferred::<u16>::new();
    /// let answer = answer.timeout_with(&reactor, Duration::from_secs(10), |result| result.or(Ok(80)));
    /// reactor.advance(Duration::from_secs(10));
    /// assert_eq!(success_result_of(answer), 80);
    /// ```
    #[track_caller]
    #[doc(alias = "onTimeoutCancel")]
    pub fn timeout_with(
        self,
        reactor: &Reactor,
        after: Duration,
        f: impl FnOnce(Result<T, E>) -> Result<T, E> + 'static,
    ) -> Self {
        self.timed(reactor, after, Location::caller(), |result| f(result).into())
    }

    #[track_caller]
    fn timed(
        self,
        reactor: &Reactor,
        after: Duration,
        site: &'static Location<'static>,
        too_late: impl FnOnce(Result<T, E>) -> Step<T, E> + 'static,
    ) -> Self {
        if self.is_ready() {
            return self;
        }
        let limit = Limit::set(reactor, after, self.cancel_handle());
        self.step(site, move |result| match result {
            result if limit.is_over() => too_late(result),
            Ok(value) => Step::Value(value),
            Err(error) => Step::Passed(error),
        })
    }
}

/// The time-out of one deferred. Dropped, it lets go of its timer.
struct Limit {
    timer: DelayedCall,
    /// Whether the timer has run. (Its handle cannot tell for ever: another timer takes its place.)
    over: Rc<Cell<bool>>,
}

impl Limit {
    #[track_caller]
    fn set(reactor: &Reactor, after: Duration, handle: CancelHandle) -> Self {
        let over = Rc::new(Cell::new(false));
        let in_timer = Rc::clone(&over);
        let timer = reactor.call_later(after, move |_| {
            in_timer.set(true);
            handle.cancel();
        });
        Self { timer, over }
    }

    fn is_over(&self) -> bool {
        self.over.get()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // If it has run, or its reactor has closed, there is nothing left to let go of.
        let _ = self.timer.cancel();
    }
}
