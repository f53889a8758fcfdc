//! Echo (RFC 862): what comes goes back, until the peer ends its stream.

use marline_core::{Protocol, Transport};

/// Sends back what it receives, and closes when the peer has ended its stream and everything has left.
///
/// A peer that does not read what it gets is read no more once 64 KiB wait for it, until all of that has left: it costs at most that and
/// one more piece.
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

/// As much may wait for a peer, in bytes: as much as arrives at once, so that a peer that reads is never paused for one piece.
const HIGH_WATER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{C, Closed, End, S};
    use marline_core::testing::{Conversation, MemoryTransport, talk};

    use super::*;

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
