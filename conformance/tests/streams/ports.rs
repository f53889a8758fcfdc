//! Listening ports: start and stop, the notices of factories, refusals, backlog and sharing.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::protocol::{Link, from_fn, shared};
use marline_core::{ConnectCause, Factory};

use super::kit::{
    Ends, Outcome, Probe, Tape, attempt, connect, connecting, idle, listen, listening, open_kinds,
    started, turn_until,
};

/// A factory that counts.
#[derive(Clone, Default)]
struct Counted {
    starts: Rc<Cell<u32>>,
    stops: Rc<Cell<u32>>,
    built: Rc<RefCell<Vec<Tape>>>,
    panics_in_stop: Rc<Cell<bool>>,
}

impl Counted {
    fn counts(&self) -> (u32, u32) {
        (self.starts.get(), self.stops.get())
    }
}

impl Factory for Counted {
    type Protocol = Probe;

    fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
        assert!(self.starts.get() > self.stops.get(), "a protocol of a factory not in use");
        let probe = Probe::new();
        self.built.borrow_mut().push(probe.tape());
        Some(probe)
    }

    fn start(&mut self) {
        self.starts.set(self.starts.get() + 1);
    }

    fn stop(&mut self) {
        self.stops.set(self.stops.get() + 1);
        assert!(!self.panics_in_stop.get(), "no way to stop this");
    }
}

on_every_driver!(a_port_can_be_stopped_and_started_again, |ground| {
    let reactor = started(ground);
    let factory = Counted::default();
    let port = reactor.listen_tcp("127.0.0.1:0", factory.clone()).unwrap();
    for round in 1..=3 {
        assert!(port.is_listening());
        let to = port.local_addr();
        connect(&reactor, &to, Probe::new());
        turn_until(&reactor, "the server", || factory.built.borrow().len() == round as usize);
        assert_eq!(factory.counts(), (round, round - 1));
        let stopped = Outcome::of(port.stop_listening());
        assert!(!port.is_listening());
        turn_until(&reactor, "the stop", || stopped.is_there());
        stopped.take().unwrap();
        assert_eq!(factory.counts(), (round, round));
        let refused = Outcome::of(reactor.connect_tcp(&to, Probe::new()));
        turn_until(&reactor, "the refusal", || refused.is_there());
        assert_eq!(refused.take().unwrap_err().cause, ConnectCause::Refused);
        port.start_listening().unwrap();
        port.start_listening().unwrap();
    }
});

on_every_driver!(connections_accepted_before_outlive_their_port, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let stopped = Outcome::of(ends.port.stop_listening());
    ends.until("the stop", |_| stopped.is_there());
    ends.client.transport().write(b"still here");
    ends.until("the bytes", |ends| ends.server.received() == 10);
    assert_eq!(open_kinds(&ends.reactor), ["connection", "connection"]);
});

on_every_driver!(stopping_twice_tells_the_factory_once_and_answers_twice, |ground| {
    let reactor = started(ground);
    let factory = Counted::default();
    let port = reactor.listen_tcp("127.0.0.1:0", factory.clone()).unwrap();
    idle(&reactor);
    let first = Outcome::of(port.stop_listening());
    let second = Outcome::of(port.stop_listening());
    assert!(!first.is_there() && !second.is_there());
    turn_until(&reactor, "both answers", || first.is_there() && second.is_there());
    first.take().unwrap();
    second.take().unwrap();
    assert_eq!(factory.counts(), (1, 1));
    let third = Outcome::of(port.stop_listening());
    turn_until(&reactor, "the third answer", || third.is_there());
    third.take().unwrap();
    assert_eq!(factory.counts(), (1, 1));
});

on_every_driver!(a_port_can_be_started_again_before_its_stop_was_told, |ground| {
    let reactor = started(ground);
    let factory = Counted::default();
    let port = reactor.listen_tcp("127.0.0.1:0", factory.clone()).unwrap();
    idle(&reactor);
    let stopped = Outcome::of(port.stop_listening());
    port.start_listening().unwrap();
    assert!(port.is_listening());
    turn_until(&reactor, "the stop", || stopped.is_there());
    idle(&reactor);
    assert!(port.is_listening());
    assert_eq!(factory.counts(), (2, 1));
    connect(&reactor, &port.local_addr(), Probe::new());
    turn_until(&reactor, "the server", || factory.built.borrow().len() == 1);
});

// 79: closing cannot fail here, but the factory's part in it can.
on_every_driver!(a_stop_whose_factory_panics_fails_and_the_port_can_be_started_again, |ground| {
    let reactor = started(ground);
    let factory = Counted::default();
    factory.panics_in_stop.set(true);
    let port = reactor.listen_tcp("127.0.0.1:0", factory.clone()).unwrap();
    idle(&reactor);
    let stopped = Outcome::of(port.stop_listening());
    turn_until(&reactor, "the answer", || stopped.is_there());
    let failure = stopped.take().unwrap_err();
    assert!(failure.to_string().contains("no way to stop this"), "{failure}");
    assert!(!port.is_listening());
    assert_eq!(open_kinds(&reactor), [""; 0]);
    port.start_listening().unwrap();
    connect(&reactor, &port.local_addr(), Probe::new());
    assert_eq!(factory.counts(), (2, 1));
});

