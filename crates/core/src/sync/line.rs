//! [`Line`]: those who wait for something, first in, first out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::deferred::{Deferred, Lease, Lender};

/// A line of waiters, by their turn.
pub(super) struct Line<T: 'static> {
    waiting: RefCell<BTreeMap<u64, Rc<Lease<T>>>>,
    turns: Cell<u64>,
    serving: Cell<bool>,
}

/// What there is for the first of a line.
pub(super) enum Supply<T> {
    /// A value, with its number.
    Value(u64, T),
    /// Nothing for now.
    Nothing,
    /// Nothing ever.
    Closed,
}

impl<T: 'static> Line<T> {
    pub(super) fn new() -> Self {
        Self { waiting: RefCell::default(), turns: Cell::new(0), serving: Cell::new(false) }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Puts a new deferred at the end.
    pub(super) fn join(
        &self,
        lender: Weak<dyn Lender<T>>,
        site: &'static Location<'static>,
    ) -> Deferred<T> {
        let turn = self.turns.get();
        self.turns.set(turn + 1);
        let (deferred, lease) = Lease::new(lender, turn, site);
        self.waiting.borrow_mut().insert(turn, lease);
        deferred
    }

    pub(super) fn leave(&self, turn: u64) {
        let gone = self.waiting.borrow_mut().remove(&turn);
        drop(gone);
    }

    /// Serves the first until there is none, or nothing to serve. Fires them one after the other: called from inside one, it leaves the
    /// rest to the call that is on the stack. `supply` calls and drops nothing of the user's.
    pub(super) fn serve(&self, mut supply: impl FnMut() -> Supply<T>) {
        if self.is_empty() || self.serving.replace(true) {
            return;
        }
        let _done = Done(&self.serving);
        while !self.is_empty() {
            let supply = supply();
            if let Supply::Nothing = supply {
                return;
            }
            let first = self.waiting.borrow_mut().pop_first();
            match (first, supply) {
                (Some((_, first)), Supply::Value(number, value)) => first.resolve(number, value),
                (Some((_, first)), _) => first.abandon(),
                (None, _) => return,
            }
        }
    }
}

/// Nobody is left who could serve.
impl<T: 'static> Drop for Line<T> {
    fn drop(&mut self) {
        while let Some((_, first)) = self.waiting.get_mut().pop_first() {
            first.abandon();
        }
    }
}

/// The line is served no more, also when a value's drop has panicked.
struct Done<'a>(&'a Cell<bool>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
