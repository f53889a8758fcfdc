//! Connecting: attempts, and the connector that a client factory can connect with again and again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::connection::Connection;
use crate::deferred::Deferred;
use crate::destination::{Destination, Kind};
use crate::driver::{Close, Completion, ConnectFault, ConnectOptions, Handle};
use crate::panic::guard_quietly;
use crate::port::{made, place};
use crate::protocol::Link;
use crate::reactor::after::After;
use crate::reactor::beat::Callback;
use crate::reactor::inner::{Inner, Timer};
use crate::reactor::source::{Entry, Open, Source};
use crate::timers::Key;
use crate::transport::Transport;
use crate::{Addr, CloseReason, ConnectCause, ConnectError, Factory, Protocol, Reactor};

impl Reactor {
    /// Connects to a TCP port, by address or by name, and gives the connection this protocol. The result comes later, never from inside this
    /// call, and right after `connection_made`.
    ///
    /// Cancelling the Deferred gives up, and the protocol is dropped unheard. Cancelled from inside that very `connection_made` it aborts the
    /// connection, which nobody would hold: `connection_lost` follows, with [`CloseReason::Aborted`]. Dropping the Deferred changes nothing.
    ///
    /// Once the last handle on the reactor was dropped (a protocol that says farewell can still get at it) this fails at once, with
    /// [`ConnectCause::Stopped`].
    #[track_caller]
    #[doc(alias = "connectTCP")]
    pub fn connect_tcp<P: Protocol>(
        &self,
        to: impl Into<Destination>,
        protocol: P,
    ) -> Deferred<Connection<P>, ConnectError> {
        self.connect_tcp_with(to, protocol, ConnectOptions::default())
    }

    /// Connects as [`connect_tcp`](Self::connect_tcp) does, with options.
    #[track_caller]
    pub fn connect_tcp_with<P: Protocol>(
        &self,
        to: impl Into<Destination>,
        protocol: P,
        options: ConnectOptions,
    ) -> Deferred<Connection<P>, ConnectError> {
        let to = to.into();
        if self.inner().is_gone() {
            let cause = ConnectCause::Stopped;
            return Deferred::failed(ConnectError { destination: to.to_string(), cause });
        }
        let site = Location::caller();
        let under_way: Rc<Cell<Option<UnderWay>>> = Rc::default();
        let to_cancel = Rc::clone(&under_way);
        let (deferred, resolver) = Deferred::with_canceller(move || match to_cancel.take() {
            Some(UnderWay::Attempt(attempt)) => attempt.finish(Err(ConnectCause::Cancelled)),
            Some(UnderWay::Welcome(transport)) => transport.abort_connection(),
            None => {}
        });
        let inner = Rc::clone(self.inner());
        let welcoming = Rc::clone(&under_way);
        let done: Outcome = Box::new(move |result| {
            let result = result.and_then(|(handle, destination)| {
                // Nothing of the user's runs between the driver's word that the connection stands and this.
                debug_assert!(!resolver.is_cancelled());
                let reactor = Self::from_inner(&inner);
                welcome(&reactor, handle, destination, site, |_| Some(protocol))
            });
            if let Ok(transport) = &result {
                welcoming.set(Some(UnderWay::Welcome(transport.clone())));
                made(transport);
            }
            resolver.finish(result.map(Connection::new));
        });
        let attempt = Attempt::begin(self.inner(), to, options, site, done);
        under_way.set(Some(UnderWay::Attempt(attempt)));
        deferred
    }

    /// Connects with a factory that hears of every attempt, and can connect again from inside its notices. The first attempt begins at once.
    #[track_caller]
    #[doc(alias = "ClientFactory")]
    pub fn connector_tcp(&self, to: impl Into<Destination>, factory: impl Factory) -> Connector {
        self.connector_tcp_with(to, factory, ConnectOptions::default())
    }

    /// Connects as [`connector_tcp`](Self::connector_tcp) does, with options.
    #[track_caller]
    pub fn connector_tcp_with(
        &self,
        to: impl Into<Destination>,
        factory: impl Factory,
        options: ConnectOptions,
    ) -> Connector {
        let connector = Connector(Rc::new(Client {
            inner: Rc::clone(self.inner()),
            destination: to.into(),
            options,
            factory: Box::new(RefCell::new(factory)),
            state: RefCell::new(State::Disconnected),
            calls: Cell::new(0),
            started: Cell::new(false),
            in_notice: Cell::new(false),
            site: Location::caller(),
        }));
        // Nothing can stand in the way of the first attempt.
        let _ = connector.connect();
        connector
    }
}

