//! Writing: the order of bytes, from whichever place they are written, and being told when all have left.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::{Reactor, Transport};

use super::kit::{
    Ends, Probe, Tape, assert_same, connect, listen, listen_once, pattern, started, turn_until,
};

on_every_driver!(bytes_arrive_in_the_order_written_whatever_their_size, |ground| {
    let sizes = [1, 100_000, 3, 2047, 2048, 2049, 65_535, 65_536, 65_537, 1, 1_000_000, 7];
    let sent = pattern(sizes.iter().sum());
    let bytes = sent.clone();
    let client = Probe::new().on_made(move |transport| {
        let mut rest = &bytes[..];
        for size in sizes {
            let (piece, after) = rest.split_at(size);
            transport.write(piece);
            rest = after;
        }
        transport.write(b"");
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, Probe::new());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
});

// 74
on_every_driver!(a_sequence_of_pieces_alone_is_sent, |ground| {
    let client = Probe::new().on_made(|transport| {
        transport.write_sequence([b"one ".as_slice(), b"", b"two ", b"three"])
    });
    let ends = Ends::join(ground, client, Probe::new());
    ends.until("the pieces", |ends| ends.server.received() == 13);
    assert_eq!(ends.server.bytes(), b"one two three");
});

on_every_driver!(lent_and_own_bytes_keep_their_order_in_an_answer, |ground| {
    // Around the sizes at which lent bytes are copied or sent as pieces of their own.
    for size in [1, 2000, 2048, 2049, 60_000] {
        let sent = pattern(size);
        let bytes = sent.clone();
        let server = Probe::new().on_data(|transport, data| {
            let (one, other) = data.split_at(data.len() / 2);
            transport.write(one);
            transport.write(b"");
            transport.write(other);
            transport.write(b"<");
            transport.write(data);
            transport.write(b">");
            for byte in data.iter().take(100) {
                transport.write(std::slice::from_ref(byte));
            }
        });
        let heard: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let pieces = Rc::clone(&heard);
        let tape = server.tape();
        let server = Wrapped { probe: server, pieces };
        let reactor = started(ground);
        let port = listen_once(&reactor, server);
        let client = Probe::new().on_made(move |transport| transport.write(&bytes));
        let answer = client.tape();
        connect(&reactor, &port.local_addr(), client);
        turn_until(&reactor, "all to arrive", || tape.received() == size);
        let expected: Vec<u8> = heard
            .borrow()
            .iter()
            .flat_map(|piece| {
                let first = piece.iter().take(100).copied().collect();
                [piece.clone(), b"<".to_vec(), piece.clone(), b">".to_vec(), first].concat()
            })
            .collect();
        turn_until(&reactor, "the answer", || answer.received() >= expected.len());
        assert_same(&answer.bytes(), &expected);
        assert_same(&tape.bytes(), &sent);
    }
});

/// Keeps how the bytes were cut.
struct Wrapped {
    probe: Probe,
    pieces: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl marline_core::Protocol for Wrapped {
    fn connection_made(&mut self, transport: &Transport) {
        self.probe.connection_made(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.pieces.borrow_mut().push(data.to_vec());
        self.probe.data_received(transport, data);
    }
}

on_every_driver!(bytes_from_callbacks_timers_and_outside_keep_their_order, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    transport.write(b"1");
    transport.write(b"2");
    let later = transport.clone();
    ends.reactor.call_soon(move |_| {
        later.write(b"3");
        later.write(b"4");
    });
    let soon = transport.clone();
    ends.reactor.call_soon(move |reactor| {
        soon.write(b"5");
        let timer = soon.clone();
        reactor.call_later(Duration::ZERO, move |reactor: &Reactor| {
            timer.write(b"7");
            let last = timer.clone();
            reactor.call_soon(move |_| last.write(b"8"));
        });
        soon.write(b"6");
    });
    ends.until("all bytes", |ends| ends.server.received() == 8);
    assert_eq!(ends.server.bytes(), b"12345678");
});

on_every_driver!(one_callback_writes_to_many_connections_in_turns, |ground| {
    let reactor = started(ground);
    let echo = listen(&reactor, || Probe::new().on_data(|transport, data| transport.write(data)));
    let echoed: Vec<_> = (0..5)
        .map(|_| {
            let probe = Probe::new();
            let tape = probe.tape();
            connect(&reactor, &echo.local_addr(), probe);
            tape
        })
        .collect();
    let transports: Vec<_> = echoed.iter().map(Tape::transport).collect();
    reactor.call_soon(move |_| {
        for round in 0..100_u8 {
            for (number, transport) in transports.iter().enumerate() {
                transport.write(&[number as u8, round]);
            }
        }
    });
    turn_until(&reactor, "every echo", || echoed.iter().all(|tape| tape.received() == 200));
    for (number, tape) in echoed.iter().enumerate() {
        let expected: Vec<u8> = (0..100).flat_map(|round| [number as u8, round]).collect();
        assert_eq!(tape.bytes(), expected);
    }
});

on_every_driver!(bytes_written_behind_a_full_buffer_come_after_it, |ground| {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    let sent = pattern(12_000_000);
    for piece in sent.chunks(1_000_000) {
        ends.client.transport().write(piece);
        ends.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(ends.client.transport().pending() > 0, "the system cannot have taken that much");
    ends.server.transport().resume_reading();
    ends.until("all of it", |ends| ends.server.received() == sent.len());
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.client.transport().pending(), 0);
});

on_every_driver!(what_is_pending_counts_what_this_callback_wrote, |ground| {
    let client = Probe::new().on_made(|transport| {
        assert_eq!(transport.pending(), 0);
        transport.write(b"12345");
        assert_eq!(transport.pending(), 5);
        transport.write(b"678");
        assert_eq!(transport.pending(), 8);
    });
    let ends = Ends::join(ground, client, Probe::new());
    ends.until("the bytes", |ends| ends.server.received() == 8);
    assert_eq!(ends.client.story(), "made");
    assert_eq!(ends.client.transport().pending(), 0);
});

on_every_driver!(writable_is_told_once_after_everything_has_left, |ground| {
    let left = Rc::new(Cell::new(usize::MAX));
    let pending = Rc::clone(&left);
    let client = Probe::new()
        .on_made(|transport| {
            transport.write(&pattern(12_000_000));
            transport.notify_writable();
            transport.notify_writable();
        })
        .on_writable(move |transport| pending.set(transport.pending()));
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, client, server);
    ends.idle();
    assert_eq!(ends.client.story(), "made");
    ends.server.transport().resume_reading();
    ends.until("the notice", |ends| ends.client.has("writable"));
    ends.idle();
    assert_eq!(left.get(), 0);
    assert_eq!(ends.client.story(), "made writable");
});

on_every_driver!(writable_is_told_right_after_the_callback_if_nothing_waits, |ground| {
    let rounds = Rc::new(Cell::new(0));
    let count = Rc::clone(&rounds);
    let client = Probe::new().on_made(|transport| transport.notify_writable()).on_writable(
        move |transport| {
            count.set(count.get() + 1);
            if count.get() < 3 {
                transport.notify_writable();
            }
        },
    );
    let ends = Ends::join(ground, client, Probe::new());
    ends.idle();
    assert_eq!(rounds.get(), 3);
    assert_eq!(ends.client.story(), "made writable writable writable");
});
