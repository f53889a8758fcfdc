//! Two protocols joined in memory, and who carries the bytes between them: in chunks of chosen size, in bounded memory, with
//! half-close, close and reset in their order.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use super::memory::{self, CLIENT, End, MemoryTransport, SERVER, Wire};
use crate::driver::{Close, OsError};
use crate::rng::Rng;
use crate::{Protocol, Reactor};

/// A client's and a server's protocol joined in memory, on one reactor with a clock that the test sets.
///
/// Nothing moves by itself: [`step`](Self::step) carries one chunk each way, [`run`](Self::run) goes on until all is quiet. Each direction
/// holds 64 KiB on its way (see [`set_window`](Self::set_window)) and one chunk that the reader has not taken, so that a reader that pauses is felt by
/// the writer's producers.
///
/// ```
/// use marline_core::testing::{Chunks, Pump};
/// use marline_core::{Protocol, Transport};
///
/// struct Asks(Vec<u8>);
///
/// impl Protocol for Asks {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"hello");
///     }
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         self.0.extend_from_slice(data);
///     }
/// }
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// for chunks in [Chunks::Whole, Chunks::Bytewise, Chunks::Sizes(vec![2, 1]), Chunks::Random(7)] {
///     let mut pump = Pump::new(Asks(Vec::new()), Echo).chunks(chunks);
///     pump.run();
///     assert_eq!(pump.client().with(|asks, _| asks.0.clone()), b"hello");
/// }
/// ```
#[doc(alias = "IOPump")]
#[doc(alias = "connectedServerAndClient")]
#[doc(alias = "loopbackAsync")]
pub struct Pump<C, S> {
    client: MemoryTransport<C>,
    server: MemoryTransport<S>,
    to_server: Direction,
    to_client: Direction,
    reactor: Reactor,
    wire: Wire,
}

/// How a [`Pump`] cuts what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// Not at all: as much as there is, at most 64 KiB.
    Whole,
    /// One byte at a time.
    Bytewise,
    /// Into pieces of these sizes, over and over.
    Sizes(Vec<usize>),
    /// Into pieces of sizes drawn from this seed: single bytes, a few, and large ones alike.
    Random(u64),
}

impl<C: Protocol, S: Protocol> Pump<C, S> {
    /// Joins two protocols: both have heard `connection_made` when this returns, the client's first, and nothing was carried yet.
    #[track_caller]
    pub fn new(client: C, server: S) -> Self {
        let wire = Wire::new(WINDOW);
        let reactor = Reactor::new(wire.driver());
        memory::start(&reactor);
        let client = MemoryTransport::on(&reactor, &wire, client, (CLIENT.into(), SERVER.into()));
        let server = MemoryTransport::on(&reactor, &wire, server, (SERVER.into(), CLIENT.into()));
        Self {
            client,
            server,
            to_server: Direction::new(&Chunks::Whole),
            to_client: Direction::new(&Chunks::Whole),
            reactor,
            wire,
        }
    }

    /// Cuts what is carried from now on, in both directions alike.
    ///
    /// # Panics
    ///
    /// If [`Chunks::Sizes`] is empty or has a zero in it.
    #[must_use]
    pub fn chunks(mut self, chunks: Chunks) -> Self {
        if let Chunks::Sizes(sizes) = &chunks {
            assert!(!sizes.is_empty() && !sizes.contains(&0), "sizes of chunks: {sizes:?}");
        }
        self.to_server.cut = Cut::new(&chunks);
        self.to_client.cut = Cut::new(&chunks);
        self
    }

    /// How many bytes each direction holds that were sent and not carried yet; 65,536 at first. What is written beyond waits in
    /// the transport.
    pub fn set_window(&self, bytes: usize) {
        self.client.set_window(bytes);
        self.server.set_window(bytes);
    }

    /// Carries one chunk from the client to the server, and one back, each with all that follows from it. Answers whether anything moved: bytes,
    /// the end of a stream, or a reset.
    #[doc(alias = "pump")]
    pub fn step(&mut self) -> bool {
        self.settle();
        let up = self.carry(true);
        let down = self.carry(false);
        up || down
    }

    /// Carries until all is quiet. Timers that lie in the future stay there: see [`advance`](Self::advance).
    ///
    /// # Panics
    ///
    /// If it is not quiet after a million steps: then the two may well talk for ever.
    #[doc(alias = "flush")]
    pub fn run(&mut self) {
        assert!(self.run_for(STEPS), "not quiet after {STEPS} steps");
    }

