//! [`Resolver`], the end at which a deferred is fired, and [`Root`], the first node of a chain.

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::{Rc, Weak};

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use super::link::follow;
use super::node::{self, Node, Out, Source, drive};
use super::origin::Origin;
use super::outcome::{Failed, Outcome};
use crate::failure::Failure;
use crate::panic::{guard, guard_quietly};

/// Fires a [`Deferred`], once: every way to do so consumes it. Dropped unfired it fires [`Interrupt::Abandoned`]; dropped unfired by the
/// deferred's canceller, [`Interrupt::Cancelled`].
///
/// The chain runs before the call returns. After a cancel the result is dropped unheard.
///
/// A resolver that is captured by a step of its own chain keeps that chain alive until it is fired or cancelled.
#[must_use = "dropping it fires the Deferred with Interrupt::Abandoned"]
pub struct Resolver<T: 'static, E: Fault = Failure>(Option<Rc<dyn Open<T, E>>>);

impl<T: 'static, E: Fault> Resolver<T, E> {
    /// Fires with a value.
    #[doc(alias = "callback")]
    pub fn resolve(self, value: T) {
        self.finish(Ok(value));
    }

    /// Fires with an error.
    #[doc(alias = "errback")]
    pub fn fail(self, error: E) {
        self.finish(Err(error));
    }

    /// Fires with a result.
    pub fn finish(mut self, result: Result<T, E>) {
        if let Some(root) = self.0.take() {
            root.fire(result);
        }
    }

    /// Fires with whatever `deferred` comes to, when it does. From then on a cancel goes to `deferred`. Constant stack, however many
    /// deferreds follow each other. If this side was cancelled already, so is `deferred`, and what it comes to is dropped unheard.
    #[doc(alias = "chainDeferred")]
    pub fn follow(mut self, deferred: Deferred<T, E>) {
        let Some(root) = self.0.take() else { return };
        if root.out().is_settled() {
            deferred.cancel();
            deferred.ignore();
            return;
        }
        match deferred.into_outcome() {
            Ok(outcome) => {
                if root.settle(outcome) {
                    drive(Some(root));
                }
            }
            Err(deferred) => drive(root.follow(deferred)),
        }
    }

    /// Whether the deferred was cancelled: a result would be dropped unheard.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|root| root.out().is_settled())
    }
}

impl<T: 'static, E: Fault> Drop for Resolver<T, E> {
    fn drop(&mut self) {
        if let Some(root) = self.0.take() {
            root.abandon();
        }
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Resolver<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.0.as_ref().map(|root| root.out().site().to_string());
        f.debug_struct("Resolver")
            .field("cancelled", &self.is_cancelled())
            .field("made", &made)
            .finish()
    }
}

/// A first node that is still to be fired.
trait Open<T: 'static, E: Fault>: Source<T, E> {
    /// Has its result, unless it was cancelled before, and hands it on.
    fn fire(self: Rc<Self>, result: Result<T, E>);

    /// Nobody is left to fire it.
    fn abandon(self: Rc<Self>);

    fn follow(self: Rc<Self>, deferred: Deferred<T, E>) -> Option<Rc<dyn Node>>;
}

/// The first node of a chain: waits for its resolver, or for the deferred that the resolver follows.
pub(super) struct Root<T: 'static, E: Fault, C> {
    stage: Cell<Stage<T, E, C>>,
    out: Out<T, E>,
}

enum Stage<T: 'static, E: Fault, C> {
    Resolver(Option<C>),
    Inner(Weak<dyn Node>),
    /// Its canceller runs, or its result was taken.
    Empty,
    Done(Outcome<T, E>),
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Root<T, E, C> {
    #[inline]
    pub(super) fn open(
        origin: Origin,
        canceller: Option<C>,
    ) -> (Rc<dyn Source<T, E>>, Resolver<T, E>) {
        let stage = Cell::new(Stage::Resolver(canceller));
        let root = Rc::new(Self { stage, out: Out::new(origin, origin.head) });
        (Rc::clone(&root) as Rc<dyn Source<T, E>>, Resolver(Some(root)))
    }

    /// Has its result and hands it on, without a stay here if it can. The caller keeps the node alive.
    #[inline]
    fn finish(&self, outcome: Outcome<T, E>) {
        Self::close(self.stage.replace(Stage::Empty));
        if self.out.is_open() {
            drive(self.out.hand_on(outcome));
        } else {
            // Held back, or for a task, or for nobody yet.
            let _ = self.settle(outcome);
        }
    }

    /// Lets go of what it was to do if it had been interrupted.
    #[inline]
    fn close(before: Stage<T, E, C>) {
        if let Stage::Resolver(Some(canceller)) = before
            && mem::needs_drop::<C>()
        {
            guard_quietly("drop of a canceller", || drop(canceller));
        }
    }
}

