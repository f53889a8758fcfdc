//! [`CooperativeTask`]: one computation of a [`Cooperator`](super::Cooperator).

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use super::cooperator::Shared;
use crate::deferred::{CancelHandle, Deferred, Interrupt, Resolver};
use crate::failure::Failure;
use crate::panic::{guard, guard_quietly};

/// One computation of a [`Cooperator`](super::Cooperator). A handle, cheap to clone; the task goes on without it.
#[derive(Clone)]
pub struct CooperativeTask {
    pub(super) cooperator: Rc<Shared>,
    pub(super) task: Rc<Task>,
}

impl CooperativeTask {
    /// Holds it back: no step is done until it was [resumed](Self::resume) as often as paused.
    ///
    /// # Errors
    ///
    /// How it has ended, if it has.
    pub fn pause(&self) -> Result<(), TaskError> {
        self.task.check()?;
        self.task.paused.set(self.task.paused.get() + 1);
        Ok(())
    }

    /// Takes one pause back.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotPaused`] without a [`pause`](Self::pause); how it has ended, if it has.
    pub fn resume(&self) -> Result<(), TaskError> {
        self.task.check()?;
        let paused = self.task.paused.get().checked_sub(1).ok_or(TaskError::NotPaused)?;
        self.task.paused.set(paused);
        self.cooperator.enqueue(&self.task);
        Ok(())
    }

    /// Ends it: no further step is done, the iterator is dropped, and a Deferred it waits for is cancelled. Those who wait for its end are told
    /// [`TaskEnd::Stopped`] before this returns.
    ///
    /// # Errors
    ///
    /// How it has ended, if it has.
    pub fn stop(&self) -> Result<(), TaskError> {
        self.task.check()?;
        self.cooperator.end(&self.task, Err(TaskEnd::Stopped));
        Ok(())
    }

    /// Fires when it has ended: with an error, unless it has come to the end of its iterator. Each call gives another Deferred; cancelling one has no
    /// effect on the task.
    #[track_caller]
    #[doc(alias = "whenDone")]
    pub fn when_done(&self) -> Deferred<(), TaskEnd> {
        let (deferred, resolver) = Deferred::new();
        self.task.tell(resolver);
        deferred
    }

    /// How it has ended, if it has.
    pub fn result(&self) -> Option<Result<(), TaskEnd>> {
        let end = self.task.end.borrow().clone();
        if end.is_some() {
            self.task.unheard.set(false);
        }
        end
    }

    /// The same as `when_done` for the only one who has the task: cancelling the Deferred stops it.
    #[track_caller]
    pub(super) fn into_done(self) -> Deferred<(), TaskEnd> {
        let (cooperator, task) = (Rc::downgrade(&self.cooperator), Rc::downgrade(&self.task));
        let (deferred, resolver) = Deferred::with_canceller(move || {
            let (Some(cooperator), Some(task)) = (cooperator.upgrade(), task.upgrade()) else {
                return;
            };
            let listeners = task.listeners.take();
            cooperator.end(&task, Err(TaskEnd::Stopped));
            for listener in listeners {
                listener.fail(Interrupt::Cancelled.into());
            }
        });
        self.task.tell(resolver);
        deferred
    }
}

impl fmt::Debug for CooperativeTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CooperativeTask")
            .field("paused", &self.task.paused.get())
            .field("end", &self.task.end)
            .finish_non_exhaustive()
    }
}

/// Does the next step; `None` is the end.
pub(super) type Steps = Box<dyn FnMut() -> Option<Deferred<()>>>;

/// The task itself. Whether it may run is for its cooperator to say.
pub(super) struct Task {
    id: u64,
    /// Taken out while a step is done.
    steps: Cell<Option<Steps>>,
    /// How many times it is paused.
    paused: Cell<u32>,
    /// Whether it waits for a Deferred, which this cancels.
    waits: Cell<Option<CancelHandle>>,
    is_waiting: Cell<bool>,
    /// Whether it waits for its turn.
    is_queued: Cell<bool>,
    end: RefCell<Option<Result<(), TaskEnd>>>,
    listeners: RefCell<Vec<Listener>>,
    /// It has failed, and nobody has asked.
    unheard: Cell<bool>,
}

type Listener = Resolver<(), TaskEnd>;

/// What a step has come to.
pub(super) enum Stepped {
    On,
    Waits(Deferred<()>),
    Ended(Result<(), TaskEnd>),
}

