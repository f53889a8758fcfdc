//! Callbacks that hold the loop: found by the watchdog, named and told, on drivers where time passes in a callback.

use std::cell::{Cell, RefCell};
use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use marline_conformance::{Ground, on_every_driver};
use marline_core::driver::Capability;
use marline_core::testing::Stalls;
use marline_core::{
    CloseReason, Incident, Protocol, Reactor, Stall, StallOptions, Subscription, Transport,
};

/// Short for a test, long for a machine that does other things too.
const THRESHOLD: Duration = Duration::from_millis(60);
const STALL: Duration = Duration::from_millis(200);

fn real() -> Reactor {
    let reactor = Ground { driver: "epoll" }.bare_reactor();
    reactor.leave_signals_alone();
    reactor.start().unwrap();
    reactor
}

type Told = Rc<RefCell<Vec<Stall>>>;

fn watch(reactor: &Reactor) -> (Told, Subscription) {
    reactor.watch_stalls(StallOptions { threshold: THRESHOLD }).unwrap();
    let told = Told::default();
    let tell = Rc::clone(&told);
    let subscription = reactor.subscribe(move |_, incident| {
        if let Incident::Stalled(stall) = incident {
            tell.borrow_mut().push(stall.clone());
        }
    });
    (told, subscription)
}

fn turn_for(reactor: &Reactor, time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
}

fn turn_until_told(reactor: &Reactor, told: &Told) -> Stall {
    let begin = Instant::now();
    while told.borrow().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never told");
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
    told.borrow_mut().remove(0)
}

/// Holds the loop as long as it is told to, where it is told to.
#[derive(Default)]
struct Sleeper {
    upgrade: bool,
    in_data: bool,
    in_lost: bool,
    aborts: bool,
}

impl Protocol for Sleeper {
    fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
        if self.upgrade {
            transport.upgrade(Successor, b"rest");
            return;
        }
        if self.aborts {
            transport.abort_connection();
        }
        if self.in_data {
            sleep(STALL);
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        if self.in_lost {
            sleep(STALL);
        }
    }
}

struct Successor;

impl Protocol for Successor {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {
        sleep(STALL);
    }
}

struct Knock;

impl Protocol for Knock {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"x");
        transport.lose_write_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

fn stall_of(make: impl FnMut() -> Sleeper + 'static) -> Stall {
    let reactor = real();
    let port = reactor.listen_tcp("127.0.0.1:0", make).unwrap();
    let (told, _subscription) = watch(&reactor);
    reactor.connect_tcp(port.local_addr(), Knock).ignore();
    turn_until_told(&reactor, &told)
}

#[test]
fn a_callback_that_holds_the_loop_is_named_with_its_protocol_and_peer() {
    let stall = stall_of(|| Sleeper { in_data: true, ..Sleeper::default() });
    assert!(stall.protocol.unwrap().ends_with("stalls::Sleeper"), "{stall}");
    assert_eq!(stall.callback, "data_received");
    assert!(stall.handle.is_some() && stall.peer.is_some());
    assert!(stall.took >= THRESHOLD && stall.took < Duration::from_secs(10), "{stall}");
    assert!(stall.thread.system_call.is_some(), "it sleeps: {stall}");
}

#[test]
fn an_upgraded_protocol_is_named_by_its_own_name() {
    let stall = stall_of(|| Sleeper { upgrade: true, ..Sleeper::default() });
    assert!(stall.protocol.unwrap().ends_with("stalls::Successor"), "{stall}");
    assert_eq!(stall.callback, "data_received");
}

#[test]
fn a_callback_that_has_ended_its_connection_is_still_named() {
    let stall = stall_of(|| Sleeper { in_data: true, aborts: true, ..Sleeper::default() });
    assert!(stall.protocol.unwrap().ends_with("stalls::Sleeper"), "{stall}");
    assert!(stall.peer.is_some(), "{stall}");
    let stall = stall_of(|| Sleeper { in_lost: true, aborts: true, ..Sleeper::default() });
    assert_eq!(stall.callback, "connection_lost");
    assert!(stall.protocol.unwrap().ends_with("stalls::Sleeper") && stall.peer.is_some());
}

#[test]
fn a_timer_that_holds_the_loop_is_named_by_its_place() {
    let reactor = real();
    let (told, _subscription) = watch(&reactor);
    let line = line!() + 1;
    reactor.call_later(Duration::ZERO, |_| sleep(STALL));
    let stall = turn_until_told(&reactor, &told);
    assert_eq!((stall.callback, stall.protocol), ("timer", None));
    let site = stall.site.unwrap();
    assert_eq!((site.file(), site.line()), (file!(), line));
    let figures = reactor.figures();
    assert_eq!((figures.stalls, figures.longest_stall), (1, Some(stall.took)));
}

