//! Listening ports: sharing, pausing, and what happens when there are no descriptors.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use marline_core::Time;
use marline_core::driver::{Close, Completion, Handle, ListenOptions, SocketOption};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Bench, PATIENCE, each};

#[test]
fn an_accepted_connection_knows_both_addresses() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        let peers = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
        let conns = [accepted(&mut bench, port), accepted(&mut bench, port)];
        // Of the last one accepted the driver remembers its peer, the other one's it has to ask for.
        for (conn, peer) in conns.into_iter().zip(&peers) {
            assert_eq!(bench.driver.peer_addr(conn), Some(peer.local_addr().unwrap().into()));
            assert_eq!(bench.driver.local_addr(conn), Some(addr.into()));
        }
        assert_eq!(bench.driver.local_addr(port), Some(addr.into()));
        assert_eq!(bench.driver.peer_addr(port), None);
    });
}

#[test]
fn what_is_accepted_has_the_delay_of_its_port() {
    each(|mut bench| {
        for no_delay in [true, false] {
            let options = ListenOptions { no_delay, ..ListenOptions::default() };
            let (port, addr) = bench.listen_on("127.0.0.1:0", &options);
            let _peer = TcpStream::connect(addr).unwrap();
            let conn = accepted(&mut bench, port);
            assert_eq!(
                bench.driver.option(conn, SocketOption::NoDelay(true)),
                Ok(SocketOption::NoDelay(no_delay))
            );
        }
    });
}

#[test]
fn one_wait_accepts_a_bounded_number() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        let peers: Vec<_> = (0..100).map(|_| TcpStream::connect(addr).unwrap()).collect();
        bench.settle();
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < peers.len() {
            bench.wait(PATIENCE);
            let mut count = 0;
            while let Some(completion) = bench.driver.next(&mut bench.scratch) {
                assert!(matches!(completion, Completion::Accepted { port: of, .. } if of == port));
                count += 1;
            }
            turns.push(count);
        }
        assert_eq!(turns, [64, 36]);
    });
}

#[test]
fn a_port_that_is_told_to_stop_accepts_nothing_until_told_otherwise() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        let _peers = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
        bench.settle();
        accepted(&mut bench, port);
        bench.driver.receive(port, false);
        // Although it was collected.
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        bench.assert_idle();
        bench.driver.receive(port, true);
        accepted(&mut bench, port);
    });
}

#[test]
fn a_port_closed_while_it_accepts_accepts_no_more() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        let mut peers = [(); 2].map(|()| TcpStream::connect(addr).unwrap());
        bench.settle();
        let conn = accepted(&mut bench, port);
        bench.driver.close(port, Close::Graceful);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        assert_gone(&mut peers[1]);
        assert_eq!(bench.driver.peer_addr(conn), Some(peers[0].local_addr().unwrap().into()));
    });
}

