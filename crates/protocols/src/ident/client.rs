//! Asking an ident server.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

use marline_core::deferred::{Deferred, Interrupt};
use marline_core::driver::ConnectOptions;
use marline_core::{Destination, Reactor, Transport};

use super::{Answer, AnswerError, Identity, Ports, Refusal};
use crate::inquiry::{Inquiry, InquiryCause, InquiryError};

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
/// Fails with [`IdentCause::NoAddress`] unless it is a TCP connection that stands.
#[track_caller]
pub fn ask_about(transport: &Transport) -> Deferred<Identity, IdentError> {
    let local = transport.local_addr().and_then(|addr| addr.ip());
    let (Some(reactor), Some(local), Some(peer)) =
        (transport.reactor(), local, transport.peer_addr().ip())
    else {
        let destination = transport.peer_addr().to_string();
        return Deferred::failed(IdentError { destination, cause: IdentCause::NoAddress });
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
    let destination = to.to_string();
    let inquiry = Inquiry::new(format!("{ports}\r\n")).until_line().limit(ANSWER);
    inquiry
        .connect_options(options)
        .ask(reactor, to)
        .both(move |answer| read(answer, ports).map_err(|cause| IdentError { destination, cause }))
}

/// Whom the answer to a question about these ports names.
fn read(answer: Result<Vec<u8>, InquiryError>, asked: Ports) -> Result<Identity, IdentCause> {
    let line = answer.map_err(|error| match error.cause {
        // RFC 1413 §5: any premature close means this.
        InquiryCause::Lost(_) => IdentCause::Refused(Refusal::UnknownError),
        cause => IdentCause::Inquiry(cause),
    })?;
    let Answer { ports, result } = Answer::parse(&line).map_err(IdentCause::Malformed)?;
    if ports != asked {
        return Err(IdentCause::OtherPorts(ports));
    }
    result.map_err(IdentCause::Refused)
}

/// It is not known whom a connection belongs to.
#[derive(Clone, Debug)]
pub struct IdentError {
    /// The server that was asked, as it was given, not what it resolved to.
    pub destination: String,
    /// Why it is not known.
    pub cause: IdentCause,
}

/// Why it is not known whom a connection belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IdentCause {
    /// The server does not tell.
    Refused(Refusal),
    /// There was no whole answer.
    Inquiry(InquiryCause),
    /// The answer is none.
    Malformed(AnswerError),
    /// The answer is for these ports, which were not asked about.
    OtherPorts(Ports),
    /// What was asked about is no TCP connection that stands.
    NoAddress,
}

impl fmt::Display for IdentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, cause } = self;
        match cause {
            IdentCause::Refused(refusal) => write!(f, "{destination} does not tell: {refusal}"),
            IdentCause::Inquiry(cause) => cause.tell(destination, f),
            IdentCause::Malformed(error) => {
                write!(f, "the answer of {destination} is malformed: {error}")
            }
            IdentCause::OtherPorts(ports) => {
                write!(f, "{destination} answered for {ports}, which was not asked")
            }
            IdentCause::NoAddress => {
                write!(f, "the connection to {destination} is no TCP connection that stands")
            }
        }
    }
}

impl Error for IdentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            IdentCause::Refused(refusal) => Some(refusal),
            IdentCause::Inquiry(cause) => cause.source(),
            IdentCause::Malformed(error) => Some(error),
            IdentCause::OtherPorts(_) | IdentCause::NoAddress => None,
        }
    }
}

impl From<Interrupt> for IdentError {
    fn from(interrupt: Interrupt) -> Self {
        let cause = IdentCause::Inquiry(InquiryCause::Interrupted(interrupt));
        Self { destination: "its destination".into(), cause }
    }
}

const PORT: u16 = 113;
/// The greatest length of an answer, in bytes, the end of its line included.
const ANSWER: usize = 1_000;
