//! Failures nobody looked at: they are logged when they are dropped, and told to the thread's hook, if there is one.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::interrupt::Fault;
use super::origin::Origin;
use super::outcome::Failed;
use crate::failure::HOPS;
use crate::log::{Context, engine as log};
use crate::panic::guard;

/// A failure that was dropped with its deferred before anything looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unhandled {
    /// The error's `Display`.
    pub error: String,
    /// Where the chain was begun.
    pub created: &'static Location<'static>,
    /// The callback in which the chain was begun, and so the connection it belongs to; `None` if it was begun outside callbacks. Protocol and
    /// peer are looked up now: of a connection that has ended before the present callback only the number is left.
    pub made_in: Option<Context>,
    /// Where the deferred, or the link, was made that failed.
    pub failed: &'static Location<'static>,
    /// Where the links were made that the failure went through, the first [`HOPS`] of them.
    pub hops: Vec<&'static Location<'static>>,
    /// How many links it went through in all.
    pub hop_count: usize,
}

impl fmt::Display for Unhandled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (deferred made at {}", self.error, self.created)?;
        if let Some(made_in) = &self.made_in {
            write!(f, " in {made_in}")?;
        }
        if self.failed != self.created {
            write!(f, ", failed at {}", self.failed)?;
        }
        for (index, site) in self.hops.iter().enumerate() {
            write!(f, "{}{site}", if index == 0 { ", went through " } else { ", " })?;
        }
        match self.hop_count.saturating_sub(HOPS) {
            0 => f.write_str(")"),
            more => write!(f, " and {more} more)"),
        }
    }
}

/// Called with each failure that nobody looked at, on the thread it was set on.
#[doc(hidden)]
pub type Hook = Rc<dyn Fn(&Unhandled)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Sets, or takes away, the thread's hook, and returns the one before. The hook comes in addition to the log.
#[doc(hidden)]
pub fn replace_hook(hook: Option<Hook>) -> Option<Hook> {
    HOOK.try_with(|cell| cell.replace(hook)).ok().flatten()
}

/// Collects the failures that nobody looked at in `f`, on this thread. The hook that was set before does not hear of them.
#[doc(hidden)]
pub fn capture_unhandled<R>(f: impl FnOnce() -> R) -> (R, Vec<Unhandled>) {
    /// Puts the former hook back, also when `f` panics.
    struct Restore(Option<Hook>);

    impl Drop for Restore {
        fn drop(&mut self) {
            replace_hook(self.0.take());
        }
    }

    let seen: Rc<RefCell<Vec<Unhandled>>> = Rc::default();
    let hook = Rc::clone(&seen);
    let restore =
        Restore(replace_hook(Some(Rc::new(move |report| hook.borrow_mut().push(report.clone())))));
    let result = f();
    drop(restore);
    (result, seen.take())
}

/// Logs a failure nobody looked at. Never panics, whatever the error's `Display` or the log does: it runs in drops.
#[cold]
pub(super) fn unhandled<E: Fault>(origin: Origin, failed: &Failed<E>) {
    let _ = guard(|| {
        let error = guard(|| failed.error().to_string())
            .unwrap_or_else(|text| format!("(an error that cannot be shown: {text})"));
        let trail = failed.trail();
        let report = Unhandled {
            error,
            created: origin.head,
            made_in: origin.whose.asked().context(),
            failed: failed.born(),
            hops: trail.sites().collect(),
            hop_count: trail.total(),
        };
        log::unhandled_failure(&report, failed.kind());
        let hook = HOOK.try_with(|cell| cell.borrow().clone());
        if let Ok(Some(hook)) = hook {
            hook(&report);
        }
    });
}
