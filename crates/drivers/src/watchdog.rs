//! A thread that watches for callbacks that hold the loop, on behalf of one driver. It parks itself while the driver waits, and is woken
//! by at most one futex call when that wait ends. What it says of the reactor's thread it reads from `/proc`.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use marline_core::ThreadState;
use marline_core::driver::{Look, StallWatch};

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
        // A process without /proc is watched as well, and nothing is said of its threads.
        let watched = fs::read_link("/proc/thread-self").unwrap_or_default();
        let shared = Arc::clone(&state);
        let run = move || {
            let folder = format!("/proc/{}", watched.display());
            Watcher { watch, state: shared, folder }.run();
        };
        let thread = thread::Builder::new().name("marline-watchdog".to_owned()).spawn(run)?;
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
    /// Where the system tells of the thread that is watched.
    folder: String,
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
        let stall = self.watch.stalled(look, since.elapsed(), thread_state(&self.folder));
        let pause = (self.watch.threshold() / ENDS).max(Duration::from_millis(1));
        while self.watch.look().is_some_and(|now| now.goes_on(look)) {
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

/// What the system says of a thread: one that sleeps, or is kept from running. Of one that runs it says nothing.
fn thread_state(folder: &str) -> ThreadState {
    let mut state = ThreadState::default();
    let sleeps_in = fs::read_to_string(format!("{folder}/wchan")).unwrap_or_default();
    state.sleeps_in = Some(sleeps_in).filter(|place| !matches!(place.trim(), "" | "0"));
    // "running", or the call's number (-1 for none) and six arguments if there is one, the stack pointer and the instruction pointer.
    let line = fs::read_to_string(format!("{folder}/syscall")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    state.system_call = words.first().and_then(|word| word.parse().ok());
    let hex = |word: &&str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let instruction = if words.len() > 2 { words.last().and_then(hex) } else { None };
    state.instruction = instruction.map(|at| place(folder, at));
    state
}

/// The file that an address was mapped from, and the offset in it.
fn place(folder: &str, at: u64) -> String {
    let maps = fs::read_to_string(format!("{folder}/maps")).unwrap_or_default();
    let found = maps.lines().find_map(|line| {
        // start-end permissions offset device inode path
        let words: Vec<&str> = line.split_whitespace().collect();
        let (start, end) = words.first()?.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let offset = u64::from_str_radix(words.get(2)?, 16).ok()?;
        let path = words.get(5).filter(|_| (start..end).contains(&at))?;
        Some(format!("{path}+{:#x}", at - start + offset))
    });
    found.unwrap_or_else(|| format!("{at:#x}"))
}

/// How often it looks within a threshold.
const LOOKS: u32 = 4;
/// How often, within a threshold, it looks whether a stall is over.
const ENDS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_is_told_by_its_system_call() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            sender.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
            thread::park();
        });
        let folder = format!("/proc/{}", receiver.recv().unwrap().display());
        let mut state = ThreadState::default();
        for _ in 0..1000 {
            state = thread_state(&folder);
            if state.system_call.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        assert!(state.system_call.is_some(), "{state}");
        assert!(state.instruction.is_some_and(|place| place.contains("+0x")));
        thread.thread().unpark();
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_that_is_gone_is_told_by_nothing() {
        assert_eq!(thread_state("/proc/self/task/0"), ThreadState::default());
    }
}
