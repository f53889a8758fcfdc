//! Signals of the process: INT and TERM stop the reactor; others can be subscribed to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use super::Reactor;
use super::beat::Callback;
use super::inner::Inner;
use crate::driver::{Capability, OsError};
use crate::panic::guard_quietly;

/// A signal by its number, the same on all systems for these.
pub mod signal {
    /// Hang-up.
    pub const HUP: i32 = 1;
    /// Interrupt: control-C.
    pub const INT: i32 = 2;
    /// Quit: control-backslash.
    pub const QUIT: i32 = 3;
    /// Terminate.
    pub const TERM: i32 = 15;
}

type Subscriber = Rc<dyn Fn(&Reactor, i32)>;

/// Who is to be told of signals.
#[derive(Default)]
pub(crate) struct Signals {
    subscribers: RefCell<BTreeMap<i32, Vec<(u64, Subscriber)>>>,
    next_id: Cell<u64>,
    /// Whether INT and TERM are to stop the reactor.
    unhandled: Cell<bool>,
    /// Those that the reactor itself has asked for.
    installed: Cell<bool>,
    last: Cell<Option<i32>>,
}

/// A subscription to a signal; it ends when this is dropped.
#[must_use = "the subscription ends when this is dropped"]
pub struct SignalHandle {
    inner: Weak<Inner>,
    number: i32,
    id: u64,
}

impl Reactor {
    /// Calls `f` with the signal's number each time it has come in. While somebody subscribes to INT or TERM, that signal does not stop the reactor.
    ///
    /// # Errors
    ///
    /// What the system says; [`OsError::UNSUPPORTED`] by a driver without signals.
    pub fn on_signal(
        &self,
        number: i32,
        f: impl Fn(&Self, i32) + 'static,
    ) -> Result<SignalHandle, OsError> {
        let signals = &self.0.signals;
        self.0.driver().watch_signal(number, true)?;
        let id = signals.next_id.get();
        signals.next_id.set(id + 1);
        signals.subscribers.borrow_mut().entry(number).or_default().push((id, Rc::new(f)));
        Ok(SignalHandle { inner: Rc::downgrade(&self.0), number, id })
    }

    /// Leaves INT and TERM alone in the next runs: for a reactor that is not the program's main one. By default they stop it.
    #[doc(alias = "installSignalHandlers")]
    pub fn leave_signals_alone(&self) {
        self.0.signals.unhandled.set(true);
    }

    /// The number of the signal that stopped the last run, for an honest exit status.
    #[doc(alias = "_exitSignal")]
    pub fn exit_signal(&self) -> Option<i32> {
        self.0.signals.last.get()
    }
}

impl Signals {
    fn subscriber(&self, number: i32, id: u64) -> Option<Subscriber> {
        let subscribers = self.subscribers.borrow();
        let (_, f) = subscribers.get(&number)?.iter().find(|(known, _)| *known == id)?;
        Some(Rc::clone(f))
    }
}

impl Inner {
    pub(super) fn install_signals(&self) {
        self.signals.last.set(None);
        if self.signals.unhandled.get() || !self.driver().supports(Capability::Signals) {
            return;
        }
        self.signals.installed.set(true);
        for number in [signal::INT, signal::TERM] {
            let watched = self.driver().watch_signal(number, true);
            if let Err(error) = watched {
                crate::log::engine::signal_refused(number, &error);
            }
        }
    }

    pub(super) fn remove_signals(&self) {
        if !self.signals.installed.replace(false) {
            return;
        }
        for number in [signal::INT, signal::TERM] {
            self.unwatch_signal_if_unused(number);
        }
    }

    fn unwatch_signal_if_unused(&self, number: i32) {
        let own = self.signals.installed.get() && [signal::INT, signal::TERM].contains(&number);
        let subscribed = self.signals.subscribers.borrow().contains_key(&number);
        if !own && !subscribed {
            // A signal that cannot be given up is merely reported to nobody.
            let _ = self.driver().watch_signal(number, false);
        }
    }

    pub(super) fn signalled(self: &Rc<Self>, number: i32) {
        let subscribers: Vec<u64> = match self.signals.subscribers.borrow().get(&number) {
            Some(list) => list.iter().map(|(id, _)| *id).collect(),
            None => Vec::new(),
        };
        let reactor = Reactor::from_inner(self);
        if subscribers.is_empty() && [signal::INT, signal::TERM].contains(&number) {
            self.signals.last.set(Some(number));
            crate::log::engine::stopped_by_signal(number);
            // A second signal while it stops changes nothing.
            let _ = reactor.stop();
        }
        for id in subscribers {
            // One may have ended another's subscription.
            if let Some(f) = self.signals.subscriber(number, id) {
                let call = || guard_quietly("signal", || f(&reactor, number));
                self.beat.around(Callback::Signal, call);
            }
        }
    }
}

impl Drop for SignalHandle {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else { return };
        let removed = {
            let mut subscribers = inner.signals.subscribers.borrow_mut();
            let Some(list) = subscribers.get_mut(&self.number) else { return };
            let removed = list.iter().position(|(id, _)| *id == self.id).map(|at| list.remove(at));
            if list.is_empty() {
                subscribers.remove(&self.number);
            }
            removed
        };
        inner.unwatch_signal_if_unused(self.number);
        drop(removed);
    }
}

impl fmt::Debug for SignalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalHandle").field("number", &self.number).finish_non_exhaustive()
    }
}
