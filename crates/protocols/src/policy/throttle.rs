//! Bytes a second: one connection's, or those of many together. Reading is held by not reading, so that the peer feels it; writing by
//! holding output, which pauses producers. Nothing is dropped.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use marline_core::policy::{Direction, Policy, PolicyIo, Watch};
use marline_core::rate::{BadRate, Bucket};
use marline_core::{CloseReason, Time};

/// Bytes a second: a handle on a token bucket. One of its own for each connection limits each; clones of one limit all of them
/// together, and those that wait have equal shares.
#[derive(Clone)]
pub struct Rate(Rc<RefCell<Bucket>>);

impl Rate {
    /// So many bytes a second, of which at most `burst` may come at once after a pause. In any span of `t` seconds no more than
    /// `burst + bytes × t` bytes pass.
    ///
    /// # Errors
    ///
    /// [`BadRate`] if one of them is zero: nothing would ever pass.
    pub fn new(bytes: u64, burst: u64) -> Result<Self, BadRate> {
        Ok(Self(Rc::new(RefCell::new(Bucket::new(bytes, burst)?))))
    }

    /// Changes it, for all that have it, from `now`, the reactor's time, on. Who waits already for a moment waits for that.
    ///
    /// # Errors
    ///
    /// [`BadRate`] if one of them is zero; nothing was changed.
    pub fn set(&self, bytes: u64, burst: u64, now: Time) -> Result<(), BadRate> {
        self.0.borrow_mut().set(bytes, burst, now)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = self.0.borrow();
        write!(f, "Rate({} B/s, burst {} B)", bucket.rate(), bucket.burst())
    }
}

/// Limits how fast a connection reads and writes: to each rate given, so that a connection's own and that of a group hold together.
///
/// The protocol gets what was read in pieces as they may pass; at most 64 KiB wait inside. What it writes waits as output, which
/// [`pending`](marline_core::Transport::pending) counts and which pauses its producer; a close delivers it first, at the rate.
#[derive(Debug, Default)]
#[doc(alias = "ThrottlingFactory")]
#[doc(alias = "ShapedTransport")]
pub struct Throttle {
    received: Lane,
    written: Lane,
}

impl Throttle {
    /// No limit yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits reading to this rate, too. Give the narrowest rate (the connection's own) first: who waits for the first keeps no
    /// place in the others.
    pub fn reading(mut self, rate: &Rate) -> Self {
        self.received.add(rate);
        self
    }

    /// Limits writing to this rate, too. See [`reading`](Self::reading) for the order.
    pub fn writing(mut self, rate: &Rate) -> Self {
        self.written.add(rate);
        self
    }
}

impl Policy for Throttle {
    fn name(&self) -> &'static str {
        "throttle"
    }

    fn watches(&self) -> Watch {
        let limit = |lane: &Lane, watch| if lane.rates.is_empty() { Watch::NOTHING } else { watch };
        limit(&self.received, Watch::LIMIT_RECEIVED) | limit(&self.written, Watch::LIMIT_WRITTEN)
    }

    fn admit(&mut self, direction: Direction, len: usize, io: &mut PolicyIo<'_>) -> usize {
        let lane = match direction {
            Direction::Received => &mut self.received,
            Direction::Written => &mut self.written,
        };
        let now = io.now();
        let mut admitted = 0;
        while admitted < len {
            match lane.take((len - admitted) as u64, now) {
                Ok(taken) => admitted += taken as usize,
                Err(at) => {
                    io.ask_again(direction, at);
                    break;
                }
            }
        }
        admitted
    }

    fn lost(&mut self, _reason: &CloseReason) {
        self.received.leave();
        self.written.leave();
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    rates: Vec<Rate>,
    booked: Option<Booking>,
}

/// A place in the queue of one rate.
#[derive(Clone, Copy, Debug)]
struct Booking {
    rate: usize,
    bytes: u64,
    at: Time,
}

impl Lane {
    /// Twice the same rate is as good as once.
    fn add(&mut self, rate: &Rate) {
        if !self.rates.iter().any(|other| Rc::ptr_eq(&other.0, &rate.0)) {
            self.rates.push(rate.clone());
        }
    }

    /// Takes tokens for some of `want` bytes from all rates, or says when to come again.
    fn take(&mut self, want: u64, now: Time) -> Result<u64, Time> {
        let want = self.share(want, now);
        for (index, rate) in self.rates.iter().enumerate() {
            let mut bucket = rate.0.borrow_mut();
            let mine = self.booked.filter(|booking| booking.rate == index);
            if let Some(booking) = mine
                && booking.at > now
            {
                return Err(booking.at);
            }
            let free = mine.is_some() || !bucket.is_booked(now);
            if free && bucket.available(now) >= want {
                continue;
            }
            // It fits, for a share is no more than any burst.
            let at = bucket.book(want, now).unwrap_or(Time::MAX);
            self.booked = Some(Booking { rate: index, bytes: want, at });
            return Err(at);
        }
        self.booked = None;
        for rate in &self.rates {
            // They are there, as was seen above.
            rate.0.borrow_mut().take(want, now);
        }
        Ok(want)
    }

    /// How much of it to take at a time: all that is there if nobody waits, else some ten milliseconds' worth, for the others wait, too.
    fn share(&self, want: u64, now: Time) -> u64 {
        if let Some(booking) = self.booked {
            return want.min(booking.bytes).min(self.least(|bucket| bucket.burst()));
        }
        let there = self.least(|bucket| match bucket.is_booked(now) {
            true => 0,
            false => bucket.available(now),
        });
        let least = self.least(|bucket| (bucket.rate() / 100).max(PACKET).min(bucket.burst()));
        want.min(there.max(least))
    }

    fn least(&self, of: impl Fn(&mut Bucket) -> u64) -> u64 {
        self.rates.iter().map(|rate| of(&mut rate.0.borrow_mut())).min().unwrap_or(u64::MAX)
    }

    /// The connection has ended, and needs its place no longer.
    fn leave(&mut self) {
        if let Some(booking) = self.booked.take()
            && let Some(rate) = self.rates.get(booking.rate)
        {
            rate.0.borrow_mut().unbook(booking.bytes);
        }
    }
}

/// Bytes of one Ethernet packet of TCP: less at a time is not worth the trouble, where the burst allows it.
const PACKET: u64 = 1460;
