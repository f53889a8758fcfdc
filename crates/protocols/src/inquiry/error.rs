//! Why there is no answer.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use marline_core::deferred::Interrupt;
use marline_core::{CloseReason, ConnectError};

/// Why there is no answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InquiryError {
    /// There was no connection.
    Connect(ConnectError),
    /// The connection ended before the answer was whole; `Done` if the peer closed it properly.
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

impl fmt::Display for InquiryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Lost(reason) => write!(f, "the answer is not whole: {reason}"),
            Self::TooLong { limit } => write!(f, "the answer is longer than {limit} bytes"),
            Self::TimedOut { patience } => write!(f, "no answer within {patience:?}"),
            Self::Interrupted(interrupt) => interrupt.fmt(f),
        }
    }
}

impl Error for InquiryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Interrupted(interrupt) => Some(interrupt),
            _ => None,
        }
    }
}

impl From<Interrupt> for InquiryError {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}
