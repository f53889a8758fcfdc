//! What lies between two hosts, one direction at a time: how long a segment takes, and what becomes of it on the way.
//! Knows nothing of connections or sockets.

use std::time::Duration;

use crate::Time;
use crate::rng::Rng;

/// The quality of one direction between two hosts. The default is a quiet local network; write
/// `Link { loss: 0.1, ..Link::default() }`, for there will be more fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How long a segment is on its way at least. 500 µs.
    pub latency: Duration,
    /// How much longer it may take, drawn evenly. Streams stay in order; datagrams may overtake one another. None.
    pub jitter: Duration,
    /// Bytes a second that go through, shared by all that is sent in this direction. No limit.
    pub bandwidth: Option<u64>,
    /// How many bytes may wait for the bandwidth before datagrams are dropped; streams are held back by their windows. 256 KiB.
    pub queue: usize,
    /// The probability that a datagram is lost. A lost segment of a stream is sent again: it comes late, with all behind it. Zero.
    pub loss: f64,
    /// The probability that a datagram arrives twice. Zero.
    pub duplicate: f64,
    /// The probability that a datagram is delayed by up to four more latencies, so that later ones overtake it. Zero.
    pub reorder: f64,
    /// The most bytes of a stream in one segment. 1448.
    pub segment: usize,
    /// Cuts streams anywhere: segments of any length from one byte up, and reads of any length too. Off.
    pub split: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(500),
            jitter: Duration::ZERO,
            bandwidth: None,
            queue: 256 * 1024,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            segment: 1448,
            split: false,
        }
    }
}

impl Link {
    /// From a host to itself: 10 µs, and segments of 64 KiB less a little.
    pub fn loopback() -> Self {
        Self { latency: Duration::from_micros(10), segment: 65_483, ..Self::default() }
    }
}

/// One direction of a link in use.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: Link,
    /// Whether the link was set for this pair, so that a new default leaves it alone.
    pub(super) own: bool,
    /// Nothing gets through.
    pub(super) cut: bool,
    /// Nothing leaves before.
    pub(super) held_until: Time,
    busy_until: Time,
}

impl Wire {
    pub(super) const fn new(link: Link, own: bool) -> Self {
        Self { link, own, cut: false, held_until: Time::ZERO, busy_until: Time::ZERO }
    }

    /// When a segment of a stream that is handed over now arrives. What is lost on the way is sent again.
    pub(super) fn segment_arrival(&mut self, now: Time, len: usize, rng: &mut Rng) -> Time {
        let mut left = self.transmit(now, len);
        let mut timeout = RETRANSMIT;
        while timeout < RETRANSMIT_MOST && rng.chance(self.link.loss) {
            left = left + timeout;
            timeout *= 2;
        }
        left + self.delay(rng)
    }

    /// When a datagram that is handed over now arrives, or `None` if it gets lost.
    pub(super) fn datagram_arrival(
        &mut self,
        now: Time,
        len: usize,
        rng: &mut Rng,
    ) -> Option<Time> {
        if self.cut || rng.chance(self.link.loss) || self.queued(now) > self.link.queue as u64 {
            return None;
        }
        let arrival = self.transmit(now, len) + self.delay(rng);
        if rng.chance(self.link.reorder) {
            let most = (self.link.latency * 4).max(Duration::from_micros(10));
            return Some(arrival + Duration::from_nanos(1 + rng.below(most.as_nanos() as u64)));
        }
        Some(arrival)
    }

    /// Latency and jitter.
    pub(super) fn delay(&self, rng: &mut Rng) -> Duration {
        if self.link.jitter.is_zero() {
            return self.link.latency;
        }
        let jitter = self.link.jitter.as_nanos() as u64;
        self.link.latency + Duration::from_nanos(rng.below(jitter.saturating_add(1)))
    }

    /// How many bytes the next segment of a stream carries, of `most`.
    pub(super) fn cut_segment(&self, most: usize, rng: &mut Rng) -> usize {
        let most = most.min(self.link.segment.max(1));
        if self.link.split && most > 1 { 1 + rng.below(most as u64) as usize } else { most }
    }

    /// When the last byte has left this end.
    fn transmit(&mut self, now: Time, len: usize) -> Time {
        let start = now.max(self.held_until);
        let Some(bandwidth) = self.link.bandwidth else { return start };
        let start = start.max(self.busy_until);
        self.busy_until = start + serialisation(len as u64, bandwidth);
        self.busy_until
    }

    /// How many bytes wait for the bandwidth.
    fn queued(&self, now: Time) -> u64 {
        let Some(bandwidth) = self.link.bandwidth else { return 0 };
        let waiting = self.busy_until.since(now).as_nanos();
        (waiting * u128::from(bandwidth) / 1_000_000_000) as u64
    }
}

/// How long `bytes` take at `rate` bytes a second; a rate of zero counts as one.
pub(super) fn serialisation(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How long TCP waits at least before it sends a segment again (Linux); it doubles each time.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// A segment gets through at last, however bad the link.
const RETRANSMIT_MOST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_makes_segments_wait_for_one_another() {
        let link = Link {
            latency: Duration::from_millis(10),
            bandwidth: Some(1_000_000),
            ..Link::default()
        };
        let mut wire = Wire::new(link, true);
        let mut rng = Rng::from_number(1);
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        assert_eq!(wire.segment_arrival(Time::ZERO, 1000, &mut rng), at(11));
        assert_eq!(wire.segment_arrival(Time::ZERO, 2000, &mut rng), at(13));
        assert_eq!(wire.segment_arrival(at(100), 1000, &mut rng), at(111));
    }

    #[test]
    fn datagrams_beyond_the_queue_are_dropped() {
        let link = Link { bandwidth: Some(1000), queue: 3000, ..Link::default() };
        let mut wire = Wire::new(link, true);
        let mut rng = Rng::from_number(1);
        let arrived =
            (0..10).filter(|_| wire.datagram_arrival(Time::ZERO, 1000, &mut rng).is_some()).count();
        assert_eq!(arrived, 4);
    }

    #[test]
    fn a_lost_segment_comes_late_and_never_not_at_all() {
        let mut wire = Wire::new(Link { loss: 1.0, ..Link::default() }, true);
        let arrival = wire.segment_arrival(Time::ZERO, 1, &mut Rng::from_number(1));
        assert!(arrival > Time::ZERO + Duration::from_secs(60));
        assert!(arrival < Time::ZERO + Duration::from_secs(600));
    }

    #[test]
    fn a_held_wire_lets_go_when_the_time_has_come() {
        let mut wire = Wire::new(Link::default(), true);
        wire.held_until = Time::from_nanos(1_000_000);
        let arrival = wire.datagram_arrival(Time::ZERO, 1, &mut Rng::from_number(1));
        assert_eq!(arrival, Some(Time::from_nanos(1_500_000)));
    }
}
