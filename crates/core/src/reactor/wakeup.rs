//! When the reactor has to look at its timers: it keeps a moment before which none is due, and hands that to the driver. As long as no driver says
//! that it may have come, and no timer is set before it, a turn reads no clock for the timers and asks their queue nothing. The queue is in
//! `timers/`, running what is due in `turn.rs`.

use std::cell::Cell;

use super::inner::{Inner, Timer};
use crate::Time;
use crate::timers::Key;

/// What is known about the earliest deadline without looking.
pub(super) struct Wakeup {
    /// No timer is due earlier; `None` if there is none. May be earlier than the earliest: of one that is cancelled or put off nothing is
    /// noted.
    earliest: Cell<Option<Time>>,
    /// Whether the next turn is to look.
    look: Cell<bool>,
}

impl Wakeup {
    pub(super) const fn new() -> Self {
        Self { earliest: Cell::new(None), look: Cell::new(false) }
    }

    #[inline]
    pub(super) fn earliest(&self) -> Option<Time> {
        self.earliest.get()
    }

    /// Whether the timers are to be looked at before the next wait.
    #[inline]
    pub(super) fn is_to_look(&self) -> bool {
        self.look.get()
    }

    /// A deadline may have come.
    #[inline]
    pub(super) fn look(&self) {
        self.look.set(true);
    }

    /// The timers were looked at: `earliest` is the first deadline that is left.
    pub(super) fn looked(&self, earliest: Option<Time>) {
        self.earliest.set(earliest);
        self.look.set(false);
    }

    /// A timer was set.
    #[inline]
    fn set(&self, deadline: Time) {
        if self.earliest.get().is_none_or(|earliest| deadline < earliest) {
            self.earliest.set(Some(deadline));
            self.look.set(true);
        }
    }
}

impl Inner {
    /// Has something called at a moment.
    pub(crate) fn set_timer(&self, deadline: Time, timer: Timer) -> Key {
        self.wakeup.set(deadline);
        self.timers.borrow_mut().insert(deadline.as_nanos(), timer)
    }

    /// Puts a timer off, or sets it earlier; whether it is pending.
    pub(crate) fn reset_timer(&self, key: Key, deadline: Time) -> bool {
        let pending = self.timers.borrow_mut().set_deadline(key, deadline.as_nanos());
        if pending {
            self.wakeup.set(deadline);
        }
        pending
    }

    /// Takes a timer back if it is pending: to be dropped by the caller, who has nothing borrowed.
    pub(crate) fn cancel_timer(&self, key: Key) -> Option<Timer> {
        let mut timers = self.timers.borrow_mut();
        let timer = timers.cancel(key);
        if timers.is_untidy() {
            self.wakeup.look();
        }
        timer
    }

    /// The earliest deadline, exactly.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() { None } else { timers.next_deadline().map(Time::from_nanos) }
    }

    /// What is known after all that was due at `now` has been called.
    pub(super) fn note_wakeup(&self, now: Time) {
        let earliest = self.next_deadline();
        // A driver that is asked to wait until a moment of the past may need a system call to find that out.
        self.wakeup.looked(earliest.map(|moment| if moment <= now { Time::ZERO } else { moment }));
        if self.timers.borrow().is_untidy() {
            self.wakeup.look();
        }
    }
}
