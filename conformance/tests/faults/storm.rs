//! Thousands of connections opened and dropped at random while timers fire: nothing leaks, and every protocol hears its end exactly once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{CloseReason, Protocol, Reactor, Rng, Transport};

use super::in_child;
use crate::streams::kit::{listen, started, turn_until};

/// What all connections of a storm count together.
#[derive(Default)]
struct Counts {
    begun: Cell<u32>,
    failed: Cell<u32>,
    built: Cell<u32>,
    made: Cell<u32>,
    lost: Cell<u32>,
    dropped: Cell<u32>,
    timers: Cell<u32>,
    wrong: RefCell<Vec<&'static str>>,
}

fn add(count: &Cell<u32>) {
    count.set(count.get() + 1);
}

/// A protocol that does anything at any moment.
struct Random {
    counts: Rc<Counts>,
    rng: Rc<RefCell<Rng>>,
    state: u8,
}

impl Random {
    fn new(counts: &Rc<Counts>, rng: &Rc<RefCell<Rng>>) -> Self {
        add(&counts.built);
        Self { counts: Rc::clone(counts), rng: Rc::clone(rng), state: 0 }
    }

    fn draw(&self, n: u64) -> u64 {
        self.rng.borrow_mut().below(n)
    }

    fn wrong(&self, what: &'static str) {
        self.counts.wrong.borrow_mut().push(what);
    }

    fn act(&self, transport: &Transport) {
        if self.state != 1 {
            self.wrong("a callback before the first or after the last");
        }
        match self.draw(16) {
            0..4 => transport.write(&[1; 300]),
            4 => transport.write(&vec![2; 100_000]),
            5 => transport.lose_connection(),
            6 => transport.abort_connection(),
            7 => transport.lose_write_connection(),
            8 => {
                transport.pause_reading();
                self.later(transport, |transport| transport.resume_reading());
            }
            9 => transport.unread(b"again"),
            10 => transport.notify_writable(),
            11 => {
                let next = Self::new(&self.counts, &self.rng);
                transport.upgrade(next, b"rest");
            }
            12 => self.later(transport, |transport| transport.abort_connection()),
            13 => self.later(transport, |transport| transport.write(b"from a timer")),
            _ => self.later(transport, |transport| transport.lose_connection()),
        }
    }

    fn later(&self, transport: &Transport, f: impl FnOnce(&Transport) + 'static) {
        let (transport, counts) = (transport.clone(), Rc::clone(&self.counts));
        let reactor = transport.reactor().unwrap();
        add(&counts.timers);
        reactor.call_later(Duration::from_micros(self.draw(3000)), move |_| {
            counts.timers.set(counts.timers.get() - 1);
            f(&transport);
        });
    }
}

impl Protocol for Random {
    fn connection_made(&mut self, transport: &Transport) {
        if self.state != 0 {
            self.wrong("made twice");
        }
        self.state = 1;
        add(&self.counts.made);
        // It ends at last, whatever else happens.
        self.later(transport, |transport| {
            let again = transport.clone();
            transport.lose_connection();
            transport.reactor().unwrap().call_later(Duration::from_millis(20), move |_| {
                again.abort_connection();
            });
        });
        self.act(transport);
    }

    fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
        self.act(transport);
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.act(transport);
    }

    fn write_connection_lost(&mut self, transport: &Transport) {
        self.act(transport);
    }

    fn writable(&mut self, transport: &Transport) {
        self.act(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, _reason: &CloseReason) {
        self.act(transport);
        self.state = 2;
        add(&self.counts.lost);
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if self.state == 1 {
            self.wrong("dropped before its end was told");
        }
        add(&self.counts.dropped);
    }
}

