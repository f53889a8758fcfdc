//! Listening and connecting by paths and by abstract names, and what a stream promises on them as on TCP.

use std::io::ErrorKind;
use std::path::Path;

use marline_conformance::on_every_driver;
use marline_core::ConnectCause;
use marline_core::driver::{ConnectOptions, ListenOptions};
use marline_core::protocol::from_fn;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketType, bind, connect as net_connect, socket,
};

use super::{Folder, names, unix};
use crate::streams::kit::{
    Outcome, Probe, assert_same, connecting, idle, listening, pattern, started, turn_until, word,
};

// 94
on_every_driver!(addresses_carry_the_path, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let path = folder.file("socket");
    let (client, server) = (Probe::new(), Probe::new());
    let (here, there) = (client.tape(), server.tape());
    let mut server = Some(server);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(None));
    let sees = std::rc::Rc::clone(&seen);
    let factory = from_fn(move |link| {
        *sees.borrow_mut() = Some((link.peer().clone(), link.local()));
        server.take()
    });
    let port = reactor.listen_unix(&path, factory).unwrap();
    assert_eq!(port.local_addr(), unix(&path));
    let connected = Outcome::of(reactor.connect_unix(&path, client));
    turn_until(&reactor, "both ends", || connected.is_there() && there.is_made());
    connected.take().unwrap();
    let unnamed = unix("");
    assert_eq!(here.transport().peer_addr(), unix(&path));
    assert_eq!(here.transport().local_addr(), Some(unnamed.clone()));
    assert_eq!(there.transport().peer_addr(), unnamed);
    assert_eq!(there.transport().local_addr(), Some(unix(&path)));
    assert_eq!(*seen.borrow(), Some((unnamed, Some(unix(&path)))));
    assert_eq!(here.transport().peer_addr().to_string(), path.to_str().unwrap());
});

// 92
on_every_driver!(abstract_names_work_for_listen_and_connect, |ground| {
    let reactor = started(ground);
    let name = format!("\0marline-{}-{}", std::process::id(), ground.driver);
    let before = names(Path::new("."));
    let server = Probe::new();
    let there = server.tape();
    let mut server = Some(server);
    let port = reactor.listen_unix(&name, from_fn(move |_| server.take())).unwrap();
    assert_eq!(port.local_addr(), unix(&name));
    assert_eq!(names(Path::new(".")), before, "an abstract name leaves no file");
    let client = Probe::new();
    let here = client.tape();
    let connected = Outcome::of(reactor.connect_unix(&name, client));
    turn_until(&reactor, "both ends", || connected.is_there() && there.is_made());
    connected.take().unwrap();
    assert_eq!(here.transport().peer_addr(), unix(&name));
    assert!(here.transport().peer_addr().to_string().starts_with("@marline-"));
    here.transport().write(b"hello");
    turn_until(&reactor, "the bytes", || there.received() == 5);
    let again = reactor.listen_unix(&name, Probe::new).unwrap_err();
    assert_eq!(again.source.kind(), ErrorKind::AddrInUse);
});

// 93
on_every_driver!(what_the_system_says_on_listen_is_the_listen_error, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let path = folder.file("socket");
    let port = reactor.listen_unix(&path, Probe::new).unwrap();
    let error = reactor.listen_unix(&path, Probe::new).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.address, path.to_str().unwrap());
    let closed = Outcome::of(port.stop_listening());
    turn_until(&reactor, "the port to close", || closed.is_there());
    // The refused attempt has taken nothing from the port that was there, nor kept anything.
    port.start_listening().unwrap();
    if !ground.is_simulated() {
        let lost = folder.file("missing/socket");
        let error = reactor.listen_unix(lost, Probe::new).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::NotFound);
    }
});

on_every_driver!(a_path_that_cannot_be_a_sockets_is_invalid_input_and_no_panic, |ground| {
    // A simulated host has no `sun_path` of 108 bytes.
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let fits = 107 - folder.file("").as_os_str().len();
    for path in [
        "".into(),
        folder.file(&"x".repeat(fits + 1)),
        folder.file("with\0nul"),
        folder.file(&"x".repeat(10_000)),
    ] {
        let error = reactor.listen_unix(&path, Probe::new).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::InvalidInput, "{path:?}");
        assert!(error.to_string().contains("107 bytes"), "{error}");
        let refused = Outcome::of(reactor.connect_unix(&path, Probe::new()));
        turn_until(&reactor, "the failure", || refused.is_there());
        match refused.take().unwrap_err().cause {
            ConnectCause::Os(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folder.names(), [""; 0]);
    // The longest that fits, both ways: nobody reads over its end.
    let longest = folder.file(&"x".repeat(fits));
    let port = reactor.listen_unix(&longest, Probe::new).unwrap();
    assert_eq!(port.local_addr(), unix(&longest));
    let file = marline_core::driver::SocketFile { mode: Some(0o1777), ..Default::default() };
    let options = listening(|options| options.file = file);
    let error = reactor.listen_unix_with(folder.file("m"), Probe::new, options).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::InvalidInput);
});

