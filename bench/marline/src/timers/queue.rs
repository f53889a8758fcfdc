//! The queue alone, driven as the reactor drives it: a turn a millisecond, each with its mark, each timer taken out and called by itself. What it
//! holds is what the reactor holds: a boxed closure and where it was made.

use std::panic::Location;

use measure::timers::Queue;

use self::timers::{Key, Timers};
use super::fired;

// Not formatted, linted or tested from here: it belongs to the core.
#[rustfmt::skip]
#[path = "../../../../crates/core/src/timers/mod.rs"]
#[allow(dead_code, clippy::all, reason = "a benchmark uses a part of the queue")]
mod timers;

type Call = (Box<dyn FnOnce()>, &'static Location<'static>);

/// Closures that capture nothing: boxing them allocates nothing.
pub(crate) fn plain() {
    measure::timers::run(|| Bare::new(|_| Box::new(fired::count)));
}

/// Closures that capture a word: an allocation each.
pub(crate) fn boxed() {
    measure::timers::run(|| Bare::new(|at| Box::new(move || fired::count_with(at))));
}

struct Bare<F> {
    timers: Timers<Call>,
    make: F,
}

impl<F: Fn(u64) -> Box<dyn FnOnce()>> Bare<F> {
    fn new(make: F) -> Self {
        fired::reset();
        Self { timers: Timers::new(), make }
    }
}

const MILLISECOND: u64 = 1_000_000;

impl<F: Fn(u64) -> Box<dyn FnOnce()>> Queue for Bare<F> {
    type Key = Key;

    #[track_caller]
    fn insert(&mut self, at: u64) -> Key {
        self.timers.insert(at * MILLISECOND, ((self.make)(at), Location::caller()))
    }

    fn cancel(&mut self, key: &Key) {
        drop(self.timers.cancel(*key));
    }

    fn push(&mut self, key: &mut Key, at: u64) {
        self.timers.set_deadline(*key, at * MILLISECOND);
    }

    fn advance(&mut self, now: u64) {
        let before = self.timers.mark();
        while let Some((_, (call, _))) = self.timers.pop_due(now * MILLISECOND, before) {
            call();
        }
        std::hint::black_box(self.timers.next_deadline());
    }

    fn fired(&self) -> usize {
        fired::total()
    }
}
