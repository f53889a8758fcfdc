//! Stop and crash, called from every callback there is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::deferred::Deferred;
use marline_core::flow::Producer;
use marline_core::protocol::Link;
use marline_core::{CloseReason, ConnectError, Connector, Factory, Reactor, Transport};

use crate::streams::kit::{Probe, Tape, open_kinds};

/// Every kind of callback that the program below comes through.
const PLACES: [&str; 24] = [
    "call_soon",
    "timer",
    "with",
    "deferred with",
    "then",
    "factory start",
    "build",
    "made",
    "data",
    "read_lost",
    "write_lost",
    "writable",
    "lost",
    "producer resume",
    "producer stop",
    "connecting",
    "client build",
    "client made",
    "client data",
    "connected",
    "client lost",
    "connection_lost",
    "connection_failed",
    "client stop",
];

/// Acts where it is told to, once.
struct Trap {
    place: &'static str,
    act: fn(&Reactor),
    sprung: Cell<bool>,
    tapes: RefCell<Vec<Tape>>,
}

impl Trap {
    fn at(&self, place: &str, reactor: &Reactor) {
        if self.place == place && !self.sprung.replace(true) {
            (self.act)(reactor);
        }
    }

    fn probe(self: &Rc<Self>) -> Probe {
        let probe = Probe::new();
        self.tapes.borrow_mut().push(probe.tape());
        probe
    }

    /// What to do in a callback: the trap, and then that.
    fn hook(
        self: &Rc<Self>,
        place: &'static str,
        then: fn(&Transport),
    ) -> impl FnMut(&Transport) + use<> {
        let trap = Rc::clone(self);
        move |transport| {
            trap.at(place, &transport.reactor().unwrap());
            then(transport);
        }
    }
}

struct Pull {
    trap: Rc<Trap>,
    reactor: Reactor,
}

impl Producer for Pull {
    fn resume_producing(&self) {
        self.trap.at("producer resume", &self.reactor);
    }

    fn stop_producing(&self) {
        self.trap.at("producer stop", &self.reactor);
    }
}

struct Server(Rc<Trap>, Reactor);

impl Factory for Server {
    type Protocol = Probe;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<Probe> {
        let trap = &self.0;
        trap.at("build", link.reactor());
        let data = Rc::clone(trap);
        let probe = trap
            .probe()
            .on_made(trap.hook("made", |transport| transport.notify_writable()))
            .on_data(move |transport, bytes| {
                data.at("data", &transport.reactor().unwrap());
                transport.write(bytes);
            })
            .on_writable(trap.hook("writable", |_| {}))
            .on_read_lost(trap.hook("read_lost", |transport| transport.lose_write_connection()))
            .on_write_lost(trap.hook("write_lost", |_| {}))
            .on_lost(trap.hook("lost", |_| {}));
        Some(probe)
    }

    fn start(&mut self) {
        self.0.at("factory start", &self.1);
    }
}

struct Client(Rc<Trap>, Reactor);

impl Factory for Client {
    type Protocol = Probe;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<Probe> {
        let trap = &self.0;
        trap.at("client build", link.reactor());
        let (data, producer) = (Rc::clone(trap), Rc::clone(trap));
        let mut made = trap.hook("client made", |_| {});
        let probe = trap
            .probe()
            .on_made(move |transport| {
                made(transport);
                let reactor = transport.reactor().unwrap();
                let pull = Rc::new(Pull { trap: Rc::clone(&producer), reactor });
                transport.register_producer(pull, false).unwrap();
                transport.write(b"ping");
            })
            .on_data(move |transport, _| {
                let reactor = transport.reactor().unwrap();
                data.at("client data", &reactor);
                let connection = transport.connection::<Probe>().unwrap();
                let (with, then) = (Rc::clone(&data), Rc::clone(&data));
                connection
                    .with(move |_, transport| {
                        with.at("deferred with", &transport.reactor().unwrap())
                    })
                    .ignore();
                transport.then(Deferred::<()>::ready(()), move |_: &mut Probe, _, transport| {
                    then.at("then", &transport.reactor().unwrap());
                });
                let with = Rc::clone(&data);
                reactor.call_soon(move |_| {
                    connection
                        .with(move |_, transport| with.at("with", &transport.reactor().unwrap()))
                        .ignore();
                });
                let transport = transport.clone();
                reactor.call_later(Duration::from_millis(1), move |_| {
                    transport.unregister_producer();
                    transport.lose_write_connection();
                });
            })
            .on_lost(trap.hook("client lost", |_| {}));
        Some(probe)
    }

