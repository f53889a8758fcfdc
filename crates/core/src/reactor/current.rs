//! Which reactor runs on this thread, and which there are, for the log alone: everything else is passed a handle.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::inner::Inner;
use crate::log::Whose;

thread_local! {
    static CURRENT: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
    /// Those of this thread that may be alive.
    static KNOWN: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
    static LAST_ID: Cell<u32> = const { Cell::new(0) };
}

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

/// A number for a new reactor of this thread. (Numbers come again after sixteen million: then the log may name a stranger.)
pub(super) fn next_id() -> u32 {
    let next = LAST_ID.try_with(|last| {
        let next = last.get() % (Whose::REACTORS - 1) + 1;
        last.set(next);
        next
    });
    next.unwrap_or(1)
}

/// Makes a new reactor known.
pub(super) fn know(inner: &Rc<Inner>) {
    let _ = KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        known.retain(|inner| inner.strong_count() > 0);
        known.push(Rc::downgrade(inner));
    });
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
