//! Broken promises that the random programs found, each as small as it goes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::deferred::CancelHandle;
use marline_core::flow::Producer;
use marline_core::sim::World;
use marline_core::{
    CloseReason, ConnectCause, Protocol, Reactor, RunError, Transport, Unavailable,
};

use super::play::panic_on_purpose;
use crate::layers::Clear;

type Log = Rc<RefCell<Vec<String>>>;
type Reaction = Box<dyn FnMut(&Transport, &str)>;

/// A protocol that logs what it is told, and reacts to it.
struct Scribe {
    log: Log,
    react: Reaction,
}

impl Scribe {
    fn new(log: &Log, react: impl FnMut(&Transport, &str) + 'static) -> Self {
        Self { log: Rc::clone(log), react: Box::new(react) }
    }

    fn told(&mut self, transport: &Transport, what: &str) {
        self.log.borrow_mut().push(what.into());
        (self.react)(transport, what);
    }
}

impl Protocol for Scribe {
    fn connection_made(&mut self, transport: &Transport) {
        self.told(transport, "made");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let text = format!("data {}", String::from_utf8_lossy(data));
        self.told(transport, &text);
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.told(transport, "read lost");
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        self.told(transport, &format!("lost: {reason}"));
    }
}

/// A reactor with one connection: what the client is told, its transport, and what the server is told.
struct Pair {
    reactor: Reactor,
    client: Transport,
    told: Log,
    server: Log,
}

fn pair(ground: Ground, client: Reaction, server: fn(&Transport, &str)) -> Pair {
    let (reactor, told, server_told) = (ground.bare_reactor(), Log::default(), Log::default());
    let log = Rc::clone(&server_told);
    let port = reactor.listen_tcp("127.0.0.1:0", move || Scribe::new(&log, server)).unwrap();
    let connection: Rc<RefCell<Option<Transport>>> = Rc::default();
    let found = Rc::clone(&connection);
    reactor.connect_tcp(port.local_addr(), Scribe { log: Rc::clone(&told), react: client }).done(
        move |result| {
            found.replace(Some(result.unwrap().transport().clone()));
        },
    );
    turn_until(&reactor, || connection.borrow().is_some() && !server_told.borrow().is_empty());
    let client = connection.take().unwrap();
    Pair { reactor, client, told, server: server_told }
}

/// Turns the reactor until a condition holds; too many turns are a failure.
#[track_caller]
fn turn_until(reactor: &Reactor, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        reactor.turn(Some(Duration::from_millis(10))).unwrap();
    }
    panic!("it never came to that");
}

fn nothing() -> Reaction {
    Box::new(|_, _| {})
}

// A turn in there would have met a protocol that is on the stack already: its bytes were lost.
on_every_driver!(a_turn_is_refused_inside_with_that_is_called_between_turns, |ground| {
    let Pair { reactor, client, .. } = pair(ground, nothing(), |_, _| {});
    let connection = client.connection::<Scribe>().unwrap();
    let inside = reactor.clone();
    let answers =
        connection.try_with(move |_, _| (inside.turn(Some(Duration::ZERO)), inside.run())).unwrap();
    assert!(matches!(answers, (Err(RunError::Nested), Err(RunError::Nested))));
});

on_every_driver!(close_all_inside_with_waits_so_that_the_protocol_hears_its_end, |ground| {
    let Pair { reactor, client, told, .. } = pair(ground, nothing(), |_, _| {});
    let (inside, so_far) = (reactor.clone(), Rc::clone(&told));
    let connection = client.connection::<Scribe>().unwrap();
    connection
        .try_with(move |_, _| {
            inside.close_all();
            assert_eq!(*so_far.borrow(), ["made"]);
        })
        .unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*told.borrow(), ["made", "lost: the reactor stopped"]);
});

on_every_driver!(the_last_handle_dropped_inside_with_closes_everything_right_after_it, |ground| {
    let Pair { reactor, client, told, .. } = pair(ground, nothing(), |_, _| {});
    let connection = client.connection::<Scribe>().unwrap();
    connection.try_with(move |_, _| drop(reactor)).unwrap();
    assert_eq!(*told.borrow(), ["made", "lost: the reactor stopped"]);
});

on_every_driver!(a_successor_is_not_reached_before_it_is_told_that_it_is_in_charge, |ground| {
    let next = Log::default();
    let log = Rc::clone(&next);
    let answer = Rc::new(Cell::new(None));
    let seen = Rc::clone(&answer);
    let first: Reaction = Box::new(move |transport, what| {
        if what == "made" {
            transport.upgrade(Scribe::new(&log, |_, _| {}), b"");
        } else if what.starts_with("lost") {
            let connection = transport.connection::<Scribe>().unwrap();
            seen.set(Some(connection.try_with(|next, transport| next.told(transport, "with"))));
            connection.with(|next, transport| next.told(transport, "with")).ignore();
        }
    });
    let _pair = pair(ground, first, |_, _| {});
    assert_eq!(answer.get(), Some(Err(Unavailable::Busy)));
    assert_eq!(*next.borrow(), ["made", "with"]);
});

