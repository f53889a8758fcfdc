//! Why a datagram was not sent.

use std::fmt;

use crate::Addr;
use crate::driver::OsError;

/// A datagram was not accepted for sending, or a socket not connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramError {
    /// Datagrams cannot be sent there from here.
    #[doc(alias = "InvalidAddressError")]
    InvalidAddress {
        /// What was given; empty if nothing was.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A datagram of this kind cannot be so long.
    #[doc(alias = "MessageLengthError")]
    TooLong {
        /// The most bytes it may have.
        limit: usize,
    },
    /// The socket has its one peer already.
    AlreadyConnected,
    /// The socket is closed.
    Closed,
    /// What the system says.
    Os(OsError),
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress { address, why } if address.is_empty() => f.write_str(why),
            Self::InvalidAddress { address, why } => write!(f, "{address}: {why}"),
            Self::TooLong { limit } => write!(f, "a datagram has at most {limit} bytes"),
            Self::AlreadyConnected => f.write_str("the socket is connected already"),
            Self::Closed => f.write_str("the socket is closed"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DatagramError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Os(error) => Some(error),
            _ => None,
        }
    }
}

/// Datagrams that could not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailed {
    /// To whom; `None` for the peer of a connected socket.
    pub to: Option<Addr>,
    /// Why: no room now (`WouldBlock`, or `ENOBUFS` by its number), no way there, not allowed.
    pub error: OsError,
    /// How many were dropped, one after the other.
    pub dropped: usize,
}

impl fmt::Display for SendFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} datagrams", self.dropped)?;
        if let Some(to) = &self.to {
            write!(f, " to {to}")?;
        }
        write!(f, " were dropped: {}", self.error)
    }
}
