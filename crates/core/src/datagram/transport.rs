//! The handle of a datagram socket.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use super::head::{Head, Told};
use super::{DatagramError, DatagramProtocol};
use crate::deferred::Deferred;
use crate::driver::{Interface, Membership, SocketOption};
use crate::failure::Failure;
use crate::reactor::after::After;
use crate::transport::Entered;
use crate::{Addr, Destination, Reactor, Unavailable};

/// A datagram socket: a handle, cheap to clone, which may be dropped; the socket goes on until [`stop_listening`](Self::stop_listening) or the end of
/// the reactor.
///
/// Datagrams are dropped rather than queued: what the system does not take at once is lost, as datagrams may be anywhere on their way. Every method
/// may be called from inside any callback; none of them calls user code, but [`with`](Self::with).
#[derive(Clone)]
#[doc(alias = "IUDPTransport")]
#[doc(alias = "IMulticastTransport")]
#[doc(alias = "IUNIXDatagramTransport")]
pub struct DatagramTransport(pub(super) Rc<dyn Endpoint>);

/// What there is behind a handle.
pub(super) trait Endpoint: Any {
    fn head(&self) -> &Head;
    /// Tells the protocol something; only from the loop.
    fn tell(self: Rc<Self>, told: &Told);
    /// Delivers one of the datagrams that were held; only from the loop.
    fn deliver_held(self: Rc<Self>);
    /// Calls a function with the protocol, if no callback of it is on the stack.
    fn enter(&self, f: &mut dyn FnMut(&mut dyn Any)) -> Entered;
    fn type_name(&self) -> &'static str;
}

impl DatagramTransport {
    // ---- sending

    /// Sends a datagram. It is copied and leaves with the others of this callback, in one system call where that can be: when what has come
    /// in together is answered, with 64 datagrams or 64 KiB waiting, and at the end of the turn at the latest.
    ///
    /// The address is numeric; on a connected socket it is that of the peer. To a broadcast address only after
    /// [`set_broadcast`](Self::set_broadcast).
    ///
    /// # Errors
    ///
    /// What is known at once: [`DatagramError::InvalidAddress`] for a host name, another family, port 0, another address than that of the
    /// peer; [`DatagramError::TooLong`]; [`DatagramError::Closed`]. What the system says later is told to
    /// [`DatagramProtocol::send_failed`].
    #[doc(alias = "write")]
    #[inline]
    pub fn send_to(&self, data: &[u8], to: impl Into<Destination>) -> Result<(), DatagramError> {
        let to = to.into();
        match to.addr() {
            Some(Addr::Ip(addr)) => self.0.head().send_ip(data, addr),
            _ => self.0.head().send(data, Some(to)),
        }
    }

    /// Sends a datagram to the peer of a connected socket, as [`send_to`](Self::send_to) does.
    ///
    /// # Errors
    ///
    /// As there; [`DatagramError::InvalidAddress`] if the socket is not connected.
    #[inline]
    pub fn send(&self, data: &[u8]) -> Result<(), DatagramError> {
        self.0.head().send(data, None)
    }

    /// Sends a datagram now, after those that wait, or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to), and what the system says: [`DatagramError::Os`], of the kind `WouldBlock` when there is no room.
    pub fn try_send_to(
        &self,
        data: &[u8],
        to: impl Into<Destination>,
    ) -> Result<(), DatagramError> {
        self.0.head().try_send(data, Some(to.into()))
    }

    /// Sends a datagram to the peer of a connected socket now, or not at all.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send) and [`DatagramError::Os`].
    pub fn try_send(&self, data: &[u8]) -> Result<(), DatagramError> {
        self.0.head().try_send(data, None)
    }

    /// Names the one peer, once: from now on only its datagrams arrive, [`send`](Self::send) needs no address, and its refusals reach
    /// [`DatagramProtocol::refused`]. Datagrams of others that came before may still arrive.
    ///
    /// # Errors
    ///
    /// [`DatagramError::AlreadyConnected`], [`DatagramError::InvalidAddress`], [`DatagramError::Closed`], or what the system says.
    pub fn connect(&self, to: impl Into<Destination>) -> Result<(), DatagramError> {
        self.0.head().connect(to.into())
    }

    // ---- receiving

    /// After this call no datagram arrives until [`resume_reading`](Self::resume_reading), not even one that came together with the present one.
    /// The system keeps what its buffer holds and drops the rest.
    #[doc(alias = "pauseProducing")]
    pub fn pause_reading(&self) {
        self.0.head().set_paused(true);
    }

    /// Datagrams may arrive again; those that had been received come first, after the callback on the stack.
    #[doc(alias = "resumeProducing")]
    pub fn resume_reading(&self) {
        self.0.head().set_paused(false);
    }

    /// Whether [`pause_reading`](Self::pause_reading) is in force.
    pub fn is_paused(&self) -> bool {
        self.0.head().is_paused()
    }

    // ---- groups

    /// Joins a multicast group on an interface: what is sent to the group and this socket's port arrives. For several sockets on one port see
    /// `DatagramOptions::reuse_address`.
    ///
    /// # Errors
    ///
    /// What the system says: no such interface, not a group's address, a member already.
    #[doc(alias = "joinGroup")]
    #[doc(alias = "MulticastJoinError")]
    pub fn join_group(&self, group: IpAddr, interface: Interface) -> io::Result<()> {
        self.set_membership(group, interface, true)
    }