on_every_driver!(a_successor_hears_nothing_if_the_farewell_aborts, |ground| {
    let next = Log::default();
    let log = Rc::clone(&next);
    let first: Reaction = Box::new(move |transport, what| {
        if what.starts_with("data") {
            transport.upgrade(Scribe::new(&log, |_, _| {}), b"");
        } else if what.starts_with("lost") {
            transport.abort_connection();
        }
    });
    let Pair { reactor, server, told, .. } =
        pair(ground, first, |transport, _| transport.write(b"x"));
    turn_until(&reactor, || server.borrow().len() > 1);
    assert_eq!(told.borrow().len(), 3);
    assert_eq!(*next.borrow(), [""; 0]);
    assert_eq!(Rc::strong_count(&next), 1);
});

on_every_driver!(a_successor_hears_the_end_of_the_stream_after_the_rest, |ground| {
    let next = Log::default();
    let log = Rc::clone(&next);
    let first: Reaction = Box::new(move |transport, what| {
        if what == "read lost" {
            transport.upgrade(Scribe::new(&log, |_, _| {}), b"rest");
        }
    });
    let Pair { reactor, client, .. } =
        pair(ground, first, |transport, _| transport.lose_connection());
    turn_until(&reactor, || next.borrow().len() == 3);
    assert_eq!(*next.borrow(), ["made", "data rest", "read lost"]);
    client.abort_connection();
});

on_every_driver!(a_paused_successor_hears_the_end_of_the_stream_on_resume, |ground| {
    let next = Log::default();
    let log = Rc::clone(&next);
    let first: Reaction = Box::new(move |transport, what| {
        if what == "read lost" {
            let pauses = |transport: &Transport, what: &str| {
                if what == "made" {
                    transport.pause_reading();
                }
            };
            transport.upgrade(Scribe::new(&log, pauses), b"");
        }
    });
    let Pair { reactor, client, .. } =
        pair(ground, first, |transport, _| transport.lose_connection());
    turn_until(&reactor, || !next.borrow().is_empty());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*next.borrow(), ["made"]);
    client.resume_reading();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*next.borrow(), ["made", "read lost"]);
    client.abort_connection();
});

/// Logs what it is asked.
struct Tap(Log);

impl Producer for Tap {
    fn resume_producing(&self) {
        self.0.borrow_mut().push("resume".into());
    }

    fn pause_producing(&self) {
        self.0.borrow_mut().push("pause".into());
    }

    fn stop_producing(&self) {
        self.0.borrow_mut().push("stop".into());
    }
}

// What came after the registration overtook what came before it.
on_every_driver!(bytes_keep_their_order_around_the_registration_of_a_pull_producer, |ground| {
    let sent: Vec<u8> = (0..400_000u32).map(|n| b'a' + (n % 25) as u8).collect();
    let all = sent.clone();
    let client: Reaction = Box::new(move |transport, what| {
        if what == "made" {
            transport.write(&sent[..399_000]);
            let tap = Rc::new(Tap(Log::default()));
            transport.register_producer(tap, false).unwrap();
            transport.write(&sent[399_000..]);
        }
    });
    let Pair { reactor, client, server, .. } = pair(ground, client, |_, _| {});
    let text = || -> String {
        server.borrow().iter().filter_map(|told| told.strip_prefix("data ")).collect()
    };
    turn_until(&reactor, || text().len() == 400_000);
    assert!(text().as_bytes() == all);
    client.abort_connection();
});

on_every_driver!(a_producer_is_not_asked_what_was_meant_for_the_one_before, |ground| {
    let asked = Log::default();
    let Pair { reactor, client, .. } = pair(ground, nothing(), |transport, what| {
        if what == "made" {
            transport.pause_reading();
        }
    });
    let (first, second) = (Rc::new(Tap(Log::default())), Rc::new(Tap(Rc::clone(&asked))));
    let inside = client.clone();
    reactor.call_soon(move |_| {
        // Asked to resume, at once; but by the time it is, another has taken its place.
        inside.register_producer(Rc::clone(&first) as Rc<dyn Producer>, false).unwrap();
        inside.unregister_producer();
        inside.register_producer(second, true).unwrap();
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*asked.borrow(), [""; 0]);
    client.abort_connection();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*asked.borrow(), ["stop"]);
});

