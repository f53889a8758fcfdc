//! A pool of worker threads: grows on demand up to a bound, keeps idle threads, runs jobs in the order they came.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem::{forget, take};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use marline_core::driver::{Answer, JobId};

use crate::wake::Wake;

/// What a worker runs. A panic inside becomes [`Answer::Panicked`].
pub(crate) type Task = Box<dyn FnOnce() -> Answer + Send>;

/// Threads that run tasks and put the answers into an [`Inbox`].
///
/// Waiting tasks are not bounded: who hands them over bounds them. Dropping the pool lets running tasks finish on their own, unjoined, so
/// that a task which never returns cannot hold up the end of a program.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Threads are called this, a dash and a number.
    name: &'static str,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    inbox: Arc<Inbox>,
}

impl Pool {
    pub(crate) fn new(name: &'static str, most: usize, inbox: Arc<Inbox>) -> Self {
        Self { name, shared: Arc::new(Shared::new(most)), threads: Vec::new(), inbox }
    }

    /// Has a task run, on a new thread if all are busy and there may be more.
    ///
    /// # Errors
    ///
    /// When there is no thread and none can be started. If there is one, the task waits for it instead.
    pub(crate) fn run(&mut self, id: JobId, task: Task) -> io::Result<()> {
        let mut state = self.shared.lock();
        if state.idle <= state.waiting.len() && state.alive < state.most {
            state.alive += 1;
            // Without the lock: starting a thread takes a while.
            drop(state);
            let started = self.start_thread();
            state = self.shared.lock();
            if let Err(error) = started {
                state.alive -= 1;
                if state.alive == 0 {
                    return Err(error);
                }
            }
        }
        state.waiting.push_back((id, task));
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Changes how many threads there may be, at least one; surplus ones end when they have nothing to do.
    pub(crate) fn set_most(&mut self, most: usize) {
        self.shared.lock().most = most.max(1);
        self.shared.changed.notify_all();
    }

    /// Threads, and tasks that wait for one.
    pub(crate) fn census(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.alive, state.waiting.len())
    }

    /// Drops the tasks that wait, lets the others finish and joins the threads. The pool can be used again.
    pub(crate) fn stop(&mut self) {
        let most = self.shared.stop();
        for thread in self.threads.drain(..) {
            // Tasks' panics are caught; there is nothing a thread could end with.
            let _ = thread.join();
        }
        self.shared = Arc::new(Shared::new(most));
    }

    fn start_thread(&mut self) -> io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let (shared, inbox) = (Arc::clone(&self.shared), Arc::clone(&self.inbox));
        let thread = thread::Builder::new()
            .name(format!("{}-{}", self.name, self.threads.len() + 1))
            .spawn(move || shared.work(&inbox))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// Where answers wait for the loop.
#[derive(Debug)]
pub(crate) struct Inbox {
    answers: Mutex<Vec<(JobId, Answer)>>,
    wake: Arc<Wake>,
}

impl Inbox {
    pub(crate) fn new(wake: Arc<Wake>) -> Self {
        Self { answers: Mutex::default(), wake }
    }

    /// Takes what has come in, oldest first.
    pub(crate) fn take(&self) -> Vec<(JobId, Answer)> {
        take(&mut *lock(&self.answers))
    }

    fn put(&self, id: JobId, answer: Answer) {
        lock(&self.answers).push((id, answer));
        self.wake.wake();
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: VecDeque<(JobId, Task)>,
    /// Threads there may be.
    most: usize,
    /// Threads there are.
    alive: usize,
    /// Of these, the ones that wait for a task.
    idle: usize,
    stopping: bool,
}

impl Shared {
    fn new(most: usize) -> Self {
        let state = State { waiting: VecDeque::new(), most, alive: 0, idle: 0, stopping: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Has the threads drop what waits and end; how many there might have been.
    fn stop(&self) -> usize {
        let mut state = self.lock();
        state.stopping = true;
        let most = state.most;
        drop(state);
        self.changed.notify_all();
        most
    }

    /// The life of a worker thread.
    fn work(&self, inbox: &Inbox) {
        let mut state = self.lock();
        loop {
            if state.stopping || state.alive > state.most {
                state.alive -= 1;
                let dropped =
                    if state.stopping { take(&mut state.waiting) } else { VecDeque::new() };
                drop(state);
                // These are the user's closures: they are dropped here, without the lock, and not on the loop.
                for (_, task) in dropped {
                    let _ = catch_unwind(AssertUnwindSafe(move || drop(task))).map_err(panicked);
                }
                return;
            }
            let Some((id, task)) = state.waiting.pop_front() else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let answer = catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(panicked);
            inbox.put(id, answer);
            state = self.lock();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn panicked(payload: Box<dyn Any + Send>) -> Answer {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => {
            payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "no message".to_owned())
        }
    };
    // A payload may panic when dropped; that must not end the thread.
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        forget(again);
    }
    Answer::Panicked(message)
}

/// Nothing of the user's runs under these locks, so a poisoned one guards nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
