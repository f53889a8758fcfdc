//! Timers through the public API of the reactor: `call_later`, `cancel`, `reset`, and turns over the virtual clock of a simulated host.

use std::time::Duration;

use marline_core::sim::SimDriver;
use marline_core::{DelayedCall, Reactor, Time};
use measure::timers::Queue;

use super::fired;

/// The row.
pub(crate) fn run() {
    measure::timers::run(Turned::new);
}

struct Turned {
    reactor: Reactor,
    start: Time,
}

impl Turned {
    fn new() -> Self {
        fired::reset();
        let reactor = Reactor::new(SimDriver::alone(1));
        if let Err(e) = reactor.start() {
            panic!("a new reactor starts: {e}");
        }
        let start = reactor.now();
        Self { reactor, start }
    }

    /// From now until `at` milliseconds after the start.
    fn until(&self, at: u64) -> Duration {
        self.start + Duration::from_millis(at) - self.reactor.now()
    }

    fn turn(&self, timeout: Duration) {
        if let Err(e) = self.reactor.turn(Some(timeout)) {
            panic!("a simulated host can always wait: {e}");
        }
    }
}

impl Queue for Turned {
    type Key = DelayedCall;

    fn insert(&mut self, at: u64) -> DelayedCall {
        self.reactor.call_later(self.until(at), move |_| fired::count_with(at))
    }

    fn cancel(&mut self, call: &DelayedCall) {
        let cancelled = call.cancel();
        assert!(cancelled.is_ok(), "only pending timers are cancelled");
    }

    fn push(&mut self, call: &mut DelayedCall, at: u64) {
        let pushed = call.reset(self.until(at));
        assert!(pushed.is_ok(), "only pending timers are pushed");
    }

    fn advance(&mut self, now: u64) {
        // A turn runs what is due and then waits; the last one runs what its predecessor waited for.
        while !self.until(now).is_zero() {
            self.turn(self.until(now));
        }
        self.turn(Duration::ZERO);
    }

    fn fired(&self) -> usize {
        fired::total()
    }
}
