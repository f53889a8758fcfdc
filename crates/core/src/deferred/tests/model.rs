//! Random chains against the same chain over plain `Result`s: same steps called, in the same order, with the same arguments; same end.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::{CANCELLED, Number, NumberResolver, Oops, taken};
use crate::deferred::{Hold, Interrupt};

type Outcome = Result<i64, Oops>;
type Trace = Rc<RefCell<Vec<(usize, Outcome)>>>;

/// What a step does with the result it is called with.
#[derive(Clone, Debug)]
enum Kind {
    Map,
    AndThen(Outcome),
    Then(Inner),
    MapErr,
    Recover,
    OrElse(Outcome),
    OrThen(Inner),
    Both(Outcome),
    BothThen(Inner),
    Either(Outcome, Outcome),
    EitherThen(Inner, Inner),
    Finally,
    Panic,
}

/// A deferred that a step returns.
#[derive(Clone, Debug)]
enum Inner {
    Ready(Outcome),
    /// Fired later: the driver of the test does it, or cancels the chain instead.
    Pending(Outcome),
    /// Ready, but held back.
    Held(Outcome),
}

impl Inner {
    fn outcome(&self) -> &Outcome {
        match self {
            Self::Ready(outcome) | Self::Pending(outcome) | Self::Held(outcome) => outcome,
        }
    }
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn outcome(&mut self) -> Outcome {
        let number = self.below(1000) as i64;
        if self.below(2) == 0 { Ok(number) } else { Err(Oops::Own(number)) }
    }

    fn inner(&mut self) -> Inner {
        match self.below(3) {
            0 => Inner::Ready(self.outcome()),
            1 => Inner::Pending(self.outcome()),
            _ => Inner::Held(self.outcome()),
        }
    }

    fn kind(&mut self) -> Kind {
        match self.below(13) {
            0 => Kind::Map,
            1 => Kind::AndThen(self.outcome()),
            2 => Kind::Then(self.inner()),
            3 => Kind::MapErr,
            4 => Kind::Recover,
            5 => Kind::OrElse(self.outcome()),
            6 => Kind::OrThen(self.inner()),
            7 => Kind::Both(self.outcome()),
            8 => Kind::BothThen(self.inner()),
            9 => Kind::Either(self.outcome(), self.outcome()),
            10 => Kind::EitherThen(self.inner(), self.inner()),
            11 => Kind::Finally,
            _ => Kind::Panic,
        }
    }
}

/// What is waited for from outside. Only one thing at a time can be.
#[derive(Default)]
struct World {
    pending: RefCell<Option<(NumberResolver, Outcome)>>,
    held: RefCell<Option<Hold>>,
    trace: Trace,
}

impl World {
    fn inner(&self, inner: Inner) -> Number {
        match inner {
            Inner::Ready(outcome) => Number::from_result(outcome),
            Inner::Pending(outcome) => {
                let (deferred, resolver) = Number::new();
                *self.pending.borrow_mut() = Some((resolver, outcome));
                deferred
            }
            Inner::Held(outcome) => {
                let mut deferred = Number::from_result(outcome);
                *self.held.borrow_mut() = Some(deferred.hold());
                deferred
            }
        }
    }
}

fn add(deferred: Number, index: usize, kind: Kind, world: &Rc<World>) -> Number {
    let here = Rc::clone(world);
    let also = Rc::clone(world);
    let see = move |outcome: &Outcome| here.trace.borrow_mut().push((index, outcome.clone()));
    match kind {
        Kind::Map => deferred.map(move |value| {
            see(&Ok(value));
            value + 1
        }),
        Kind::AndThen(result) => deferred.and_then(move |value| {
            see(&Ok(value));
            result
        }),
        Kind::Then(inner) => deferred.then(move |value| {
            see(&Ok(value));
            also.inner(inner)
        }),
        Kind::MapErr => deferred.map_err(move |error| {
            see(&Err(error));
            Oops::Own(-1)
        }),
        Kind::Recover => deferred.recover(move |error| {
            see(&Err(error));
            -2
        }),
        Kind::OrElse(result) => deferred.or_else(move |error| {
            see(&Err(error));
            result
        }),
        Kind::OrThen(inner) => deferred.or_then(move |error| {
            see(&Err(error));
            also.inner(inner)
        }),
        Kind::Both(result) => deferred.both(move |before| {
            see(&before);
            result
        }),
        Kind::BothThen(inner) => deferred.both_then(move |before| {
            see(&before);
            also.inner(inner)
        }),
        Kind::Either(first, second) => {
            let see = Rc::new(see);
            let other = Rc::clone(&see);
            deferred.either(
                move |value| {
                    see(&Ok(value));
                    first
                },
                move |error| {
                    other(&Err(error));
                    second
                },
            )
        }
        Kind::EitherThen(first, second) => {
            let see = Rc::new((see, also));
            let other = Rc::clone(&see);
            deferred.either_then(
                move |value| {
                    see.0(&Ok(value));
                    see.1.inner(first)
                },
                move |error| {
                    other.0(&Err(error));
                    other.1.inner(second)
                },
            )
        }
        Kind::Finally => deferred.finally(move || see(&Ok(0))),
        Kind::Panic => deferred.map(move |value| {
            see(&Ok(value));
            resume_unwind(Box::new("boom"))
        }),
    }
}

