//! Start, stop, crash and what hangs on them: triggers, callbacks of every kind, panics, signals, foreign loops, and that nothing is left behind.
//! Here is what these checks (and those of `time/` and `threads/`) are written with.

mod embedding;
mod endings;
mod leaving;
mod nesting;
pub(crate) mod panics;
mod places;
mod running;
mod signals;
mod triggers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::Ground;
use marline_core::deferred::{Deferred, Resolver};
use marline_core::sim::{Host, SimDriver};
use marline_core::{Event, Phase, Reactor};

/// A reactor for a check that runs it. It leaves the signals of the test process alone.
pub(crate) fn reactor(ground: Ground) -> Reactor {
    let reactor = ground.reactor();
    reactor.leave_signals_alone();
    reactor
}

/// The same without a timer in it, for checks that count timers, or wait for other threads: a simulated reactor that has nothing else to
/// wait for sleeps until they call, whereas a timer would be due at once.
pub(crate) fn bare(ground: Ground) -> Reactor {
    let reactor = ground.bare_reactor();
    reactor.leave_signals_alone();
    reactor
}

/// One that waits for other threads: bare in a simulation, which gives up by itself.
pub(crate) fn patient(ground: Ground) -> Reactor {
    if ground.is_simulated() { bare(ground) } else { reactor(ground) }
}

/// The host that a simulated reactor lives on.
#[track_caller]
pub(crate) fn host(reactor: &Reactor) -> Host {
    reactor.with_driver(|driver: &mut SimDriver| driver.host().clone()).unwrap()
}

/// Turns until something is so, and not a turn longer: waits only while nothing is due. Fails the check if that takes more than 20 seconds
/// by the reactor's clock.
#[track_caller]
pub(crate) fn turn_until(reactor: &Reactor, what: &str, mut condition: impl FnMut() -> bool) {
    let begin = reactor.now();
    while !condition() {
        let due = reactor.next_wakeup().is_some_and(|wakeup| wakeup <= reactor.now());
        let wait = if due { Duration::ZERO } else { Duration::from_secs(5) };
        reactor.turn(Some(wait)).unwrap();
        assert!(reactor.now().since(begin) < Duration::from_secs(20), "never came: {what}");
    }
}

/// Runs a reactor, which is stopped as soon as something is so.
pub(crate) fn run_until(reactor: &Reactor, condition: impl Fn() -> bool + 'static) {
    fn look(reactor: &Reactor, condition: impl Fn() -> bool + 'static) {
        if condition() {
            // Something else may have stopped it.
            let _ = reactor.stop();
            return;
        }
        reactor.call_later(Duration::from_micros(100), move |reactor| look(reactor, condition));
    }
    reactor.call_soon(move |reactor| look(reactor, condition));
    reactor.run().unwrap();
}

/// Stops a reactor that is running or starting.
pub(crate) fn stop(reactor: &Reactor) {
    reactor.stop().unwrap();
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    /// A call that notes this.
    pub(crate) fn noting(&self, what: &'static str) -> impl FnOnce(&Reactor) + use<> {
        let diary = self.clone();
        move |_| diary.note(what)
    }

    /// Everything since the last look, in one line.
    pub(crate) fn take(&self) -> String {
        self.0.take().join(" ")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Notes the phases of an event as `before`, `during`, `after`.
    pub(crate) fn follow(&self, reactor: &Reactor, event: Event) {
        reactor.add_trigger(Phase::Before, event, self.noting("before"));
        reactor.add_trigger(Phase::During, event, self.noting("during"));
        reactor.add_trigger(Phase::After, event, self.noting("after"));
    }
}

/// A Deferred that waits to be fired from anywhere.
#[derive(Clone)]
pub(crate) struct Latch(Rc<Cell<Option<Resolver<()>>>>);

impl Latch {
    pub(crate) fn new() -> (Self, Deferred<()>) {
        let (deferred, resolver) = Deferred::new();
        (Self(Rc::new(Cell::new(Some(resolver)))), deferred)
    }

    /// Hangs a *before* trigger on an event that waits for a new latch.
    pub(crate) fn before(reactor: &Reactor, event: Event) -> Self {
        let (latch, deferred) = Self::new();
        reactor.add_trigger(Phase::Before, event, move |_| deferred);
        latch
    }

    pub(crate) fn fire(&self) {
        self.0.take().unwrap().resolve(());
    }
}

/// A value whose clones can be counted, to be captured by closures that have to be dropped.
#[derive(Clone, Default)]
pub(crate) struct Witness(Rc<()>);

impl Witness {
    /// How many captures there are.
    pub(crate) fn kept(&self) -> usize {
        Rc::strong_count(&self.0) - 1
    }

    /// A call that keeps a clone.
    pub(crate) fn call(&self) -> impl FnOnce(&Reactor) + use<> {
        let kept = self.clone();
        move |_| drop(kept)
    }
}
