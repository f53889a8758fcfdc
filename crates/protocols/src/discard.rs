//! Discard (RFC 863): what comes is thrown away.

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::{Addr, Protocol, Transport};

/// Throws away what it receives and says nothing, over UDP too; closes a connection when the peer has ended its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discard;

impl Protocol for Discard {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

impl DatagramProtocol for Discard {
    fn datagram_received(&mut self, _: &DatagramTransport, _data: &[u8], _from: &Addr) {}
}

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{C, Closed, End, Silence};
    use marline_core::testing::{TestReactor, talk};

    use super::*;
    use crate::inquiry::{DatagramInquiry, InquiryCause};

    #[test]
    fn nothing_is_answered_until_the_peer_ends() {
        talk(Discard, &[C("hello\r\n"), Silence, C("anybody?"), Silence, End, Closed]);
    }

    #[test]
    fn no_datagram_is_answered() {
        let reactor = TestReactor::new();
        let _service = reactor.listen_udp("127.0.0.1:9", Discard).unwrap();
        let told = DatagramInquiry::new("anybody?").ask(&reactor, "127.0.0.1:9");
        let silence = reactor.result_of(told).unwrap_err();
        assert!(matches!(silence.cause, InquiryCause::TimedOut { .. }), "{silence}");
    }
}
