//! UNIX streams: what the contract says of descriptors, and what only somebody who sees the driver can ask.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use marline_core::driver::{Adopt, Capability, Close, Completion, Handle, Outgoing, Sent};
use rustix::pipe::pipe;

use super::{Bench, each};

/// A connection that does not receive yet, and its peer.
fn pair(bench: &mut Bench) -> (Handle, UnixStream) {
    let (own, peer) = UnixStream::pair().unwrap();
    let (conn, addr) = bench.driver.adopt(own.into(), Adopt::Connection).unwrap();
    assert_eq!(addr, marline_core::Addr::Unix("".into()));
    (conn, peer)
}

/// Two connections of the driver's, joined.
fn joined(bench: &mut Bench) -> (Handle, Handle) {
    let (conn, peer) = pair(bench);
    let (other, _) = bench.driver.adopt(peer.into(), Adopt::Connection).unwrap();
    bench.driver.receive(other, true);
    (conn, other)
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[track_caller]
fn with_descriptors(bench: &mut Bench, from: Handle) -> Vec<u8> {
    match bench.next() {
        Completion::ReceivedWith { conn, len, lost: false } if conn == from => {
            bench.scratch[..len].to_vec()
        }
        other => panic!("no descriptors of {from:?}: {other:?}"),
    }
}

#[test]
fn descriptors_leave_with_the_next_byte_however_it_is_sent() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::PassDescriptors));
        let (conn, other) = joined(&mut bench);
        for way in 0..4 {
            for _ in 0..2 {
                bench.driver.send_descriptor(conn, null()).unwrap();
            }
            let driver = &mut bench.driver;
            let sent = match way {
                0 => driver.send(conn, Outgoing::Lent(b"ab")),
                1 => driver.send(conn, Outgoing::Buffer(&mut b"-ab".to_vec(), 1)),
                2 => {
                    let pieces = [b"a", b"b"].map(|piece| std::io::IoSlice::new(piece));
                    driver.send(conn, Outgoing::Vectored(&pieces))
                }
                // At once without them, or not at all.
                _ => match driver.send_now(conn, b"ab") {
                    None => driver.send(conn, Outgoing::Lent(b"ab")),
                    Some(len) => Sent::Now(len),
                },
            };
            assert_eq!(sent, Sent::Now(2));
            assert_eq!(with_descriptors(&mut bench, other), b"ab");
            let taken = std::iter::from_fn(|| bench.driver.take_descriptor(other)).count();
            assert_eq!(taken, 2);
            // They have left, and do not leave again.
            bench.driver.send(conn, Outgoing::Lent(b"c"));
            assert_eq!(bench.bytes(other), b"c");
        }
    });
}

#[test]
fn descriptors_wait_for_a_byte_that_finds_no_room() {
    each(|mut bench| {
        let (conn, other) = joined(&mut bench);
        bench.driver.receive(other, false);
        let full = vec![0; 1 << 20];
        while matches!(bench.driver.send(conn, Outgoing::Lent(&full)), Sent::Now(1..)) {}
        bench.driver.send_descriptor(conn, null()).unwrap();
        let mut buffer = b"x".to_vec();
        let sent = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 0));
        assert_eq!(sent, Sent::InFlight(0));
        bench.driver.receive(other, true);
        let (mut left, mut came) = (false, false);
        while !(left && came) {
            match bench.next() {
                Completion::Received { .. } => {}
                Completion::Sent { conn: of, len: 1, done: true } if of == conn => left = true,
                Completion::ReceivedWith { conn: of, .. } if of == other => came = true,
                unexpected => panic!("{unexpected:?}"),
            }
        }
        assert!(bench.driver.take_descriptor(other).is_some());
    });
}

#[test]
fn what_is_not_taken_is_closed_with_the_next_receive_and_with_the_connection() {
    each(|mut bench| {
        let (conn, other) = joined(&mut bench);
        for close in [false, true] {
            let (reader, writer) = pipe().unwrap();
            bench.driver.send_descriptor(conn, writer).unwrap();
            bench.driver.send(conn, Outgoing::Lent(b"a"));
            assert_eq!(with_descriptors(&mut bench, other), b"a");
            if close {
                bench.driver.close(other, Close::Graceful);
            } else {
                bench.driver.send(conn, Outgoing::Lent(b"b"));
                assert_eq!(bench.bytes(other), b"b");
            }
            assert!(bench.driver.take_descriptor(other).is_none());
            assert_eq!(File::from(reader).read(&mut [0]).unwrap(), 0, "a copy is still open");
        }
    });
}

#[test]
fn what_waits_for_a_byte_is_closed_with_the_connection() {
    each(|mut bench| {
        for how in [Close::Graceful, Close::Reset] {
            let (conn, _peer) = pair(&mut bench);
            let (reader, writer) = pipe().unwrap();
            bench.driver.send_descriptor(conn, writer).unwrap();
            bench.driver.close(conn, how);
            assert_eq!(File::from(reader).read(&mut [0]).unwrap(), 0, "a copy is still open");
            assert!(bench.driver.send_descriptor(conn, null()).is_err());
        }
    });
}

#[test]
fn more_than_one_message_carries_are_refused() {
    each(|mut bench| {
        let (conn, other) = joined(&mut bench);
        for _ in 0..253 {
            bench.driver.send_descriptor(conn, null()).unwrap();
        }
        bench.driver.send_descriptor(conn, null()).unwrap_err();
        bench.driver.send(conn, Outgoing::Lent(b"x"));
        assert_eq!(with_descriptors(&mut bench, other), b"x");
        let taken = std::iter::from_fn(|| bench.driver.take_descriptor(other)).count();
        assert_eq!(taken, 253);
    });
}

#[test]
fn a_tcp_connection_passes_none() {
    each(|mut bench| {
        let (conn, _peer) = bench.pair();
        let error = bench.driver.send_descriptor(conn, null()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn a_peer_that_is_gone_ends_no_wait_again_and_again() {
    each(|mut bench| {
        let (conn, peer) = pair(&mut bench);
        drop(peer);
        // Nothing is wanted, then reading, then nothing again.
        bench.assert_idle();
        bench.driver.receive(conn, true);
        assert_eq!(bench.next(), Completion::ReadClosed { conn });
        bench.assert_idle();
        let sent = bench.driver.send(conn, Outgoing::Lent(b"x"));
        assert!(matches!(sent, Sent::Failed(error) if error.kind() == ErrorKind::BrokenPipe));
    });
}

#[test]
fn a_closed_socket_that_another_holder_keeps_open_ends_no_more_waits() {
    each(|mut bench| {
        let (own, mut peer) = UnixStream::pair().unwrap();
        let other_holder = own.try_clone().unwrap();
        let (conn, _) = bench.driver.adopt(own.into(), Adopt::Connection).unwrap();
        bench.driver.receive(conn, true);
        bench.assert_idle();
        bench.driver.close(conn, Close::Reset);
        // Its end is one for the other holder, too: a hang-up, which would end every wait that heard of it.
        let sent = std::io::Write::write_all(&mut peer, b"for the other");
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        bench.assert_idle();
        drop(other_holder);

        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = port.local_addr().unwrap();
        let other_holder = port.try_clone().unwrap();
        let (port, _) = bench.driver.adopt(port.into(), Adopt::Port).unwrap();
        bench.assert_idle();
        bench.driver.close(port, Close::Graceful);
        let _waiting = std::net::TcpStream::connect(addr).unwrap();
        bench.assert_idle();
        assert!(other_holder.accept().is_ok());
    });
}
