//! The order in which timers run, against a list that is sorted: random programs of timers that are set, put off, brought forward and
//! cancelled, from outside and by each other, with as many ties as there can be.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{DelayedCall, NotPending, Reactor, Rng, Time};

use crate::life_cycle::{bare, turn_until};

/// One timer of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    deadline: Time,
    /// Counts settings of any timer: what was set first runs first.
    order: u64,
    timer: usize,
}

/// A random program and what a sorted list says it must do.
struct Program {
    rng: Rng,
    handles: Vec<DelayedCall>,
    /// How each ended, if it has.
    ends: Vec<Option<NotPending>>,
    list: Vec<Due>,
    order: u64,
    /// What was set from here on waits for the next turn.
    mark: u64,
    /// Timers that may still be made.
    left: usize,
    /// The length of a step: all delays are a few of these.
    step: Duration,
    ran: usize,
}

type Shared = Rc<RefCell<Program>>;

impl Program {
    fn due(&self, timer: usize) -> Option<usize> {
        self.list.iter().position(|due| due.timer == timer)
    }

    fn first(&self) -> Option<Due> {
        self.list.iter().min().copied()
    }

    /// The next that has to run in a turn at `now`.
    fn next_in_turn(&self, now: Time) -> Option<Due> {
        self.list.iter().filter(|due| due.order < self.mark && due.deadline <= now).min().copied()
    }

    fn set(&mut self, timer: usize, deadline: Time) {
        if let Some(at) = self.due(timer) {
            self.list.swap_remove(at);
        }
        self.list.push(Due { deadline, order: self.order, timer });
        self.order += 1;
    }

    fn delay(&mut self) -> Duration {
        // Mostly ties; sometimes far, where other parts of the queue are.
        let steps = match self.rng.below(20) {
            0 => 40 + self.rng.below(200),
            1..=4 => 0,
            _ => self.rng.below(6),
        };
        self.step * steps as u32
    }
}

/// Does a few random things, as a timer or from outside.
fn act(reactor: &Reactor, shared: &Shared) {
    let actions = shared.borrow_mut().rng.below(5);
    for _ in 0..actions {
        let (choice, timer, delay, now) = {
            let mut program = shared.borrow_mut();
            let count = program.handles.len().max(1) as u64;
            let timer = program.rng.below(count) as usize;
            (program.rng.below(10), timer, program.delay(), reactor.now())
        };
        if choice < 5 || shared.borrow().handles.is_empty() {
            add(reactor, shared, delay);
            continue;
        }
        let handle = shared.borrow().handles[timer].clone();
        let mut program = shared.borrow_mut();
        let pending = program.due(timer).map(|at| program.list[at].deadline);
        assert_eq!(handle.deadline(), pending, "timer {timer}");
        let (result, set) = match choice {
            5 => (handle.cancel(), None),
            6 => (handle.delay(delay), pending.map(|deadline| deadline + delay)),
            7 => {
                // Before it was due, perhaps before now: the sorted list does not mind.
                let earlier =
                    Time::from_nanos(now.as_nanos().saturating_sub(delay.as_nanos() as u64));
                (handle.set_deadline(earlier), Some(earlier))
            }
            _ => {
                let result = handle.reset(delay);
                // Between turns time goes on.
                let set = handle.deadline().filter(|_| result.is_ok());
                let possible = now + delay..=reactor.now() + delay;
                assert!(set.is_none_or(|deadline| possible.contains(&deadline)), "timer {timer}");
                (result, set)
            }
        };
        match (pending, set) {
            (None, _) => {
                let end = program.ends[timer].unwrap();
                let error = result.unwrap_err();
                assert!(
                    error == end || error == NotPending::Over,
                    "timer {timer}: {error:?}, not {end:?}"
                );
            }
            (Some(_), Some(deadline)) => {
                result.unwrap();
                program.set(timer, deadline);
            }
            (Some(_), None) => {
                result.unwrap();
                let at = program.due(timer).unwrap();
                program.list.swap_remove(at);
                program.ends[timer] = Some(NotPending::Cancelled);
            }
        }
    }
}

