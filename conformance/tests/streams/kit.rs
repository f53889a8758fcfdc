//! What checks of connections are written with: a protocol that keeps a tape of what it was told and whether the promises were kept, two such
//! protocols joined on one reactor, and turning until something is so.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::Ground;
use marline_core::deferred::{Deferred, Fault};
use marline_core::driver::{ConnectOptions, ListenOptions};
use marline_core::protocol::from_fn;
use marline_core::{
    Addr, CloseReason, ConnectCause, Connection, Port, Protocol, Reactor, Transport,
};

/// A reactor that was started, for a check that turns it.
pub(crate) fn started(ground: Ground) -> Reactor {
    let reactor = ground.bare_reactor();
    reactor.leave_signals_alone();
    reactor.start().unwrap();
    reactor
}

/// Turns until `condition`; fails the check if that takes more than 20 seconds by the reactor's clock. A turn is short: its timers come before
/// its wait, so that a long one would sleep over what a timer has brought about.
#[track_caller]
pub(crate) fn turn_until(reactor: &Reactor, what: &str, mut condition: impl FnMut() -> bool) {
    let begin = reactor.now();
    while !condition() {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
        assert!(reactor.now().since(begin) < Duration::from_secs(20), "never came: {what}");
    }
}

/// Gives what must not happen its chance to happen: 20 ms.
#[track_caller]
pub(crate) fn idle(reactor: &Reactor) {
    let over = Rc::new(Cell::new(false));
    let flag = Rc::clone(&over);
    reactor.call_later(Duration::from_millis(20), move |_| flag.set(true));
    turn_until(reactor, "the end of the pause", || over.get());
}

/// Bytes in an order that shows when some are lost, doubled or swapped.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Names what differs, and not with a megabyte of numbers.
#[track_caller]
pub(crate) fn assert_same(received: &[u8], sent: &[u8]) {
    let differs = received.iter().zip(sent).position(|(one, other)| one != other);
    assert_eq!(differs, None, "the byte at this place is another one");
    assert_eq!(received.len(), sent.len(), "how many bytes there are");
}

/// What a Deferred comes to.
pub(crate) struct Outcome<T, E>(Rc<RefCell<Option<Result<T, E>>>>);

impl<T: 'static, E: Fault> Outcome<T, E> {
    pub(crate) fn of(deferred: Deferred<T, E>) -> Self {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        deferred.done(move |result| *slot.borrow_mut() = Some(result));
        Self(result)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.borrow().is_some()
    }

    #[track_caller]
    pub(crate) fn take(&self) -> Result<T, E> {
        self.0.borrow_mut().take().expect("no result yet")
    }
}

// ---- the tape

/// What one protocol was told, shared with the check.
#[derive(Clone, Default)]
pub(crate) struct Tape(Rc<Record>);

#[derive(Default)]
struct Record {
    heard: RefCell<Vec<&'static str>>,
    bytes: RefCell<Vec<u8>>,
    reason: RefCell<Option<CloseReason>>,
    transport: RefCell<Option<Transport>>,
    inside: Cell<Option<&'static str>>,
    broken: RefCell<Vec<String>>,
    dropped: Cell<bool>,
}

impl Tape {
    /// The callbacks in the order they came, `data` once for any number of them in a row. Fails if one came out of order or inside another.
    #[track_caller]
    pub(crate) fn story(&self) -> String {
        self.assert_in_order();
        self.0.heard.borrow().join(" ")
    }

    #[track_caller]
    pub(crate) fn assert_in_order(&self) {
        assert!(self.0.broken.borrow().is_empty(), "{:?}", self.0.broken.borrow());
    }

    pub(crate) fn has(&self, callback: &str) -> bool {
        self.0.heard.borrow().contains(&callback)
    }

    pub(crate) fn is_made(&self) -> bool {
        self.has("made")
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.has("lost")
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.dropped.get()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.bytes.borrow().clone()
    }

    pub(crate) fn received(&self) -> usize {
        self.0.bytes.borrow().len()
    }

    #[track_caller]
    pub(crate) fn transport(&self) -> Transport {
        self.0.transport.borrow().clone().expect("no connection was made")
    }

