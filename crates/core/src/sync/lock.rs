//! [`Lock`]: one at a time.

use std::fmt;

use super::{Permit, Semaphore};
use crate::deferred::{Deferred, Fault};

/// Lets one at a time: a [`Semaphore`] with one permit. Clones are the same lock. See the [module](super) for the rules.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_core::failure::Failure;
/// use marline_core::sync::Lock;
///
/// # fn save(_text: &'static str) -> Deferred<()> { Deferred::ready(()) }
/// # async fn save_both() -> Result<(), Failure> {
/// let lock = Lock::new();
/// let first = lock.run(|| save("one"));
/// let second = lock.run(|| save("two")); // begins when the first has been saved
///
/// let held = lock.acquire().await?; // in a task: until `held` is dropped
/// save("three").await?;
/// save("four").await?;
/// # drop((held, first, second));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[doc(alias = "DeferredLock")]
pub struct Lock(Semaphore);

impl Lock {
    /// Makes a lock that is free.
    pub fn new() -> Self {
        Self(Semaphore::of(1))
    }

    /// Waits for the lock, which is free again when the permit is dropped: as [`Semaphore::acquire`].
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        self.0.acquire()
    }

    /// Takes the lock if it is free.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.0.try_acquire()
    }

    /// Holds the lock from before `f` is called until the deferred that it returns has fired: as [`Semaphore::run`].
    #[track_caller]
    pub fn run<T: 'static, E: Fault>(
        &self,
        f: impl FnOnce() -> Deferred<T, E> + 'static,
    ) -> Deferred<T, E> {
        self.0.run(f)
    }

    /// Closes it for good: as [`Semaphore::close`].
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether somebody holds it.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.0.available() == 0
    }

    /// Returns how many wait for it.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.is_locked())
            .field("waiting", &self.waiting())
            .field("closed", &self.is_closed())
            .finish()
    }
}
