//! What the nodes of a chain have in common, and the loops that go along a chain: firing, cancelling, dropping. None of them recurses.
//!
//! A node owns the one after it, hands its result on to it, and knows the one before it weakly, to pass a cancel back; the
//! [`Resolver`](super::Resolver) owns the first. Everything shared is in `Cell`s: values are taken out before anything of the user's is
//! called or dropped, so there is no borrow to hold.

use std::cell::Cell;
use std::mem;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::Waker;

use super::interrupt::{Fault, Interrupt};
use super::origin::Origin;
use super::outcome::{Failed, Outcome};
use super::report;
use crate::log::Whose;
use crate::panic::guard_quietly;

/// A node, whatever goes through it.
pub(super) trait Node {
    /// Hands its result on to the node after it; returns that one if it has now a result to hand on itself.
    fn pass(&self) -> Option<Rc<dyn Node>>;

    /// Returns the node it waits for. One that waits for no other is interrupted itself, unless it has its result.
    fn interrupt(&self, why: &Interrupt) -> Option<Rc<dyn Node>>;

    /// Waits for another node from now on.
    fn wait_for(&self, before: Weak<dyn Node>);

    /// Takes a hold off; returns whether there is something to hand on.
    fn release(&self) -> bool;

    /// Lets go of the node after it.
    fn unlink(&self) -> Option<Rc<dyn Node>>;
}

/// A node that takes a `Result<T, E>`.
pub(super) trait Sink<T: 'static, E: Fault>: Node {
    /// What it waited for came to this. Returns itself if it has now a result to hand on.
    fn take(self: Rc<Self>, outcome: Outcome<T, E>) -> Option<Rc<dyn Node>>;
}

/// A node out of which a `Result<T, E>` comes.
pub(super) trait Source<T: 'static, E: Fault>: Node {
    fn out(&self) -> &Out<T, E>;

    /// Has its result, and waits for nothing more. Returns whether there is a node to hand it on to now.
    #[must_use = "the result is to be handed on"]
    fn settle(&self, outcome: Outcome<T, E>) -> bool;

    /// Takes the result, if it is there. (Whether it is held back is asked by [`take`].)
    fn take_outcome(&self) -> Option<Outcome<T, E>>;

    /// The deferred at its end was dropped, and nothing has been added to it.
    fn forsake(&self) {}
}

/// The side of a node on which its result comes out. The result itself is kept by the node, where it kept before what it was to do.
pub(super) struct Out<T: 'static, E: Fault> {
    next: Cell<Next<T, E>>,
    head: &'static Location<'static>,
    site: &'static Location<'static>,
    whose: Whose,
    /// The bits below, and above them how many times it is held back.
    state: Cell<u32>,
}

/// Who takes the result.
enum Next<T: 'static, E: Fault> {
    Nobody,
    /// Makes another of it.
    Sink(Rc<dyn Sink<T, E>>),
    /// Comes to the same.
    Follower(Rc<dyn Source<T, E>>),
    Task(Waker),
}

