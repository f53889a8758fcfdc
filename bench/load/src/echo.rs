//! Echo: requests go out as replies come back (closed loop), or at a given rate; replies are compared while warming up.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::meter::Meter;
use crate::socket::{self, Readiness};
use crate::{Options, idle};

/// Runs until the time is over.
pub(crate) fn run(o: &Options) -> io::Result<()> {
    let mut readiness = Readiness::new()?;
    let mut conns = Vec::with_capacity(o.conns);
    for (i, fd) in idle::open(o, false)?.into_iter().enumerate() {
        readiness.add(&fd, i, o.size * o.window > 16_384)?;
        conns.push(Conn {
            index: i,
            fd,
            unsent: 0,
            offset: 0,
            received: 0,
            sent_at: VecDeque::new(),
        });
    }
    let stream = Stream::new(o);
    let mut buf = vec![0; 256 * 1024];
    let mut pace = Pace::new(o);
    let mut meter = Meter::new(o);
    if pace.is_none() {
        for conn in &mut conns {
            conn.request(o.window, &stream)?;
        }
    }
    loop {
        let now = Instant::now();
        if meter.over(now) {
            return Ok(());
        }
        while let Some(i) = pace.as_mut().and_then(|p| p.due(now)) {
            conns[i].request(1, &stream)?;
        }
        for event in readiness.wait(pace.is_none())? {
            let conn = &mut conns[event.index];
            if event.input {
                let replies = conn.receive(&mut buf, &stream, &mut meter)?;
                match &mut pace {
                    Some(pace) => pace.resting.extend((0..replies).map(|_| event.index)),
                    None => conn.request(replies, &stream)?,
                }
            }
            if event.output {
                conn.request(0, &stream)?;
            }
        }
    }
}

/// The bytes of requests, one after the other, in a piece long enough for large writes.
struct Stream {
    size: usize,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(o: &Options) -> Self {
        let request = o.request();
        Self { size: o.size, bytes: request.repeat((256 * 1024 / o.size).max(2)) }
    }

    /// The stream from `offset` within a request, at most `length` bytes.
    fn at(&self, offset: usize, length: usize) -> &[u8] {
        &self.bytes[offset..self.bytes.len().min(offset + length)]
    }
}

struct Conn {
    index: usize,
    fd: OwnedFd,
    /// Bytes of requests made and not yet taken by the socket.
    unsent: usize,
    /// Where in a request the next byte to send lies.
    offset: usize,
    /// Bytes received in all.
    received: usize,
    /// When each request that is under way was made.
    sent_at: VecDeque<Instant>,
}

impl Conn {
    /// Makes `count` more requests and sends what the socket takes.
    fn request(&mut self, count: usize, stream: &Stream) -> io::Result<()> {
        if count > 0 {
            let now = Instant::now();
            self.sent_at.extend((0..count).map(|_| now));
            self.unsent += count * stream.size;
        }
        while self.unsent > 0 {
            let piece = stream.at(self.offset, self.unsent);
            let sent = socket::send(&self.fd, piece)?;
            self.unsent -= sent;
            self.offset = (self.offset + sent) % stream.size;
            if sent < piece.len() {
                break;
            }
        }
        Ok(())
    }

    /// Receives until the socket is drained; returns how many replies are complete.
    fn receive(
        &mut self,
        buf: &mut [u8],
        stream: &Stream,
        meter: &mut Meter<'_>,
    ) -> io::Result<usize> {
        let mut replies = 0;
        while let Some(n) = socket::recv(&self.fd, buf)? {
            if meter.warming() {
                let mut rest = &buf[..n];
                let mut offset = self.received % stream.size;
                while !rest.is_empty() {
                    let expected = stream.at(offset, rest.len());
                    meter.errors += u64::from(rest[..expected.len()] != *expected);
                    offset = (offset + expected.len()) % stream.size;
                    rest = &rest[expected.len()..];
                }
            }
            let before = self.received / stream.size;
            self.received += n;
            let complete = self.received / stream.size - before;
            if complete > 0 {
                let now = Instant::now();
                for at in self.sent_at.drain(..complete.min(self.sent_at.len())) {
                    meter.reply(self.index, (now - at).as_nanos() as u64);
                }
                replies += complete;
            }
            if n < buf.len() {
                break;
            }
        }
        Ok(replies)
    }
}

/// Requests at a steady rate, each on the connection that has rested longest.
struct Pace {
    gap: Duration,
    next: Instant,
    resting: VecDeque<usize>,
}

impl Pace {
    fn new(o: &Options) -> Option<Self> {
        (o.rate > 0.0).then(|| Self {
            gap: Duration::from_secs_f64(1.0 / o.rate),
            next: Instant::now(),
            resting: (0..o.conns).collect(),
        })
    }

    /// The connection on which a request is due now. A server that cannot keep the pace builds up no debt.
    fn due(&mut self, now: Instant) -> Option<usize> {
        if self.next > now {
            return None;
        }
        let Some(conn) = self.resting.pop_front() else {
            self.next = now;
            return None;
        };
        self.next += self.gap;
        Some(conn)
    }
}
