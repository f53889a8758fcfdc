//! Listening: ports, and how an accepted connection gets its protocol.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Deferred, Resolver};
use crate::destination::{Destination, Kind};
use crate::driver::{Close, Completion, Handle, ListenOptions, OsError};
use crate::failure::Failure;
use crate::layer::Addition;
use crate::log::engine as log;
use crate::panic::{guard, guard_quietly};
use crate::protocol::Link;
use crate::reactor::after::After;
use crate::reactor::beat::Callback;
use crate::reactor::inner::Inner;
use crate::reactor::source::{Entry, Open, Source};
use crate::transport::AnyProtocol;
use crate::transport::head::Head;
use crate::transport::stream::Stream;
use crate::{Addr, CloseReason, Factory, ListenError, Protocol, Reactor, Transport};

impl Reactor {
    /// Listens on a TCP port; each connection accepted gets a protocol from the factory. Port 0 lets the system choose:
    /// [`Port::local_addr`] tells.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously: nothing was started.
    #[track_caller]
    #[doc(alias = "listenTCP")]
    pub fn listen_tcp(
        &self,
        addr: impl Into<Destination>,
        factory: impl Factory,
    ) -> Result<Port, ListenError> {
        self.listen_tcp_with(addr, factory, ListenOptions::default())
    }

    /// Listens as [`listen_tcp`](Self::listen_tcp) does, with options.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously: nothing was started.
    #[track_caller]
    pub fn listen_tcp_with(
        &self,
        addr: impl Into<Destination>,
        factory: impl Factory,
        options: ListenOptions,
    ) -> Result<Port, ListenError> {
        let destination = addr.into();
        let addr = match destination.kind() {
            Kind::Addr(addr) => addr.clone(),
            _ => {
                let what = "not a numeric address of the form 127.0.0.1:80 or [::1]:80";
                let source = io::Error::new(io::ErrorKind::InvalidInput, what);
                return Err(ListenError { address: destination.to_string(), source });
            }
        };
        let port = Listener::new(self.inner(), addr, Some(options), factory, Location::caller());
        port.open()?;
        Ok(Port(port))
    }
}

/// A listening socket: a handle, which may be dropped; the port goes on.
#[derive(Clone)]
#[doc(alias = "IListeningPort")]
pub struct Port(Rc<dyn AnyPort>);

impl Port {
    /// The address it listens on, or listened on last.
    #[doc(alias = "getHost")]
    pub fn local_addr(&self) -> Addr {
        self.0.local_addr()
    }

    /// Whether it listens.
    pub fn is_listening(&self) -> bool {
        self.0.is_listening()
    }

    /// Stops listening; connections accepted before live on. The Deferred fires when the port is closed and the factory told; it fails if the factory
    /// panics then. It can be opened again.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&self) -> Deferred<()> {
        Rc::clone(&self.0).stop_listening()
    }

    /// Listens again after [`stop_listening`](Self::stop_listening), on the address asked for first. Does nothing while it listens.
    ///
    /// # Errors
    ///
    /// [`ListenError`], also once the last handle on its reactor was dropped; for an adopted socket, which is gone, `Unsupported`.
    #[doc(alias = "startListening")]
    pub fn start_listening(&self) -> Result<(), ListenError> {
        Rc::clone(&self.0).start_listening()
    }

    /// Accepts nothing for a while; who connects waits in the system's queue.
    pub fn pause(&self) {
        self.0.set_paused(true);
    }

    /// Accepts again.
    pub fn resume(&self) {
        self.0.set_paused(false);
    }

    /// Whether it was paused. One that is opened again is not.
    pub fn is_paused(&self) -> bool {
        self.0.is_paused()
    }

    /// A port of a handle that listens already.
    #[cfg(unix)]
    pub(crate) fn adopted(
        inner: &Rc<Inner>,
        handle: Handle,
        bound: Addr,
        factory: impl Factory,
        site: &'static Location<'static>,
    ) -> Self {
        let port = Listener::new(inner, bound.clone(), None, factory, site);
        port.opened(handle, bound);
        Self(port)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.local_addr())
    }
}

trait AnyPort {
    fn local_addr(&self) -> Addr;
    fn is_listening(&self) -> bool;
    fn stop_listening(self: Rc<Self>) -> Deferred<()>;
    fn start_listening(self: Rc<Self>) -> Result<(), ListenError>;
    fn set_paused(&self, paused: bool);
    fn is_paused(&self) -> bool;
}

