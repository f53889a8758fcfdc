//! Connecting: connectors and the notices of their factories, from inside of which everything may be begun anew; and Deferreds that are cancelled.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::{CancelHandle, Deferred};
use marline_core::protocol::Link;
use marline_core::{
    AlreadyConnecting, CloseReason, ConnectCause, ConnectError, Connection, Connector, Factory,
    NotConnecting, Turn,
};

use super::kit::{
    Outcome, Probe, Tape, connecting, idle, listen, listen_once, nobody, open_kinds, started,
    turn_until, word,
};

type Hook = Rc<RefCell<dyn FnMut(&Connector)>>;

/// A client factory that tapes its notices, and does what the check wants inside each.
#[derive(Clone)]
struct Client {
    notices: Rc<RefCell<Vec<String>>>,
    connectors: Rc<RefCell<Vec<Connector>>>,
    clients: Rc<RefCell<Vec<Tape>>>,
    refuses: bool,
    in_started: Hook,
    in_failed: Hook,
    in_lost: Hook,
}

impl Client {
    fn new() -> Self {
        let nothing: Hook = Rc::new(RefCell::new(|_: &Connector| {}));
        Self {
            notices: Rc::default(),
            connectors: Rc::default(),
            clients: Rc::default(),
            refuses: false,
            in_started: Rc::clone(&nothing),
            in_failed: Rc::clone(&nothing),
            in_lost: nothing,
        }
    }

    fn in_started(mut self, hook: impl FnMut(&Connector) + 'static) -> Self {
        self.in_started = Rc::new(RefCell::new(hook));
        self
    }

    fn in_failed(mut self, hook: impl FnMut(&Connector) + 'static) -> Self {
        self.in_failed = Rc::new(RefCell::new(hook));
        self
    }

    fn in_lost(mut self, hook: impl FnMut(&Connector) + 'static) -> Self {
        self.in_lost = Rc::new(RefCell::new(hook));
        self
    }

    fn story(&self) -> String {
        self.notices.borrow().join(" ")
    }

    fn count(&self, notice: &str) -> usize {
        self.notices.borrow().iter().filter(|known| known.starts_with(notice)).count()
    }

    fn note(&self, notice: impl Into<String>) {
        self.notices.borrow_mut().push(notice.into());
    }

    fn told(&self, notice: impl Into<String>, connector: &Connector, hook: &Hook) {
        self.note(notice);
        self.connectors.borrow_mut().push(connector.clone());
        (hook.borrow_mut())(connector);
    }
}

impl Factory for Client {
    type Protocol = Probe;

    fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
        self.note("build");
        let probe = Probe::new();
        self.clients.borrow_mut().push(probe.tape());
        (!self.refuses).then_some(probe)
    }

    fn start(&mut self) {
        self.note("start");
    }

    fn stop(&mut self) {
        self.note("stop");
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.told("connecting", connector, &self.in_started);
    }

    fn connection_failed(&mut self, connector: &Connector, error: &ConnectError) {
        assert_eq!(error.destination, connector.destination().to_string());
        self.told(format!("failed({})", word(&error.cause)), connector, &self.in_failed);
    }

    fn connection_lost(&mut self, connector: &Connector, reason: &CloseReason) {
        let clients = self.clients.borrow();
        assert!(clients.last().unwrap().is_lost(), "the protocol is told first");
        assert!(clients.last().unwrap().is_dropped());
        drop(clients);
        let clean = if reason.is_clean() { "lost" } else { "broken" };
        self.told(clean, connector, &self.in_lost);
    }
}

