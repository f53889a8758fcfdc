//! Connections: connecting, receiving, sending, half-closing.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use marline_core::driver::{
    Close, Completion, ConnectFault, ConnectOptions, Handle, OsError, Outgoing, Sent, SocketOption,
};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

use super::{Bench, PATIENCE, each, ip};

#[test]
fn connects_and_says_so_later() {
    each(|mut bench| {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        let conn = bench.driver.connect(&to.into(), &ConnectOptions::default()).unwrap();
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        assert_eq!(bench.next(), Completion::Connected { conn });
        let (mut peer, from) = peer.accept().unwrap();
        assert_eq!(bench.driver.local_addr(conn), Some(from.into()));
        assert_eq!(bench.driver.peer_addr(conn), Some(to.into()));
        peer.write_all(b"hello").unwrap();
        bench.driver.receive(conn, true);
        assert_eq!(bench.bytes(conn), b"hello");
    });
}

#[test]
fn a_refused_connection_fails_once_with_its_kind() {
    each(|mut bench| {
        // Bound, not listening: nobody answers and nobody else can have the port.
        let holder = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&holder, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let to: SocketAddr = getsockname(&holder).unwrap().try_into().unwrap();
        let conn = bench.driver.connect(&to.into(), &ConnectOptions::default()).unwrap();
        let Completion::Failed { handle, error } = bench.next() else { panic!("not failed") };
        assert_eq!((handle, error.kind()), (conn, ErrorKind::ConnectionRefused));
        bench.assert_idle();
    });
}

#[test]
fn a_local_address_that_cannot_be_had_is_a_fault_of_its_own() {
    each(|mut bench| {
        // 192.0.2.0/24 is for documentation and nobody's.
        let options = with_bind("192.0.2.1:0");
        let fault = bench.driver.connect(&ip("127.0.0.1:9"), &options).unwrap_err();
        assert!(
            matches!(fault, ConnectFault::Bind(error) if error.kind() == ErrorKind::AddrNotAvailable),
            "{fault:?}"
        );
    });
}

#[test]
fn connects_from_the_local_address_it_is_told() {
    each(|mut bench| {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap();
        bench.driver.connect(&to.into(), &with_bind("127.0.0.2:0")).unwrap();
        assert!(matches!(bench.next(), Completion::Connected { .. }));
        assert_eq!(peer.accept().unwrap().1.ip().to_string(), "127.0.0.2");
    });
}

#[test]
fn the_scope_of_an_address_reaches_the_system() {
    each(|mut bench| {
        let mut try_to = |to: &str| match bench.driver.connect(&ip(to), &ConnectOptions::default())
        {
            Err(ConnectFault::Connect(error)) => error.kind(),
            other => panic!("{to}: {other:?}"),
        };
        // A link-local address without a scope is no address; with one of a link that does not exist there is no way to it.
        let without = try_to("[fe80::1]:9");
        assert_ne!(without, try_to("[fe80::1%2147483647]:9"));
    });
}

#[test]
fn a_closed_attempt_is_not_heard_of_again() {
    each(|mut bench| {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap().into();
        let conn = bench.driver.connect(&to, &ConnectOptions::default()).unwrap();
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"early")), Sent::Failed(OsError::STALE));
        bench.driver.close(conn, Close::Graceful);
        bench.assert_idle();
    });
}

#[test]
fn nothing_arrives_until_receiving_is_on_nor_while_it_is_off() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        peer.write_all(b"one").unwrap();
        bench.assert_idle();
        bench.driver.receive(conn, true);
        assert_eq!(bench.bytes(conn), b"one");
        peer.write_all(b"two").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        bench.driver.receive(conn, false);
        // Neither bytes nor the end.
        bench.assert_idle();
        bench.driver.receive(conn, true);
        assert_eq!(bench.bytes(conn), b"two");
        assert_eq!(bench.next(), Completion::ReadClosed { conn });
        bench.assert_idle();
    });
}