impl<T: 'static, E: Fault> Root<T, E, fn()> {
    /// A node that has its result, so that the result can be held back.
    pub(super) fn settled(origin: Origin, outcome: Outcome<T, E>) -> Rc<dyn Source<T, E>> {
        let root = Self { stage: Cell::new(Stage::Empty), out: Out::new(origin, origin.head) };
        // It leads nowhere yet.
        let _ = root.settle(outcome);
        Rc::new(root)
    }
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Node for Root<T, E, C> {
    fn pass(&self) -> Option<Rc<dyn Node>> {
        node::pass(self)
    }

    fn interrupt(&self, why: &Interrupt) -> Option<Rc<dyn Node>> {
        let canceller = match self.stage.replace(Stage::Empty) {
            Stage::Resolver(canceller) => canceller,
            Stage::Inner(before) => {
                let node = before.upgrade();
                self.stage.set(Stage::Inner(before));
                return node;
            }
            // It has its result, or its canceller is on the stack.
            stage => {
                self.stage.set(stage);
                return None;
            }
        };
        let why = match canceller.map(guard) {
            Some(Err(text)) => Interrupt::Panicked(text),
            Some(Ok(())) | None => why.clone(),
        };
        // The canceller may have fired it, or have left it to another deferred.
        let stage = self.stage.replace(Stage::Empty);
        let left = matches!(stage, Stage::Inner(_));
        self.stage.set(stage);
        if !left && !self.out.is_settled() {
            self.finish(Err(Failed::interrupted(why, self.out.site())));
        }
        None
    }

    fn wait_for(&self, before: Weak<dyn Node>) {
        self.stage.set(Stage::Inner(before));
    }

    fn release(&self) -> bool {
        self.out.release()
    }

    fn unlink(&self) -> Option<Rc<dyn Node>> {
        self.out.unlink()
    }
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Source<T, E> for Root<T, E, C> {
    fn out(&self) -> &Out<T, E> {
        &self.out
    }

    #[inline]
    fn settle(&self, outcome: Outcome<T, E>) -> bool {
        Self::close(self.stage.replace(Stage::Done(outcome)));
        self.out.filled()
    }

    #[inline]
    fn take_outcome(&self) -> Option<Outcome<T, E>> {
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

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Open<T, E> for Root<T, E, C> {
    fn fire(self: Rc<Self>, result: Result<T, E>) {
        // Cancelled before: swallowed.
        if !self.out.is_settled() {
            self.finish(match result {
                Ok(value) => Ok(value),
                Err(error) => Err(Failed::new(error, self.out.site())),
            });
        }
    }

    #[cold]
    fn abandon(self: Rc<Self>) {
        if self.out.is_settled() {
            return;
        }
        match self.stage.replace(Stage::Empty) {
            // The canceller, which is on the stack, has let go of the resolver: that is a cancel, and said when it returns.
            Stage::Empty => return,
            before => Self::close(before),
        }
        // Unless it was fired from inside a drop.
        if !self.out.is_settled() {
            self.finish(Err(Failed::interrupted(Interrupt::Abandoned, self.out.site())));
        }
    }

    fn follow(self: Rc<Self>, deferred: Deferred<T, E>) -> Option<Rc<dyn Node>> {
        // Even if it steps aside: a canceller of its own that is on the stack has left it to another.
        Self::close(self.stage.replace(Stage::Inner(Weak::<Self>::new())));
        follow(self, deferred)
    }
}

impl<T: 'static, E: Fault, C> Drop for Root<T, E, C> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Done(Err(failed)) = self.stage.get_mut() {
            node::leave(&self.out, failed);
        }
    }
}
