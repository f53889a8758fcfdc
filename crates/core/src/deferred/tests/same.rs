//! Random programs, built as a chain and written with `await`: the same steps see the same results at the same moments, and the same
//! things are cancelled.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{Number, Oops};
use crate::Time;
use crate::deferred::CancelHandle;
use crate::rng::Rng;
use crate::testing::TestReactor;

type Outcome = Result<i64, Oops>;

/// What a step does with the result it is called with.
#[derive(Clone, Debug)]
enum Kind {
    Map,
    AndThen(Outcome),
    Then(Inner),
    MapErr,
    OrElse(Outcome),
    OrThen(Inner),
    Both(Outcome),
    BothThen(Inner),
    Finally,
}

/// A deferred that a step waits for; times in milliseconds from when it is made.
#[derive(Clone, Debug)]
struct Inner {
    outcome: Outcome,
    fired: Option<u64>,
    held: Option<u64>,
    timeout: Option<u64>,
}

#[derive(Clone, Debug)]
struct Program {
    first: Inner,
    kinds: Vec<Kind>,
    cancels: Vec<u64>,
}

fn outcome(rng: &mut Rng) -> Outcome {
    let number = rng.below(1000) as i64;
    if rng.below(2) == 0 { Ok(number) } else { Err(Oops::Own(number)) }
}

fn maybe(rng: &mut Rng, one_in: u64, upto: u64) -> Option<u64> {
    (rng.below(one_in) == 0).then(|| rng.below(upto))
}

fn inner(rng: &mut Rng) -> Inner {
    let fired = (rng.below(4) > 0).then(|| rng.below(8));
    let (held, timeout) = (maybe(rng, 3, 8), maybe(rng, 3, 8));
    Inner { outcome: outcome(rng), fired, held, timeout }
}

fn kind(rng: &mut Rng) -> Kind {
    match rng.below(9) {
        0 => Kind::Map,
        1 => Kind::AndThen(outcome(rng)),
        2 => Kind::Then(inner(rng)),
        3 => Kind::MapErr,
        4 => Kind::OrElse(outcome(rng)),
        5 => Kind::OrThen(inner(rng)),
        6 => Kind::Both(outcome(rng)),
        7 => Kind::BothThen(inner(rng)),
        _ => Kind::Finally,
    }
}

fn program(seed: u64) -> Program {
    let mut rng = Rng::from_number(seed);
    let rng = &mut rng;
    let first = inner(rng);
    let length = rng.below(8);
    let kinds = (0..length).map(|_| kind(rng)).collect();
    let cancels = (0..rng.below(3)).map(|_| 1 + rng.below(24)).collect();
    Program { first, kinds, cancels }
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Step(usize, Outcome),
    Cancelled(usize),
    End(Outcome),
}

type Trace = Vec<(Time, Event)>;

/// Where a program runs.
struct Scene {
    reactor: TestReactor,
    trace: RefCell<Trace>,
    /// What the `await` that is under way waits for.
    awaited: RefCell<CancelHandle>,
}

impl Scene {
    fn new() -> Rc<Self> {
        let (reactor, trace) = (TestReactor::new(), RefCell::default());
        Rc::new(Self { reactor, trace, awaited: RefCell::default() })
    }

    fn see(&self, event: Event) {
        let now = self.reactor.now();
        self.trace.borrow_mut().push((now, event));
    }

    fn step(&self, index: usize, outcome: &Outcome) {
        self.see(Event::Step(index, outcome.clone()));
    }

    /// The deferred that step `index` waits for.
    fn make(self: &Rc<Self>, index: usize, inner: &Inner) -> Number {
        let here = Rc::clone(self);
        let (mut deferred, resolver) =
            Number::with_canceller(move || here.see(Event::Cancelled(index)));
        let outcome = inner.outcome.clone();
        match inner.fired {
            Some(0) => resolver.finish(outcome),
            Some(after) => {
                self.later(after, move || resolver.finish(outcome));
            }
            // Never; but somebody could.
            None => self.later(10_000, move || drop(resolver)),
        }
        if let Some(after) = inner.held {
            let hold = deferred.hold();
            self.later(after, move || hold.release());
        }
        match inner.timeout {
            Some(after) => deferred.timeout(&self.reactor, Duration::from_millis(after)),
            None => deferred,
        }
    }

    fn later(&self, millis: u64, f: impl FnOnce() + 'static) {
        self.reactor.call_later(Duration::from_millis(millis), move |_| f());
    }

    /// Half a millisecond after `millis`, when nothing else happens: which of two at one moment comes first is not the chain's to say.
    fn between(&self, millis: u64, f: impl FnOnce() + 'static) {
        self.reactor.call_later(Duration::from_micros(millis * 1000 + 500), move |_| f());
    }

    async fn wait(self: &Rc<Self>, index: usize, inner: &Inner) -> Outcome {
        let deferred = self.make(index, inner);
        self.awaited.replace(deferred.cancel_handle());
        deferred.await
    }
}