/// What there is to end when the Deferred of an attempt is cancelled.
enum UnderWay {
    Attempt(Rc<Attempt>),
    /// The connection stands, and its protocol is being told.
    Welcome(Transport),
}

/// Gives a connection that stands to the protocol that `build` makes, which is to be told next.
fn welcome<P: Protocol>(
    reactor: &Reactor,
    handle: Handle,
    destination: String,
    site: &'static Location<'static>,
    build: impl FnOnce(&mut Link<'_>) -> Option<P>,
) -> Result<Transport, ConnectError> {
    let inner = reactor.inner();
    let error = |cause| ConnectError { destination, cause };
    let Some(peer) = inner.driver().peer_addr(handle) else {
        inner.driver().close(handle, Close::Reset);
        return Err(error(ConnectCause::Refused));
    };
    let mut link = Link::new(reactor, handle, peer);
    let built = inner.beat.around(Callback::Factory, || crate::panic::guard(|| build(&mut link)));
    let protocol = match built {
        Ok(protocol) => protocol,
        Err(message) => {
            crate::log::engine::factory_panicked(&link.peer, &message);
            None
        }
    };
    let Some(protocol) = protocol else {
        inner.driver().close(handle, Close::Graceful);
        return Err(error(ConnectCause::NoProtocol));
    };
    Ok(place(link, protocol, site))
}

// ---- one attempt

/// Told what an attempt came to: the driver's handle, or why not.
type Outcome = Box<dyn FnOnce(Result<(Handle, String), ConnectError>)>;

/// One attempt to connect: name lookup, the addresses one after the other, and the time-out over all.
struct Attempt {
    inner: Rc<Inner>,
    destination: Destination,
    options: ConnectOptions,
    addrs: RefCell<std::vec::IntoIter<Addr>>,
    handle: Cell<Option<Handle>>,
    timer: Cell<Option<Key>>,
    /// The look-up of its name that it waits for.
    lookup: Cell<Option<u64>>,
    /// Taken when it is over.
    done: Cell<Option<Outcome>>,
    site: &'static Location<'static>,
}

impl Attempt {
    fn begin(
        inner: &Rc<Inner>,
        destination: Destination,
        options: ConnectOptions,
        site: &'static Location<'static>,
        done: Outcome,
    ) -> Rc<Self> {
        let attempt = Rc::new(Self {
            inner: Rc::clone(inner),
            destination,
            options,
            addrs: RefCell::default(),
            handle: Cell::new(None),
            timer: Cell::new(None),
            lookup: Cell::new(None),
            done: Cell::new(Some(done)),
            site,
        });
        if let Some(timeout) = attempt.options.timeout {
            let this = Rc::clone(&attempt);
            let call = Box::new(move |_: &Reactor| this.finish(Err(ConnectCause::TimedOut)));
            let deadline = inner.now() + timeout;
            let timer = Timer { call, site };
            let key = inner.set_timer(deadline, timer);
            attempt.timer.set(Some(key));
        }
        match attempt.destination.kind() {
            Kind::Addr(addr) => {
                *attempt.addrs.borrow_mut() = vec![addr.clone()].into_iter();
                attempt.try_next(ConnectCause::NoRoute);
            }
            Kind::Name(name, port) => {
                let (this, port) = (Rc::clone(&attempt), *port);
                let lookup = inner.resolve_then(
                    name,
                    Box::new(move |resolved| {
                        this.resolved();
                        match resolved {
                            Ok(ips) => {
                                let addrs: Vec<_> =
                                    ips.into_iter().map(|ip| Addr::from((ip, port))).collect();
                                *this.addrs.borrow_mut() = addrs.into_iter();
                                this.try_next(ConnectCause::NoRoute);
                            }
                            Err(error) => this.finish(Err(ConnectCause::UnknownName(error))),
                        }
                    }),
                );
                attempt.lookup.set(Some(lookup));
                let source = Rc::clone(&attempt) as Rc<dyn Source>;
                inner.resolving.borrow_mut().insert(lookup, source);
            }
            Kind::Unreadable(_) => attempt.finish(Err(ConnectCause::Address)),
        }
        attempt
    }

    /// It does not wait for a look-up any more.
    fn resolved(&self) {
        if let Some(lookup) = self.lookup.take() {
            let this = self.inner.resolving.borrow_mut().remove(&lookup);
            drop(this);
            drop(self.inner.forget_job(lookup));
        }
    }

    /// Tries the next address. `cause` is what the one before failed of.
    fn try_next(self: &Rc<Self>, mut cause: ConnectCause) {
        if self.is_over() {
            return;
        }
        loop {
            let Some(addr) = self.addrs.borrow_mut().next() else {
                return self.finish(Err(cause));
            };
            let begun = self.inner.driver().connect(&addr, &self.options);
            match begun {
                Ok(handle) => {
                    self.handle.set(Some(handle));
                    return self
                        .inner
                        .insert(handle, Entry::Other(Rc::clone(self) as Rc<dyn Source>));
                }
                Err(ConnectFault::Bind(error)) => cause = ConnectCause::Bind(error),
                Err(ConnectFault::Connect(error)) => cause = ConnectCause::from_os(error),
            }
        }
    }

    fn is_over(&self) -> bool {
        let done = self.done.take();
        let over = done.is_none();
        self.done.set(done);
        over
    }

    /// It is over: whoever waits is told from the loop, once.
    fn finish(&self, result: Result<Handle, ConnectCause>) {
        let Some(done) = self.done.take() else { return };
        if let Some(key) = self.timer.take() {
            let timer = self.inner.cancel_timer(key);
            drop(timer);
        }
        self.resolved();
        let destination = self.destination.to_string();
        let result = match result {
            Ok(handle) => Ok((handle, destination)),
            Err(cause) => {
                if let Some(handle) = self.handle.take() {
                    self.inner.driver().close(handle, Close::Reset);
                    let this = self.inner.remove(handle);
                    drop(this);
                }
                Err(ConnectError { destination, cause })
            }
        };
        self.inner.after(After::Call(Box::new(move || done(result))));
    }
}

impl Source for Attempt {
    fn completed(self: Rc<Self>, completion: Completion) {
        match completion {
            Completion::Connected { conn } => {
                self.inner.remove(conn);
                self.handle.set(None);
                self.finish(Ok(conn));
            }
            Completion::Failed { handle, error } => {
                self.inner.driver().close(handle, Close::Reset);
                self.inner.remove(handle);
                self.handle.set(None);
                self.try_next(ConnectCause::from_os(error));
            }
            _ => {}
        }
    }

    fn lost(self: Rc<Self>) {}

    fn end(self: Rc<Self>, _reason: CloseReason) {
        self.finish(Err(ConnectCause::Stopped));
    }

    fn describe(&self) -> Open {
        Open::new("connector", self.destination.to_string(), self.site)
    }
}

// ---- connectors

/// Connects a factory's protocols to one destination, as often as it is told to: a handle, cheap to clone.
#[derive(Clone)]
#[doc(alias = "IConnector")]
pub struct Connector(Rc<Client>);

struct Client {
    inner: Rc<Inner>,
    destination: Destination,
    options: ConnectOptions,
    factory: Box<dyn AnyFactory>,
    state: RefCell<State>,
    /// How often `connect` was called: the number of the last call.
    calls: Cell<u64>,
    /// Whether the factory was told that it is in use.
    started: Cell<bool>,
    /// Whether the factory is being told of an end.
    in_notice: Cell<bool>,
    site: &'static Location<'static>,
}

/// Attempts that have not begun carry the number of their call, since one that was given up is still to be told when the next waits already.
enum State {
    Disconnected,
    /// `connect` was called; the attempt begins from the loop, after the present callback.
    Starting(u64),
    /// `connect` was called inside a notice; the attempt begins in a turn of its own.
    Queued(u64),
    /// The same, but it was given up: in its turn it fails.
    Doomed(u64),
    Connecting(Rc<Attempt>),
    Connected(Transport),
}

impl State {
    /// Whether the attempt of this call is still to begin.
    fn awaits(&self, call: u64) -> bool {
        match self {
            Self::Starting(waiting) | Self::Queued(waiting) | Self::Doomed(waiting) => {
                *waiting == call
            }
            _ => false,
        }
    }
}

/// A connector is connecting, or connected, already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyConnecting;

impl fmt::Display for AlreadyConnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector is connecting, or connected, already")
    }
}

