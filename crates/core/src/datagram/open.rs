//! How datagram sockets are opened.

use std::io;
use std::panic::Location;
use std::path::Path;
use std::rc::{Rc, Weak};

use super::head::{Head, Told};
use super::socket::Socket;
use super::transport::Endpoint;
use super::{DatagramProtocol, DatagramTransport};
use crate::destination::{Destination, Kind};
use crate::driver::{DatagramOptions, Handle};
use crate::log;
use crate::reactor::source::{Entry, Source};
use crate::{Addr, ListenError, Reactor};

impl Reactor {
    /// Opens a UDP socket on an address, for a protocol. Port 0 lets the system choose: [`DatagramTransport::local_addr`] tells. A client binds to
    /// `0.0.0.0:0` or `[::]:0`.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously: nothing was started, and the protocol is dropped. Also once the last handle on the reactor was dropped
    /// before a transport gave this one.
    #[track_caller]
    #[doc(alias = "listenUDP")]
    pub fn listen_udp(
        &self,
        addr: impl Into<Destination>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport, ListenError> {
        self.listen_udp_with(addr, protocol, DatagramOptions::default())
    }

    /// Opens a UDP socket as [`listen_udp`](Self::listen_udp) does, with options.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously.
    #[track_caller]
    #[doc(alias = "listenMulticast")]
    pub fn listen_udp_with(
        &self,
        addr: impl Into<Destination>,
        protocol: impl DatagramProtocol,
        options: DatagramOptions,
    ) -> Result<DatagramTransport, ListenError> {
        let destination = addr.into();
        match destination.kind() {
            Kind::Addr(addr @ Addr::Ip(_)) => self.open_datagrams(addr, protocol, &options),
            _ => {
                let what = "not a numeric address of the form 127.0.0.1:53 or [::1]:53";
                let source = io::Error::new(io::ErrorKind::InvalidInput, what);
                Err(ListenError { address: destination.to_string(), source })
            }
        }
    }

    /// Opens a UNIX datagram socket on a path, or on an abstract name if it begins with a NUL. With an empty path the socket has no name: it can send, and
    /// nobody can answer. A client that is to be answered has a path of its own; [`DatagramTransport::connect`] names its server.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously.
    #[track_caller]
    #[doc(alias = "listenUNIXDatagram")]
    #[doc(alias = "connectUNIXDatagram")]
    pub fn listen_unix_datagram(
        &self,
        path: impl AsRef<Path>,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport, ListenError> {
        self.listen_unix_datagram_with(path, protocol, DatagramOptions::default())
    }

    /// Opens a UNIX datagram socket as [`listen_unix_datagram`](Self::listen_unix_datagram) does, with options.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously.
    #[track_caller]
    pub fn listen_unix_datagram_with(
        &self,
        path: impl AsRef<Path>,
        protocol: impl DatagramProtocol,
        options: DatagramOptions,
    ) -> Result<DatagramTransport, ListenError> {
        self.open_datagrams(&Addr::Unix(path.as_ref().to_owned()), protocol, &options)
    }

    #[track_caller]
    fn open_datagrams(
        &self,
        addr: &Addr,
        protocol: impl DatagramProtocol,
        options: &DatagramOptions,
    ) -> Result<DatagramTransport, ListenError> {
        let refused = |source| ListenError { address: addr.to_string(), source };
        self.inner().check_not_gone().map_err(refused)?;
        let opened = self.inner().driver().bind_datagram(addr, options);
        let (handle, bound) = opened.map_err(|error| refused(error.into()))?;
        Ok(self.place_datagrams(handle, bound, !options.only_v6, protocol, Location::caller()))
    }

    /// Gives a datagram socket of the driver's its protocol, which is told after the callback on the stack.
    pub(crate) fn place_datagrams<P: DatagramProtocol>(
        &self,
        handle: Handle,
        bound: Addr,
        takes_both: bool,
        protocol: P,
        site: &'static Location<'static>,
    ) -> DatagramTransport {
        let inner = self.inner();
        log::engine::socket_opened(&bound, std::any::type_name::<P>());
        let socket = Rc::new_cyclic(|me: &Weak<Socket<P>>| {
            let me = Weak::clone(me) as Weak<dyn Endpoint>;
            Socket::new(Head::new(Rc::clone(inner), handle, bound, takes_both, site, me), protocol)
        });
        inner.insert(handle, Entry::Other(Rc::clone(&socket) as Rc<dyn Source>));
        socket.head().tell_soon(Told::Started);
        DatagramTransport(socket)
    }
}
