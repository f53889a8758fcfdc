//! Connected sockets, and errors that pass. Item 104.

use std::io::ErrorKind;

use marline_conformance::{Ground, on_every_driver};
use marline_core::datagram::{DatagramError, DatagramTransport};
use marline_core::driver::OsError;
use marline_core::sim::SimDriver;
use marline_core::{Addr, Reactor};

use super::kit::{Ear, Tape, ear, until_count};
use crate::streams::kit::{Outcome, idle, started, turn_until};

/// An address where nobody listens: that of a socket just closed.
#[track_caller]
fn nobody(reactor: &Reactor) -> Addr {
    let (socket, _) = ear(reactor, Ear::new());
    let stopped = Outcome::of(socket.stop_listening());
    turn_until(reactor, "the socket to close", || stopped.is_there());
    socket.local_addr()
}

on_every_driver!(a_refusal_is_told_to_a_connected_socket_which_goes_on, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    let (socket, tape) = ear(&reactor, Ear::new());
    socket.connect(&to).unwrap();
    socket.send(b"anybody?").unwrap();
    turn_until(&reactor, "the refusal", || tape.has("refused"));
    assert_eq!(tape.story(), ["started", "refused ConnectionRefused"]);
    // Somebody comes there now.
    let late = Ear::echo();
    let heard = late.tape();
    let _late = reactor.listen_udp(&to, late).unwrap();
    socket.send(b"again").unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(heard.bytes(), [b"again"]);
    assert_eq!(tape.received(), [(b"again".to_vec(), to)]);
});

on_every_driver!(a_refusal_in_the_way_of_a_batch_is_told_and_the_batch_leaves, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    let (socket, tape) = ear(&reactor, Ear::new());
    socket.connect(&to).unwrap();
    socket.try_send(b"anybody?").unwrap();
    let late = Ear::new();
    let heard = late.tape();
    let _late = reactor.listen_udp(&to, late).unwrap();
    // The refusal of the first may wait for the next call to this socket, whatever that is.
    (0..10_u8).for_each(|number| socket.send(&[number; 9]).unwrap());
    socket.try_send(&[10; 9]).unwrap();
    until_count(&reactor, &heard, 11);
    idle(&reactor);
    assert_eq!(heard.count() - usize::from(ground.is_simulated()), 11);
    assert!(!tape.has("failed"), "{:?}", tape.story());
});

on_every_driver!(a_socket_that_is_not_connected_hears_of_no_refusal, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    let (socket, tape) = ear(&reactor, Ear::new());
    for _ in 0..3 {
        socket.send_to(b"anybody?", &to).unwrap();
        idle(&reactor);
    }
    socket.send_to(b"me", socket.local_addr()).unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(tape.story(), ["started"]);
});

on_every_driver!(a_good_datagram_before_a_passing_error_is_delivered, |ground| {
    let reactor = started(ground);
    let (peer, heard) = ear(&reactor, Ear::echo());
    let (socket, tape) = ear(&reactor, Ear::new());
    socket.connect(peer.local_addr()).unwrap();
    socket.send(b"good").unwrap();
    until_count(&reactor, &heard, 1);
    let stopped = Outcome::of(peer.stop_listening());
    turn_until(&reactor, "the end of the peer", || stopped.is_there());
    socket.send(b"too late").unwrap();
    turn_until(&reactor, "the refusal", || tape.has("refused"));
    assert_eq!(tape.bytes(), [b"good"]);
    assert!(socket.is_open());
});

on_every_driver!(a_socket_is_connected_once_and_then_talks_to_its_peer_alone, |ground| {
    let reactor = started(ground);
    let (peer, heard) = ear(&reactor, Ear::echo());
    let (stranger, _) = ear(&reactor, Ear::new());
    let (socket, tape) = ear(&reactor, Ear::new());
    assert_eq!(socket.peer_addr(), None);
    socket.connect(peer.local_addr()).unwrap();
    assert_eq!(socket.peer_addr(), Some(peer.local_addr()));
    assert_eq!(socket.connect(peer.local_addr()), Err(DatagramError::AlreadyConnected));
    // With the peer's own address it is the same.
    socket.send_to(b"by name", peer.local_addr()).unwrap();
    socket.send(b"plain").unwrap();
    let other = socket.send_to(b"other", stranger.local_addr());
    assert!(matches!(other, Err(DatagramError::InvalidAddress { .. })), "{other:?}");
    stranger.send_to(b"intruder", socket.local_addr()).unwrap();
    until_count(&reactor, &tape, 2);
    idle(&reactor);
    assert_eq!(tape.bytes(), [&b"by name"[..], b"plain"]);
    assert_eq!(heard.count(), 2);
});

on_every_driver!(a_socket_bound_to_all_addresses_knows_its_own_once_connected, |ground| {
    let reactor = started(ground);
    let (peer, _) = ear(&reactor, Ear::new());
    let socket = reactor.listen_udp("0.0.0.0:0", Ear::new()).unwrap();
    let port = socket.local_addr().port();
    socket.connect(peer.local_addr()).unwrap();
    assert_eq!(socket.local_addr().to_string(), format!("127.0.0.1:{port}"));
});