on_every_driver!(a_port_can_be_stopped_from_inside_what_it_built, |ground| {
    let reactor = started(ground);
    let port: Rc<RefCell<Option<marline_core::Port>>> = Rc::default();
    let handle = Rc::clone(&port);
    let stops = Rc::new(Cell::new(0));
    let count = Rc::clone(&stops);
    let factory = from_fn(move |_| {
        let count = Rc::clone(&count);
        let port = handle.borrow().clone().unwrap();
        port.stop_listening().done(move |_| count.set(count.get() + 1));
        Some(Probe::new())
    });
    *port.borrow_mut() = Some(reactor.listen_tcp("127.0.0.1:0", factory).unwrap());
    let to = port.borrow().as_ref().unwrap().local_addr();
    let client = Probe::new();
    let tape = client.tape();
    connect(&reactor, &to, client);
    turn_until(&reactor, "the stop", || stops.get() == 1);
    idle(&reactor);
    assert_eq!(tape.story(), "made", "the connection that was being built lives on");
    assert_eq!(open_kinds(&reactor), ["connection", "connection"]);
    port.take();
});

on_every_driver!(a_shared_factory_starts_with_its_first_port_and_stops_with_its_last, |ground| {
    let reactor = started(ground);
    let counted = Counted::default();
    let factory = shared(counted.clone());
    let first = reactor.listen_tcp("127.0.0.1:0", factory.clone()).unwrap();
    let second = reactor.listen_tcp("[::1]:0", factory.clone()).unwrap();
    idle(&reactor);
    assert_eq!(counted.counts(), (1, 0));
    connect(&reactor, &second.local_addr(), Probe::new());
    connect(&reactor, &first.local_addr(), Probe::new());
    turn_until(&reactor, "both servers", || counted.built.borrow().len() == 2);
    // A connector uses it as well.
    let sink = listen(&reactor, Probe::new);
    let connector = reactor.connector_tcp(sink.local_addr(), factory);
    turn_until(&reactor, "the client", || counted.built.borrow().len() == 3);
    for port in [first, second] {
        let stopped = Outcome::of(port.stop_listening());
        turn_until(&reactor, "the stop", || stopped.is_there());
        assert_eq!(counted.counts(), (1, 0));
    }
    connector.disconnect();
    turn_until(&reactor, "the last one's end", || counted.counts() == (1, 1));
});

on_every_driver!(an_address_in_use_is_refused_at_once_and_nothing_was_started, |ground| {
    let reactor = started(ground);
    let taken = listen(&reactor, Probe::new).local_addr();
    let factory = Counted::default();
    let error = reactor.listen_tcp(&taken, factory.clone()).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.address, taken.to_string());
    assert!(error.to_string().contains(&taken.to_string()));
    idle(&reactor);
    assert_eq!(factory.counts(), (0, 0));
    assert_eq!(open_kinds(&reactor), ["port"]);
    for name in ["example.org:80", "127.0.0.1", "127.0.0.1:http", ""] {
        let error = reactor.listen_tcp(name, Probe::new).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::InvalidInput, "{name}");
    }
});

on_every_driver!(ports_that_all_say_so_share_an_address, |ground| {
    let reactor = started(ground);
    let options = listening(|options| options.reuse_port = true);
    let (first, second) = (Counted::default(), Counted::default());
    let one = reactor.listen_tcp_with("127.0.0.1:0", first.clone(), options.clone()).unwrap();
    let addr = one.local_addr();
    assert!(reactor.listen_tcp(&addr, Probe::new).is_err(), "this one did not say so");
    let two = reactor.listen_tcp_with(&addr, second.clone(), options).unwrap();
    assert_eq!(two.local_addr(), addr);
    // However they are shared out, each is taken by one of them.
    for _ in 0..20 {
        connect(&reactor, &addr, Probe::new());
    }
    let built = |factory: &Counted| factory.built.borrow().len();
    turn_until(&reactor, "twenty servers", || built(&first) + built(&second) == 20);
    // And all by the one that is left.
    let stopped = Outcome::of(one.stop_listening());
    turn_until(&reactor, "the stop", || stopped.is_there());
    let before = built(&second);
    for _ in 0..5 {
        connect(&reactor, &addr, Probe::new());
    }
    turn_until(&reactor, "five more", || built(&second) == before + 5);
});

