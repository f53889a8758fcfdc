//! Datagram sockets.

use std::io::{ErrorKind, IoSlice};
use std::net::{SocketAddr, UdpSocket};

use marline_core::Addr;
use marline_core::driver::{
    Capability, Close, Completion, Datagram, DatagramOptions, Handle, OsError, SocketOption,
};
use rustix::io::Errno;

use super::{Bench, PATIENCE, each, ip};
use crate::sys::calls::fail;

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

#[test]
fn what_was_sent_together_arrives_whole_however_it_was_joined() {
    each(|mut bench| {
        let (from, _) = bind(&mut bench, "127.0.0.1:0");
        let (to, addr) = bind(&mut bench, "127.0.0.1:0");
        let addr = addr.into();
        let pieces: Vec<Vec<u8>> =
            (0..100_u8).map(|n| vec![n; if n == 70 { 3 } else { 50 }]).collect();
        let batch: Vec<_> =
            pieces.iter().map(|bytes| Datagram { to: Some(&addr), bytes }).collect();
        assert_eq!(bench.driver.send_datagrams(from, &batch), Ok(100));
        let mut got = Vec::new();
        while got.len() < 100 {
            got.extend(together(&mut bench, to).0);
        }
        assert_eq!(got, pieces);
        bench.assert_idle();
    });
}

#[test]
fn an_address_that_cannot_be_sent_to_stops_a_batch_there() {
    each(|mut bench| {
        let (from, _) = bind(&mut bench, "127.0.0.1:0");
        let (to, addr) = bind(&mut bench, "127.0.0.1:0");
        let (addr, nowhere) = (addr.into(), Addr::Named("nowhere".into()));
        let batch =
            [&addr, &addr, &nowhere, &addr].map(|to| Datagram { to: Some(to), bytes: b"x" });
        assert_eq!(bench.driver.send_datagrams(from, &batch), Ok(2));
        assert!(bench.driver.send_datagrams(from, &batch[2..]).is_err());
        let mut got = 0;
        while got < 2 {
            got += together(&mut bench, to).0.len();
        }
        assert_eq!(got, 2);
    });
}

#[test]
fn the_rest_of_a_batch_is_held_in_order_and_dropped_with_the_socket() {
    each(|mut bench| {
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let (other, other_addr) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other_peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..6_u8 {
            peer.send_to(&[number], addr).unwrap();
        }
        assert_eq!(bench.datagram(socket), [0]);
        assert_eq!(bench.datagram(socket), [1]);
        bench.driver.receive(socket, false);
        bench.assert_idle();
        // Others are served, and later ones wait behind those that are held.
        other_peer.send_to(b"other", other_addr).unwrap();
        assert_eq!(bench.datagram(other), b"other");
        peer.send_to(&[6], addr).unwrap();
        bench.driver.receive(socket, true);
        for number in 2..5_u8 {
            assert_eq!(bench.datagram(socket), [number]);
            assert_eq!(
                bench.driver.datagram_source(socket),
                Some(peer.local_addr().unwrap().into())
            );
        }
        bench.driver.receive(socket, false);
        bench.driver.close(socket, Close::Graceful);
        bench.assert_idle();
        assert_eq!(bench.driver.datagram_source(socket), None);
    });
}

#[test]
fn a_refusal_of_a_connected_socket_passes() {
    each(|mut bench| {
        let (socket, _) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = peer.local_addr().unwrap();
        drop(peer);
        bench.driver.connect_datagram(socket, &addr.into()).unwrap();
        assert_eq!(bench.driver.peer_addr(socket), Some(addr.into()));
        for receives in [true, false] {
            bench.driver.receive(socket, receives);
            bench.driver.send_datagram(socket, None, &[IoSlice::new(b"?")]).unwrap();
            match bench.next() {
                Completion::DatagramFailed { socket: of, error } => {
                    assert_eq!((of, error.kind()), (socket, ErrorKind::ConnectionRefused));
                }
                other => panic!("{other:?}"),
            }
            bench.assert_idle();
        }
    });
}