    /// Carries until all is quiet, in at most so many steps. Answers whether it is.
    pub fn run_for(&mut self, steps: usize) -> bool {
        (0..steps).any(|_| !self.step())
    }

    /// Moves the clock of both, timers running in their order, and then carries until all is quiet. What a timer writes arrives when the clock has
    /// moved; where it matters, move it in smaller steps.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn advance(&mut self, time: Duration) {
        memory::advance(&self.reactor, &self.wire, time);
        self.run();
    }

    /// The client's side: its protocol, its state, and what it has sent that was not carried yet. Playing its peer by hand as well
    /// ([`MemoryTransport::receive`] and the like) mixes with what the server sends.
    pub fn client(&self) -> &MemoryTransport<C> {
        &self.client
    }

    /// The server's side.
    pub fn server(&self) -> &MemoryTransport<S> {
        &self.server
    }

    /// The connection breaks in the middle: both hear of a reset, and what is under way is destroyed.
    pub fn cut(&mut self) {
        self.client.lose(ErrorKind::ConnectionReset);
        self.server.lose(ErrorKind::ConnectionReset);
    }

    fn settle(&self) {
        memory::settle(&self.reactor, &self.wire);
    }

    fn carry(&mut self, to_server: bool) -> bool {
        let moved = {
            let mut wire = self.wire.borrow();
            let (client, server) = wire.pair(self.client.handle(), self.server.handle());
            if to_server {
                self.to_server.carry(client, server, &mut self.to_client)
            } else {
                self.to_client.carry(server, client, &mut self.to_server)
            }
        };
        if moved {
            self.settle();
        }
        moved
    }
}

impl<C, S> fmt::Debug for Pump<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump")
            .field("client", &self.client)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// One direction of a connection.
struct Direction {
    cut: Cut,
    /// The end of the stream was carried.
    ended: bool,
    /// The other direction met a closed end: a reset follows all that was sent before.
    refused: bool,
    /// A reset was carried.
    reset: bool,
}

impl Direction {
    fn new(chunks: &Chunks) -> Self {
        Self { cut: Cut::new(chunks), ended: false, refused: false, reset: false }
    }

    /// Carries the next thing from one end to the other; `back` is the other direction. Answers whether there was one.
    fn carry(&mut self, from: &mut End, to: &mut End, back: &mut Self) -> bool {
        let refused = self.refused && self.ended && to.has_read_all();
        if !self.reset && (refused || from.closed == Some(Close::Reset)) {
            self.reset = true;
            return to.break_with(RESET);
        }
        if to.closed.is_some() {
            // What arrives at a closed end is lost, and answered with a reset.
            let lost = !from.written.is_empty();
            from.written.clear();
            back.refused |= lost;
            return lost;
        }
        if self.ended || self.reset || !to.has_read_all() {
            return false;
        }
        if !from.written.is_empty() {
            let chunk: Vec<u8> = from.written.drain(..self.cut.next(from.written.len())).collect();
            to.push(&chunk);
            return true;
        }
        self.ended = from.has_written_all();
        if self.ended {
            to.push_end();
        }
        self.ended
    }
}

/// Where the next cut goes.
enum Cut {
    Whole,
    Sizes(Vec<usize>, usize),
    Random(Rng),
}

impl Cut {
    fn new(chunks: &Chunks) -> Self {
        match chunks {
            Chunks::Whole => Self::Whole,
            Chunks::Bytewise => Self::Sizes(vec![1], 0),
            Chunks::Sizes(sizes) => Self::Sizes(sizes.clone(), 0),
            Chunks::Random(seed) => Self::Random(Rng::from_number(*seed)),
        }
    }

    /// The size of the next piece of `len` bytes, which is at least one.
    fn next(&mut self, len: usize) -> usize {
        let most = len.min(WINDOW);
        let size = match self {
            Self::Whole => most,
            Self::Sizes(sizes, at) => {
                let size = sizes[*at % sizes.len()];
                *at += 1;
                size
            }
            Self::Random(rng) => {
                let bound = match rng.below(3) {
                    0 => 1,
                    1 => most.min(16),
                    _ => most,
                };
                1 + rng.below(bound as u64) as usize
            }
        };
        size.min(most)
    }
}

const RESET: OsError = OsError::new(ErrorKind::ConnectionReset);
/// What a direction holds at first, and the largest piece.
const WINDOW: usize = 65_536;
/// Two protocols that are not quiet after so many steps may well talk for ever.
const STEPS: usize = 1_000_000;
