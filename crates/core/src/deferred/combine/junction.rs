//! [`Junction`]: where several deferreds meet. It hears each input once, asks the tally of its combination whether that decides it, and
//! fires the one deferred that comes out. What is counted, and how, is the combination's.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use super::Rest;
use crate::deferred::outcome::Step;
use crate::deferred::{CancelHandle, Deferred, Fault, Resolver};
use crate::panic::guard_quietly;

/// Owned by the steps that it adds to its inputs, so that it lives until the last of them has fired.
pub(super) struct Junction<S: 'static, R: 'static, E: Fault> {
    /// What has come so far, until it is told.
    tally: RefCell<Option<S>>,
    inputs: Cell<Vec<CancelHandle>>,
    end: Cell<Option<Resolver<R, E>>>,
    /// What it has come to, until it is told.
    outcome: Cell<Option<Result<R, E>>>,
    decided: Cell<bool>,
    /// Inputs are being added or cancelled: the outcome is told when all of them have been.
    busy: Cell<bool>,
    cancelled: Cell<bool>,
    rest: Rest,
    site: &'static Location<'static>,
}

impl<S: 'static, R: 'static, E: Fault> Junction<S, R, E> {
    /// Makes one that waits to be [started](Self::start).
    pub(super) fn new(tally: S, rest: Rest, site: &'static Location<'static>) -> Rc<Self> {
        Rc::new(Self {
            tally: RefCell::new(Some(tally)),
            inputs: Cell::default(),
            end: Cell::new(None),
            outcome: Cell::new(None),
            decided: Cell::new(false),
            busy: Cell::new(true),
            cancelled: Cell::new(false),
            rest,
            site,
        })
    }

    /// Adds an input. `count` is called with its result, unless the outcome is known by then; it calls and drops nothing of the user's.
    pub(super) fn add<T: 'static, E0: Fault>(
        self: &Rc<Self>,
        input: Deferred<T, E0>,
        count: impl FnOnce(&mut S, Result<T, E0>) -> Option<Result<R, E>> + 'static,
    ) {
        if !input.is_ready() {
            let mut inputs = self.inputs.take();
            inputs.push(input.cancel_handle());
            self.inputs.set(inputs);
        }
        let this = Rc::clone(self);
        // Nobody looks at what the step passes on: so it is logged.
        drop(input.step::<(), E0>(self.site, move |result| match this.hear(result, count) {
            Some(unheard) => Step::Passed(unheard),
            None => Step::Value(()),
        }));
    }

    /// Returns what comes out. To be called once, when all inputs have been added.
    pub(super) fn start(self: &Rc<Self>) -> Deferred<R, E> {
        let out = self.open();
        self.busy.set(false);
        if self.decided.get() {
            self.conclude();
        }
        out
    }

    /// Returns an error that comes too late, if it is to be logged.
    fn hear<T, E0>(
        &self,
        result: Result<T, E0>,
        count: impl FnOnce(&mut S, Result<T, E0>) -> Option<Result<R, E>>,
    ) -> Option<E0> {
        if self.decided.get() {
            return match result {
                Err(late) if self.rest == Rest::RunOn && !self.cancelled.get() => Some(late),
                _ => None,
            };
        }
        let outcome = self.tally.borrow_mut().as_mut().and_then(|tally| count(tally, result))?;
        self.decided.set(true);
        self.outcome.set(Some(outcome));
        if !self.busy.get() {
            self.conclude();
        }
        None
    }

    fn conclude(&self) {
        if self.rest == Rest::Cancel {
            self.cancel_inputs();
        }
        self.tell();
    }

    fn tell(&self) {
        drop(self.inputs.take());
        let tally = self.tally.take();
        guard_quietly("drop of a result", || drop(tally));
        if let (Some(end), Some(outcome)) = (self.end.take(), self.outcome.take()) {
            end.finish(outcome);
        }
    }

    /// The deferred that comes out was cancelled.
    fn cancel(self: &Rc<Self>) {
        if !self.busy.get() {
            self.cancelled.set(true);
            self.cancel_inputs();
            if self.decided.get() {
                return self.tell();
            }
        }
        // There are inputs that have not ended yet: so this one has not, either. It can be cancelled again.
        if let Some(end) = self.end.take() {
            end.follow(self.open());
        }
    }

    fn cancel_inputs(&self) {
        self.busy.set(true);
        let inputs = self.inputs.take();
        for input in &inputs {
            input.cancel();
        }
        self.inputs.set(inputs);
        self.busy.set(false);
    }

    fn open(self: &Rc<Self>) -> Deferred<R, E> {
        let this = Rc::downgrade(self);
        let canceller = move || {
            if let Some(this) = this.upgrade() {
                this.cancel();
            }
        };
        let (out, end) = Deferred::open(self.site, Some(canceller));
        self.end.set(Some(end));
        out
    }
}

/// As many places as there are inputs.
pub(super) struct Places<X> {
    places: Vec<Option<X>>,
    free: usize,
}

impl<X> Places<X> {
    pub(super) fn new(count: usize) -> Self {
        Self { places: std::iter::repeat_with(|| None).take(count).collect(), free: count }
    }

    /// Fills a free place; returns what is in all of them when that was the last.
    pub(super) fn fill(&mut self, index: usize, content: X) -> Option<Vec<X>> {
        self.places[index] = Some(content);
        self.free -= 1;
        (self.free == 0).then(|| self.places.drain(..).flatten().collect())
    }
}