on_every_driver!(a_port_stopped_opened_and_stopped_in_one_callback_tells_both_who_wait, |ground| {
    let reactor = ground.bare_reactor();
    let port =
        reactor.listen_tcp("127.0.0.1:0", || Scribe::new(&Log::default(), |_, _| {})).unwrap();
    let fired: Rc<RefCell<Vec<bool>>> = Rc::default();
    let log = Rc::clone(&fired);
    reactor.call_soon(move |_| {
        for _ in 0..2 {
            let log = Rc::clone(&log);
            port.stop_listening().done(move |result| log.borrow_mut().push(result.is_ok()));
            port.start_listening().unwrap();
        }
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*fired.borrow(), [true, true]);
});

// The Deferred said that it was cancelled, and the connection went on, with nobody to hold it.
on_every_driver!(a_connection_cancelled_inside_its_connection_made_is_lost_once, |ground| {
    let (reactor, told, server) = (ground.bare_reactor(), Log::default(), Log::default());
    let log = Rc::clone(&server);
    let port = reactor.listen_tcp("127.0.0.1:0", move || Scribe::new(&log, |_, _| {})).unwrap();
    let cancel = Rc::new(RefCell::new(CancelHandle::default()));
    let (inside, log) = (Rc::clone(&cancel), Rc::clone(&told));
    let client = Scribe::new(&told, move |transport, what| {
        if what == "made" {
            inside.take().cancel();
            // As to any connection that has ended.
            let connection = transport.connection::<Scribe>().unwrap();
            assert_eq!(connection.try_with(|_, _| ()), Err(Unavailable::Gone));
            transport.upgrade(Scribe::new(&log, |_, _| {}), b"");
        }
    });
    let deferred = reactor.connect_tcp(port.local_addr(), client);
    cancel.replace(deferred.cancel_handle());
    let (cause, log) = (Rc::new(RefCell::new(None)), Rc::clone(&told));
    let seen = Rc::clone(&cause);
    deferred.done(move |result| {
        seen.replace(result.err().map(|error| error.cause));
        assert_eq!(*log.borrow(), ["made"], "before connection_lost, from inside the cancel");
    });
    turn_until(&reactor, || told.borrow().len() > 1 && reactor.open().len() == 1);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(*cause.borrow(), Some(ConnectCause::Cancelled));
    assert_eq!(*told.borrow(), ["made", "lost: aborted by this side"]);
    assert_eq!(Rc::strong_count(&told), 1, "both protocols and the Deferred's step are dropped");
});

// Without its layers a connection would have gone on in plain text.
on_every_driver!(a_panic_while_somebody_looks_at_the_layers_leaves_them_in_place, |ground| {
    let Pair { reactor, client, .. } = pair(ground, nothing(), |_, _| {});
    client.start_layer(Clear, b"");
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let looks = client.clone();
    reactor.call_soon(move |_| {
        looks.with_layer(|_: &Clear| panic_on_purpose());
    });
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(client.with_layer(|_: &Clear| ()), Some(()));
});

// It was never told, and with the connection that it feeds it kept itself.
on_every_driver!(a_producer_registered_after_its_reactor_is_gone_is_told_to_stop, |ground| {
    let Pair { reactor, client, .. } = pair(ground, nothing(), |_, _| {});
    drop(reactor);
    let tap = Rc::new(Tap(Log::default()));
    client.register_producer(Rc::clone(&tap) as Rc<dyn Producer>, true).unwrap();
    assert_eq!(*tap.0.borrow(), ["stop"]);
    assert_eq!(Rc::strong_count(&tap), 1);
});

// Names take time only where something resolves them: on the simulated network, which can be asked how long.
#[test]
fn an_attempt_that_waits_for_a_name_is_told_when_its_reactor_ends() {
    let world = World::new(1);
    let host = world.host("here", [[10, 0, 0, 1].into()]);
    world.set_lookup_time(Duration::from_secs(9), Duration::from_secs(9));
    let reactor = Reactor::new(host.driver());
    let ended = Rc::new(Cell::new(None));
    let (seen, log) = (Rc::clone(&ended), Log::default());
    reactor.connect_tcp("here:80", Scribe::new(&log, |_, _| {})).done(move |result| {
        seen.set(result.err().map(|error| error.cause == ConnectCause::Stopped));
    });
    let open: Vec<_> = reactor.open().iter().map(|open| open.kind).collect();
    assert!(open.contains(&"connector"), "{open:?}");
    reactor.close_all();
    assert_eq!(ended.get(), Some(true));
    assert_eq!((Rc::strong_count(&log), reactor.open().len()), (1, 0));
}
