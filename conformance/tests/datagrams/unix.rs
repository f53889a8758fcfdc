//! UNIX datagram sockets: paths and abstract names, unnamed senders, readers that are stuck. Items 92 and 94.

use std::path::PathBuf;

use marline_conformance::{Ground, on_every_driver};
use marline_core::datagram::DatagramError;
use marline_core::driver::{DatagramOptions, SocketFile};
use marline_core::{Addr, AdoptCause};

use super::kit::{Ear, Tape, until_count};
use crate::streams::kit::{Outcome, idle, started, turn_until};

/// A path that no other test uses.
fn path(ground: Ground, name: &str) -> PathBuf {
    let id = std::process::id();
    std::env::temp_dir().join(format!("marline-{id}-{}-{name}", ground.driver))
}

fn abstract_name(ground: Ground, name: &str) -> PathBuf {
    PathBuf::from(format!("\0marline-{}-{}-{name}", std::process::id(), ground.driver))
}

#[track_caller]
fn open(
    reactor: &marline_core::Reactor,
    path: &PathBuf,
    ear: Ear,
) -> (marline_core::datagram::DatagramTransport, Tape) {
    let tape = ear.tape();
    (reactor.listen_unix_datagram(path, ear).unwrap(), tape)
}

on_every_driver!(
    datagrams_travel_between_paths_and_abstract_names_with_their_addresses,
    |ground| {
        let reactor = started(ground);
        for make in [path, abstract_name] {
            let (server_path, client_path) = (make(ground, "server"), make(ground, "client"));
            let (server, _) = open(&reactor, &server_path, Ear::echo());
            let (client, tape) = open(&reactor, &client_path, Ear::new());
            assert_eq!(server.local_addr(), Addr::Unix(server_path.clone()));
            client.send_to(b"hello", server.local_addr()).unwrap();
            client.send_to(b"", server.local_addr()).unwrap();
            until_count(&reactor, &tape, 2);
            let from = Addr::Unix(server_path.clone());
            assert_eq!(tape.received(), [(b"hello".to_vec(), from.clone()), (Vec::new(), from)]);
            for socket in [server, client] {
                socket.stop_listening().done(|_| {});
            }
            let _ = (std::fs::remove_file(&server_path), std::fs::remove_file(&client_path));
        }
    }
);

on_every_driver!(a_path_is_reached_though_a_longer_one_was_sent_to_before, |ground| {
    let reactor = started(ground);
    let names = ["a-rather-long-one", "short", "a-rather-long-one", "middling"];
    let ears: Vec<_> =
        names[1..].iter().map(|name| open(&reactor, &path(ground, name), Ear::new())).collect();
    let (from, tape) = open(&reactor, &abstract_name(ground, "sender-to-many"), Ear::new());
    for name in names {
        from.try_send_to(name.as_bytes(), Addr::Unix(path(ground, name))).unwrap();
    }
    for ((_, heard), name) in ears.iter().zip(&names[1..]) {
        until_count(&reactor, heard, 1);
        assert!(heard.bytes().iter().all(|bytes| bytes == name.as_bytes()), "{:?}", heard.bytes());
    }
    assert_eq!(tape.story(), ["started"]);
    for (socket, _) in ears {
        socket.stop_listening().done(|_| {});
    }
});