    /// Why the connection ended, in one word of `CloseReason`, with the kind of error or the text where there is one.
    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        match self.0.reason.borrow().as_ref().expect("it has not ended") {
            CloseReason::Done => "Done".into(),
            CloseReason::Lost(error) => format!("Lost({:?})", error.kind()),
            CloseReason::Aborted => "Aborted".into(),
            CloseReason::TimedOut => "TimedOut".into(),
            CloseReason::Panicked(message) => format!("Panicked({message})"),
            CloseReason::Upgraded => "Upgraded".into(),
            CloseReason::Stopped => "Stopped".into(),
            CloseReason::Failed(failure) => format!("Failed({failure})"),
            other => format!("{other:?}"),
        }
    }

    fn enter(&self, name: &'static str) -> Inside {
        let record = &*self.0;
        let broken = |what: String| record.broken.borrow_mut().push(what);
        if let Some(outer) = record.inside.get() {
            broken(format!("{name} inside {outer}"));
        }
        if self.is_lost() {
            broken(format!("{name} after lost"));
        }
        if self.is_made() == (name == "made") {
            broken(format!("{name} after {:?}", record.heard.borrow()));
        }
        let mut heard = record.heard.borrow_mut();
        if name != "data" || heard.last() != Some(&"data") {
            heard.push(name);
        }
        Inside { tape: self.clone(), outer: record.inside.replace(Some(name)) }
    }
}

/// A callback is on the stack; also when it panics its end is seen.
struct Inside {
    tape: Tape,
    outer: Option<&'static str>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.tape.0.inside.set(self.outer);
    }
}

// ---- the protocol

type Hook = Box<dyn FnMut(&Transport)>;
type DataHook = Box<dyn FnMut(&Transport, &[u8])>;

/// A protocol that tapes what it is told and then does what the check wants. Without a `read_lost` of its own it closes, as protocols do.
#[derive(Default)]
pub(crate) struct Probe {
    tape: Tape,
    made: Option<Hook>,
    data: Option<DataHook>,
    read_lost: Option<Hook>,
    write_lost: Option<Hook>,
    writable: Option<Hook>,
    lost: Option<Hook>,
    /// Something for `Connection::with` to change.
    pub(crate) number: u32,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that stays when the peer ends its stream.
    pub(crate) fn half_close() -> Self {
        Self::new().on_read_lost(|_| {})
    }

    pub(crate) fn tape(&self) -> Tape {
        self.tape.clone()
    }

