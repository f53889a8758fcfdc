//! Bytes, their end, and closing.

use std::io::ErrorKind;

use super::*;

#[test]
fn bytes_arrive_after_the_latency_in_the_order_they_were_sent() {
    let mut pair = Pair::new(Link { latency: millis(20), ..Link::default() });
    let start = pair.world.now();
    let parts = [IoSlice::new(b"one "), IoSlice::new(b"two")];
    let sent = pair.client.driver.send(pair.ends[0], Outgoing::Vectored(&parts));
    assert_eq!(sent, Sent::Now(7));
    let conn = pair.ends[1];
    assert_eq!(pair.server.next(), Some(Completion::Received { conn, len: 7 }));
    assert_eq!(pair.server.bytes(), b"one two");
    assert_eq!(pair.world.now() - start, millis(20));
}

#[test]
fn nothing_is_reported_from_inside_a_call_and_time_stands_while_there_is_something_to_report() {
    let mut pair = Pair::new(Link::default());
    pair.client.send(pair.ends[0], b"x");
    assert_eq!(pair.server.driver.next(&mut [0; 9]), None);
    pair.server.driver.wait(None).unwrap();
    let arrived = pair.server.driver.now();
    pair.server.driver.wait(Some(arrived + millis(500))).unwrap();
    assert_eq!(pair.server.driver.now(), arrived);
}

#[test]
fn a_small_scratch_buffer_gets_the_rest_in_the_next_round() {
    let mut pair = Pair::new(Link::default());
    pair.client.send(pair.ends[0], b"abcdef");
    pair.server.driver.wait(None).unwrap();
    let mut scratch = [0; 4];
    let conn = pair.ends[1];
    let received = |len| Some(Completion::Received { conn, len });
    assert_eq!(pair.server.driver.next(&mut scratch), received(4));
    assert_eq!(pair.server.driver.next(&mut scratch), None, "a bounded share");
    pair.server.driver.wait(None).unwrap();
    assert_eq!(pair.server.driver.next(&mut scratch), received(2));
    assert_eq!(&scratch[..2], b"ef");
}

#[test]
fn nothing_is_received_while_receiving_is_off_not_even_what_was_collected() {
    let mut pair = Pair::new(Link::default());
    pair.client.send(pair.ends[0], b"held");
    pair.client.driver.shutdown(pair.ends[0]).unwrap();
    pair.server.driver.wait(None).unwrap();
    pair.server.driver.receive(pair.ends[1], false);
    assert_eq!(pair.server.next(), None);
    pair.server.driver.receive(pair.ends[1], true);
    let (bytes, last) = pair.server.read_all(pair.ends[1]);
    assert_eq!(bytes, b"held");
    assert_eq!(last, Some(Completion::ReadClosed { conn: pair.ends[1] }));
}

#[test]
fn each_side_can_end_its_stream_and_go_on_reading() {
    for closes_first in [0, 1] {
        let mut pair = Pair::new(Link::default());
        let [first, second] = if closes_first == 0 {
            [(&mut pair.client, pair.ends[0]), (&mut pair.server, pair.ends[1])]
        } else {
            [(&mut pair.server, pair.ends[1]), (&mut pair.client, pair.ends[0])]
        };
        first.0.send(first.1, b"question");
        first.0.driver.shutdown(first.1).unwrap();
        let failed = first.0.send(first.1, b"more");
        assert_eq!(failed, Sent::Failed(ErrorKind::BrokenPipe.into()));
        let (bytes, last) = second.0.read_all(second.1);
        assert_eq!(
            (bytes.as_slice(), last),
            (&b"question"[..], Some(Completion::ReadClosed { conn: second.1 }))
        );
        second.0.send(second.1, b"answer");
        second.0.driver.close(second.1, Close::Graceful);
        let (bytes, last) = first.0.read_all(first.1);
        assert_eq!(
            (bytes.as_slice(), last),
            (&b"answer"[..], Some(Completion::ReadClosed { conn: first.1 }))
        );
        first.0.driver.close(first.1, Close::Graceful);
        assert_eq!(second.0.next(), None);
        assert_eq!(pair.world.connections(), 0);
    }
}

