//! Listening and connecting on UNIX sockets: what TCP has in `port.rs` and `connector.rs`, by a path. Passing descriptors is in `transport/`.

use std::io;
use std::path::Path;

use crate::connection::Connection;
use crate::connector::Connector;
use crate::deferred::Deferred;
use crate::driver::{ConnectOptions, ListenOptions, OsError};
use crate::{Addr, ConnectError, Factory, ListenError, Port, Protocol, Reactor};

impl Reactor {
    /// Listens on the path of a UNIX socket, or, on Linux, on an abstract name, which starts with a NUL byte and leaves no file. A lock beside the
    /// path, `PATH.lock`, keeps others away; both files are removed when the port is closed.
    ///
    /// A program that is killed leaves them behind. The system has let go of the lock then: the next start takes it, removes the dead
    /// socket and listens.
    ///
    /// # Errors
    ///
    /// [`ListenError`], synchronously: nothing was started. `AddrInUse` if the path is in use, or names a file that is no socket;
    /// `InvalidInput` for a path that is empty, too long (107 bytes on Linux) or has a NUL byte in it.
    #[track_caller]
    #[doc(alias = "listenUNIX")]
    pub fn listen_unix(
        &self,
        path: impl AsRef<Path>,
        factory: impl Factory,
    ) -> Result<Port, ListenError> {
        self.listen_unix_with(path, factory, ListenOptions::default())
    }

    /// Listens as [`listen_unix`](Self::listen_unix) does, with options: the mode of the file, say, which says who may connect.
    ///
    /// ```no_run
    /// use marline_core::driver::{ListenOptions, SocketFile};
    /// # use marline_core::{Factory, ListenError, Reactor};
    /// # fn example(reactor: &Reactor, factory: impl Factory) -> Result<(), ListenError> {
    /// let file = SocketFile { mode: Some(0o660), ..Default::default() };
    /// let options = ListenOptions { file, ..Default::default() };
    /// reactor.listen_unix_with("/run/daemon.socket", factory, options)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`listen_unix`](Self::listen_unix), and `InvalidInput` for a mode beyond `0o777`.
    #[track_caller]
    pub fn listen_unix_with(
        &self,
        path: impl AsRef<Path>,
        factory: impl Factory,
        options: ListenOptions,
    ) -> Result<Port, ListenError> {
        self.listen_tcp_with(unix(path), factory, options)
    }

    /// Connects to the path of a UNIX socket, or to an abstract name, and gives the connection this protocol: as
    /// [`connect_tcp`](Self::connect_tcp) does.
    #[track_caller]
    #[doc(alias = "connectUNIX")]
    pub fn connect_unix<P: Protocol>(
        &self,
        path: impl AsRef<Path>,
        protocol: P,
    ) -> Deferred<Connection<P>, ConnectError> {
        self.connect_unix_with(path, protocol, ConnectOptions::default())
    }

    /// Connects as [`connect_unix`](Self::connect_unix) does, with options.
    #[track_caller]
    pub fn connect_unix_with<P: Protocol>(
        &self,
        path: impl AsRef<Path>,
        protocol: P,
        options: ConnectOptions,
    ) -> Deferred<Connection<P>, ConnectError> {
        self.connect_tcp_with(unix(path), protocol, options)
    }

    /// Connects to a UNIX socket with a factory that hears of every attempt: as [`connector_tcp`](Self::connector_tcp) does.
    #[track_caller]
    pub fn connector_unix(&self, path: impl AsRef<Path>, factory: impl Factory) -> Connector {
        self.connector_unix_with(path, factory, ConnectOptions::default())
    }

    /// Connects as [`connector_unix`](Self::connector_unix) does, with options.
    #[track_caller]
    pub fn connector_unix_with(
        &self,
        path: impl AsRef<Path>,
        factory: impl Factory,
        options: ConnectOptions,
    ) -> Connector {
        self.connector_tcp_with(unix(path), factory, options)
    }
}

/// What a driver cannot put into words.
pub(crate) fn explain(error: OsError) -> io::Error {
    if error == OsError::new(io::ErrorKind::InvalidInput) {
        let what =
            "not the path of a socket (1 to 107 bytes, no NUL in it), or not a mode (up to 0o777)";
        return io::Error::new(io::ErrorKind::InvalidInput, what);
    }
    error.into()
}

fn unix(path: impl AsRef<Path>) -> Addr {
    Addr::Unix(path.as_ref().to_owned())
}
