//! One connection in memory: a protocol driven by hand. The transport is the engine's own, over a driver of two buffers
//! (`driver.rs`), so that it keeps every promise of the real one because it is the real one.

mod driver;
#[cfg(test)]
mod sends;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::driver::{Close, Handle, OsError};
use crate::layer::Addition;
use crate::port::{made, place};
use crate::transport::head::flag;
use crate::{Addr, CloseReason, Connection, Factory, Link, Protocol, Reactor, RunError, Transport};

pub(super) use driver::{End, Wire};

/// One connection in memory, with its protocol: the test plays the peer, and sets the clock.
///
/// What the protocol sees is the engine's own transport with all its promises, layers, hand-overs and producers included. Every method
/// here first lets happen what is due (the end of a callback, held bytes, calls and timers), so that answers are
/// up to date; from inside a callback it answers how things stand. When it is dropped the connection ends with
/// [`CloseReason::Stopped`].
///
/// The engine catches what a protocol panics with, and an assertion in a protocol would go unheard. So if the connection ended
/// with [`CloseReason::Panicked`] and nobody asked for the [`reason`](Self::reason), dropping this panics with the same message.
///
/// ```
/// use marline_core::testing::MemoryTransport;
/// use marline_core::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// let peer = MemoryTransport::connect(Echo);
/// peer.receive(b"hello");
/// assert_eq!(peer.take_written(), b"hello");
/// peer.end_of_stream();
/// assert!(peer.reason().is_some_and(|reason| reason.is_clean()));
/// ```
#[doc(alias = "StringTransport")]
#[doc(alias = "StringTransportWithDisconnection")]
pub struct MemoryTransport<P> {
    reactor: Reactor,
    wire: Wire,
    handle: Handle,
    transport: Transport,
    connection: Connection<P>,
    reason: Rc<RefCell<Option<CloseReason>>>,
    /// Whether somebody has asked for the reason.
    asked: Cell<bool>,
}

impl<P: Protocol> MemoryTransport<P> {
    /// Connects a protocol: it has heard `connection_made` when this returns. Its address is 192.0.2.1:80, the peer's 192.0.2.2:50000.
    #[track_caller]
    #[doc(alias = "makeConnection")]
    pub fn connect(protocol: P) -> Self {
        Self::connect_between(protocol, SERVER, CLIENT)
    }

    /// Connects a protocol whose transport tells these addresses.
    #[track_caller]
    pub fn connect_between(protocol: P, local: impl Into<Addr>, peer: impl Into<Addr>) -> Self {
        let wire = Wire::new(usize::MAX);
        let reactor = Reactor::new(wire.driver());
        start(&reactor);
        Self::on(&reactor, &wire, protocol, (local.into(), peer.into()))
    }

    /// Connects another protocol on the reactor of this one, from the next port of the same peer: for what has to do with several connections, such
    /// as a proxy or a chat.
    #[track_caller]
    pub fn beside<Q: Protocol>(&self, protocol: Q) -> MemoryTransport<Q> {
        let port = CLIENT.1 + self.wire.borrow().len() as u16;
        let addrs = (SERVER.into(), (CLIENT.0, port).into());
        MemoryTransport::on(&self.reactor, &self.wire, protocol, addrs)
    }

    /// Connects the protocol that a factory makes, with the layers and policies it adds; `None` if it refuses. Of the factory nothing but `build_protocol` is
    /// called.
    #[track_caller]
    pub fn accept(factory: &mut impl Factory<Protocol = P>) -> Option<Self> {
        let wire = Wire::new(usize::MAX);
        let reactor = Reactor::new(wire.driver());
        start(&reactor);
        let peer = Addr::from(CLIENT);
        let handle = wire.open(SERVER.into(), peer.clone());
        let mut link = Link::new(&reactor, handle, peer);
        let protocol = factory.build_protocol(&mut link)?;
        let Link { peer, layers, .. } = link;
        Some(Self::establish(&reactor, &wire, handle, peer, layers, protocol))
    }

    /// Connects a protocol on a reactor that may have others.
    #[track_caller]
    pub(super) fn on(
        reactor: &Reactor,
        wire: &Wire,
        protocol: P,
        (local, peer): (Addr, Addr),
    ) -> Self {
        let handle = wire.open(local, peer.clone());
        Self::establish(reactor, wire, handle, peer, Vec::new(), protocol)
    }

