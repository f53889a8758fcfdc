//! The reactor's own time: nanoseconds since a start the driver chose. Never `std::time::Instant`, which can be neither
//! made up by a simulation nor replayed from a recording.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on a reactor's monotonic clock, in nanoseconds since a start that the driver chose.
///
/// Moments of different reactors cannot be compared with each other, unless they live in one simulated world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// The last moment there is, some 584 years after the start. A deadline there is never reached.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start, for people and plots.
    #[doc(alias = "seconds")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Adds, and stays at [`Time::MAX`] instead of overflowing: a timer centuries away is legal.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_add(nanos.saturating_add(u64::from(duration.subsec_nanos()))))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// The same as [`since`](Self::since).
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_centuries_away_saturates() {
        assert_eq!(Time::from_nanos(1) + Duration::MAX, Time::MAX);
        assert_eq!(Time::ZERO + Duration::from_secs(3), Time::from_nanos(3_000_000_000));
    }

    #[test]
    fn since_a_later_moment_is_zero() {
        assert_eq!(Time::ZERO.since(Time::MAX), Duration::ZERO);
        assert_eq!(Time::from_nanos(7) - Time::from_nanos(2), Duration::from_nanos(5));
    }

    #[test]
    fn prints_seconds() {
        assert_eq!(Time::from_nanos(1_500_000_000).to_string(), "1.500000000s");
    }
}
