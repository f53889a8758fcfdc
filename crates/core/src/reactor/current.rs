//! Which reactor runs on this thread, for the log alone: everything else is passed a handle.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::inner::Inner;

thread_local! {
    static CURRENT: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
}

/// The reactor whose turn is under way on this thread, or whose callback was begun outside a turn; the innermost one.
pub(crate) fn reactor() -> Option<Rc<Inner>> {
    CURRENT.try_with(|current| current.borrow().upgrade()).ok().flatten()
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
