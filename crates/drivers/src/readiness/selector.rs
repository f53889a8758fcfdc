//! What a readiness driver needs of the operating system, small enough that each is about a hundred lines.

use std::os::fd::BorrowedFd;

use marline_core::Time;
use marline_core::driver::{Handle, Woken};
use rustix::io::Errno;

/// Waits for descriptors to become ready, level-triggered.
pub(crate) trait Selector: Sized + 'static {
    /// The driver's name as people write it.
    const NAME: &'static str;

    /// Makes an empty set.
    fn new() -> Result<Self, Errno>;

    /// Adds a descriptor. Errors and hang-ups are reported for it whatever the interest.
    fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<(), Errno>;

    /// Changes what is waited for.
    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> Result<(), Errno>;

    /// Takes a descriptor out. A descriptor that is closed is taken out without it.
    fn remove(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno>;

    /// Waits until something is ready or the moment has come, never less; `None` is for ever, [`Time::ZERO`] not at all. An interruption by
    /// a signal ends the wait without an error. Answers whether the moment may have come; it has if nothing is ready.
    fn wait(&mut self, until: Option<Time>) -> Result<Woken, Errno>;

    /// What the last wait found, by number from zero.
    fn ready(&self, at: usize) -> Option<Ready>;

    /// The descriptor that becomes readable when something is ready.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// What is waited for: bits of `poll(2)`, which are those of `epoll(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest(u8);

impl Interest {
    /// Nothing; errors and hang-ups are reported all the same.
    pub(crate) const NONE: Self = Self(0);
    /// It can be read.
    pub(crate) const READ: Self = Self(READ as u8);
    /// It can be written.
    pub(crate) const WRITE: Self = Self(WRITE as u8);

    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Both of two.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without another.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it contains all of another.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits as `poll(2)` has them.
    pub(crate) const fn bits(self) -> u32 {
        self.0 as u32
    }
}

/// A descriptor that was found ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// As it was added.
    pub(crate) token: u64,
    /// Bits of `poll(2)`.
    pub(crate) bits: u32,
}

impl Ready {
    /// Whether it can be read, and that is all there is.
    #[inline]
    pub(crate) const fn only_readable(self) -> bool {
        self.bits == READ
    }

    /// Whether a read would bring something: bytes, the end or an error.
    pub(crate) const fn readable(self) -> bool {
        self.bits & (READ | ERROR | HANG_UP) != 0
    }

    /// Whether a write would bring something: room or an error.
    pub(crate) const fn writable(self) -> bool {
        self.bits & (WRITE | ERROR | HANG_UP) != 0
    }

    /// Whether there is room to write.
    pub(crate) const fn has_room(self) -> bool {
        self.bits & WRITE != 0
    }

    /// Whether an error waits.
    pub(crate) const fn failed(self) -> bool {
        self.bits & ERROR != 0
    }

    /// Whether both directions are at their end.
    pub(crate) const fn hung_up(self) -> bool {
        self.bits & HANG_UP != 0
    }

    /// The handle in the token.
    #[inline]
    pub(crate) const fn handle(self) -> Handle {
        Handle { index: self.token as u32, version: (self.token >> 32) as u32 }
    }
}

/// The token of a handle.
pub(super) const fn token(handle: Handle) -> u64 {
    (handle.version as u64) << 32 | handle.index as u64
}

const READ: u32 = 0x1;
const WRITE: u32 = 0x4;
const ERROR: u32 = 0x8;
const HANG_UP: u32 = 0x10;
