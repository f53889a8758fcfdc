//! One direction of a connection: TCP's windows and buffers as arithmetic. The bytes lie in one ring from the moment they are written
//! until they are read, so a segment on the wire is a length and nothing is copied or allocated for it.

use std::collections::VecDeque;

use crate::Time;
use crate::descriptor::Descriptor;

use super::luggage::Luggage;

/// From one end's send buffer over the wire into the other end's receive buffer.
///
/// Positions count bytes since the connection began: `read <= arrived <= sent <= written`. The sender works with what it was
/// told last, `acked` and `edge`, not with what is so.
#[derive(Debug)]
pub(in crate::sim) struct Pipe {
    /// The bytes from `read` to `written`.
    ring: VecDeque<u8>,
    /// What goes with them.
    pub(super) luggage: Luggage,
    written: u64,
    sent: u64,
    arrived: u64,
    read: u64,
    acked: u64,
    /// The sender may send up to here.
    edge: u64,
    /// What was acknowledged last: `arrived` and `read` at the time.
    told: (u64, u64),
    send_buffer: u64,
    window: u64,
    /// The index of the wire it goes over.
    pub(in crate::sim) wire: u32,
    pub(in crate::sim) fin: Fin,
    /// A reset waits for the wire to be whole again.
    pub(in crate::sim) reset_waits: bool,
    pub(in crate::sim) reset_sent: bool,
    /// Since when nobody has heard the sender.
    pub(in crate::sim) stuck_since: Option<Time>,
    /// The oldest segment on the wire, and those behind it: mostly there is but one, and no list is touched.
    segment: Option<Segment>,
    segments: VecDeque<Segment>,
    acks: VecDeque<(u64, u64)>,
    last_arrival: Time,
    last_ack: Time,
}

/// What is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Segment {
    Bytes(u32),
    Fin,
    /// The answer to an attempt to connect.
    SynAck,
    Reset,
}

/// How far the end of the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Fin {
    Open,
    /// Asked for, and behind bytes that are not sent yet.
    Asked,
    Sent,
    Arrived,
    /// Told to the reader, or nobody is left to be told.
    Reported,
}