/// Holds the loop until that has been noticed.
#[inline(never)]
fn compute(reactor: &Reactor) -> u64 {
    let (begin, mut count) = (Instant::now(), 0);
    while reactor.figures().stalls == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "never noticed");
        count = black_box(count + 1);
    }
    count
}

#[inline(never)]
fn nap(reactor: &Reactor) -> u64 {
    let begin = Instant::now();
    while reactor.figures().stalls == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "never noticed");
        sleep(STALL);
    }
    1
}

type Holds = fn(&Reactor) -> u64;

/// Where one of those lies in this program, as it was linked; neither is longer.
fn linked(function: Holds) -> Range<u64> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let program = fs::read_link("/proc/self/exe").unwrap();
    let first = maps.lines().find(|line| line.ends_with(program.to_str().unwrap())).unwrap();
    let begin = u64::from_str_radix(first.split_once('-').unwrap().0, 16).unwrap();
    let at = function as usize as u64 - begin;
    at..at + 512
}

#[test]
fn the_calls_that_led_to_where_the_thread_is_are_told_whether_it_computes_or_sleeps() {
    let program = fs::read_link("/proc/self/exe").unwrap();
    for (function, sleeps) in [(compute as Holds, false), (nap, true)] {
        let reactor = real();
        let (told, _subscription) = watch(&reactor);
        reactor.call_soon(move |reactor| assert_ne!(black_box(function(reactor)), 0));
        let stall = turn_until_told(&reactor, &told);
        assert_eq!(stall.thread.system_call.is_some(), sleeps, "{stall}");
        let is_in_function = |place: &String| {
            let (file, at) = place.rsplit_once("+0x").unwrap();
            let at = u64::from_str_radix(at, 16).unwrap();
            program.to_str() == Some(file) && linked(function).contains(&at)
        };
        let mut places = stall.thread.instruction.iter().chain(&stall.thread.stack);
        assert!(places.any(is_in_function), "{stall}");
    }
}

#[test]
fn many_short_callbacks_in_one_turn_are_no_stall() {
    let reactor = real();
    let (told, _subscription) = watch(&reactor);
    for _ in 0..100 {
        reactor.call_soon(|_| sleep(Duration::from_millis(4)));
    }
    turn_for(&reactor, Duration::from_millis(600));
    assert!(told.borrow().is_empty(), "{told:?}");
    assert_eq!(reactor.figures().stalls, 0);
}

#[test]
fn a_wait_is_no_stall_and_the_callback_after_it_may_be_one() {
    let reactor = real();
    let (told, _subscription) = watch(&reactor);
    reactor.call_later(STALL * 2, |_| sleep(STALL));
    // Waits long enough for the thread to park itself.
    reactor.turn(Some(STALL * 3)).unwrap();
    assert_eq!(reactor.figures().stalls, 0);
    assert_eq!(turn_until_told(&reactor, &told).callback, "timer");
}

#[test]
fn nothing_is_told_once_nobody_watches() {
    let reactor = real();
    let (told, _subscription) = watch(&reactor);
    reactor.unwatch_stalls();
    reactor.call_soon(|_| sleep(STALL));
    turn_for(&reactor, STALL * 2);
    assert!(told.borrow().is_empty());
    assert_eq!(reactor.figures().stalls, 0);
}

#[test]
fn a_subscriber_may_end_its_own_subscription_and_is_dropped() {
    let reactor = real();
    reactor.watch_stalls(StallOptions { threshold: THRESHOLD }).unwrap();
    let subscription = Rc::new(Cell::new(None));
    let (slot, calls) = (Rc::clone(&subscription), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&calls);
    subscription.set(Some(reactor.subscribe(move |_, _| {
        counted.set(counted.get() + 1);
        drop(slot.take());
    })));
    for _ in 0..2 {
        reactor.call_soon(|_| sleep(STALL));
        turn_for(&reactor, STALL * 2);
    }
    assert_eq!(reactor.figures().stalls, 2);
    assert_eq!(calls.get(), 1);
    assert_eq!(Rc::strong_count(&calls), 1);
}

#[test]
#[should_panic(expected = "1 callbacks held the loop:\n  call held the loop for ")]
fn a_test_that_watches_fails_with_the_stall() {
    let reactor = real();
    let _stalls = Stalls::watch(&reactor, THRESHOLD).unwrap();
    reactor.call_soon(|_| sleep(STALL));
    turn_for(&reactor, STALL * 2);
}

on_every_driver!(watching_works_where_it_is_supported_and_is_refused_elsewhere, |ground| {
    let reactor = ground.bare_reactor();
    let watched = reactor.watch_stalls(StallOptions::default());
    assert_eq!(watched.is_ok(), reactor.supports(Capability::Stalls));
    assert_eq!(watched.is_ok(), !ground.is_simulated());
    reactor.unwatch_stalls();
});
