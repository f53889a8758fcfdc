//! [`Case`]: how a test runs that is a function on a reactor, as the attribute `#[marline::test]` makes it.
//!
//! | file | what |
//! |---|---|
//! | `stage.rs` | what the function can ask for, and may be |
//! | `outcome.rs` | what it may return |
//! | `simulated.rs`, `kernel.rs` | where it runs |
//! | `verdict.rs` | what it failed with |
//! | `held.rs` | how long turns took where time is virtual |

use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::Reactor;
use crate::deferred::Deferred;
use verdict::Verdict;

pub use outcome::Outcome;
pub use stage::{Body, Prop, Seed, Stage};

mod held;
mod kernel;
mod outcome;
mod simulated;
mod stage;
#[cfg(test)]
mod tests;
mod verdict;

/// Runs a function on a reactor of its own and fails as a test does, by a panic: if what it returns fails or panics, if that is not there in
/// time, and if it leaves something behind.
///
/// The attribute `#[marline::test]` writes this down; use it directly where there is no attribute.
///
/// ```
/// use std::time::Duration;
/// use marline_core::Reactor;
/// use marline_core::deferred::Deferred;
/// use marline_core::failure::Failure;
/// use marline_core::testing::Case;
///
/// async fn an_hour_passes_at_once(reactor: Reactor) -> Result<(), Failure> {
///     let (rung, bell) = Deferred::<()>::new();
///     reactor.call_later(Duration::from_secs(3600), |_| bell.resolve(()));
///     rung.await
/// }
///
/// Case::new("an hour").timeout(Duration::from_secs(2 * 3600)).seeds(10).run_async(an_hour_passes_at_once);
/// ```
///
/// # Where it runs
///
/// In a simulated network of its own, under a virtual clock, on a host called `test`: [`World`](crate::sim::World), [`Host`](crate::sim::Host) and
/// [`Seed`] can be had as arguments besides the [`Reactor`]. It is called from inside the reactor, which runs already. With
/// [`driver`](Self::driver) it runs on a reactor of that driver instead, in real time.
///
/// # What it must not leave behind
///
/// - Connections, attempts to connect, timers, datagram sockets, watches. What it has begun to close is given a second (a simulated one; on a
///   kernel half a real one at most) to be gone. Ports are closed for it.
/// - Errors in the log of its thread: failures that nobody looked at, panics that the engine caught. A [`CapturedLog`](super::CapturedLog) of its
///   own takes those that it expects.
/// - A callback that held the loop for a second, or the time given to [`stall`](Self::stall): see there.
///
/// # Seeds
///
/// Whatever is random in a simulated run comes from the seed: 1, or the one given. A failure names it. `MARLINE_SEED=7` in the environment
/// runs seed 7 alone, decimal or with `0x`, and `MARLINE_SEEDS=1000` so many from the first, whatever the test says.
#[derive(Clone, Debug)]
#[must_use = "nothing runs before `run` or `run_async`"]
pub struct Case {
    name: &'static str,
    seed: u64,
    seeds: u64,
    timeout: Duration,
    stall: Duration,
    driver: Option<(&'static str, Open)>,
}

/// Opens a reactor on the driver of this name, or says why it cannot.
type Open = fn(&str) -> Result<Reactor, String>;

/// Has the function begin: its result.
type Begin = Rc<dyn Fn(&Stage) -> Deferred<()>>;

impl Case {
    /// A test with all settings as they are described.
    pub fn new(name: &'static str) -> Self {
        let (timeout, stall) = (Duration::from_secs(60), Duration::from_secs(1));
        Self { name, seed: 1, seeds: 1, timeout, stall, driver: None }
    }

    /// The seed of the simulated run, the first one if there are several. 1 otherwise.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Repeats the simulated run with so many seeds, one after the other, to the first that fails.
    pub fn seeds(mut self, count: u64) -> Self {
        self.seeds = count;
        self
    }

    /// How long it may take to its result, in the reactor's time: 60 seconds otherwise. Then the reactor is stopped, and that is the failure. A
    /// callback that never returns cannot be stopped.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a callback may hold the loop: a second otherwise. In real time, also in a simulation, where it is a turn that is measured,
    /// and time in which the system ran other processes does not count where it tells.
    pub fn stall(mut self, threshold: Duration) -> Self {
        self.stall = threshold;
        self
    }

    /// Runs on a fresh reactor of a driver instead of a simulated one: `open` is given the name. Seeds do not matter then.
    pub fn driver(mut self, name: &'static str, open: fn(&str) -> Result<Reactor, String>) -> Self {
        self.driver = Some((name, open));
        self
    }

    /// Runs a function that returns nothing, a `Result`, or a [`Deferred`] of either. Its arguments are [props](Prop), three at most.
    ///
    /// # Panics
    ///
    /// If the test fails.
    #[track_caller]
    pub fn run<A, R: Outcome>(self, body: impl Body<A, Returns = R>) {
        self.each(Rc::new(move |stage| body.call(stage).into_deferred()));
    }

    /// Runs an `async fn`, whose future may come to the same.
    ///
    /// # Panics
    ///
    /// If the test fails.
    #[track_caller]
    pub fn run_async<A, F>(self, body: impl Body<A, Returns = F>)
    where
        F: Future + 'static,
        F::Output: Outcome,
    {
        self.each(Rc::new(move |stage| {
            stage.reactor().spawn(body.call(stage)).then(Outcome::into_deferred)
        }));
    }

    #[track_caller]
    fn each(self, begin: Begin) {
        let place = Location::caller();
        let Some((driver, open)) = self.driver else {
            for seed in self.asked_seeds() {
                let verdict = simulated::run(&self, seed, &begin);
                self.pronounce(&verdict, &format!("with seed {seed}"), place);
            }
            return;
        };
        let reactor = open(driver).unwrap_or_else(|why| panic!("{}: {why}", self.name));
        let verdict = kernel::run(&self, &reactor, &begin);
        self.pronounce(&verdict, &format!("on {driver}"), place);
    }

    #[track_caller]
    fn pronounce(&self, verdict: &Verdict, run: &str, place: &Location<'_>) {
        if !verdict.is_passed() {
            panic!("{} failed {run} ({place}):{verdict}", self.name);
        }
    }

    fn asked_seeds(&self) -> impl Iterator<Item = u64> + use<> {
        let seed = asked("MARLINE_SEED");
        let first = seed.unwrap_or(self.seed);
        let usual = if seed.is_some() { 1 } else { self.seeds };
        let count = asked("MARLINE_SEEDS").unwrap_or(usual);
        (0..count).map(move |more| first.wrapping_add(more))
    }
}

/// A number from the environment.
fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Some(number.unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
