//! Windows, buffers and rates: what stops a sender and what lets it go on.

use super::*;

/// Sends all of a buffer, as the reactor does: what does not leave now is in flight.
fn send_all(node: &mut Node, conn: Handle, bytes: &[u8]) -> Sent {
    node.driver.send(conn, Outgoing::Buffer(&mut bytes.to_vec(), 0))
}

fn small_buffers(hosts: &[Host; 2]) {
    hosts.iter().for_each(|host| host.set_buffers(3000, 5000));
}

#[test]
fn a_paused_reader_stops_the_sender_and_memory_stays_bounded() {
    let mut pair = Pair::with(1, Link::default(), small_buffers);
    pair.server.driver.receive(pair.ends[1], false);
    let bytes = pattern(100_000);
    assert_eq!(send_all(&mut pair.client, pair.ends[0], &bytes), Sent::InFlight(3000));
    let mut left = 3000;
    while let Some(Completion::Sent { len, done, .. }) = pair.client.next() {
        assert!(!done);
        left += len;
        assert!(pair.hosts[0].bytes_held() <= 8000);
    }
    assert!((5001..=8000).contains(&left), "a full window and a send buffer: {left}");

    pair.server.driver.receive(pair.ends[1], true);
    let (got, last) = pair.server.read_all(pair.ends[1]);
    assert_eq!(last, None);
    assert!(got == bytes, "what was in flight follows by itself: {}", got.len());
}

#[test]
fn a_buffer_in_flight_leaves_bit_by_bit_and_can_be_reclaimed_when_it_is_done() {
    let mut pair = Pair::with(1, Link::default(), small_buffers);
    let bytes = pattern(100_000);
    assert_eq!(send_all(&mut pair.client, pair.ends[0], &bytes), Sent::InFlight(3000));
    let (mut left, mut done, mut got) = (3000, false, Vec::new());
    while !done || got.len() < bytes.len() {
        match pair.client.next_within(millis(1)) {
            Some(Completion::Sent { conn, len, done: now_done }) => {
                assert_eq!(conn, pair.ends[0]);
                assert!(len > 0 && !done);
                left += len;
                done = now_done;
            }
            other => assert_eq!(other, None),
        }
        while let Some(Completion::Received { .. }) = pair.server.next_within(Duration::ZERO) {
            got.extend_from_slice(pair.server.bytes());
        }
    }
    assert_eq!(left, bytes.len());
    assert!(got == bytes);
    assert_eq!(pair.client.driver.reclaim(pair.ends[0]).len(), bytes.len());
    assert_eq!(pair.client.driver.reclaim(pair.ends[0]), b"");
}

#[test]
fn lent_bytes_that_do_not_fit_stay_with_the_caller() {
    let mut pair = Pair::with(1, Link::default(), small_buffers);
    let bytes = pattern(10_000);
    assert_eq!(pair.client.send(pair.ends[0], &bytes), Sent::Now(3000));
    assert_eq!(pair.client.send(pair.ends[0], &bytes[3000..]), Sent::Now(0));
    assert_eq!(send_all(&mut pair.client, pair.ends[0], &bytes[3000..]), Sent::InFlight(0));
}

#[test]
fn windows_of_a_single_byte_still_get_everything_through() {
    let mut pair = Pair::with(1, Link::default(), |hosts| {
        hosts.iter().for_each(|host| host.set_buffers(1, 1));
    });
    let bytes = pattern(200);
    send_all(&mut pair.client, pair.ends[0], &bytes);
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        assert_ne!(
            pair.client.next_within(millis(1)),
            Some(Completion::Connected { conn: pair.ends[0] })
        );
        while let Some(Completion::Received { .. }) = pair.server.next_within(Duration::ZERO) {
            got.extend_from_slice(pair.server.bytes());
        }
    }
    assert!(got == bytes);
}

#[test]
fn bandwidth_decides_how_long_a_transfer_takes() {
    let link = Link { bandwidth: Some(1_000_000), latency: millis(1), ..Link::default() };
    let mut pair = Pair::with(1, link, |hosts| hosts[0].set_buffers(500_000, 64 * 1024));
    let start = pair.world.now();
    assert_eq!(pair.client.send(pair.ends[0], &pattern(500_000)), Sent::Now(500_000));
    let mut got = 0;
    while got < 500_000 {
        assert!(matches!(pair.server.next(), Some(Completion::Received { .. })));
        got += pair.server.len;
    }
    let took = pair.world.now() - start;
    assert!((millis(501)..millis(520)).contains(&took), "{took:?}");
}

#[test]
fn a_window_and_a_round_trip_bound_the_rate() {
    let link = Link { latency: millis(50), ..Link::default() };
    let mut pair = Pair::with(1, link, |hosts| {
        hosts[0].set_buffers(1_000_000, 1);
        hosts[1].set_buffers(1, 10_000);
    });
    let start = pair.world.now();
    pair.client.send(pair.ends[0], &pattern(100_000));
    let mut got = 0;
    while got < 100_000 {
        pair.server.next();
        got += pair.server.len;
    }
    // Ten windows, each a round trip after the other.
    let took = pair.world.now() - start;
    assert!((millis(900)..millis(1400)).contains(&took), "{took:?}");
}

#[test]
fn a_slow_reader_reads_at_its_rate() {
    let mut pair = Pair::with(1, Link::default(), |hosts| hosts[1].set_read_rate(Some(10_000)));
    let start = pair.world.now();
    pair.client.send(pair.ends[0], &pattern(20_000));
    let mut got = 0;
    while got < 20_000 {
        assert!(matches!(pair.server.next(), Some(Completion::Received { .. })));
        got += pair.server.len;
    }
    let took = pair.world.now() - start;
    assert!((millis(1950)..millis(2050)).contains(&took), "{took:?}");
}

#[test]
fn loss_makes_a_stream_late_and_nothing_else() {
    let mut pair = Pair::with(1, Link { loss: 0.3, ..Link::default() }, |hosts| {
        hosts[0].set_buffers(100_000, 1000);
    });
    let bytes = pattern(50_000);
    let start = pair.world.now();
    pair.client.send(pair.ends[0], &bytes);
    pair.client.driver.shutdown(pair.ends[0]).unwrap();
    let (got, last) = pair.server.read_all(pair.ends[1]);
    assert!(got == bytes);
    assert_eq!(last, Some(Completion::ReadClosed { conn: pair.ends[1] }));
    assert!(pair.world.now() - start > millis(200));
}

#[test]
fn split_cuts_a_stream_anywhere() {
    let mut pair = Pair::with(1, Link { split: true, ..Link::default() }, |_| {});
    let bytes = pattern(5000);
    pair.client.send(pair.ends[0], &bytes);
    pair.client.driver.shutdown(pair.ends[0]).unwrap();
    let (mut got, mut lengths) = (Vec::new(), std::collections::BTreeSet::new());
    while let Some(Completion::Received { len, .. }) = pair.server.next() {
        got.extend_from_slice(pair.server.bytes());
        lengths.insert(len);
    }
    assert!(got == bytes);
    assert!(lengths.len() > 5, "{lengths:?}");
}