    fn stop(&mut self) {
        self.0.at("client stop", &self.1);
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.0.at("connecting", &connector.reactor());
    }

    fn connection_failed(&mut self, connector: &Connector, _error: &ConnectError) {
        self.0.at("connection_failed", &connector.reactor());
    }

    fn connection_lost(&mut self, connector: &Connector, _reason: &CloseReason) {
        self.0.at("connection_lost", &connector.reactor());
    }
}

/// A program that comes through all those places, and acts in one of them.
fn run(ground: Ground, place: &'static str, act: fn(&Reactor)) -> (Reactor, Rc<Trap>) {
    let reactor = ground.reactor();
    reactor.leave_signals_alone();
    let trap = Rc::new(Trap { place, act, sprung: Cell::new(false), tapes: RefCell::default() });
    let port =
        reactor.listen_tcp("127.0.0.1:0", Server(Rc::clone(&trap), reactor.clone())).unwrap();
    let to = port.local_addr();
    let (soon, timer) = (Rc::clone(&trap), Rc::clone(&trap));
    reactor.call_soon(move |reactor| soon.at("call_soon", reactor));
    reactor.call_later(Duration::from_millis(1), move |reactor| timer.at("timer", reactor));
    reactor.connector_tcp(&to, Client(Rc::clone(&trap), reactor.clone()));
    // One that fails, one with a Deferred, and one whose producer is stopped.
    reactor.connector_tcp("no address", Client(Rc::clone(&trap), reactor.clone()));
    let (connected, again) = (Rc::clone(&trap), reactor.clone());
    let producer = Rc::clone(&trap);
    let probe = trap.probe().on_made(move |transport| {
        let reactor = transport.reactor().unwrap();
        let pull = Rc::new(Pull { trap: Rc::clone(&producer), reactor });
        transport.register_producer(pull, true).unwrap();
        transport.abort_connection();
    });
    reactor.connect_tcp(&to, probe).done(move |_| connected.at("connected", &again));
    reactor.run().unwrap();
    assert!(trap.sprung.get(), "never came through {place}");
    (reactor, trap)
}

on_every_driver!(a_stop_from_any_callback_ends_the_run_and_tells_everybody_once, |ground| {
    for place in PLACES {
        let (reactor, trap) = run(ground, place, |reactor| reactor.stop().unwrap());
        assert!(!reactor.is_running());
        assert_eq!(open_kinds(&reactor), [""; 0], "after a stop in {place}");
        for tape in trap.tapes.borrow().iter() {
            tape.assert_in_order();
            assert_eq!(tape.is_made(), tape.is_lost(), "{place}: {}", tape.story());
            assert!(tape.is_dropped(), "{place}: {}", tape.story());
        }
    }
});

on_every_driver!(a_crash_from_any_callback_leaves_everything_for_the_next_run, |ground| {
    for place in PLACES {
        let (reactor, trap) = run(ground, place, Reactor::crash);
        assert!(!reactor.is_running());
        // Nobody was told of it.
        for tape in trap.tapes.borrow().iter() {
            tape.assert_in_order();
            assert!(!tape.is_lost() || tape.reason() != "Stopped", "{place}: {}", tape.story());
        }
        let stop = reactor.clone();
        reactor.call_later(Duration::from_millis(100), move |_| stop.stop().unwrap());
        reactor.run().unwrap();
        // What was under way has come to its ordinary end.
        let tapes = trap.tapes.borrow();
        assert!(tapes.len() >= 3, "{place}: only {} protocols", tapes.len());
        for tape in tapes.iter() {
            tape.assert_in_order();
            assert_eq!(tape.is_made(), tape.is_lost(), "{place}: {}", tape.story());
        }
        let told = tapes.iter().filter(|tape| tape.is_lost() && tape.reason() == "Stopped").count();
        assert_eq!(told, 0, "{place}: connections that did not end by themselves");
        assert_eq!(open_kinds(&reactor), [""; 0], "after a crash in {place}");
    }
});

on_every_driver!(a_second_stop_from_the_same_callback_is_refused, |ground| {
    for place in ["made", "data", "timer", "connecting", "build"] {
        run(ground, place, |reactor| {
            reactor.stop().unwrap();
            assert!(reactor.stop().is_err());
        });
    }
});