// 59
on_every_driver!(the_same_connector_is_in_every_notice_with_the_destination_as_asked, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, || Probe::new().on_made(|transport| transport.lose_connection()));
    let to = format!("localhost:{}", port.local_addr().port());
    let factory = Client::new();
    let connector = reactor.connector_tcp(&to, factory.clone());
    assert_eq!(factory.story(), "", "never from inside the call");
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    assert_eq!(factory.story(), "start connecting build lost stop");
    connector.connect().unwrap();
    assert_eq!(connector.connect(), Err(AlreadyConnecting));
    turn_until(&reactor, "the second end", || factory.count("stop") == 2);
    let stopped = Outcome::of(port.stop_listening());
    turn_until(&reactor, "the stop", || stopped.is_there());
    connector.connect().unwrap();
    turn_until(&reactor, "the third end", || factory.count("stop") == 3);
    assert!(
        factory.story().ends_with("start connecting failed(Refused) stop"),
        "{}",
        factory.story()
    );
    assert_eq!(connector.destination().to_string(), to);
    assert!(factory.connectors.borrow().iter().all(|other| *other == connector));
    assert!(connector.transport().is_none());
    assert_eq!(open_kinds(&reactor), [""; 0]);
});

on_every_driver!(a_connector_knows_its_connection_while_there_is_one, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new();
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    assert!(connector.transport().is_none());
    turn_until(&reactor, "the connection", || connector.transport().is_some());
    let tape = factory.clients.borrow()[0].clone();
    assert!(tape.transport().same(&connector.transport().unwrap()));
    assert_eq!(connector.connect(), Err(AlreadyConnecting));
    assert_eq!(connector.stop_connecting(), Err(NotConnecting));
    connector.disconnect();
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Done"));
    assert!(connector.transport().is_none());
    assert_eq!(connector.stop_connecting(), Err(NotConnecting));
    connector.disconnect();
    idle(&reactor);
    assert_eq!(factory.story(), "start connecting build lost stop");
});

// 60
on_every_driver!(the_loop_may_be_stopped_from_inside_the_failure_notice, |ground| {
    let reactor = ground.reactor();
    reactor.leave_signals_alone();
    let to = {
        let other = started(ground);
        nobody(&other)
    };
    let factory = Client::new().in_failed(|connector| connector.reactor().stop().unwrap());
    reactor.connector_tcp(&to, factory.clone());
    reactor.run().unwrap();
    assert_eq!(factory.story(), "start connecting failed(Refused) stop");
});

// 64
on_every_driver!(stopping_inside_the_started_notice_is_told_as_a_failure, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new().in_started(|connector| connector.stop_connecting().unwrap());
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    idle(&reactor);
    assert_eq!(factory.story(), "start connecting failed(Cancelled) stop");
    assert_eq!(connector.stop_connecting(), Err(NotConnecting));
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(stopping_before_the_attempt_has_begun_is_told_as_a_failure, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new();
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    connector.stop_connecting().unwrap();
    assert_eq!(factory.count("failed"), 0, "never from inside the call");
    turn_until(&reactor, "the failure", || factory.count("failed") > 0);
    idle(&reactor);
    assert_eq!(factory.count("failed(Cancelled)"), 1);
    assert_eq!(factory.count("build"), 0);
    assert_eq!(factory.count("start"), factory.count("stop"));
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(stopping_and_connecting_at_once_makes_one_attempt_of_each, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new();
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    connector.stop_connecting().unwrap();
    connector.connect().unwrap();
    turn_until(&reactor, "the connection", || connector.transport().is_some());
    idle(&reactor);
    assert_eq!(factory.count("failed(Cancelled)"), 1, "{}", factory.story());
    assert_eq!(factory.count("build"), 1, "{}", factory.story());
    assert!(connector.transport().is_some_and(|transport| transport.is_open()));
    // The factory is in use as long as the connection stands.
    assert!(!factory.story().ends_with("stop"), "{}", factory.story());
    connector.disconnect();
    turn_until(&reactor, "the end", || connector.transport().is_none());
    idle(&reactor);
    assert!(factory.story().ends_with("lost stop"), "{}", factory.story());
    assert_eq!(factory.count("start"), factory.count("stop"));
});

on_every_driver!(stopping_an_attempt_under_way_is_told_once, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new();
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the beginning", || factory.count("connecting") == 1);
    // On some drivers it may stand already.
    if connector.stop_connecting().is_ok() {
        assert_eq!(factory.count("failed"), 0, "never from inside the call");
        turn_until(&reactor, "the failure", || factory.count("failed") == 1);
        idle(&reactor);
        assert_eq!(factory.story(), "start connecting failed(Cancelled) stop");
        assert_eq!(open_kinds(&reactor).iter().filter(|kind| **kind == "connector").count(), 0);
    }
});

