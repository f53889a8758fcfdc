//! [`Cooperator`]: runs the steps of long computations in turn, a slice at a time. One computation is in `cooperative.rs`, how long a slice is in
//! `slice.rs`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::TaskResult;
use super::cooperative::{CooperativeTask, Stepped, Task, TaskEnd};
use super::pace::next_turn;
use super::slice::Slice;
use crate::deferred::Deferred;
use crate::panic::guard;
use crate::reactor::inner::Inner;
use crate::{DelayedCall, Reactor, Time};

/// Runs long computations beside each other and beside the reactor's connections: a step of each in turn, for a [slice](Slice) of time, and then
/// the loop turns. A handle, cheap to clone; tasks go on without it.
///
/// A task is an iterator: its steps are its items. An item is nothing, a `Result`, of which an error ends the task, or a [`Deferred`], which the task
/// waits for, while the others go on. (`std::iter::from_fn` makes an iterator of a function.)
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use marline_core::task::Cooperator;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let cooperator = Cooperator::new(&reactor);
/// let sum = Rc::new(Cell::new(0_u64));
/// let total = Rc::clone(&sum);
/// let adding = (1..=10_000).map(move |number| total.set(total.get() + number));
/// reactor.result_of(cooperator.coiterate(adding))?;
/// assert_eq!(sum.get(), 50_005_000);
/// # Ok::<(), marline_core::failure::Failure>(())
/// ```
///
/// Use one for all of a reactor's tasks: each cooperator takes a slice of every turn.
#[derive(Clone)]
pub struct Cooperator(Rc<Shared>);

impl Cooperator {
    /// A cooperator that runs.
    #[track_caller]
    pub fn new(reactor: &Reactor) -> Self {
        Self::in_stage(reactor, Stage::Running)
    }

    /// A cooperator whose tasks wait until it is [started](Self::start).
    #[track_caller]
    pub fn waiting(reactor: &Reactor) -> Self {
        Self::in_stage(reactor, Stage::Waiting)
    }

    /// Adds a task. Its first step is in the next turn, or in this slice if one is under way. Of a cooperator that was stopped, or whose reactor is
    /// gone, it ends at once.
    pub fn cooperate<I>(&self, steps: I) -> CooperativeTask
    where
        I: IntoIterator<Item: TaskResult>,
        I::IntoIter: 'static,
    {
        let mut steps = steps.into_iter();
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        let task = Task::new(
            id,
            Box::new(move || {
                let item = steps.next()?;
                // What it comes to is the task's own affair.
                Some(item.into_deferred().map(drop))
            }),
        );
        self.0.tasks.borrow_mut().insert(id, Rc::downgrade(&task));
        self.0.enqueue(&task);
        CooperativeTask { cooperator: Rc::clone(&self.0), task }
    }

    /// Adds a task, and tells when it has ended. Cancelling the Deferred stops the task.
    #[track_caller]
    pub fn coiterate<I>(&self, steps: I) -> Deferred<(), TaskEnd>
    where
        I: IntoIterator<Item: TaskResult>,
        I::IntoIter: 'static,
    {
        self.cooperate(steps).into_done()
    }

    /// Makes slices of another size, from the next one on.
    pub fn set_slice(&self, slice: Slice) {
        self.0.slice.set(slice);
        drop(self.0.predicates.take());
    }

    /// Has functions of your own end slices: `predicates` makes one for each slice, from the next one on, which is asked after every step whether it
    /// was the last. One that panics ends its slice.
    #[doc(alias = "terminationPredicateFactory")]
    pub fn set_predicate<P: FnMut() -> bool + 'static>(
        &self,
        mut predicates: impl FnMut() -> P + 'static,
    ) {
        let predicates: Predicates = Box::new(move || Box::new(predicates()));
        let former = self.0.predicates.replace(Some(Rc::new(Cell::new(Some(predicates)))));
        drop(former);
    }

    /// Starts it, or starts it again: tasks that wait run.
    pub fn start(&self) {
        self.0.stage.set(Stage::Running);
        self.0.plan_first();
    }

    /// Stops it: all its tasks end with [`TaskEnd::CooperatorStopped`], and so does one that is added before it is started again.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Whether it runs: neither waits to be started nor was stopped.
    #[doc(alias = "running")]
    pub fn is_running(&self) -> bool {
        self.0.stage.get() == Stage::Running
    }

    /// How many tasks it has that have not ended.
    pub fn len(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[track_caller]
    fn in_stage(reactor: &Reactor, stage: Stage) -> Self {
        Self(Rc::new(Shared {
            reactor: Rc::downgrade(reactor.inner()),
            site: Location::caller(),
            stage: Cell::new(stage),
            ready: RefCell::default(),
            tasks: RefCell::default(),
            next_id: Cell::new(0),
            planned: Cell::default(),
            in_slice: Cell::new(false),
            slice: Cell::new(Slice::default()),
            predicates: RefCell::default(),
        }))
    }
}

impl fmt::Debug for Cooperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cooperator")
            .field("stage", &self.0.stage.get())
            .field("tasks", &self.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Stopped,
}

/// Asked after a step whether it was the last of its slice.
type Predicate = Box<dyn FnMut() -> bool>;
/// Makes one for each slice.
type Predicates = Box<dyn FnMut() -> Predicate>;

