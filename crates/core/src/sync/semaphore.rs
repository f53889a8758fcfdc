//! [`Semaphore`]: a number of permits, and a line of those who want one.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::line::{Line, Supply};
use crate::deferred::{Deferred, Fault, Interrupt, Lender};
use crate::failure::Failure;

/// Lets so many at a time. Clones share the permits. See the [module](super) for the rules.
///
/// ```
/// use marline_core::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1)?;
/// let permit = semaphore.try_acquire();
/// assert!(permit.is_some() && semaphore.try_acquire().is_none());
/// let second = semaphore.acquire();
/// drop(permit); // the second has it before this returns
/// assert!(second.is_ready());
/// # Ok::<(), marline_core::sync::NoPermits>(())
/// ```
#[derive(Clone)]
#[doc(alias = "DeferredSemaphore")]
pub struct Semaphore(Rc<Inner>);

struct Inner {
    total: usize,
    free: Cell<usize>,
    closed: Cell<bool>,
    line: Line<Permit>,
}

impl Semaphore {
    /// Makes a semaphore with `permits` permits, all of them free.
    ///
    /// # Errors
    ///
    /// If `permits` is 0: nobody could ever acquire one.
    pub fn new(permits: usize) -> Result<Self, NoPermits> {
        if permits == 0 { Err(NoPermits) } else { Ok(Self::of(permits)) }
    }

    /// `permits` is not 0.
    pub(super) fn of(permits: usize) -> Self {
        Self(Rc::new(Inner {
            total: permits,
            free: Cell::new(permits),
            closed: Cell::new(false),
            line: Line::new(),
        }))
    }

    /// Waits for a permit, which is given back when it is dropped. Allocates nothing if there is one.
    ///
    /// Fails with [`Interrupt::Cancelled`] if it is cancelled, with [`Interrupt::Abandoned`] if the semaphore is closed. A deferred that
    /// is dropped leaves the line.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit> {
        if let Some(permit) = self.try_acquire() {
            return Deferred::ready(permit);
        }
        if self.is_closed() {
            return Deferred::failed(Failure::from(Interrupt::Abandoned));
        }
        let inner: Weak<Inner> = Rc::downgrade(&self.0);
        self.0.line.join(inner, Location::caller())
    }

    /// Returns a permit if one is free and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Permit> {
        if self.0.line.is_empty() { self.0.lend() } else { None }
    }

    /// Waits for a permit, calls `f`, and gives the permit back when the deferred that `f` returns has fired, before any later step runs. So
    /// it does if `f` panics.
    ///
    /// Cancelled while it waits it leaves the line, and `f` is not called; cancelled later, the cancel goes to the deferred of `f`. Errors of
    /// waiting are those of [`acquire`](Self::acquire).
    #[track_caller]
    pub fn run<T: 'static, E: Fault>(
        &self,
        f: impl FnOnce() -> Deferred<T, E> + 'static,
    ) -> Deferred<T, E> {
        let permit = Rc::new(Cell::new(None));
        let held = Rc::clone(&permit);
        let run = move |permit| {
            held.set(Some(permit));
            f()
        };
        let fail = |failure: Failure| {
            // A permit is waited for in vain for no other reason.
            let why = failure.trap::<Interrupt>().unwrap_or(Interrupt::Abandoned);
            Deferred::failed(why.into())
        };
        // By a step of its own, so that a panic of `f` has been caught when the next one runs.
        self.acquire().either_then(run, fail).finally(move || drop(permit.take()))
    }

    /// Closes it for good: those who wait, and all who come, get [`Interrupt::Abandoned`]. Permits that are out stay good. Called from inside
    /// the chain of one that has just been given a permit, it fails the others when that chain returns.
    pub fn close(&self) {
        self.0.closed.set(true);
        self.0.serve();
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Returns how many permits there are in all.
    #[doc(alias = "limit")]
    pub fn permits(&self) -> usize {
        self.0.total
    }

    /// Returns how many permits are free.
    #[doc(alias = "tokens")]
    pub fn available(&self) -> usize {
        self.0.free.get()
    }

    /// Returns how many wait for a permit.
    pub fn waiting(&self) -> usize {
        self.0.line.len()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.permits())
            .field("available", &self.available())
            .field("waiting", &self.waiting())
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl Inner {
    fn lend(self: &Rc<Self>) -> Option<Permit> {
        if self.closed.get() {
            return None;
        }
        self.free.set(self.free.get().checked_sub(1)?);
        Some(Permit(Rc::clone(self)))
    }

    fn serve(self: &Rc<Self>) {
        self.line.serve(|| match self.lend() {
            Some(permit) => Supply::Value(0, permit),
            None if self.closed.get() => Supply::Closed,
            None => Supply::Nothing,
        });
    }
}

impl Lender<Permit> for Inner {
    fn leave(&self, turn: u64) {
        self.line.leave(turn);
    }

    fn give_back(&self, _number: u64, permit: Permit) {
        drop(permit);
    }
}

/// One permit of a [`Semaphore`], or a held [`Lock`](super::Lock): given back when it is dropped, to the first who waits.
#[must_use = "dropping it gives it back at once"]
pub struct Permit(Rc<Inner>);

impl Permit {
    /// Gives it back, as dropping it does. The chain of the first who waits runs before this returns, unless this is called from inside one
    /// that has just been given a permit of the same semaphore.
    pub fn release(self) {}
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        self.0.serve();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// A semaphore without permits was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPermits;

impl fmt::Display for NoPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a semaphore needs at least one permit")
    }
}

impl Error for NoPermits {}
