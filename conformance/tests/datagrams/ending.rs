//! How sockets end. Item 102.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::datagram::DatagramError;
use marline_core::driver::{Interest, OsError};
use marline_core::{AdoptCause, RunError, Watcher};

use super::kit::{Ear, ear, until_count};
use crate::streams::kit::{Outcome, Probe, idle, started, turn_until};

on_every_driver!(the_end_is_told_later_and_not_inside_stop_listening, |ground| {
    let reactor = started(ground);
    let (socket, tape) = ear(&reactor, Ear::new());
    turn_until(&reactor, "the start", || tape.has("started"));
    let stopped = Outcome::of(socket.stop_listening());
    assert_eq!(tape.story(), ["started"]);
    assert!(!stopped.is_there() && !socket.is_open());
    turn_until(&reactor, "the end", || stopped.is_there());
    stopped.take().unwrap();
    assert_eq!(tape.story(), ["started", "stopped Done"]);
    assert!(tape.is_dropped());
    // Once more changes nothing, and what is left of the handle says so.
    let again = Outcome::of(socket.stop_listening());
    assert!(again.is_there());
    assert_eq!(socket.send_to(b"x", "127.0.0.1:9"), Err(DatagramError::Closed));
    assert_eq!(socket.try_send_to(b"x", "127.0.0.1:9"), Err(DatagramError::Closed));
    assert_eq!(socket.connect("127.0.0.1:9"), Err(DatagramError::Closed));
    assert!(socket.set_broadcast(true).is_err());
    socket.pause_reading();
    socket.resume_reading();
    idle(&reactor);
    assert_eq!(tape.story().len(), 2);
});

on_every_driver!(a_stop_before_the_start_is_told_both_in_order, |ground| {
    let reactor = started(ground);
    let (socket, tape) = ear(&reactor, Ear::new());
    let one = Outcome::of(socket.stop_listening());
    let two = Outcome::of(socket.stop_listening());
    turn_until(&reactor, "the end", || one.is_there() && two.is_there());
    assert_eq!(tape.story(), ["started", "stopped Done"]);
});

on_every_driver!(a_stop_in_the_middle_of_a_batch_lets_nothing_more_arrive, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(|transport, data, from| {
            transport.send_to(data, from).unwrap();
            if data[0] == 4 {
                transport.stop_listening().done(|_| {});
            }
        }),
    );
    let (from, answers) = ear(&reactor, Ear::new());
    (0..20_u8).for_each(|number| from.send_to(&[number], to.local_addr()).unwrap());
    turn_until(&reactor, "the end", || tape.has("stopped"));
    idle(&reactor);
    assert_eq!(tape.bytes(), (0..5_u8).map(|number| vec![number]).collect::<Vec<_>>());
    // What was sent before it has left.
    until_count(&reactor, &answers, 5);
    assert_eq!(answers.count(), 5);
    assert!(tape.is_dropped());
});

on_every_driver!(what_was_sent_before_the_stop_leaves, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(&reactor, Ear::new());
    let (from, _) = ear(&reactor, Ear::new());
    (0..10_u8).for_each(|number| from.send_to(&[number], to.local_addr()).unwrap());
    from.stop_listening().done(|_| {});
    until_count(&reactor, &tape, 10);
});

on_every_driver!(a_reactor_that_stops_tells_every_socket_even_a_paused_one, |ground| {
    let reactor = ground.reactor();
    let (_, one) = ear(&reactor, Ear::new());
    let (paused, two) = ear(&reactor, Ear::new());
    paused.pause_reading();
    let order = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&order);
    let third = Ear::new().on_stopped(move |transport| {
        log.borrow_mut().push(transport.is_open());
        // Nothing to be had any more, but nothing breaks.
        assert!(transport.send_to(b"x", "127.0.0.1:9").is_err());
        transport.stop_listening().done(|_| {});
    });
    let (_, three) = ear(&reactor, third);
    reactor.call_soon(|reactor| reactor.stop().unwrap());
    reactor.run().unwrap();
    for tape in [one, two, three] {
        assert_eq!(tape.story(), ["started", "stopped Stopped"]);
        assert!(tape.is_dropped());
    }
    assert_eq!(*order.borrow(), [false]);
    assert!(reactor.open().iter().all(|open| open.kind != "datagrams"));
});

