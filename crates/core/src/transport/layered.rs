//! The way of a stream's bytes through its layers. Output waits until the callback that wrote it has ended, so that all of it passes
//! at once; what waits keeps its order with layers that were added meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Sending;
use super::head::{Head, flag};
use crate::CloseReason;
use crate::driver::Close;
use crate::failure::Failure;
use crate::layer::{Layer, Layers, Passed};
use crate::policy::Placed;
use crate::reactor::after::After;
use crate::reactor::beat::Callback;

/// A step of a layered connection's output.
pub(super) enum Pending {
    /// Bytes to pass down.
    Plain(Vec<u8>),
    /// A layer to be added, with bytes that were received for it already.
    Layer(Box<dyn Layer>, Vec<u8>),
    /// A file to pass down, chunk by chunk.
    File(Box<Sending>),
    /// A policy to be added.
    Policy(Box<Placed>),
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
        self.written_for_layers();
    }

    /// The same for a buffer that can be moved.
    pub(super) fn queue_owned_for_layers(&self, bytes: Vec<u8>) {
        if let Some(bytes) = self.extra(|extra| {
            if let Some(Pending::Plain(_)) = extra.pending.back() {
                // What one callback writes passes at once.
                return Some(bytes);
            }
            extra.pending_bytes += bytes.len();
            extra.pending.push_back(Pending::Plain(bytes));
            None
        }) {
            return self.queue_for_layers(&bytes);
        }
        self.pump_soon();
        self.written_for_layers();
    }

    pub(super) fn queue_file_for_layers(&self, file: Box<Sending>) {
        self.extra(|extra| extra.pending.push_back(Pending::File(file)));
        self.pump_soon();
    }

    /// Puts back what is to pass next.
    pub(super) fn put_before_layers(&self, next: Pending) {
        self.extra(|extra| {
            if let Pending::Plain(plain) = &next {
                extra.pending_bytes += plain.len();
            }
            extra.pending.push_front(next);
        });
    }

    /// Takes the first file that waits and is of this kind.
    pub(super) fn take_waiting_file(
        &self,
        kind: impl Fn(&Sending) -> bool,
    ) -> Option<Box<Sending>> {
        self.extra(|extra| {
            let at = extra.pending.iter().position(|pending| match pending {
                Pending::File(file) => kind(file),
                _ => false,
            })?;
            match extra.pending.remove(at) {
                Some(Pending::File(file)) => Some(file),
                _ => None,
            }
        })
    }

    /// Whether anything waits to pass the layers.
    pub(super) fn waits_before_layers(&self) -> bool {
        self.extra(|extra| !extra.pending.is_empty())
    }

    /// Bytes of files that have not passed the layers.
    pub(super) fn files_before_layers(&self) -> u64 {
        self.extra(|extra| {
            extra.pending.iter().fold(0, |sum: u64, pending| match pending {
                Pending::File(file) => sum.saturating_add(file.left()),
                _ => sum,
            })
        })
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

    /// Those of them that policies held when they were last called.
    pub(super) fn held_by_policies(&self) -> usize {
        self.peek(|extra| extra.account.policies).unwrap_or(0)
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
        let mut ended_file = false;
        self.begin_passing();
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
                    Pending::File(file) => {
                        // A chunk is read only when all before it has left.
                        let free = passed.wire.is_empty()
                            && layers.held() == 0
                            && !self.has(flag::HAS_OUTPUT);
                        if let Some(file) = self.pump_file(file, free) {
                            self.put_before_layers(Pending::File(file));
                            return Ok(());
                        }
                        ended_file = true;
                    }
                }
            }
            Ok(())
        });
        self.end_passing();
        // If something came of it, its own leaving was told.
        if ended_file
            && passed.wire.is_empty()
            && !self.has(flag::HAS_OUTPUT | flag::FILE_WAITS | flag::LOST)
        {
            self.drained();
        }
        if self.has(flag::CLOSING | flag::WRITE_CLOSING) {
            self.after(After::Finish(self.handle));
        }
        passed
    }

    /// Passes received bytes up through the layers.
    pub(super) fn through_layers(&self, wire: &[u8]) -> Passed {
        self.stamp();
        let passed = self.with_layers(|layers, passed| layers.incoming(wire, self, passed));
        if self.has(flag::FILE_WAITS) {
            // The layers may have let go of what they held.
            self.pump_soon();
        }
        passed
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
        let before = self.tally();
        let mut passed = Passed::default();
        let mut layers = self.extra(|extra| std::mem::take(&mut extra.layers));
        let outer = self.reactor.beat.begin(Callback::Layer, Some(self.handle));
        let result = crate::panic::guard(|| work(&mut layers, &mut passed));
        self.reactor.beat.end(outer);
        layers.order_end(&mut passed);
        let (held, by_policies) = (layers.held(), layers.held_by_policies());
        self.extra(|extra| {
            extra.layers = layers;
            (extra.account.layers, extra.account.policies) = (held - by_policies, by_policies);
        });
        self.recount();
        if !passed.wire.is_empty() && !self.has(flag::LOST | flag::WRITE_CLOSED) {
            self.put(&passed.wire);
            self.leave();
        }
        self.judge(before);
        match result {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => self.lost(CloseReason::Failed(failure.into()), Close::Graceful),
            Err(message) => self.panicked(message),
        }
        self.heed_policies();
        passed
    }
}