impl std::error::Error for AlreadyConnecting {}

/// A connector has no attempt under way that could be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "NotConnectingError")]
pub struct NotConnecting;

impl fmt::Display for NotConnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connector is not connecting")
    }
}

impl std::error::Error for NotConnecting {}

impl Connector {
    /// Begins an attempt. The factory hears `started_connecting`, and later of the outcome, from the loop. May be called from inside the factory's notices,
    /// which keeps the factory started. Once the last handle on its reactor was dropped nothing begins any more, and nobody is told.
    ///
    /// # Errors
    ///
    /// [`AlreadyConnecting`] unless it is disconnected.
    pub fn connect(&self) -> Result<(), AlreadyConnecting> {
        if !matches!(*self.0.state.borrow(), State::Disconnected) {
            return Err(AlreadyConnecting);
        }
        if self.0.inner.is_gone() {
            return Ok(());
        }
        // From inside a notice in a turn of its own: one that connects again whenever an attempt fails at once must not keep the loop from all else.
        let queued = self.0.in_notice.get();
        let call = self.0.calls.get() + 1;
        self.0.calls.set(call);
        self.set(if queued { State::Queued(call) } else { State::Starting(call) });
        let beginning = Beginning { connector: self.clone(), call, begun: Cell::new(false) };
        let begin = move || {
            beginning.begun.set(true);
            beginning.connector.begin(call);
        };
        if queued {
            self.0.inner.call_soon(Box::new(move |_| begin()));
        } else {
            self.0.inner.after(After::Call(Box::new(begin)));
        }
        Ok(())
    }

