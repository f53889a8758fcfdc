//! Calls put off to a moment, and the handles on them.

use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Reactor;
use super::inner::{Inner, Timer};
use crate::Time;
use crate::timers::{Key, State};

impl Reactor {
    /// Runs `f` after `delay`, in a turn of its own: never from inside this method, and a delay of zero waits for the next turn. Of calls with one
    /// deadline the one scheduled first runs first. A panic in `f` is logged, and the reactor goes on.
    #[track_caller]
    #[doc(alias = "callLater")]
    pub fn call_later(&self, delay: Duration, f: impl FnOnce(&Self) + 'static) -> DelayedCall {
        self.call_at(self.now() + delay, f)
    }

    /// Runs `f` at a moment, or in the next turn if that has passed; otherwise as [`call_later`](Self::call_later).
    #[track_caller]
    pub fn call_at(&self, deadline: Time, f: impl FnOnce(&Self) + 'static) -> DelayedCall {
        self.call_at_from(deadline, Location::caller(), f)
    }

    /// The same for one that was asked for elsewhere.
    pub(crate) fn call_at_from(
        &self,
        deadline: Time,
        site: &'static Location<'static>,
        f: impl FnOnce(&Self) + 'static,
    ) -> DelayedCall {
        let key = self.0.set_timer(deadline, Timer { call: Box::new(f), site });
        DelayedCall { inner: Rc::downgrade(&self.0), key }
    }
}

/// A handle on a call that was put off. Dropping it does not cancel the call.
#[derive(Clone)]
#[doc(alias = "IDelayedCall")]
pub struct DelayedCall {
    inner: Weak<Inner>,
    key: Key,
}

impl DelayedCall {
    /// Cancels the call; its function is dropped at once.
    ///
    /// # Errors
    ///
    /// [`NotPending`] if it was called (also while it runs) or cancelled before.
    pub fn cancel(&self) -> Result<(), NotPending> {
        let inner = self.inner.upgrade().ok_or(NotPending::Cancelled)?;
        let cancelled = inner.cancel_timer(self.key);
        // The function is dropped here, outside the borrow.
        cancelled.map(drop).ok_or_else(|| self.why_not(&inner))
    }

    /// Puts the call off to `delay` from now, earlier or later. Later costs no more than writing a field.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub fn reset(&self, delay: Duration) -> Result<(), NotPending> {
        let inner = self.inner.upgrade().ok_or(NotPending::Cancelled)?;
        let deadline = inner.now() + delay;
        self.set(&inner, deadline)
    }

    /// Puts the call off by so much more than it was.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub fn delay(&self, by: Duration) -> Result<(), NotPending> {
        let inner = self.inner.upgrade().ok_or(NotPending::Cancelled)?;
        let deadline = self.deadline().ok_or_else(|| self.why_not(&inner))?;
        self.set(&inner, deadline + by)
    }

    /// Puts the call off to a moment, earlier or later.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub fn set_deadline(&self, deadline: Time) -> Result<(), NotPending> {
        let inner = self.inner.upgrade().ok_or(NotPending::Cancelled)?;
        self.set(&inner, deadline)
    }

    /// Whether the call is still to come: false from the moment its function begins.
    #[doc(alias = "active")]
    pub fn is_active(&self) -> bool {
        self.deadline().is_some()
    }

    /// When it is due, if it is still to come.
    #[doc(alias = "getTime")]
    pub fn deadline(&self) -> Option<Time> {
        let inner = self.inner.upgrade()?;
        let deadline = inner.timers.borrow().deadline(self.key)?;
        Some(Time::from_nanos(deadline))
    }

    fn set(&self, inner: &Inner, deadline: Time) -> Result<(), NotPending> {
        let set = inner.reset_timer(self.key, deadline);
        if set { Ok(()) } else { Err(self.why_not(inner)) }
    }

    fn why_not(&self, inner: &Inner) -> NotPending {
        match inner.timers.borrow().state(self.key) {
            State::Cancelled => NotPending::Cancelled,
            State::Called => NotPending::Called,
            State::Pending | State::Unknown => NotPending::Over,
        }
    }
}

impl fmt::Debug for DelayedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedCall").field("deadline", &self.deadline()).finish()
    }
}

/// A call is no longer to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPending {
    /// It was called, or is being called.
    #[doc(alias = "AlreadyCalled")]
    Called,
    /// It was cancelled, or its reactor is gone.
    #[doc(alias = "AlreadyCancelled")]
    Cancelled,
    /// It is long over, whichever it was.
    Over,
}

impl fmt::Display for NotPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Called => "the call was made already",
            Self::Cancelled => "the call was cancelled",
            Self::Over => "the call is long over",
        })
    }
}

impl std::error::Error for NotPending {}
