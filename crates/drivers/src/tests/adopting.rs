//! Sockets that somebody else has opened, and may go on using: what closing them means, and what adopting them must not change.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use marline_core::Addr;
use marline_core::driver::{
    Adopt, Close, Completion, Datagram, DatagramOptions, Handle, Outgoing, Sent,
};
use rustix::fs::OFlags;

use super::{Bench, PATIENCE, each, ip};
use crate::sys::datagram::set;

/// A stream of each kind, its other holder, and its peer.
fn shared_streams() -> [(OwnedFd, OwnedFd, Box<dyn Peer>); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let tcp_peer = listener.accept().unwrap().0;
    tcp_peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let (unix, unix_peer) = UnixStream::pair().unwrap();
    unix_peer.set_read_timeout(Some(PATIENCE)).unwrap();
    [
        (tcp.try_clone().unwrap().into(), tcp.into(), Box::new(tcp_peer)),
        (unix.try_clone().unwrap().into(), unix.into(), Box::new(unix_peer)),
    ]
}

trait Peer: Read + Write {
    fn end(&self);
}

impl Peer for TcpStream {
    fn end(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Peer for UnixStream {
    fn end(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

fn adopt(bench: &mut Bench, descriptor: impl Into<OwnedFd>, what: Adopt) -> Handle {
    bench.driver.adopt(descriptor.into(), what).unwrap().0
}

#[test]
fn the_graceful_end_of_a_connection_is_its_end_for_all_that_share_it() {
    each(|mut bench| {
        for (own, other_holder, mut peer) in shared_streams() {
            let conn = adopt(&mut bench, own, Adopt::Connection);
            bench.driver.close(conn, Close::Graceful);
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
            drop(other_holder);
        }
        for (own, other_holder, mut peer) in shared_streams() {
            let conn = adopt(&mut bench, own, Adopt::Connection);
            bench.driver.receive(conn, true);
            peer.end();
            assert_eq!(bench.next(), Completion::ReadClosed { conn });
            bench.driver.close(conn, Close::Graceful);
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
            drop(other_holder);
        }
    });
}

#[test]
fn a_reset_is_one_for_all_that_share_the_connection() {
    each(|mut bench| {
        let [tcp, unix] = shared_streams();
        for (own, other_holder, mut peer) in [tcp, unix] {
            let conn = adopt(&mut bench, own, Adopt::Connection);
            bench.driver.close(conn, Close::Reset);
            match peer.read(&mut [0; 8]) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                // UNIX sockets know no reset.
                Ok(0)
                    if UnixStream::from(other_holder.try_clone().unwrap()).peer_addr().is_ok() => {}
                other => panic!("{other:?}"),
            }
            bench.assert_idle();
            drop(other_holder);
        }
    });
}

#[test]
fn a_datagram_socket_that_was_closed_ends_no_wait_for_its_other_holders() {
    each(|mut bench| {
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = adopt(&mut bench, theirs.try_clone().unwrap(), Adopt::Datagrams);
        bench.assert_idle();
        bench.driver.close(socket, Close::Graceful);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"for the other", theirs.local_addr().unwrap()).unwrap();
        bench.assert_idle();
        assert_eq!(theirs.recv(&mut [0; 64]).unwrap(), 13);
    });
}

#[test]
fn datagrams_reach_the_other_holders_of_a_socket_one_by_one() {
    each(|mut bench| {
        let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Addr::from(theirs.local_addr().unwrap());
        let socket = adopt(&mut bench, theirs.try_clone().unwrap(), Adopt::Datagrams);
        bench.driver.close(socket, Close::Graceful);
        let options = DatagramOptions::default();
        let (from, _) = bench.driver.bind_datagram(&ip("127.0.0.1:0"), &options).unwrap();
        // In one message, as far as the sender can.
        let batch = [Datagram { to: Some(&to), bytes: &[7; 50] }; 10];
        assert_eq!(bench.driver.send_datagrams(from, &batch), Ok(10));
        bench.settle();
        for _ in 0..10 {
            assert_eq!(theirs.recv(&mut [0; 2000]).unwrap(), 50);
        }
    });
}

#[test]
fn errors_that_queue_up_on_a_socket_end_no_wait_again_and_again() {
    each(|mut bench| {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        for receives in [true, false] {
            let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
            let queues = set(theirs.as_fd(), libc::SOL_IP, libc::IP_RECVERR, 1);
            assert!(queues, "the system keeps no errors");
            let socket = adopt(&mut bench, theirs.try_clone().unwrap(), Adopt::Datagrams);
            bench.driver.receive(socket, receives);
            for _ in 0..3 {
                let sent =
                    bench.driver.send_datagram(socket, Some(&nobody.into()), &[IoSlice::new(b"?")]);
                // Or the refusal of the one before.
                assert!(sent.is_ok() || sent.unwrap_err().kind() == ErrorKind::ConnectionRefused);
                bench.settle();
            }
            match bench.next() {
                Completion::DatagramFailed { socket: of, error } => {
                    assert_eq!((of, error.kind()), (socket, ErrorKind::ConnectionRefused));
                }
                other => panic!("{other:?}"),
            }
            bench.assert_idle();
            // And it goes on.
            bench.driver.receive(socket, true);
            let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.send_to(b"still here", theirs.local_addr().unwrap()).unwrap();
            assert_eq!(bench.datagram(socket), b"still here");
        }
    });
}

#[test]
fn reports_that_queue_up_on_a_connection_end_no_wait_again_and_again() {
    // SOF_TIMESTAMPING_TX_SCHED, SOFTWARE and OPT_TSONLY: when each byte was handed to the device.
    let times = 1 << 8 | 1 << 4 | 1 << 11;
    each(|mut bench| {
        for receives in [true, false] {
            let [(own, other_holder, mut peer), _] = shared_streams();
            assert!(set(own.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, times));
            let conn = adopt(&mut bench, own, Adopt::Connection);
            bench.driver.receive(conn, receives);
            bench.assert_idle();
            assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"when?")), Sent::Now(5));
            peer.read_exact(&mut [0; 5]).unwrap();
            bench.assert_idle();
            bench.driver.receive(conn, true);
            peer.end();
            assert_eq!(bench.next(), Completion::ReadClosed { conn });
            bench.driver.close(conn, Close::Reset);
            drop(other_holder);
        }
    });
}

#[test]
fn another_holder_who_is_faster_and_has_the_socket_block_does_not_stop_the_loop() {
    each(|mut bench| {
        for (own, other_holder, mut peer) in shared_streams() {
            let conn = adopt(&mut bench, own, Adopt::Connection);
            bench.driver.receive(conn, true);
            peer.write_all(b"for the faster").unwrap();
            // Collected, but not read.
            bench.wait(PATIENCE);
            let flags = rustix::fs::fcntl_getfl(&other_holder).unwrap();
            rustix::fs::fcntl_setfl(&other_holder, flags - OFlags::NONBLOCK).unwrap();
            assert_eq!(rustix::io::read(&other_holder, &mut [0; 64]), Ok(14));
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
            peer.write_all(b"for us").unwrap();
            assert_eq!(bench.bytes(conn), b"for us");
            bench.driver.close(conn, Close::Reset);
        }
    });
}