/// What the handles share.
pub(super) struct Shared {
    reactor: Weak<Inner>,
    /// Where it was made.
    site: &'static Location<'static>,
    stage: Cell<Stage>,
    /// Tasks whose next step can be done, in turn.
    ready: RefCell<VecDeque<Rc<Task>>>,
    /// All that have not ended.
    tasks: RefCell<BTreeMap<u64, Weak<Task>>>,
    next_id: Cell<u64>,
    /// The next slice.
    planned: Cell<Option<DelayedCall>>,
    in_slice: Cell<bool>,
    slice: Cell<Slice>,
    /// Taken out while it is called.
    predicates: RefCell<Option<Rc<Cell<Option<Predicates>>>>>,
}

impl Shared {
    /// A task may have something to do.
    pub(super) fn enqueue(self: &Rc<Self>, task: &Rc<Task>) {
        if self.stage.get() == Stage::Stopped {
            return self.end(task, Err(TaskEnd::CooperatorStopped));
        }
        if task.begin_to_wait_for_turn() {
            self.ready.borrow_mut().push_back(Rc::clone(task));
            self.plan_first();
        }
    }

    /// Ends a task, unless it has ended.
    pub(super) fn end(&self, task: &Rc<Task>, end: Result<(), TaskEnd>) {
        // A weak one: nothing is dropped under the borrow.
        self.tasks.borrow_mut().remove(&task.id());
        task.end(end);
    }

    fn stop(self: &Rc<Self>) {
        self.stage.set(Stage::Stopped);
        if let Some(planned) = self.planned.take() {
            // It may be ringing.
            let _ = planned.cancel();
        }
        let waiting = self.ready.take();
        let tasks: Vec<_> = self.tasks.borrow().values().filter_map(Weak::upgrade).collect();
        for task in tasks {
            self.end(&task, Err(TaskEnd::CooperatorStopped));
        }
        drop(waiting);
    }

    /// Plans a slice, if there is something to do and none is planned.
    fn plan_first(self: &Rc<Self>) {
        let planned = self.planned.take();
        let is_planned = planned.is_some();
        self.planned.set(planned);
        let nothing = self.ready.borrow().is_empty();
        if is_planned || nothing || self.in_slice.get() || self.stage.get() != Stage::Running {
            return;
        }
        self.plan(Inner::now);
    }

    fn plan(self: &Rc<Self>, when: impl FnOnce(&Inner) -> Time) {
        let Some(inner) = self.reactor.upgrade().filter(|inner| !inner.is_gone()) else {
            return self.stop();
        };
        let next = Next(Some(Rc::clone(self)));
        let reactor = Reactor::from_inner(&inner);
        let call = reactor.call_at_from(when(&inner), self.site, move |_| next.ring());
        self.planned.set(Some(call));
    }

    /// A slice: the tasks' steps in turn.
    fn run_slice(self: &Rc<Self>) {
        let Some(inner) = self.reactor.upgrade() else { return };
        self.in_slice.set(true);
        let mut is_last = self.last_step(&inner);
        loop {
            let Some(task) = self.ready.borrow_mut().pop_front() else { break };
            if let Some(stepped) = task.step() {
                self.stepped(&task, stepped);
                if is_last() {
                    break;
                }
            }
        }
        self.in_slice.set(false);
        if !self.ready.borrow().is_empty() && self.stage.get() == Stage::Running {
            self.plan(next_turn);
        }
    }

    /// What tells when a slice is over.
    fn last_step<'a>(&self, inner: &'a Inner) -> Box<dyn FnMut() -> bool + 'a> {
        let place = self.predicates.borrow().clone();
        let own = place.as_ref().and_then(|place| place.take());
        let (Some(place), Some(mut predicates)) = (place, own) else {
            let mut meter = self.slice.get().begin(inner);
            return Box::new(move || meter.step(inner));
        };
        let predicate = guard(&mut predicates);
        place.set(Some(predicates));
        match predicate {
            Ok(mut predicate) => Box::new(move || guard(&mut predicate).unwrap_or(true)),
            Err(_) => Box::new(|| true),
        }
    }

    fn stepped(self: &Rc<Self>, task: &Rc<Task>, stepped: Stepped) {
        match stepped {
            Stepped::On => self.enqueue(task),
            Stepped::Ended(end) => self.end(task, end),
            Stepped::Waits(deferred) => {
                let (cooperator, waiting) = (Rc::clone(self), Rc::clone(task));
                deferred.done(move |result| match result {
                    Ok(()) => {
                        waiting.go_on();
                        cooperator.enqueue(&waiting);
                    }
                    Err(failure) => {
                        cooperator.end(&waiting, Err(TaskEnd::Failed(Rc::new(failure))));
                    }
                });
            }
        }
    }
}

/// The next slice, as the reactor holds it. Dropped unrun, with all that a reactor holds when it closes, it ends the tasks.
struct Next(Option<Rc<Shared>>);

impl Next {
    fn ring(mut self) {
        if let Some(shared) = self.0.take() {
            drop(shared.planned.take());
            shared.run_slice();
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        // Taken back by a stop it is no longer planned.
        if let Some(shared) = self.0.take()
            && shared.planned.take().is_some()
        {
            shared.stop();
        }
    }
}