    /// Gives up the attempt: the factory hears `connection_failed` with [`ConnectCause::Cancelled`], from the loop.
    ///
    /// # Errors
    ///
    /// [`NotConnecting`] if there is none.
    #[doc(alias = "stopConnecting")]
    pub fn stop_connecting(&self) -> Result<(), NotConnecting> {
        let state = std::mem::replace(&mut *self.0.state.borrow_mut(), State::Disconnected);
        match state {
            State::Connecting(attempt) => {
                attempt.finish(Err(ConnectCause::Cancelled));
                self.set(State::Connecting(attempt));
                Ok(())
            }
            State::Queued(call) => {
                self.set(State::Doomed(call));
                Ok(())
            }
            State::Starting(_) => {
                self.failed_soon(ConnectCause::Cancelled);
                Ok(())
            }
            other => {
                self.set(other);
                Err(NotConnecting)
            }
        }
    }

    /// Ends whatever there is: gives up the attempt, or loses the connection.
    pub fn disconnect(&self) {
        let transport = match &*self.0.state.borrow() {
            State::Connected(transport) => Some(transport.clone()),
            _ => None,
        };
        match transport {
            Some(transport) => transport.lose_connection(),
            None => {
                // Nothing to end is what was asked for.
                let _ = self.stop_connecting();
            }
        }
    }

    /// What it connects to, as asked for and not as resolved.
    #[doc(alias = "getDestination")]
    pub fn destination(&self) -> &Destination {
        &self.0.destination
    }

    /// The connection, while there is one.
    pub fn transport(&self) -> Option<Transport> {
        match &*self.0.state.borrow() {
            State::Connected(transport) => Some(transport.clone()),
            _ => None,
        }
    }

    /// The reactor it lives on.
    pub fn reactor(&self) -> Reactor {
        Reactor::from_inner(&self.0.inner)
    }

