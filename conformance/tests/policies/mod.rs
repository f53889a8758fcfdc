//! Policies inside a connection: what they see and when, what they hold, and that they end nothing but their own connection. Exact moments
//! are checked where time is virtual.

// The engine's part: what any policy may rely on.
mod looking;
// Time-outs.
mod idle;
// How many connections.
mod limits;
// How many bytes a second.
mod throttle;
// What the traffic log says.
mod traffic;

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

use marline_core::policy::{Policy, PolicyIo, Watch};
use marline_core::{CloseReason, Time};

/// What a [`Witness`] saw.
#[derive(Default)]
pub(crate) struct Seen {
    received: Vec<u8>,
    pub(crate) written: Vec<u8>,
    /// When how many bytes were written.
    moments: Vec<(Time, u64)>,
    story: Vec<&'static str>,
    reason: Option<CloseReason>,
}

impl Seen {
    fn tell(&mut self, what: &'static str) {
        if self.story.last() != Some(&what) {
            self.story.push(what);
        }
    }
}

/// A policy that keeps what it sees.
#[derive(Clone, Default)]
pub(crate) struct Witness(pub(crate) Rc<RefCell<Seen>>);

impl Witness {
    fn story(&self) -> String {
        self.0.borrow().story.join(" ")
    }
}

impl Policy for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn watches(&self) -> Watch {
        Watch::RECEIVED | Watch::WRITTEN
    }

    fn attached(&mut self, _io: &mut PolicyIo<'_>) {
        self.0.borrow_mut().tell("attached");
    }

    fn received(&mut self, bytes: &[u8], _io: &mut PolicyIo<'_>) {
        let mut seen = self.0.borrow_mut();
        seen.tell("received");
        seen.received.extend_from_slice(bytes);
    }

    fn written(&mut self, bytes: &[u8], io: &mut PolicyIo<'_>) {
        let mut seen = self.0.borrow_mut();
        seen.tell("written");
        seen.moments.push((io.now(), bytes.len() as u64));
        seen.written.extend_from_slice(bytes);
    }

    fn due(&mut self, _io: &mut PolicyIo<'_>) {
        self.0.borrow_mut().tell("due");
    }

    fn closing(&mut self, _io: &mut PolicyIo<'_>) {
        self.0.borrow_mut().tell("closing");
    }

    fn lost(&mut self, reason: &CloseReason) {
        let mut seen = self.0.borrow_mut();
        seen.tell("lost");
        seen.reason = Some(reason.clone());
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
