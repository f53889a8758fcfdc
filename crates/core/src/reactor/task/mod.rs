//! Futures on the reactor: each becomes a Deferred, and is polled from the loop whenever it was woken. What a task is made of is in `run.rs`,
//! who wakes it in `waker.rs`. `docs/design/async.md` tells the rules.

mod run;
#[cfg(test)]
mod tests;
mod waker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::task::Context;

use self::run::{Run, Spawned};
use self::waker::Kept;
use super::Reactor;
use super::beat::Callback;
use super::inner::Inner;
use crate::deferred::Deferred;
use crate::driver::Handle;
use crate::panic::guard_quietly;
use crate::table::Table;

pub(super) use self::waker::Woken;

/// How many times in a turn a task may be polled because of what tasks did, and not because of what came from outside.
const SHARE: u32 = 128;

/// The futures of a reactor.
pub(crate) struct Tasks {
    places: RefCell<Table<Place>>,
    /// Those that were woken, in that order. May name some that are over.
    ready: RefCell<VecDeque<Handle>>,
    /// The same, for the next turn.
    later: RefCell<VecDeque<Handle>>,
    /// How many more the tasks may wake in this turn.
    share: Cell<u32>,
    /// Whether what runs now comes after a callback, and not from outside.
    settling: Cell<bool>,
    /// A waker that nobody else has.
    spare: Cell<Option<Kept>>,
}

/// A task's place in the table; it has left that when it is over or cancelled.
struct Place {
    /// Taken out while it is polled.
    task: Option<Box<dyn Run>>,
    /// Its waker, if somebody has a clone.
    waker: Option<Kept>,
    /// Whether it waits to be polled.
    queued: bool,
    site: &'static Location<'static>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            places: RefCell::new(Table::new()),
            ready: RefCell::default(),
            later: RefCell::default(),
            share: Cell::new(SHARE),
            settling: Cell::new(false),
            spare: Cell::default(),
        }
    }
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.places.borrow().len() == 0
    }

    /// Whether what runs from now on comes after a callback; answers what was said before.
    pub(super) fn settling(&self, on: bool) -> bool {
        self.settling.replace(on)
    }

    /// Takes a task out, to be dropped outside every borrow. One that is being polled is dropped after that.
    fn remove(&self, id: Handle) -> Option<Place> {
        self.places.borrow_mut().remove(id)
    }
}

impl Reactor {
    /// Runs a future on the reactor. It is polled first right after the present callback, and then whenever it is woken, from this thread or
    /// another; tasks that are ready take turns, first in first out.
    ///
    /// The Deferred comes to what the future comes to. Cancelling it drops the future at once (right after the poll, if it is being polled) and
    /// fails it with [`Interrupt::Cancelled`](crate::deferred::Interrupt::Cancelled); the future is told nothing else: what it holds cleans up in
    /// `Drop`. Dropping the Deferred lets the task run on by itself. A panic ends this task alone, is logged, and is the Deferred's error,
    /// [`Interrupt::Panicked`](crate::deferred::Interrupt::Panicked). Closing the reactor drops the futures that are left:
    /// [`Interrupt::Abandoned`](crate::deferred::Interrupt::Abandoned).
    ///
    /// Tasks that wake themselves, or each other, do not starve the rest: after 128 polls that only tasks have asked for, the next ones wait for
    /// the next turn, behind timers and what the network brings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use marline_core::deferred::Deferred;
    /// use marline_core::testing::TestReactor;
    ///
    /// let reactor = TestReactor::new();
    /// let (bell, resolver) = Deferred::<u32>::new();
    /// reactor.call_later(Duration::from_secs(1), move |_| resolver.resolve(20));
    /// let answer = reactor.spawn(async move { bell.await.unwrap_or(0) + 1 });
    /// assert_eq!(reactor.result_of(answer).unwrap(), 21);
    /// ```
    #[track_caller]
    #[doc(alias = "ensureDeferred")]
    #[doc(alias = "fromCoroutine")]
    #[doc(alias = "inlineCallbacks")]
    pub fn spawn<F>(&self, future: F) -> Deferred<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let tasks = &self.0.tasks;
        let site = Location::caller();
        let place = Place { task: None, waker: None, queued: false, site };
        let id = tasks.places.borrow_mut().insert(place);
        let inner = Rc::downgrade(&self.0);
        let (deferred, resolver) = Deferred::with_canceller(move || {
            let place = inner.upgrade().and_then(|inner| inner.tasks.remove(id));
            if let Some(task) = place.and_then(|place| place.task) {
                task.cancel();
            }
        });
        let task: Box<dyn Run> = Box::new(Spawned::new(future, resolver));
        if let Some(place) = tasks.places.borrow_mut().get_mut(id) {
            place.task = Some(task);
        }
        self.0.wake_task(id);
        deferred
    }
}