// 65
on_every_driver!(
    connecting_inside_the_lost_notice_opens_a_new_connection_and_keeps_the_factory,
    |ground| {
        let reactor = started(ground);
        let port =
            listen(&reactor, || Probe::new().on_made(|transport| transport.lose_connection()));
        let mut left = 3;
        let factory = Client::new().in_lost(move |connector| {
            left -= 1;
            if left > 0 {
                connector.connect().unwrap();
            }
        });
        reactor.connector_tcp(port.local_addr(), factory.clone());
        turn_until(&reactor, "the end", || factory.count("stop") == 1);
        idle(&reactor);
        let rounds = "connecting build lost ".repeat(3);
        assert_eq!(factory.story(), format!("start {rounds}stop"));
        for tape in factory.clients.borrow().iter() {
            assert_eq!(tape.story(), "made read_lost lost");
        }
    }
);

on_every_driver!(connecting_inside_the_failed_notice_tries_again_and_keeps_the_factory, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    let mut left = 3;
    let factory = Client::new().in_failed(move |connector| {
        left -= 1;
        if left > 0 {
            connector.connect().unwrap();
        }
    });
    reactor.connector_tcp(&to, factory.clone());
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    let rounds = "connecting failed(Refused) ".repeat(3);
    assert_eq!(factory.story(), format!("start {rounds}stop"));
});

on_every_driver!(stopping_inside_started_and_connecting_inside_failed_goes_round, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let rounds = Rc::new(Cell::new(0));
    let (stops, tries) = (Rc::clone(&rounds), Rc::clone(&rounds));
    let factory = Client::new()
        .in_started(move |connector| {
            if stops.get() < 3 {
                connector.stop_connecting().unwrap();
            }
        })
        .in_failed(move |connector| {
            tries.set(tries.get() + 1);
            connector.connect().unwrap();
        });
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the connection", || connector.transport().is_some());
    let rounds = "connecting failed(Cancelled) ".repeat(3);
    assert_eq!(factory.story(), format!("start {rounds}connecting build"));
});

// It began in the place of the one given up, whose failure was told beside its own.
on_every_driver!(an_attempt_given_up_before_it_began_is_not_taken_for_the_next, |ground| {
    let reactor = started(ground);
    let again = Cell::new(true);
    let factory = Client::new().in_failed(move |connector| {
        if again.take() {
            connector.connect().unwrap();
        }
    });
    let connector = reactor.connector_tcp("no destination", factory.clone());
    connector.stop_connecting().unwrap();
    connector.connect().unwrap();
    connector.stop_connecting().unwrap();
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    idle(&reactor);
    let rounds = "connecting failed(Cancelled) ".repeat(2);
    assert_eq!(factory.story(), format!("start {rounds}connecting failed(Address) stop"));
});

on_every_driver!(connecting_inside_the_started_notice_is_refused, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let factory = Client::new()
        .in_started(|connector| assert_eq!(connector.connect(), Err(AlreadyConnecting)));
    let connector = reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the connection", || connector.transport().is_some());
    assert_eq!(factory.story(), "start connecting build");
});

on_every_driver!(a_notice_that_panics_is_logged_and_the_connector_goes_on, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, || Probe::new().on_made(|transport| transport.lose_connection()));
    let factory = Client::new()
        .in_started(|_| panic!("in started"))
        .in_lost(|connector| {
            connector.connect().unwrap();
            connector.stop_connecting().unwrap();
            panic!("in lost");
        })
        .in_failed(|_| panic!("in failed"));
    reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the failure", || factory.count("failed") == 1);
    idle(&reactor);
    assert_eq!(factory.count("build"), 1);
    assert_eq!(factory.count("failed(Cancelled)"), 1);
    assert_eq!(open_kinds(&reactor), ["port"]);
});

