//! Byte budgets: how much output and held input may wait on a connection and on a reactor, and what becomes of whoever exceeds it. What
//! a connection does about it is in `transport/account.rs`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::driver::Handle;
use crate::reactor::after::After;
use crate::reactor::inner::Inner;
use crate::{Addr, Reactor};

/// How many bytes may wait, and what happens when more do: see [`Reactor::set_budgets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// For each connection, in bytes; `None` for no bound. [`Transport::set_budget`](crate::Transport::set_budget) overrides it.
    pub connection: Option<usize>,
    /// For all connections of the reactor together, in bytes; `None` for no bound.
    pub reactor: Option<usize>,
    /// What happens when one of them is spent.
    pub when_spent: WhenSpent,
}

/// 16 MiB for a connection, 256 MiB for a reactor, [`WhenSpent::Pause`]. A connection of 1 Gbit/s over a path of 100 ms has
/// 12 MiB under way; so no reader that keeps up with a fast line ever meets the first, and the second still fits into the smallest machines that
/// carry traffic like that.
impl Default for Budgets {
    fn default() -> Self {
        Self { connection: Some(16 << 20), reactor: Some(256 << 20), when_spent: WhenSpent::Pause }
    }
}

/// What happens when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenSpent {
    /// Whoever fills it is held: nothing more is read from the connection and its push producer is paused until half of the budget is
    /// free. What others write meanwhile is taken until a quarter more than the budget waits; then the connection is ended.
    #[default]
    Pause,
    /// The connection is ended as soon as its budget is spent and more is written.
    Close,
}

/// Which budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// That of one connection.
    Connection,
    /// That of all connections together.
    Reactor,
}

/// A connection and a budget, for incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// The type of the connection's protocol.
    pub protocol: &'static str,
    /// The other end.
    pub peer: Addr,
    /// The driver's handle of the connection.
    pub handle: Handle,
    /// Whose budget.
    pub scope: Scope,
    /// How many bytes waited on this connection.
    pub waiting: usize,
}

impl Reactor {
    /// Bounds what may wait on connections. Counted are the bytes that the system has not taken of what was written, once it has refused some (what
    /// leaves at once never counts); what policies hold, what waits behind a file before them, and what layers hold back; input that was given back with `unread` or held by a pause; and input that shipped
    /// protocols hold, such as a line that has not ended. What the user's own objects hold is not.
    ///
    /// A budget is spent when more than that waits. With [`WhenSpent::Pause`] the engine then has the connection's push producer paused, and, unless
    /// it was one long write with nothing waiting before, stops reading from the connection, whatever the user's `pause_reading` and `resume_reading` say, until at most half of
    /// the budget waits to leave: so a peer that sends requests and never reads the answers costs bounded memory, and one long write stops
    /// nothing. Closing goes on meanwhile, and so does the notice of a reset.
    /// A connection on which more than a quarter beyond waits is reset, with
    /// [`CloseReason::BudgetSpent`](crate::CloseReason::BudgetSpent). So is one whose protocol alone holds more than the budget in input that
    /// it has accounted for: nothing could free it.
    ///
    /// On a connection with nothing waiting a single write is taken, however long, for the caller holds its bytes already. So is all that
    /// the callback which spends the budget writes to its own connection, for it cannot be held before it returns. The quarter is then on top of
    /// that.
    ///
    /// When the reactor's budget is spent, the push producers of all connections with output that waits are paused at once, and connections on which
    /// more comes to wait are held in the same way, until half of it is free, first held first, or until nothing waits to leave on them. It counts
    /// memory: buffers by their size, as far as the engine knows it. An eighth beyond, those with the most waiting are reset until it is met again,
    /// single writes or not.
    ///
    /// With [`WhenSpent::Close`] a connection is reset when more comes to wait while its budget is spent, and when the reactor's is spent those with
    /// the most waiting are, until it is met. Nothing is held.
    ///
    /// What waits already is judged when more does. Figures are in [`Reactor::figures`], and what happens is an
    /// [`Incident`](crate::Incident).
    pub fn set_budgets(&self, budgets: Budgets) {
        let inner = self.inner();
        inner.budget.limits.set(budgets);
        for transport in inner.streams() {
            transport.engine(|stream| stream.head().shrunk());
        }
    }