on_every_driver!(a_connected_client_needs_no_address_and_hears_its_server_alone, |ground| {
    let reactor = started(ground);
    let (server, _) = open(&reactor, &abstract_name(ground, "one"), Ear::echo());
    let (client, tape) = open(&reactor, &abstract_name(ground, "client-of-one"), Ear::new());
    client.connect(server.local_addr()).unwrap();
    client.send(b"question").unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(tape.bytes(), [b"question"]);
    let (stranger, _) = open(&reactor, &abstract_name(ground, "stranger"), Ear::new());
    match stranger.try_send_to(b"intruder", client.local_addr()) {
        Err(DatagramError::Os(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
});

on_every_driver!(an_unnamed_sender_is_heard_with_an_empty_path_and_cannot_be_answered, |ground| {
    let reactor = started(ground);
    let (server, tape) = open(&reactor, &abstract_name(ground, "deaf"), Ear::new());
    let client = reactor.listen_unix_datagram("", Ear::new()).unwrap();
    assert_eq!(client.local_addr(), Addr::Unix(PathBuf::new()));
    client.send_to(b"anonymous", server.local_addr()).unwrap();
    until_count(&reactor, &tape, 1);
    let (bytes, from) = tape.received().remove(0);
    assert_eq!((&*bytes, &from), (&b"anonymous"[..], &Addr::Unix(PathBuf::new())));
    let answer = server.send_to(b"?", &from);
    assert!(matches!(answer, Err(DatagramError::InvalidAddress { .. })), "{answer:?}");
});

on_every_driver!(a_path_in_use_is_an_error_of_the_listening, |ground| {
    let reactor = started(ground);
    let path = path(ground, "twice");
    let (first, _) = open(&reactor, &path, Ear::new());
    let error = reactor.listen_unix_datagram(&path, Ear::new()).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    let _ = std::fs::remove_file(&path);
});

on_every_driver!(a_stuck_reader_costs_what_it_does_not_take_and_no_more, |ground| {
    let reactor = started(ground);
    let (stuck, stuck_tape) = open(&reactor, &abstract_name(ground, "stuck"), Ear::new());
    stuck.pause_reading();
    let (fine, fine_tape) = open(&reactor, &abstract_name(ground, "fine"), Ear::new());
    let (sender, tape) = open(&reactor, &abstract_name(ground, "sender"), Ear::new());
    // More than any queue holds, and then something for somebody else, in the same batches.
    let mut accepted = 0;
    for _ in 0..40 {
        for _ in 0..30 {
            sender.send_to(&[1; 8000], stuck.local_addr()).unwrap();
            accepted += 1;
        }
        sender.send_to(b"fine", fine.local_addr()).unwrap();
        // The end of the turn.
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    until_count(&reactor, &fine_tape, 40);
    let dropped: usize = tape
        .story()
        .iter()
        .filter_map(|line| line.strip_prefix("failed WouldBlock "))
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert!(dropped > 0, "{:?}", tape.story());
    match sender.try_send_to(&[1; 8000], stuck.local_addr()) {
        Err(DatagramError::Os(error)) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        other => panic!("{other:?}"),
    }
    stuck.resume_reading();
    until_count(&reactor, &stuck_tape, accepted - dropped);
    idle(&reactor);
    assert_eq!(stuck_tape.count(), accepted - dropped, "each was either told or delivered");
});

on_every_driver!(a_datagram_too_long_for_a_chunk_is_dropped_and_the_next_arrives, |ground| {
    let reactor = started(ground);
    let (to, tape) = open(&reactor, &abstract_name(ground, "long"), Ear::new());
    let (from, _) = open(&reactor, &abstract_name(ground, "from"), Ear::new());
    from.try_send_to(&vec![1; 65_536], to.local_addr()).unwrap();
    from.try_send_to(&vec![2; 65_537], to.local_addr()).unwrap();
    from.try_send_to(&[3], to.local_addr()).unwrap();
    until_count(&reactor, &tape, 2);
    idle(&reactor);
    assert_eq!(tape.lengths(), [65_536, 1]);
});

on_every_driver!(sending_to_a_path_where_nobody_is_is_told, |ground| {
    let reactor = started(ground);
    let (from, tape) = open(&reactor, &abstract_name(ground, "lonely"), Ear::new());
    from.send_to(b"?", Addr::Unix(path(ground, "nobody"))).unwrap();
    turn_until(&reactor, "the failure", || tape.has("failed"));
    assert_eq!(tape.story(), ["started", "failed NotFound 1"]);
    let stopped = Outcome::of(from.stop_listening());
    turn_until(&reactor, "the end", || stopped.is_there());
});

#[test]
fn the_file_of_a_socket_has_the_mode_asked_for_and_goes_with_the_socket() {
    use std::os::unix::fs::PermissionsExt;

    let ground = Ground { driver: "epoll" };
    let reactor = started(ground);
    let path = path(ground, "mode");
    let file = SocketFile { mode: Some(0o620), ..SocketFile::default() };
    let options = DatagramOptions { file, ..DatagramOptions::default() };
    let socket = reactor.listen_unix_datagram_with(&path, Ear::new(), options).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
    let stopped = Outcome::of(socket.stop_listening());
    turn_until(&reactor, "the end", || stopped.is_there());
    assert!(!path.exists());
}

#[test]
fn an_adopted_socket_is_closed_and_another_holder_goes_on() {
    let reactor = started(Ground { driver: "epoll" });
    let theirs = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = theirs.local_addr().unwrap();
    let ear = Ear::echo();
    let tape = ear.tape();
    let ours = reactor.adopt_datagrams(theirs.try_clone().unwrap().into(), ear).unwrap();
    assert_eq!(ours.local_addr(), Addr::Ip(addr));
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"ours", addr).unwrap();
    until_count(&reactor, &tape, 1);
    let stopped = Outcome::of(ours.stop_listening());
    turn_until(&reactor, "the end", || stopped.is_there());
    peer.send_to(b"theirs", addr).unwrap();
    let mut buffer = [0; 16];
    theirs.set_nonblocking(false).unwrap();
    assert_eq!(theirs.recv_from(&mut buffer).unwrap().0, 6);
    // What is no socket, and one of another type, come back.
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = reactor.adopt_datagrams(file.into(), Ear::new()).unwrap_err();
    assert_eq!(error.cause, AdoptCause::NotASocket);
    let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = reactor.adopt_datagrams(stream.into(), Ear::new()).unwrap_err();
    assert_eq!(error.cause, AdoptCause::Unsupported);
}
