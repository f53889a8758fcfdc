//! A kernel without memory to spare (`ENOBUFS`, `ENOMEM`, `ENFILE`): what has a queue waits and is asked again, what has none says so.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use marline_core::driver::{
    Adopt, Close, Completion, Datagram, DatagramOptions, Handle, Outgoing, Sent,
};
use rustix::io::Errno;

use super::{Bench, PATIENCE, each, ip};
use crate::sys::calls::{fail, faults_left};

/// Far more than a connection has room for.
const MUCH: usize = 8 << 20;

/// Reads on until `much` has come in, in a thread of its own.
fn reader(mut peer: impl Read + Send + 'static, much: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = vec![0; much];
        peer.read_exact(&mut all).unwrap();
        all
    })
}

/// Sends what is in flight to its end; how many bytes that were.
fn drain(bench: &mut Bench, conn: Handle) -> usize {
    let mut sent = 0;
    loop {
        match bench.next() {
            Completion::Sent { conn: of, len, done } if of == conn => {
                sent += len;
                if done {
                    return sent;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_keeps_its_bytes_and_sends_them_when_there_is_memory() {
    each(|mut bench| {
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            let (tcp, tcp_peer) = bench.pair();
            let (unix, unix_peer) = UnixStream::pair().unwrap();
            let (unix, _) = bench.driver.adopt(unix.into(), Adopt::Connection).unwrap();
            let peers: [(Handle, Box<dyn Read + Send>); 2] =
                [(tcp, Box::new(tcp_peer)), (unix, Box::new(unix_peer))];
            for (conn, peer) in peers {
                let bytes: Vec<u8> = (0..MUCH).map(|at| (at % 251) as u8).collect();
                // Whichever way it is sent, it is as if there were no room; nothing is broken.
                fail(usize::MAX, errno);
                assert_eq!(bench.driver.send_now(conn, &bytes), None);
                assert_eq!(bench.driver.send(conn, Outgoing::Lent(&bytes)), Sent::Now(0));
                let pieces = [IoSlice::new(&bytes)];
                assert_eq!(bench.driver.send(conn, Outgoing::Vectored(&pieces)), Sent::Now(0));
                let mut buffer = bytes.clone();
                let sent = bench.driver.send(conn, Outgoing::Buffer(&mut buffer, 0));
                assert_eq!(sent, Sent::InFlight(0));
                // It has room, so that the system would call it ready at every wait.
                let waits = bench.quiet(Duration::from_millis(200));
                assert!(waits <= 30, "{waits} waits in 200 ms");
                assert!(bench.driver.deadline().is_some());
                fail(0, errno);
                let reader = reader(peer, MUCH);
                assert_eq!(drain(&mut bench, conn), MUCH);
                assert!(reader.join().unwrap() == bytes);
                assert_eq!(bench.driver.reclaim(conn).len(), MUCH);
                bench.driver.receive(conn, false);
                bench.assert_idle();
                bench.driver.close(conn, Close::Reset);
            }
        }
    });
}

#[test]
fn a_stream_that_rests_receives_all_the_same_and_may_be_closed() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        fail(usize::MAX, Errno::NOBUFS);
        let sent = bench.driver.send(conn, Outgoing::Buffer(&mut vec![7; 100], 0));
        assert_eq!(sent, Sent::InFlight(0));
        bench.quiet(Duration::from_millis(10));
        peer.write_all(b"still here").unwrap();
        assert_eq!(bench.bytes(conn), b"still here");
        bench.driver.close(conn, Close::Reset);
        fail(0, Errno::NOBUFS);
        // Its moment comes, and means nobody.
        let (other, mut peer) = bench.pair();
        bench.quiet(Duration::from_millis(40));
        assert_eq!(bench.driver.deadline(), None);
        assert_eq!(bench.driver.send(other, Outgoing::Lent(b"x")), Sent::Now(1));
        peer.read_exact(&mut [0; 1]).unwrap();
    });
}

#[test]
fn a_file_in_flight_waits_for_memory() {
    each(|mut bench| {
        let path = std::env::temp_dir().join(format!("marline-memory-{}", std::process::id()));
        std::fs::write(&path, vec![7; MUCH]).unwrap();
        let (conn, peer) = bench.pair();
        let file = File::open(&path).unwrap().into();
        let begun = bench.driver.send_file(conn, file, 0, MUCH as u64).unwrap();
        let Sent::InFlight(begun) = begun else { panic!("{begun:?}") };
        fail(3, Errno::NOBUFS);
        let reader = reader(peer, MUCH);
        assert_eq!((begun + drain(&mut bench, conn), faults_left()), (MUCH, 0));
        assert!(reader.join().unwrap() == vec![7; MUCH]);
        std::fs::remove_file(&path).unwrap();
    });
}

#[test]
fn datagrams_that_find_no_memory_are_dropped_and_told_and_the_socket_goes_on() {
    each(|mut bench| {
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            let options = DatagramOptions::default();
            let (from, _) = bench.driver.bind_datagram(&ip("127.0.0.1:0"), &options).unwrap();
            let (to, addr) = bench.driver.bind_datagram(&ip("127.0.0.1:0"), &options).unwrap();
            let batch = [Datagram { to: Some(&addr), bytes: b"datagram" }; 3];
            fail(1, errno);
            let error = bench.driver.send_datagrams(from, &batch).unwrap_err();
            assert_eq!(error.code(), Some(errno.raw_os_error()));
            assert_eq!(faults_left(), 0, "tried once, and not again behind the reactor's back");
            bench.assert_idle();
            bench.driver.send_datagrams(from, &batch[..1]).unwrap();
            assert_eq!(bench.datagram(to), b"datagram");
            bench.assert_idle();
        }
    });
}

#[test]
fn a_port_rests_that_finds_no_memory_and_accepts_once_there_is_some() {
    each(|mut bench| {
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            let (port, addr) = bench.listen();
            let client = TcpStream::connect(addr).unwrap();
            fail(usize::MAX, errno);
            assert_refusing(&mut bench, port, errno);
            // Once, and without spinning.
            let waits = bench.quiet(Duration::from_millis(350));
            assert!(waits <= 12, "{waits} waits in 350 ms");
            fail(0, errno);
            // The client had waited all the while.
            let Completion::Accepted { conn, .. } = bench.next() else { panic!("not accepted") };
            assert_eq!(bench.driver.peer_addr(conn), Some(client.local_addr().unwrap().into()));
            bench.driver.close(conn, Close::Reset);
            bench.driver.close(port, Close::Graceful);
        }
    });
}

#[test]
fn a_table_of_files_that_is_full_turns_clients_away_until_it_is_not() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        let mut client = TcpStream::connect(addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        fail(1, Errno::NFILE);
        assert_refusing(&mut bench, port, Errno::NFILE);
        // The reserve was given up for it.
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        bench.assert_idle();
        let _client = TcpStream::connect(addr).unwrap();
        assert!(matches!(bench.next(), Completion::Accepted { .. }));
    });
}

fn assert_refusing(bench: &mut Bench, from: Handle, errno: Errno) {
    match bench.next() {
        Completion::AcceptFailed { port, error } => {
            assert_eq!((port, error.code()), (from, Some(errno.raw_os_error())));
        }
        other => panic!("{other:?}"),
    }
}