    /// Leaves a group that was joined on that interface.
    ///
    /// # Errors
    ///
    /// What the system says: not a member.
    #[doc(alias = "leaveGroup")]
    pub fn leave_group(&self, group: IpAddr, interface: Interface) -> io::Result<()> {
        self.set_membership(group, interface, false)
    }

    fn set_membership(&self, group: IpAddr, interface: Interface, on: bool) -> io::Result<()> {
        let head = self.0.head();
        head.check_open()?;
        let membership = Membership { group, interface };
        head.inner.driver().set_membership(head.handle, &membership, on).map_err(Into::into)
    }

    /// Whether what this socket sends to a group reaches members on its own host, too. At first it does.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "setLoopbackMode")]
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.set_option(SocketOption::MulticastLoop(on))
    }

    /// How many routers what this socket sends to a group may pass, and one more: with 0 it stays on the host, with 1, as at first, on the local network.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "setTTL")]
    pub fn set_multicast_ttl(&self, hops: u8) -> io::Result<()> {
        self.set_option(SocketOption::MulticastTtl(hops))
    }

    /// Which interface what this socket sends to a group leaves by.
    ///
    /// # Errors
    ///
    /// What the system says: no such interface.
    #[doc(alias = "setOutgoingInterface")]
    pub fn set_multicast_interface(&self, interface: Interface) -> io::Result<()> {
        self.set_option(SocketOption::MulticastInterface(interface))
    }

    /// Whether sending to a broadcast address is allowed. At first it is not, unless `DatagramOptions::broadcast` says so.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "setBroadcastAllowed")]
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.set_option(SocketOption::Broadcast(on))
    }

    /// Whether sending to a broadcast address is allowed.
    ///
    /// # Errors
    ///
    /// What the system says.
    #[doc(alias = "getBroadcastAllowed")]
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.option(SocketOption::Broadcast(false))? == SocketOption::Broadcast(true))
    }

    /// Sets an option of the socket. Datagrams that wait leave first.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_option(&self, option: SocketOption) -> io::Result<()> {
        let head = self.0.head();
        head.check_open()?;
        // What was sent before goes as it would have gone then.
        head.flush();
        head.inner.driver().set_option(head.handle, option).map_err(Into::into)
    }

    /// The present value of an option: the same variant comes back. Only the kind of `option` matters, not the value in it.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn option(&self, option: SocketOption) -> io::Result<SocketOption> {
        let head = self.0.head();
        head.check_open()?;
        head.inner.driver().option(head.handle, option).map_err(Into::into)
    }

    // ---- the rest

    /// The address it is bound to; stays known after the end.
    #[doc(alias = "getHost")]
    pub fn local_addr(&self) -> Addr {
        self.0.head().local_addr()
    }

    /// The peer, once the socket is [connected](Self::connect).
    pub fn peer_addr(&self) -> Option<Addr> {
        self.0.head().peer_addr()
    }

    /// Whether it has not been closed.
    pub fn is_open(&self) -> bool {
        !self.0.head().is_closed()
    }

    /// Sends what waits to be sent and closes the socket. No datagram arrives after this call; [`DatagramProtocol::stopped`] is called after the callback on
    /// the stack, and then the Deferred fires.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&self) -> Deferred<()> {
        self.0.head().stop_listening()
    }

    /// The reactor.
    pub fn reactor(&self) -> Reactor {
        Reactor::from_inner(&self.0.head().inner)
    }

    /// Calls `f` with the protocol now, or, if a callback of it is on the stack, right after it. A panic in `f` is logged, as in any callback.
    ///
    /// The result is there at once in the first case. It fails with [`Unavailable::Gone`] if the socket is closed, or the protocol is not a `P`,
    /// when its turn comes.
    pub fn with<P: DatagramProtocol, R: 'static>(
        &self,
        f: impl FnOnce(&mut P, &Self) -> R + 'static,
    ) -> Deferred<R> {
        let mut f = Some(f);
        match self.attempt(&mut f) {
            Ok(value) => Deferred::ready(value),
            Err(Unavailable::Gone) => Deferred::failed(Failure::new(Unavailable::Gone)),
            Err(Unavailable::Busy) => {
                let (deferred, resolver) = Deferred::new();
                let this = self.clone();
                let inner = &self.0.head().inner;
                inner.after(After::Call(Box::new(move || match this.attempt(&mut f) {
                    Ok(value) => resolver.resolve(value),
                    Err(error) => resolver.fail(Failure::new(error)),
                })));
                deferred
            }
        }
    }

    fn attempt<P, R, F>(&self, f: &mut Option<F>) -> Result<R, Unavailable>
    where
        P: DatagramProtocol,
        F: FnOnce(&mut P, &Self) -> R,
    {
        let mut result = None;
        let entered = self.0.enter(&mut |protocol| {
            if let (Some(protocol), Some(f)) = (protocol.downcast_mut::<P>(), f.take()) {
                result = Some(f(protocol, self));
            }
        });
        match (entered, result) {
            (_, Some(result)) => Ok(result),
            (Entered::Busy, None) => Err(Unavailable::Busy),
            _ => Err(Unavailable::Gone),
        }
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramTransport({} on {})", self.0.type_name(), self.local_addr())
    }
}
