//! Layers: byte transformers (TLS, compression) inside a connection, between its protocol and the wire, below every handle already
//! given out, and the stack in which they stand with the [policies](crate::policy). They survive a hand-over to another protocol.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use crate::failure::Failure;
use crate::panic::guard_quietly;
use crate::policy::{Direction, Ending, Placed, Policy, Watch};
use crate::transport::head::{Head, flag};
use crate::{CloseReason, Time};

/// One layer of a connection. It sees all bytes of both directions; it never calls a protocol or a transport.
///
/// An error from any method ends the connection with `CloseReason::Failed`, after what was put into [`LayerIo::down`] (an alert, say) is
/// sent as far as the system takes it at once.
pub trait Layer: 'static {
    /// What it is called in logs.
    fn name(&self) -> &'static str;

    /// The layer is in place: it may begin to speak.
    fn start(&mut self, _io: &mut LayerIo) -> Result<(), Failure> {
        Ok(())
    }

    /// Bytes from below. What they mean for above goes into [`LayerIo::up`], answers into [`LayerIo::down`].
    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure>;

    /// Bytes from above, all that one callback wrote at once. What they become goes into [`LayerIo::down`]; a layer that cannot take them yet
    /// keeps them.
    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure>;

    /// The peer has ended its stream. A layer that knows better calls it a truncation and fails.
    fn end_of_input(&mut self, _io: &mut LayerIo) -> Result<(), Failure> {
        Ok(())
    }

    /// Everything written has passed and the write side ends: the last chance to say goodbye.
    fn closing(&mut self, _io: &mut LayerIo) -> Result<(), Failure> {
        Ok(())
    }

    /// Bytes it holds back, counted as output that waits to leave.
    fn held(&self) -> usize {
        0
    }

    /// The layer as what it is, for optional abilities of its kind.
    fn as_any(&self) -> &dyn Any;
}

/// What a layer answers with.
#[derive(Debug)]
pub struct LayerIo {
    /// Bytes for the layer above, or the protocol.
    pub up: Vec<u8>,
    /// Bytes for the layer below, or the wire.
    pub down: Vec<u8>,
    /// The stream from below has ended inside the layer's own framing: above, this is the end of the stream.
    pub end: bool,
    /// The reactor's time.
    pub now: Time,
}

/// The layers and policies of one connection, the one nearest to the wire first.
#[derive(Default)]
pub struct Layers {
    stack: Vec<Element>,
    /// A layer has seen the end of the stream, but policies above it hold bytes that come before.
    end_waits: bool,
}

/// What is to be put on top of the stack of a new connection.
pub(crate) enum Addition {
    Layer(Box<dyn Layer>),
    Policy(Box<Placed>),
}

/// What stands in a connection's stack.
enum Element {
    Layer(Box<dyn Layer>),
    Policy(Box<Placed>),
}

/// What came of passing through the layers.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) up: Vec<u8>,
    pub(crate) wire: Vec<u8>,
    pub(crate) end: bool,
}

/// What the policies of a connection want, all together.
pub(crate) struct Wishes {
    pub(crate) watch: Watch,
    /// When one of them is to be called next.
    pub(crate) next: Option<Time>,
    /// One of them holds received bytes.
    pub(crate) holds_received: bool,
    pub(crate) ending: Option<Ending>,
}

impl Layers {
    /// The topmost layer that is an `L`.
    pub fn find<L: Layer>(&self) -> Option<&L> {
        self.stack.iter().rev().find_map(|element| match element {
            Element::Layer(layer) => layer.as_any().downcast_ref(),
            Element::Policy(_) => None,
        })
    }

    /// The topmost policy that is a `T`, to be looked at or changed: it is [`due`](Policy::due) afterwards.
    pub fn find_policy<T: Policy>(&mut self) -> Option<&mut T> {
        let at = self.stack.iter_mut().rposition(|element| match element {
            Element::Layer(_) => false,
            Element::Policy(placed) => placed.policy().as_any_mut().is::<T>(),
        })?;
        match &mut self.stack[at] {
            Element::Layer(_) => None,
            Element::Policy(placed) => {
                placed.touch();
                placed.policy().as_any_mut().downcast_mut()
            }
        }
    }

