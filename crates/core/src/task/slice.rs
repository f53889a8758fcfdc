//! How long a computation may go on before others have their turn.

use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::pace::clock;
use crate::deferred::{Deferred, Interrupt};
use crate::reactor::inner::Inner;
use crate::{Reactor, Time};

/// How long a computation may go on at a time: until so much time has passed, or so many steps were done, whichever comes first. At least one step
/// is. The number bounds a slice where [time stands still](super#where-time-stands-still).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    time: Duration,
    steps: u32,
}

impl Slice {
    /// A slice of this time and this many steps.
    #[must_use]
    pub const fn new(time: Duration, steps: u32) -> Self {
        Self { time, steps }
    }

    /// Begins one.
    pub(super) fn begin(self, inner: &Inner) -> Meter {
        Meter { slice: self, end: clock(inner) + self.time, done: 0 }
    }
}

/// Ten milliseconds, a thousand steps.
impl Default for Slice {
    fn default() -> Self {
        Self::new(Duration::from_millis(10), 1000)
    }
}

/// A slice that is being used up.
#[derive(Debug)]
pub(super) struct Meter {
    slice: Slice,
    end: Time,
    done: u32,
}

impl Meter {
    /// A step was done. Answers whether it was the last.
    pub(super) fn step(&mut self, inner: &Inner) -> bool {
        self.done = self.done.saturating_add(1);
        self.done >= self.slice.steps || clock(inner) >= self.end
    }
}

/// Divides a long computation in a future into slices, so that connections and other tasks have their turn in between.
///
/// ```
/// use marline_core::task::Slices;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let mut slices = Slices::new(&reactor);
/// let sum = reactor.spawn(async move {
///     let mut sum = 0_u64;
///     for number in 1..=100_000 {
///         sum += number;
///         slices.step().await?; // goes on at once but for once in a while
///     }
///     Ok::<_, marline_core::failure::Failure>(sum)
/// });
/// assert_eq!(reactor.result_of(sum)??, 5_000_050_000);
/// # Ok::<(), marline_core::failure::Failure>(())
/// ```
pub struct Slices {
    inner: Weak<Inner>,
    slice: Slice,
    meter: Option<Meter>,
}

impl Slices {
    /// Slices of the [usual](Slice::default) size.
    pub fn new(reactor: &Reactor) -> Self {
        Self::with_slice(reactor, Slice::default())
    }

    /// Slices of this size.
    pub fn with_slice(reactor: &Reactor, slice: Slice) -> Self {
        Self { inner: Rc::downgrade(reactor.inner()), slice, meter: None }
    }

    /// A step was done: ready as long as the slice lasts, then it fires in the next turn, which begins another. (What the future waits for in between
    /// counts as time of the slice.) Fails if the reactor is gone.
    #[track_caller]
    pub fn step(&mut self) -> Deferred<()> {
        let Some(inner) = self.inner.upgrade().filter(|inner| !inner.is_gone()) else {
            return Deferred::failed(Interrupt::Abandoned.into());
        };
        let meter = self.meter.get_or_insert_with(|| self.slice.begin(&inner));
        if !meter.step(&inner) {
            return Deferred::ready(());
        }
        self.meter = None;
        Reactor::from_inner(&inner).yield_now()
    }
}

impl fmt::Debug for Slices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slices").field("slice", &self.slice).finish_non_exhaustive()
    }
}
