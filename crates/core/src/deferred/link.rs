//! [`Link`]: a step that takes one result and makes the next of it. One allocation, which holds the step and later its result.

use std::any::Any;
use std::cell::Cell;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use super::node::{Node, Out, Source};
use super::outcome::{Failed, Outcome, Step};
use crate::panic::guard;

pub(super) struct Link<T: 'static, E: Fault, U: 'static, E2: Fault, F> {
    step: Cell<Option<F>>,
    waits: Cell<Waits<T, E, U, E2>>,
    out: Out<U, E2>,
}

/// What a link waits for.
enum Waits<T: 'static, E: Fault, U: 'static, E2: Fault> {
    Input(Weak<dyn Source<T, E>>),
    /// The deferred that the step returned.
    Inner(Weak<dyn Source<U, E2>>),
    Nothing,
}

impl<T, E, U, E2, F> Link<T, E, U, E2, F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    E2: Fault,
    F: FnOnce(Result<T, E>) -> Step<U, E2> + 'static,
{
    /// Appends a step to a node that has no result yet, or is held back.
    pub(super) fn append(
        source: &Rc<dyn Source<T, E>>,
        site: &'static Location<'static>,
        step: F,
    ) -> Rc<dyn Source<U, E2>> {
        let link = Rc::new(Self {
            step: Cell::new(Some(step)),
            waits: Cell::new(Waits::Input(Rc::downgrade(source))),
            out: Out::new(source.out().head(), site),
        });
        source.out().lead_to(Rc::clone(&link) as Rc<dyn Node>);
        link
    }
}

impl<T, E, U, E2, F> Node for Link<T, E, U, E2, F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    E2: Fault,
    F: FnOnce(Result<T, E>) -> Step<U, E2> + 'static,
{
    fn run(self: Rc<Self>) -> Option<Rc<dyn Node>> {
        match self.waits.replace(Waits::Nothing) {
            Waits::Input(source) => {
                let outcome = source.upgrade()?.out().take()?;
                let step = self.step.take()?;
                match apply(step, outcome, self.out.site()) {
                    Ok(outcome) => self.out.settle(outcome),
                    Err(inner) => follow(self, inner, |link, inner| {
                        link.waits.set(Waits::Inner(inner));
                    }),
                }
            }
            Waits::Inner(source) => {
                let mut outcome = source.upgrade()?.out().take()?;
                if let Err(failed) = &mut outcome {
                    failed.hop(self.out.site());
                }
                self.out.settle(outcome)
            }
            Waits::Nothing => None,
        }
    }

    fn interrupt(&self, _why: &Interrupt) -> Option<Rc<dyn Node>> {
        let waits = self.waits.replace(Waits::Nothing);
        let before: Option<Rc<dyn Node>> = match &waits {
            Waits::Input(source) => source.upgrade().map(|source| source as Rc<dyn Node>),
            Waits::Inner(source) => source.upgrade().map(|source| source as Rc<dyn Node>),
            Waits::Nothing => None,
        };
        self.waits.set(waits);
        before
    }

    fn wait_for(&self, source: &dyn Any) {
        let waits = match self.waits.replace(Waits::Nothing) {
            Waits::Input(old) => Waits::Input(source.downcast_ref().map_or(old, Weak::clone)),
            Waits::Inner(old) => Waits::Inner(source.downcast_ref().map_or(old, Weak::clone)),
            Waits::Nothing => Waits::Nothing,
        };
        self.waits.set(waits);
    }

    fn release(&self) -> Option<Rc<dyn Node>> {
        self.out.release()
    }

    fn unlink(&self) -> Option<Rc<dyn Node>> {
        self.out.unlink()
    }
}

impl<T, E, U, E2, F> Source<U, E2> for Link<T, E, U, E2, F>
where
    T: 'static,
    E: Fault,
    U: 'static,
    E2: Fault,
    F: FnOnce(Result<T, E>) -> Step<U, E2> + 'static,
{
    fn out(&self) -> &Out<U, E2> {
        &self.out
    }
}

/// Calls a step, which is dropped with all it captured before this returns. `Err` is a deferred that has no result yet.
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

/// `node` comes to whatever `inner`, which has no result yet, comes to.
pub(super) fn follow<U: 'static, E2: Fault, N: Source<U, E2> + 'static>(
    node: Rc<N>,
    inner: Deferred<U, E2>,
    wait: impl FnOnce(&N, Weak<dyn Source<U, E2>>),
) -> Option<Rc<dyn Node>> {
    let site = node.out().site();
    let inner = match inner.into_source() {
        Ok(source) => source,
        Err(outcome) => return node.out().settle(outcome),
    };
    if std::ptr::addr_eq(Rc::as_ptr(&inner), Rc::as_ptr(&node)) {
        // It would wait for itself for ever.
        return node.out().settle(Err(Failed::interrupted(Interrupt::Abandoned, site)));
    }
    if let Some(next) = node.out().step_aside() {
        // A loop that goes on by returning its next round waits for one deferred, not for as many as there were rounds.
        next.wait_for(&Rc::downgrade(&inner));
        inner.out().lead_to(next);
    } else {
        wait(&node, Rc::downgrade(&inner));
        inner.out().lead_to(node);
    }
    None
}
