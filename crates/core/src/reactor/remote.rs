//! The reactor's counterpart for other threads: calls into its thread, and stops it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::ThreadId;

use super::Reactor;
use super::task::Woken;
use crate::driver::Waker;

type RemoteCall = Box<dyn FnOnce(&Reactor) + Send>;

/// A handle on a reactor for other threads: `Send`, `Sync` and cheap to clone.
#[derive(Clone)]
#[doc(alias = "IReactorFromThreads")]
pub struct Remote {
    pub(super) shared: Arc<Shared>,
    /// Held by those who may wake the reactor, and not by the reactor itself: a driver can tell whether anybody may.
    pub(super) waker: Waker,
}

/// Calls of other threads.
#[derive(Default)]
struct Calls {
    queue: VecDeque<RemoteCall>,
    /// Threads that wait for an answer, each with what tells it that there will be none.
    waiting: BTreeMap<u64, Box<dyn Fn() + Send>>,
    next: u64,
    /// The reactor waits for threads: none of them may wait for it.
    refusing: bool,
}

/// What threads share with the reactor.
pub(crate) struct Shared {
    calls: Mutex<Calls>,
    /// Whether there may be calls, or tasks that were woken: looked at each turn, without the lock.
    pending: AtomicBool,
    /// Whether the reactor is gone.
    gone: AtomicBool,
    thread: ThreadId,
    /// Tasks that were woken.
    pub(super) woken: Woken,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::default(),
            pending: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            thread: std::thread::current().id(),
            woken: Woken::default(),
        }
    }

    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// There is something for the next turn.
    pub(super) fn set_pending(&self) {
        self.pending.store(true, Ordering::Release);
    }

    /// Takes all calls that have come in.
    pub(super) fn take(&self) -> VecDeque<RemoteCall> {
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut self.calls().queue)
    }

    /// As long as this is on, a thread that would wait for the reactor is told that it waits in vain; so are those that wait already.
    pub(super) fn refuse_blocking(&self, refuse: bool) {
        let mut calls = self.calls();
        calls.refusing = refuse;
        if refuse {
            calls.waiting.values().for_each(|give_up| give_up());
        }
    }

    /// Counts a thread among those that wait, unless none may.
    fn wait(&self, give_up: Box<dyn Fn() + Send>) -> Option<u64> {
        let mut calls = self.calls();
        if calls.refusing {
            return None;
        }
        calls.next += 1;
        let id = calls.next;
        calls.waiting.insert(id, give_up);
        Some(id)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_this_thread(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn set_gone(&self) {
        let calls = {
            let mut calls = self.calls();
            self.gone.store(true, Ordering::Release);
            std::mem::take(&mut calls.queue)
        };
        drop(calls);
    }
}

impl Remote {
    /// Runs `f` in the reactor's thread, in one of its next turns: in the order of calls, before that turn's timers. Wakes the reactor if it
    /// waits. May be called from any thread, and before the reactor runs. If the reactor is gone, `f` is dropped unheard.
    #[doc(alias = "callFromThread")]
    pub fn call(&self, f: impl FnOnce(&Reactor) + Send + 'static) {
        let mut calls = self.shared.calls();
        // Looked at under the lock, or a call could come in behind the last who looks.
        if self.shared.is_gone() {
            drop(calls);
            return drop(f);
        }
        calls.queue.push_back(Box::new(f));
        drop(calls);
        // Whoever finds the flag set knows that another has woken the reactor, or will.
        if !self.shared.pending.swap(true, Ordering::AcqRel) {
            (self.waker)();
        }
    }

    /// Stops the reactor as [`Reactor::stop`] does; nothing happens if it is not running.
    pub fn stop(&self) {
        self.call(|reactor| {
            // Not running is what was asked for.
            let _ = reactor.stop();
        });
    }

    /// Whether the present thread is the reactor's.
    #[doc(alias = "isInIOThread")]
    pub fn is_reactor_thread(&self) -> bool {
        self.shared.is_this_thread()
    }

    /// Runs `f` in the reactor's thread and waits for the answer it gives to the [`Reply`]; at once or later, when a result arrives.
    ///
    /// ```no_run
    /// # fn f(remote: marline_core::Remote) -> Result<(), Box<dyn std::error::Error>> {
    /// let open = remote.blocking_call(|reactor, reply| reply.send(reactor.open().len()))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BlockingError::ReactorThread`] in the reactor's own thread, where waiting would be for ever; that is also where a job runs on a driver that
    /// has no threads, such as the simulated network. [`BlockingError::Dropped`] if the reactor ended or dropped the reply.
    #[doc(alias = "blockingCallFromThread")]
    pub fn blocking_call<R: Send + 'static>(
        &self,
        f: impl FnOnce(&Reactor, Reply<R>) + Send + 'static,
    ) -> Result<R, BlockingError> {
        if self.is_reactor_thread() {
            return Err(BlockingError::ReactorThread);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let reply = Reply(sender.clone());
        // The first word that is said counts: an answer, or that there will be none.
        let give_up = Box::new(move || drop(sender.try_send(None)));
        let Some(id) = self.shared.wait(give_up) else { return Err(BlockingError::Dropped) };
        self.call(move |reactor| f(reactor, reply));
        let answer = receiver.recv().ok().flatten();
        self.shared.calls().waiting.remove(&id);
        answer.ok_or(BlockingError::Dropped)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote(..)")
    }
}

/// Answers a [`Remote::blocking_call`]. Dropped without an answer, it tells the thread so.
#[derive(Debug)]
pub struct Reply<R>(mpsc::SyncSender<Option<R>>);

impl<R> Reply<R> {
    /// Gives the waiting thread its answer.
    pub fn send(self, answer: R) {
        // A thread that no longer waits needs no answer.
        let _ = self.0.try_send(Some(answer));
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        let _ = self.0.try_send(None);
    }
}

/// Why a thread got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingError {
    /// The reactor's own thread must not wait for itself.
    ReactorThread,
    /// The reactor ended, or dropped the reply.
    Dropped,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReactorThread => {
                "a blocking call from the reactor's own thread (where jobs of a simulation run, too) would wait for ever"
            }
            Self::Dropped => "the reactor ended, or dropped the reply",
        })
    }
}

impl std::error::Error for BlockingError {}