#[test]
fn a_refusal_that_a_send_has_met_meanwhile_leaves_no_socket_deaf() {
    each(|mut bench| {
        let (socket, _) = bind(&mut bench, "127.0.0.1:0");
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = peer.local_addr().unwrap();
        drop(peer);
        bench.driver.connect_datagram(socket, &addr.into()).unwrap();
        bench.driver.send_datagram(socket, None, &[IoSlice::new(b"?")]).unwrap();
        // Collected, but not reported.
        bench.wait(PATIENCE);
        let met = bench.driver.send_datagram(socket, None, &[IoSlice::new(b"?")]).unwrap_err();
        assert_eq!(met.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        let peer = UdpSocket::bind(addr).unwrap();
        peer.send_to(b"here", bench.driver.local_addr(socket).unwrap().ip().unwrap()).unwrap();
        assert_eq!(bench.datagram(socket), b"here");
    });
}

/// The datagrams of the next completion, and whether more follow at once.
fn together(bench: &mut Bench, from: Handle) -> (Vec<Vec<u8>>, bool) {
    match bench.next() {
        Completion::Datagrams { socket, chunk, len, segment, more } if socket == from => {
            let bytes = bench.driver.take_chunk(chunk);
            let datagrams = bytes[..len].chunks(segment.max(1)).map(<[u8]>::to_vec).collect();
            bench.driver.give_back(chunk, bytes);
            (datagrams, more)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_came_together_can_be_moved_out_at_once_and_is_not_reported_again() {
    each(|mut bench| {
        let (socket, addr) = bind(&mut bench, "127.0.0.1:0");
        let (one, other) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        // Given back, kept, or replaced: the next ones arrive whole.
        for round in 0..6_u8 {
            let sent: [(&UdpSocket, Vec<u8>); 4] = [
                (&one, vec![round; 5]),
                (&one, Vec::new()),
                (&other, vec![round; 3000]),
                (&one, vec![round; 1]),
            ];
            for (peer, bytes) in &sent {
                peer.send_to(bytes, addr).unwrap();
            }
            let expected: Vec<_> = sent
                .into_iter()
                .map(|(peer, bytes)| (bytes, Addr::from(peer.local_addr().unwrap())))
                .collect();
            let mut got = Vec::new();
            while got.len() < expected.len() {
                let Completion::Datagrams { socket: of, .. } = bench.next() else { panic!() };
                assert_eq!(of, socket);
                let mut mail = bench.driver.take_datagrams(socket).unwrap();
                assert!(bench.driver.take_datagrams(socket).is_none(), "it is moved out");
                got.extend(mail.parcels.iter().map(|parcel| {
                    assert_eq!(parcel.segment, parcel.len);
                    (mail.bytes_of(parcel).to_vec(), parcel.from.clone())
                }));
                match round % 3 {
                    0 => bench.driver.give_back_datagrams(socket, mail),
                    1 => drop(mail),
                    _ => {
                        mail.bytes.truncate(1);
                        bench.driver.give_back_datagrams(socket, mail);
                    }
                }
            }
            assert_eq!(got, expected, "round {round}");
            bench.assert_idle();
        }
    });
}

#[test]
fn messages_with_one_that_is_too_long_among_them_come_one_by_one() {
    each(|mut bench| {
        let path = std::env::temp_dir().join(format!("marline-long-{}", std::process::id()));
        let _left_over = std::fs::remove_file(&path);
        let (socket, _) = bench
            .driver
            .bind_datagram(&Addr::Unix(path.clone()), &DatagramOptions::default())
            .unwrap();
        let peer = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for len in [3, 65_537, 4] {
            peer.send_to(&vec![1; len], &path).unwrap();
        }
        assert!(matches!(bench.next(), Completion::Datagrams { len: 3, more: true, .. }));
        assert!(bench.driver.take_datagrams(socket).is_none());
        assert!(
            matches!(bench.next(), Completion::DatagramFailed { error, .. } if error.code() == Some(90))
        );
        assert!(matches!(bench.next(), Completion::Datagrams { len: 4, more: false, .. }));
        assert_eq!(bench.driver.take_datagrams(socket).unwrap().parcels[0].len, 4);
        bench.assert_idle();
        bench.driver.close(socket, Close::Graceful);
    });
}

#[test]
fn a_full_send_buffer_drops_the_rest_of_a_batch_and_the_socket_goes_on() {
    each(|mut bench| {
        // Between UNIX sockets, for there what was sent counts against the sender until it is read.
        let path = std::env::temp_dir().join(format!("marline-full-{}", std::process::id()));
        let _left_over = std::fs::remove_file(&path);
        let peer = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        peer.set_nonblocking(true).unwrap();
        let unnamed = Addr::Unix(std::path::PathBuf::new());
        let (socket, _) =
            bench.driver.bind_datagram(&unnamed, &DatagramOptions::default()).unwrap();
        // The least that the system has.
        bench.driver.set_option(socket, SocketOption::SendBuffer(1)).unwrap();
        let (to, bytes) = (Addr::Unix(path.clone()), [7; 1000]);
        let batch = [Datagram { to: Some(&to), bytes: &bytes }; 64];
        let sent = bench.driver.send_datagrams(socket, &batch).unwrap();
        assert!((1..64).contains(&sent), "{sent} of 64");
        let error = bench.driver.send_datagrams(socket, &batch[sent..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let mut got = [0; 2000];
        for _ in 0..sent {
            assert_eq!(peer.recv(&mut got).unwrap(), 1000);
        }
        assert_eq!(peer.recv(&mut got).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(bench.driver.send_datagrams(socket, &batch[..1]).is_ok());
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn a_device_that_cannot_cut_is_remembered_and_one_way_that_is_too_narrow_is_not() {
    each(|mut bench| {
        for (errno, is_remembered) in [
            (Errno::MSGSIZE, false),
            (Errno::INVAL, false),
            (Errno::OPNOTSUPP, true),
            (Errno::IO, true),
        ] {
            let (from, _) = bind(&mut bench, "127.0.0.1:0");
            let (to, addr) = bind(&mut bench, "127.0.0.1:0");
            let addr = addr.into();
            let batch = [Datagram { to: Some(&addr), bytes: b"datagram" }; 10];
            fail(1, errno);
            assert_eq!(bench.driver.send_datagrams(from, &batch), Ok(10), "{errno:?}");
            // One after the other from the start, a failure is the datagram's own.
            fail(1, errno);
            let sent = bench.driver.send_datagrams(from, &batch);
            assert_eq!(sent.is_err(), is_remembered, "{errno:?}: {sent:?}");
            let mut got = 0;
            while got < 10 + sent.unwrap_or(0) {
                got += together(&mut bench, to).0.len();
            }
        }
    });
}