    /// Whether both are handles of the same connector.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn set(&self, state: State) {
        let old = std::mem::replace(&mut *self.0.state.borrow_mut(), state);
        drop(old);
    }

    /// Whether the attempt of this call is still to begin.
    fn awaits(&self, call: u64) -> bool {
        self.0.state.borrow().awaits(call)
    }

    /// From the loop: tells the factory, then begins.
    fn begin(&self, call: u64) {
        let doomed = matches!(*self.0.state.borrow(), State::Doomed(_)) && self.awaits(call);
        if self.awaits(call) {
            self.set(State::Starting(call));
        }
        if !self.0.started.replace(true) {
            self.tell_factory(|| self.0.factory.start());
        }
        self.tell_factory(|| self.0.factory.started_connecting(self));
        // Given up, before or in the notice: that was told, or will be.
        if !self.awaits(call) {
            return;
        }
        if doomed {
            self.set(State::Disconnected);
            return self.failed_soon(ConnectCause::Cancelled);
        }
        let this = self.clone();
        let done: Outcome = Box::new(move |result| this.ended(result));
        let Client { inner, destination, options, site, .. } = &*self.0;
        let attempt = Attempt::begin(inner, destination.clone(), options.clone(), site, done);
        // An attempt that failed at once tells so from the loop, later than this.
        self.set(State::Connecting(attempt));
    }

    fn ended(&self, result: Result<(Handle, String), ConnectError>) {
        let made = result
            .and_then(|(handle, destination)| self.0.factory.welcome(self, handle, destination));
        if let Err(error) = made {
            self.set(State::Disconnected);
            self.tell_end(|factory| factory.connection_failed(self, &error));
        }
    }

    fn failed_soon(&self, cause: ConnectCause) {
        let this = self.clone();
        let error = ConnectError { destination: self.0.destination.to_string(), cause };
        self.0.inner.after(After::Call(Box::new(move || {
            this.tell_end(|factory| factory.connection_failed(&this, &error));
        })));
    }

    fn lost(&self, reason: &CloseReason) {
        self.set(State::Disconnected);
        self.tell_end(|factory| factory.connection_lost(self, reason));
    }

    /// Tells the factory of an end; if that did not begin anew, the factory is no longer in use.
    fn tell_end(&self, notice: impl FnOnce(&dyn AnyFactory)) {
        self.0.in_notice.set(true);
        self.tell_factory(|| notice(&*self.0.factory));
        self.0.in_notice.set(false);
        self.stop_if_idle();
    }

    /// Tells the factory that it is no longer in use, if it is not.
    fn stop_if_idle(&self) {
        let disconnected = matches!(*self.0.state.borrow(), State::Disconnected);
        if disconnected && self.0.started.replace(false) {
            self.tell_factory(|| self.0.factory.stop());
        }
    }

    /// Calls the factory from the loop; a panic is logged.
    fn tell_factory(&self, f: impl FnOnce()) {
        self.0.inner.beat.around(Callback::Factory, || guard_quietly("factory", f));
    }
}

/// An attempt that is to begin. If that never comes, for everything is closed before, the factory is no longer in use.
struct Beginning {
    connector: Connector,
    call: u64,
    begun: Cell<bool>,
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if self.begun.get() {
            return;
        }
        if self.connector.awaits(self.call) {
            self.connector.set(State::Disconnected);
        }
        let this = self.connector.clone();
        self.connector.0.inner.after(After::Call(Box::new(move || this.stop_if_idle())));
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({})", self.0.destination)
    }
}

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for Connector {}

/// A factory of any type, called from the loop only.
trait AnyFactory {
    fn start(&self);
    fn stop(&self);
    fn started_connecting(&self, connector: &Connector);
    fn connection_failed(&self, connector: &Connector, error: &ConnectError);
    fn connection_lost(&self, connector: &Connector, reason: &CloseReason);
    /// Gives a connection that stands its protocol.
    fn welcome(
        &self,
        connector: &Connector,
        handle: Handle,
        destination: String,
    ) -> Result<(), ConnectError>;
}

impl<F: Factory> AnyFactory for RefCell<F> {
    fn start(&self) {
        self.borrow_mut().start();
    }

    fn stop(&self) {
        self.borrow_mut().stop();
    }

    fn started_connecting(&self, connector: &Connector) {
        self.borrow_mut().started_connecting(connector);
    }

    fn connection_failed(&self, connector: &Connector, error: &ConnectError) {
        self.borrow_mut().connection_failed(connector, error);
    }

    fn connection_lost(&self, connector: &Connector, reason: &CloseReason) {
        self.borrow_mut().connection_lost(connector, reason);
    }

    fn welcome(
        &self,
        connector: &Connector,
        handle: Handle,
        destination: String,
    ) -> Result<(), ConnectError> {
        let (reactor, site) = (connector.reactor(), connector.0.site);
        let build = |link: &mut Link<'_>| self.borrow_mut().build_protocol(link);
        let transport = welcome(&reactor, handle, destination, site, build)?;
        // Before the protocol is told, which may end the connection at once.
        connector.set(State::Connected(transport.clone()));
        let this = connector.clone();
        transport.engine(|stream| {
            stream.head().on_lost(Box::new(move |reason| this.lost(&reason)));
        });
        made(&transport);
        Ok(())
    }
}
