//! Errors of operations: what was attempted, on what, and why it failed. How connections end is in [`CloseReason`].

use std::fmt;
use std::io;
use std::rc::Rc;

use crate::deferred::Interrupt;
use crate::driver::OsError;
use crate::failure::Failure;

/// Why a connection, or a protocol's part in it, has ended: the only thing `connection_lost` is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// Cleanly: this side closed after delivering everything, or both sides ended their streams.
    #[doc(alias = "ConnectionDone")]
    Done,
    /// The connection broke: reset by the peer, network gone.
    #[doc(alias = "ConnectionLost")]
    Lost(OsError),
    /// This side called `abort_connection`.
    #[doc(alias = "ConnectionAborted")]
    Aborted,
    /// A time-out policy ended it.
    TimedOut,
    /// A callback of the protocol panicked, with this message.
    Panicked(Rc<str>),
    /// This protocol handed the connection over to another, which goes on with it.
    Upgraded,
    /// The reactor stopped, or was dropped.
    Stopped,
    /// More waited on it than its byte budget, or the reactor's, allows: the peer did not read fast enough, or sent too much at a time.
    BudgetSpent,
    /// A layer (TLS, say) or the engine failed with this error.
    Failed(Rc<Failure>),
}

impl CloseReason {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Done | Self::Upgraded)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("closed cleanly"),
            Self::Lost(error) => write!(f, "connection lost: {error}"),
            Self::Aborted => f.write_str("aborted by this side"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Panicked(message) => write!(f, "the protocol panicked: {message}"),
            Self::Upgraded => f.write_str("handed over to another protocol"),
            Self::Stopped => f.write_str("the reactor stopped"),
            Self::BudgetSpent => f.write_str("more waited than the byte budget allows"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// A port could not be opened. Its `Debug` form is its text, for a `main` that returns it shows that to people.
#[doc(alias = "CannotListenError")]
pub struct ListenError {
    /// The address asked for.
    pub address: String,
    /// Why.
    pub source: io::Error,
}

impl fmt::Debug for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.source)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What was asked for, not what it resolved to.
    pub destination: String,
    /// Why.
    pub cause: ConnectCause,
}

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectCause {
    /// The destination cannot be read as `host:port`.
    Address,
    /// The name has no address.
    #[doc(alias = "DNSLookupError")]
    #[doc(alias = "UnknownHostError")]
    UnknownName(OsError),
    /// The local address cannot be had.
    #[doc(alias = "ConnectBindError")]
    Bind(OsError),
    /// Nobody listens there.
    #[doc(alias = "ConnectionRefusedError")]
    Refused,
    /// There is no way there.
    #[doc(alias = "NoRouteError")]
    NoRoute,
    /// It took longer than allowed.
    #[doc(alias = "TimeoutError")]
    #[doc(alias = "TCPTimedOutError")]
    TimedOut,
    /// This side gave up: `stop_connecting`, or the Deferred was cancelled.
    #[doc(alias = "UserError")]
    #[doc(alias = "ConnectingCancelledError")]
    Cancelled,
    /// The factory made no protocol, or panicked; the connection was closed at once.
    NoProtocol,
    /// The reactor stopped.
    Stopped,
    /// What else the system said.
    Os(OsError),
}

impl ConnectCause {
    pub(crate) fn from_os(error: OsError) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Self::NoRoute,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Os(error),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot connect to {}: ", self.destination)?;
        match &self.cause {
            ConnectCause::Address => f.write_str("not a destination of the form host:port"),
            ConnectCause::UnknownName(error) => write!(f, "unknown name: {error}"),
            ConnectCause::Bind(error) => write!(f, "local address: {error}"),
            ConnectCause::Refused => f.write_str("connection refused"),
            ConnectCause::NoRoute => f.write_str("no route"),
            ConnectCause::TimedOut => f.write_str("timed out"),
            ConnectCause::Cancelled => f.write_str("cancelled"),
            ConnectCause::NoProtocol => f.write_str("the factory made no protocol"),
            ConnectCause::Stopped => f.write_str("the reactor stopped"),
            ConnectCause::Os(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<Interrupt> for ConnectError {
    fn from(interrupt: Interrupt) -> Self {
        let cause = match interrupt {
            Interrupt::Cancelled => ConnectCause::Cancelled,
            Interrupt::TimedOut => ConnectCause::TimedOut,
            _ => ConnectCause::Stopped,
        };
        Self { destination: "its destination".into(), cause }
    }
}

/// The reactor could not be run or turned. Its `Debug` form is its text, for a `main` that returns it shows that to people.
#[non_exhaustive]
pub enum RunError {
    /// It is running: a reactor is started once until it stops.
    #[doc(alias = "ReactorAlreadyRunning")]
    AlreadyRunning,
    /// A turn inside a turn of the same reactor: a callback may not wait for others.
    Nested,
    /// The driver can no longer wait.
    Driver(io::Error),
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning => f.write_str("the reactor is running already"),
            Self::Nested => f.write_str("a reactor cannot be turned from inside its own callback"),
            Self::Driver(error) => write!(f, "the driver cannot wait: {error}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Driver(error) => Some(error),
            _ => None,
        }
    }
}

/// The reactor is not running, or is stopping already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "ReactorNotRunning")]
pub struct NotRunning;

impl fmt::Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor is not running")
    }
}

impl std::error::Error for NotRunning {}
