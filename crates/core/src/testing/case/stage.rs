//! What a test function can ask for as arguments, and what functions can be tests.

use std::rc::Rc;

use super::Begin;
use super::verdict::Verdict;
use crate::Reactor;
use crate::panic::guard;
use crate::sim::{Host, World};

/// Where a test runs, to take arguments from.
#[derive(Debug)]
pub struct Stage {
    reactor: Reactor,
    simulated: Option<(World, Host, u64)>,
}

impl Stage {
    pub(super) fn real(reactor: &Reactor) -> Self {
        Self { reactor: reactor.clone(), simulated: None }
    }

    pub(super) fn simulated(reactor: &Reactor, world: &World, host: &Host, seed: u64) -> Self {
        let simulated = Some((world.clone(), host.clone(), seed));
        Self { reactor: reactor.clone(), simulated }
    }

    /// Its reactor.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Has the test begin; what it comes to goes into `verdict`.
    pub(super) fn begin(&self, begin: &Begin, verdict: &Rc<Verdict>) {
        let (verdict, reactor) = (Rc::clone(verdict), self.reactor.clone());
        let tell = move |result: Result<(), String>| {
            match result {
                Ok(()) => verdict.pass(),
                Err(why) => verdict.fail(&why),
            }
            // Whoever turns the reactor looks at the verdict next, instead of waiting.
            reactor.call_soon(|_| {});
        };
        match guard(|| begin(self)) {
            Ok(result) => {
                result.done(move |result| tell(result.map_err(|failure| failure.to_string())));
            }
            Err(text) => tell(Err(format!("panicked: {text}"))),
        }
    }

    fn world(&self, what: &str) -> &(World, Host, u64) {
        self.simulated.as_ref().unwrap_or_else(|| {
            let driver = self.reactor.driver_name();
            panic!("the test asks for a {what}, which there is in a simulation only: it runs on {driver}")
        })
    }
}

/// What a test function can have as an argument: a [`Reactor`], and in a simulation the [`World`], its [`Host`] in it and the [`Seed`].
pub trait Prop {
    /// Takes it from where the test runs.
    ///
    /// # Panics
    ///
    /// If it is not there, which fails the test.
    fn from_stage(stage: &Stage) -> Self;
}

/// The seed of a simulated run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Prop for Reactor {
    fn from_stage(stage: &Stage) -> Self {
        stage.reactor.clone()
    }
}

impl Prop for World {
    fn from_stage(stage: &Stage) -> Self {
        stage.world("World").0.clone()
    }
}

impl Prop for Host {
    fn from_stage(stage: &Stage) -> Self {
        stage.world("Host").1.clone()
    }
}

impl Prop for Seed {
    fn from_stage(stage: &Stage) -> Self {
        Self(stage.world("Seed").2)
    }
}

/// A function that can be a test: one of up to three [props](Prop), called once a run.
pub trait Body<Arguments>: 'static {
    /// What it returns.
    type Returns;

    /// Calls it.
    fn call(&self, stage: &Stage) -> Self::Returns;
}

impl<F: Fn() -> R + 'static, R> Body<()> for F {
    type Returns = R;

    fn call(&self, _: &Stage) -> R {
        self()
    }
}

impl<F: Fn(A) -> R + 'static, A: Prop, R> Body<(A,)> for F {
    type Returns = R;

    fn call(&self, stage: &Stage) -> R {
        self(A::from_stage(stage))
    }
}

impl<F: Fn(A, B) -> R + 'static, A: Prop, B: Prop, R> Body<(A, B)> for F {
    type Returns = R;

    fn call(&self, stage: &Stage) -> R {
        self(A::from_stage(stage), B::from_stage(stage))
    }
}

impl<F: Fn(A, B, C) -> R + 'static, A: Prop, B: Prop, C: Prop, R> Body<(A, B, C)> for F {
    type Returns = R;

    fn call(&self, stage: &Stage) -> R {
        self(A::from_stage(stage), B::from_stage(stage), C::from_stage(stage))
    }
}
