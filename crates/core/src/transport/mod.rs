//! One end of a connection, as protocols and everybody else see it. The engine's own kind is in `stream.rs`, with what it shares
//! over all protocol types in `head.rs`; other kinds (in memory, a channel of a multiplexer) implement [`RawTransport`].

mod account;
pub(crate) mod cork;
mod descriptors;
mod file;
pub(crate) mod head;
mod layered;
mod output;
#[cfg(unix)]
mod passing;
mod policed;
mod queue;
pub(crate) mod stream;

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::connection::Connection;
use crate::deferred::{Deferred, Fault};
use crate::driver::{Handle, OsError, SocketOption};
use crate::flow::Producer;
use crate::layer::{Layer, Layers};
use crate::policy::Policy;
use crate::{Addr, Protocol, Reactor};
use stream::EngineStream;

pub(crate) use head::HIGH_WATER;

pub use descriptors::DescriptorOverrun;
pub use file::{SendFileCause, SendFileError, Sending};
#[cfg(unix)]
pub use passing::{DescriptorCause, DescriptorError};

/// A cheap, cloneable handle on one end of a connection of any kind.
///
/// Keep a clone to write to that connection from anywhere on the thread. No method blocks or calls user code: what follows from it comes
/// after the callback on the stack. All may be called from inside any callback, and do nothing once the connection is lost.
#[derive(Clone)]
#[doc(alias = "ITransport")]
#[doc(alias = "ITCPTransport")]
pub struct Transport(Rc<dyn RawTransport>);

impl Transport {
    /// A transport of another kind than the engine's own.
    pub fn new(raw: Rc<dyn RawTransport>) -> Self {
        Self(raw)
    }

