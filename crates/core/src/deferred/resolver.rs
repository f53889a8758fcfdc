//! [`Resolver`], the end at which a deferred is fired, and [`Root`], the first node of a chain.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use super::link::follow;
use super::node::{Node, Out, Source, drive};
use super::outcome::{Failed, Outcome};
use crate::failure::Failure;
use crate::panic::{guard, guard_quietly};

/// Fires a [`Deferred`], once: every way to do so consumes it. Dropped unfired it fires [`Interrupt::Abandoned`].
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
            let site = root.out().site();
            fire(&*root, result.map_err(|error| Failed::new(error, site)));
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
            Ok(outcome) => fire(&*root, outcome),
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
        if let Some(root) = self.0.take()
            && !root.out().is_settled()
        {
            let site = root.out().site();
            fire(&*root, Err(Failed::interrupted(Interrupt::Abandoned, site)));
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
    fn follow(self: Rc<Self>, deferred: Deferred<T, E>) -> Option<Rc<dyn Node>>;
}

/// The caller keeps `root` alive.
fn fire<T: 'static, E: Fault>(root: &(impl Open<T, E> + ?Sized), outcome: Outcome<T, E>) {
    // Cancelled before: swallowed.
    if !root.out().is_settled() {
        root.close();
        drive(root.out().settle(outcome));
    }
}

/// The first node of a chain: waits for its resolver, or for the deferred that the resolver follows.
pub(super) struct Root<T: 'static, E: Fault, C> {
    waits: Cell<Waits<T, E, C>>,
    out: Out<T, E>,
}

enum Waits<T: 'static, E: Fault, C> {
    Resolver(Option<C>),
    Inner(Weak<dyn Source<T, E>>),
    Nothing,
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Root<T, E, C> {
    pub(super) fn open(
        site: &'static Location<'static>,
        canceller: Option<C>,
    ) -> (Rc<dyn Source<T, E>>, Resolver<T, E>) {
        let waits = Cell::new(Waits::Resolver(canceller));
        let root = Rc::new(Self { waits, out: Out::new(site, site) });
        (Rc::clone(&root) as Rc<dyn Source<T, E>>, Resolver(Some(root)))
    }
}

impl<T: 'static, E: Fault> Root<T, E, fn()> {
    /// A node that has its result, so that the result can be held back.
    pub(super) fn settled(
        head: &'static Location<'static>,
        outcome: Outcome<T, E>,
    ) -> Rc<dyn Source<T, E>> {
        let root = Self { waits: Cell::new(Waits::Nothing), out: Out::new(head, head) };
        // It leads nowhere yet.
        let _ = root.out.settle(outcome);
        Rc::new(root)
    }
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Node for Root<T, E, C> {
    fn run(self: Rc<Self>) -> Option<Rc<dyn Node>> {
        let Waits::Inner(source) = self.waits.replace(Waits::Nothing) else { return None };
        let mut outcome = source.upgrade()?.out().take()?;
        if let Err(failed) = &mut outcome {
            failed.hop(self.out.site());
        }
        self.out.settle(outcome)
    }

    fn interrupt(&self, why: &Interrupt) -> Option<Rc<dyn Node>> {
        let canceller = match self.waits.replace(Waits::Nothing) {
            Waits::Resolver(canceller) => canceller,
            Waits::Inner(source) => {
                let before = source.upgrade().map(|source| source as Rc<dyn Node>);
                self.waits.set(Waits::Inner(source));
                return before;
            }
            // It has its result, or its canceller is on the stack.
            Waits::Nothing => return None,
        };
        let why = match canceller.map(guard) {
            Some(Err(text)) => Interrupt::Panicked(text),
            Some(Ok(())) | None => why.clone(),
        };
        // The canceller may have fired it, or have left it to another deferred.
        let waits = self.waits.replace(Waits::Nothing);
        let left = matches!(waits, Waits::Inner(_));
        self.waits.set(waits);
        if !left && !self.out.is_settled() {
            drive(self.out.settle(Err(Failed::interrupted(why, self.out.site()))));
        }
        None
    }

    fn wait_for(&self, source: &dyn Any) {
        if let Some(source) = source.downcast_ref::<Weak<dyn Source<T, E>>>() {
            self.waits.set(Waits::Inner(Weak::clone(source)));
        }
    }

    fn release(&self) -> Option<Rc<dyn Node>> {
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

    fn close(&self) {
        if let Waits::Resolver(Some(canceller)) = self.waits.replace(Waits::Nothing)
            && mem::needs_drop::<C>()
        {
            guard_quietly("drop of a canceller", || drop(canceller));
        }
    }
}

impl<T: 'static, E: Fault, C: FnOnce() + 'static> Open<T, E> for Root<T, E, C> {
    fn follow(self: Rc<Self>, deferred: Deferred<T, E>) -> Option<Rc<dyn Node>> {
        self.close();
        // Even if it steps aside: a canceller of its own that is on the stack has left it to another.
        self.waits.set(Waits::Inner(Weak::<Self>::new()));
        follow(self, deferred, |root, inner| root.waits.set(Waits::Inner(inner)))
    }
}
