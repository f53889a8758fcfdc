//! Why there is no answer.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use marline_core::datagram::DatagramError;
use marline_core::deferred::Interrupt;
use marline_core::{CloseReason, ConnectError, Destination};

/// There is no answer from somewhere.
#[derive(Clone, Debug)]
pub struct InquiryError {
    /// Who was asked, as it was given, not what it resolved to.
    pub destination: String,
    /// Why there is no answer.
    pub cause: InquiryCause,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InquiryCause {
    /// There was no connection, or for datagrams no way there: nobody listens, the name is unknown, no socket could be had.
    Connect(ConnectError),
    /// The question could not be sent in a datagram.
    Send(DatagramError),
    /// The connection, or the socket for datagrams, ended before the answer was whole; `Done` if the peer closed it properly.
    Lost(CloseReason),
    /// The answer is longer than `limit`.
    TooLong {
        /// The greatest length, in bytes.
        limit: usize,
    },
    /// It took longer than allowed.
    TimedOut {
        /// How long was allowed.
        patience: Duration,
    },
    /// It was cancelled, or the reactor has gone.
    Interrupted(Interrupt),
}

impl InquiryError {
    pub(crate) fn new(destination: &Destination, cause: InquiryCause) -> Self {
        Self { destination: destination.to_string(), cause }
    }
}

impl InquiryCause {
    /// Writes for people that there is no answer from `whom`, and why.
    pub(crate) fn tell(&self, whom: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It names the destination.
            Self::Connect(error) => write!(f, "{error}"),
            // As it names the address.
            Self::Send(DatagramError::InvalidAddress { why, .. }) => {
                write!(f, "cannot ask {whom}: {why}")
            }
            Self::Send(error) => write!(f, "cannot ask {whom}: {error}"),
            Self::Lost(reason) => write!(f, "the answer of {whom} is not whole: {reason}"),
            Self::TooLong { limit } => {
                write!(f, "the answer of {whom} is longer than {limit} bytes")
            }
            Self::TimedOut { patience } => write!(f, "no answer from {whom} within {patience:?}"),
            Self::Interrupted(interrupt) => write!(f, "no answer from {whom}: {interrupt}"),
        }
    }

    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Send(error) => Some(error),
            Self::Interrupted(interrupt) => Some(interrupt),
            _ => None,
        }
    }
}

impl fmt::Display for InquiryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.tell(&self.destination, f)
    }
}

impl Error for InquiryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl From<Interrupt> for InquiryError {
    fn from(interrupt: Interrupt) -> Self {
        Self { destination: "its destination".into(), cause: InquiryCause::Interrupted(interrupt) }
    }
}
