//! The way of a stream's bytes through its layers. Output waits until the callback that wrote it has ended, so that all of it passes
//! at once; what waits keeps its order with layers that were added meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::head::{Head, flag};
use crate::CloseReason;
use crate::driver::Close;
use crate::failure::Failure;
use crate::layer::{Layer, Layers, Passed};
use crate::policy::Policy;
use crate::reactor::after::After;

/// A step of a layered connection's output.
pub(super) enum Pending {
    /// Bytes to pass down.
    Plain(Vec<u8>),
    /// A layer to be added, with bytes that were received for it already.
    Layer(Box<dyn Layer>, Vec<u8>),
    /// A policy to be added.
    Policy(Box<dyn Policy>),
}

impl Head {
    pub(crate) fn start_layer(&self, layer: Box<dyn Layer>, wire_rest: &[u8]) {
        if self.has(flag::LOST) {
            return;
        }
        self.set(flag::LAYERED);
        self.extra(|extra| extra.pending.push_back(Pending::Layer(layer, wire_rest.to_vec())));
        self.pump_soon();
    }

    pub(super) fn queue_for_layers(&self, bytes: &[u8]) {
        self.extra(|extra| {
            extra.pending_bytes += bytes.len();
            match extra.pending.back_mut() {
                Some(Pending::Plain(plain)) => plain.extend_from_slice(bytes),
                _ => extra.pending.push_back(Pending::Plain(bytes.to_vec())),
            }
        });
        self.pump_soon();
    }

    /// Shows the layers to somebody, who may write meanwhile.
    pub(super) fn look_at_layers(&self, f: &mut dyn FnMut(&Layers)) {
        if self.has(flag::LAYERED) {
            let layers = self.extra(|extra| std::mem::take(&mut extra.layers));
            // Put back even if `f` panics: without them the connection would go on in plain text.
            let looked = self.reactor.inside(|| catch_unwind(AssertUnwindSafe(|| f(&layers))));
            self.extra(|extra| extra.layers = layers);
            if let Err(payload) = looked {
                resume_unwind(payload);
            }
        }
    }

    pub(super) fn queued_in_layers(&self) -> usize {
        self.extra(|extra| extra.pending_bytes + extra.layers.held())
    }

    pub(super) fn pump_soon(&self) {
        if !self.has(flag::PUMPING) {
            self.set(flag::PUMPING);
            self.after(After::Pump(self.handle));
        }
    }

    /// Passes what waits down through the layers. Returns what new layers made of bytes that were theirs already.
    pub(super) fn pump(&self) -> Passed {
        self.unset(flag::PUMPING);
        let passed = self.with_layers(|layers, passed| {
            while let Some(next) = self.extra(|extra| extra.pending.pop_front()) {
                match next {
                    Pending::Plain(plain) => {
                        self.extra(|extra| extra.pending_bytes -= plain.len());
                        self.stamp();
                        layers.outgoing(&plain, self, passed)?;
                    }
                    Pending::Layer(layer, rest) => layers.push(layer, &rest, self, passed)?,
                    Pending::Policy(policy) => layers.push_policy(policy, self),
                }
            }
            Ok(())
        });
        if self.has(flag::CLOSING | flag::WRITE_CLOSING) {
            self.after(After::Finish(self.handle));
        }
        passed
    }

    /// Passes received bytes up through the layers.
    pub(super) fn through_layers(&self, wire: &[u8]) -> Passed {
        self.stamp();
        self.with_layers(|layers, passed| layers.incoming(wire, self, passed))
    }

    /// Tells the layers that the wire has ended. If nothing holds it up, that is the end above them, too.
    pub(super) fn layers_end_of_input(&self) -> Passed {
        self.with_layers(|layers, passed| {
            passed.end |= layers.end_of_input(self, passed)?;
            Ok(())
        })
    }

    /// Works with the layers, out of the connection's box, so that whatever they call finds the connection in order; then puts on the
    /// wire what came out below. A failure ends the connection, after what came out before it.
    pub(super) fn with_layers(
        &self,
        work: impl FnOnce(&mut Layers, &mut Passed) -> Result<(), Failure>,
    ) -> Passed {
        let mut passed = Passed::default();
        let mut layers = self.extra(|extra| std::mem::take(&mut extra.layers));
        let result = crate::panic::guard(|| work(&mut layers, &mut passed));
        layers.order_end(&mut passed);
        self.extra(|extra| extra.layers = layers);
        if !passed.wire.is_empty() && !self.has(flag::LOST | flag::WRITE_CLOSED) {
            self.queue(&passed.wire);
            self.flush();
        }
        match result {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => self.lost(CloseReason::Failed(failure.into()), Close::Graceful),
            Err(message) => self.panicked(message),
        }
        self.heed_policies();
        passed
    }
}