    /// Bytes held back on their way to the wire.
    pub(crate) fn held(&self) -> usize {
        let held = |element: &Element| match element {
            Element::Layer(layer) => layer.held(),
            Element::Policy(placed) => placed.held(Direction::Written),
        };
        self.stack.iter().map(held).sum()
    }

    /// Those of them that policies hold.
    pub(crate) fn held_by_policies(&self) -> usize {
        let held = |element: &Element| match element {
            Element::Layer(_) => 0,
            Element::Policy(placed) => placed.held(Direction::Written),
        };
        self.stack.iter().map(held).sum()
    }

    /// What the policies want; endings are taken.
    pub(crate) fn wishes(&mut self) -> Wishes {
        let mut wishes =
            Wishes { watch: Watch::NOTHING, next: None, holds_received: false, ending: None };
        for placed in self.policies() {
            wishes.watch = wishes.watch | placed.watch();
            wishes.next = wishes.next.into_iter().chain(placed.next()).min();
            wishes.holds_received |= placed.held(Direction::Received) > 0;
            match placed.take_ending() {
                // Who wants to abort does not wait for who wants to close.
                Some(ending @ Ending::Abort(_)) => wishes.ending = Some(ending),
                ending => wishes.ending = wishes.ending.or(ending),
            }
        }
        wishes
    }

    /// Adds a layer on top and shows it the bytes that are its own already.
    pub(crate) fn push(
        &mut self,
        layer: Box<dyn Layer>,
        wire_rest: &[u8],
        head: &Head,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        self.stack.push(Element::Layer(layer));
        let top = self.stack.len() - 1;
        self.step(top, head, passed, |layer, io| layer.start(io))?;
        if wire_rest.is_empty() {
            return Ok(());
        }
        self.rise(top, Cow::Borrowed(wire_rest), head, passed)
    }

    /// Adds a policy on top.
    pub(crate) fn push_policy(&mut self, mut placed: Box<Placed>, head: &Head) {
        head.set(flag::HEED);
        placed.call(head, |policy, io| policy.attached(io));
        self.stack.push(Element::Policy(placed));
    }

    /// Shows bytes to all policies, where there is nothing else that they pass.
    pub(crate) fn show(&mut self, direction: Direction, bytes: &[u8], head: &Head) {
        for placed in self.policies() {
            placed.show(direction, bytes, head);
        }
    }

    pub(crate) fn incoming(
        &mut self,
        wire: &[u8],
        head: &Head,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        self.rise(0, Cow::Borrowed(wire), head, passed)
    }

    pub(crate) fn outgoing(
        &mut self,
        plain: &[u8],
        head: &Head,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        self.sink(self.stack.len(), Cow::Borrowed(plain), head, passed)
    }

    /// The wire has ended. Returns whether that has passed all that stands here, or waits for bytes that are held.
    pub(crate) fn end_of_input(
        &mut self,
        head: &Head,
        passed: &mut Passed,
    ) -> Result<bool, Failure> {
        self.end_from(0, head, passed)
    }

    fn end_from(&mut self, at: usize, head: &Head, passed: &mut Passed) -> Result<bool, Failure> {
        for at in at..self.stack.len() {
            if let Element::Policy(placed) = &mut self.stack[at] {
                if !placed.pass_end() {
                    return Ok(false);
                }
                continue;
            }
            let up = self.step(at, head, passed, |layer, io| layer.end_of_input(io))?;
            self.rise(at + 1, Cow::Owned(up), head, passed)?;
        }
        Ok(true)
    }

    pub(crate) fn closing(&mut self, head: &Head, passed: &mut Passed) -> Result<(), Failure> {
        for at in (0..self.stack.len()).rev() {
            self.step(at, head, passed, |layer, io| layer.closing(io))?;
        }
        Ok(())
    }

    /// The connection begins to close.
    pub(crate) fn tell_closing(&mut self, head: &Head) {
        for placed in self.policies() {
            placed.call(head, |policy, io| policy.closing(io));
        }
    }

    /// The connection has ended.
    pub(crate) fn tell_lost(&mut self, reason: &CloseReason) {
        for placed in self.policies() {
            guard_quietly("policy", || placed.policy().lost(reason));
        }
    }

