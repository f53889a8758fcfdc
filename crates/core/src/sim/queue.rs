//! What will happen in the world and when: exact in time, first in first out within a moment.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::Time;
use crate::driver::Handle;

/// Something that will happen. A handle that is stale by then makes it nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The oldest segment on the wire reaches the other end of what this side sent.
    Segment(Handle, Side),
    /// The oldest acknowledgement of what this side sent comes back to it.
    Ack(Handle, Side),
    /// A connection attempt reaches its destination, or is tried once more.
    Syn(Handle),
    /// A connection attempt hears that it has failed.
    Refused(Handle),
    /// This side has been heard by nobody for too long.
    GiveUp(Handle, Side),
    /// A slow reader may read again.
    ReadAgain(Handle, Side),
    /// A datagram reaches its destination.
    Packet(Handle),
    /// A connected socket hears that nobody listens where it sent to.
    PacketRefused(Handle),
    /// A job is done.
    Answer(Handle),
    /// A reactor has a deadline; the number is the driver's.
    Deadline(u32),
}

/// One end of a connection: the one that connected, or the one that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The order of events: by time, then by when they were planned.
///
/// A binary heap. Lists by time slot before it were tried and bring nothing: fewer misses of the first cache, as many of the
/// second, more instructions.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Planned>,
    sequence: u64,
}

impl Queue {
    pub(super) fn push(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.heap.push(Planned { time, sequence: self.sequence, event });
    }

    /// The next event, if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<Event> {
        if self.heap.peek()?.time > now {
            return None;
        }
        self.heap.pop().map(|planned| planned.event)
    }

    /// The next event and when it is due.
    pub(super) fn peek(&self) -> Option<(Time, Event)> {
        self.heap.peek().map(|planned| (planned.time, planned.event))
    }
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    time: Time,
    sequence: u64,
    event: Event,
}

impl Planned {
    /// One comparison instead of two.
    const fn key(&self) -> u128 {
        ((self.time.as_nanos() as u128) << 64) | self.sequence as u128
    }
}

/// The earliest is the greatest: std's heap gives the greatest first.
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Planned {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn events_come_by_time_and_within_a_moment_first_in_first_out() {
        for seed in 0..200 {
            let mut rng = Rng::from_number(seed);
            let mut queue = Queue::default();
            let mut expected = Vec::new();
            let (mut now, mut number) = (Time::ZERO, 0);
            let widest = rng.below(40);
            while number < 1000 || !expected.is_empty() {
                if number < 1000 && rng.chance(0.6) {
                    let width = 1 << rng.below(widest + 1);
                    let delay = rng.below(width);
                    let time = Time::from_nanos(now.as_nanos() + delay);
                    queue.push(time, Event::Deadline(number));
                    expected.push((time, number));
                    number += 1;
                } else if let Some(place) = (0..expected.len()).min_by_key(|at| expected[*at]) {
                    let (time, number) = expected.remove(place);
                    assert_eq!(queue.peek(), Some((time, Event::Deadline(number))));
                    assert_eq!(queue.pop_due(time), Some(Event::Deadline(number)));
                    now = time;
                }
            }
            assert_eq!(queue.pop_due(Time::MAX), None);
        }
    }

    #[test]
    fn an_event_of_the_future_is_not_due_and_one_of_the_past_is() {
        let mut queue = Queue::default();
        let time = Time::from_nanos(1 << 40);
        queue.push(time, Event::Deadline(0));
        assert_eq!(queue.pop_due(Time::from_nanos((1 << 40) - 1)), None);
        queue.push(Time::from_nanos(1), Event::Deadline(1));
        assert_eq!(queue.peek(), Some((Time::from_nanos(1), Event::Deadline(1))));
        queue.push(Time::MAX, Event::Deadline(2));
        assert_eq!(queue.pop_due(time), Some(Event::Deadline(1)));
        assert_eq!(queue.pop_due(time), Some(Event::Deadline(0)));
        assert_eq!(queue.pop_due(time), None);
        assert_eq!(size_of::<Planned>(), 32);
    }
}