/// Keeps some connections open at a time until so many were begun.
fn go_on(
    reactor: &Reactor,
    to: marline_core::Addr,
    counts: Rc<Counts>,
    rng: Rc<RefCell<Rng>>,
    most: u32,
) {
    if counts.begun.get() == most {
        return;
    }
    add(&counts.begun);
    let client = Random::new(&counts, &rng);
    let again = reactor.clone();
    let deferred = reactor.connect_tcp(&to, client);
    if rng.borrow_mut().chance(0.05) {
        deferred.cancel();
    }
    deferred.done(move |result| {
        if result.is_err() {
            add(&counts.failed);
        }
        let delay = Duration::from_micros(rng.borrow_mut().below(500));
        again.call_later(delay, move |reactor| go_on(reactor, to, counts, rng, most));
    });
}

fn storm(ground: Ground, reactor: &Reactor, most: u32, seed: u8) {
    let counts = Rc::new(Counts::default());
    let rng = Rc::new(RefCell::new(Rng::from_seed([seed; 32])));
    let factory = {
        let (counts, rng) = (Rc::clone(&counts), Rc::clone(&rng));
        move || Random::new(&counts, &rng)
    };
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let streams = if ground.is_simulated() { 50 } else { 20 };
    for _ in 0..streams {
        go_on(reactor, port.local_addr(), Rc::clone(&counts), Rc::clone(&rng), most);
    }
    let before = reactor.now();
    let mut calm = 0;
    while calm < 100 {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        let over = counts.begun.get() == most
            && counts.built.get() == counts.dropped.get()
            && counts.timers.get() == 0;
        calm = if over { calm + 1 } else { 0 };
        assert!(
            reactor.now().since(before) < Duration::from_secs(100),
            "it does not come to an end"
        );
    }
    port.stop_listening().ignore();
    let still_open = || reactor.open().iter().filter(|open| open.kind != "timer").count();
    turn_until(reactor, "everything to be closed", || still_open() == 0);
    assert!(counts.wrong.borrow().is_empty(), "{:?}", counts.wrong.borrow());
    assert_eq!(counts.made.get(), counts.lost.get(), "each that was made hears one end");
    assert!(counts.made.get() > most, "{} protocols were ever made", counts.made.get());
    turn_until(reactor, "the last timers", || reactor.open().is_empty());
}

on_every_driver!(connections_opened_and_dropped_at_random_leave_nothing, |ground| {
    if ground.is_simulated() {
        let reactor = started(ground);
        storm(ground, &reactor, 10_000, 1);
        return;
    }
    // The process's own table of descriptors is counted: nothing else may run in it.
    in_child(module_path!(), "on_epoll", None, || {
        let reactor = started(ground);
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        storm(ground, &reactor, 4_000, 3);
        // Connections that linger in the driver have up to two seconds.
        turn_until(&reactor, "every descriptor to be closed", || descriptors() <= before);
        assert_eq!(descriptors(), before);
    });
});

on_every_driver!(
    the_same_storm_in_a_reactor_that_is_dropped_in_the_middle_leaves_nothing,
    |ground| {
        let counts = Rc::new(Counts::default());
        let rng = Rc::new(RefCell::new(Rng::from_seed([4; 32])));
        for turns in [1, 3, 10, 30, 100] {
            let reactor = started(ground);
            let factory = {
                let (counts, rng) = (Rc::clone(&counts), Rc::clone(&rng));
                move || Random::new(&counts, &rng)
            };
            let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
            counts.begun.set(0);
            for _ in 0..20 {
                go_on(&reactor, port.local_addr(), Rc::clone(&counts), Rc::clone(&rng), 10_000);
            }
            let idle = listen(&reactor, crate::streams::kit::Probe::new);
            for _ in 0..turns {
                reactor.turn(Some(Duration::from_millis(1))).unwrap();
            }
            drop((idle, port));
            reactor.close_all();
            assert!(reactor.open().is_empty(), "{:?}", reactor.open());
            drop(reactor);
            assert!(counts.wrong.borrow().is_empty(), "{:?}", counts.wrong.borrow());
            assert_eq!(counts.built.get(), counts.dropped.get());
            assert_eq!(counts.made.get(), counts.lost.get());
        }
    }
);
