//! How many connections a factory serves.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::protocol::from_fn;
use marline_core::{CloseReason, ConnectError, Connector, Factory, Link, Port, Reactor};
use marline_protocols::policy::Limits;

use crate::streams::kit::{Probe, Tape, attempt, connect, idle, listen, started, turn_until, word};

type Served = Rc<RefCell<Vec<Tape>>>;

/// A port with limits around it, and what was served.
fn serve(reactor: &Reactor, limits: &Limits) -> (Port, Served) {
    let served = Served::default();
    let tapes = Rc::clone(&served);
    let factory = from_fn(move |_| {
        let probe = Probe::new();
        tapes.borrow_mut().push(probe.tape());
        Some(probe)
    });
    let port = reactor.listen_tcp("127.0.0.1:0", limits.around(factory)).unwrap();
    (port, served)
}

fn loopback() -> IpAddr {
    [127, 0, 0, 1].into()
}

on_every_driver!(one_too_many_is_refused_until_another_has_ended, |ground| {
    for limits in [Limits::new().with_total(2), Limits::new().with_per_peer(2)] {
        let reactor = started(ground);
        let (port, served) = serve(&reactor, &limits);
        let to = port.local_addr();
        let first = connect(&reactor, &to, Probe::new());
        connect(&reactor, &to, Probe::new());
        turn_until(&reactor, "two", || limits.taken() == 2);
        let third = Probe::new();
        let tape = third.tape();
        attempt(&reactor, &to, third);
        turn_until(&reactor, "the refusal", || tape.is_lost());
        assert_eq!((limits.refused(), limits.taken_by(loopback())), (1, 2));
        first.transport().lose_connection();
        turn_until(&reactor, "a free place", || limits.taken() == 1);
        connect(&reactor, &to, Probe::new());
        turn_until(&reactor, "the next", || served.borrow().len() == 3);
        assert_eq!(limits.taken(), 2);
    }
});

on_every_driver!(a_place_is_freed_once_whatever_ends_the_connection, |ground| {
    let reactor = started(ground);
    let limits = Limits::new().with_total(50).with_per_peer(50);
    let (port, served) = serve(&reactor, &limits);
    for ending in ["close", "abort", "peer", "panic", "upgrade"] {
        let connection = connect(&reactor, &port.local_addr(), Probe::new());
        turn_until(&reactor, "its place", || limits.taken() == 1);
        turn_until(&reactor, "its protocol", || served.borrow().last().is_some_and(Tape::is_made));
        let server = served.borrow().last().unwrap().transport();
        match ending {
            "close" => server.lose_connection(),
            "abort" => server.abort_connection(),
            "peer" => connection.transport().abort_connection(),
            "panic" => {
                let typed = server.connection::<Probe>().unwrap();
                typed.with(|_, _| panic!("on purpose")).ignore();
            }
            _ => {
                server.upgrade(Probe::new(), b"");
                idle(&reactor);
                assert_eq!(limits.taken(), 1, "an upgrade is no end");
                server.lose_connection();
            }
        }
        turn_until(&reactor, ending, || limits.taken() == 0);
        assert_eq!(limits.taken_by(loopback()), 0);
    }
    let refusing = Limits::new().with_total(1);
    let factory = refusing.around(from_fn(|_| None::<Probe>));
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    for _ in 0..3 {
        attempt(&reactor, &port.local_addr(), Probe::new());
        idle(&reactor);
        // The factory inside refused, so that the place was free again each time.
        assert_eq!((refusing.taken(), refusing.refused()), (0, 0));
    }
});

on_every_driver!(a_limit_of_zero_lets_nobody_in_until_it_is_changed, |ground| {
    let reactor = started(ground);
    let limits = Limits::new().with_total(0);
    let (port, served) = serve(&reactor, &limits);
    attempt(&reactor, &port.local_addr(), Probe::new());
    turn_until(&reactor, "the refusal", || limits.refused() == 1);
    limits.set_total(None);
    connect(&reactor, &port.local_addr(), Probe::new());
    turn_until(&reactor, "its place", || limits.taken() == 1);
    assert_eq!(served.borrow().len(), 1);
});

on_every_driver!(those_who_are_too_many_may_be_told_so_as_far_as_there_is_room, |ground| {
    let reactor = started(ground);
    let limits = Limits::new().with_total(1);
    let factory = limits
        .around(Probe::new)
        .with_overflow(1, || Probe::new().on_made(|transport| transport.write(b"come back later")));
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    connect(&reactor, &port.local_addr(), Probe::new());
    turn_until(&reactor, "the one", || limits.taken() == 1);
    let told = Probe::new();
    let tape = told.tape();
    let second = connect(&reactor, &port.local_addr(), told);
    turn_until(&reactor, "the word", || tape.bytes() == b"come back later");
    // A third is beyond that, too.
    let third = Probe::new();
    let silent = third.tape();
    attempt(&reactor, &port.local_addr(), third);
    turn_until(&reactor, "the refusal", || silent.is_lost());
    assert_eq!((silent.received(), limits.taken(), limits.refused()), (0, 1, 2));
    second.transport().lose_connection();
    turn_until(&reactor, "its end", || tape.is_lost());
    idle(&reactor);
    let again = Probe::new();
    let tape = again.tape();
    connect(&reactor, &port.local_addr(), again);
    turn_until(&reactor, "the word again", || tape.received() == 15);
});