impl Pipe {
    pub(in crate::sim) fn new(wire: u32, send_buffer: usize, window: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            luggage: Luggage::default(),
            written: 0,
            sent: 0,
            arrived: 0,
            read: 0,
            acked: 0,
            edge: window as u64,
            told: (0, 0),
            send_buffer: send_buffer as u64,
            window: window as u64,
            wire,
            fin: Fin::Open,
            reset_waits: false,
            reset_sent: false,
            stuck_since: None,
            segment: None,
            segments: VecDeque::new(),
            acks: VecDeque::new(),
            last_arrival: Time::ZERO,
            last_ack: Time::ZERO,
        }
    }

    /// Takes what fits into the send buffer and answers how much that is.
    pub(in crate::sim) fn write(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        self.ring.extend(&bytes[..len]);
        self.written += len as u64;
        len
    }

    /// The place of the next byte that is written.
    pub(super) const fn next_place(&self) -> u64 {
        self.written
    }

    /// How much the send buffer still takes.
    pub(in crate::sim) fn room(&self) -> usize {
        self.send_buffer.saturating_sub(self.written - self.acked) as usize
    }

    /// How much may leave now.
    pub(in crate::sim) fn sendable(&self) -> usize {
        (self.written - self.sent).min(self.edge.saturating_sub(self.sent)) as usize
    }

    /// Whether there is something that has to reach the other end and has not left yet.
    pub(in crate::sim) fn wants_wire(&self) -> bool {
        self.sendable() > 0 || self.reset_waits || self.fin_can_leave()
    }

    pub(in crate::sim) fn fin_can_leave(&self) -> bool {
        self.fin == Fin::Asked && self.sent == self.written
    }

    /// Puts a segment on the wire; answers when it arrives, never before those ahead of it.
    pub(in crate::sim) fn launch(&mut self, segment: Segment, arrival: Time) -> Time {
        match segment {
            Segment::Bytes(len) => self.sent += u64::from(len),
            Segment::Fin => self.fin = Fin::Sent,
            Segment::SynAck | Segment::Reset => {}
        }
        if self.segment.is_none() {
            self.segment = Some(segment);
        } else {
            self.segments.push_back(segment);
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.last_arrival
    }

    /// The oldest segment leaves the wire.
    pub(in crate::sim) fn land(&mut self) -> Option<Segment> {
        let segment = self.segment.take();
        if !self.segments.is_empty() {
            self.segment = self.segments.pop_front();
        }
        if let Some(Segment::Bytes(len)) = segment {
            self.arrived += u64::from(len);
        }
        segment
    }

    /// How many bytes the reader can have.
    pub(in crate::sim) const fn readable(&self) -> usize {
        (self.arrived - self.read) as usize
    }

    /// Moves bytes that have arrived to the start of `target`, which must not be longer than what is readable. Returns what came with them.
    pub(in crate::sim) fn read(&mut self, target: &mut [u8]) -> VecDeque<Descriptor> {
        let (front, back) = self.ring.as_slices();
        let from_front = target.len().min(front.len());
        let (first, second) = target.split_at_mut(from_front);
        first.copy_from_slice(&front[..from_front]);
        second.copy_from_slice(&back[..second.len()]);
        self.consume(target.len());
        self.luggage.up_to(self.read)
    }

    /// Throws away what has arrived: nobody will read it.
    pub(in crate::sim) fn discard(&mut self) {
        self.consume(self.readable());
        drop(self.luggage.up_to(self.read));
    }

    /// Throws away what has not been sent: it never will be.
    pub(in crate::sim) fn drop_unsent(&mut self) {
        self.ring.truncate((self.sent - self.read) as usize);
        self.written = self.sent;
        self.luggage.truncate(self.sent);
    }

    /// Whether the sender ought to hear how far things are: a quarter of a buffer has changed. That is rare enough to be cheap
    /// and often enough that a sender never waits for what nobody will tell.
    pub(in crate::sim) fn ack_due(&self) -> bool {
        self.arrived - self.told.0 >= (self.send_buffer / 4).max(1)
            || self.read - self.told.1 >= (self.window / 4).max(1)
    }

    /// Sends an acknowledgement of what is so now; answers when it arrives, never before those ahead of it.
    pub(in crate::sim) fn launch_ack(&mut self, arrival: Time) -> Time {
        self.told = (self.arrived, self.read);
        self.acks.push_back(self.told);
        self.last_ack = self.last_ack.max(arrival);
        self.last_ack
    }

    /// The oldest acknowledgement reaches the sender.
    pub(in crate::sim) fn land_ack(&mut self) {
        if let Some((arrived, read)) = self.acks.pop_front() {
            self.acked = arrived;
            self.edge = read + self.window;
        }
    }

    /// How many bytes lie between writer and reader, in whichever buffer.
    pub(in crate::sim) fn held(&self) -> usize {
        self.ring.len()
    }

    /// Frees the memory of a pipe that nobody will use again.
    pub(in crate::sim) fn clear(&mut self) {
        self.ring = VecDeque::new();
        self.luggage = Luggage::default();
        self.read = self.written;
        self.sent = self.written;
        self.arrived = self.written;
        self.segment = None;
        self.segments = VecDeque::new();
        self.acks = VecDeque::new();
    }

    fn consume(&mut self, len: usize) {
        self.ring.drain(..len);
        self.read += len as u64;
        if self.ring.is_empty() && self.ring.capacity() > KEPT {
            self.ring = VecDeque::new();
        }
    }
}

/// An empty ring of more than this is given back: an idle connection holds no big buffer.
const KEPT: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_stops_at_the_window_and_goes_on_when_it_hears_of_room() {
        let mut pipe = Pipe::new(0, 10, 4);
        assert_eq!(pipe.write(b"0123456789abc"), 10);
        assert_eq!(pipe.sendable(), 4);
        pipe.launch(Segment::Bytes(4), Time::ZERO);
        assert_eq!((pipe.sendable(), pipe.room()), (0, 0));
        assert_eq!(pipe.land(), Some(Segment::Bytes(4)));
        let mut target = [0; 3];
        pipe.read(&mut target);
        assert_eq!(&target, b"012");
        assert!(pipe.ack_due());
        pipe.launch_ack(Time::ZERO);
        assert_eq!((pipe.sendable(), pipe.room()), (0, 0), "it has not heard yet");
        pipe.land_ack();
        assert_eq!((pipe.sendable(), pipe.room()), (3, 4));
    }

    #[test]
    fn what_was_not_sent_can_be_dropped_and_what_was_arrives() {
        let mut pipe = Pipe::new(0, 10, 4);
        pipe.write(b"0123456789");
        pipe.launch(Segment::Bytes(4), Time::ZERO);
        pipe.drop_unsent();
        assert_eq!(pipe.held(), 4);
        pipe.land();
        let mut target = [0; 4];
        pipe.read(&mut target);
        assert_eq!(&target, b"0123");
        assert_eq!(pipe.held(), 0);
    }

    #[test]
    fn segments_and_acknowledgements_do_not_overtake() {
        let mut pipe = Pipe::new(0, 10, 10);
        pipe.write(b"abc");
        let late = Time::from_nanos(9);
        assert_eq!(pipe.launch(Segment::Bytes(1), late), late);
        assert_eq!(pipe.launch(Segment::Bytes(1), Time::from_nanos(3)), late);
        assert_eq!(pipe.launch_ack(late), late);
        assert_eq!(pipe.launch_ack(Time::from_nanos(3)), late);
    }
}