/// The same step over a `Result`. `cancelled` says that the chain was cancelled while it waited for this step's deferred.
fn model(before: Outcome, index: usize, kind: &Kind, cancelled: bool, trace: &Trace) -> Outcome {
    let see = |outcome: &Outcome| trace.borrow_mut().push((index, outcome.clone()));
    let wait = |inner: &Inner| match inner {
        Inner::Pending(_) if cancelled => Err(CANCELLED),
        _ => inner.outcome().clone(),
    };
    match kind {
        Kind::Map | Kind::AndThen(_) | Kind::Then(_) | Kind::Panic => before.and_then(|value| {
            see(&Ok(value));
            match kind {
                Kind::AndThen(result) => result.clone(),
                Kind::Then(inner) => wait(inner),
                Kind::Panic => Err(Oops::Interrupted(Interrupt::Panicked("boom".into()))),
                _ => Ok(value + 1),
            }
        }),
        Kind::MapErr | Kind::Recover | Kind::OrElse(_) | Kind::OrThen(_) => {
            before.or_else(|error| {
                see(&Err(error));
                match kind {
                    Kind::MapErr => Err(Oops::Own(-1)),
                    Kind::OrElse(result) => result.clone(),
                    Kind::OrThen(inner) => wait(inner),
                    _ => Ok(-2),
                }
            })
        }
        Kind::Finally => {
            see(&Ok(0));
            before
        }
        Kind::Both(result) => {
            see(&before);
            result.clone()
        }
        Kind::BothThen(inner) => {
            see(&before);
            wait(inner)
        }
        Kind::Either(first, second) => {
            see(&before);
            if before.is_ok() { first } else { second }.clone()
        }
        Kind::EitherThen(first, second) => {
            see(&before);
            wait(if before.is_ok() { first } else { second })
        }
    }
}

#[test]
fn random_chains_do_what_the_same_chain_of_results_does() {
    let (mut cancels, mut releases, mut waits) = (0, 0, 0);
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let length = dice.below(12) as usize;
        let kinds: Vec<Kind> = (0..length).map(|_| dice.kind()).collect();
        let first = dice.outcome();
        let fire_at = dice.below(length as u64 + 1) as usize;
        let world = Rc::new(World::default());
        // Which steps' deferreds were cancelled is read off the trace: it is the last step called.
        let mut cancelled = vec![false; length];

        let (mut deferred, resolver) = Number::new();
        let mut resolver = Some(resolver);
        let mut one_event = |deferred: &Number, dice: &mut Dice| {
            let last = world.trace.borrow().last().map(|&(index, _)| index);
            if let Some(hold) = world.held.take() {
                releases += 1;
                deferred.cancel(); // its result is there: does nothing
                hold.release();
            } else if let Some((inner, outcome)) = world.pending.take() {
                if dice.below(3) == 0 {
                    cancels += 1;
                    cancelled[last.unwrap()] = true;
                    deferred.cancel();
                    assert!(inner.is_cancelled(), "seed {seed}");
                } else {
                    waits += 1;
                }
                inner.finish(outcome);
            } else {
                return false;
            }
            true
        };
        for (index, kind) in kinds.iter().enumerate() {
            if index == fire_at {
                resolver.take().unwrap().finish(first.clone());
            }
            if dice.below(4) == 0 {
                one_event(&deferred, &mut dice);
            }
            deferred = add(deferred, index, kind.clone(), &world);
        }
        if let Some(resolver) = resolver {
            resolver.finish(first.clone());
        }
        while one_event(&deferred, &mut dice) {}

        let trace = Trace::default();
        let expected = kinds.iter().enumerate().fold(first, |before, (index, kind)| {
            model(before, index, kind, cancelled[index], &trace)
        });
        assert_eq!(*world.trace.borrow(), *trace.borrow(), "seed {seed}: {kinds:?}");
        assert_eq!(taken(deferred), expected, "seed {seed}: {kinds:?}");
    }
    assert!(cancels > 1000 && releases > 1000 && waits > 1000, "{cancels} {releases} {waits}");
}
