//! The end of a server's patience with one connection.

use std::time::Duration;

use marline_core::{DelayedCall, Transport};

/// Resets a connection after some time, unless it is pushed further or dropped.
#[derive(Debug, Default)]
pub(crate) struct Deadline(Option<DelayedCall>);

impl Deadline {
    /// Begins; a transport that lives on no reactor has no clock, and is never reset.
    pub(crate) fn start(transport: &Transport, patience: Duration) -> Self {
        let ended = transport.clone();
        let end = move |_: &_| ended.abort_connection();
        Self(transport.reactor().map(|reactor| reactor.call_later(patience, end)))
    }

    /// Begins anew.
    pub(crate) fn push(&self, patience: Duration) {
        if let Some(call) = &self.0 {
            // One that has rung has reset the connection: there is nothing to push.
            let _ = call.reset(patience);
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            // It may be what has just rung.
            let _ = call.cancel();
        }
    }
}
