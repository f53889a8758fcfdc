//! Echo (RFC 862): what comes goes back; over TCP, until the peer ends its stream.

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::{Addr, Protocol, Transport};

use crate::reply::reply;

/// Sends back what it receives, and closes when the peer has ended its stream and everything has left.
///
/// A peer that does not read what it gets is read no more once 64 KiB wait for it, until all of that has left: it costs at most that and
/// one more piece.
///
/// Over UDP each datagram is sent back to where it says it comes from: [not to everybody](crate#over-udp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
        if transport.pending() > HIGH_WATER {
            transport.pause_reading();
            transport.notify_writable();
        }
    }

    fn writable(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
        reply(transport, data, from);
    }
}

/// As much may wait for a peer, in bytes: as much as arrives at once, so that a peer that reads is never paused for one piece.
const HIGH_WATER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{C, Closed, End, S};
    use marline_core::testing::{Conversation, MemoryTransport, TestReactor, talk};

    use super::*;
    use crate::inquiry::DatagramInquiry;

    #[test]
    fn what_is_said_comes_back_until_the_peer_ends() {
        talk(Echo, &[C("a\nb\n"), S("a\n"), S("b\n"), End, Closed]);
        Conversation::with_server(Echo).bytewise().hold(&[
            C("a\nb"),
            S("a\n"),
            S("b"),
            End,
            Closed,
        ]);
    }

    #[test]
    fn a_datagram_of_any_length_comes_back() {
        let reactor = TestReactor::new();
        let _service = reactor.listen_udp("127.0.0.1:7", Echo).unwrap();
        for length in [0, 1, 512, 65_507] {
            let said = (0..length).map(|n: u32| (n ^ (n >> 8)) as u8).collect::<Vec<_>>();
            let told = DatagramInquiry::new(said.clone()).ask(&reactor, "127.0.0.1:7");
            assert!(reactor.result_of(told).unwrap() == said, "{length} bytes were changed");
        }
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_read_from() {
        let peer = MemoryTransport::connect(Echo);
        peer.set_window(1000);
        let said: Vec<u8> = (0..600_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        peer.receive(&said);
        assert!(peer.is_paused());
        assert!(peer.transport().pending() <= 2 * HIGH_WATER, "{}", peer.transport().pending());
        peer.end_of_stream();
        assert!(peer.drain() == said, "something was lost or changed");
        assert!(peer.reason().is_some_and(|reason| reason.is_clean()));
    }
}