    pub(crate) fn on_made(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.made = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_data(mut self, hook: impl FnMut(&Transport, &[u8]) + 'static) -> Self {
        self.data = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_read_lost(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.read_lost = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_write_lost(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.write_lost = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_writable(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.writable = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_lost(mut self, hook: impl FnMut(&Transport) + 'static) -> Self {
        self.lost = Some(Box::new(hook));
        self
    }
}

impl Protocol for Probe {
    fn connection_made(&mut self, transport: &Transport) {
        let _inside = self.tape.enter("made");
        *self.tape.0.transport.borrow_mut() = Some(transport.clone());
        if let Some(hook) = &mut self.made {
            hook(transport);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let _inside = self.tape.enter("data");
        self.tape.0.bytes.borrow_mut().extend_from_slice(data);
        if let Some(hook) = &mut self.data {
            hook(transport, data);
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        let _inside = self.tape.enter("read_lost");
        match &mut self.read_lost {
            Some(hook) => hook(transport),
            None => transport.lose_connection(),
        }
    }

    fn write_connection_lost(&mut self, transport: &Transport) {
        let _inside = self.tape.enter("write_lost");
        if let Some(hook) = &mut self.write_lost {
            hook(transport);
        }
    }

    fn writable(&mut self, transport: &Transport) {
        let _inside = self.tape.enter("writable");
        if let Some(hook) = &mut self.writable {
            hook(transport);
        }
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        let _inside = self.tape.enter("lost");
        *self.tape.0.reason.borrow_mut() = Some(reason.clone());
        if let Some(hook) = &mut self.lost {
            hook(transport);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tape.0.dropped.set(true);
    }
}

// ---- two of them

/// Two ends of one connection on one reactor.
pub(crate) struct Ends {
    pub(crate) reactor: Reactor,
    pub(crate) port: Port,
    pub(crate) client: Tape,
    pub(crate) server: Tape,
    pub(crate) connected: Outcome<Connection<Probe>, marline_core::ConnectError>,
}

impl Ends {
    /// Listens on loopback and connects to it; nothing has happened yet.
    #[track_caller]
    pub(crate) fn begin(ground: Ground, client: Probe, server: Probe) -> Self {
        Self::begin_on(started(ground), client, server)
    }

    #[track_caller]
    pub(crate) fn begin_on(reactor: Reactor, client: Probe, server: Probe) -> Self {
        let (client_tape, server_tape) = (client.tape(), server.tape());
        let port = listen_once(&reactor, server);
        let connected = Outcome::of(reactor.connect_tcp(port.local_addr(), client));
        Self { reactor, port, client: client_tape, server: server_tape, connected }
    }

    /// Both have heard `connection_made`.
    #[track_caller]
    pub(crate) fn join(ground: Ground, client: Probe, server: Probe) -> Self {
        let ends = Self::begin(ground, client, server);
        ends.until("both ends were made", |ends| ends.client.is_made() && ends.server.is_made());
        ends
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        turn_until(&self.reactor, what, || condition(self));
    }

    /// Turns until both have heard `connection_lost`.
    #[track_caller]
    pub(crate) fn until_lost(&self) {
        self.until("both ends heard their end", |ends| {
            ends.client.is_lost() && ends.server.is_lost()
        });
        idle(&self.reactor);
        self.client.assert_in_order();
        self.server.assert_in_order();
    }

    #[track_caller]
    pub(crate) fn idle(&self) {
        idle(&self.reactor);
    }
}

/// Listens on a port of loopback; the first connection gets the protocol, others are refused.
#[track_caller]
pub(crate) fn listen_once(reactor: &Reactor, protocol: impl Protocol) -> Port {
    let mut protocol = Some(protocol);
    reactor.listen_tcp("127.0.0.1:0", from_fn(move |_| protocol.take())).unwrap()
}

/// Listens on a port of loopback; each connection gets what `build` makes.
#[track_caller]
pub(crate) fn listen(reactor: &Reactor, build: impl FnMut() -> Probe + 'static) -> Port {
    reactor.listen_tcp("127.0.0.1:0", build).unwrap()
}

/// Connects, and turns until the attempt has come to something: a peer that resets at once may do so before it is known to stand.
#[track_caller]
pub(crate) fn attempt(reactor: &Reactor, to: &Addr, protocol: Probe) {
    let connected = Outcome::of(reactor.connect_tcp(to, protocol));
    turn_until(reactor, "the attempt", || connected.is_there());
    drop(connected.take());
}

/// Connects and turns until the connection stands.
#[track_caller]
pub(crate) fn connect(reactor: &Reactor, to: &Addr, protocol: Probe) -> Connection<Probe> {
    let connected = Outcome::of(reactor.connect_tcp(to, protocol));
    turn_until(reactor, "the connection", || connected.is_there());
    connected.take().unwrap()
}

/// An address where nobody listens: that of a port just closed.
#[track_caller]
pub(crate) fn nobody(reactor: &Reactor) -> Addr {
    let port = listen(reactor, Probe::new);
    let addr = port.local_addr();
    let closed = Outcome::of(port.stop_listening());
    turn_until(reactor, "the port to close", || closed.is_there());
    closed.take().unwrap();
    addr
}

/// The usual options with a change.
pub(crate) fn listening(change: impl FnOnce(&mut ListenOptions)) -> ListenOptions {
    let mut options = ListenOptions::default();
    change(&mut options);
    options
}

/// The usual options with a change.
pub(crate) fn connecting(change: impl FnOnce(&mut ConnectOptions)) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    change(&mut options);
    options
}

/// The word for a cause, for assertions.
pub(crate) fn word(cause: &ConnectCause) -> &'static str {
    match cause {
        ConnectCause::Address => "Address",
        ConnectCause::UnknownName(_) => "UnknownName",
        ConnectCause::Bind(_) => "Bind",
        ConnectCause::Refused => "Refused",
        ConnectCause::NoRoute => "NoRoute",
        ConnectCause::TimedOut => "TimedOut",
        ConnectCause::Cancelled => "Cancelled",
        ConnectCause::NoProtocol => "NoProtocol",
        ConnectCause::Stopped => "Stopped",
        _ => "Os",
    }
}

/// What the reactor holds open, timers apart.
pub(crate) fn open_kinds(reactor: &Reactor) -> Vec<&'static str> {
    reactor.open().iter().map(|open| open.kind).filter(|kind| *kind != "timer").collect()
}
