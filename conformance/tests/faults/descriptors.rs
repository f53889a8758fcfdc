//! Out of descriptors: the listener survives, turns away or keeps waiting whom it cannot take, and accepts again once it can.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::driver::OsError;
use marline_core::sim::{Host, SimDriver};
use marline_core::{ConnectCause, Reactor};

use super::{CHILD, child};
use crate::streams::kit::{
    Outcome, Probe, connect, idle, listen, nobody, open_kinds, started, turn_until,
};

/// "Too many open files".
const EMFILE: i32 = 24;
/// How many descriptors the child may have.
const LIMIT: u32 = 40;

fn host(reactor: &Reactor) -> Host {
    reactor.with_driver(|driver: &mut SimDriver| driver.host().clone()).unwrap()
}

fn greeter() -> Probe {
    Probe::new().on_made(|transport| transport.write(b"hello")).on_data(|transport, data| {
        if data == b"stop" {
            transport.reactor().unwrap().stop().unwrap();
        }
    })
}

/// Listens with hardly any descriptors, until a client says stop.
fn serve(ground: Ground) {
    let reactor = ground.bare_reactor();
    let port = listen(&reactor, greeter);
    println!("port {}", port.local_addr().port());
    reactor.run().unwrap();
}

/// Says whether a client was greeted, or turned away; that nothing happens to it is a failure.
fn is_greeted(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut greeting = [0; 5];
    match client.read_exact(&mut greeting) {
        Ok(()) => greeting == *b"hello",
        Err(error) => {
            let waits = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
            assert!(!waits.contains(&error.kind()), "neither greeted nor turned away");
            false
        }
    }
}

// 77
on_every_driver!(a_listener_out_of_descriptors_recovers, |ground| {
    if ground.is_simulated() {
        return simulated(ground);
    }
    // Descriptors are the process's: the listener runs in a child with few of them, the clients here.
    if std::env::var_os(CHILD).is_some() {
        return serve(ground);
    }
    let mut server = child(module_path!(), "on_epoll", Some(LIMIT))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap());
    let port: u16 = loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended");
        // The harness's own words may stand before it on the line.
        if let Some((_, port)) = line.trim().split_once("port ") {
            break port.parse().unwrap();
        }
    };
    for _ in 0..3 {
        let mut clients: Vec<_> =
            (0..60).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let greeted = clients.iter_mut().map(is_greeted).filter(|greeted| *greeted).count();
        assert!(greeted > 10, "only {greeted} were greeted");
        assert!(greeted < LIMIT as usize, "{greeted} with {LIMIT} descriptors");
        drop(clients);
        // All have gone: sooner or later everybody is served again.
        let begin = std::time::Instant::now();
        while !is_greeted(&mut TcpStream::connect(("127.0.0.1", port)).unwrap()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "it never recovered");
        }
    }
    let mut last = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(is_greeted(&mut last));
    last.write_all(b"stop").unwrap();
    assert!(server.wait().unwrap().success());
});

fn simulated(ground: Ground) {
    let reactor = started(ground);
    let host = host(&reactor);
    let port = listen(&reactor, greeter);
    // Room for two connections: an end each at the client and at the server.
    host.set_descriptor_limit(Some(host.descriptors() + 5));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let probe = Probe::new();
            let tape = probe.tape();
            connect(&reactor, &port.local_addr(), probe);
            tape
        })
        .collect();
    turn_until(&reactor, "two greetings", || {
        clients.iter().filter(|tape| tape.received() == 5).count() == 2
    });
    idle(&reactor);
    // One waits, and nobody gets lost.
    let (served, waiting): (Vec<_>, Vec<_>) = clients.iter().partition(|tape| tape.received() == 5);
    assert_eq!((served.len(), waiting.len()), (2, 1));
    assert_eq!(waiting[0].story(), "made");
    served[0].transport().lose_connection();
    turn_until(&reactor, "the last greeting", || waiting[0].received() == 5);
}

on_every_driver!(accepting_that_fails_for_a_while_loses_nobody, |ground| {
    // The kernel cannot be told to fail.
    if !ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    let port = listen(&reactor, greeter);
    host(&reactor).fail_accepts(5, OsError::from_raw(EMFILE));
    let client = Probe::new();
    let tape = client.tape();
    connect(&reactor, &port.local_addr(), client);
    turn_until(&reactor, "the greeting", || tape.received() == 5);
});

on_every_driver!(a_connection_that_finds_no_descriptor_is_a_failed_attempt, |ground| {
    // See above; a kernel's answer would be the same number.
    if !ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    let port = listen(&reactor, greeter);
    let host = host(&reactor);
    host.set_descriptor_limit(Some(host.descriptors()));
    let outcome = Outcome::of(reactor.connect_tcp(port.local_addr(), Probe::new()));
    turn_until(&reactor, "the failure", || outcome.is_there());
    assert_eq!(outcome.take().unwrap_err().cause, ConnectCause::Os(OsError::from_raw(EMFILE)));
    assert!(reactor.listen_tcp("127.0.0.1:0", greeter).is_err());
    host.set_descriptor_limit(None);
    connect(&reactor, &port.local_addr(), Probe::new());
    host.fail_connects(1, OsError::from_raw(EMFILE));
    let outcome = Outcome::of(reactor.connect_tcp(port.local_addr(), Probe::new()));
    turn_until(&reactor, "the failure", || outcome.is_there());
    outcome.take().unwrap_err();
});

on_every_driver!(many_refused_attempts_leave_nothing, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    for _ in 0..200 {
        let outcome = Outcome::of(reactor.connect_tcp(&to, Probe::new()));
        turn_until(&reactor, "the refusal", || outcome.is_there());
        assert_eq!(outcome.take().unwrap_err().cause, ConnectCause::Refused);
    }
    assert_eq!(open_kinds(&reactor), [""; 0]);
});