// 66, decided otherwise: told as a failed attempt, not as a lost connection, for there was never a protocol.
on_every_driver!(
    a_client_factory_that_refuses_closes_gracefully_and_hears_of_a_failure,
    |ground| {
        let reactor = started(ground);
        let server = Probe::new();
        let tape = server.tape();
        let port = listen_once(&reactor, server);
        let mut factory = Client::new();
        factory.refuses = true;
        reactor.connector_tcp(port.local_addr(), factory.clone());
        turn_until(&reactor, "the end", || factory.count("stop") == 1 && tape.is_lost());
        assert_eq!(factory.story(), "start connecting build failed(NoProtocol) stop");
        assert_eq!(
            (tape.story().as_str(), tape.reason().as_str()),
            ("made read_lost lost", "Done")
        );
        assert_eq!(open_kinds(&reactor), ["port"]);
    }
);

on_every_driver!(a_client_factory_that_panics_hears_of_a_failure, |ground| {
    #[derive(Clone, Default)]
    struct Clumsy(Rc<RefCell<Vec<&'static str>>>);
    impl Factory for Clumsy {
        type Protocol = Probe;
        fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
            panic!("stumbled");
        }
        fn connection_failed(&mut self, _connector: &Connector, error: &ConnectError) {
            self.0.borrow_mut().push(word(&error.cause));
        }
    }
    let reactor = started(ground);
    let server = Probe::new();
    let tape = server.tape();
    let port = listen_once(&reactor, server);
    let factory = Clumsy::default();
    reactor.connector_tcp(port.local_addr(), factory.clone());
    turn_until(&reactor, "the failure", || !factory.0.borrow().is_empty() && tape.is_lost());
    idle(&reactor);
    assert_eq!(*factory.0.borrow(), ["NoProtocol"]);
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(each_failure_has_its_own_cause, |ground| {
    let reactor = started(ground);
    let refused = nobody(&reactor).to_string();
    // No name server has to be asked: a label has 63 letters at most.
    let unknown = format!("{}:80", "a".repeat(64));
    for (to, cause) in [
        (refused.as_str(), "Refused"),
        (unknown.as_str(), "UnknownName"),
        ("no port", "Address"),
        ("::1:80", "Address"),
        ("host:70000", "Address"),
    ] {
        let client = Probe::new();
        let tape = client.tape();
        let outcome = Outcome::of(reactor.connect_tcp(to, client));
        assert!(!outcome.is_there(), "never from inside the call");
        turn_until(&reactor, "the failure", || outcome.is_there());
        let error = outcome.take().unwrap_err();
        assert_eq!(word(&error.cause), cause, "{to}: {error}");
        assert_eq!(error.destination, to);
        assert_eq!(tape.story(), "");
        assert!(tape.is_dropped());
        let factory = Client::new();
        reactor.connector_tcp(to, factory.clone());
        turn_until(&reactor, "the end", || factory.count("stop") == 1);
        assert_eq!(factory.story(), format!("start connecting failed({cause}) stop"));
    }
    assert_eq!(open_kinds(&reactor), [""; 0]);
});

on_every_driver!(a_time_out_of_nothing_fails_and_leaves_nothing, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let options = connecting(|options| options.timeout = Some(Duration::ZERO));
    let factory = Client::new();
    // The name lookup alone takes longer, and counts.
    let to = ("localhost", port.local_addr().port());
    reactor.connector_tcp_with(to, factory.clone(), options);
    turn_until(&reactor, "the end", || factory.count("stop") == 1);
    idle(&reactor);
    assert_eq!(factory.story(), "start connecting failed(TimedOut) stop");
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(a_cancelled_attempt_gives_up_and_drops_its_protocol_unheard, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    for to in [port.local_addr().to_string(), format!("localhost:{}", port.local_addr().port())] {
        let client = Probe::new();
        let tape = client.tape();
        let deferred = reactor.connect_tcp(&to, client);
        let canceller = deferred.cancel_handle();
        let outcome = Outcome::of(deferred);
        canceller.cancel();
        turn_until(&reactor, "the failure", || outcome.is_there());
        assert_eq!(outcome.take().unwrap_err().cause, ConnectCause::Cancelled);
        idle(&reactor);
        assert_eq!(tape.story(), "");
        assert!(tape.is_dropped());
        assert!(!open_kinds(&reactor).contains(&"connector"));
    }
});

/// Filled by a check with what its protocol needs when it is told of its connection.
type Slot<T> = Rc<RefCell<Option<T>>>;

fn slot<T>() -> (Slot<T>, Slot<T>) {
    let slot = Rc::default();
    (Rc::clone(&slot), slot)
}

on_every_driver!(cancelling_inside_connection_made_aborts_the_connection, |ground| {
    let reactor = started(ground);
    let server = Probe::half_close();
    let served = server.tape();
    let port = listen_once(&reactor, server);
    let (cancels, to_cancel) = slot::<CancelHandle>();
    let (outcomes, seen) = slot::<Outcome<Connection<Probe>, ConnectError>>();
    let client = Probe::new().on_made(move |transport| {
        transport.write(b"never leaves");
        let cancel = to_cancel.take().unwrap();
        cancel.cancel();
        assert!(!transport.is_open(), "from here on it is closed");
        assert!(seen.borrow().as_ref().unwrap().is_there(), "who waits is told at once");
        transport.write(b"nor this");
        cancel.cancel();
    });
    let tape = client.tape();
    let deferred = reactor.connect_tcp(port.local_addr(), client);
    cancels.replace(Some(deferred.cancel_handle()));
    outcomes.replace(Some(Outcome::of(deferred)));
    // A server may hear nothing at all of a connection that was reset before it was accepted.
    turn_until(&reactor, "the end", || tape.is_lost() && served.is_made() == served.is_lost());
    idle(&reactor);
    assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Aborted"));
    assert!(tape.is_dropped());
    let result = outcomes.take().unwrap().take();
    assert_eq!(result.unwrap_err().cause, ConnectCause::Cancelled);
    assert_eq!(served.bytes(), b"");
    assert!(served.is_made() == served.is_lost());
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(a_task_that_ends_inside_connection_made_aborts_the_connection, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let (cancels, to_cancel) = slot::<CancelHandle>();
    let client = Probe::new().on_made(move |_| to_cancel.take().unwrap().cancel());
    let tape = client.tape();
    let deferred = reactor.connect_tcp(port.local_addr(), client);
    let task = reactor.spawn(async move {
        let connection = deferred.await;
        unreachable!("it was cancelled: {connection:?}");
    });
    cancels.replace(Some(task.cancel_handle()));
    task.map(|()| ()).ignore();
    turn_until(&reactor, "the end", || tape.is_lost());
    idle(&reactor);
    assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Aborted"));
    assert_eq!(open_kinds(&reactor), ["port"]);
});

on_every_driver!(dropping_the_deferred_inside_connection_made_changes_nothing, |ground| {
    let reactor = started(ground);
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let port = listen_once(&reactor, server);
    let (deferreds, to_drop) = slot::<Deferred<Connection<Probe>, ConnectError>>();
    let client = Probe::new().on_made(move |transport| {
        drop(to_drop.take().unwrap());
        assert!(transport.is_open());
        transport.write(b"on it goes");
    });
    let tape = client.tape();
    deferreds.replace(Some(reactor.connect_tcp(port.local_addr(), client)));
    turn_until(&reactor, "the echo", || tape.received() == 10);
    idle(&reactor);
    assert_eq!(tape.story(), "made data");
    assert!(tape.transport().is_open());
    tape.transport().lose_connection();
    turn_until(&reactor, "the end", || tape.is_lost());
    assert_eq!(tape.reason(), "Done");
});

// Whoever is to get the connection still gets it: from then on it is his to end.
on_every_driver!(cancelling_after_connection_made_does_nothing, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    // The result is there, but held back.
    let client = Probe::new();
    let held = client.tape();
    let mut deferred = reactor.connect_tcp(port.local_addr(), client);
    let hold = deferred.hold();
    let cancel = deferred.cancel_handle();
    let outcome = Outcome::of(deferred);
    turn_until(&reactor, "the connection", || held.is_made());
    cancel.cancel();
    idle(&reactor);
    assert!(!outcome.is_there());
    hold.release();
    let connection = outcome.take().unwrap();
    assert!(connection.transport().is_open());
    // The first of its steps runs.
    let client = Probe::new();
    let told = client.tape();
    let (cancels, to_cancel) = slot::<CancelHandle>();
    let deferred = reactor.connect_tcp(port.local_addr(), client).map(move |connection| {
        to_cancel.take().unwrap().cancel();
        connection
    });
    cancels.replace(Some(deferred.cancel_handle()));
    let outcome = Outcome::of(deferred);
    turn_until(&reactor, "the result", || outcome.is_there());
    idle(&reactor);
    assert!(outcome.take().unwrap().transport().is_open());
    assert_eq!((held.story().as_str(), told.story().as_str()), ("made", "made"));
});

on_every_driver!(the_deferred_fires_after_connection_made, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let client = Probe::new();
    let (tape, fired) = (client.tape(), Rc::new(Cell::new(None)));
    let (made, flag) = (client.tape(), Rc::clone(&fired));
    reactor.connect_tcp(port.local_addr(), client).done(move |result| {
        flag.set(Some(made.is_made()));
        assert!(result.unwrap().transport().same(&made.transport()));
    });
    turn_until(&reactor, "the result", || fired.get().is_some());
    assert_eq!((fired.get(), tape.story().as_str()), (Some(true), "made"));
});

on_every_driver!(a_connection_lost_inside_connection_made_is_still_told_as_made, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let client = Probe::new().on_made(|transport| transport.abort_connection());
    let tape = client.tape();
    let outcome = Outcome::of(reactor.connect_tcp(port.local_addr(), client));
    turn_until(&reactor, "the result", || outcome.is_there() && tape.is_lost());
    let connection = outcome.take().unwrap();
    assert!(connection.try_with(|_, _| ()).is_err());
    assert_eq!(tape.story(), "made lost");
    // And to a connector's factory as a lost connection, not as a failed attempt.
    let aborting = Rc::new(RefCell::new(Vec::new()));
    let notices = Rc::clone(&aborting);
    struct Aborting(Rc<RefCell<Vec<&'static str>>>);
    impl Factory for Aborting {
        type Protocol = Probe;
        fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
            Some(Probe::new().on_made(|transport| transport.abort_connection()))
        }
        fn connection_lost(&mut self, connector: &Connector, reason: &CloseReason) {
            assert!(matches!(reason, CloseReason::Aborted));
            assert!(connector.transport().is_none());
            self.0.borrow_mut().push("lost");
        }
        fn connection_failed(&mut self, _connector: &Connector, _error: &ConnectError) {
            self.0.borrow_mut().push("failed");
        }
    }
    let connector = reactor.connector_tcp(port.local_addr(), Aborting(notices));
    turn_until(&reactor, "the notice", || !aborting.borrow().is_empty());
    idle(&reactor);
    assert_eq!(*aborting.borrow(), ["lost"]);
    connector.connect().unwrap();
});

