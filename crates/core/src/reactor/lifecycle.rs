//! Start, stop and crash of a reactor, and the triggers that users hang on these events.
//!
//! An event has three phases. All *before* triggers are called without waiting for each other; then every Deferred they returned
//! is waited for; then *during* and *after* run at once. Each trigger runs for the first firing only.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use super::Reactor;
use super::after::After;
use super::beat::Callback;
use super::inner::Inner;
use crate::deferred::{Deferred, Fault};
use crate::panic::guard;
use crate::{CloseReason, NotRunning};

/// Where a reactor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Not started, or ended.
    #[default]
    Idle,
    /// `startup` is under way: the loop turns, but `is_running` is still false.
    Starting,
    /// It runs.
    Running,
    /// *Before shutdown* is under way; it still runs.
    Stopping,
    /// Shut down: the loop ends with this turn.
    Ended,
    /// Crashed: the loop ends with this turn, and nothing was cleaned up.
    Crashed,
}

/// The state of a reactor's life.
#[derive(Default)]
pub(crate) struct Lifecycle {
    stage: Cell<Stage>,
    stop_requested: Cell<bool>,
    events: RefCell<BTreeMap<Event, Triggers>>,
    next_id: Cell<u64>,
}

/// What triggers can be hung on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Event {
    /// The reactor starts.
    Startup,
    /// The reactor stops.
    Shutdown,
    /// An event of the application's own, fired with [`Reactor::fire_event`].
    Custom(&'static str),
}

/// When, within an event, a trigger runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// First. What it returns, if it returns a Deferred, is waited for before the next phase.
    Before,
    /// When the event happens.
    During,
    /// Last.
    After,
}

/// Names a trigger, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TriggerId {
    event: Event,
    phase: Phase,
    id: u64,
}

/// What a trigger may return: nothing, or a Deferred that a *before* phase waits for. What it comes to does not matter.
pub trait TriggerResult: 'static {
    /// Calls `done` when there is nothing more to wait for.
    fn wait(self, done: Box<dyn FnOnce()>);
}

impl TriggerResult for () {
    fn wait(self, done: Box<dyn FnOnce()>) {
        done();
    }
}

impl<T: 'static, E: Fault> TriggerResult for Deferred<T, E> {
    fn wait(self, done: Box<dyn FnOnce()>) {
        self.done(move |result| {
            if let Err(error) = result {
                crate::log::engine::trigger_failed(&error);
            }
            done();
        });
    }
}

/// A trigger, told whom to call when it needs no more waiting for.
type Trigger = Box<dyn FnOnce(&Reactor, Box<dyn FnOnce()>)>;

/// What hangs on one event, and how far its firing is.
#[derive(Default)]
struct Triggers {
    phases: [VecDeque<(u64, Trigger)>; 3],
    /// Its present firing.
    firing: Option<Firing>,
}

/// One firing of an event: how many Deferreds of *before* it waits for. A crash, or the stop of a reactor that is still starting, cuts a
/// firing short: what had not run is left for the next.
type Firing = Rc<Cell<usize>>;

/// A trigger could not be removed: it has run, was removed before, or is another reactor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTrigger;

impl fmt::Display for UnknownTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such trigger: it has run or was removed")
    }
}

impl std::error::Error for UnknownTrigger {}

impl Lifecycle {
    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn set(&self, stage: Stage) {
        self.stage.set(stage);
    }

    /// Begins anew, unless it is under way.
    pub(super) fn begin(&self) -> bool {
        if self.stage.get() != Stage::Idle {
            return false;
        }
        self.stop_requested.set(false);
        self.stage.set(Stage::Starting);
        true
    }

    pub(super) fn is_started(&self) -> bool {
        matches!(self.stage.get(), Stage::Starting | Stage::Running | Stage::Stopping)
    }

    fn is_firing(&self, event: Event) -> bool {
        self.events.borrow().get(&event).is_some_and(|triggers| triggers.firing.is_some())
    }

    fn is_this_firing(&self, event: Event, firing: &Firing) -> bool {
        let events = self.events.borrow();
        let present = events.get(&event).and_then(|triggers| triggers.firing.as_ref());
        present.is_some_and(|present| Rc::ptr_eq(present, firing))
    }

