//! [`Lease`]: the first node of a chain that waits for its turn in a line, for something that must not get lost. What nobody took goes back.

use std::cell::Cell;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::interrupt::Interrupt;
use super::node::{self, Node, Out, Source, drive};
use super::origin::Origin;
use super::outcome::{Failed, Outcome};
use super::{Deferred, State};
use crate::failure::Failure;

/// Whoever keeps the line.
pub(crate) trait Lender<T> {
    /// Strikes this one off the line: it waits no more.
    fn leave(&self, turn: u64);

    /// Takes back the value with this number, which nobody has looked at.
    fn give_back(&self, number: u64, value: T);
}

/// Fires a deferred as a [`Resolver`](super::Resolver) does. Unlike that it knows when its deferred is dropped: before its turn it leaves the
/// line, and afterwards it gives back what was not taken.
pub(crate) struct Lease<T: 'static> {
    lender: Weak<dyn Lender<T>>,
    /// Its turn in the line; then the number of the value.
    number: Cell<u64>,
    outcome: Cell<Option<Outcome<T, Failure>>>,
    out: Out<T, Failure>,
}

impl<T: 'static> Lease<T> {
    pub(crate) fn new(
        lender: Weak<dyn Lender<T>>,
        turn: u64,
        site: &'static Location<'static>,
    ) -> (Deferred<T>, Rc<Self>) {
        let origin = Origin::new(site);
        let lease = Rc::new(Self {
            lender,
            number: Cell::new(turn),
            outcome: Cell::new(None),
            out: Out::new(origin, site),
        });
        let source = Rc::clone(&lease) as Rc<dyn Source<T, Failure>>;
        (Deferred { state: State::Node(source), origin }, lease)
    }

    /// Fires with a value. The caller has taken it off the line.
    pub(crate) fn resolve(self: Rc<Self>, number: u64, value: T) {
        self.number.set(number);
        if self.out.is_settled() {
            self.give_back(value);
        } else {
            self.fire(Ok(value));
        }
    }

    /// Fires with [`Interrupt::Abandoned`]. The caller has taken it off the line.
    pub(crate) fn abandon(self: Rc<Self>) {
        self.fail(Interrupt::Abandoned);
    }

    fn fail(&self, why: Interrupt) {
        if !self.out.is_settled() {
            self.fire(Err(Failed::interrupted(why, self.out.site())));
        }
    }

    fn fire(&self, outcome: Outcome<T, Failure>) {
        if self.settle(outcome) {
            drive(node::pass(self));
        }
    }

    fn leave(&self) {
        if !self.out.is_settled()
            && let Some(lender) = self.lender.upgrade()
        {
            lender.leave(self.number.get());
        }
    }

    fn give_back(&self, value: T) {
        if let Some(lender) = self.lender.upgrade() {
            lender.give_back(self.number.get(), value);
        }
    }
}

impl<T: 'static> Node for Lease<T> {
    fn pass(&self) -> Option<Rc<dyn Node>> {
        node::pass(self)
    }

    fn interrupt(&self, why: &Interrupt) -> Option<Rc<dyn Node>> {
        self.leave();
        self.fail(why.clone());
        None
    }

    fn wait_for(&self, _before: Weak<dyn Node>) {}

    fn release(&self) -> bool {
        self.out.release()
    }

    fn unlink(&self) -> Option<Rc<dyn Node>> {
        self.out.unlink()
    }
}

impl<T: 'static> Source<T, Failure> for Lease<T> {
    fn out(&self) -> &Out<T, Failure> {
        &self.out
    }

    fn settle(&self, outcome: Outcome<T, Failure>) -> bool {
        self.outcome.set(Some(outcome));
        self.out.filled()
    }

    fn take_outcome(&self) -> Option<Outcome<T, Failure>> {
        let outcome = self.outcome.take();
        if outcome.is_some() {
            self.out.emptied();
        }
        outcome
    }

    fn forsake(&self) {
        self.leave();
    }
}

impl<T: 'static> Drop for Lease<T> {
    fn drop(&mut self) {
        match self.outcome.take() {
            Some(Ok(value)) => self.give_back(value),
            Some(Err(failed)) => node::leave(&self.out, &failed),
            None => {}
        }
    }
}
