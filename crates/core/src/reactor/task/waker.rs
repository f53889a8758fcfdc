//! Wakers of tasks: no lock in the reactor's own thread, a list behind a mutex for the others.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};

use crate::driver::{self, Handle};
use crate::reactor::current;
use crate::reactor::remote::Shared;

/// The waker of a task, as the reactor keeps it.
pub(super) struct Kept {
    waker: Waker,
    /// The same.
    bell: Arc<Bell>,
}

impl Kept {
    pub(super) fn new(id: Handle, shared: &Arc<Shared>) -> Self {
        let bell = Arc::new(Bell {
            id: AtomicU64::new(word(id)),
            queued: AtomicBool::new(false),
            shared: Arc::downgrade(shared),
            driver: OnceLock::new(),
        });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether nobody else has a clone, and nobody had when a poll ended: then it can be another task's.
    pub(super) fn is_fresh(&self) -> bool {
        let fresh = Arc::strong_count(&self.bell) == 2 && self.bell.driver.get().is_none();
        // Whoever had a clone is done with it.
        fence(Ordering::Acquire);
        fresh
    }

    /// Makes a fresh one the waker of this task.
    pub(super) fn rename(&self, id: Handle) {
        self.bell.id.store(word(id), Ordering::Relaxed);
    }
}

/// What clones of a waker share.
struct Bell {
    /// The task: the version of its place above the index.
    id: AtomicU64,
    /// Whether it is on the list of the woken.
    queued: AtomicBool,
    shared: Weak<Shared>,
    /// Set before the reactor can wait, if somebody has a clone then; not before: a driver can tell whether anybody may wake it.
    driver: OnceLock<driver::Waker>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match current::reactor() {
            Some(inner) if Weak::as_ptr(&self.shared) == Arc::as_ptr(&inner.shared) => {
                inner.wake_task(self.id());
            }
            _ => self.ring(),
        }
    }
}

impl Bell {
    fn id(&self) -> Handle {
        let word = self.id.load(Ordering::Relaxed);
        Handle { index: word as u32, version: (word >> 32) as u32 }
    }

    /// Wakes from another thread, or while the reactor is not under way in this one.
    #[cold]
    fn ring(self: &Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else { return };
        if shared.is_gone() || self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        {
            let mut list = shared.woken.lock();
            list.push(Arc::clone(self));
            // Under the lock: see `arm`.
            shared.set_pending();
        }
        // The thread that runs the reactor looks for itself.
        if !shared.is_this_thread()
            && let Some(wake) = self.driver.get()
        {
            wake();
        }
    }
}

/// Tasks that were woken by other threads.
#[derive(Default)]
pub(in crate::reactor) struct Woken(Mutex<Vec<Arc<Bell>>>);

impl Woken {
    /// Takes them, in the order they were woken.
    pub(super) fn take(&self) -> impl Iterator<Item = Handle> + use<> {
        let bells = mem::take(&mut *self.lock());
        bells.into_iter().map(|bell| {
            // From here on it can be woken again; what was done before it was, is seen by the poll that follows.
            bell.queued.swap(false, Ordering::AcqRel);
            bell.id()
        })
    }

    /// Somebody has kept a waker: from now on it wakes the driver, too.
    ///
    /// Under the lock: a thread that has called the waker by now and found no driver to wake has set the reactor's flag before, and the
    /// reactor looks at that before it waits.
    pub(super) fn arm(&self, kept: &Kept, driver: impl FnOnce() -> driver::Waker) {
        if kept.bell.driver.get().is_none() {
            let waker = driver();
            let _list = self.lock();
            // Only this thread sets it.
            let _ = kept.bell.driver.set(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Bell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(id: Handle) -> u64 {
    u64::from(id.version) << 32 | u64::from(id.index)
}
