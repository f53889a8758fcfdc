//! What a protocol of datagrams is told.

use super::{DatagramTransport, SendFailed};
use crate::driver::OsError;
use crate::{Addr, CloseReason};

/// A protocol that talks in datagrams, on one socket of its own.
///
/// Its callbacks are called by the thread that runs the reactor, never one inside another, `started` first and `stopped` last, each exactly once.
/// A callback may call anything. A panic in it is caught and logged, and the socket goes on: one bad datagram is no reason to
/// be deaf for the others.
///
/// ```
/// use marline_core::datagram::{DatagramProtocol, DatagramTransport};
/// use marline_core::{Addr, Reactor, sim::SimDriver};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
///         // Whoever sent it may be gone: what cannot be sent is dropped.
///         let _ = transport.send_to(data, from);
///     }
/// }
///
/// let reactor = Reactor::new(SimDriver::alone(1));
/// reactor.listen_udp("127.0.0.1:7", Echo)?;
/// # reactor.call_soon(|reactor| reactor.stop().unwrap());
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DatagramProtocol: 'static {
    /// The socket is open. Called from the loop, before anything else.
    #[doc(alias = "startProtocol")]
    fn started(&mut self, transport: &DatagramTransport) {
        let _ = transport;
    }

    /// A datagram has come in, whole and as it was sent. The bytes are lent for the call. An unnamed UNIX socket's address is an empty path.
    #[doc(alias = "datagramReceived")]
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr);

    /// The peer that the socket is connected to is not there: it, or something on the way, has sent a datagram back. Sockets that are not connected
    /// do not hear of it.
    #[doc(alias = "connectionRefused")]
    fn refused(&mut self, transport: &DatagramTransport, error: OsError) {
        let _ = (transport, error);
    }

    /// Datagrams that were accepted for sending could not be sent, and were dropped.
    fn send_failed(&mut self, transport: &DatagramTransport, failed: &SendFailed) {
        let _ = (transport, failed);
    }

    /// The socket is closed. The last callback; the protocol is dropped after it. Never called from inside
    /// [`stop_listening`](DatagramTransport::stop_listening).
    #[doc(alias = "stopProtocol")]
    fn stopped(&mut self, transport: &DatagramTransport, reason: &CloseReason) {
        let _ = (transport, reason);
    }
}