impl Task {
    pub(super) fn new(id: u64, steps: Steps) -> Rc<Self> {
        Rc::new(Self {
            id,
            steps: Cell::new(Some(steps)),
            paused: Cell::new(0),
            waits: Cell::default(),
            is_waiting: Cell::new(false),
            is_queued: Cell::new(false),
            end: RefCell::default(),
            listeners: RefCell::default(),
            unheard: Cell::new(false),
        })
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it is to be put where tasks wait for their turn.
    pub(super) fn begin_to_wait_for_turn(&self) -> bool {
        let held = self.paused.get() > 0 || self.is_waiting.get() || self.is_over();
        !held && !self.is_queued.replace(true)
    }

    /// It is its turn. `None` if it was paused or ended meanwhile.
    pub(super) fn step(&self) -> Option<Stepped> {
        self.is_queued.set(false);
        if self.paused.get() > 0 || self.is_over() {
            return None;
        }
        let mut steps = self.steps.take()?;
        let stepped = guard(&mut steps);
        if self.is_over() {
            // It has ended itself.
            drop_steps(steps);
            if let Ok(Some(deferred)) = stepped {
                deferred.cancel();
                deferred.ignore();
            }
            return Some(Stepped::On);
        }
        self.steps.set(Some(steps));
        Some(match stepped {
            Err(text) => failed(Interrupt::Panicked(text).into()),
            Ok(None) => Stepped::Ended(Ok(())),
            Ok(Some(deferred)) => match deferred.try_take() {
                Ok(Ok(())) => Stepped::On,
                Ok(Err(failure)) => failed(failure),
                Err(deferred) => {
                    self.waits.set(Some(deferred.cancel_handle()));
                    self.is_waiting.set(true);
                    Stepped::Waits(deferred)
                }
            },
        })
    }

    /// What it waited for is there.
    pub(super) fn go_on(&self) {
        self.waits.set(None);
        self.is_waiting.set(false);
    }

    /// Ends it, unless it has ended.
    pub(super) fn end(&self, result: Result<(), TaskEnd>) {
        if self.is_over() {
            return;
        }
        *self.end.borrow_mut() = Some(result.clone());
        // From here on users' code is called and dropped.
        if let Some(waits) = self.waits.take() {
            waits.cancel();
        }
        if let Some(steps) = self.steps.take() {
            drop_steps(steps);
        }
        let listeners = self.listeners.take();
        self.unheard.set(listeners.is_empty());
        for listener in listeners {
            listener.finish(result.clone());
        }
    }

    fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn check(&self) -> Result<(), TaskError> {
        let end = self.end.borrow();
        end.as_ref().map_or(Ok(()), |end| Err(TaskError::of(end)))
    }

    fn tell(&self, listener: Listener) {
        let end = self.end.borrow().clone();
        if let Some(result) = end {
            self.unheard.set(false);
            return listener.finish(result);
        }
        let mut listeners = self.listeners.take();
        if listeners.len() == listeners.capacity() {
            listeners.retain(|listener| !listener.is_cancelled());
        }
        listeners.push(listener);
        self.listeners.replace(listeners);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.unheard.get()
            && let Some(Err(TaskEnd::Failed(failure))) = self.end.get_mut()
        {
            crate::log::failure(failure, "a cooperative task failed");
        }
    }
}

fn failed(failure: Failure) -> Stepped {
    Stepped::Ended(Err(TaskEnd::Failed(Rc::new(failure))))
}

fn drop_steps(steps: Steps) {
    guard_quietly("drop of a task", || drop(steps));
}

/// Why a task has ended before it was done. Every one who waits for its end is told the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskEnd {
    /// It was stopped.
    #[doc(alias = "TaskStopped")]
    Stopped,
    /// Its cooperator was stopped, or the reactor closed.
    #[doc(alias = "SchedulerStopped")]
    CooperatorStopped,
    /// A step, or a Deferred it waited for, failed with this, or panicked.
    #[doc(alias = "TaskFailed")]
    Failed(Rc<Failure>),
    /// The Deferred that was to tell was cancelled or abandoned.
    Interrupted(Interrupt),
}

impl fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the task was stopped"),
            Self::CooperatorStopped => f.write_str("the task's cooperator was stopped"),
            Self::Failed(failure) => write!(f, "the task failed: {failure}"),
            Self::Interrupted(interrupt) => write!(f, "waiting for the task: {interrupt}"),
        }
    }
}

impl Error for TaskEnd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => Some(failure.error()),
            Self::Interrupted(interrupt) => Some(interrupt),
            Self::Stopped | Self::CooperatorStopped => None,
        }
    }
}

impl From<Interrupt> for TaskEnd {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}

/// Nothing can be done with a task, for this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// It was to be resumed, and is not paused.
    NotPaused,
    /// It is done.
    #[doc(alias = "TaskDone")]
    Done,
    /// It was stopped.
    #[doc(alias = "TaskStopped")]
    Stopped,
    /// Its cooperator was stopped.
    #[doc(alias = "SchedulerStopped")]
    CooperatorStopped,
    /// It has failed.
    #[doc(alias = "TaskFailed")]
    Failed,
}

impl TaskError {
    fn of(end: &Result<(), TaskEnd>) -> Self {
        match end {
            Ok(()) => Self::Done,
            Err(TaskEnd::Stopped) => Self::Stopped,
            Err(TaskEnd::CooperatorStopped) => Self::CooperatorStopped,
            Err(TaskEnd::Failed(_) | TaskEnd::Interrupted(_)) => Self::Failed,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPaused => "the task is not paused",
            Self::Done => "the task is done",
            Self::Stopped => "the task was stopped",
            Self::CooperatorStopped => "the task's cooperator was stopped",
            Self::Failed => "the task has failed",
        })
    }
}

impl Error for TaskError {}