/// The owner of a listening handle.
struct Listener<F> {
    inner: Rc<Inner>,
    /// As asked for.
    addr: Addr,
    /// `None` for a socket that somebody else has opened.
    options: Option<ListenOptions>,
    bound: RefCell<Option<(Handle, Addr)>>,
    paused: Cell<bool>,
    /// Borrowed while the factory is called, which is only from the loop.
    factory: RefCell<F>,
    /// Who waits for the port to be closed.
    stopping: Cell<Option<Vec<Resolver<()>>>>,
    site: &'static Location<'static>,
}

impl<F: Factory> Listener<F> {
    fn new(
        inner: &Rc<Inner>,
        addr: Addr,
        options: Option<ListenOptions>,
        factory: F,
        site: &'static Location<'static>,
    ) -> Rc<Self> {
        Rc::new(Self {
            inner: Rc::clone(inner),
            addr,
            options,
            bound: RefCell::new(None),
            paused: Cell::new(false),
            factory: RefCell::new(factory),
            stopping: Cell::new(None),
            site,
        })
    }

    fn open(self: &Rc<Self>) -> Result<(), ListenError> {
        let error = |source| ListenError { address: self.addr.to_string(), source };
        if self.inner.is_gone() {
            // Nobody would turn it, nor close the port.
            return Err(error(io::Error::other("the reactor is gone")));
        }
        let opened = match &self.options {
            Some(options) => self.inner.driver().listen(&self.addr, options),
            None => Err(OsError::UNSUPPORTED),
        };
        let (handle, bound) = opened.map_err(|os_error| {
            error(match &self.addr {
                Addr::Unix(_) => crate::unix::explain(os_error),
                _ => os_error.into(),
            })
        })?;
        self.opened(handle, bound);
        Ok(())
    }

    fn opened(self: &Rc<Self>, handle: Handle, bound: Addr) {
        log::port_opened(&bound, type_name::<F>());
        *self.bound.borrow_mut() = Some((handle, bound));
        self.paused.set(false);
        self.inner.insert(handle, Entry::Other(Rc::clone(self) as Rc<dyn Source>));
        // The factory may be in use further down the stack: it hears from the loop.
        let this = Rc::clone(self);
        self.inner.after(After::Call(Box::new(move || this.factory.borrow_mut().start())));
    }

    fn handle(&self) -> Option<Handle> {
        self.bound.borrow().as_ref().map(|(handle, _)| *handle)
    }
}

/// Gives a connection that came in a protocol from the factory, if that makes one. `port` is where it came in, if at one.
pub(crate) fn welcome<F: Factory>(
    inner: &Rc<Inner>,
    conn: Handle,
    port: Option<Handle>,
    factory: &RefCell<F>,
    site: &'static Location<'static>,
) {
    let Some(peer) = inner.driver().peer_addr(conn) else {
        // Gone before it could be asked.
        return inner.driver().close(conn, Close::Reset);
    };
    let reactor = Reactor::from_inner(inner);
    let mut link = Link::new(&reactor, conn, peer);
    let outer = inner.beat.begin(Callback::Factory, port);
    let built = guard(|| factory.borrow_mut().build_protocol(&mut link));
    inner.beat.end(outer);
    match built {
        Ok(Some(protocol)) => made(&place(link, protocol, site)),
        Ok(None) => match link.instead.take() {
            Some(other) => made(&place_other::<F::Protocol>(link, other, site)),
            None => inner.driver().close(conn, Close::Graceful),
        },
        Err(message) => {
            log::factory_panicked(&link.peer, &message);
            inner.driver().close(conn, Close::Reset);
        }
    }
}

/// Gives a new connection its protocol, which is to be told before anything else happens.
pub(crate) fn place<P: Protocol>(
    link: Link<'_>,
    protocol: P,
    site: &'static Location<'static>,
) -> Transport {
    install(link, site, |head| Transport::new(Rc::new(Stream::new(head, protocol))))
}

/// The same with a protocol of another type than the owner of the port is for.
fn place_other<P: Protocol>(
    link: Link<'_>,
    protocol: Box<dyn AnyProtocol>,
    site: &'static Location<'static>,
) -> Transport {
    install(link, site, |head| Transport::new(Rc::new(Stream::<P>::of_another(head, protocol))))
}

