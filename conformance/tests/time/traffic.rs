//! Timers while there is traffic: then waits are ended by bytes, and whether a deadline has come must not be missed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use marline_conformance::{Ground, on_every_driver};
use marline_core::{DelayedCall, Reactor, Rng, Time};

use crate::life_cycle::{reactor, stop};
use crate::streams::kit::{Probe, connect, listen_once};

/// A byte that goes to and fro for ever: no wait lasts long. The count of how often it has come back.
fn to_and_fro(reactor: &Reactor) -> Rc<Cell<u64>> {
    let count = Rc::new(Cell::new(0));
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let port = listen_once(reactor, server);
    let inner = Rc::clone(&count);
    let client =
        Probe::new().on_made(|transport| transport.write(b"x")).on_data(move |transport, data| {
            inner.set(inner.get() + 1);
            transport.write(data);
        });
    let addr = port.local_addr().clone();
    reactor.call_soon(move |reactor| drop(connect(reactor, &addr, client)));
    count
}

/// Timers that set, put off, bring forward and cancel each other.
struct Crowd {
    rng: Rng,
    calls: Vec<(DelayedCall, bool)>,
    called: usize,
    left: usize,
}

impl Crowd {
    fn delay(&mut self) -> Duration {
        Duration::from_nanos(self.rng.below(10_000_000))
    }
}

fn add(reactor: &Reactor, crowd: &Rc<RefCell<Crowd>>) {
    let delay = {
        let mut crowd = crowd.borrow_mut();
        crowd.left -= 1;
        crowd.delay()
    };
    let inner = Rc::clone(crowd);
    let at = crowd.borrow().calls.len();
    let call = reactor.call_later(delay, move |reactor| called(reactor, &inner, at));
    crowd.borrow_mut().calls.push((call, true));
}

fn called(reactor: &Reactor, crowd: &Rc<RefCell<Crowd>>, at: usize) {
    {
        let mut crowd = crowd.borrow_mut();
        crowd.called += 1;
        assert!(std::mem::replace(&mut crowd.calls[at].1, false), "cancelled, or called twice");
        // Another is put off or brought forward, and one in ten cancelled.
        let there = crowd.calls.len() as u64;
        let other = crowd.rng.below(there) as usize;
        let delay = crowd.delay();
        if crowd.rng.chance(0.1) {
            if crowd.calls[other].0.cancel().is_ok() {
                crowd.calls[other].1 = false;
            }
        } else {
            let _ = crowd.calls[other].0.reset(delay);
        }
    }
    for _ in 0..2 {
        if crowd.borrow().left > 0 {
            add(reactor, crowd);
        }
    }
    let over = crowd.borrow().calls.iter().all(|(call, _)| !call.is_active());
    if over {
        stop(reactor);
    }
}

on_every_driver!(thousands_of_timers_that_move_are_called_once_each_among_traffic, |ground| {
    let reactor = reactor(ground);
    let crowd = Crowd { rng: Rng::from_number(5), calls: Vec::new(), called: 0, left: 3000 };
    let crowd = Rc::new(RefCell::new(crowd));
    let echoes = to_and_fro(&reactor);
    for _ in 0..50 {
        add(&reactor, &crowd);
    }
    reactor.run().unwrap();
    let crowd = crowd.borrow();
    assert!(crowd.calls.iter().all(|(_, waits)| !waits), "a timer was forgotten");
    assert!(crowd.called > 1500 && echoes.get() > 100, "{} and {}", crowd.called, echoes.get());
});

on_every_driver!(a_timer_among_traffic_is_never_early, |ground| {
    fn next(reactor: &Reactor, left: u64) {
        let deadline = reactor.now() + Duration::from_micros(left * 7 % 900);
        reactor.call_at(deadline, move |reactor| {
            assert!(reactor.now() >= deadline, "early by {:?}", deadline - reactor.now());
            match left {
                0 => stop(reactor),
                left => next(reactor, left - 1),
            }
        });
    }
    let reactor = reactor(ground);
    let echoes = to_and_fro(&reactor);
    next(&reactor, 500);
    reactor.run().unwrap();
    assert!(echoes.get() > 10);
});

/// Time that a callback takes goes by on a kernel only.
#[test]
fn a_deadline_that_passes_while_a_callback_runs_waits_for_one_wait_at_most() {
    const SET: u64 = 100;
    let reactor = reactor(Ground { driver: "epoll" });
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let port = listen_once(&reactor, server);
    let echoes = Rc::new(Cell::new(0));
    let (count, called_at) = (Rc::clone(&echoes), Rc::new(Cell::new(0)));
    let noted = Rc::clone(&called_at);
    let client =
        Probe::new().on_made(|transport| transport.write(b"x")).on_data(move |transport, data| {
            count.set(count.get() + 1);
            transport.write(data);
            if count.get() == SET {
                let (count, noted) = (Rc::clone(&count), Rc::clone(&noted));
                transport.reactor().unwrap().call_later(Duration::from_millis(5), move |reactor| {
                    noted.set(count.get());
                    stop(reactor);
                });
            } else if count.get() == SET + 1 {
                // By now the driver knows of the deadline, and this wait has been ended by a byte before it.
                let since = Instant::now();
                while since.elapsed() < Duration::from_millis(30) {}
            }
        });
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    // The next wait brings the byte to the other end at most, not to this one and there again.
    assert_eq!(called_at.get(), SET + 1);
}

/// The clock must be asked by itself: no wait lasts.
#[test]
fn calls_queued_for_ever_do_not_hold_up_a_timer() {
    fn again(reactor: &Reactor) {
        reactor.call_soon(again);
    }
    let reactor = reactor(Ground { driver: "epoll" });
    let deadline = Rc::new(Cell::new(Time::MAX));
    let inner = Rc::clone(&deadline);
    reactor.call_soon(move |reactor| {
        again(reactor);
        inner.set(reactor.now() + Duration::from_millis(5));
        reactor.call_at(inner.get(), stop);
    });
    let begin = Instant::now();
    reactor.run().unwrap();
    assert!(reactor.now() >= deadline.get());
    assert!(begin.elapsed() < Duration::from_secs(10));
}
