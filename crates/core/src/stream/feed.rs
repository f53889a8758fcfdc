//! The protocol under a byte stream: passes on what it is told.

use std::rc::Rc;

use super::joint::{Joint, flag};
use crate::{CloseReason, Protocol, Transport};

/// The protocol of a connection that is a [`ByteStream`](super::ByteStream).
pub(super) struct Feed(Rc<Joint>);

impl Feed {
    pub(super) fn new() -> (Self, Rc<Joint>) {
        let joint = Rc::new(Joint::new());
        (Self(Rc::clone(&joint)), joint)
    }

    pub(super) fn joint(&self) -> &Rc<Joint> {
        &self.0
    }
}

impl Protocol for Feed {
    fn connection_made(&mut self, transport: &Transport) {
        self.0.made(transport);
        // A protocol that was taken over from may have paused it.
        if !self.0.has(flag::NO_READER) {
            transport.resume_reading();
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.0.received(transport, data);
    }

    fn read_connection_lost(&mut self, _transport: &Transport) {
        self.0.read_ended();
    }

    fn write_connection_lost(&mut self, _transport: &Transport) {
        self.0.write_ended();
    }

    fn writable(&mut self, _transport: &Transport) {
        self.0.all_has_left();
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.0.ended(Some(reason.clone()));
    }
}

/// One that never took over, for the connection had ended before, says so.
impl Drop for Feed {
    fn drop(&mut self) {
        self.0.ended(None);
    }
}