on_every_driver!(a_socket_is_listed_among_what_is_open_with_the_place_that_made_it, |ground| {
    let reactor = started(ground);
    let (socket, _) = ear(&reactor, Ear::new());
    let open = reactor.open();
    let entry = open.iter().find(|open| open.kind == "datagrams").unwrap();
    assert!(entry.what.contains(&socket.local_addr().to_string()), "{}", entry.what);
    assert!(entry.site.file().ends_with("ending.rs"));
});

on_every_driver!(everything_may_be_called_from_inside_any_callback, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(|transport, data, from| {
            let inner = transport.clone();
            let reactor = transport.reactor();
            let other = reactor.listen_udp("127.0.0.1:0", Ear::new()).unwrap();
            other.send_to(data, transport.local_addr()).ok();
            other.stop_listening().done(|_| {});
            inner.try_send_to(b"now", from).unwrap();
            inner.pause_reading();
            inner.resume_reading();
            inner.set_broadcast(true).unwrap();
            assert!(!format!("{inner:?}").is_empty());
            if data == b"stop" {
                inner.stop_listening().done(|_| {});
                reactor.call_soon(|_| {});
            }
        }),
    );
    let (from, answers) = ear(&reactor, Ear::new());
    from.send_to(b"stop", to.local_addr()).unwrap();
    turn_until(&reactor, "the end", || tape.has("stopped"));
    until_count(&reactor, &answers, 1);
});

on_every_driver!(a_handle_on_a_reactor_that_is_gone_begins_nothing_and_keeps_nothing, |ground| {
    let reactor = started(ground);
    let (socket, _) = ear(&reactor, Ear::new());
    drop(reactor);
    let (late, token) = (Ear::new(), Rc::new(()));
    let tape = late.tape();
    let reactor = socket.reactor();
    assert!(reactor.listen_udp("127.0.0.1:0", late).is_err());
    assert!(reactor.listen_tcp("127.0.0.1:0", Probe::new).is_err());
    let refused = Outcome::of(reactor.connect_tcp("127.0.0.1:1", Probe::new()));
    assert!(refused.take().is_err());
    if !ground.is_simulated() {
        let (own, other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(reactor.watch(&other, Interest::READ, Silent).is_err());
        let error = reactor.adopt_connection(own.into(), Probe::new).unwrap_err();
        assert_eq!(error.cause, AdoptCause::Os(OsError::STALE));
    }
    assert_eq!(reactor.open().iter().map(|open| open.kind).collect::<Vec<_>>(), [""; 0]);
    // Nobody can turn it, and what waits for a turn goes with the handle.
    assert!(matches!(reactor.run(), Err(RunError::Driver(_))));
    assert!(matches!(reactor.turn(None), Err(RunError::Driver(_))));
    let kept = [Rc::clone(&token), Rc::clone(&token), Rc::clone(&token)];
    let itself = reactor.clone();
    let [in_timer, in_call, in_task] = kept;
    let timer = reactor.call_later(Duration::ZERO, move |_| drop((in_timer, itself)));
    reactor.call_soon(move |_| drop(in_call));
    let task = Outcome::of(reactor.spawn(async move {
        std::future::pending::<()>().await;
        drop(in_task);
    }));
    let job = Outcome::of(reactor.defer_to_thread(|| ()));
    reactor.close_all();
    assert!(!timer.is_active());
    assert!(task.take().is_err() && job.take().is_err());
    let in_timer = Rc::clone(&token);
    reactor.call_later(Duration::ZERO, move |_| drop(in_timer));
    drop(reactor);
    assert_eq!(Rc::strong_count(&token), 1, "something is still there");
    assert!(tape.is_dropped() && tape.story().is_empty());
    assert_eq!(socket.send_to(b"x", "127.0.0.1:9"), Err(DatagramError::Closed));
});

struct Silent;

impl Watcher for Silent {}
