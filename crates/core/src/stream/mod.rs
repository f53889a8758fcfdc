//! Connections for async code: [`ByteStream`], a view of a connection of any kind with `read` and `write` to await, and [`serve`], a factory that
//! gives each connection an async function. Futures run by [`Reactor::spawn`]; protocols as objects are in [`protocol`](crate::protocol).
//!
//! | file | what |
//! |---|---|
//! | `read.rs`, `write.rs` | the halves |
//! | `joint.rs`, `feed.rs` | what they share with the protocol under them, and that protocol |
//! | `serve.rs` | async functions as servers |
//! | `futures_io.rs`, `tokio.rs`, `hyper.rs`; `write_traits.rs` | the traits of others, each behind the feature of its name; what they have in common |
//! | `clock.rs` | hyper's timer and executor |
//!
//! # An echo, and who asks it
//!
//! ```
//! use marline_core::failure::Failure;
//! use marline_core::stream::{ByteStream, serve};
//! use marline_core::testing::TestReactor;
//!
//! async fn echo(mut stream: ByteStream) -> std::io::Result<()> {
//!     let mut buffer = [0; 1024];
//!     loop {
//!         match stream.read(&mut buffer).await? {
//!             0 => return stream.shutdown().await,
//!             len => stream.write_all(&buffer[..len]).await?,
//!         }
//!     }
//! }
//!
//! let reactor = TestReactor::new(); // or marline::reactor()?
//! let port = reactor.listen_tcp("127.0.0.1:0", serve(echo))?;
//! let connecting = reactor.connect_stream(port.local_addr());
//! let asking = reactor.spawn(async move {
//!     let mut stream = connecting.await?;
//!     stream.write_all(b"hello").await?;
//!     let mut back = [0; 5];
//!     stream.read_exact(&mut back).await?;
//!     Ok::<_, Failure>(back)
//! });
//! assert_eq!(&reactor.result_of(asking)??, b"hello");
//! # Ok::<(), Failure>(())
//! ```
//!
//! # When a future is dropped
//!
//! Any future here can be dropped at any time, as `select!` does with those that come second, and loses nothing:
//!
//! | dropped before it was done | what has happened |
//! |---|---|
//! | `read`, `read_exact`, `read_until`, `fill` | nothing: every byte is still to be read |
//! | `write`, `write_owned` | nothing was written |
//! | `write_all` | a part from the beginning was written; how much is not known |
//! | `flush` | nothing; what was written leaves all the same |
//! | `shutdown` | the write side ends all the same |
//! | `connect_stream` | the attempt is given up |
//!
//! # How it ends
//!
//! | what happens | reading | writing |
//! |---|---|---|
//! | the peer ends its stream | what came before, then no bytes | goes on |
//! | the connection closes cleanly | likewise | `BrokenPipe` |
//! | the peer resets, the network breaks | what came before, then the system's error, such as `ConnectionReset` | the same |
//! | `abort_connection`, the reactor stops | likewise, `ConnectionAborted` | `ConnectionAborted` |
//! | a time-out policy; a byte budget | likewise, `TimedOut`; `QuotaExceeded` | the same |
//! | a layer fails | likewise, the kind of its `io::Error`, or `Other` | the same |
//!
//! An error comes again as often as it is asked for.

#[cfg(feature = "hyper")]
mod clock;
mod feed;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
mod joint;
mod read;
mod serve;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio")]
mod tokio;
mod write;
#[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
mod write_traits;

use std::fmt;
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;

use self::feed::Feed;
use self::joint::Joint;
use crate::deferred::Deferred;
use crate::driver::ConnectOptions;
use crate::{Addr, ConnectError, Connection, Destination, Protocol, Reactor, Transport};

#[cfg(feature = "hyper")]
pub use self::clock::{ReactorExecutor, ReactorTimer};
pub use self::read::ReadHalf;
pub use self::serve::{Answer, Serve, ServeError, serve};
pub use self::write::WriteHalf;

/// A connection as a stream of bytes in both directions, for async code: of any kind, with its layers and policies.
///
/// Received bytes wait in it for the reader, up to a [limit](ReadHalf::set_limit); written ones wait for the peer, up to 64 KiB, and then
/// writing waits. So both sides of a slow consumer are slowed, in bounded memory.
///
/// Dropping it closes the connection after everything written has left, as [`Transport::lose_connection`] does; what was not read is thrown away,
/// and destroys nothing at the peer. Dropped by a panic it resets the connection instead: the peer must not take a part for the whole.
///
/// It is used by the reactor's thread alone, and its futures run on any executor of that thread.
#[doc(alias = "TcpStream")]
#[doc(alias = "StreamReader")]
pub struct ByteStream {
    read: ReadHalf,
    write: WriteHalf,
}