    /// Sends bytes. They leave in the order written: what one callback writes leaves in one system call where it can, right after the
    /// callback for its own connection, at the end of the turn for others. Dropped silently once the connection is closing
    /// or lost, or its write side is; but while a close waits for a registered producer, what is written still leaves.
    #[inline]
    pub fn write(&self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Sends a buffer as [`write`](Self::write) does, without copying it: from more than 2 KiB on it is moved, and leaves from where it lies,
    /// right after the callback. (Layers make something else of it anyway, and take a copy if something is to pass before it.)
    pub fn write_owned(&self, bytes: Vec<u8>) {
        self.0.write_owned(bytes);
    }

    /// Sends several pieces, one after the other, in one system call where it can: buffers (`Vec<u8>`) are moved as by
    /// [`write_owned`](Self::write_owned) and never joined, slices are copied as by [`write`](Self::write), for they are sent after the callback.
    ///
    /// ```no_run
    /// # use marline_core::Transport;
    /// # fn answer(transport: &Transport, head: Vec<u8>, body: Vec<u8>) {
    /// transport.write_sequence([head, body]);
    /// transport.write_sequence([&b"END"[..], b"\r\n"]);
    /// # }
    /// ```
    #[doc(alias = "writeSequence")]
    #[doc(alias = "write_vectored")]
    pub fn write_sequence<'a, P: Into<Cow<'a, [u8]>>>(&self, pieces: impl IntoIterator<Item = P>) {
        for piece in pieces {
            match piece.into() {
                Cow::Borrowed(piece) => self.0.write(piece),
                Cow::Owned(piece) => self.0.write_owned(piece),
            }
        }
    }

    /// Delivers everything written before, waits for a registered producer, then closes. Nothing more is received meanwhile.
    #[doc(alias = "loseConnection")]
    pub fn lose_connection(&self) {
        self.0.lose_connection();
    }

    /// Drops what is unsent (also what the same callback wrote) and resets the connection.
    #[doc(alias = "abortConnection")]
    pub fn abort_connection(&self) {
        self.0.abort_connection();
    }

    /// Delivers everything written before, waits for a registered producer, then ends the write side alone. The peer's bytes still come.
    #[doc(alias = "loseWriteConnection")]
    #[doc(alias = "half-close")]
    pub fn lose_write_connection(&self) {
        self.0.lose_write_connection();
    }

    /// After this call no data arrives until [`resume_reading`](Self::resume_reading), not even what was already received. A reset of the
    /// connection is still noticed at once; the end of the peer's stream after the data before it, on resume.
    #[doc(alias = "pauseProducing")]
    pub fn pause_reading(&self) {
        self.0.pause_reading();
    }

    /// Data may arrive again; what was held comes first, after the callback on the stack. Does nothing while closing.
    #[doc(alias = "resumeProducing")]
    pub fn resume_reading(&self) {
        self.0.resume_reading();
    }

    /// Whether [`pause_reading`](Self::pause_reading) is in force.
    pub fn is_paused(&self) -> bool {
        self.0.is_paused()
    }

    /// Gives back bytes that were not used. They come again before any others: on resume, to the protocol that takes over, or joined with
    /// the next bytes that arrive.
    pub fn unread(&self, bytes: &[u8]) {
        self.0.unread(bytes);
    }

    /// Whether more should be read from it now: false while it is paused, and while a byte budget holds it up. A protocol that takes many
    /// messages out of one receive asks between two, and gives the rest back with [`unread`](Self::unread) if not; that comes again by itself.
    pub fn is_reading(&self) -> bool {
        self.0.is_reading()
    }

    /// Bounds what may wait on this connection, in bytes, in place of the common budget; `usize::MAX` for no bound. See
    /// [`Reactor::set_budgets`]. Transports of another kind than the engine's own may have no budget, and then this changes nothing.
    pub fn set_budget(&self, bytes: usize) {
        self.0.set_budget(bytes);
    }

    /// Tells how many bytes of input the protocol holds now, such as a message that has not ended: they count against the byte budgets until
    /// it tells another number, or hands over. If they alone exceed the connection's budget, it is ended: nothing else could free it. For protocols
    /// that hold input between two callbacks.
    pub fn account_held(&self, bytes: usize) {
        self.0.account_held(bytes);
    }

    /// The address of the other end; stays known after the connection is lost.
    #[doc(alias = "getPeer")]
    pub fn peer_addr(&self) -> Addr {
        self.0.peer_addr()
    }

    /// The address of this end, or `None` once the connection is lost if nobody asked before.
    #[doc(alias = "getHost")]
    pub fn local_addr(&self) -> Option<Addr> {
        self.0.local_addr()
    }

    /// Whether the connection stands: neither closing nor lost.
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Bytes written that the system has not taken yet, those of files included.
    pub fn pending(&self) -> usize {
        self.0.pending()
    }

    /// Calls [`Protocol::writable`] once, when everything written has left.
    pub fn notify_writable(&self) {
        self.0.notify_writable();
    }

    /// Registers what feeds this transport: a push producer (`streaming`) is assumed to run, is paused while more than 64 KiB wait to leave, and
    /// resumed when all have; a pull producer is asked for more at once and then whenever all has left. Once the connection is lost it is told to
    /// stop.
    ///
    /// # Errors
    ///
    /// [`AlreadyRegistered`] if there is one.
    #[doc(alias = "registerProducer")]
    pub fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        streaming: bool,
    ) -> Result<(), AlreadyRegistered> {
        self.0.register_producer(producer, streaming)
    }

    /// The producer has no more; a close that waited for it goes on.
    #[doc(alias = "unregisterProducer")]
    pub fn unregister_producer(&self) {
        self.0.unregister_producer();
    }

    /// Hands the connection to another protocol, after the callback on the stack: the present one hears
    /// `connection_lost(Upgraded)`, the next `connection_made`, then `rest` and what was held. If the connection ends first the next one is
    /// dropped unheard.
    pub fn upgrade<Q: Protocol>(&self, next: Q, rest: &[u8]) -> Connection<Q> {
        self.0.replace_protocol(Box::new(next), rest);
        Connection::new(self.clone())
    }

    /// Puts a layer on top of those there are, below every handle given out: what is written from now on passes through it, and so do
    /// `wire_rest` (bytes received but not used, which belong to the layer) and all that is received from now on.
    #[doc(alias = "startTLS")]
    pub fn start_layer(&self, layer: impl Layer, wire_rest: &[u8]) {
        self.0.start_layer(Box::new(layer), wire_rest);
    }

