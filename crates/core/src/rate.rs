//! Rates: the token bucket, in whole numbers. It has no clock and calls nobody: what is to be limited (bytes of a connection, connections
//! accepted, passwords guessed), and who waits, is the caller's.

use std::fmt;

use crate::Time;

/// A token bucket: tokens come in at a rate, as many as a burst are kept, and what is limited takes them out.
///
/// In any span of `t` seconds no more is taken than `burst + rate × t`. Fractions of tokens are kept exactly.
///
/// Who cannot have what it wants may [`book`](Self::book) a moment for it: bookings come due one after the other, in the order made, so
/// that those who wait for one bucket and book a little at a time have equal shares.
///
/// ```
/// use std::time::Duration;
/// use marline_core::{Time, rate::Bucket};
///
/// let mut bucket = Bucket::new(1000, 200)?; // a thousand a second, two hundred at once
/// assert!(bucket.take(200, Time::ZERO));
/// assert!(!bucket.take(1, Time::ZERO));
/// assert_eq!(bucket.ready_at(50, Time::ZERO), Some(Time::ZERO + Duration::from_millis(50)));
/// # Ok::<(), marline_core::rate::BadRate>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "htb.Bucket")]
pub struct Bucket {
    /// Tokens a second.
    rate: u64,
    burst: u64,
    /// What is in it, in billionths of a token.
    level: u128,
    /// When that was so.
    at: Time,
    /// Up to when what comes in is booked.
    booked: Time,
}

impl Bucket {
    /// A full bucket: `rate` tokens a second, of which at most `burst` are kept.
    ///
    /// # Errors
    ///
    /// [`BadRate`] if one of them is zero: nothing would ever pass.
    pub fn new(rate: u64, burst: u64) -> Result<Self, BadRate> {
        check(rate, burst)?;
        let level = scaled(burst);
        Ok(Self { rate, burst, level, at: Time::ZERO, booked: Time::ZERO })
    }

    /// Changes the rate and the burst from now on. What is in the bucket stays, as far as it is room for it; bookings stay as they are.
    ///
    /// # Errors
    ///
    /// [`BadRate`] if one of them is zero; nothing was changed.
    pub fn set(&mut self, rate: u64, burst: u64, now: Time) -> Result<(), BadRate> {
        check(rate, burst)?;
        self.fill(now);
        (self.rate, self.burst) = (rate, burst);
        self.level = self.level.min(scaled(burst));
        Ok(())
    }

    /// Takes so many tokens if they are there; otherwise none.
    pub fn take(&mut self, tokens: u64, now: Time) -> bool {
        self.fill(now);
        match self.level.checked_sub(scaled(tokens)) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }

    /// Whole tokens that are there.
    pub fn available(&mut self, now: Time) -> u64 {
        self.fill(now);
        // It fits: the level is at most a scaled burst.
        (self.level / BILLION) as u64
    }

    /// When so many tokens will be there if nobody takes any meanwhile; `None` if that is more than the burst, and so never.
    pub fn ready_at(&mut self, tokens: u64, now: Time) -> Option<Time> {
        if tokens > self.burst {
            return None;
        }
        self.fill(now);
        let missing = scaled(tokens).saturating_sub(self.level);
        Some(self.after(now.max(self.at), missing))
    }

    /// Whether somebody has booked tokens that are not there yet.
    pub fn is_booked(&self, now: Time) -> bool {
        self.booked > now
    }

    /// Books so many tokens behind those booked before, and says when they will be there: then they are to be taken. That may fail, if
    /// somebody took them who had not booked, or was late; then they are to be booked anew. `None` if that is more than the burst.
    pub fn book(&mut self, tokens: u64, now: Time) -> Option<Time> {
        let ready = self.ready_at(tokens, now)?;
        self.booked = ready.max(self.after(self.booked, scaled(tokens)));
        Some(self.booked)
    }

    /// Takes back a booking whose tokens nobody will take: those who book next come earlier by as much.
    pub fn unbook(&mut self, tokens: u64) {
        let span = self.after(Time::ZERO, scaled(tokens)).as_nanos();
        self.booked = Time::from_nanos(self.booked.as_nanos().saturating_sub(span));
    }

    /// Tokens a second.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Tokens that are kept at most.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Lets in what has come since it was last asked. A clock that goes backwards brings nothing.
    fn fill(&mut self, now: Time) {
        let span = now.since(self.at).as_nanos();
        if span > 0 {
            // A span is less than 2^64 ns, a rate less than 2^64: their product fits, and so does its sum with a level below 2^94.
            let come = span.saturating_mul(u128::from(self.rate));
            self.level = self.level.saturating_add(come).min(scaled(self.burst));
            self.at = now;
        }
    }