    /// The present budgets.
    pub fn budgets(&self) -> Budgets {
        self.inner().budget.limits.get()
    }
}

/// What a reactor knows of its connections' bytes.
#[derive(Default)]
pub(crate) struct Budget {
    limits: Cell<Budgets>,
    /// Memory of all that counts.
    total: Cell<usize>,
    /// Connections held because of the reactor's budget, in the order they were.
    line: RefCell<VecDeque<Handle>>,
    /// The reactor's budget was spent, and half of it has not been free since.
    spent: Cell<bool>,
    /// The line is to be looked at after the present callback.
    easing: Cell<bool>,
    /// How many connections have been ended.
    pub(crate) ended: Cell<u64>,
}

impl Budget {
    pub(crate) fn of_connection(&self) -> usize {
        self.limits.get().connection.unwrap_or(usize::MAX)
    }

    pub(crate) fn of_reactor(&self) -> usize {
        self.limits.get().reactor.unwrap_or(usize::MAX)
    }

    pub(crate) fn when_spent(&self) -> WhenSpent {
        self.limits.get().when_spent
    }

    /// Memory of all that counts, in bytes.
    pub(crate) fn total(&self) -> usize {
        self.total.get()
    }

    /// A connection's memory has changed.
    pub(crate) fn count(&self, before: usize, now: usize) {
        self.total.set((self.total.get() + now).saturating_sub(before));
        if !self.is_tight() {
            self.spent.set(false);
        }
    }

    /// Whether less than half of the reactor's budget is free.
    pub(crate) fn is_tight(&self) -> bool {
        self.total.get() > self.of_reactor() / 2
    }

    /// Whether more than the reactor's budget waits.
    pub(crate) fn is_spent(&self) -> bool {
        self.total.get() > self.of_reactor()
    }

    /// Whether that is so for the first time since half of the budget was free, and somebody is to be held.
    pub(crate) fn comes_to_be_spent(&self) -> bool {
        self.is_spent() && self.when_spent() == WhenSpent::Pause && !self.spent.replace(true)
    }

    /// Whether the reactor has to end connections.
    pub(crate) fn is_exceeded(&self) -> bool {
        let limit = self.of_reactor();
        let beyond = match self.when_spent() {
            WhenSpent::Pause => limit.saturating_add(limit / 8),
            WhenSpent::Close => limit,
        };
        self.total.get() > beyond
    }

    /// Puts a connection into the line of those that wait for the reactor's budget.
    pub(crate) fn line_up(&self, handle: Handle) {
        self.line.borrow_mut().push_back(handle);
    }

    /// Has the line looked at, if there may be room for the first in it.
    pub(crate) fn ease(&self, inner: &Inner) {
        if !self.is_tight() && !self.easing.get() && !self.line.borrow().is_empty() {
            self.easing.set(true);
            inner.after(After::Ease);
        }
    }
}

impl Inner {
    /// Lets the first in the line go on, and looks again after what it does then.
    pub(crate) fn ease(&self) {
        self.budget.easing.set(false);
        while !self.budget.is_tight() {
            let Some(first) = self.budget.line.borrow_mut().pop_front() else { return };
            // One that has ended, or still has too much of its own waiting, is out of the line.
            let Some(transport) = self.stream(first) else { continue };
            let mut eased = false;
            transport.engine(|stream| eased = stream.head().leave_line());
            if eased {
                return self.budget.ease(self);
            }
        }
    }

    /// Has all push producers pause whose connections have output that waits.
    #[cold]
    pub(crate) fn hold_producers(&self) {
        for transport in self.streams() {
            transport.engine(|stream| stream.head().hold_producer());
        }
    }

    /// Ends the connections with the most waiting until the reactor's budget is met.
    pub(crate) fn shed(&self) {
        let mut streams = self.streams();
        streams.sort_by_cached_key(|transport| {
            let mut memory = 0;
            transport.engine(|stream| memory = stream.head().memory());
            std::cmp::Reverse(memory)
        });
        for transport in streams {
            if !self.budget.is_spent() {
                break;
            }
            transport.engine(|stream| stream.head().end_by_budget(Scope::Reactor));
        }
    }
}