    #[track_caller]
    fn establish(
        reactor: &Reactor,
        wire: &Wire,
        handle: Handle,
        peer: Addr,
        layers: Vec<Addition>,
        protocol: P,
    ) -> Self {
        let site = Location::caller();
        let reason = Rc::<RefCell<Option<CloseReason>>>::default();
        let found = Rc::<Cell<Option<Transport>>>::default();
        let (told, placed) = (Rc::clone(&reason), Rc::clone(&found));
        // In a turn, as every connection is made.
        reactor.call_soon(move |reactor| {
            let mut link = Link::new(reactor, handle, peer);
            link.layers = layers;
            let transport = place(link, protocol, site);
            made(&transport);
            // Also if it was lost inside connection_made: its farewell is still to come.
            transport.engine(|stream| {
                stream.head().on_lost(Box::new(move |reason| *told.borrow_mut() = Some(reason)));
            });
            placed.set(Some(transport));
        });
        settle(reactor, wire);
        let Some(transport) = found.take() else { panic!("connected from inside a callback") };
        Self {
            reactor: reactor.clone(),
            wire: wire.clone(),
            handle,
            connection: Connection::new(transport.clone()),
            transport,
            reason,
            asked: Cell::new(false),
        }
    }

    // ---- the peer's part

    /// The peer sends bytes: the protocol gets them in one piece, or in pieces of at most 64 KiB. While it has paused they wait; once this side
    /// has closed they go nowhere.
    ///
    /// # Panics
    ///
    /// After [`end_of_stream`](Self::end_of_stream) or [`lose`](Self::lose).
    #[track_caller]
    #[doc(alias = "dataReceived")]
    pub fn receive(&self, bytes: &[u8]) {
        self.wire.borrow().end(self.handle).push(bytes);
        self.settle();
    }

    /// The peer sends bytes that arrive one at a time: what a protocol makes of them must not depend on that.
    ///
    /// # Panics
    ///
    /// As [`receive`](Self::receive).
    #[track_caller]
    pub fn receive_bytewise(&self, bytes: &[u8]) {
        for byte in bytes {
            self.receive(std::slice::from_ref(byte));
        }
    }

    /// The peer sends no more.
    #[doc(alias = "readConnectionLost")]
    pub fn end_of_stream(&self) {
        self.wire.borrow().end(self.handle).push_end();
        self.settle();
    }

    /// The connection breaks with this error, such as `ErrorKind::ConnectionReset`; bytes that wait to be received, or to leave, are
    /// destroyed.
    #[doc(alias = "connectionLost")]
    pub fn lose(&self, error: impl Into<OsError>) {
        self.wire.borrow().end(self.handle).break_with(error.into());
        self.settle();
    }

    /// What this side has sent and the peer has not taken.
    #[doc(alias = "value")]
    pub fn written(&self) -> Vec<u8> {
        self.settle();
        self.wire.borrow().end(self.handle).written.clone()
    }

    /// Takes what this side has sent, as the peer does by reading. That makes room where [`set_window`](Self::set_window) has bounded it,
    /// so that more may follow.
    #[doc(alias = "clear")]
    pub fn take_written(&self) -> Vec<u8> {
        self.settle();
        let taken = std::mem::take(&mut self.wire.borrow().end(self.handle).written);
        self.settle();
        taken
    }

