//! A timer that a selector keeps among its descriptors, so that a wait needs neither a time-out nor the clock. Its one user so far is `epoll.rs`;
//! nothing in it is epoll's own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use marline_core::Time;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A `timerfd` of the monotonic clock, which becomes readable at a moment, to the nanosecond, and never before it.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    /// For when it is set; `None` if it is not, or its ringing was heard.
    set: Option<Time>,
}

impl Alarm {
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Monotonic, flags)?, set: None })
    }

    /// Whether it will become readable, or is and nobody has heard it.
    #[inline]
    pub(crate) const fn is_set(&self) -> bool {
        self.set.is_some()
    }

    /// Has it ring at `moment` at the latest, which is not [`Time::ZERO`]. One that is set for an earlier moment stays as it is: a deadline that
    /// is put off again and again costs no system call.
    #[inline]
    pub(crate) fn set(&mut self, moment: Time) -> Result<(), Errno> {
        match self.set {
            Some(set) if set <= moment => Ok(()),
            _ => self.arm(moment),
        }
    }

    #[cold]
    fn arm(&mut self, moment: Time) -> Result<(), Errno> {
        const SECOND: u64 = 1_000_000_000;
        let nanos = moment.as_nanos();
        let value = Timespec { tv_sec: (nanos / SECOND) as i64, tv_nsec: (nanos % SECOND) as i64 };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.set = Some(moment);
        Ok(())
    }

    /// Takes note that it has rung; for when it had been set. It stays readable until it is set anew.
    pub(crate) fn heard(&mut self) -> Option<Time> {
        self.set.take()
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
