//! Which reactor runs on this thread: for the log, for wakers, and for code that nobody has passed a handle; and which there are, for the log.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Reactor;
use super::inner::Inner;
use crate::log::Whose;

thread_local! {
    static CURRENT: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
    /// Those of this thread that may be alive.
    static KNOWN: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// Of all threads: what has the number of a reactor and went to another thread finds nobody there.
static LAST_ID: AtomicU32 = AtomicU32::new(0);

/// The reactor whose turn is under way on this thread, or whose callback was begun outside a turn; the innermost one.
#[inline]
pub(crate) fn reactor() -> Option<Rc<Inner>> {
    CURRENT.try_with(|current| current.borrow().upgrade()).ok().flatten()
}

/// The reactor of this thread that has this number.
pub(crate) fn known(id: u32) -> Option<Rc<Inner>> {
    let find = |known: &RefCell<Vec<Weak<Inner>>>| {
        known.borrow().iter().filter_map(Weak::upgrade).find(|inner| inner.id == id)
    };
    KNOWN.try_with(find).ok().flatten()
}

/// A number for a new reactor. (Numbers come again after sixteen million: then a stranger may be found.)
pub(super) fn next_id() -> u32 {
    LAST_ID.fetch_add(1, Ordering::Relaxed) % (Whose::REACTORS - 1) + 1
}

/// Makes a new reactor known.
pub(super) fn know(inner: &Rc<Inner>) {
    let _ = KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        known.retain(|inner| inner.strong_count() > 0);
        known.push(Rc::downgrade(inner));
    });
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
