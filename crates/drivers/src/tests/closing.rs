//! Closing: what was sent arrives, and the reactor hears no more of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use marline_core::Time;
use marline_core::driver::{Close, Completion, Handle, Outgoing, Sent};

use super::{Bench, each};

#[test]
fn what_was_sent_arrives_although_the_peer_goes_on_sending() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        // The peer has sent what nobody reads, and will send more before it looks at what came.
        peer.write_all(&[1; 50_000]).unwrap();
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(&[2; 20_000])), Sent::Now(20_000));
        bench.driver.close(conn, Close::Graceful);
        let reader = thread::spawn(move || {
            for _ in 0..10 {
                peer.write_all(&[1; 10_000])?;
                thread::sleep(Duration::from_millis(5));
            }
            let mut got = Vec::new();
            peer.read_to_end(&mut got).map(|_| got)
        });
        while !reader.is_finished() {
            bench.quiet(Duration::from_millis(10));
        }
        assert!(reader.join().unwrap().unwrap() == [2; 20_000], "other bytes arrived");
        wait_until_freed(&mut bench, conn);
    });
}

#[test]
fn a_connection_whose_end_was_seen_is_closed_at_once() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bench.next(), Completion::ReadClosed { conn });
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"bye")), Sent::Now(3));
        bench.driver.close(conn, Close::Graceful);
        bench.driver.wait(Some(Time::ZERO)).unwrap();
        assert_eq!(bench.driver.deadline(), None);
        assert_eq!(next_handle(&mut bench), again(conn));
        let mut got = String::new();
        peer.read_to_string(&mut got).unwrap();
        assert_eq!(got, "bye");
    });
}

#[test]
fn the_index_is_used_again_only_when_the_last_bytes_are_gone() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.close(conn, Close::Graceful);
        assert!(bench.driver.deadline().is_some());
        assert_eq!(bench.driver.local_addr(conn), None);
        bench.driver.close(conn, Close::Reset);
        assert_ne!(next_handle(&mut bench).index, conn.index);
        let mut got = Vec::new();
        assert_eq!(peer.read_to_end(&mut got).unwrap(), 0);
        peer.write_all(b"ignored").unwrap();
        bench.assert_idle();
        drop(peer);
        wait_until_freed(&mut bench, conn);
        assert_eq!(next_handle(&mut bench), again(conn));
    });
}

#[test]
fn a_peer_that_never_closes_is_waited_for_only_so_long() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let closed = bench.driver.now();
        bench.driver.close(conn, Close::Graceful);
        // Until the selector knows of it there is work to do at once.
        assert_eq!(bench.driver.deadline(), Some(Time::ZERO));
        bench.driver.wait(Some(Time::ZERO)).unwrap();
        let deadline = bench.driver.deadline().unwrap();
        assert_eq!((deadline - closed).as_secs(), 2);
        // A wait without an end of its own minds it.
        bench.driver.wait(None).unwrap();
        while bench.driver.deadline().is_some() {
            bench.driver.wait(None).unwrap();
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
        }
        assert!(bench.driver.now() >= deadline);
        assert_eq!(next_handle(&mut bench), again(conn));
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn a_peer_that_sends_without_end_is_cut_off() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.close(conn, Close::Graceful);
        let writer = thread::spawn(move || {
            let mut sent = 0;
            while peer.write_all(&[0; 10_000]).is_ok() {
                sent += 10_000;
            }
            sent
        });
        wait_until_freed(&mut bench, conn);
        let sent = writer.join().unwrap();
        assert!(sent >= 250_000, "cut off after {sent} bytes");
    });
}

#[test]
fn no_more_than_so_many_linger() {
    each(|mut bench| {
        let most = crate::readiness::MOST_LINGERING;
        let pairs: Vec<(Handle, TcpStream)> = (0..=most).map(|_| bench.pair()).collect();
        for (conn, _) in &pairs[..most] {
            bench.driver.close(*conn, Close::Graceful);
        }
        let before = next_handle(&mut bench);
        assert!(pairs.iter().all(|(conn, _)| conn.index != before.index));
        bench.driver.close(pairs[most].0, Close::Graceful);
        // The first one made room.
        assert_eq!(next_handle(&mut bench), again(pairs[0].0));
    });
}

#[test]
fn a_reset_reaches_the_peer() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"lost")), Sent::Now(4));
        bench.driver.close(conn, Close::Reset);
        assert_eq!(next_handle(&mut bench), again(conn));
        let mut got = Vec::new();
        let error = peer.read_to_end(&mut got).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_is_in_flight_is_dropped_when_the_connection_is_closed() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let mut buffer = vec![3; 8 << 20];
        let Sent::InFlight(sent) = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 0)) else {
            panic!("8 MiB left at once")
        };
        bench.driver.close(conn, Close::Graceful);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got.len()
        });
        wait_until_freed(&mut bench, conn);
        assert_eq!(reader.join().unwrap(), sent);
    });
}

#[test]
fn dropping_the_driver_closes_everything() {
    each(|mut bench| {
        let (_, addr) = bench.listen();
        let (_, mut peer) = bench.pair();
        let (lingering, mut last) = bench.pair();
        bench.driver.close(lingering, Close::Graceful);
        let mut waiting = TcpStream::connect(addr).unwrap();
        waiting.set_read_timeout(Some(super::PATIENCE)).unwrap();
        drop(bench);
        let mut got = Vec::new();
        assert_eq!(peer.read_to_end(&mut got).unwrap(), 0);
        assert_eq!(last.read_to_end(&mut got).unwrap(), 0);
        assert!(wait_for_reset(&mut last));
        // It was never accepted.
        assert_eq!(waiting.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// The first write after the other end is gone may still succeed; its answer is the reset.
fn wait_for_reset(peer: &mut TcpStream) -> bool {
    (0..1000).any(|_| {
        let refused = peer.write_all(b"x").is_err();
        thread::sleep(Duration::from_millis(1));
        refused
    })
}

/// Turns the loop, which reports nothing, until nothing lingers.
fn wait_until_freed(bench: &mut Bench, conn: Handle) {
    let patience = bench.driver.now() + super::PATIENCE;
    while bench.driver.deadline().is_some() {
        assert!(bench.driver.now() < patience, "{conn:?} lingers");
        bench.quiet(Duration::from_millis(1));
    }
}

/// The handle that the next socket gets.
fn next_handle(bench: &mut Bench) -> Handle {
    let (port, _) = bench.listen();
    bench.driver.close(port, Close::Graceful);
    port
}

/// The handle of the same place when it is used again.
fn again(conn: Handle) -> Handle {
    Handle { version: conn.version + 1, ..conn }
}