on_every_driver!(attempts_under_way_fail_when_the_reactor_stops, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    // By address and by name: at different points of their way.
    for to in [port.local_addr().to_string(), format!("localhost:{}", port.local_addr().port())] {
        let reactor = started(ground);
        let factory = Client::new();
        reactor.connector_tcp(&to, factory.clone());
        let outcome = Outcome::of(reactor.connect_tcp(&to, Probe::new()));
        reactor.call_soon(|reactor| {
            // The same turn: nothing can have been reported yet.
            reactor.stop().unwrap();
        });
        while reactor.turn(None).unwrap() == Turn::Continue {}
        assert_eq!(factory.story(), "start connecting failed(Stopped) stop", "to {to}");
        assert_eq!(outcome.take().unwrap_err().cause, ConnectCause::Stopped);
        assert_eq!(open_kinds(&reactor), [""; 0]);
    }
});

on_every_driver!(a_reactor_dropped_while_a_name_is_looked_up_drops_the_factory, |ground| {
    let reactor = started(ground);
    let factory = Client::new();
    reactor.connector_tcp("localhost:9", factory.clone());
    turn_until(&reactor, "the beginning", || factory.count("connecting") == 1);
    // The handles it notes would keep it: those of before the end, and that of the end.
    factory.connectors.borrow_mut().clear();
    drop(reactor);
    factory.connectors.borrow_mut().clear();
    assert_eq!(Rc::strong_count(&factory.notices), 1, "the factory is still there");
});

