//! [`Origin`]: what a chain remembers of its beginning, in every node, for a failure that nobody looks at.

use std::panic::Location;

use crate::log::Whose;

/// Where a chain was begun, and in whose callback.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) head: &'static Location<'static>,
    pub(super) whose: Whose,
}

impl Origin {
    /// A chain begins.
    #[inline]
    pub(super) fn new(head: &'static Location<'static>) -> Self {
        Self { head, whose: Whose::now() }
    }

    /// A chain begins with a value that is there: asks whose it is only when it fails.
    #[inline]
    pub(super) fn unasked(head: &'static Location<'static>) -> Self {
        Self { head, whose: Whose::UNASKED }
    }

    /// Asks now, if it was not asked before.
    pub(super) fn asked(self) -> Self {
        Self { head: self.head, whose: self.whose.asked() }
    }
}