    /// Works with the topmost layer that is an `L`, for what that kind of layer can tell; `None` if there is none, or it is not in place yet.
    pub fn with_layer<L: Layer, R>(&self, f: impl FnOnce(&L) -> R) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.0.with_layers(&mut |layers| {
            if let (Some(layer), Some(f)) = (layers.find::<L>(), f.take()) {
                result = Some(f(layer));
            }
        });
        result
    }

    /// Puts a policy on top of the layers and policies there are. It is in place after the callback on the stack; what is written from
    /// now on passes it.
    #[doc(alias = "ProtocolWrapper")]
    pub fn start_policy(&self, policy: impl Policy) {
        self.0.start_policy(Box::new(policy));
    }

    /// Works with the topmost policy that is a `T`, to look at it or change it; `None` if there is none, or it is not in place yet. The
    /// policy heeds what was changed after the callback on the stack.
    pub fn with_policy<T: Policy, R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.0.with_policies(&mut |layers| {
            if let (Some(policy), Some(f)) = (layers.find_policy::<T>(), f.take()) {
                result = Some(f(policy));
            }
        });
        result
    }

    /// Turns `TCP_NODELAY` on or off. It is on from the start.
    #[doc(alias = "setTcpNoDelay")]
    pub fn set_no_delay(&self, on: bool) -> std::io::Result<()> {
        self.0.set_option(SocketOption::NoDelay(on))
    }

    /// Whether `TCP_NODELAY` is on.
    #[doc(alias = "getTcpNoDelay")]
    pub fn no_delay(&self) -> std::io::Result<bool> {
        match self.0.option(SocketOption::NoDelay(true))? {
            SocketOption::NoDelay(on) => Ok(on),
            _ => Err(OsError::UNSUPPORTED.into()),
        }
    }

    /// Turns `SO_KEEPALIVE` on or off. It is off from the start.
    #[doc(alias = "setTcpKeepAlive")]
    pub fn set_keep_alive(&self, on: bool) -> std::io::Result<()> {
        self.0.set_option(SocketOption::KeepAlive(on))
    }

    /// Whether `SO_KEEPALIVE` is on.
    #[doc(alias = "getTcpKeepAlive")]
    pub fn keep_alive(&self) -> std::io::Result<bool> {
        match self.0.option(SocketOption::KeepAlive(true))? {
            SocketOption::KeepAlive(on) => Ok(on),
            _ => Err(OsError::UNSUPPORTED.into()),
        }
    }

    /// The reactor it lives on, if it lives on one.
    pub fn reactor(&self) -> Option<Reactor> {
        self.0.reactor()
    }

    /// The typed handle of this connection, if its protocol is a `P`; also from inside a callback of that protocol.
    pub fn connection<P: Protocol>(&self) -> Option<Connection<P>> {
        (self.0.protocol_type() == Some(TypeId::of::<P>())).then(|| Connection::new(self.clone()))
    }

    /// Goes on in the protocol when a result is there: `f` runs inside the protocol as
    /// [`Connection::with`] does, and is dropped unheard once the connection is lost or belongs to another protocol.
    pub fn then<P, T, E>(
        &self,
        deferred: Deferred<T, E>,
        f: impl FnOnce(&mut P, Result<T, E>, &Self) + 'static,
    ) where
        P: Protocol,
        T: 'static,
        E: Fault,
    {
        let connection = Connection::<P>::new(self.clone());
        deferred.done(move |result| {
            // The answer of `with` says only whether the connection was still there, which nobody waits for.
            connection.with(move |protocol, transport| f(protocol, result, transport)).ignore();
        });
    }

    /// Whether both are handles of the same end.
    pub fn same(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Rc::as_ptr(&self.0), Rc::as_ptr(&other.0))
    }

    /// The transport's own object, for optional abilities of its kind.
    pub fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }

    #[inline]
    pub(crate) fn raw(&self) -> &dyn RawTransport {
        &*self.0
    }

    /// Works with the engine's own part of it, if it is one of the engine's streams.
    pub(crate) fn engine(&self, f: impl FnOnce(&dyn EngineStream)) {
        if let Some(stream) = self.0.__engine() {
            f(stream);
        }
    }

    pub(crate) fn is_engine_stream(&self, handle: Handle) -> bool {
        self.0.__engine().is_some_and(|stream| stream.head().handle() == handle)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({})", self.peer_addr())
    }
}

/// Transports are equal when they are handles of the same end.
impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl Eq for Transport {}

/// A push producer that pauses and resumes reading: register one transport with another, and the slow one slows the fast one.
impl Producer for Transport {
    fn resume_producing(&self) {
        self.resume_reading();
    }