/// Has the next sends of datagrams fail.
fn fail(reactor: &Reactor, times: u32, error: OsError) {
    let host = reactor.with_driver(|driver: &mut SimDriver| driver.host().clone());
    host.unwrap().fail_datagrams(times, error);
}

/// A socket that is connected or not, and what it and its peer hear, on a system that can be told to fail.
fn with_peer(
    ground: Ground,
) -> Option<(Reactor, DatagramTransport, Tape, DatagramTransport, Tape)> {
    // The kernel cannot.
    let reactor = ground.is_simulated().then(|| started(ground))?;
    let (peer, heard) = ear(&reactor, Ear::new());
    let (socket, tape) = ear(&reactor, Ear::new());
    turn_until(&reactor, "the start", || tape.has("started"));
    Some((reactor, socket, tape, peer, heard))
}

on_every_driver!(no_way_to_the_peer_that_an_earlier_datagram_met_costs_a_batch_nothing, |ground| {
    let Some((reactor, socket, tape, peer, heard)) = with_peer(ground) else { return };
    socket.connect(peer.local_addr()).unwrap();
    for (kind, count) in [(ErrorKind::HostUnreachable, 10), (ErrorKind::NetworkUnreachable, 20)] {
        fail(&reactor, 1, kind.into());
        (0..10).for_each(|_| socket.send(b"x").unwrap());
        until_count(&reactor, &heard, count);
    }
    fail(&reactor, 1, ErrorKind::HostUnreachable.into());
    socket.try_send(b"x").unwrap();
    until_count(&reactor, &heard, 21);
    let told = [
        "started",
        "refused HostUnreachable",
        "refused NetworkUnreachable",
        "refused HostUnreachable",
    ];
    assert_eq!(tape.story(), told);
});

on_every_driver!(no_way_to_the_peer_at_all_drops_a_batch_and_is_told_once, |ground| {
    let Some((reactor, socket, tape, peer, heard)) = with_peer(ground) else { return };
    socket.connect(peer.local_addr()).unwrap();
    fail(&reactor, u32::MAX, ErrorKind::HostUnreachable.into());
    (0..10).for_each(|_| socket.send(b"x").unwrap());
    turn_until(&reactor, "the failure", || tape.has("failed"));
    assert!(socket.try_send(b"x").is_err());
    fail(&reactor, 0, OsError::UNSUPPORTED);
    socket.send(b"y").unwrap();
    until_count(&reactor, &heard, 1);
    assert_eq!(tape.story(), ["started", "failed HostUnreachable 10"]);
});

on_every_driver!(
    a_refusal_of_some_earlier_datagram_costs_an_unconnected_socket_nothing,
    |ground| {
        let Some((reactor, socket, tape, peer, heard)) = with_peer(ground) else { return };
        fail(&reactor, 1, ErrorKind::ConnectionRefused.into());
        (0..10).for_each(|_| socket.send_to(b"x", peer.local_addr()).unwrap());
        until_count(&reactor, &heard, 10);
        fail(&reactor, 1, ErrorKind::ConnectionRefused.into());
        socket.try_send_to(b"x", peer.local_addr()).unwrap();
        until_count(&reactor, &heard, 11);
        // Who is not connected hears of no refusal.
        assert_eq!(tape.story(), ["started"]);
    }
);

on_every_driver!(datagrams_for_which_there_is_no_memory_are_told_as_dropped, |ground| {
    let Some((reactor, socket, tape, peer, heard)) = with_peer(ground) else { return };
    // ENOBUFS
    fail(&reactor, 1, OsError::from_raw(105));
    let nobody = "127.0.0.1:9".parse::<std::net::SocketAddr>().unwrap();
    (0..3).for_each(|_| socket.send_to(b"x", nobody).unwrap());
    (0..3).for_each(|_| socket.send_to(b"y", peer.local_addr()).unwrap());
    until_count(&reactor, &heard, 3);
    let story = tape.story();
    assert!(
        story.len() == 2 && story[1].starts_with("failed ") && story[1].ends_with(" 3"),
        "{story:?}"
    );
});

#[test]
fn a_path_whose_owner_has_died_is_a_failure_and_no_refusal() {
    let reactor = started(Ground { driver: "epoll" });
    let path = std::env::temp_dir().join(format!("marline-{}-died", std::process::id()));
    let _left_over = std::fs::remove_file(&path);
    // Its file stays.
    drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
    let sender = Ear::new();
    let tape = sender.tape();
    let socket = reactor.listen_unix_datagram("", sender).unwrap();
    (0..3).for_each(|_| socket.send_to(b"x", Addr::Unix(path.clone())).unwrap());
    turn_until(&reactor, "the failure", || tape.has("failed"));
    assert!(socket.try_send_to(b"x", Addr::Unix(path.clone())).is_err());
    idle(&reactor);
    assert_eq!(tape.story(), ["started", "failed ConnectionRefused 3"]);
    std::fs::remove_file(&path).unwrap();
}
