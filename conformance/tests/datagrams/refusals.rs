//! Connected sockets, and errors that pass. Item 104.

use marline_conformance::on_every_driver;
use marline_core::Addr;
use marline_core::Reactor;
use marline_core::datagram::DatagramError;

use super::kit::{Ear, ear, until_count};
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
