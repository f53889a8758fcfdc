//! [`Link`]: a step that takes one result and makes the next of it. One allocation, which holds the step and later its result.

use std::cell::Cell;
use std::mem;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use super::node::{self, Node, Out, Sink, Source};
use super::outcome::{Failed, Outcome, Step};
use crate::panic::guard;

pub(super) struct Link<U: 'static, E2: Fault, F> {
    stage: Cell<Stage<U, E2, F>>,
    out: Out<U, E2>,
}

enum Stage<U: 'static, E2: Fault, F> {
    /// Waits for what its step takes.
    Input(Weak<dyn Node>, F),
    /// Waits for the deferred that its step returned.
    Inner(Weak<dyn Node>),
    /// Its step runs, or its result was taken.
    Empty,
    Done(Outcome<U, E2>),
}

impl<U: 'static, E2: Fault, F: 'static> Link<U, E2, F> {
    /// Appends a step to a node that has no result yet, or is held back.
    #[inline]
    pub(super) fn append<T: 'static, E: Fault>(
        source: &Rc<dyn Source<T, E>>,
        site: &'static Location<'static>,
        step: F,
    ) -> Rc<dyn Source<U, E2>>
    where
        F: FnOnce(Result<T, E>) -> Step<U, E2>,
    {
        let out = source.out();
        let link = Rc::new(Self {
            stage: Cell::new(Stage::Input(Rc::downgrade(source) as Weak<dyn Node>, step)),
            out: Out::new(out.origin(), site),
        });
        out.lead_to(Rc::clone(&link) as Rc<dyn Sink<T, E>>);
        link
    }
}

impl<U: 'static, E2: Fault, F: 'static> Node for Link<U, E2, F> {
    fn pass(&self) -> Option<Rc<dyn Node>> {
        node::pass(self)
    }

    fn interrupt(&self, _why: &Interrupt) -> Option<Rc<dyn Node>> {
        let stage = self.stage.replace(Stage::Empty);
        let before = match &stage {
            Stage::Input(before, _) | Stage::Inner(before) => before.upgrade(),
            Stage::Empty | Stage::Done(_) => None,
        };
        self.stage.set(stage);
        before
    }

    fn wait_for(&self, before: Weak<dyn Node>) {
        let stage = match self.stage.replace(Stage::Empty) {
            Stage::Input(_, step) => Stage::Input(before, step),
            Stage::Inner(_) | Stage::Empty => Stage::Inner(before),
            Stage::Done(outcome) => Stage::Done(outcome),
        };
        self.stage.set(stage);
    }

    fn release(&self) -> bool {
        self.out.release()
    }

    fn unlink(&self) -> Option<Rc<dyn Node>> {
        self.out.unlink()
    }
}

impl<T, E, U, E2, F> Sink<T, E> for Link<U, E2, F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    E2: Fault,
    F: FnOnce(Result<T, E>) -> Step<U, E2> + 'static,
{
    fn take(self: Rc<Self>, outcome: Outcome<T, E>) -> Option<Rc<dyn Node>> {
        let Stage::Input(_, step) = self.stage.replace(Stage::Empty) else { return None };
        match apply(step, outcome, self.out.site()) {
            Ok(outcome) => {
                if self.settle(outcome) {
                    Some(self)
                } else {
                    None
                }
            }
            Err(inner) => follow(self, inner),
        }
    }
}

impl<U: 'static, E2: Fault, F: 'static> Source<U, E2> for Link<U, E2, F> {
    fn out(&self) -> &Out<U, E2> {
        &self.out
    }

    #[inline]
    fn settle(&self, outcome: Outcome<U, E2>) -> bool {
        let before = self.stage.replace(Stage::Done(outcome));
        // Nearly always: then there is nothing to drop, and forgetting says so in fewer instructions.
        if let Stage::Empty = before {
            mem::forget(before);
        } else {
            drop_cold(before);
        }
        self.out.filled()
    }

    #[inline]
    fn take_outcome(&self) -> Option<Outcome<U, E2>> {
        match self.stage.replace(Stage::Empty) {
            Stage::Done(outcome) => {
                self.out.emptied();
                Some(outcome)
            }
            stage => {
                self.stage.set(stage);
                None
            }
        }
    }
}

impl<U: 'static, E2: Fault, F> Drop for Link<U, E2, F> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Done(Err(failed)) = self.stage.get_mut() {
            node::leave(&self.out, failed);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_cold<T>(value: T) {
    drop(value);
}

/// Calls a step, which is dropped with all it captured before this returns. `Err` is a deferred that has no result yet.
#[inline]
pub(super) fn apply<T: 'static, E: Fault, U: 'static, E2: Fault>(
    step: impl FnOnce(Result<T, E>) -> Step<U, E2>,
    outcome: Outcome<T, E>,
    site: &'static Location<'static>,
) -> Result<Outcome<U, E2>, Deferred<U, E2>> {
    let (result, past) = match outcome {
        Ok(value) => (Ok(value), None),
        Err(failed) => {
            let (error, past) = failed.split();
            (Err(error), Some(past))
        }
    };
    match guard(move || step(result)) {
        Ok(Step::Value(value)) => Ok(Ok(value)),
        Ok(Step::Failed(error)) => Ok(Err(Failed::new(error, site))),
        Ok(Step::Passed(error)) => Ok(Err(match past {
            Some(past) => past.rejoin(error, site),
            None => Failed::new(error, site),
        })),
        Ok(Step::TimedOut(error)) => Ok(Err(match past {
            Some(past) => past.too_late(error, site),
            None => Failed::new(error, site),
        })),
        Ok(Step::Wait(inner)) => match inner.into_outcome() {
            Ok(outcome) => Ok(outcome.map_err(|mut failed| {
                failed.hop(site);
                failed
            })),
            Err(inner) => Err(inner),
        },
        Err(text) => Ok(Err(Failed::interrupted(Interrupt::Panicked(text), site))),
    }
}

/// `node` comes to whatever `inner` comes to.
pub(super) fn follow<U: 'static, E2: Fault, N: Source<U, E2> + 'static>(
    node: Rc<N>,
    inner: Deferred<U, E2>,
) -> Option<Rc<dyn Node>> {
    let outcome = match inner.into_source() {
        Ok(inner) if std::ptr::addr_eq(Rc::as_ptr(&inner), Rc::as_ptr(&node)) => {
            // It would wait for itself for ever.
            Err(Failed::interrupted(Interrupt::Abandoned, node.out().site()))
        }
        Ok(inner) => {
            // A loop that goes on by returning its next round waits for one deferred, not for as many as there were rounds.
            if !node.out().step_aside(&inner) {
                node.wait_for(Rc::downgrade(&inner) as Weak<dyn Node>);
                inner.out().lead_follower(node);
            }
            return None;
        }
        Err(outcome) => outcome,
    };
    if node.settle(outcome) { Some(node) } else { None }
}
