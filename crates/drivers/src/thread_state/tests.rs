//! Threads that compute, sleep, and are gone.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::sys::registers::{alone, block};

/// A thread that is watched while it does something that ends when it is told to stop.
struct Other {
    watched: Watched,
    stop: &'static AtomicBool,
    thread: thread::JoinHandle<()>,
}

impl Other {
    fn start(stop: &'static AtomicBool, run: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            sender.send(Watched::present()).unwrap();
            run(stop);
        });
        Self { watched: receiver.recv().unwrap(), stop, thread }
    }

    /// Looks until it does what it is to do.
    fn state(&self, is_so: impl Fn(&ThreadState) -> bool) -> ThreadState {
        for _ in 0..10_000 {
            let state = self.watched.state();
            if is_so(&state) {
                return state;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("never so: {}", self.watched.state());
    }

    fn end(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap();
        self.watched
    }
}

type Step = fn(&AtomicBool) -> u64;

#[inline(never)]
fn outer(stop: &AtomicBool) -> u64 {
    black_box(middle(stop)) + 1
}

#[inline(never)]
fn middle(stop: &AtomicBool) -> u64 {
    black_box(inner(stop)) + 2
}

#[inline(never)]
fn inner(stop: &AtomicBool) -> u64 {
    let mut count = 3;
    while !stop.load(Ordering::Relaxed) {
        count = black_box(count + 1);
    }
    count
}

#[inline(never)]
fn sleeper(stop: &AtomicBool) -> u64 {
    while !black_box(stop).load(Ordering::Relaxed) {
        thread::park();
    }
    4
}

/// Which of the functions the places are in, one after the other.
fn functions(places: impl IntoIterator<Item = String>) -> Vec<&'static str> {
    let maps = Maps::read("/proc/self");
    let memory = Memory::open("/proc/self").unwrap();
    let address = |place: &str| {
        let (file, at) = place.rsplit_once("+0x")?;
        Some((file.to_owned(), u64::from_str_radix(at, 16).ok()?))
    };
    let known: [(&str, Step); 4] =
        [("outer", outer), ("middle", middle), ("inner", inner), ("sleeper", sleeper)];
    let mut known =
        known.map(|(name, step)| (address(&maps.place(step as usize as u64, &memory)), name));
    known.sort();
    let function = |place: String| {
        let (file, at) = address(&place)?;
        let is_in = |begin: &Option<(String, u64)>| {
            begin.as_ref().is_some_and(|(of, begin)| {
                *of == file && (0..SIZE).contains(&at.wrapping_sub(*begin))
            })
        };
        known.iter().rev().find(|(begin, _)| is_in(begin)).map(|&(_, name)| name)
    };
    places.into_iter().filter_map(function).collect()
}

/// None of them is longer.
const SIZE: u64 = 160;

#[test]
fn a_thread_that_computes_is_told_by_the_functions_that_called_each_other() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let other = Other::start(&STOP, |stop| {
        black_box(outer(stop));
    });
    let is_within = |state: &ThreadState| {
        functions(state.instruction.clone()) == ["inner"] && state.system_call.is_none()
    };
    let state = other.state(is_within);
    assert_eq!(functions(state.stack.iter().cloned()), ["middle", "outer"], "{state}");
    assert!(state.stack.len() <= CALLS);
    other.end();
}

#[test]
fn a_thread_that_sleeps_is_told_by_its_system_call_and_the_function_that_made_it() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let other = Other::start(&STOP, |stop| {
        black_box(sleeper(stop));
    });
    let state = other.state(|state| state.system_call.is_some());
    assert!(state.instruction.as_ref().is_some_and(|place| place.contains("+0x")), "{state}");
    assert_eq!(functions(state.stack.iter().cloned()), ["sleeper"], "{state}");
    other.end();
}

#[test]
fn a_thread_that_blocks_the_signal_is_not_asked() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let other = Other::start(&STOP, |stop| {
        block(true);
        black_box(outer(stop));
    });
    while !has_signal(&other.watched.read("status"), BLOCKED) {
        thread::yield_now();
    }
    assert_eq!(other.watched.state(), ThreadState::default());
    // Nothing that would come if it were let in again.
    assert!(!has_signal(&other.watched.read("status"), "SigPnd:"));
    other.end();
}

#[test]
fn a_thread_that_is_gone_is_told_by_nothing() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let watched = Other::start(&STOP, |_| {}).end();
    assert_eq!(watched.state(), ThreadState::default());
}

#[test]
fn a_stack_pointer_that_points_nowhere_leads_to_nothing() {
    let maps = Maps::read("/proc/self");
    let memory = Memory::open("/proc/self").unwrap();
    for at in [0, 1, u64::MAX - 7, 1 << 63] {
        let registers = Registers { instruction: at, stack: at, link: Some(at) };
        assert_eq!(stack(&registers, &maps, &memory), [""; 0]);
    }
}