    /// Begins to fire an event, unless it is being fired.
    fn begin_firing(&self, event: Event, firing: &Firing) -> bool {
        let mut events = self.events.borrow_mut();
        let triggers = events.entry(event).or_default();
        if triggers.firing.is_some() {
            return false;
        }
        triggers.firing = Some(Rc::clone(firing));
        true
    }

    /// Ends the firing of an event, if it is being fired.
    pub(super) fn end_firing(&self, event: Event) {
        if let Some(triggers) = self.events.borrow_mut().get_mut(&event) {
            triggers.firing = None;
        }
    }

    pub(super) fn take_stop_request(&self) -> bool {
        self.stop_requested.replace(false)
    }
}

impl Reactor {
    /// Asks the reactor to stop: *shutdown* is fired from the loop, after the present turn's calls and timers, and [`run`](Self::run) returns
    /// when it is over.
    ///
    /// # Errors
    ///
    /// [`NotRunning`] if it was not started, or is stopping already.
    pub fn stop(&self) -> Result<(), NotRunning> {
        let lifecycle = &self.0.lifecycle;
        let stoppable = matches!(lifecycle.stage(), Stage::Starting | Stage::Running);
        if !stoppable || lifecycle.stop_requested.replace(true) {
            return Err(NotRunning);
        }
        self.0.set_waiting(Inner::ENDING);
        Ok(())
    }

    /// Leaves the loop at the end of this turn with no *shutdown* triggers run and nothing cleaned up. The reactor may be run again, with its
    /// connections as they are.
    pub fn crash(&self) {
        if self.0.lifecycle.is_started() {
            self.0.lifecycle.set(Stage::Crashed);
            self.0.lifecycle.end_firing(Event::Startup);
            self.0.lifecycle.end_firing(Event::Shutdown);
            self.0.set_waiting(Inner::ENDING);
        }
    }

    /// Whether it runs: true from *during startup* until *during shutdown*.
    #[doc(alias = "running")]
    pub fn is_running(&self) -> bool {
        matches!(self.0.lifecycle.stage(), Stage::Running | Stage::Stopping)
    }

    /// Calls `f` when the reactor runs: at the end of this callback if it does, else as an *after startup* trigger. Order is kept.
    #[doc(alias = "callWhenRunning")]
    pub fn call_when_running(&self, f: impl FnOnce(&Self) + 'static) {
        if self.is_running() {
            self.after_callback(f);
        } else {
            self.add_trigger(Phase::After, Event::Startup, f);
        }
    }

    /// Hangs `f` on an event. Within a phase triggers run in the order they were added.
    #[doc(alias = "addSystemEventTrigger")]
    pub fn add_trigger<R: TriggerResult>(
        &self,
        phase: Phase,
        event: Event,
        f: impl FnOnce(&Self) -> R + 'static,
    ) -> TriggerId {
        let lifecycle = &self.0.lifecycle;
        let id = lifecycle.next_id.get();
        lifecycle.next_id.set(id + 1);
        let trigger: Trigger = Box::new(move |reactor, done| {
            let result = reactor.0.beat.around(Callback::Trigger, || guard(|| f(reactor)));
            match result {
                Ok(result) => result.wait(done),
                Err(message) => {
                    crate::log::engine::trigger_panicked(&event, &phase, &message);
                    done();
                }
            }
        });
        let mut events = lifecycle.events.borrow_mut();
        events.entry(event).or_default().phases[phase as usize].push_back((id, trigger));
        TriggerId { event, phase, id }
    }

    /// Removes a trigger that has not run; also while its event is being fired.
    ///
    /// # Errors
    ///
    /// [`UnknownTrigger`] if it has run or was removed.
    #[doc(alias = "removeSystemEventTrigger")]
    pub fn remove_trigger(&self, id: TriggerId) -> Result<(), UnknownTrigger> {
        let removed = {
            let mut events = self.0.lifecycle.events.borrow_mut();
            let triggers = events.get_mut(&id.event).ok_or(UnknownTrigger)?;
            let phase = &mut triggers.phases[id.phase as usize];
            let at = phase.iter().position(|(known, _)| *known == id.id).ok_or(UnknownTrigger)?;
            phase.remove(at)
        };
        drop(removed);
        Ok(())
    }

