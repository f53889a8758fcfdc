//! How a connection's output reaches its driver: in how many calls, and from where it lies.

use std::fs::File;

use super::MemoryTransport;
use crate::{Protocol, Transport};

struct Mute;

impl Protocol for Mute {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// How often the driver was asked to send, since the last look.
fn sends(peer: &MemoryTransport<Mute>) -> usize {
    peer.settle();
    std::mem::take(&mut peer.wire.borrow().end(peer.handle).sends)
}

#[test]
fn a_large_buffer_is_moved_to_the_driver() {
    for len in [2049, 1 << 20] {
        let peer = MemoryTransport::connect(Mute);
        peer.set_window(10);
        let buffer = vec![1; len];
        let at = buffer.as_ptr();
        peer.transport().write_owned(buffer);
        peer.settle();
        let in_flight = peer.wire.borrow().end(peer.handle).in_flight.as_ref().unwrap().0.as_ptr();
        assert_eq!(in_flight, at);
        peer.set_window(usize::MAX);
        assert_eq!(peer.take_written().len(), len);
    }
}

#[test]
fn a_buffer_leaves_after_the_callback_that_wrote_it_and_before_the_next() {
    struct Answers;
    impl Protocol for Answers {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            transport.write(data);
            transport.write_owned(vec![b'-'; 3000]);
            let later = transport.clone();
            transport.reactor().unwrap().call_soon(move |_| later.write(b"later"));
        }
    }
    let peer = MemoryTransport::connect(Answers);
    peer.receive(b"now");
    assert_eq!(peer.take_written(), [b"now", &[b'-'; 3000][..], b"later"].concat());
}

#[test]
fn what_was_copied_before_moved_buffers_and_they_leave_in_one_call() {
    let peer = MemoryTransport::connect(Mute);
    peer.transport().write(b"head");
    peer.transport().write_owned(vec![1; 5000]);
    peer.transport().write_sequence([vec![2; 5000], vec![3; 5000]]);
    peer.transport().write(b"tail");
    assert_eq!(sends(&peer), 1);
    assert_eq!(peer.take_written().len(), 15_008);
    // More than one call takes.
    peer.transport().write_sequence((0..3000).map(|_| vec![4; 3000]));
    assert_eq!(sends(&peer), 3);
    assert_eq!(peer.take_written().len(), 9_000_000);
}

#[test]
fn pieces_that_leave_in_part_go_on_where_they_stopped() {
    for window in [1, 4999, 5000, 5001, 10_000, 12_345] {
        let peer = MemoryTransport::connect(Mute);
        peer.set_window(window);
        let pieces = [vec![1; 5000], vec![2; 5000], vec![3; 5000]];
        let expected = pieces.concat();
        peer.transport().write_sequence(pieces);
        peer.transport().lose_connection();
        let mut written = Vec::new();
        while written.len() < 15_000 {
            let left = 15_000 - written.len() - peer.written().len();
            assert_eq!(peer.transport().pending(), left);
            written.extend(peer.take_written());
        }
        assert!(written == expected, "window {window}");
        assert!(peer.reason().unwrap().is_clean());
    }
}

#[test]
fn a_file_is_read_on_the_spot_where_there_are_no_workers() {
    let text = include_bytes!("sends.rs");
    let peer = MemoryTransport::connect(Mute);
    peer.transport().write(b"<");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing/memory/sends.rs");
    let sent = peer.transport().send_file(File::open(path).unwrap(), 0, text.len() as u64);
    peer.transport().write(b">");
    assert_eq!(peer.take_written(), [b"<", &text[..], b">"].concat());
    assert_eq!(sent.try_take().unwrap().unwrap(), text.len() as u64);
}