on_every_driver!(a_stranger_whose_path_fills_the_last_byte_is_served, |ground| {
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let server = Probe::new();
    let there = server.tape();
    let mut server = Some(server);
    reactor.listen_unix(folder.file("s"), from_fn(move |_| server.take())).unwrap();
    let path = folder.file(&"x".repeat(108 - folder.file("").as_os_str().len()));
    let stranger = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&stranger, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    net_connect(&stranger, &SocketAddrUnix::new(folder.file("s")).unwrap()).unwrap();
    turn_until(&reactor, "the connection", || there.is_made());
    assert_eq!(there.transport().peer_addr(), unix(&path));
});

on_every_driver!(a_path_where_nobody_listens_is_a_failed_attempt, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let refused = Outcome::of(reactor.connect_unix(folder.file("nobody"), Probe::new()));
    turn_until(&reactor, "the failure", || refused.is_there());
    let error = refused.take().unwrap_err();
    assert!(error.destination.ends_with("nobody"));
    if ground.is_simulated() {
        return assert_eq!(word(&error.cause), "Refused");
    }
    assert!(matches!(error.cause, ConnectCause::Os(os) if os.kind() == ErrorKind::NotFound));
    // The file of one that is gone.
    let dead = folder.file("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    let refused = Outcome::of(reactor.connect_unix(&dead, Probe::new()));
    turn_until(&reactor, "the failure", || refused.is_there());
    assert_eq!(word(&refused.take().unwrap_err().cause), "Refused");
});

on_every_driver!(a_close_delivers_everything_although_the_peer_goes_on_sending, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let sent = pattern(3 << 20);
    let (client, server) = (Probe::half_close(), Probe::new());
    let (here, there) = (client.tape(), server.tape());
    let bytes = sent.clone();
    let mut server = Some(server.on_made(move |transport| {
        transport.write(&bytes);
        transport.lose_connection();
    }));
    reactor.listen_unix(folder.file("s"), from_fn(move |_| server.take())).unwrap();
    let client =
        client.on_made(|transport| transport.write(&[0; 100_000])).on_data(|transport, data| {
            if transport.pending() == 0 {
                transport.write(data);
            }
        });
    let client = client.on_read_lost(|transport| transport.lose_connection());
    let connected = Outcome::of(reactor.connect_unix(folder.file("s"), client));
    turn_until(&reactor, "both ends", || here.is_lost() && there.is_lost());
    connected.take().unwrap();
    assert_same(&here.bytes(), &sent);
    assert_eq!(there.reason(), "Done");
    there.assert_in_order();
    here.assert_in_order();
});

on_every_driver!(both_ends_may_half_close, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let (client, server) = (Probe::half_close(), Probe::half_close());
    let (here, there) = (client.tape(), server.tape());
    let mut server = Some(server);
    reactor.listen_unix(folder.file("s"), from_fn(move |_| server.take())).unwrap();
    let connected = Outcome::of(reactor.connect_unix(folder.file("s"), client));
    turn_until(&reactor, "both ends", || connected.is_there() && there.is_made());
    connected.take().unwrap();
    here.transport().write(b"last words");
    here.transport().lose_write_connection();
    turn_until(&reactor, "the end of one side", || there.has("read_lost"));
    assert_eq!(there.bytes(), b"last words");
    there.transport().write(b"heard");
    there.transport().lose_write_connection();
    turn_until(&reactor, "both ends", || here.is_lost() && there.is_lost());
    assert_eq!((here.reason().as_str(), there.reason().as_str()), ("Done", "Done"));
    assert_eq!(here.bytes(), b"heard");
});

