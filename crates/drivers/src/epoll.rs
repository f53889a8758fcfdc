//! `epoll(7)`, level-triggered.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use marline_core::Time;
use marline_core::driver::Driver;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use crate::readiness::{Interest, Readiness, Ready, Selector};
use crate::socket::monotonic;

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
pub(crate) struct Epoll {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Selector for Epoll {
    const NAME: &'static str = "epoll";

    fn new() -> Result<Self, Errno> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { set, events: Vec::with_capacity(EVENTS) })
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
    fn wait(&mut self, until: Option<Time>) -> Result<(), Errno> {
        match until {
            None => self.collect(None).map(drop),
            Some(until) => self.wait_until(until),
        }
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
    /// `epoll_pwait` counts whole milliseconds. It waits for those that fit; what remains of a wait that brought nothing is slept off
    /// in `ppoll`, which counts nanoseconds on every kernel. So no timer is early, none a millisecond late, and a wait that an event
    /// ends costs one system call.
    #[inline(never)]
    fn wait_until(&mut self, until: Time) -> Result<(), Errno> {
        let timeout = if until == Time::ZERO { Duration::ZERO } else { until - monotonic() };
        let whole = timeout.as_millis().min(LONGEST_MILLIS) as u64;
        let ended = self.collect(Some(&timespec(Duration::from_millis(whole))))?;
        if ended || timeout.is_zero() || u128::from(whole) == LONGEST_MILLIS {
            return Ok(());
        }
        self.sleep_off(until - monotonic())
    }

    /// One wait; whether something ended it before its time.
    #[inline(always)]
    fn collect(&mut self, timeout: Option<&Timespec>) -> Result<bool, Errno> {
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), timeout) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Waits for less than a millisecond, after which the set is looked at once more.
    #[cold]
    fn sleep_off(&mut self, rest: Duration) -> Result<(), Errno> {
        if rest.is_zero() {
            return Ok(());
        }
        let ended = poll(&mut [PollFd::new(&self.set, PollFlags::IN)], Some(&timespec(rest)));
        match ended {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => self.collect(Some(&timespec(Duration::ZERO))).map(drop),
            Err(error) => Err(error),
        }
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

/// Exact: what comes here is bounded by [`LONGEST_MILLIS`].
fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// How many events one wait collects at most, 12 bytes each.
const EVENTS: usize = 1024;
/// A day: longer waits end early, which a reactor takes for nothing having happened. The kernel takes 24 days.
const LONGEST_MILLIS: u128 = 24 * 60 * 60 * 1000;