fn install(
    link: Link<'_>,
    site: &'static Location<'static>,
    build: impl FnOnce(Head) -> Transport,
) -> Transport {
    let Link { reactor, handle, peer, layers, instead } = link;
    let inner = reactor.inner();
    let head = Head::new(Rc::clone(inner), handle, peer, site);
    for addition in layers {
        match addition {
            Addition::Layer(layer) => head.start_layer(layer, &[]),
            Addition::Policy(policy) => head.start_policy(policy),
        }
    }
    // Not wanted after all: the user's object is dropped under guard.
    guard_quietly("drop", || drop(instead));
    let transport = build(head);
    inner.insert(handle, Entry::Stream(transport.clone()));
    inner.driver().receive(handle, true);
    transport
}

/// Tells the protocol of a new connection that it stands.
pub(crate) fn made(transport: &Transport) {
    transport.engine(|stream| stream.made(transport));
}

impl<F: Factory> Source for Listener<F> {
    fn completed(self: Rc<Self>, completion: Completion) {
        match completion {
            Completion::Accepted { conn, .. } => {
                welcome(&self.inner, conn, self.handle(), &self.factory, self.site);
            }
            Completion::AcceptFailed { error, .. } => {
                log::accept_failed(&self.addr, &error);
            }
            Completion::Failed { error, .. } => {
                log::port_lost(&self.addr, &error);
                self.end(CloseReason::Lost(error));
            }
            _ => {}
        }
    }

    fn lost(self: Rc<Self>) {
        let waiting = self.stopping.take().unwrap_or_default();
        log::port_closed(&self.local_addr(), type_name::<F>());
        let stop = || guard(|| self.factory.borrow_mut().stop());
        let stopped = self.inner.beat.around(Callback::Factory, stop);
        if let Err(message) = &stopped {
            log::factory_stop_panicked(type_name::<F>(), message);
        }
        for resolver in waiting {
            match &stopped {
                Ok(()) => resolver.resolve(()),
                Err(message) => {
                    resolver.fail(Failure::msg(format!("the factory panicked: {message}")));
                }
            }
        }
    }

    fn end(self: Rc<Self>, _reason: CloseReason) {
        let Some(handle) = self.handle() else { return };
        // Told once, however often it is closed.
        let entry = self.inner.remove(handle);
        if matches!(entry, Entry::Other(_)) {
            self.inner.driver().close(handle, Close::Graceful);
            self.inner.after(After::Lost(entry));
        }
    }

    fn describe(&self) -> Open {
        Open::new("port", self.local_addr().to_string(), self.site)
    }

    fn type_name(&self) -> Option<&'static str> {
        Some(type_name::<F>())
    }
}

impl<F: Factory> AnyPort for Listener<F> {
    fn local_addr(&self) -> Addr {
        self.bound.borrow().as_ref().map_or_else(|| self.addr.clone(), |(_, addr)| addr.clone())
    }

    fn is_listening(&self) -> bool {
        self.handle().is_some_and(|handle| self.inner.driver().local_addr(handle).is_some())
    }

    fn stop_listening(self: Rc<Self>) -> Deferred<()> {
        if !self.is_listening() {
            // Closed already, or about to be: nothing is left to wait for, unless somebody waits already.
            let Some(mut waiting) = self.stopping.take() else { return Deferred::ready(()) };
            let (deferred, resolver) = Deferred::new();
            waiting.push(resolver);
            self.stopping.set(Some(waiting));
            return deferred;
        }
        let (deferred, resolver) = Deferred::new();
        // Opened anew and stopped again before the first stop was told: both are told together.
        let mut waiting = self.stopping.take().unwrap_or_default();
        waiting.push(resolver);
        self.stopping.set(Some(waiting));
        self.end(CloseReason::Done);
        deferred
    }

    fn start_listening(self: Rc<Self>) -> Result<(), ListenError> {
        if self.is_listening() {
            return Ok(());
        }
        self.open()
    }

    fn set_paused(&self, paused: bool) {
        if self.paused.replace(paused) != paused
            && let Some(handle) = self.handle()
        {
            self.inner.driver().receive(handle, !paused);
        }
    }

    fn is_paused(&self) -> bool {
        self.paused.get()
    }
}
