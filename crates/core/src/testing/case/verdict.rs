//! What a run of a test has come to: its result, and what it left behind.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::super::{CapturedLog, Leaks};
use crate::Reactor;

/// What is known of a run so far.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    has_result: Cell<bool>,
    complaints: RefCell<Vec<String>>,
}

impl Verdict {
    /// It has its result, which is good.
    pub(super) fn pass(&self) {
        self.has_result.set(true);
    }

    /// It has its result, and this is wrong with it.
    pub(super) fn fail(&self, why: &str) {
        self.has_result.set(true);
        self.complain(why);
    }

    /// There is something else wrong with it.
    pub(super) fn complain(&self, what: &str) {
        self.complaints.borrow_mut().push(what.to_owned());
    }

    pub(super) fn has_result(&self) -> bool {
        self.has_result.get()
    }

    pub(super) fn is_passed(&self) -> bool {
        self.has_result() && self.complaints.borrow().is_empty()
    }

    /// Looks at what a run has left behind. What one that failed has left is only a consequence, but what it was about to do says why.
    pub(super) fn look_around(&self, reactor: Option<&Reactor>, log: &CapturedLog) {
        if let Some(leaks) = reactor.and_then(left_open) {
            self.complain(&leaks);
        }
        if let Some(errors) = log.complaint() {
            self.complain(&errors);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for complaint in self.complaints.borrow().iter() {
            for line in complaint.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// What a reactor has open that a test should have closed: everything but ports.
pub(super) fn left_open(reactor: &Reactor) -> Option<String> {
    Leaks::complaint_about(reactor, |open| open.kind != "port")
}