on_every_driver!(an_end_that_was_aborted_is_told_to_both, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    let (client, server) = (Probe::new(), Probe::new());
    let (here, there) = (client.tape(), server.tape());
    let mut server = Some(server);
    reactor.listen_unix(folder.file("s"), from_fn(move |_| server.take())).unwrap();
    let connected = Outcome::of(reactor.connect_unix(folder.file("s"), client));
    turn_until(&reactor, "both ends", || connected.is_there() && there.is_made());
    connected.take().unwrap();
    here.transport().write(b"never sent");
    here.transport().abort_connection();
    turn_until(&reactor, "both ends", || here.is_lost() && there.is_lost());
    assert_eq!(here.reason(), "Aborted");
    // The kernel knows no reset of a UNIX stream: its peer sees the end.
    let ends: &[&str] = if ground.is_simulated() { &["Lost(ConnectionReset)"] } else { &["Done"] };
    assert!(ends.contains(&there.reason().as_str()), "{}", there.reason());
    assert_eq!(there.received(), 0);
});

on_every_driver!(the_connectors_family_takes_paths_too, |ground| {
    let (reactor, folder) = (started(ground), Folder::new());
    reactor.listen_unix(folder.file("s"), Probe::new).unwrap();
    let client = Probe::new();
    let here = client.tape();
    let mut client = Some(client);
    let connector = reactor.connector_unix(folder.file("s"), from_fn(move |_| client.take()));
    turn_until(&reactor, "the connection", || here.is_made());
    assert_eq!(connector.destination().addr(), Some(&unix(folder.file("s"))));
    connector.disconnect();
    turn_until(&reactor, "the end", || here.is_lost());
});

on_every_driver!(a_client_may_have_a_path_of_its_own, |ground| {
    // A simulated host binds no client to a path.
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let server = Probe::new();
    let there = server.tape();
    let mut server = Some(server);
    reactor.listen_unix(folder.file("s"), from_fn(move |_| server.take())).unwrap();
    let options = connecting(|options: &mut ConnectOptions| {
        options.bind = Some(unix(folder.file("client")));
    });
    let client = Probe::new();
    let here = client.tape();
    let connected = Outcome::of(reactor.connect_unix_with(folder.file("s"), client, options));
    turn_until(&reactor, "both ends", || connected.is_there() && there.is_made());
    connected.take().unwrap();
    assert_eq!(there.transport().peer_addr(), unix(folder.file("client")));
    assert_eq!(folder.names(), ["client", "s", "s.lock"]);
    here.transport().lose_connection();
    turn_until(&reactor, "both ends", || here.is_lost() && there.is_lost());
    assert_eq!(folder.names(), ["s", "s.lock"]);
});

on_every_driver!(attempts_that_find_the_queue_full_wait_for_their_turn, |ground| {
    // A simulated host tries again as TCP does, seconds later.
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let options: ListenOptions = listening(|options| options.backlog = 1);
    reactor.listen_unix_with(folder.file("s"), Probe::new, options).unwrap();
    let attempts: Vec<_> = (0..40)
        .map(|_| Outcome::of(reactor.connect_unix(folder.file("s"), Probe::new())))
        .collect();
    turn_until(&reactor, "all attempts", || attempts.iter().all(Outcome::is_there));
    for attempt in attempts {
        attempt.take().unwrap();
    }
});

on_every_driver!(an_attempt_at_a_full_queue_can_be_given_up_and_times_out, |ground| {
    // A simulated port of a backlog refuses.
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let options = listening(|options| options.backlog = 1);
    let port = reactor.listen_unix_with(folder.file("s"), Probe::new, options).unwrap();
    port.pause();
    let fill = connecting(|options| options.timeout = None);
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let to = folder.file("s");
            Outcome::of(reactor.connect_unix_with(to, Probe::new(), fill.clone()))
        })
        .collect();
    let hasty = connecting(|options| options.timeout = Some(std::time::Duration::from_millis(30)));
    let late = Outcome::of(reactor.connect_unix_with(folder.file("s"), Probe::new(), hasty));
    turn_until(&reactor, "the time-out", || late.is_there());
    assert_eq!(word(&late.take().unwrap_err().cause), "TimedOut");
    let closed = Outcome::of(port.stop_listening());
    turn_until(&reactor, "the rest to fail", || {
        closed.is_there() && waiting.iter().all(Outcome::is_there)
    });
    idle(&reactor);
    let refused = waiting.iter().filter(|attempt| attempt.take().is_err()).count();
    assert!(refused >= 2, "{refused}");
});