    /// Takes what this side has sent, and what follows because there is room again, until nothing more follows: a producer is run to its
    /// end.
    ///
    /// # Panics
    ///
    /// If it has no end within 16 MiB.
    pub fn drain(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let taken = self.take_written();
            if taken.is_empty() {
                return all;
            }
            all.extend_from_slice(&taken);
            assert!(all.len() <= DRAINED, "what is written has no end: {} bytes so far", all.len());
        }
    }

    /// How many bytes this side may send before the peer must take some; without bound at first. Beyond it the transport
    /// queues, producers are paused and [`Transport::pending`] grows, as with a peer that does not read.
    pub fn set_window(&self, bytes: usize) {
        self.wire.borrow().end(self.handle).window = bytes;
        self.settle();
    }

    // ---- time

    /// Moves the clock. Timers run in their order, each at its own time.
    pub fn advance(&self, time: Duration) {
        advance(&self.reactor, &self.wire, time);
    }

    /// Lets happen what is due at the present moment. Only needed after touching the protocol or the transport past this object, and even then every
    /// other method does it.
    ///
    /// # Panics
    ///
    /// If there is no end of it, as with a call that schedules itself without delay.
    pub fn settle(&self) {
        settle(&self.reactor, &self.wire);
    }

    /// The reactor that the connection lives on. It has no network: listening and connecting fail.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    // ---- looking

    /// The transport, as the protocol is shown it.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The handle of the connection.
    pub fn connection(&self) -> &Connection<P> {
        &self.connection
    }

    /// Works with the protocol, and lets happen what follows.
    ///
    /// # Panics
    ///
    /// If the protocol is gone, has handed over to another, or is in a callback; and with what `f` panics with, which also ends the connection.
    #[track_caller]
    pub fn with<R>(&self, f: impl FnOnce(&mut P, &Transport) -> R) -> R {
        self.settle();
        match self.connection.try_with(f) {
            Ok(result) => {
                self.settle();
                result
            }
            Err(error) => match self.reason() {
                Some(CloseReason::Panicked(message)) => panic!("{message}"),
                _ => panic!("the protocol cannot be reached: {error}"),
            },
        }
    }

    /// Whether the connection stands: neither closing nor lost.
    pub fn is_open(&self) -> bool {
        self.settle();
        self.transport().is_open()
    }

    /// Whether this side is closing, and still waits for what it wrote to leave, or for its producer.
    #[doc(alias = "disconnecting")]
    pub fn is_closing(&self) -> bool {
        self.has(flag::CLOSING) && !self.has(flag::LOST)
    }

    /// Whether this side has reset the connection: it was aborted, or its protocol failed.
    #[doc(alias = "aborting")]
    pub fn is_aborted(&self) -> bool {
        self.settle();
        self.wire.borrow().end(self.handle).closed == Some(Close::Reset)
            && !matches!(*self.reason.borrow(), Some(CloseReason::Lost(_)))
    }

    /// Whether this side has told the peer that it sends no more, by half-closing or by closing.
    pub fn is_write_closed(&self) -> bool {
        self.settle();
        let mut wire = self.wire.borrow();
        let end = wire.end(self.handle);
        end.write_ended || end.closed.is_some()
    }

    /// Whether reading is paused.
    #[doc(alias = "producerState")]
    pub fn is_paused(&self) -> bool {
        self.has(flag::PAUSED) && !self.has(flag::LOST)
    }

    /// How the connection has ended: what `connection_lost` was told last, or `None` if it has not.
    pub fn reason(&self) -> Option<CloseReason> {
        self.settle();
        let reason = self.reason.borrow().clone();
        if reason.is_some() {
            self.asked.set(true);
        }
        reason
    }

    fn has(&self, flags: u32) -> bool {
        self.settle();
        let mut has = false;
        self.transport().engine(|stream| has = stream.head().has(flags));
        has
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }
}

impl<P> Drop for MemoryTransport<P> {
    fn drop(&mut self) {
        self.transport.engine(|stream| stream.end(CloseReason::Stopped));
        if std::thread::panicking() {
            return;
        }
        settle(&self.reactor, &self.wire);
        if !self.asked.get()
            && let Some(CloseReason::Panicked(message)) = &*self.reason.borrow()
        {
            panic!("{} panicked: {message}", std::any::type_name::<P>());
        }
    }
}

impl<P> fmt::Debug for MemoryTransport<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("protocol", &std::any::type_name::<P>())
            .finish_non_exhaustive()
    }
}

/// Starts a reactor made just now.
pub(super) fn start(reactor: &Reactor) {
    if let Err(error) = reactor.start() {
        panic!("a new reactor does not start: {error}");
    }
}

/// Turns a reactor until nothing is left to do at the present moment. From inside one of its callbacks that happens anyway, later.
#[track_caller]
pub(super) fn settle(reactor: &Reactor, wire: &Wire) {
    for _ in 0..TURNS {
        match reactor.turn(Some(Duration::ZERO)) {
            Ok(_) => {}
            Err(RunError::Nested) => return,
            Err(error) => panic!("the reactor cannot be turned: {error}"),
        }
        let now = wire.borrow().now;
        if !wire.has_report() && reactor.next_wakeup().is_none_or(|at| at > now) {
            return;
        }
    }
    panic!("still busy after {TURNS} turns at one moment");
}

/// Moves the clock from deadline to deadline.
#[track_caller]
pub(super) fn advance(reactor: &Reactor, wire: &Wire, time: Duration) {
    settle(reactor, wire);
    let target = wire.borrow().now + time;
    loop {
        let now = wire.borrow().now;
        // Inside a callback nothing runs, and what is due stays so: only the clock moves.
        let next = reactor.next_wakeup().filter(|at| *at > now && *at <= target);
        wire.borrow().now = next.unwrap_or(target);
        settle(reactor, wire);
        if next.is_none() {
            return;
        }
    }
}

/// Addresses for documentation (RFC 5737).
pub(super) const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);
pub(super) const CLIENT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 50_000);

/// More turns than these at one moment have no end.
const TURNS: usize = 100_000;
/// More bytes than these have no end.
const DRAINED: usize = 16 << 20;
