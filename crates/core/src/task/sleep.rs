//! Deferreds that fire later.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::TaskResult;
use super::pace::next_turn;
use crate::deferred::{Deferred, Interrupt, Resolver};
use crate::{DelayedCall, Reactor, Time};

/// # Waiting
impl Reactor {
    /// Fires after `delay`, in a turn of its own. Cancelling it takes the timer back; so does dropping it once a future has begun to await it. It
    /// fails with [`Interrupt::Abandoned`] if the reactor is closed first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use marline_core::testing::TestReactor;
    ///
    /// let reactor = TestReactor::new();
    /// let clock = (*reactor).clone();
    /// let waited = reactor.spawn(async move {
    ///     let begin = clock.now();
    ///     clock.sleep(Duration::from_secs(3600)).await?;
    ///     Ok::<_, marline_core::failure::Failure>(clock.now() - begin)
    /// });
    /// assert_eq!(reactor.result_of(waited)??, Duration::from_secs(3600)); // an hour of virtual time
    /// # Ok::<(), marline_core::failure::Failure>(())
    /// ```
    #[track_caller]
    #[doc(alias = "deferLater")]
    pub fn sleep(&self, delay: Duration) -> Deferred<()> {
        self.sleep_until(self.now() + delay)
    }

    /// Fires at a moment, or in the next turn if that has passed; otherwise as [`sleep`](Self::sleep).
    #[track_caller]
    pub fn sleep_until(&self, moment: Time) -> Deferred<()> {
        let nap = Rc::new(Nap::default());
        let weak = Rc::downgrade(&nap);
        let (deferred, resolver) = Deferred::with_canceller(move || {
            if let Some(nap) = weak.upgrade() {
                nap.cancel();
            }
        });
        nap.resolver.set(Some(resolver));
        let sleeper = Rc::clone(&nap);
        let call = self.call_at_from(moment, Location::caller(), move |_| sleeper.end());
        nap.call.set(Some(call));
        deferred
    }

    /// Calls `f` after `delay` and fires with what that comes to. Cancelled before, it takes the timer back; afterwards, it cancels the Deferred
    /// that `f` has returned. A panic in `f` is an error.
    ///
    /// ```
    /// use std::time::Duration;
    /// use marline_core::testing::TestReactor;
    ///
    /// let reactor = TestReactor::new();
    /// let later = reactor.defer_later(Duration::from_secs(60), |_| "8080".parse::<u16>());
    /// assert_eq!(reactor.result_of(later)?, 8080);
    /// # Ok::<(), marline_core::failure::Failure>(())
    /// ```
    #[track_caller]
    #[doc(alias = "deferLater")]
    pub fn defer_later<R: TaskResult>(
        &self,
        delay: Duration,
        f: impl FnOnce(&Self) -> R + 'static,
    ) -> Deferred<R::Value> {
        let inner = Rc::downgrade(self.inner());
        self.sleep(delay).then(move |()| match inner.upgrade() {
            Some(inner) => f(&Self::from_inner(&inner)).into_deferred(),
            None => Deferred::failed(Interrupt::Abandoned.into()),
        })
    }

    /// Fires in the next turn, after connections had theirs: for a future that computes for long and lets others go on now and then. See
    /// [`Slices`](super::Slices) for one that does so in every one of many short steps.
    #[track_caller]
    pub fn yield_now(&self) -> Deferred<()> {
        self.sleep_until(next_turn(self.inner()))
    }
}

/// A Deferred that waits for its timer, as the two ends see it that can end that.
#[derive(Default)]
struct Nap {
    resolver: Cell<Option<Resolver<()>>>,
    call: Cell<Option<DelayedCall>>,
}

impl Nap {
    fn end(&self) {
        if let Some(resolver) = self.resolver.take() {
            resolver.resolve(());
        }
    }

    fn cancel(&self) {
        // Taken out first: dropped with the timer it would fire that it was abandoned.
        let resolver = self.resolver.take();
        if let Some(call) = self.call.take() {
            // It may be ringing.
            let _ = call.cancel();
        }
        if let Some(resolver) = resolver {
            resolver.fail(Interrupt::Cancelled.into());
        }
    }
}