    /// Fires an event: runs its triggers, after the callback if one is on the stack. An event that is being fired already is not fired again; one that
    /// nothing hangs on does nothing.
    #[doc(alias = "fireSystemEvent")]
    pub fn fire_event(&self, event: Event) {
        if self.0.lifecycle.is_firing(event) {
            return;
        }
        if self.0.is_inside() {
            self.after_callback(move |reactor| reactor.fire(event));
        } else {
            self.0.inside(|| {
                self.fire(event);
                self.0.settle();
            });
        }
    }

    /// Calls `f` at the end of the present callback. Keeps no handle: with a reactor that is dropped before, so is the call.
    fn after_callback(&self, f: impl FnOnce(&Self) + 'static) {
        let inner = Rc::downgrade(&self.0);
        self.0.after(After::Call(Box::new(move || {
            if let Some(inner) = inner.upgrade().filter(|inner| !inner.shared.is_gone()) {
                f(&Self::from_inner(&inner));
            }
        })));
    }

    /// Fires an event from the loop.
    pub(super) fn fire(&self, event: Event) {
        let firing: Firing = Rc::new(Cell::new(1));
        if !self.0.lifecycle.begin_firing(event, &firing) {
            return;
        }
        while let Some(trigger) = self.next_trigger(event, Phase::Before, &firing) {
            firing.set(firing.get() + 1);
            let (waited, inner) = (Rc::clone(&firing), Rc::downgrade(&self.0));
            let done = move || {
                waited.set(waited.get() - 1);
                if waited.get() == 0
                    && let Some(inner) = inner.upgrade().filter(|inner| !inner.shared.is_gone())
                {
                    // Not from inside whoever fired the Deferred.
                    Self::from_inner(&inner)
                        .after_callback(move |reactor| reactor.finish_event(event, &waited));
                }
            };
            trigger(self, Box::new(done));
        }
        firing.set(firing.get() - 1);
        if firing.get() == 0 {
            self.finish_event(event, &firing);
        }
    }

    /// Nothing more to wait for: *during* and *after*.
    fn finish_event(&self, event: Event, firing: &Firing) {
        let lifecycle = &self.0.lifecycle;
        if !lifecycle.is_this_firing(event, firing) {
            return;
        }
        match event {
            Event::Startup => self.0.started(),
            Event::Shutdown => self.0.shut_down(),
            Event::Custom(_) => {}
        }
        for phase in [Phase::During, Phase::After] {
            while let Some(trigger) = self.next_trigger(event, phase, firing) {
                trigger(self, Box::new(|| {}));
            }
        }
        if lifecycle.is_this_firing(event, firing) {
            lifecycle.end_firing(event);
            if event == Event::Shutdown {
                self.0.ended();
            }
        }
    }

    /// Takes one trigger at a time, so that those that follow can still be removed.
    fn next_trigger(&self, event: Event, phase: Phase, firing: &Firing) -> Option<Trigger> {
        if !self.0.lifecycle.is_this_firing(event, firing) {
            return None;
        }
        let mut events = self.0.lifecycle.events.borrow_mut();
        let (_, trigger) = events.get_mut(&event)?.phases[phase as usize].pop_front()?;
        Some(trigger)
    }
}

impl Inner {
    /// *During startup*, before the users' triggers.
    fn started(&self) {
        if self.lifecycle.stage() == Stage::Starting {
            self.lifecycle.set(Stage::Running);
            self.install_signals();
            self.begin_jobs();
            let driver = self.driver().name();
            crate::log::engine::reactor_runs(driver);
        }
    }

    /// *During shutdown*, before the users' triggers: every connection and port is closed and told, and the workers end.
    fn shut_down(&self) {
        if self.lifecycle.is_started() {
            self.lifecycle.set(Stage::Ended);
            self.set_waiting(Self::ENDING);
        }
        self.close_sources(&CloseReason::Stopped);
        self.end_jobs();
        self.settle();
    }

    /// *After shutdown* is over.
    fn ended(&self) {
        self.remove_signals();
        self.settle();
        // What the last callbacks opened does not stay open.
        self.close_sources(&CloseReason::Stopped);
    }

    /// Triggers that still hang on something, dropped by the caller.
    pub(super) fn take_triggers(&self) -> impl Sized + use<> {
        self.lifecycle.events.take()
    }
}