#[test]
fn a_paused_connection_notices_a_reset_once() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        peer.write_all(b"lost").unwrap();
        reset(peer);
        let Completion::Failed { handle, error } = bench.next() else { panic!("not failed") };
        assert_eq!((handle, error.kind()), (conn, ErrorKind::ConnectionReset));
        bench.assert_idle();
        bench.driver.receive(conn, true);
        bench.assert_idle();
    });
}

#[test]
fn a_receiving_connection_notices_a_reset_once() {
    each(|mut bench| {
        let (conn, peer) = bench.pair();
        bench.driver.receive(conn, true);
        bench.wait(Duration::ZERO);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        reset(peer);
        let Completion::Failed { handle, error } = bench.next() else { panic!("not failed") };
        assert_eq!((handle, error.kind()), (conn, ErrorKind::ConnectionReset));
        bench.assert_idle();
    });
}

#[test]
fn a_paused_connection_that_hung_up_ends_no_waits() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        peer.write_all(b"unread").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        bench.driver.shutdown(conn).unwrap();
        // Both directions have ended, and there is something to read.
        bench.assert_idle();
        bench.driver.receive(conn, true);
        assert_eq!(bench.bytes(conn), b"unread");
        assert_eq!(bench.next(), Completion::ReadClosed { conn });
        bench.assert_idle();
    });
}

