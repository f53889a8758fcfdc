//! Handles that act on a chain from outside: [`CancelHandle`] cancels it, [`Hold`] holds it back.

use std::fmt;
use std::mem;
use std::rc::{Rc, Weak};

use super::interrupt::{Fault, Interrupt};
use super::node::{self, Node, drive};
use super::resolver::Root;
use super::{Deferred, State};

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Cancels the innermost thing that is waited for: its canceller is called, and if that does not fire it, it fails with
    /// [`Interrupt::Cancelled`]. What this deferred comes to is for the steps in between to say. Does nothing once the result is there.
    pub fn cancel(&self) {
        if let State::Node(source) = &self.state {
            let source = Rc::clone(source);
            node::interrupt(source, &Interrupt::Cancelled);
        }
    }

    /// Returns a handle that cancels as [`cancel`](Self::cancel) does, also after steps have been added or the deferred was moved away.
    pub fn cancel_handle(&self) -> CancelHandle {
        match &self.state {
            State::Node(source) if !source.out().is_settled() => {
                source.out().watch();
                let node: Weak<dyn Node> = Rc::downgrade(source) as _;
                CancelHandle(Some(node))
            }
            _ => CancelHandle(None),
        }
    }

    /// Holds the result back: steps added from here on do not run, tasks are not woken, until every hold has been dropped.
    #[doc(alias = "pause")]
    pub fn hold(&mut self) -> Hold {
        self.state = match mem::replace(&mut self.state, State::Taken) {
            State::Ready(outcome) => State::Node(Root::settled(self.origin, outcome)),
            other => other,
        };
        Hold(match &self.state {
            State::Node(source) => {
                source.out().hold();
                Some(Rc::clone(source) as Rc<dyn Node>)
            }
            _ => None,
        })
    }
}

/// Cancels a [`Deferred`] from wherever it is kept. Keeps nothing alive.
#[derive(Clone, Default)]
pub struct CancelHandle(Option<Weak<dyn Node>>);

impl CancelHandle {
    /// Cancels, as [`Deferred::cancel`] on the deferred that the handle is from.
    pub fn cancel(&self) {
        if let Some(node) = self.0.as_ref().and_then(Weak::upgrade) {
            node::interrupt(node, &Interrupt::Cancelled);
        }
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

/// Holds the result of a [`Deferred`] back until it is dropped.
#[must_use = "dropping it lets the result through at once"]
pub struct Hold(Option<Rc<dyn Node>>);

impl Hold {
    /// Lets the result through, unless there are other holds. If it is there, the steps run before this returns.
    #[doc(alias = "unpause")]
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(node) = self.0.take()
            && node.release()
        {
            drive(Some(node));
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
