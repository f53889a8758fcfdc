//! Random lives of a looping call against a plain model of one: ticks that come late, stops, resets, starts from inside the call, Deferreds that fire
//! late. All times are in milliseconds.

use super::*;
use crate::Rng;
use crate::deferred::Resolver;
use crate::failure::Failure;
use crate::task::LoopingCall;
use crate::testing::CapturedLog;

const SEEDS: u64 = 2000;

/// What a call does. A random one is the same for the real loop and the model.
#[derive(Clone, Copy, Debug)]
enum Act {
    Return,
    Stop,
    Restart(u64, bool),
    Reset,
    Fail,
    Panic,
    Wait,
    StopAndWait,
    RestartAndWait(u64, bool),
}

impl Act {
    fn random(rng: &mut Rng) -> Self {
        let (interval, at_once) = (interval(rng), rng.chance(0.5));
        match rng.below(16) {
            0 => Self::Stop,
            1 => Self::Restart(interval, at_once),
            2 => Self::Reset,
            3 => Self::Fail,
            4 => Self::Panic,
            5 | 6 => Self::Wait,
            7 => Self::StopAndWait,
            8 => Self::RestartAndWait(interval, at_once),
            _ => Self::Return,
        }
    }
}

fn interval(rng: &mut Rng) -> u64 {
    if rng.chance(0.1) { 0 } else { 1 + rng.below(20) }
}

/// The loop as one would describe it, with no thought for speed.
#[derive(Default)]
struct Model {
    run: Option<Run>,
    runs: u32,
    calls: usize,
    /// The run whose call is under way, and those that were stopped meanwhile.
    busy: Option<(u32, Vec<u32>)>,
    told: Vec<String>,
}

struct Run {
    number: u32,
    interval: u64,
    /// Points of the grid that no call was told of, the next one first, up to those that are not reached yet.
    point: u64,
    start: u64,
    first_is_to_come: bool,
    carried: u64,
    last: Option<u64>,
    due: Option<u64>,
}

impl Model {
    fn start(&mut self, interval: u64, at_once: bool, now: u64) {
        if self.run.is_some() {
            return self.told.push("refused".into());
        }
        self.runs += 1;
        self.run = Some(Run {
            number: self.runs,
            interval,
            point: if at_once { now } else { now + interval },
            start: now,
            first_is_to_come: at_once,
            carried: 0,
            last: None,
            due: None,
        });
        if self.busy.is_none() {
            self.plan(now);
        }
    }

    fn plan(&mut self, now: u64) {
        let Some(run) = &mut self.run else { return };
        let mut due = run.start;
        while !run.first_is_to_come && due <= now {
            // Where time stands still, a loop without an interval goes on a millisecond later.
            due = if run.interval == 0 { now + 1 } else { due + run.interval };
        }
        run.due = Some(due);
    }

    fn stop(&mut self) {
        let Some(run) = self.run.take() else { return self.told.push("refused".into()) };
        match &mut self.busy {
            None => self.told.push(format!("{} done", run.number)),
            Some((busy, _)) if *busy == run.number => {}
            Some((_, leaving)) => leaving.push(run.number),
        }
    }

    fn reset(&mut self, now: u64) {
        let Some(run) = &mut self.run else { return self.told.push("refused".into()) };
        run.carried = 0;
        let mut step = run.last.unwrap_or(now) + run.interval;
        while run.interval > 0 && step <= now {
            run.carried += 1;
            step += run.interval;
        }
        run.start = now;
        run.point = if run.first_is_to_come { now } else { now + run.interval };
        if run.due.is_some() && (run.interval > 0 || run.first_is_to_come) {
            self.plan(now);
        }
    }

    /// A turn: calls as long as one is due.
    fn turn(&mut self, acts: &[Act], now: u64) {
        while let Some(run) = self.run.as_mut().filter(|run| run.due.is_some_and(|due| due <= now))
        {
            run.due = None;
            let mut count = run.carried;
            while run.interval > 0 && run.point <= now {
                count += 1;
                run.point += run.interval;
            }
            (run.first_is_to_come, run.carried, run.last) = (false, 0, Some(now));
            let count = count.max(1);
            self.told.push(format!("called at {now} for {count}"));
            self.busy = Some((run.number, Vec::new()));
            let act = acts.get(self.calls).copied().unwrap_or(Act::Return);
            self.calls += 1;
            match act {
                Act::Stop | Act::StopAndWait => self.stop(),
                Act::Restart(interval, at_once) | Act::RestartAndWait(interval, at_once) => {
                    self.stop();
                    self.start(interval, at_once, now);
                }
                Act::Reset => self.reset(now),
                Act::Return | Act::Fail | Act::Panic | Act::Wait => {}
            }
            match act {
                Act::Wait | Act::StopAndWait | Act::RestartAndWait(..) => {}
                Act::Fail | Act::Panic => self.called(true, now),
                _ => self.called(false, now),
            }
        }
    }