fn add(reactor: &Reactor, shared: &Shared, delay: Duration) {
    let timer = {
        let mut program = shared.borrow_mut();
        if program.left == 0 {
            return;
        }
        program.left -= 1;
        program.ends.push(None);
        program.ends.len() - 1
    };
    let own = Rc::clone(shared);
    let earliest = reactor.now() + delay;
    let handle = reactor.call_later(delay, move |reactor| {
        let expected = own.borrow().next_in_turn(reactor.now());
        let ran = expected.is_some_and(|due| due.timer == timer);
        if !ran {
            eprintln!("timer {timer} runs, the list has {expected:?} at {}", reactor.now());
            // A panic would be caught: the timer stays in the list, which is noticed.
            return;
        }
        let mut program = own.borrow_mut();
        let at = program.due(timer).unwrap();
        program.list.swap_remove(at);
        program.ends[timer] = Some(NotPending::Called);
        program.ran += 1;
        drop(program);
        act(reactor, &own);
    });
    let mut program = shared.borrow_mut();
    // Between turns time goes on.
    let deadline = handle.deadline().unwrap();
    assert!((earliest..=reactor.now() + delay).contains(&deadline));
    program.handles.push(handle);
    program.set(timer, deadline);
}

/// Runs one program to its end; answers how many timers ran.
fn run(ground: Ground, seed: u64, timers: usize, step: Duration) -> usize {
    let reactor = bare(ground);
    let shared = Rc::new(RefCell::new(Program {
        rng: Rng::from_number(seed),
        handles: Vec::new(),
        ends: Vec::new(),
        list: Vec::new(),
        order: 0,
        mark: 0,
        left: timers,
        step,
        ran: 0,
    }));
    for _ in 0..5 {
        act(&reactor, &shared);
    }
    loop {
        let first = shared.borrow().first();
        assert_eq!(reactor.next_wakeup(), first.map(|due| due.deadline), "seed {seed}");
        assert_eq!(reactor.open().len(), shared.borrow().list.len(), "seed {seed}");
        let Some(first) = first else { break };
        // Timers run first in a turn, at the time that it is now.
        let now = reactor.now();
        {
            let mut program = shared.borrow_mut();
            program.mark = program.order;
        }
        // A turn that runs timers would then wait for later ones, if there are any.
        let due = first.deadline <= now;
        reactor.turn(due.then_some(Duration::ZERO)).unwrap();
        let forgotten = shared.borrow().next_in_turn(now);
        assert_eq!(forgotten, None, "seed {seed}: did not run in its turn at {now}");
        if ground.is_simulated() && !due {
            assert_eq!(reactor.now(), first.deadline, "seed {seed}: time went elsewhere");
        }
        if shared.borrow_mut().rng.chance(0.2) {
            act(&reactor, &shared);
        }
    }
    shared.borrow().ran
}

on_every_driver!(timers_run_in_the_order_of_a_sorted_list, |ground| {
    let (seeds, step) = match ground.is_simulated() {
        true => (600, Duration::from_millis(3)),
        false => (8, Duration::from_micros(50)),
    };
    let mut ran = 0;
    for seed in 0..seeds {
        ran += run(ground, seed, 120, step);
    }
    assert!(ran as u64 > seeds * 40, "only {ran} ran: these programs check little");
});

// The wheel has slots of all sizes: steps from nanoseconds to days.
on_every_driver!(the_order_is_that_of_a_sorted_list_at_every_scale, |ground| {
    if !ground.is_simulated() {
        // Days of real time.
        return;
    }
    for power in 0..16 {
        let step = Duration::from_nanos(7 * 10_u64.pow(power));
        for seed in 0..20 {
            run(ground, seed, 120, step);
        }
    }
});

on_every_driver!(ties_run_in_the_order_they_were_scheduled, |ground| {
    let reactor = bare(ground);
    let at = reactor.now() + Duration::from_millis(2);
    let ran: Rc<RefCell<Vec<usize>>> = Rc::default();
    let calls: Vec<DelayedCall> = (0..5000)
        .map(|number| {
            let ran = Rc::clone(&ran);
            reactor.call_at(at, move |_| ran.borrow_mut().push(number))
        })
        .collect();
    // Setting it anew, be it to the same moment, is scheduling it anew.
    for number in [4, 2, 4999] {
        calls[number].set_deadline(at).unwrap();
    }
    turn_until(&reactor, "all calls", || !calls.iter().any(DelayedCall::is_active));
    let expected = (0..5000).filter(|number| ![2, 4, 4999].contains(number)).chain([4, 2, 4999]);
    assert!(ran.borrow().iter().copied().eq(expected));
});
