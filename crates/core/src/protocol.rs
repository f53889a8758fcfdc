//! Your code: what is told to the owner of one connection, and what makes such owners.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::connector::Connector;
use crate::driver::Handle;
use crate::layer::{Addition, Layer};
use crate::policy::{Placed, Policy};
use crate::transport::AnyProtocol;
use crate::{Addr, CloseReason, ConnectError, Reactor, Transport};

/// The owner of one connection: one object each, told what happened, one callback at a time.
///
/// Every callback gets the connection's [`Transport`]; clone it to write from elsewhere. See the crate's front page, "How callbacks are
/// called", for what a protocol may rely on.
///
/// ```
/// use marline_core::{Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// ```
pub trait Protocol: 'static {
    /// The connection stands. Called first, once.
    #[doc(alias = "connectionMade")]
    #[doc(alias = "makeConnection")]
    fn connection_made(&mut self, _transport: &Transport) {}

    /// Bytes have arrived: any number, cut anywhere. They are lent for the call; writing them, or parts of them, to a transport
    /// copies nothing as long as the system takes them at once.
    #[doc(alias = "dataReceived")]
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// A descriptor has come over a UNIX connection: it is yours, and open until you drop it. Called for each, before the
    /// [`data_received`](Self::data_received) of the bytes that it came with; while reading is paused it is held as they are. By default it is closed, and
    /// a warning logged.
    #[cfg(unix)]
    #[doc(alias = "fileDescriptorReceived")]
    fn descriptor_received(&mut self, transport: &Transport, descriptor: std::os::fd::OwnedFd) {
        drop(descriptor);
        let peer = transport.peer_addr();
        crate::log::engine::descriptor_unwanted(std::any::type_name::<Self>(), &peer);
    }

    /// The peer will send no more (it may still read). By default this side closes as well, after delivering what it wrote: override it to
    /// go on writing; then this side must close when it is done.
    #[doc(alias = "readConnectionLost")]
    fn read_connection_lost(&mut self, transport: &Transport) {
        transport.lose_connection();
    }

    /// After [`Transport::lose_write_connection`] everything written has left, and the peer is told that there is no more.
    #[doc(alias = "writeConnectionLost")]
    fn write_connection_lost(&mut self, _transport: &Transport) {}

    /// Everything written has left, after [`Transport::notify_writable`] asked for it; once.
    fn writable(&mut self, _transport: &Transport) {}

    /// The connection has ended. Called last, exactly once, whatever happened; the transport still answers, and does nothing.
    /// Afterwards the protocol is dropped.
    #[doc(alias = "connectionLost")]
    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {}
}

/// Makes a protocol per connection; what outlives connections lives here.
///
/// A closure without arguments is a factory: `|| Echo`. One that wants to know who connects is made with [`from_fn`]. A factory for
/// several ports is made with [`shared`].
pub trait Factory: 'static {
    /// What it makes.
    type Protocol: Protocol;

    /// Makes the protocol of a new connection, or `None` to close it at once. A panic here closes that connection alone.
    #[doc(alias = "buildProtocol")]
    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<Self::Protocol>;

    /// The first port (or connector) of this factory has started.
    #[doc(alias = "startFactory")]
    #[doc(alias = "doStart")]
    fn start(&mut self) {}

    /// The last port (or connector) of this factory has ended.
    #[doc(alias = "stopFactory")]
    #[doc(alias = "doStop")]
    fn stop(&mut self) {}

    /// A connector of this factory begins an attempt.
    #[doc(alias = "startedConnecting")]
    fn started_connecting(&mut self, _connector: &Connector) {}

    /// The attempt failed. Calling [`Connector::connect`] here tries again.
    #[doc(alias = "clientConnectionFailed")]
    fn connection_failed(&mut self, _connector: &Connector, _error: &ConnectError) {}

    /// The connection of a connector has ended, after its protocol was told. Calling [`Connector::connect`] here connects anew.
    #[doc(alias = "clientConnectionLost")]
    fn connection_lost(&mut self, _connector: &Connector, _reason: &CloseReason) {}
}

impl<F, P> Factory for F
where
    F: FnMut() -> P + 'static,
    P: Protocol,
{
    type Protocol = P;

    fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<P> {
        Some(self())
    }
}