    /// Calls the policies whose time has come, and lets go what they hold no longer.
    pub(crate) fn due(&mut self, head: &Head, passed: &mut Passed) -> Result<(), Failure> {
        let now = head.reactor().now();
        head.set(flag::HEED);
        for at in 0..self.stack.len() {
            let Element::Policy(placed) = &mut self.stack[at] else { continue };
            if placed.take_due(now) {
                placed.call(head, |policy, io| policy.due(io));
            }
            if placed.is_to_ask(Direction::Written, now) {
                let down = placed.pass(Direction::Written, &[], head);
                self.sink(at, Cow::Owned(down), head, passed)?;
            }
            let Element::Policy(placed) = &mut self.stack[at] else { continue };
            if placed.is_to_ask(Direction::Received, now) {
                let up = placed.pass(Direction::Received, &[], head);
                let ended = placed.take_end();
                self.rise(at + 1, Cow::Owned(up), head, passed)?;
                if ended && self.end_from(at + 1, head, passed)? {
                    self.end_waits = true;
                }
            }
        }
        Ok(())
    }

    /// Keeps the end of the stream back as long as bytes before it are held.
    pub(crate) fn order_end(&mut self, passed: &mut Passed) {
        self.end_waits |= passed.end;
        let held = self.policies().any(|placed| placed.held(Direction::Received) > 0);
        passed.end = !held && std::mem::take(&mut self.end_waits);
    }

    fn policies(&mut self) -> impl Iterator<Item = &mut Placed> {
        self.stack.iter_mut().filter_map(|element| match element {
            Element::Layer(_) => None,
            Element::Policy(placed) => Some(&mut **placed),
        })
    }

    /// Bytes go up, from `at` on.
    fn rise(
        &mut self,
        at: usize,
        mut bytes: Cow<'_, [u8]>,
        head: &Head,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        for at in at..self.stack.len() {
            if bytes.is_empty() {
                return Ok(());
            }
            let up = match &mut self.stack[at] {
                Element::Policy(placed) => placed.pass(Direction::Received, &bytes, head),
                Element::Layer(_) => {
                    self.step(at, head, passed, |layer, io| layer.incoming(&bytes, io))?
                }
            };
            bytes = Cow::Owned(up);
        }
        passed.up.extend_from_slice(&bytes);
        Ok(())
    }

    /// Bytes go down, through all below `top`, to the wire.
    fn sink(
        &mut self,
        top: usize,
        mut bytes: Cow<'_, [u8]>,
        head: &Head,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        for element in self.stack[..top].iter_mut().rev() {
            if bytes.is_empty() {
                break;
            }
            let down = match element {
                Element::Policy(placed) => placed.pass(Direction::Written, &bytes, head),
                Element::Layer(layer) => {
                    let mut io = LayerIo::new(head);
                    let passing = layer.outgoing(&bytes, &mut io);
                    passed.end |= io.end;
                    // Its last words still leave.
                    result = result.and(passing);
                    io.down
                }
            };
            bytes = Cow::Owned(down);
        }
        passed.wire.extend_from_slice(&bytes);
        result
    }

    /// Calls the layer at `at`, sends what it puts down through what is below, and returns what it puts up. Policies are passed over.
    fn step(
        &mut self,
        at: usize,
        head: &Head,
        passed: &mut Passed,
        call: impl FnOnce(&mut dyn Layer, &mut LayerIo) -> Result<(), Failure>,
    ) -> Result<Vec<u8>, Failure> {
        let Element::Layer(layer) = &mut self.stack[at] else { return Ok(Vec::new()) };
        let mut io = LayerIo::new(head);
        let result = call(&mut **layer, &mut io);
        passed.end |= io.end;
        self.sink(at, Cow::Owned(io.down), head, passed)?;
        result.map(|()| io.up)
    }
}

impl LayerIo {
    fn new(head: &Head) -> Self {
        Self { up: Vec::new(), down: Vec::new(), end: false, now: head.reactor().now() }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |element: &Element| match element {
            Element::Layer(layer) => layer.name(),
            Element::Policy(placed) => placed.name(),
        };
        f.debug_list().entries(self.stack.iter().map(name)).finish()
    }
}