#[test]
fn either_side_may_go_on_after_the_other_has_ended() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(bench.next(), Completion::ReadClosed { conn });
        assert_eq!(bench.driver.send(conn, Outgoing::Lent(b"still")), Sent::Now(5));
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"still");
        bench.assert_idle();

        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        bench.driver.shutdown(conn).unwrap();
        assert_eq!(peer.read(&mut got).unwrap(), 0);
        peer.write_all(b"there").unwrap();
        assert_eq!(bench.bytes(conn), b"there");
        let Sent::Failed(error) = bench.driver.send(conn, Outgoing::Lent(b"x")) else {
            panic!("sent after the end")
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn nothing_is_reported_after_close_not_even_what_was_collected() {
    each(|mut bench| {
        let (one, two, _peers) = both_ready(&mut bench);
        let first = received(bench.driver.next(&mut bench.scratch));
        let other = if first == one { two } else { one };
        bench.driver.close(other, Close::Reset);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        assert!(
            bench.driver.local_addr(first).is_some() && bench.driver.local_addr(other).is_none()
        );
    });
}

#[test]
fn nothing_is_reported_after_receiving_was_turned_off_not_even_what_was_collected() {
    each(|mut bench| {
        let (one, two, _peers) = both_ready(&mut bench);
        let first = received(bench.driver.next(&mut bench.scratch));
        let other = if first == one { two } else { one };
        bench.driver.receive(other, false);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        bench.driver.receive(other, true);
        assert_eq!(bench.bytes(other), b"ready");
    });
}

#[test]
fn an_event_does_not_reach_whoever_got_the_index_meanwhile() {
    each(|mut bench| {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = peer.local_addr().unwrap().into();
        let (one, two, _peers) = both_ready(&mut bench);
        let first = received(bench.driver.next(&mut bench.scratch));
        let other = if first == one { two } else { one };
        bench.driver.close(other, Close::Reset);
        let new = bench.driver.connect(&to, &ConnectOptions::default()).unwrap();
        assert_eq!(new.index, other.index);
        assert_ne!(new.version, other.version);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        assert_eq!(bench.next(), Completion::Connected { conn: new });
    });
}

#[test]
fn a_stale_handle_does_nothing_and_says_so() {
    each(|mut bench| {
        let (old, _peer) = bench.pair();
        bench.driver.close(old, Close::Reset);
        let (new, mut peer) = bench.pair();
        // `new` may or may not have the index of `old`; no such call may reach it.
        let never = Handle { index: 1_000_000, version: 0 };
        for stale in [old, never] {
            let driver = &mut bench.driver;
            driver.receive(stale, true);
            driver.close(stale, Close::Reset);
            let stale_send = Sent::Failed(OsError::STALE);
            assert_eq!(driver.send(stale, Outgoing::Lent(b"x")), stale_send);
            assert_eq!(driver.send(stale, Outgoing::Vectored(&[IoSlice::new(b"x")])), stale_send);
            let mut buffer = vec![1];
            assert_eq!(driver.send(stale, Outgoing::Buffer(&mut buffer, 0)), stale_send);
            assert_eq!(buffer, [1]);
            assert!(driver.reclaim(stale).is_empty());
            assert_eq!(driver.shutdown(stale), Err(OsError::STALE));
            assert_eq!(driver.option(stale, SocketOption::NoDelay(true)), Err(OsError::STALE));
            assert_eq!(driver.set_option(stale, SocketOption::NoDelay(true)), Err(OsError::STALE));
            assert_eq!(driver.send_datagram(stale, None, &[]), Err(OsError::STALE));
            assert_eq!((driver.local_addr(stale), driver.peer_addr(stale)), (None, None));
        }
        peer.write_all(b"unharmed").unwrap();
        bench.assert_idle();
        bench.driver.receive(new, true);
        assert_eq!(bench.bytes(new), b"unharmed");
    });
}

#[test]
fn a_buffer_that_does_not_fit_leaves_bit_by_bit_and_comes_back() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let mut buffer = pattern(32 << 20);
        let (place, total) = (buffer.as_ptr(), buffer.len());
        let expected = buffer[3..].to_vec();
        let Sent::InFlight(mut sent) = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 3))
        else {
            panic!("32 MiB left at once")
        };
        assert!(buffer.is_empty());
        // Not before it is complete.
        assert!(bench.driver.reclaim(conn).is_empty());
        // The peer reads only between the sends, so that none can carry more than the system's buffers hold.
        let mut got = Vec::new();
        let mut reports = 0;
        loop {
            let before = got.len();
            got.resize(sent, 0);
            peer.read_exact(&mut got[before..]).unwrap();
            match bench.next() {
                Completion::Sent { conn: of, len, done } if of == conn => {
                    assert!(len > 0);
                    sent += len;
                    reports += 1;
                    if done {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, total - 3);
        assert!(reports > 1, "all of it left in one report");
        let buffer = bench.driver.reclaim(conn);
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, total));
        assert!(bench.driver.reclaim(conn).is_empty());
        let before = got.len();
        got.resize(sent, 0);
        peer.read_exact(&mut got[before..]).unwrap();
        assert!(got == expected, "other bytes arrived");
        // Room to write is not waited for any more.
        bench.assert_idle();
    });
}

#[test]
fn a_buffer_that_fits_stays_with_the_caller() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let mut buffer = b"..hello".to_vec();
        assert_eq!(bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 2)), Sent::Now(5));
        assert_eq!(buffer, b"..hello");
        let mut got = [0; 5];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
        bench.assert_idle();
    });
}

#[test]
fn lent_bytes_without_room_stay_with_the_caller() {
    each(|mut bench| {
        let (conn, peer) = bench.pair();
        let lot = pattern(1 << 20);
        let mut rounds = 0;
        while bench.driver.send(conn, Outgoing::Lent(&lot)) != Sent::Now(0) {
            rounds += 1;
            assert!(rounds < 1000, "there is always room");
        }
        let pieces = [IoSlice::new(&lot), IoSlice::new(&lot)];
        assert_eq!(bench.driver.send(conn, Outgoing::Vectored(&pieces)), Sent::Now(0));
        drop(peer);
    });
}

