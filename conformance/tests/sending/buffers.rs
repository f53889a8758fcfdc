//! Buffers that are moved instead of copied. That they are, and leave in one call, is checked with the in-memory driver, in the core.

use marline_conformance::on_every_driver;

use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(moved_buffers_keep_their_order_with_everything_else, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let (whole, transport) = (pattern(4_000_000), ends.client.transport());
    let mut rest = &whole[..];
    let mut take = |len: usize| {
        let (now, later) = rest.split_at(len.min(rest.len()));
        rest = later;
        now
    };
    // From outside a callback, one kind after the other, small and large.
    for round in 0.. {
        let piece = take([1, 2047, 2048, 2049, 65_536, 300_000][round % 6]);
        if piece.is_empty() {
            break;
        }
        match round % 4 {
            0 => transport.write(piece),
            1 => transport.write_owned(piece.to_vec()),
            2 => transport.write_sequence([piece]),
            _ => transport.write_sequence(piece.chunks(3000).map(<[u8]>::to_vec)),
        }
    }
    assert_eq!(transport.pending(), whole.len());
    ends.until("all", |ends| ends.server.received() == whole.len());
    assert_same(&ends.server.bytes(), &whole);
    assert_eq!(transport.pending(), 0);
});

on_every_driver!(bytes_lent_to_a_callback_leave_before_a_buffer_moved_after_them, |ground| {
    let server = Probe::new().on_data(|transport, data| {
        transport.write(data);
        transport.write_owned(vec![b'-'; 100_000]);
        transport.write(data);
        transport.write_owned(b"small".to_vec());
        transport.lose_connection();
        transport.write_owned(vec![b'!'; 100_000]);
    });
    let ends = Ends::join(ground, Probe::new(), server);
    let asked = pattern(5000);
    ends.client.transport().write(&asked);
    ends.until_lost();
    let expected = [&asked[..], &[b'-'; 100_000], &asked, b"small"].concat();
    // What was asked may have come in two pieces, of which the second went nowhere.
    if ends.client.received() == expected.len() {
        assert_same(&ends.client.bytes(), &expected);
    }
    assert!(ends.client.bytes().ends_with(b"small"));
});

on_every_driver!(more_pieces_than_one_call_takes_arrive_whole_at_a_slow_reader, |ground| {
    let whole = pattern(9_000_000);
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let (transport, server) = (ends.client.transport(), ends.server.transport());
    server.pause_reading();
    transport.write_sequence(whole.chunks(3000).map(<[u8]>::to_vec));
    ends.idle();
    assert!(transport.pending() > 0);
    while ends.server.received() < whole.len() {
        server.resume_reading();
        ends.reactor.turn(Some(std::time::Duration::from_millis(5))).unwrap();
        server.pause_reading();
    }
    assert_same(&ends.server.bytes(), &whole);
});

on_every_driver!(buffers_written_after_the_end_go_nowhere, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    transport.lose_connection();
    transport.write_owned(vec![1; 10_000]);
    ends.until_lost();
    transport.write_owned(vec![1; 10_000]);
    transport.write_sequence([vec![1; 10_000], vec![2; 10_000]]);
    assert_eq!((transport.pending(), ends.server.received()), (0, 0));
});
