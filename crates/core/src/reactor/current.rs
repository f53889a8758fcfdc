//! Which reactor runs on this thread: for the log, for wakers, and for code that nobody has passed a handle.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::Reactor;
use super::inner::Inner;

thread_local! {
    static CURRENT: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
}

/// The reactor whose turn is under way on this thread, or whose callback was begun outside a turn; the innermost one.
pub(crate) fn reactor() -> Option<Rc<Inner>> {
    CURRENT.try_with(|current| current.borrow().upgrade()).ok().flatten()
}

impl Reactor {
    /// The reactor whose callback or task runs on this thread; the innermost one, if a reactor is run inside a callback of another. `None` outside
    /// callbacks, and in a job on a worker thread (also in a simulation, where that is this thread).
    ///
    /// Passing a handle is plainer. This is for code that cannot be passed one, such as the inside of a future.
    ///
    /// ```
    /// use marline_core::Reactor;
    /// use marline_core::testing::TestReactor;
    ///
    /// let reactor = TestReactor::new();
    /// let name = reactor.spawn(async { Reactor::current().map(|reactor| reactor.driver_name()) });
    /// assert_eq!(reactor.result_of(name).unwrap(), Some("sim"));
    /// assert!(Reactor::current().is_none());
    /// ```
    pub fn current() -> Option<Self> {
        reactor().map(|inner| Self::from_inner(&inner))
    }
}

/// As long as what it answers lives, no reactor is the thread's.
pub(crate) fn leave() -> impl Drop {
    Entered(replace(Weak::new()))
}

/// As long as it lives, a reactor is the thread's; afterwards the one before is again.
pub(super) struct Entered(Weak<Inner>);

impl Entered {
    pub(super) fn new(inner: &Rc<Inner>) -> Self {
        Self(replace(Rc::downgrade(inner)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        replace(std::mem::take(&mut self.0));
    }
}

fn replace(reactor: Weak<Inner>) -> Weak<Inner> {
    CURRENT.try_with(|current| current.replace(reactor)).unwrap_or_default()
}
