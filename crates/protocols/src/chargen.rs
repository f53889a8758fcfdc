//! Character generator (RFC 864): text without end, as fast as the peer takes it; over UDP, a piece of it for each datagram.

use std::cell::Cell;
use std::rc::Rc;

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::flow::Producer;
use marline_core::{Addr, Protocol, Transport};

use crate::reply::reply;

/// Sends lines of 72 printing characters, each beginning one character further on in the ring of 95, until the peer ends its stream; throws
/// away what it receives.
///
/// Over UDP every datagram, whatever is in it, is answered with a random number of these bytes, 0 to 512, but [not everybody's](crate#over-udp).
///
/// The next 54 lines (3,996 bytes) are made when those before have left, so that a peer that does not read costs no more than these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chargen;

impl Protocol for Chargen {
    fn connection_made(&mut self, transport: &Transport) {
        let lines = Lines { to: transport.clone(), next: Cell::new(0) };
        if transport.register_producer(Rc::new(lines), false).is_err() {
            // Somebody else feeds this connection, and an unending text would come in between.
            transport.lose_connection();
        }
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn read_connection_lost(&mut self, transport: &Transport) {
        // Or the close would wait for it, and it never ends.
        transport.unregister_producer();
        transport.lose_connection();
    }
}

impl DatagramProtocol for Chargen {
    fn datagram_received(&mut self, transport: &DatagramTransport, _data: &[u8], from: &Addr) {
        let reactor = transport.reactor();
        let (length, first) = reactor.rng(|rng| (rng.below(MOST + 1), rng.below(PRINTING as u64)));
        let mut text = Vec::with_capacity(MOST as usize + WIDTH);
        let mut at = first as usize;
        while text.len() < length as usize {
            text.extend_from_slice(&RING[at..at + WIDTH]);
            text.extend_from_slice(b"\r\n");
            at = (at + 1) % PRINTING;
        }
        reply(transport, &text[..length as usize], from);
    }
}

/// The generator of one connection.
struct Lines {
    to: Transport,
    /// The number of the next line, modulo 95.
    next: Cell<usize>,
}

impl Producer for Lines {
    fn resume_producing(&self) {
        for _ in 0..AT_ONCE {
            let at = self.next.get();
            self.next.set((at + 1) % PRINTING);
            self.to.write_sequence([&RING[at..at + WIDTH], b"\r\n"]);
        }
    }

    fn stop_producing(&self) {}
}

/// Bytes of a datagram at most (RFC 864).
const MOST: u64 = 512;
/// Printing characters that ASCII has, space among them.
const PRINTING: usize = 95;
/// Characters of a line.
const WIDTH: usize = 72;
/// Lines made at once: a page of memory, nearly.
const AT_ONCE: usize = 54;

/// The printing characters in their order, and round again for the length of a line.
static RING: [u8; PRINTING + WIDTH] = {
    let mut ring = [0; PRINTING + WIDTH];
    let mut at = 0;
    while at < ring.len() {
        ring[at] = b' ' + (at % PRINTING) as u8;
        at += 1;
    }
    ring
};

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use marline_core::testing::TestReactor;

    use super::*;
    use crate::inquiry::DatagramInquiry;

    /// Reads so many bytes, and no more.
    struct Reads {
        most: usize,
        got: Rc<RefCell<Vec<u8>>>,
    }

    impl Reads {
        fn bytes(most: usize) -> Self {
            Self { most, got: Rc::default() }
        }
    }

    impl Protocol for Reads {
        fn connection_made(&mut self, transport: &Transport) {
            self.data_received(transport, b"");
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            let mut got = self.got.borrow_mut();
            got.extend_from_slice(data);
            if got.len() >= self.most {
                transport.pause_reading();
            }
        }
    }

    #[test]
    fn lines_go_round_as_the_rfc_tells() {
        let reactor = TestReactor::new();
        let enough = 3 * 74 * PRINTING;
        let reads = Reads::bytes(enough);
        let got = Rc::clone(&reads.got);
        let (_client, _server) = reactor.connect_pair(reads, Chargen);
        reactor.turn_until(|| got.borrow().len() >= enough);
        let got = got.borrow();
        let lines: Vec<&[u8]> = got.chunks_exact(74).collect();
        let first = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg";
        assert_eq!(lines[0], [first, "\r\n"].concat().as_bytes());
        for (number, line) in lines.iter().enumerate() {
            // On line N the characters 0+N mod 95 to 71+N mod 95, CR and LF behind them.
            let expected: Vec<u8> = (0..72).map(|n| b' ' + ((n + number) % 95) as u8).collect();
            assert_eq!(line, &[&expected[..], b"\r\n"].concat());
        }
    }

    #[test]
    fn a_datagram_is_answered_with_up_to_512_bytes_of_the_same_lines() {
        let reactor = TestReactor::new();
        let _service = reactor.listen_udp("127.0.0.1:19", Chargen).unwrap();
        let mut round: Vec<u8> = Vec::new();
        for line in (0..PRINTING + 7).map(|number| number % PRINTING) {
            round.extend((0..72).map(|n| b' ' + ((n + line) % 95) as u8).chain(*b"\r\n"));
        }
        let (mut lengths, mut beginnings) = (vec![0; 513], vec![0; 256]);
        for question in 0..10_000 {
            let asked = DatagramInquiry::new(question.to_string()).ask(&reactor, "127.0.0.1:19");
            let text = reactor.result_of(asked).unwrap();
            lengths[text.len()] += 1;
            let Some(first) = text.first() else { continue };
            beginnings[usize::from(*first)] += 1;
            let at = 74 * usize::from(first - b' ');
            assert!(text == round[at..at + text.len()], "{text:?}");
        }
        // Each length is expected 19 times, each of the 95 beginnings a hundred times.
        assert!(lengths.iter().all(|times| (1..60).contains(times)), "{lengths:?}");
        let begins = |byte: u8| beginnings[usize::from(byte)] > 20;
        assert!((0..=255).all(|byte| begins(byte) == (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn a_peer_that_does_not_read_costs_one_batch() {
        let reactor = TestReactor::new();
        let (client, server) = reactor.connect_pair(Reads::bytes(0), Chargen);
        for _ in 0..100 {
            client.transport().write(b"what it says is thrown away");
            reactor.advance(Duration::from_secs(1));
            assert!(server.transport().pending() <= AT_ONCE * (WIDTH + 2));
        }
        assert!(server.transport().pending() > 0, "it has stopped, or the peer reads");
    }

    #[test]
    fn the_end_of_the_peers_stream_or_a_reset_ends_it() {
        for reset in [false, true] {
            let reactor = TestReactor::new();
            let reads = Reads::bytes(100_000);
            let got = Rc::clone(&reads.got);
            let (client, server) = reactor.connect_pair(reads, Chargen);
            reactor.turn_until(|| got.borrow().len() >= 100_000);
            if reset {
                client.transport().abort_connection();
            } else {
                client
                    .try_with(|reads, transport| {
                        reads.most = usize::MAX;
                        transport.lose_write_connection();
                        transport.resume_reading();
                    })
                    .unwrap();
            }
            let ended = || server.try_with(|_, _| ()).is_err();
            reactor.turn_until(|| ended() || got.borrow().len() > 1_000_000);
            assert!(ended(), "it goes on");
            reactor.advance(Duration::from_secs(5));
            assert!(reset || got.borrow().ends_with(b"\r\n"), "the last line was cut");
            assert!(client.try_with(|_, _| ()).is_err());
        }
    }
}
