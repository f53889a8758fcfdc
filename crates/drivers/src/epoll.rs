//! `epoll(7)`, level-triggered.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use marline_core::Time;
use marline_core::driver::{Driver, Woken};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::alarm::Alarm;
use crate::readiness::{Interest, Readiness, Ready, Selector};

/// Makes the driver.
pub(crate) fn open() -> io::Result<Box<dyn Driver>> {
    Ok(Box::new(Readiness::<Epoll>::new()?))
}

/// Looks whether the driver can work here, and on what.
pub(crate) fn probe() -> io::Result<String> {
    Epoll::new()?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let kernel: Vec<&str> = release.split(['.', '-']).take(2).collect();
    Ok(format!("kernel {}, eventfd, accept4", kernel.join(".")))
}

/// An epoll set and the events of its last wait.
///
/// Waits have no time-out: among what the set holds is an [`Alarm`]. So no timer is early, none a millisecond late, and a wait that an event
/// ends reads no clock and costs one system call. The alarm is edge-triggered: it is reported once, and never read.
pub(crate) struct Epoll {
    set: OwnedFd,
    alarm: Alarm,
    events: Vec<epoll::Event>,
}

impl Selector for Epoll {
    const NAME: &'static str = "epoll";

    fn new() -> Result<Self, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let alarm = Alarm::new()?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&set, alarm.descriptor(), epoll::EventData::new_u64(ALARM), flags)?;
        Ok(Self { set, alarm, events: Vec::with_capacity(EVENTS) })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<(), Errno> {
        epoll::add(&self.set, fd, epoll::EventData::new_u64(token), flags(interest))
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<(), Errno> {
        epoll::modify(&self.set, fd, epoll::EventData::new_u64(token), flags(interest))
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        epoll::delete(&self.set, fd)
    }

    #[inline]
    fn wait(&mut self, until: Option<Time>) -> Result<Woken, Errno> {
        if until.is_none() && !self.alarm.is_set() {
            self.collect(None)?;
            return Ok(Woken::Before);
        }
        self.wait_until(until)
    }

    #[inline]
    fn ready(&self, at: usize) -> Option<Ready> {
        // A copy, for its fields are not aligned.
        let epoll::Event { flags, data } = *self.events.get(at)?;
        Some(Ready { token: data.u64(), bits: flags.bits() })
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.set.as_fd())
    }
}

impl Epoll {
    #[inline(never)]
    fn wait_until(&mut self, until: Option<Time>) -> Result<Woken, Errno> {
        if until == Some(Time::ZERO) {
            self.collect(Some(&Timespec::default()))?;
            if self.alarm_rang() {
                self.alarm.heard();
            }
            return Ok(Woken::Perhaps);
        }
        loop {
            if let Some(until) = until {
                self.alarm.set(until)?;
            }
            self.collect(None)?;
            if !self.alarm_rang() {
                // With more than fits in one wait the alarm may have to wait for its turn.
                let all = self.events.len() < EVENTS;
                return Ok(if all { Woken::Before } else { Woken::Perhaps });
            }
            // It may have been set for a moment that nobody waits for any more.
            let is_due =
                self.alarm.heard().is_some_and(|set| until.is_some_and(|until| set >= until));
            if is_due || self.events.len() > 1 {
                return Ok(Woken::Perhaps);
            }
        }
    }

    /// One wait. A signal ends it with nothing collected.
    #[inline(always)]
    fn collect(&mut self, timeout: Option<&Timespec>) -> Result<(), Errno> {
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the alarm is among what was collected. There it stays, under a token that no handle has.
    #[inline]
    fn alarm_rang(&self) -> bool {
        self.events.iter().any(|&epoll::Event { data, .. }| data.u64() == ALARM)
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll").field("set", &self.set).finish_non_exhaustive()
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    epoll::EventFlags::from_bits_retain(interest.bits())
}

/// How many events one wait collects at most, 12 bytes each.
const EVENTS: usize = 1024;
/// The token of the alarm: that of a handle which the table never gives out.
const ALARM: u64 = u64::MAX;