/// A factory from a closure that is shown the new connection, and may refuse it.
///
/// ```
/// use marline_core::protocol::from_fn;
/// # use marline_core::{Protocol, Transport};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// # }
///
/// let factory = from_fn(|link| link.peer().ip().is_some().then_some(Echo));
/// # let _ = factory;
/// ```
pub fn from_fn<F, P>(build: F) -> FromFn<F>
where
    F: FnMut(&mut Link<'_>) -> Option<P> + 'static,
    P: Protocol,
{
    FromFn(build)
}

/// A factory from a closure: see [`from_fn`].
#[derive(Clone)]
pub struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn(..)")
    }
}

impl<F, P> Factory for FromFn<F>
where
    F: FnMut(&mut Link<'_>) -> Option<P> + 'static,
    P: Protocol,
{
    type Protocol = P;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<P> {
        (self.0)(link)
    }
}

/// Makes one factory serve several ports and connectors; clone it for each. It is started with the first and stopped with the last.
pub fn shared<F: Factory>(factory: F) -> Shared<F> {
    Shared(Rc::new(RefCell::new((factory, 0))))
}

/// A factory that several ports and connectors share: see [`shared`].
pub struct Shared<F>(Rc<RefCell<(F, usize)>>);

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<F> fmt::Debug for Shared<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(..)")
    }
}

// The engine calls a factory only from the loop, at stack depth zero, so that these borrows never meet.
impl<F: Factory> Factory for Shared<F> {
    type Protocol = F::Protocol;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<F::Protocol> {
        self.0.borrow_mut().0.build_protocol(link)
    }

    fn start(&mut self) {
        let (factory, users) = &mut *self.0.borrow_mut();
        *users += 1;
        if *users == 1 {
            factory.start();
        }
    }

    fn stop(&mut self) {
        let (factory, users) = &mut *self.0.borrow_mut();
        *users = users.saturating_sub(1);
        if *users == 0 {
            factory.stop();
        }
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.0.borrow_mut().0.started_connecting(connector);
    }

    fn connection_failed(&mut self, connector: &Connector, error: &ConnectError) {
        self.0.borrow_mut().0.connection_failed(connector, error);
    }

    fn connection_lost(&mut self, connector: &Connector, reason: &CloseReason) {
        self.0.borrow_mut().0.connection_lost(connector, reason);
    }
}

/// A new connection, as a factory sees it before there is a protocol.
pub struct Link<'a> {
    pub(crate) reactor: &'a Reactor,
    pub(crate) handle: Handle,
    pub(crate) peer: Addr,
    pub(crate) layers: Vec<Addition>,
    /// Takes the place of what the factory makes.
    pub(crate) instead: Option<Box<dyn AnyProtocol>>,
}

impl<'a> Link<'a> {
    pub(crate) fn new(reactor: &'a Reactor, handle: Handle, peer: Addr) -> Self {
        Self { reactor, handle, peer, layers: Vec::new(), instead: None }
    }

    /// The address of the other end.
    #[doc(alias = "getPeer")]
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// The address of this end.
    #[doc(alias = "getHost")]
    pub fn local(&self) -> Option<Addr> {
        self.reactor.inner().driver().local_addr(self.handle)
    }

    /// The reactor that the connection lives on.
    pub fn reactor(&self) -> &Reactor {
        self.reactor
    }

    /// Puts a layer on top of those there are, before any byte is received.
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.layers.push(Addition::Layer(Box::new(layer)));
    }

    /// Puts a policy on top of the layers and policies there are, before any byte is received.
    pub fn add_policy(&mut self, policy: impl Policy) {
        self.layers.push(Addition::Policy(Box::new(Placed::new(Box::new(policy)))));
    }

    /// Gives a connection that was accepted a protocol of another type than the factory's own, if the factory then returns `None`
    /// (which closes the connection otherwise). A connector takes it for a refusal: its connection is typed.
    pub fn serve_with(&mut self, protocol: impl Protocol) {
        self.instead = Some(Box::new(protocol));
    }
}

impl fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).finish_non_exhaustive()
    }
}