#[test]
fn a_graceful_close_delivers_everything_even_if_the_peer_goes_on_sending() {
    let mut pair = Pair::with(1, Link { latency: millis(20), ..Link::default() }, |hosts| {
        hosts.iter().for_each(|host| host.set_buffers(100_000, 1000));
    });
    let bytes = pattern(50_000);
    assert_eq!(pair.client.send(pair.ends[0], &bytes), Sent::Now(50_000));
    pair.client.driver.close(pair.ends[0], Close::Graceful);
    let mut got = Vec::new();
    loop {
        match pair.server.next() {
            Some(Completion::Received { .. }) => got.extend_from_slice(pair.server.bytes()),
            other => {
                assert_eq!(other, Some(Completion::ReadClosed { conn: pair.ends[1] }));
                break;
            }
        }
        assert_eq!(pair.server.send(pair.ends[1], b"noise"), Sent::Now(5));
    }
    assert!(got == bytes);
    // Now that the peer knows, more of it is answered by a reset.
    pair.server.send(pair.ends[1], b"too late");
    let error = ErrorKind::ConnectionReset.into();
    assert_eq!(pair.server.next(), Some(Completion::Failed { handle: pair.ends[1], error }));
    pair.server.driver.close(pair.ends[1], Close::Graceful);
    assert_eq!(pair.world.connections(), 0);
}

#[test]
fn a_reset_destroys_what_was_not_read_and_is_told_even_while_receiving_is_off() {
    let mut pair = Pair::new(Link::default());
    pair.client.send(pair.ends[0], b"unread");
    pair.server.driver.receive(pair.ends[1], false);
    pair.client.driver.close(pair.ends[0], Close::Reset);
    let error = ErrorKind::ConnectionReset.into();
    assert_eq!(pair.server.next(), Some(Completion::Failed { handle: pair.ends[1], error }));
    pair.server.driver.receive(pair.ends[1], true);
    assert_eq!(pair.server.next(), None, "failed is the last word");
    let sent = pair.server.send(pair.ends[1], b"x");
    assert_eq!(sent, Sent::Failed(ErrorKind::BrokenPipe.into()));
    pair.server.driver.close(pair.ends[1], Close::Reset);
    assert_eq!(pair.world.connections(), 0);
}

#[test]
fn a_send_that_hears_of_the_reset_is_told_instead_of_the_completion() {
    let mut pair = Pair::new(Link::default());
    pair.client.driver.close(pair.ends[0], Close::Reset);
    pair.server.driver.wait(None).unwrap();
    let sent = pair.server.send(pair.ends[1], b"x");
    assert_eq!(sent, Sent::Failed(ErrorKind::ConnectionReset.into()));
    assert_eq!(pair.server.next(), None);
}

#[test]
fn nothing_is_reported_after_close_and_a_stale_handle_reaches_nobody() {
    let mut pair = Pair::new(Link::default());
    pair.server.send(pair.ends[1], b"collected");
    pair.client.driver.wait(None).unwrap();
    let old = pair.ends[0];
    pair.client.driver.close(old, Close::Graceful);
    assert_eq!(pair.client.driver.next(&mut [0; 99]), None);
    let (port, addr) = pair.server.listen("10.0.0.2:81").unwrap();
    let new = pair.client.connect(&addr).unwrap();
    assert_eq!(new.index, old.index);
    assert_ne!(new.version, old.version);
    assert_eq!(pair.client.next(), Some(Completion::Connected { conn: new }));
    assert_eq!(pair.client.send(old, b"x"), Sent::Failed(OsError::STALE));
    assert_eq!(pair.client.driver.shutdown(old), Err(OsError::STALE));
    assert_eq!(pair.client.driver.local_addr(old), None);
    pair.client.driver.close(old, Close::Reset);
    assert!(pair.client.driver.peer_addr(new).is_some());
    assert!(pair.server.driver.peer_addr(port).is_none());
}

#[test]
fn options_are_kept_each_for_itself() {
    use crate::driver::SocketOption::{KeepAlive, NoDelay};
    let mut pair = Pair::new(Link::default());
    let (conn, driver) = (pair.ends[0], &mut pair.client.driver);
    assert_eq!(driver.option(conn, NoDelay(false)), Ok(NoDelay(true)));
    assert_eq!(driver.option(conn, KeepAlive(true)), Ok(KeepAlive(false)));
    driver.set_option(conn, KeepAlive(true)).unwrap();
    driver.set_option(conn, NoDelay(false)).unwrap();
    assert_eq!(driver.option(conn, NoDelay(true)), Ok(NoDelay(false)));
    assert_eq!(driver.option(conn, KeepAlive(false)), Ok(KeepAlive(true)));
}
