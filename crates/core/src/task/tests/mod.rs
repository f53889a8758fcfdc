//! Looping calls (`looping.rs`, and `model.rs` against a plain model), waiting (`sleep.rs`), cooperation, `react`.

mod cooperation;
mod looping;
mod model;
mod react;
mod sleep;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::deferred::{Deferred, Fault};
use crate::testing::TestReactor;
use crate::{Reactor, Time};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    /// Notes what a Deferred comes to.
    fn follow<T: 'static, E: Fault>(&self, name: &'static str, deferred: Deferred<T, E>) {
        let diary = self.clone();
        deferred.done(move |result| match result {
            Ok(_) => diary.note(format!("{name}: done")),
            Err(error) => diary.note(format!("{name}: {error}")),
        });
    }

    /// Everything since the last look.
    fn take(&self) -> String {
        self.0.take().join(", ")
    }
}

/// A reactor that comes late: the clock of its world is moved by another, and it is turned when the test says so.
struct Late {
    clock: TestReactor,
    reactor: TestReactor,
    begin: Time,
}

impl Late {
    fn new() -> Self {
        let clock = TestReactor::new();
        let reactor = TestReactor::on(clock.world(), clock.host());
        let begin = clock.now();
        Self { clock, reactor, begin }
    }

    /// Lets time pass, and no turn.
    fn hold(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Lets the reactor see what time it is, and do what is due.
    fn turn(&self) {
        self.reactor.turn_until_idle();
    }

    /// One turn, however much is left to do.
    fn turn_once(&self) {
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }

    /// Turns at a moment, in tenths of a second from the beginning.
    fn turn_at(&self, tenths: u64) {
        self.hold(
            (self.begin + 100 * MILLI * u32::try_from(tenths).unwrap()).since(self.clock.now()),
        );
        self.turn();
    }
}

/// Milliseconds since a moment.
fn millis_since(begin: Time, reactor: &Reactor) -> u128 {
    reactor.now().since(begin).as_millis()
}

/// Counts its clones, to be captured by what has to be dropped.
#[derive(Clone, Default)]
struct Witness(Rc<()>);

impl Witness {
    fn kept(&self) -> usize {
        Rc::strong_count(&self.0) - 1
    }
}

/// A number that closures share.
fn counter() -> (Rc<Cell<u32>>, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    (Rc::clone(&count), count)
}
