//! Files that a driver sends.

use std::fs::File;
use std::io::{ErrorKind, Read, pipe};
use std::os::fd::OwnedFd;

use marline_core::driver::{Capability, Close, Completion, Outgoing, Sent};
use rustix::fs::{Mode, OFlags, open};

use super::each;

#[test]
fn a_short_file_leaves_at_once_and_a_long_one_is_in_flight() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::SendFile));
        let (conn, mut peer) = bench.pair();
        let short = bench.driver.send_file(conn, sparse(5000), 1000, 3000);
        assert_eq!(short.unwrap(), Sent::Now(3000));
        let size = 30_000_000;
        let mut left = match bench.driver.send_file(conn, sparse(size), 0, size).unwrap() {
            Sent::InFlight(len) => size - len as u64,
            other => panic!("not in flight: {other:?}"),
        };
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![1; 30_003_000];
            peer.read_exact(&mut bytes).unwrap();
            (bytes.iter().all(|byte| *byte == 0), peer)
        });
        while left > 0 {
            match bench.next() {
                Completion::Sent { conn: of, len, done } if of == conn => {
                    left -= len as u64;
                    assert_eq!(done, left == 0);
                }
                other => panic!("not sent: {other:?}"),
            }
        }
        let (zeros, _peer) = reader.join().unwrap();
        assert!(zeros);
        // The connection is free for what follows, and nothing is left to fetch.
        assert!(bench.driver.reclaim(conn).is_empty());
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"after")), Sent::Now(5));
        bench.assert_idle();
    });
}

#[test]
fn what_cannot_be_sent_comes_back_and_the_connection_stands() {
    each(|mut bench| {
        let (conn, _peer) = bench.pair();
        let refused: [(OwnedFd, u64); 4] = [
            (pipe().unwrap().0.into(), 0),
            (File::open("/").unwrap().into(), 0),
            (sparse(100), 100),
            (sparse(0), 0),
        ];
        for (file, offset) in refused {
            assert!(bench.driver.send_file(conn, file, offset, 10).is_err());
        }
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"after")), Sent::Now(5));
        bench.assert_idle();
    });
}

#[test]
fn a_file_that_ends_early_says_so_once_and_the_connection_stands() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let sent = bench.driver.send_file(conn, sparse(5000), 0, 6000);
        assert_eq!(sent.unwrap(), Sent::InFlight(5000));
        match bench.next() {
            Completion::FileFailed { conn: of, error } if of == conn => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            }
            other => panic!("not failed: {other:?}"),
        }
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"after")), Sent::Now(5));
        let mut bytes = vec![0; 5005];
        peer.read_exact(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"\0after"));
        bench.assert_idle();
    });
}

#[test]
fn a_file_in_flight_goes_with_its_connection() {
    each(|mut bench| {
        for how in [Close::Graceful, Close::Reset] {
            let (conn, _peer) = bench.pair();
            let sent = bench.driver.send_file(conn, sparse(30_000_000), 0, 30_000_000);
            assert!(matches!(sent, Ok(Sent::InFlight(_))));
            bench.driver.close(conn, how);
        }
        let (conn, peer) = bench.pair();
        let sent = bench.driver.send_file(conn, sparse(30_000_000), 0, 30_000_000);
        assert!(matches!(sent, Ok(Sent::InFlight(_))));
        // Unread bytes of its own: the peer's end is a reset.
        bench.settle();
        drop(peer);
        loop {
            match bench.next() {
                Completion::Sent { .. } => {}
                Completion::Failed { handle, .. } if handle == conn => break,
                other => panic!("not failed: {other:?}"),
            }
        }
    });
}

/// A file of so many zeros that take no room.
fn sparse(len: u64) -> OwnedFd {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(std::env::temp_dir(), flags, mode).unwrap());
    file.set_len(len).unwrap();
    file.into()
}
