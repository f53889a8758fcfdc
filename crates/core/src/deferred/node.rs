//! What the nodes of a chain have in common, and the loops that go along a chain: firing, cancelling, dropping. None of them recurses.
//!
//! A node owns the one after it and knows the one before it weakly; the [`Resolver`](super::Resolver) owns the first. Everything shared is
//! in `Cell`s: values are taken out before anything of the user's is called or dropped, so there is no borrow to hold.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use super::interrupt::{Fault, Interrupt};
use super::outcome::Outcome;
use super::report;
use crate::panic::guard_quietly;

/// A node, whatever goes through it.
pub(super) trait Node {
    /// What it waited for has its result: takes it, and returns the node that has now something to take.
    fn run(self: Rc<Self>) -> Option<Rc<dyn Node>>;

    /// Returns the node it waits for. One that waits for no other is interrupted itself, unless it has its result.
    fn interrupt(&self, why: &Interrupt) -> Option<Rc<dyn Node>>;

    /// Waits for another node from now on: a `Weak<dyn Source<T, E>>` of the types it waits for now.
    fn wait_for(&self, source: &dyn Any);

    /// Takes a hold off; returns the node that has now something to take.
    fn release(&self) -> Option<Rc<dyn Node>>;

    /// Lets go of the node after it.
    fn unlink(&self) -> Option<Rc<dyn Node>>;
}

/// A node out of which a `Result<T, E>` comes.
pub(super) trait Source<T: 'static, E: Fault>: Node {
    fn out(&self) -> &Out<T, E>;

    /// Forgets what it was to do if it had been interrupted: it has been fired.
    fn close(&self) {}

    /// The deferred at its end was dropped, and nothing has been added to it.
    fn forsake(&self) {}
}

/// The side of a node on which its result comes out.
pub(super) struct Out<T: 'static, E: Fault> {
    outcome: Cell<Option<Outcome<T, E>>>,
    next: Cell<Next>,
    /// How many times it is paused.
    holds: Cell<u32>,
    settled: Cell<bool>,
    /// Nobody wants to hear of a failure that stays here.
    quiet: Cell<bool>,
    /// There may be a handle that cancels from here.
    watched: Cell<bool>,
    head: &'static Location<'static>,
    site: &'static Location<'static>,
}

/// Who takes the result.
#[derive(Default)]
enum Next {
    #[default]
    Nobody,
    Node(Rc<dyn Node>),
    Task(Waker),
}

impl<T: 'static, E: Fault> Out<T, E> {
    /// `head` is where the chain was begun, `site` where this node was made.
    pub(super) fn new(head: &'static Location<'static>, site: &'static Location<'static>) -> Self {
        Self {
            outcome: Cell::new(None),
            next: Cell::default(),
            holds: Cell::new(0),
            settled: Cell::new(false),
            quiet: Cell::new(false),
            watched: Cell::new(false),
            head,
            site,
        }
    }

    pub(super) fn head(&self) -> &'static Location<'static> {
        self.head
    }

    pub(super) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    /// Whether it has, or had, its result.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Whether the result can be taken now.
    pub(super) fn is_ready(&self) -> bool {
        let outcome = self.outcome.take();
        let there = outcome.is_some();
        self.outcome.set(outcome);
        there && self.holds.get() == 0
    }

    /// Takes the result, if it is there and not held back.
    pub(super) fn take(&self) -> Option<Outcome<T, E>> {
        if self.holds.get() == 0 { self.outcome.take() } else { None }
    }

    /// Has its result; returns the node that takes it now. Whoever calls keeps this node alive until that one has run.
    #[must_use = "the node returned is to be run"]
    pub(super) fn settle(&self, outcome: Outcome<T, E>) -> Option<Rc<dyn Node>> {
        self.settled.set(true);
        self.outcome.set(Some(outcome));
        self.deliver()
    }

    fn deliver(&self) -> Option<Rc<dyn Node>> {
        if self.holds.get() > 0 || !self.settled.get() {
            return None;
        }
        match self.next.take() {
            Next::Nobody => None,
            Next::Node(node) => Some(node),
            Next::Task(waker) => {
                guard_quietly("Waker::wake", || waker.wake());
                None
            }
        }
    }

    /// The result goes to this node when it can.
    pub(super) fn lead_to(&self, node: Rc<dyn Node>) {
        self.next.set(Next::Node(node));
    }

    /// Wakes this task when the result can be taken.
    pub(super) fn wake(&self, waker: Waker) {
        self.quiet.set(true);
        self.next.set(Next::Task(waker));
    }

    /// Whether a task waits for the result. It waits no more.
    pub(super) fn leave_task(&self) -> bool {
        match self.next.take() {
            Next::Task(_) => true,
            other => {
                self.next.set(other);
                false
            }
        }
    }

    pub(super) fn hold(&self) {
        self.holds.set(self.holds.get() + 1);
    }

    pub(super) fn release(&self) -> Option<Rc<dyn Node>> {
        self.holds.set(self.holds.get() - 1);
        self.deliver()
    }

    pub(super) fn watch(&self) {
        self.watched.set(true);
    }

    /// Lets go of the node after it, if nothing needs this one between that node and what this one waits for.
    pub(super) fn step_aside(&self) -> Option<Rc<dyn Node>> {
        if self.holds.get() > 0 || self.watched.get() { None } else { self.unlink() }
    }

    pub(super) fn unlink(&self) -> Option<Rc<dyn Node>> {
        match self.next.take() {
            Next::Node(node) => Some(node),
            other => {
                self.next.set(other);
                None
            }
        }
    }
}

impl<T: 'static, E: Fault> Drop for Out<T, E> {
    fn drop(&mut self) {
        if let Some(Err(failed)) = self.outcome.get_mut()
            && !self.quiet.get()
        {
            report::unhandled(self.head, failed);
        }
        // Only where firing itself was cut short is there a chain left to drop: one by one, not each inside the one before.
        if let Next::Node(_) = self.next.get_mut() {
            let mut next = self.unlink();
            while let Some(node) = next {
                next = if Rc::strong_count(&node) == 1 { node.unlink() } else { None };
            }
        }
    }
}

/// Runs a chain from the node that has something to take.
pub(super) fn drive(first: Option<Rc<dyn Node>>) {
    let Some(mut node) = first else { return };
    let mut before = Rc::clone(&node);
    while let Some(next) = Rc::clone(&node).run() {
        // The one before has given its result away; this one lives until the next has taken its.
        drop(mem::replace(&mut before, mem::replace(&mut node, next)));
    }
}

/// Interrupts the innermost thing a node waits for.
pub(super) fn interrupt(node: Rc<dyn Node>, why: &Interrupt) {
    let mut node = node;
    // A chain that waits for itself has no innermost thing. Brent's way of finding out.
    let mut anchor = Rc::clone(&node);
    let (mut steps, mut limit) = (0_usize, 1_usize);
    while let Some(before) = node.interrupt(why) {
        if Rc::ptr_eq(&before, &anchor) {
            return;
        }
        steps += 1;
        if steps == limit {
            anchor = Rc::clone(&before);
            (steps, limit) = (0, limit * 2);
        }
        node = before;
    }
}