impl ByteStream {
    fn new(joint: Rc<Joint>) -> Self {
        Self { read: ReadHalf::new(Rc::clone(&joint)), write: WriteHalf::new(joint) }
    }

    /// Takes a connection over from its protocol, after the callback on the stack, as by [`Transport::upgrade`]. `rest` are bytes that were
    /// received and not used: they are read first. What is written is behind what the protocol wrote; a pause of reading is lifted.
    ///
    /// If the connection has ended, reading and writing fail with `NotConnected`.
    ///
    /// ```
    /// use marline_core::stream::ByteStream;
    /// use marline_core::{Protocol, Transport};
    ///
    /// /// Goes on in async code after the first line.
    /// struct Greeter;
    ///
    /// impl Protocol for Greeter {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
    ///         let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
    ///             return transport.lose_connection();
    ///         };
    ///         let mut stream = ByteStream::take_over(transport, &data[end + 1..]);
    ///         let Some(reactor) = transport.reactor() else { return };
    ///         let session = async move { stream.write_all(b"welcome\n").await };
    ///         reactor.spawn(session).ignore();
    ///     }
    /// }
    /// ```
    pub fn take_over(transport: &Transport, rest: &[u8]) -> Self {
        let (feed, joint) = Feed::new();
        joint.made(transport);
        transport.upgrade(feed, rest);
        Self::new(joint)
    }

    /// Hands the connection to a protocol, after the callback or task on the stack, with everything that was received and not read.
    pub fn upgrade<Q: Protocol>(mut self, next: Q) -> Connection<Q> {
        let rest = self.read.take_rest();
        let connection = self.transport().upgrade(next, &rest);
        self.read.joint.hand_on();
        connection
    }

    /// Reads as [`ReadHalf::read`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer).await
    }

    /// Fills a buffer as [`ReadHalf::read_exact`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.read.read_exact(buffer).await
    }

    /// Reads up to a delimiter as [`ReadHalf::read_until`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_until(
        &mut self,
        delimiter: u8,
        line: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<usize> {
        self.read.read_until(delimiter, line, limit).await
    }

    /// Writes a part as [`WriteHalf::write`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write.write(bytes).await
    }

    /// Writes everything as [`WriteHalf::write_all`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await
    }

    /// Writes a buffer without copying it, as [`WriteHalf::write_owned`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_owned(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.write.write_owned(bytes).await
    }

    /// Waits as [`WriteHalf::flush`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write.flush().await
    }

    /// Ends the write side as [`WriteHalf::shutdown`] does.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.write.shutdown().await
    }

    /// The reading half, to be looked into or limited.
    pub fn reader(&mut self) -> &mut ReadHalf {
        &mut self.read
    }

    /// The writing half.
    pub fn writer(&mut self) -> &mut WriteHalf {
        &mut self.write
    }

    /// Parts the directions, for two tasks. [`ReadHalf::reunite`] joins them again. The connection closes when both halves are dropped.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    /// The connection's transport: to abort it, to start layers and policies, for the options of its socket. Reading is paused and resumed by the
    /// stream. What is written through it leaves in the order of all writes, and nothing slows it down.
    pub fn transport(&self) -> &Transport {
        self.read.transport()
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> Addr {
        self.transport().peer_addr()
    }

    /// The address of this end, as [`Transport::local_addr`] knows it.
    pub fn local_addr(&self) -> Option<Addr> {
        self.transport().local_addr()
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteStream({})", self.peer_addr())
    }
}

impl Reactor {
    /// Connects to a TCP port as [`connect_tcp`](Self::connect_tcp) does, for async code.
    #[track_caller]
    #[doc(alias = "open_connection")]
    pub fn connect_stream(&self, to: impl Into<Destination>) -> Deferred<ByteStream, ConnectError> {
        self.connect_stream_with(to, ConnectOptions::default())
    }

    /// Connects as [`connect_stream`](Self::connect_stream) does, with options.
    #[track_caller]
    pub fn connect_stream_with(
        &self,
        to: impl Into<Destination>,
        options: ConnectOptions,
    ) -> Deferred<ByteStream, ConnectError> {
        let (feed, joint) = Feed::new();
        self.connect_tcp_with(to, feed, options).map(|_| ByteStream::new(joint))
    }

    /// Connects to a UNIX socket as [`connect_unix`](Self::connect_unix) does, for async code.
    #[cfg(unix)]
    #[track_caller]
    pub fn connect_unix_stream(
        &self,
        path: impl AsRef<Path>,
    ) -> Deferred<ByteStream, ConnectError> {
        let (feed, joint) = Feed::new();
        self.connect_unix(path, feed).map(|_| ByteStream::new(joint))
    }
}