#[test]
fn pieces_leave_in_order_and_no_more_than_one_call_takes() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        let bytes: Vec<[u8; 1]> = (0..2000_u32).map(|n| [n as u8]).collect();
        let pieces: Vec<IoSlice<'_>> = bytes.iter().map(|byte| IoSlice::new(byte)).collect();
        assert_eq!(bench.driver.send(conn, Outgoing::Vectored(&pieces)), Sent::Now(1024));
        assert_eq!(bench.driver.send(conn, Outgoing::Vectored(&pieces[1024..])), Sent::Now(976));
        let mut got = vec![0; 2000];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes.concat());
    });
}

#[test]
fn a_send_that_fails_says_so_itself_and_nothing_follows() {
    each(|mut bench| {
        let (conn, peer) = bench.pair();
        reset(peer);
        bench.settle();
        let Sent::Failed(error) = bench.driver.send(conn, Outgoing::Lent(b"x")) else {
            panic!("sent to nobody")
        };
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        bench.driver.receive(conn, true);
        bench.assert_idle();
    });
}

#[test]
fn a_reset_ends_a_buffer_in_flight() {
    each(|mut bench| {
        let (conn, peer) = bench.pair();
        let mut buffer = pattern(8 << 20);
        let sent = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 0));
        assert!(matches!(sent, Sent::InFlight(_)));
        reset(peer);
        loop {
            match bench.next() {
                Completion::Sent { done: false, .. } => {}
                Completion::Failed { handle, error } => {
                    assert_eq!((handle, error.kind()), (conn, ErrorKind::ConnectionReset));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        bench.assert_idle();
    });
}

#[test]
fn what_can_be_read_comes_before_what_can_be_written() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        let mut buffer = pattern(8 << 20);
        let sent = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 0));
        let Sent::InFlight(sent) = sent else { panic!("8 MiB left at once") };
        let mut got = vec![0; sent];
        peer.read_exact(&mut got).unwrap();
        peer.write_all(b"both").unwrap();
        bench.settle();
        bench.wait(PATIENCE);
        // One wait, two reports.
        assert_eq!(received(bench.driver.next(&mut bench.scratch)), conn);
        let next = bench.driver.next(&mut bench.scratch);
        assert!(matches!(next, Some(Completion::Sent { .. })), "{next:?}");
    });
}

#[test]
fn options_are_set_and_told() {
    each(|mut bench| {
        let (conn, _peer) = bench.pair();
        for option in [SocketOption::NoDelay, SocketOption::KeepAlive] {
            for on in [true, false, true] {
                bench.driver.set_option(conn, option(on)).unwrap();
                assert_eq!(bench.driver.option(conn, option(false)), Ok(option(on)));
            }
        }
    });
}

#[test]
fn one_turn_takes_one_scratch_of_each() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.scratch.truncate(10);
        bench.driver.receive(conn, true);
        peer.write_all(&[7; 25]).unwrap();
        bench.settle();
        for expected in [10, 10, 5] {
            bench.wait(PATIENCE);
            let next = bench.driver.next(&mut bench.scratch);
            assert_eq!(next, Some(Completion::Received { conn, len: expected }));
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
        }
    });
}

/// Two receiving connections of which one wait has collected bytes, and their peers.
fn both_ready(bench: &mut Bench) -> (Handle, Handle, [TcpStream; 2]) {
    let (one, mut first) = bench.pair();
    let (two, mut second) = bench.pair();
    bench.driver.receive(one, true);
    bench.driver.receive(two, true);
    for peer in [&mut first, &mut second] {
        peer.write_all(b"ready").unwrap();
    }
    bench.settle();
    bench.wait(PATIENCE);
    (one, two, [first, second])
}

fn received(completion: Option<Completion>) -> Handle {
    match completion {
        Some(Completion::Received { conn, .. }) => conn,
        other => panic!("not bytes: {other:?}"),
    }
}

/// Closes with RST.
fn reset(peer: TcpStream) {
    sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
    drop(peer);
}

fn with_bind(addr: &str) -> ConnectOptions {
    ConnectOptions { bind: Some(ip(addr)), ..ConnectOptions::default() }
}

/// Bytes in which a gap or a repetition shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
