//! Panics of user code are caught where it is called, and told as text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Calls user code. Nothing of the engine's is borrowed meanwhile, so that a panic cannot leave it half done; what the panic leaves
/// behind in the user's own objects is dropped with them.
#[inline]
pub(crate) fn guard<R>(f: impl FnOnce() -> R) -> Result<R, Rc<str>> {
    catch_unwind(AssertUnwindSafe(f)).map_err(text)
}

/// Out of line: every callback would pay for the registers it needs.
#[cold]
#[inline(never)]
fn text(payload: Box<dyn Any + Send>) -> Rc<str> {
    let text = message(&*payload).into();
    // A payload is the user's, too: it may panic when it is dropped, and what that panics with is not dropped at all.
    if let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(worse);
    }
    text
}

/// Calls user code of which nobody but the log waits to hear.
pub(crate) fn guard_quietly(what: &str, f: impl FnOnce()) {
    if let Err(message) = guard(f) {
        crate::log::engine::call_panicked(what, &message);
    }
}

/// The text a panic was raised with.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a panic without a text)"
    }
}