on_every_driver!(a_paused_port_lets_clients_wait_as_far_as_the_backlog_goes, |ground| {
    let reactor = started(ground);
    let options = listening(|options| options.backlog = 1);
    let factory = Counted::default();
    let port = reactor.listen_tcp_with("127.0.0.1:0", factory.clone(), options).unwrap();
    port.pause();
    let clients: Vec<_> =
        (0..4).map(|_| Outcome::of(reactor.connect_tcp(port.local_addr(), Probe::new()))).collect();
    turn_until(&reactor, "the first to be let in", || clients[0].is_there());
    idle(&reactor);
    let waiting = clients.iter().filter(|client| client.is_there()).count();
    assert!((1..=2).contains(&waiting), "Linux lets one more in than asked; here came {waiting}");
    assert_eq!(factory.built.borrow().len(), 0);
    port.resume();
    turn_until(&reactor, "all of them", || clients.iter().all(Outcome::is_there));
    turn_until(&reactor, "all servers", || factory.built.borrow().len() == 4);
    for client in clients {
        client.take().unwrap();
    }
});

on_every_driver!(an_attempt_that_nobody_answers_times_out, |ground| {
    let reactor = started(ground);
    let options = listening(|options| options.backlog = 1);
    let port = reactor.listen_tcp_with("127.0.0.1:0", Counted::default(), options).unwrap();
    port.pause();
    // Fills the queue of the port: the rest are not answered.
    let fillers: Vec<_> =
        (0..4).map(|_| Outcome::of(reactor.connect_tcp(port.local_addr(), Probe::new()))).collect();
    turn_until(&reactor, "the first to be let in", || fillers[0].is_there());
    idle(&reactor);
    let late = Probe::new();
    let tape = late.tape();
    let options = connecting(|options| options.timeout = Some(Duration::from_millis(30)));
    let begin = reactor.now();
    let outcome = Outcome::of(reactor.connect_tcp_with(port.local_addr(), late, options));
    turn_until(&reactor, "the time-out", || outcome.is_there());
    assert_eq!(outcome.take().unwrap_err().cause, ConnectCause::TimedOut);
    assert!(reactor.now().since(begin) >= Duration::from_millis(30));
    assert_eq!(tape.story(), "");
    assert!(tape.is_dropped());
    assert!(!open_kinds(&reactor).is_empty(), "the port and its clients");
});

on_every_driver!(a_factory_that_refuses_has_the_connection_closed_and_the_port_goes_on, |ground| {
    let reactor = started(ground);
    let mut calls = 0;
    let factory = from_fn(move |_| {
        calls += 1;
        (calls % 2 == 0).then(Probe::new)
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let [refused, served] = [Probe::new(), Probe::new()].map(|probe| {
        let tape = probe.tape();
        connect(&reactor, &port.local_addr(), probe);
        tape
    });
    turn_until(&reactor, "the refusal", || refused.is_lost());
    idle(&reactor);
    assert_eq!(refused.story(), "made read_lost lost");
    assert_eq!(refused.reason(), "Done");
    assert_eq!(served.story(), "made");
});

on_every_driver!(a_factory_that_panics_has_that_connection_reset_and_the_port_goes_on, |ground| {
    let reactor = started(ground);
    let mut calls = 0;
    let factory = from_fn(move |_| {
        calls += 1;
        assert!(calls != 1, "not yet ready");
        Some(Probe::new())
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let [refused, served] = [Probe::new(), Probe::new()].map(|probe| {
        let tape = probe.tape();
        attempt(&reactor, &port.local_addr(), probe);
        tape
    });
    turn_until(&reactor, "the reset", || refused.is_dropped());
    idle(&reactor);
    if refused.is_made() {
        assert_eq!(refused.story(), "made lost");
        assert_eq!(refused.reason(), "Lost(ConnectionReset)");
    }
    assert_eq!(served.story(), "made");
});

on_every_driver!(a_factory_that_panics_in_start_is_logged_and_the_port_goes_on, |ground| {
    struct Clumsy;
    impl Factory for Clumsy {
        type Protocol = Probe;
        fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
            Some(Probe::new())
        }
        fn start(&mut self) {
            panic!("stumbled");
        }
    }
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", Clumsy).unwrap();
    let client = Probe::new();
    let tape = client.tape();
    connect(&reactor, &port.local_addr(), client);
    idle(&reactor);
    assert_eq!(tape.story(), "made");
});

on_every_driver!(a_port_that_outlives_its_reactor_stays_closed_and_is_held_by_nothing, |ground| {
    let reactor = started(ground);
    let token = Rc::new(());
    let factory = Rc::clone(&token);
    let port = listen(&reactor, move || {
        let _token = &factory;
        Probe::new()
    });
    turn_until(&reactor, "a turn", || true);
    drop(reactor);
    assert!(!port.is_listening());
    let error = port.start_listening().unwrap_err();
    assert_eq!(error.address, "127.0.0.1:0");
    assert!(!port.is_listening());
    port.pause();
    port.resume();
    assert!(port.stop_listening().is_ready());
    drop(port);
    assert_eq!(Rc::strong_count(&token), 1, "the factory is still there");
});
