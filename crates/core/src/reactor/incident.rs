//! What happens to a reactor rather than to a protocol: incidents that others subscribe to, and figures that can be asked for. What
//! the incidents are about is in `stall.rs` and `budget.rs`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Reactor;
use super::after::After;
use super::beat::Callback;
use super::inner::Inner;
use super::stall::Stall;
use crate::budget::Spent;
use crate::panic::guard_quietly;
use crate::transport::head::flag;

/// Something that whoever runs a reactor may want to hear of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Incident {
    /// A callback has held the loop for longer than the watchdog allows, and has ended.
    Stalled(Stall),
    /// A budget is spent, and this connection is held because of it.
    BudgetSpent(Spent),
    /// That connection goes on.
    BudgetFree(Spent),
    /// This connection is reset, for too much waits.
    BudgetExceeded(Spent),
}

impl Reactor {
    /// Calls `f` with each incident: from the loop, after the callback on the stack, never from inside another subscriber. Ends when the
    /// subscription is dropped, which may be from inside `f`. A panic in `f` is logged.
    ///
    /// ```
    /// # use marline_core::{Reactor, sim::SimDriver};
    /// # let reactor = Reactor::new(SimDriver::alone(1));
    /// let subscription = reactor.subscribe(|_, incident| eprintln!("{incident:?}"));
    /// // ... until nobody wants to know any more:
    /// drop(subscription);
    /// ```
    pub fn subscribe(&self, f: impl FnMut(&Self, &Incident) + 'static) -> Subscription {
        let inner = self.inner();
        let id = inner.incidents.next.get();
        inner.incidents.next.set(id + 1);
        inner.incidents.subscribers.borrow_mut().push((id, Rc::new(RefCell::new(f))));
        Subscription { inner: Rc::downgrade(inner), id }
    }

    /// What the reactor holds and what has happened to it, in numbers. Walks through all connections.
    pub fn figures(&self) -> Figures {
        let inner = self.inner();
        let (stalls, longest_stall) = inner.beat.stalls();
        let mut figures = Figures { stalls, longest_stall, ..Figures::default() };
        for transport in inner.streams() {
            figures.connections += 1;
            figures.output += transport.pending();
            transport.engine(|stream| {
                figures.input += stream.head().input_held();
                figures.held_up += usize::from(stream.head().has(flag::SPENT));
            });
        }
        figures.counted = inner.budget.total();
        figures.ended_by_budget = inner.budget.ended.get();
        figures
    }
}

/// Hears of incidents as long as it is kept. Dropping it ends that, from anywhere.
#[must_use = "it ends when it is dropped"]
pub struct Subscription {
    inner: Weak<Inner>,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let removed = {
            let mut subscribers = inner.incidents.subscribers.borrow_mut();
            let at = subscribers.iter().position(|(id, _)| *id == self.id);
            at.map(|at| subscribers.remove(at))
        };
        drop(removed);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A reactor in numbers, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Connections that stand or are closing.
    pub connections: usize,
    /// Bytes written to them that the system has not taken.
    pub output: usize,
    /// Bytes received from them that are held: given back, held by a pause, or accounted for by their protocols.
    pub input: usize,
    /// Memory counted against the reactor's byte budget, in bytes: what waits to leave, by the size of its buffers, and what is held.
    pub counted: usize,
    /// Connections that a byte budget holds up.
    pub held_up: usize,
    /// Connections that a byte budget has ended, since the reactor was made.
    pub ended_by_budget: u64,
    /// Callbacks that ran for longer than the watchdog allows, since the reactor was made.
    pub stalls: u64,
    /// The longest of those that have ended.
    pub longest_stall: Option<Duration>,
}

type Subscriber = Rc<RefCell<dyn FnMut(&Reactor, &Incident)>>;

/// Who wants to hear of incidents.
#[derive(Default)]
pub(crate) struct Incidents {
    subscribers: RefCell<Vec<(u64, Subscriber)>>,
    next: Cell<u64>,
}

impl Inner {
    /// Whether anybody wants to hear.
    pub(crate) fn has_subscribers(&self) -> bool {
        !self.incidents.subscribers.borrow().is_empty()
    }

    /// Tells the subscribers, after the callback on the stack.
    pub(crate) fn tell_incident(self: &Rc<Self>, incident: Incident) {
        if !self.has_subscribers() {
            return;
        }
        let inner = Rc::downgrade(self);
        self.after(After::Call(Box::new(move || {
            if let Some(inner) = inner.upgrade().filter(|inner| !inner.shared.is_gone()) {
                inner.tell_subscribers(&incident);
            }
        })));
    }

    fn tell_subscribers(self: &Rc<Self>, incident: &Incident) {
        let reactor = Reactor::from_inner(self);
        let subscribed: Vec<u64> =
            self.incidents.subscribers.borrow().iter().map(|(id, _)| *id).collect();
        for id in subscribed {
            // One may have ended another's subscription.
            let Some(f) = self.subscriber(id) else { continue };
            let call = || guard_quietly("subscriber", || (f.borrow_mut())(&reactor, incident));
            self.beat.around(Callback::Subscriber, call);
        }
    }

    fn subscriber(&self, id: u64) -> Option<Subscriber> {
        let subscribers = self.incidents.subscribers.borrow();
        subscribers.iter().find(|(known, _)| *known == id).map(|(_, f)| Rc::clone(f))
    }
}
