//! Asking an ident server.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use marline_core::deferred::{Deferred, Interrupt};
use marline_core::driver::ConnectOptions;
use marline_core::{Destination, Reactor, Transport};

use super::{Answer, AnswerError, Identity, Ports, Refusal};
use crate::inquiry::{Inquiry, InquiryError};

/// Asks the ident server at `to` whom a connection between its host and this one belongs to. An answer is at most 1,000 bytes long (RFC
/// 1413, notes on syntax) and comes within 30 seconds. The standard port is 113.
///
/// A server answers for the two hosts of the connection it is asked on: to ask about a connection from another of this host's
/// addresses, use [`ask_about`].
#[track_caller]
pub fn ask(
    reactor: &Reactor,
    to: impl Into<Destination>,
    ports: Ports,
) -> Deferred<Identity, IdentError> {
    ask_with(reactor, to.into(), ports, ConnectOptions::default())
}

/// Asks the host at the other end of `transport`, at the standard port, from the same address of this host, whom that connection
/// belongs to.
///
/// Fails with [`IdentError::NoAddress`] unless it is a TCP connection that stands.
#[track_caller]
pub fn ask_about(transport: &Transport) -> Deferred<Identity, IdentError> {
    let local = transport.local_addr().and_then(|addr| addr.ip());
    let (Some(reactor), Some(local), Some(peer)) =
        (transport.reactor(), local, transport.peer_addr().ip())
    else {
        return Deferred::failed(IdentError::NoAddress);
    };
    let with_port = |mut addr: SocketAddr, port| {
        addr.set_port(port);
        addr
    };
    let bind = Some(with_port(local, 0).into());
    let options = ConnectOptions { bind, ..Default::default() };
    let ports = Ports { on_server: peer.port(), on_client: local.port() };
    ask_with(&reactor, with_port(peer, PORT).into(), ports, options)
}

#[track_caller]
fn ask_with(
    reactor: &Reactor,
    to: Destination,
    ports: Ports,
    options: ConnectOptions,
) -> Deferred<Identity, IdentError> {
    let inquiry = Inquiry::new(format!("{ports}\r\n")).until_line().limit(ANSWER);
    inquiry.connect_options(options).ask(reactor, to).either(
        move |line| {
            let answer = Answer::parse(&line).map_err(IdentError::Malformed)?;
            if answer.ports != ports {
                return Err(IdentError::OtherPorts(answer.ports));
            }
            answer.result.map_err(IdentError::Refused)
        },
        |error| match error {
            // RFC 1413 §5: any premature close means this.
            InquiryError::Lost(_) => Err(IdentError::Refused(Refusal::UnknownError)),
            error => Err(IdentError::Inquiry(error)),
        },
    )
}

/// Why it is not known whom a connection belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdentError {
    /// The server does not tell.
    Refused(Refusal),
    /// There was no whole answer.
    Inquiry(InquiryError),
    /// The answer is none.
    Malformed(AnswerError),
    /// The answer is for these ports, which were not asked about.
    OtherPorts(Ports),
    /// What was asked about is no TCP connection that stands.
    NoAddress,
}

impl fmt::Display for IdentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Inquiry(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::OtherPorts(ports) => write!(f, "answered for {ports}, which was not asked"),
            Self::NoAddress => f.write_str("not a TCP connection that stands"),
        }
    }
}

impl Error for IdentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Inquiry(error) => Some(error),
            Self::Malformed(error) => Some(error),
            Self::OtherPorts(_) | Self::NoAddress => None,
        }
    }
}

impl From<Interrupt> for IdentError {
    fn from(interrupt: Interrupt) -> Self {
        Self::Inquiry(interrupt.into())
    }
}

const PORT: u16 = 113;
/// The greatest length of an answer, in bytes, the end of its line included.
const ANSWER: usize = 1_000;