impl<T: 'static, E: Fault> Out<T, E> {
    /// It has, or had, its result.
    const SETTLED: u32 = 1;
    /// The result is here.
    const FULL: u32 = 2;
    /// There is a node after this one.
    const LEADS: u32 = 4;
    /// A task is to be woken.
    const AWAITED: u32 = 8;
    /// Nobody wants to hear of a failure that stays here.
    const QUIET: u32 = 16;
    /// There may be a handle that cancels from here.
    const WATCHED: u32 = 32;
    /// One hold.
    const HOLD: u32 = 64;

    /// `site` is where this node was made.
    #[inline]
    pub(super) fn new(origin: Origin, site: &'static Location<'static>) -> Self {
        Self {
            next: Cell::new(Next::Nobody),
            head: origin.head,
            site,
            whose: origin.whose,
            state: Cell::new(0),
        }
    }

    /// Of the chain.
    #[inline]
    pub(super) fn origin(&self) -> Origin {
        Origin { head: self.head, whose: self.whose }
    }

    #[inline]
    pub(super) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    #[inline]
    fn has(&self, bits: u32) -> bool {
        self.state.get() & bits != 0
    }

    #[inline]
    fn set(&self, bits: u32) {
        self.state.set(self.state.get() | bits);
    }

    #[inline]
    fn unset(&self, bits: u32) {
        self.state.set(self.state.get() & !bits);
    }

    #[inline]
    fn is_held(&self) -> bool {
        self.state.get() >= Self::HOLD
    }

    /// Whether it has, or had, its result.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.has(Self::SETTLED)
    }

    /// Whether the result can be taken now.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.has(Self::FULL) && !self.is_held()
    }

    /// The node's result is there now. Returns whether there is a node to hand it on to now; a task is woken.
    #[inline]
    pub(super) fn filled(&self) -> bool {
        self.set(Self::SETTLED | Self::FULL);
        self.deliver()
    }

    /// The node's result is taken.
    #[inline]
    pub(super) fn emptied(&self) {
        self.unset(Self::FULL);
    }

    #[inline]
    fn deliver(&self) -> bool {
        let state = self.state.get();
        if state & (Self::LEADS | Self::AWAITED) == 0 || !self.is_ready() {
            return false;
        }
        if state & Self::LEADS == 0 {
            self.wake_task();
            return false;
        }
        true
    }

    #[cold]
    fn wake_task(&self) {
        if let Next::Task(waker) = self.take_next() {
            guard_quietly("Waker::wake", || waker.wake());
        }
    }

    /// Whether a result need not stay here at all: there is a node to hand it on to.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.has(Self::LEADS) && !self.is_held()
    }

    /// Hands a result on: see [`Node::pass`].
    #[inline]
    pub(super) fn hand_on(&self, outcome: Outcome<T, E>) -> Option<Rc<dyn Node>> {
        self.set(Self::SETTLED);
        match self.take_next() {
            Next::Sink(sink) => sink.take(outcome),
            Next::Follower(node) => hand_over(node, outcome),
            Next::Nobody | Next::Task(_) => None,
        }
    }

    #[inline]
    fn take_next(&self) -> Next<T, E> {
        self.unset(Self::LEADS | Self::AWAITED);
        self.next.replace(Next::Nobody)
    }

    /// The result goes to this node when it can, which makes another of it.
    #[inline]
    pub(super) fn lead_to(&self, sink: Rc<dyn Sink<T, E>>) {
        self.set_next(Next::Sink(sink), Self::LEADS);
    }

    /// The result goes to this node when it can, which comes to the same.
    pub(super) fn lead_follower(&self, node: Rc<dyn Source<T, E>>) {
        self.set_next(Next::Follower(node), Self::LEADS);
    }

    /// Wakes this task when the result can be taken.
    pub(super) fn wake(&self, waker: Waker) {
        self.set(Self::QUIET);
        self.set_next(Next::Task(waker), Self::AWAITED);
    }

    #[inline]
    fn set_next(&self, next: Next<T, E>, bit: u32) {
        self.unset(Self::LEADS | Self::AWAITED);
        self.set(bit);
        self.next.set(next);
    }

    /// Whether a task waits for the result. It waits no more.
    #[inline]
    pub(super) fn leave_task(&self) -> bool {
        if !self.has(Self::AWAITED) {
            return false;
        }
        drop(self.take_next());
        true
    }

    pub(super) fn hold(&self) {
        self.state.set(self.state.get() + Self::HOLD);
    }

    /// Takes a hold off: see [`Node::release`].
    pub(super) fn release(&self) -> bool {
        self.state.set(self.state.get() - Self::HOLD);
        self.deliver()
    }

    pub(super) fn watch(&self) {
        self.set(Self::WATCHED);
    }

    /// The node after this one goes after `inner` instead, if nothing needs this one in between. Returns whether it does.
    pub(super) fn step_aside(&self, inner: &Rc<dyn Source<T, E>>) -> bool {
        if self.is_held() || self.has(Self::WATCHED) || !self.has(Self::LEADS) {
            return false;
        }
        let next = self.take_next();
        let before: Weak<dyn Node> = Rc::downgrade(inner) as _;
        match &next {
            Next::Sink(node) => node.wait_for(before),
            Next::Follower(node) => node.wait_for(before),
            Next::Nobody | Next::Task(_) => {}
        }
        inner.out().set_next(next, Self::LEADS);
        true
    }

    pub(super) fn unlink(&self) -> Option<Rc<dyn Node>> {
        if !self.has(Self::LEADS) {
            return None;
        }
        match self.take_next() {
            Next::Sink(node) => Some(node),
            Next::Follower(node) => Some(node),
            Next::Nobody | Next::Task(_) => None,
        }
    }
}

impl<T: 'static, E: Fault> Drop for Out<T, E> {
    #[inline]
    fn drop(&mut self) {
        if self.has(Self::LEADS) {
            drop_chain(self.unlink());
        }
    }
}

/// Takes the result of a node, if it is there and not held back.
#[inline]
pub(super) fn take<T: 'static, E: Fault>(
    node: &(impl Source<T, E> + ?Sized),
) -> Option<Outcome<T, E>> {
    if node.out().is_ready() { node.take_outcome() } else { None }
}

/// Hands the result of a node on: see [`Node::pass`].
#[inline]
pub(super) fn pass<T: 'static, E: Fault>(node: &impl Source<T, E>) -> Option<Rc<dyn Node>> {
    let out = node.out();
    if out.deliver() { out.hand_on(node.take_outcome()?) } else { None }
}

/// Gives a result to the node that was to come to the same.
#[inline(never)]
fn hand_over<T: 'static, E: Fault>(
    node: Rc<dyn Source<T, E>>,
    mut outcome: Outcome<T, E>,
) -> Option<Rc<dyn Node>> {
    if let Err(failed) = &mut outcome {
        failed.hop(node.out().site);
    }
    if node.settle(outcome) { Some(node) } else { None }
}

/// A node is dropped with its result, which is told of if it is a failure.
#[inline]
pub(super) fn leave<T: 'static, E: Fault>(out: &Out<T, E>, failed: &Failed<E>) {
    if !out.has(Out::<T, E>::QUIET) {
        report::unhandled(out.origin(), failed);
    }
}

/// Only where firing itself was cut short is there a chain left to drop: one by one, not each inside the one before.
#[cold]
fn drop_chain(mut next: Option<Rc<dyn Node>>) {
    while let Some(node) = next {
        next = if Rc::strong_count(&node) == 1 { node.unlink() } else { None };
    }
}

/// Hands results on, from this node to the end of the chain.
#[inline]
pub(super) fn drive(first: Option<Rc<dyn Node>>) {
    let Some(mut node) = first else { return };
    while let Some(next) = node.pass() {
        drop(mem::replace(&mut node, next));
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