    fn called(&mut self, failed: bool, now: u64) {
        let Some((number, leaving)) = self.busy.take() else { return };
        let is_current = self.run.as_ref().is_some_and(|run| run.number == number);
        if is_current && failed {
            self.run = None;
        }
        self.plan(now);
        if failed {
            self.told.push(format!("{number} failed"));
        } else if !is_current {
            self.told.push(format!("{number} done"));
        }
        self.told.extend(leaving.iter().map(|number| format!("{number} done")));
    }
}

/// The real one, told the same things.
struct Real {
    looping: LoopingCall,
    runs: Rc<Cell<u32>>,
    told: Rc<RefCell<Vec<String>>>,
    waits: Rc<RefCell<Option<Resolver<()>>>>,
}

impl Real {
    fn new(reactor: &Reactor, acts: &[Act]) -> Self {
        let (told, runs) = (Rc::<RefCell<Vec<String>>>::default(), Rc::<Cell<u32>>::default());
        let waits = Rc::<RefCell<Option<Resolver<()>>>>::default();
        let (acts, begin) = (acts.to_vec(), reactor.now());
        let (inner_told, inner_runs, inner_waits) =
            (Rc::clone(&told), Rc::clone(&runs), Rc::clone(&waits));
        let mut calls = 0;
        let looping = LoopingCall::with_count(reactor, move |looping, count| {
            let now = millis_since(begin, &looping.reactor().unwrap());
            inner_told.borrow_mut().push(format!("called at {now} for {count}"));
            let act = acts.get(calls).copied().unwrap_or(Act::Return);
            calls += 1;
            let wait = || {
                let (deferred, resolver) = Deferred::new();
                *inner_waits.borrow_mut() = Some(resolver);
                deferred
            };
            let restart = |interval, at_once| {
                looping.stop().unwrap();
                start(looping, &inner_runs, &inner_told, interval, at_once);
            };
            match act {
                Act::Return => {}
                Act::Stop => looping.stop().unwrap(),
                Act::Restart(interval, at_once) => restart(interval, at_once),
                Act::Reset => looping.reset().unwrap(),
                Act::Fail => return Deferred::failed(Failure::msg("no")),
                Act::Panic => panic!("no"),
                Act::Wait => return wait(),
                Act::StopAndWait => {
                    looping.stop().unwrap();
                    return wait();
                }
                Act::RestartAndWait(interval, at_once) => {
                    restart(interval, at_once);
                    return wait();
                }
            }
            Deferred::ready(())
        });
        Self { looping, runs, told, waits }
    }

    fn start(&self, interval: u64, at_once: bool) {
        start(&self.looping, &self.runs, &self.told, interval, at_once);
    }

    fn refused<E>(&self, result: Result<(), E>) {
        if result.is_err() {
            self.told.borrow_mut().push("refused".into());
        }
    }
}

fn start(
    looping: &LoopingCall,
    runs: &Cell<u32>,
    told: &Rc<RefCell<Vec<String>>>,
    interval: u64,
    at_once: bool,
) {
    let interval = Duration::from_millis(interval);
    let started = if at_once { looping.start(interval) } else { looping.start_later(interval) };
    let Ok(done) = started else { return told.borrow_mut().push("refused".into()) };
    runs.set(runs.get() + 1);
    let (number, told) = (runs.get(), Rc::clone(told));
    done.done(move |result| {
        let end = if result.is_ok() { "done" } else { "failed" };
        told.borrow_mut().push(format!("{number} {end}"));
    });
}

fn live(seed: u64) {
    let mut rng = Rng::from_number(seed);
    let acts: Vec<_> = (0..60).map(|_| Act::random(&mut rng)).collect();
    let late = Late::new();
    let (mut model, real) = (Model::default(), Real::new(&late.reactor, &acts));
    let mut now = 0;
    for step in 0..60 {
        match rng.below(12) {
            0 => {
                let (interval, at_once) = (interval(&mut rng), rng.chance(0.5));
                model.start(interval, at_once, now);
                real.start(interval, at_once);
            }
            1 => {
                model.stop();
                real.refused(real.looping.stop());
            }
            2 => {
                model.reset(now);
                real.refused(real.looping.reset());
            }
            3 | 4 => {
                let fails = rng.chance(0.2);
                let resolver = real.waits.borrow_mut().take();
                if let Some(resolver) = resolver {
                    model.called(fails, now);
                    resolver.finish(if fails { Err(Failure::msg("no")) } else { Ok(()) });
                }
            }
            5 => {
                // Time passes, and the loop is held.
                let time = rng.below(50);
                now += time;
                late.hold(Duration::from_millis(time));
            }
            _ => {
                for _ in 0..rng.below(20) {
                    now += 1;
                    late.hold(MILLI);
                    late.turn();
                    model.turn(&acts, now);
                }
            }
        }
        late.turn();
        model.turn(&acts, now);
        assert_eq!(*real.told.borrow(), model.told, "seed {seed}, step {step}, {acts:?}");
        assert_eq!(real.looping.is_running(), model.run.is_some(), "seed {seed}, step {step}");
    }
}

#[test]
fn random_lives_are_those_of_the_model() {
    // Fails if anything is logged as an error: all that goes wrong is told to somebody.
    let _log = CapturedLog::start();
    for seed in 0..SEEDS {
        live(seed);
    }
}