impl Inner {
    /// Puts a task on the queue, unless it is there or over. In the reactor's own thread.
    fn wake_task(&self, id: Handle) {
        let tasks = &self.tasks;
        match tasks.places.borrow_mut().get_mut(id) {
            Some(place) if !place.queued => place.queued = true,
            _ => return,
        }
        if tasks.settling.get() {
            let Some(share) = tasks.share.get().checked_sub(1) else {
                self.set_waiting(Self::LATER);
                return tasks.later.borrow_mut().push_back(id);
            };
            tasks.share.set(share);
        }
        tasks.ready.borrow_mut().push_back(id);
        self.todo.set(self.todo.get() | Self::TASKS);
    }

    /// A turn begins: the tasks that were put off are ready.
    pub(super) fn take_later(&self) {
        let tasks = &self.tasks;
        tasks.share.set(SHARE);
        if self.is_waiting(Self::LATER) {
            self.unset_waiting(Self::LATER);
            tasks.ready.borrow_mut().append(&mut tasks.later.borrow_mut());
            self.todo.set(self.todo.get() | Self::TASKS);
        }
    }

    /// So are those that other threads have woken.
    pub(super) fn take_woken(&self) {
        for id in self.shared.woken.take() {
            self.wake_task(id);
        }
    }

    /// Polls the next task that is ready. Answers whether there was one.
    pub(super) fn run_ready(&self) -> bool {
        let tasks = &self.tasks;
        let Some(id) = tasks.ready.borrow_mut().pop_front() else {
            self.todo.set(self.todo.get() & !Self::TASKS);
            return false;
        };
        let (mut task, waker, site) = {
            let mut places = tasks.places.borrow_mut();
            let Some(place) = places.get_mut(id) else { return true };
            place.queued = false;
            let Some(task) = place.task.take() else { return true };
            (task, place.waker.take(), place.site)
        };
        let waker = waker.unwrap_or_else(|| self.new_waker(id));
        self.site.set(Some(site));
        self.beat.note_site(Some(site));
        let mut context = Context::from_waker(waker.waker());
        let over = self.beat.around(Callback::Task, || task.poll(&mut context));
        if over {
            drop(tasks.remove(id));
            if waker.is_fresh() {
                tasks.spare.set(Some(waker));
            }
            return true;
        }
        let waker = if waker.is_fresh() {
            tasks.spare.set(Some(waker));
            None
        } else {
            self.shared.woken.arm(&waker, || self.driver().waker());
            Some(waker)
        };
        if let Some(place) = tasks.places.borrow_mut().get_mut(id) {
            (place.task, place.waker) = (Some(task), waker);
            return true;
        }
        // Cancelled while it was polled.
        guard_quietly("drop of a future", || drop(task));
        true
    }

    /// Drops all futures.
    pub(super) fn drop_tasks(&self) {
        let ids = self.tasks.places.borrow().keys();
        for id in ids {
            let place = self.tasks.remove(id);
            guard_quietly("drop of a future", || drop(place));
        }
    }

    fn new_waker(&self, id: Handle) -> Kept {
        match self.tasks.spare.take() {
            Some(spare) => {
                spare.rename(id);
                spare
            }
            None => Kept::new(id, &self.shared),
        }
    }
}
