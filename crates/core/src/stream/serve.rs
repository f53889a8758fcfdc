//! Servers of async functions: a factory whose protocols are byte streams, each with a task of its own.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use super::ByteStream;
use super::feed::Feed;
use crate::deferred::Deferred;
use crate::failure::Failure;
use crate::protocol::Link;
use crate::{Addr, CloseReason, Factory, Protocol, Transport};

/// A factory that calls `session` with each new connection, right after it was made, and runs what that answers as a task of the reactor.
///
/// The task goes on when its connection has ended, until it finds out. An error it comes to is logged as a failure that nobody looked at
/// ([`ServeError`]); so handle those that are nobody's fault, such as a peer that resets.
///
/// ```
/// use marline_core::stream::{ByteStream, serve};
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let motd: &'static [u8] = b"be kind\n";
/// let port = reactor.listen_tcp(
///     "127.0.0.1:0",
///     serve(move |mut stream: ByteStream| async move { stream.write_all(motd).await }),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
#[doc(alias = "start_server")]
pub fn serve<F, S>(session: F) -> Serve<F>
where
    F: Fn(ByteStream) -> S + 'static,
    S: Future + 'static,
    S::Output: Answer,
{
    Serve { session: Rc::new(session), site: Location::caller() }
}

/// A factory from an async function: see [`serve`].
pub struct Serve<F> {
    session: Rc<F>,
    site: &'static Location<'static>,
}

impl<F> fmt::Debug for Serve<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serve({})", self.site)
    }
}

impl<F, S> Factory for Serve<F>
where
    F: Fn(ByteStream) -> S + 'static,
    S: Future + 'static,
    S::Output: Answer,
{
    type Protocol = Served<F>;

    fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Served<F>> {
        let (feed, _) = Feed::new();
        Some(Served { feed, session: Rc::clone(&self.session), site: self.site })
    }
}

/// What an async function may answer to [`serve`]: nothing, or a `Result` of nothing.
pub trait Answer {
    /// The error, if it is one.
    ///
    /// # Errors
    ///
    /// What the function failed with.
    fn into_result(self) -> Result<(), Failure>;
}

impl Answer for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> Answer for Result<(), E> {
    fn into_result(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}

/// The async function of a connection failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServeError {
    /// The other end of the connection.
    pub peer: Addr,
    /// Where [`serve`] was called.
    pub site: &'static Location<'static>,
    /// What it failed with.
    pub failure: Failure,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task of {} (served at {}) failed: {}", self.peer, self.site, self.failure)
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure.error().source()
    }
}

/// The protocol of a connection that an async function serves.
pub struct Served<F> {
    feed: Feed,
    session: Rc<F>,
    site: &'static Location<'static>,
}

impl<F> fmt::Debug for Served<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({})", self.site)
    }
}

impl<F, S> Protocol for Served<F>
where
    F: Fn(ByteStream) -> S + 'static,
    S: Future + 'static,
    S::Output: Answer,
{
    fn connection_made(&mut self, transport: &Transport) {
        self.feed.connection_made(transport);
        let (peer, site) = (transport.peer_addr(), self.site);
        let session = (self.session)(ByteStream::new(Rc::clone(self.feed.joint())));
        let Some(reactor) = transport.reactor() else { return };
        let task = reactor.spawn(async move {
            if let Err(failure) = session.await.into_result() {
                // Logged, for nobody looks at it.
                drop(Deferred::<()>::failed(Failure::new(ServeError { peer, site, failure })));
            }
        });
        // It fails only if it panicked, which was logged, or the reactor was closed.
        task.ignore();
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.feed.data_received(transport, data);
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.feed.read_connection_lost(transport);
    }

    fn write_connection_lost(&mut self, transport: &Transport) {
        self.feed.write_connection_lost(transport);
    }

    fn writable(&mut self, transport: &Transport) {
        self.feed.writable(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        self.feed.connection_lost(transport, reason);
    }
}