on_every_driver!(
    a_connector_that_outlives_its_reactor_begins_nothing_and_is_held_by_nothing,
    |ground| {
        let reactor = started(ground);
        let factory = Client::new();
        let connector = reactor.connector_tcp(nobody(&reactor), factory.clone());
        turn_until(&reactor, "the failure", || factory.count("stop") == 1);
        factory.connectors.borrow_mut().clear();
        drop(reactor);
        for _ in 0..2 {
            connector.connect().unwrap();
        }
        assert_eq!(connector.stop_connecting(), Err(NotConnecting));
        connector.disconnect();
        assert_eq!(factory.story(), "start connecting failed(Refused) stop");
        drop(connector);
        assert_eq!(Rc::strong_count(&factory.notices), 1, "the factory is still there");
    }
);

// A connector's notices, and transports, can give away handles on a reactor that has none left of its own.
on_every_driver!(nothing_connects_on_a_reactor_that_is_gone, |ground| {
    let reactor = started(ground);
    let factory = Client::new();
    let connector = reactor.connector_tcp(nobody(&reactor), factory.clone());
    drop(reactor);
    let gone = connector.reactor();
    factory.connectors.borrow_mut().clear();
    let before = factory.story();
    let client = Probe::new();
    let tape = client.tape();
    let result = gone.connect_tcp("127.0.0.1:1", client).try_take().unwrap();
    assert_eq!(result.unwrap_err().cause, ConnectCause::Stopped);
    assert_eq!(tape.story(), "");
    assert!(tape.is_dropped());
    let other = gone.connector_tcp("127.0.0.1:1", factory.clone());
    assert_eq!(factory.story(), before);
    assert_eq!(open_kinds(&gone), [""; 0]);
    drop((gone, connector, other));
    assert_eq!(Rc::strong_count(&factory.notices), 1, "the factory is still there");
});

/// Connects again whatever happens.
struct Stubborn;

impl Factory for Stubborn {
    type Protocol = Probe;

    fn build_protocol(&mut self, _: &mut Link<'_>) -> Option<Probe> {
        Some(Probe::new())
    }

    fn connection_failed(&mut self, connector: &Connector, _: &ConnectError) {
        let _ = connector.connect();
    }

    fn connection_lost(&mut self, connector: &Connector, _: &CloseReason) {
        let _ = connector.connect();
    }
}

on_every_driver!(a_factory_that_always_connects_again_keeps_no_reactor_from_its_end, |ground| {
    for close in [false, true] {
        let reactor = started(ground);
        let port = listen(&reactor, Probe::new);
        let connector = reactor.connector_tcp(port.local_addr(), Stubborn);
        // One that fails at once goes round without keeping the loop from all else. (Virtual time stands still as long as there is something to do.)
        if !ground.is_simulated() {
            reactor.connector_tcp("no destination", Stubborn);
        }
        turn_until(&reactor, "the connection", || connector.transport().is_some());
        if close {
            reactor.close_all();
        } else {
            reactor.stop().unwrap();
            while reactor.turn(None).unwrap() == Turn::Continue {}
        }
        assert!(connector.transport().is_none());
    }
});