    /// The moment by which so many billionths of a token come in after `from`.
    fn after(&self, from: Time, billionths: u128) -> Time {
        let span = billionths.div_ceil(u128::from(self.rate));
        Time::from_nanos(from.as_nanos().saturating_add(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}

/// A rate or a burst of zero: nothing would ever pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRate {
    /// The rate is zero.
    Rate,
    /// The burst is zero.
    Burst,
}

impl fmt::Display for BadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "a rate of zero lets nothing pass",
            Self::Burst => "a burst of zero lets nothing pass",
        })
    }
}

impl std::error::Error for BadRate {}

fn check(rate: u64, burst: u64) -> Result<(), BadRate> {
    match (rate, burst) {
        (0, _) => Err(BadRate::Rate),
        (_, 0) => Err(BadRate::Burst),
        _ => Ok(()),
    }
}

fn scaled(tokens: u64) -> u128 {
    u128::from(tokens) * BILLION
}

const BILLION: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn a_rate_or_burst_of_zero_is_refused() {
        assert_eq!(Bucket::new(0, 1).unwrap_err(), BadRate::Rate);
        assert_eq!(Bucket::new(1, 0).unwrap_err(), BadRate::Burst);
        let mut bucket = Bucket::new(1, 1).unwrap();
        assert_eq!(bucket.set(0, 9, Time::ZERO), Err(BadRate::Rate));
        assert_eq!((bucket.rate(), bucket.burst()), (1, 1));
    }

    #[test]
    fn more_than_the_burst_is_never_there() {
        let mut bucket = Bucket::new(u64::MAX, 10).unwrap();
        assert_eq!(bucket.ready_at(11, Time::ZERO), None);
        assert_eq!(bucket.book(11, Time::ZERO), None);
        assert!(!bucket.take(11, Time::MAX));
    }

    #[test]
    fn the_largest_numbers_there_are_do_not_overflow() {
        for (rate, burst) in [(u64::MAX, u64::MAX), (1, u64::MAX), (u64::MAX, 1)] {
            let mut bucket = Bucket::new(rate, burst).unwrap();
            assert!(bucket.take(burst, Time::ZERO));
            assert!(bucket.book(burst, Time::ZERO).is_some());
            assert!(bucket.available(Time::MAX) > 0);
            bucket.unbook(burst);
        }
    }

    #[test]
    fn a_clock_that_goes_backwards_brings_nothing() {
        let mut bucket = Bucket::new(1_000_000_000, 1000).unwrap();
        assert!(bucket.take(1000, Time::from_nanos(500)));
        assert_eq!(bucket.available(Time::ZERO), 0);
        assert_eq!(bucket.available(Time::from_nanos(501)), 1);
    }

    #[test]
    fn bookings_come_due_one_after_the_other_and_then_hold() {
        let mut bucket = Bucket::new(1000, 100).unwrap();
        assert!(bucket.take(100, Time::ZERO));
        let moments: Vec<_> = (0..4).map(|_| bucket.book(10, Time::ZERO).unwrap()).collect();
        let millis: Vec<_> = moments.iter().map(|at| at.as_nanos() / 1_000_000).collect();
        assert_eq!(millis, [10, 20, 30, 40]);
        assert!(bucket.is_booked(Time::ZERO) && !bucket.is_booked(moments[3]));
        for at in moments {
            assert!(bucket.take(10, at));
            assert!(!bucket.take(1, at));
        }
    }

    #[test]
    fn a_booking_taken_back_lets_the_next_come_earlier() {
        let mut bucket = Bucket::new(1000, 100).unwrap();
        assert!(bucket.take(100, Time::ZERO));
        bucket.book(50, Time::ZERO);
        bucket.unbook(50);
        assert_eq!(bucket.book(10, Time::ZERO), Some(Time::from_nanos(10_000_000)));
    }

    #[test]
    fn no_span_of_time_brings_more_than_burst_and_rate_and_all_of_it_can_be_had() {
        let mut rng = Rng::from_number(7);
        for _ in 0..200 {
            let (rate, burst) = (1 + rng.next_u64() % 5000, 1 + rng.next_u64() % 3000);
            let mut bucket = Bucket::new(rate, burst).unwrap();
            let (mut now, mut taken) = (Time::ZERO, Vec::new());
            for _ in 0..60 {
                now = Time::from_nanos(now.as_nanos() + rng.next_u64() % 400_000_000);
                let want = 1 + rng.next_u64() % burst;
                if bucket.take(want, now) {
                    taken.push((now, want));
                }
            }
            for from in 0..taken.len() {
                let mut sum = 0;
                for &(at, want) in &taken[from..] {
                    sum += want;
                    let span = at.since(taken[from].0).as_nanos();
                    assert!(scaled(sum) <= scaled(burst) + span * u128::from(rate));
                }
            }
            let all = bucket.ready_at(burst, now).unwrap();
            assert!(bucket.take(burst, all));
        }
    }
}
