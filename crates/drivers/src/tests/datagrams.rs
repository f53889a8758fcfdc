//! Datagram sockets.

use std::io::{ErrorKind, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use marline_core::driver::{Capability, Close, DatagramOptions, Handle, OsError};

use super::{Bench, PATIENCE, each, ip};

#[test]
fn datagrams_come_and_go_with_their_addresses() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::Datagrams));
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"ping", addr).unwrap();
        assert_eq!(bench.datagram(socket), b"ping");
        let from = bench.driver.datagram_source(socket);
        assert_eq!(from, Some(peer.local_addr().unwrap().into()));
        let parts = [IoSlice::new(b"po"), IoSlice::new(b"ng")];
        bench.driver.send_datagram(socket, from.as_ref(), &parts).unwrap();
        let mut got = [0; 16];
        assert_eq!(peer.recv_from(&mut got).unwrap(), (4, addr));
        assert_eq!(&got[..4], b"pong");
        bench.assert_idle();
    });
}

#[test]
fn an_empty_datagram_is_one_too() {
    each(|mut bench| {
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"", addr).unwrap();
        peer.send_to(&[7; 100], addr).unwrap();
        assert_eq!(bench.datagram(socket).len(), 0);
        assert_eq!(bench.datagram(socket).len(), 100);
        bench.assert_idle();
    });
}

#[test]
fn nothing_is_received_while_receiving_is_off_or_after_close() {
    each(|mut bench| {
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"one", addr).unwrap();
        peer.send_to(b"two", addr).unwrap();
        assert_eq!(bench.datagram(socket).len(), 3);
        bench.driver.receive(socket, false);
        bench.assert_idle();
        bench.driver.receive(socket, true);
        assert_eq!(bench.datagram(socket).len(), 3);
        bench.driver.close(socket, Close::Graceful);
        bench.assert_idle();
        let sent = bench.driver.send_datagram(socket, Some(&addr.into()), &[]);
        assert_eq!(sent, Err(OsError::STALE));
    });
}

#[test]
fn what_cannot_be_sent_fails_at_once_and_the_socket_goes_on() {
    each(|mut bench| {
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let too_long = vec![0; 70_000];
        let to = addr.into();
        let driver = &mut bench.driver;
        // EMSGSIZE and EDESTADDRREQ
        let error = driver.send_datagram(socket, Some(&to), &[IoSlice::new(&too_long)]);
        assert_eq!(error.unwrap_err().code(), Some(90));
        let error = driver.send_datagram(socket, None, &[IoSlice::new(b"x")]);
        assert_eq!(error.unwrap_err().code(), Some(89));
        driver.send_datagram(socket, Some(&to), &[IoSlice::new(b"x")]).unwrap();
        assert_eq!(bench.datagram(socket).len(), 1);
    });
}

#[test]
fn a_second_socket_cannot_take_a_bound_address() {
    each(|mut bench| {
        let (_, addr) = bind(&mut bench, "127.0.0.1:0");
        let options = DatagramOptions::default();
        let error = bench.driver.bind_datagram(&addr.into(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn datagrams_travel_over_ipv6() {
    each(|mut bench| {
        let Ok(peer) = UdpSocket::bind("[::1]:0") else {
            eprintln!("no IPv6 here: nothing checked");
            return;
        };
        let (socket, addr) = bind(&mut bench, "[::1]:0");
        peer.send_to(b"six", addr).unwrap();
        assert_eq!(bench.datagram(socket).len(), 3);
        let from = bench.driver.datagram_source(socket);
        assert_eq!(from, Some(peer.local_addr().unwrap().into()));
    });
}

fn bind(bench: &mut Bench, addr: &str) -> (Handle, SocketAddr) {
    let (socket, bound) =
        bench.driver.bind_datagram(&ip(addr), &DatagramOptions::default()).unwrap();
    (socket, bound.ip().unwrap())
}