#[test]
fn an_address_in_use_is_an_error_at_once() {
    each(|mut bench| {
        let (_, addr) = bench.listen();
        let error = bench.driver.listen(&addr.into(), &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn ports_that_both_say_so_share_an_address() {
    each(|mut bench| {
        let options = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let (_, addr) = bench.listen_on("127.0.0.1:0", &options);
        let (other, _) = bench.listen_on(&addr.to_string(), &options);
        assert_eq!(bench.driver.local_addr(other), Some(addr.into()));
    });
}

#[test]
fn an_ipv6_port_takes_ipv4_only_if_told_to() {
    each(|mut bench| {
        if TcpListener::bind("[::1]:0").is_err() {
            eprintln!("no IPv6 here: nothing checked");
            return;
        }
        for only_v6 in [true, false] {
            let options = ListenOptions { only_v6, ..ListenOptions::default() };
            let (port, addr) = bench.listen_on("[::]:0", &options);
            let six = TcpStream::connect(("::1", addr.port())).unwrap();
            let conn = accepted(&mut bench, port);
            assert_eq!(bench.driver.peer_addr(conn), Some(six.local_addr().unwrap().into()));
            // An address that no other test listens on, whoever has the same number.
            let four = TcpStream::connect(("127.77.0.1", addr.port()));
            assert_eq!(four.is_err(), only_v6);
            bench.settle();
            bench.wait(Duration::ZERO);
            let next = bench.driver.next(&mut bench.scratch);
            assert_eq!(next.is_none(), only_v6, "{next:?}");
        }
    });
}

#[test]
fn what_is_no_address_of_a_socket_is_not_supported() {
    each(|mut bench| {
        let name = marline_core::Addr::Named("nowhere".into());
        let error = bench.driver.listen(&name, &ListenOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn without_descriptors_clients_are_turned_away_and_the_port_recovers() {
    in_a_process_of_its_own(
        "without_descriptors_clients_are_turned_away_and_the_port_recovers",
        |bench| {
            let (port, addr) = bench.listen();
            let mut clients: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
            limit(64);
            let mut last = TcpStream::connect(addr).unwrap();
            let full: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            assert!(!full.is_empty());
            assert_refusing(bench.next(), port);
            // No second word about it, no spinning, and the queue is empty.
            bench.assert_idle();
            for client in &mut clients {
                assert_gone(client);
            }
            assert_gone(&mut last);
            drop(full);
            let _client = TcpStream::connect(addr).unwrap();
            accepted(bench, port);
        },
    );
}

#[test]
fn without_even_the_reserve_the_port_rests_and_recovers_by_itself() {
    in_a_process_of_its_own(
        "without_even_the_reserve_the_port_rests_and_recovers_by_itself",
        |bench| {
            let (port, addr) = bench.listen();
            let _client = TcpStream::connect(addr).unwrap();
            // No number that is free is allowed, not even that of the reserve.
            let before = limit(3);
            assert_refusing(bench.next(), port);
            assert!(bench.driver.deadline().is_some());
            let waits = bench.quiet(Duration::from_millis(350));
            assert!(waits <= 12, "{waits} waits in 350 ms");
            limit(before);
            accepted(bench, port);
            // And the reserve is there again.
            let mut late = TcpStream::connect(addr).unwrap();
            limit(64);
            let _full: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            assert_refusing(bench.next(), port);
            assert_gone(&mut late);
            bench.driver.wait(Some(Time::ZERO)).unwrap();
            assert_eq!(bench.driver.deadline(), None);
        },
    );
}

#[test]
fn a_resting_port_may_be_closed() {
    in_a_process_of_its_own("a_resting_port_may_be_closed", |bench| {
        let (port, addr) = bench.listen();
        let _client = TcpStream::connect(addr).unwrap();
        let before = limit(3);
        assert_refusing(bench.next(), port);
        bench.driver.close(port, Close::Graceful);
        limit(before);
        let (other, addr) = bench.listen();
        assert_eq!(other.index, port.index);
        bench.quiet(Duration::from_millis(250));
        assert_eq!(bench.driver.deadline(), None);
        let _client = TcpStream::connect(addr).unwrap();
        accepted(bench, other);
    });
}

fn accepted(bench: &mut Bench, from: Handle) -> Handle {
    match bench.next() {
        Completion::Accepted { port, conn } if port == from => conn,
        other => panic!("not accepted: {other:?}"),
    }
}

fn assert_refusing(completion: Completion, from: Handle) {
    let Completion::AcceptFailed { port, error } = completion else { panic!("{completion:?}") };
    // EMFILE
    assert_eq!((port, error.code()), (from, Some(24)));
}

/// The end of the stream or a reset, according to who was faster.
fn assert_gone(client: &mut TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    match client.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("not turned away: {other:?}"),
    }
}

/// Sets how many descriptors the process may have; how many it might have had.
fn limit(descriptors: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), ..now }).unwrap();
    now.current.unwrap()
}

/// Runs a test in a process that has nothing else to lose by it: this binary again, with only this test.
fn in_a_process_of_its_own(name: &str, test: impl Fn(&mut Bench)) {
    if std::env::var_os(MARK).is_some() {
        return each(|mut bench| test(&mut bench));
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--test-threads=1", &format!("tests::ports::{name}")])
        .env(MARK, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const MARK: &str = "MARLINE_DRIVERS_TEST_ALONE";
