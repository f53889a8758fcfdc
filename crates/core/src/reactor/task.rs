//! Futures on the reactor: each becomes a Deferred, and is polled from the loop whenever it was woken.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use super::Reactor;
use super::beat::Callback;
use super::inner::Inner;
use super::remote::Shared;
use crate::deferred::Deferred;
use crate::panic::guard;

/// The futures of a reactor. The place of one that is being polled is empty; it is gone if that one was cancelled meanwhile.
#[derive(Default)]
pub(crate) struct Tasks {
    places: BTreeMap<u64, Option<Task>>,
    next: u64,
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Tasks that were woken, from any thread.
#[derive(Default)]
pub(crate) struct Woken {
    ids: Mutex<VecDeque<u64>>,
    any: AtomicBool,
}

impl Woken {
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn push(&self, id: u64) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.contains(&id) {
            ids.push_back(id);
        }
        self.any.store(true, Ordering::Release);
    }

    fn pop(&self) -> Option<u64> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = ids.pop_front();
        self.any.store(!ids.is_empty(), Ordering::Release);
        id
    }
}

struct TaskWaker {
    id: u64,
    shared: Weak<Shared>,
    driver: crate::driver::Waker,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.woken.push(self.id);
            shared.set_pending();
            // The thread that runs the reactor looks for itself.
            if !shared.is_this_thread() {
                (self.driver)();
            }
        }
    }
}

impl Reactor {
    /// Runs a future on the reactor: it is polled first after the present callback, and then whenever it is woken. Cancelling the Deferred drops
    /// the future; so does closing the reactor. A future that panics is dropped, and the Deferred fails with `Interrupt::Abandoned`.
    #[track_caller]
    #[doc(alias = "ensureDeferred")]
    #[doc(alias = "fromCoroutine")]
    pub fn spawn<F>(&self, future: F) -> Deferred<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let id = {
            let mut tasks = self.0.tasks.borrow_mut();
            tasks.next += 1;
            tasks.next
        };
        let inner = std::rc::Rc::downgrade(&self.0);
        let (deferred, resolver) = Deferred::with_canceller(move || {
            let task =
                inner.upgrade().and_then(|inner| inner.tasks.borrow_mut().places.remove(&id));
            drop(task);
        });
        let task: Task = Box::pin(async move { resolver.resolve(future.await) });
        self.0.tasks.borrow_mut().places.insert(id, Some(task));
        self.0.todo.set(self.0.todo.get() | Inner::TASKS);
        self.0.shared.woken.push(id);
        self.0.shared.set_pending();
        deferred
    }
}

impl Inner {
    /// Polls the next task that was woken. Answers whether there was one.
    pub(super) fn run_woken(&self) -> bool {
        if !self.shared.woken.any() {
            if self.tasks.borrow().is_empty() {
                self.todo.set(self.todo.get() & !Self::TASKS);
            }
            return false;
        }
        let Some(id) = self.shared.woken.pop() else { return false };
        let place = self.tasks.borrow_mut().places.get_mut(&id).and_then(Option::take);
        let Some(mut task) = place else { return true };
        let (shared, driver) = (Arc::downgrade(&self.shared), self.driver().waker());
        let waker = Waker::from(Arc::new(TaskWaker { id, shared, driver }));
        let mut poll = || guard(|| task.as_mut().poll(&mut Context::from_waker(&waker)));
        let polled = self.beat.around(Callback::Task, &mut poll);
        let over = match &polled {
            Ok(poll) => poll.is_ready(),
            Err(message) => {
                crate::log::engine::task_panicked(message);
                true
            }
        };
        let mut tasks = self.tasks.borrow_mut();
        if over {
            tasks.places.remove(&id);
        } else if let Some(place) = tasks.places.get_mut(&id) {
            *place = Some(task);
            return true;
        }
        // What is over or was cancelled meanwhile is dropped outside the borrow.
        drop(tasks);
        drop(task);
        true
    }

    /// Takes all futures, to be dropped by the caller outside every borrow.
    pub(super) fn take_tasks(&self) -> impl Sized + use<> {
        std::mem::take(&mut self.tasks.borrow_mut().places)
    }
}