on_every_driver!(a_port_may_pause_instead_of_refusing, |ground| {
    let reactor = started(ground);
    let limits = Limits::new().with_total(1);
    let (port, served) = serve(&reactor, &limits);
    limits.pause_when_full(&port);
    let first = connect(&reactor, &port.local_addr(), Probe::new());
    turn_until(&reactor, "the one", || limits.taken() == 1);
    let waiting = Probe::new().on_made(|transport| transport.write(b"patience"));
    // The system lets it wait in its queue.
    reactor.connect_tcp(port.local_addr(), waiting).ignore();
    idle(&reactor);
    assert_eq!((served.borrow().len(), limits.refused()), (1, 0));
    first.transport().lose_connection();
    turn_until(&reactor, "its turn", || served.borrow().len() == 2);
    let second = served.borrow()[1].clone();
    turn_until(&reactor, "its bytes", || second.bytes() == b"patience");
    assert_eq!(limits.refused(), 0);
    // A port that stops lets go of its factory, which the limits would else hold.
    let weak = Rc::downgrade(&served);
    drop((served, second));
    port.stop_listening().ignore();
    drop(port);
    turn_until(&reactor, "the factory's end", || weak.upgrade().is_none());
});

on_every_driver!(a_pause_of_the_programs_own_outlasts_that_of_the_limits, |ground| {
    let reactor = started(ground);
    let limits = Limits::new().with_total(1);
    let (port, served) = serve(&reactor, &limits);
    let (other, _) = serve(&reactor, &limits);
    limits.pause_when_full(&port);
    limits.pause_when_full(&other);
    port.pause();
    // A connection at the other port reaches the total, and leaves again.
    let client = connect(&reactor, &other.local_addr(), Probe::new());
    turn_until(&reactor, "its place", || limits.taken() == 1);
    assert!(port.is_paused() && other.is_paused());
    client.transport().lose_connection();
    turn_until(&reactor, "a free place", || limits.taken() == 0);
    assert_eq!((port.is_paused(), other.is_paused()), (true, false));
    reactor.connect_tcp(port.local_addr(), Probe::new()).ignore();
    idle(&reactor);
    assert!(served.borrow().is_empty());
    port.resume();
    turn_until(&reactor, "its turn", || served.borrow().len() == 1);
    // And of a connection nothing but its place is the limits' concern.
    turn_until(&reactor, "its protocol", || served.borrow()[0].is_made());
    let served = served.borrow()[0].clone();
    served.transport().pause_reading();
    limits.set_total(Some(2));
    limits.set_total(Some(1));
    assert!(served.transport().is_paused() && port.is_paused());
});

/// What a factory of a connector is told.
type Notices = Rc<RefCell<Vec<&'static str>>>;

struct Dialler {
    notices: Notices,
}

impl Factory for Dialler {
    type Protocol = Probe;

    fn build_protocol(&mut self, _link: &mut Link<'_>) -> Option<Probe> {
        self.notices.borrow_mut().push("built");
        Some(Probe::new())
    }

    fn start(&mut self) {
        self.notices.borrow_mut().push("start");
    }

    fn stop(&mut self) {
        self.notices.borrow_mut().push("stop");
    }

    fn started_connecting(&mut self, _connector: &Connector) {
        self.notices.borrow_mut().push("connecting");
    }

    fn connection_failed(&mut self, _connector: &Connector, error: &ConnectError) {
        self.notices.borrow_mut().push(word(&error.cause));
    }

    fn connection_lost(&mut self, _connector: &Connector, _reason: &CloseReason) {
        self.notices.borrow_mut().push("lost");
    }
}

on_every_driver!(connections_of_clients_count_and_their_factory_hears_every_notice, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let limits = Limits::new().with_per_peer(1);
    let dial = || {
        let notices = Notices::default();
        let factory = limits.around(Dialler { notices: Rc::clone(&notices) });
        (reactor.connector_tcp(port.local_addr(), factory), notices)
    };
    let (first, heard) = dial();
    turn_until(&reactor, "the first", || limits.taken_by(loopback()) == 1);
    let (second, refused) = dial();
    turn_until(&reactor, "the refusal", || refused.borrow().last() == Some(&"stop"));
    assert_eq!((limits.taken(), limits.refused()), (1, 1));
    assert_eq!(*refused.borrow(), ["start", "connecting", "NoProtocol", "stop"]);
    first.disconnect();
    turn_until(&reactor, "the end of the first", || heard.borrow().last() == Some(&"stop"));
    assert_eq!(*heard.borrow(), ["start", "connecting", "built", "lost", "stop"]);
    assert_eq!(limits.taken(), 0);
    second.connect().unwrap();
    turn_until(&reactor, "the second", || limits.taken_by(loopback()) == 1);
    assert_eq!(refused.borrow()[4..], ["start", "connecting", "built"]);
});
