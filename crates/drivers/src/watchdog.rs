//! A thread that watches for callbacks that hold the loop, on behalf of one driver. It parks itself while the driver waits, and is woken
//! by at most one futex call when that wait ends. What it says of the reactor's thread it has from `thread_state`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use marline_core::ThreadState;
use marline_core::driver::{Look, StallWatch};

use crate::thread_state::Watched;

/// The thread, as its driver sees it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    state: Arc<State>,
    /// There until it is dropped.
    thread: Option<JoinHandle<()>>,
}

/// What the driver and the thread share.
#[derive(Debug, Default)]
struct State {
    /// The driver waits for the system.
    waiting: AtomicBool,
    /// The thread has parked itself because of that, or is about to.
    parked: AtomicBool,
    /// The thread is to end.
    over: AtomicBool,
}

impl Watchdog {
    /// Begins to watch the present thread.
    pub(crate) fn start(watch: StallWatch) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let watcher = Watcher { watch, state: Arc::clone(&state), watched: Watched::present() };
        let thread = thread::Builder::new().name("marline-watchdog".to_owned());
        let thread = thread.spawn(move || watcher.run())?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// The driver is about to wait.
    pub(crate) fn waits(&self) {
        // In one order with the flags the thread sets: one of both sees the other's.
        self.state.waiting.store(true, Ordering::SeqCst);
    }

    /// The driver has waited.
    pub(crate) fn goes_on(&self) {
        self.state.waiting.store(false, Ordering::SeqCst);
        if self.state.parked.load(Ordering::SeqCst)
            && self.state.parked.swap(false, Ordering::SeqCst)
        {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // Whatever became of it, it is over.
            let _ = thread.join();
        }
    }
}

/// The thread itself.
struct Watcher {
    watch: StallWatch,
    state: Arc<State>,
    watched: Watched,
}

impl Watcher {
    fn run(&self) {
        let threshold = self.watch.threshold();
        let mut running: Option<(Look, Instant)> = None;
        while !self.is_over() {
            self.park_while_waiting();
            let now = Instant::now();
            running = match (self.watch.look(), running) {
                (Some(look), Some((before, since))) if look.goes_on(before) => {
                    if now - since >= threshold {
                        self.stalled(look, since);
                        // Whatever runs by now has begun since.
                        None
                    } else {
                        Some((before, since))
                    }
                }
                (look, _) => look.map(|look| (look, now)),
            };
            // Also after it was woken: however often the driver waits, it is woken no more often than this.
            thread::park_timeout(threshold / LOOKS);
        }
    }

    /// Parks as long as the driver waits.
    fn park_while_waiting(&self) {
        while self.state.waiting.load(Ordering::SeqCst) && !self.is_over() {
            self.state.parked.store(true, Ordering::SeqCst);
            if !self.state.waiting.load(Ordering::SeqCst) {
                break;
            }
            // Comes back by itself at times, or because of an earlier call: the loop looks again.
            thread::park();
            if !self.state.parked.load(Ordering::SeqCst) {
                // Woken by the driver, which may wait again by now: the next look is a while away.
                return;
            }
        }
        self.state.parked.store(false, Ordering::SeqCst);
    }

    /// A callback runs for too long: says so, and again when it has ended.
    fn stalled(&self, look: Look, since: Instant) {
        let (took, mut thread) = (since.elapsed(), self.watched.state());
        let goes_on = || self.watch.look().is_some_and(|now| now.goes_on(look));
        if !goes_on() {
            // It was perhaps another callback that was seen.
            thread = ThreadState::default();
        }
        let stall = self.watch.stalled(look, took, thread);
        let pause = (self.watch.threshold() / ENDS).max(Duration::from_millis(1));
        while goes_on() {
            if self.is_over() {
                return;
            }
            thread::park_timeout(pause);
        }
        self.watch.ended(stall, since.elapsed());
    }

    fn is_over(&self) -> bool {
        self.state.over.load(Ordering::SeqCst)
    }
}

/// How often it looks within a threshold.
const LOOKS: u32 = 4;
/// How often, within a threshold, it looks whether a stall is over.
const ENDS: u32 = 100;

#[cfg(test)]
mod tests {
    use marline_core::{Reactor, StallOptions};

    use crate::sys::registers::alone;
    use crate::thread_state::has_signal;

    /// Whether the process has an action for the signal.
    fn is_caught() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        has_signal(&status, "SigCgt:")
    }

    #[test]
    fn the_signals_action_is_there_while_any_reactor_watches() {
        let _alone = alone();
        let reactors = [(); 3].map(|()| Reactor::from_boxed(crate::open(None).unwrap().driver));
        assert!(!is_caught());
        for reactor in &reactors {
            reactor.watch_stalls(StallOptions::default()).unwrap();
            assert!(is_caught());
        }
        let [first, second, third] = reactors;
        first.unwatch_stalls();
        // Begins anew.
        second.watch_stalls(StallOptions::default()).unwrap();
        drop(third);
        assert!(is_caught());
        second.unwatch_stalls();
        assert!(!is_caught());
    }
}
