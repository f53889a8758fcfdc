//! Taking over sockets that somebody else has opened: handed down by a parent or a service manager, or passed over a UNIX connection.
//! What listens from then on is in `port.rs`.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::rc::Rc;

use crate::datagram::{DatagramProtocol, DatagramTransport};
use crate::driver::{Adopt, Handle, OsError};
use crate::port::welcome;
use crate::reactor::after::After;
use crate::{Addr, Factory, Port, Reactor};

impl Reactor {
    /// Listens with a socket that listens already: TCP or UNIX, of either IP family. The descriptor becomes the reactor's, non-blocking (for all
    /// that share the socket) and closed on `exec`.
    ///
    /// Closing the port closes the descriptor and no more: another holder of the same socket goes on accepting, and the file of a UNIX socket
    /// stays. It cannot be opened again.
    ///
    /// # Errors
    ///
    /// [`AdoptError`], synchronously and with the descriptor: nothing was started.
    #[track_caller]
    #[doc(alias = "adoptStreamPort")]
    pub fn adopt_port(
        &self,
        descriptor: OwnedFd,
        factory: impl Factory,
    ) -> Result<Port, AdoptError> {
        let (handle, bound) = self.adopt(descriptor, Adopt::Port)?;
        Ok(Port::adopted(self.inner(), handle, bound, factory, Location::caller()))
    }

    /// Gives a connection that stands already (TCP or UNIX) a protocol from the factory, after the present callback; if the factory makes none
    /// the connection is closed. The factory is neither started nor stopped. The descriptor becomes the reactor's, as with
    /// [`adopt_port`](Self::adopt_port); the end of the connection, a reset too, is its end for all that share the socket.
    ///
    /// # Errors
    ///
    /// [`AdoptError`], synchronously and with the descriptor: nothing was started.
    #[track_caller]
    #[doc(alias = "adoptStreamConnection")]
    pub fn adopt_connection(
        &self,
        descriptor: OwnedFd,
        factory: impl Factory,
    ) -> Result<(), AdoptError> {
        let site = Location::caller();
        let (handle, _) = self.adopt(descriptor, Adopt::Connection)?;
        let factory = RefCell::new(factory);
        let inner = Rc::clone(self.inner());
        let begin = move || welcome(&inner, handle, None, &factory, site);
        self.inner().after(After::Call(Box::new(begin)));
        Ok(())
    }

    /// Gives a bound datagram socket, UDP or UNIX, a protocol, as `listen_udp` and `listen_unix_datagram` do. The descriptor becomes the
    /// reactor's, as with [`adopt_port`](Self::adopt_port); closing it leaves other holders of the socket as they are.
    ///
    /// A socket that is connected has to be [connected](DatagramTransport::connect) here once more, for the transport to know.
    ///
    /// # Errors
    ///
    /// [`AdoptError`], synchronously and with the descriptor: nothing was started, and the protocol is dropped.
    #[track_caller]
    #[doc(alias = "adoptDatagramPort")]
    pub fn adopt_datagrams(
        &self,
        descriptor: OwnedFd,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport, AdoptError> {
        let (handle, bound) = self.adopt(descriptor, Adopt::Datagrams)?;
        Ok(self.place_datagrams(handle, bound, false, protocol, Location::caller()))
    }

    /// Hands a descriptor to the driver.
    pub(crate) fn adopt(
        &self,
        descriptor: OwnedFd,
        what: Adopt,
    ) -> Result<(Handle, Addr), AdoptError> {
        if self.inner().is_gone() {
            // Nobody would turn it, nor close the socket.
            return Err(AdoptError { cause: AdoptCause::Os(OsError::STALE), descriptor });
        }
        let adopted = self.inner().driver().adopt(descriptor, what);
        adopted.map_err(|(error, descriptor)| AdoptError {
            cause: AdoptCause::from_os(error),
            descriptor,
        })
    }
}

/// A socket could not be taken over; the descriptor comes back, still open.
#[derive(Debug)]
pub struct AdoptError {
    /// Why.
    pub cause: AdoptCause,
    /// What was handed in.
    pub descriptor: OwnedFd,
}

/// Why a socket could not be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptCause {
    /// The descriptor is no socket.
    NotASocket,
    /// A socket, but not of a family, a type or in a state that can be used so; or the driver takes over none.
    #[doc(alias = "UnsupportedAddressFamily")]
    Unsupported,
    /// What else the system said.
    Os(OsError),
}

impl AdoptCause {
    fn from_os(error: OsError) -> Self {
        match error {
            OsError::UNSUPPORTED => Self::Unsupported,
            error if error.code() == Some(ENOTSOCK) => Self::NotASocket,
            error => Self::Os(error),
        }
    }
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot take a socket over: ")?;
        match self.cause {
            AdoptCause::NotASocket => f.write_str("not a socket"),
            AdoptCause::Unsupported => f.write_str("of another family, type or state than needed"),
            AdoptCause::Os(error) => error.fmt(f),
        }
    }
}

impl Error for AdoptError {}

/// "Socket operation on non-socket".
const ENOTSOCK: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 88 } else { 38 };