    fn pause_producing(&self) {
        self.pause_reading();
    }

    fn stop_producing(&self) {
        self.lose_connection();
    }
}

/// What a transport of another kind implements; the contract of each method is that of [`Transport`]'s of the same name.
///
/// No method may call user code: what follows from it comes later.
#[allow(missing_docs, reason = "the contract of each is that of the method of the same name above")]
pub trait RawTransport: 'static {
    fn write(&self, bytes: &[u8]);
    /// Transports that have no use for a buffer of the caller's write it: the default.
    fn write_owned(&self, bytes: Vec<u8>) {
        self.write(&bytes);
    }
    /// Transports that send no files say so: the default.
    fn send_file(&self, file: Box<Sending>) {
        self.soon(Box::new(move || file.fail(SendFileCause::Unsupported)));
    }
    fn lose_connection(&self);
    fn abort_connection(&self);
    fn lose_write_connection(&self);
    fn pause_reading(&self);
    fn resume_reading(&self);
    fn is_paused(&self) -> bool;
    fn unread(&self, bytes: &[u8]);
    fn is_reading(&self) -> bool {
        !self.is_paused()
    }
    fn set_budget(&self, _bytes: usize) {}
    fn account_held(&self, _bytes: usize) {}
    fn peer_addr(&self) -> Addr;
    fn local_addr(&self) -> Option<Addr>;
    fn is_open(&self) -> bool;
    fn pending(&self) -> usize;
    fn notify_writable(&self);
    fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        streaming: bool,
    ) -> Result<(), AlreadyRegistered>;
    fn unregister_producer(&self);
    /// Replaces the protocol; see [`Transport::upgrade`].
    fn replace_protocol(&self, next: Box<dyn AnyProtocol>, rest: &[u8]);
    fn start_layer(&self, layer: Box<dyn Layer>, wire_rest: &[u8]);
    /// Calls `f` with the layers, if there are any.
    fn with_layers(&self, f: &mut dyn FnMut(&Layers));
    fn start_policy(&self, policy: Box<dyn Policy>);
    /// Calls `f` with the stack that policies stand in, if there are any.
    fn with_policies(&self, f: &mut dyn FnMut(&mut Layers));
    fn set_option(&self, option: SocketOption) -> std::io::Result<()>;
    fn option(&self, option: SocketOption) -> std::io::Result<SocketOption>;
    /// Transports that pass none say so: the default.
    #[cfg(unix)]
    fn send_descriptor(&self, descriptor: std::os::fd::OwnedFd) -> Result<(), DescriptorError> {
        Err(DescriptorError { cause: DescriptorCause::Unsupported, descriptor })
    }
    fn reactor(&self) -> Option<Reactor>;
    /// The type of the present protocol, or `None` once it is gone.
    fn protocol_type(&self) -> Option<TypeId>;
    /// Calls `f` with the present protocol, unless a callback of it is on the stack or it is gone.
    fn enter(&self, f: &mut dyn FnMut(&mut dyn Any)) -> Entered;
    /// Runs `f` after the callback on the stack, or in the next turn.
    fn soon(&self, f: Box<dyn FnOnce()>);
    fn as_any(&self) -> &dyn Any;

    #[doc(hidden)]
    fn __deliver(&self, _me: &Transport, _bytes: &[u8]) {}

    #[doc(hidden)]
    fn __engine(&self) -> Option<&dyn EngineStream> {
        None
    }
}

/// What became of [`RawTransport::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The function was called.
    Done,
    /// A callback of the protocol is on the stack.
    Busy,
    /// The connection is lost.
    Gone,
}

/// A protocol of any type, which can be told by its type. Implemented for every [`Protocol`].
pub trait AnyProtocol: Protocol {
    /// The protocol as what it is.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// The name of its type, for logs.
    fn type_name(&self) -> &'static str;
    /// Its type.
    fn protocol_type(&self) -> TypeId;
}

impl<P: Protocol> AnyProtocol for P {
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<P>()
    }

    fn protocol_type(&self) -> TypeId {
        TypeId::of::<P>()
    }
}

/// A transport has a producer already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered;

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transport has a producer already")
    }
}

impl std::error::Error for AlreadyRegistered {}