/// Adds a step to a chain.
fn add(scene: &Rc<Scene>, chain: Number, index: usize, kind: Kind) -> Number {
    let here = Rc::clone(scene);
    match kind {
        Kind::Map => chain.map(move |value| {
            here.step(index, &Ok(value));
            value + 1
        }),
        Kind::AndThen(result) => chain.and_then(move |value| {
            here.step(index, &Ok(value));
            result
        }),
        Kind::Then(inner) => chain.then(move |value| {
            here.step(index, &Ok(value));
            here.make(index, &inner)
        }),
        Kind::MapErr => chain.map_err(move |error| {
            here.step(index, &Err(error));
            Oops::Own(-1)
        }),
        Kind::OrElse(result) => chain.or_else(move |error| {
            here.step(index, &Err(error));
            result
        }),
        Kind::OrThen(inner) => chain.or_then(move |error| {
            here.step(index, &Err(error));
            here.make(index, &inner)
        }),
        Kind::Both(result) => chain.both(move |before| {
            here.step(index, &before);
            result
        }),
        Kind::BothThen(inner) => chain.both_then(move |before| {
            here.step(index, &before);
            here.make(index, &inner)
        }),
        Kind::Finally => chain.finally(move || here.step(index, &Ok(0))),
    }
}

/// The same as straight code.
async fn written(scene: Rc<Scene>, program: Program) -> Outcome {
    let mut result = scene.wait(usize::MAX, &program.first).await;
    for (index, kind) in program.kinds.iter().enumerate() {
        let called = match kind {
            Kind::Map | Kind::AndThen(_) | Kind::Then(_) => result.is_ok(),
            Kind::MapErr | Kind::OrElse(_) | Kind::OrThen(_) => result.is_err(),
            Kind::Both(_) | Kind::BothThen(_) => true,
            Kind::Finally => {
                scene.step(index, &Ok(0));
                false
            }
        };
        if !called {
            continue;
        }
        scene.step(index, &result);
        result = match kind {
            Kind::Map => result.map(|value| value + 1),
            Kind::MapErr => Err(Oops::Own(-1)),
            Kind::AndThen(other) | Kind::OrElse(other) | Kind::Both(other) => other.clone(),
            Kind::Then(inner) | Kind::OrThen(inner) | Kind::BothThen(inner) => {
                scene.wait(index, inner).await
            }
            Kind::Finally => result,
        };
    }
    result
}

/// Longer than all that is waited for without end, which ends after ten seconds.
const LONG: Duration = Duration::from_secs(200);

fn as_chain(program: &Program) -> Trace {
    let scene = Scene::new();
    let first = scene.make(usize::MAX, &program.first);
    let kinds = program.kinds.iter().cloned().enumerate();
    let chain = kinds.fold(first, |chain, (index, kind)| add(&scene, chain, index, kind));
    for &at in &program.cancels {
        let handle = chain.cancel_handle();
        scene.between(at, move || handle.cancel());
    }
    let here = Rc::clone(&scene);
    chain.done(move |outcome| here.see(Event::End(outcome)));
    scene.reactor.advance(LONG);
    scene.trace.take()
}

fn as_task(program: &Program) -> Trace {
    let scene = Scene::new();
    let here = Rc::clone(&scene);
    let task = written(Rc::clone(&scene), program.clone());
    scene.reactor.spawn(async move { here.see(Event::End(task.await)) }).ignore();
    // It begins, before anything else is set for later.
    scene.reactor.turn_until_idle();
    for &at in &program.cancels {
        let here = Rc::clone(&scene);
        scene.between(at, move || {
            let handle = here.awaited.borrow().clone();
            handle.cancel();
        });
    }
    scene.reactor.advance(LONG);
    scene.trace.take()
}

/// The task itself is cancelled: what it waits for is, and no step comes after.
fn as_task_dropped(program: &Program, at: u64) -> Trace {
    let scene = Scene::new();
    let here = Rc::clone(&scene);
    let task = written(Rc::clone(&scene), program.clone());
    let end = scene.reactor.spawn(async move { here.see(Event::End(task.await)) });
    scene.reactor.turn_until_idle();
    let handle = end.cancel_handle();
    end.ignore();
    scene.between(at, move || handle.cancel());
    scene.reactor.advance(LONG);
    scene.trace.take()
}

#[test]
fn a_chain_and_the_same_steps_with_await_do_the_same_at_the_same_moments() {
    let (mut steps, mut cancelled, mut timed_out) = (0, 0, 0);
    for seed in 0..4_000 {
        let program = program(seed);
        let chain = as_chain(&program);
        assert_eq!(chain, as_task(&program), "seed {seed}: {program:?}");
        for (_, event) in &chain {
            match event {
                Event::Step(_, Err(Oops::Interrupted(crate::deferred::Interrupt::TimedOut))) => {
                    timed_out += 1;
                }
                Event::Step(..) => steps += 1,
                Event::Cancelled(_) => cancelled += 1,
                Event::End(_) => {}
            }
        }
        assert!(matches!(chain.last(), Some((_, Event::End(_)))), "seed {seed}: it ends");
    }
    assert!(steps > 5_000 && cancelled > 500 && timed_out > 100, "{steps} {cancelled} {timed_out}");
}

#[test]
fn a_task_that_is_cancelled_goes_as_far_as_the_chain_and_cancels_what_it_waits_for() {
    let start = TestReactor::new().now();
    let mut cut = 0;
    for seed in 0..1_000 {
        let (mut program, millis) = (program(seed), 1 + seed % 16);
        program.cancels = vec![millis];
        let (chain, dropped) = (as_chain(&program), as_task_dropped(&program, millis));
        // Up to the cancel they are alike; there the task ends.
        assert_eq!(Some(&*dropped), chain.get(..dropped.len()), "seed {seed}: {program:?}");
        if dropped.len() < chain.len() {
            let end = start + Duration::from_millis(millis + 1);
            assert!(dropped.iter().all(|(at, _)| *at <= end), "seed {seed}: {program:?}");
            cut += usize::from(matches!(dropped.last(), Some((_, Event::Cancelled(_)))));
        }
    }
    assert!(cut > 100, "{cut}");
}
