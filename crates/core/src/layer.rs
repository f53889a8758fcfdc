//! Layers: byte transformers (TLS, compression) and policies inside a connection, between its protocol and the wire, below
//! every handle already given out. They survive a hand-over to another protocol.

use std::any::Any;
use std::fmt;

use crate::Time;
use crate::failure::Failure;

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

/// The layers of one connection, the one nearest to the wire first.
#[derive(Default)]
pub struct Layers(Vec<Box<dyn Layer>>);

/// What came of passing through the layers.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) up: Vec<u8>,
    pub(crate) wire: Vec<u8>,
    pub(crate) end: bool,
}

impl Layers {
    pub(crate) fn held(&self) -> usize {
        self.0.iter().map(|layer| layer.held()).sum()
    }

    /// The topmost layer that is an `L`.
    pub fn find<L: Layer>(&self) -> Option<&L> {
        self.0.iter().rev().find_map(|layer| layer.as_any().downcast_ref())
    }

    /// Adds a layer on top and shows it the bytes that are its own already.
    pub(crate) fn push(
        &mut self,
        layer: Box<dyn Layer>,
        wire_rest: &[u8],
        now: Time,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        self.0.push(layer);
        let top = self.0.len() - 1;
        self.step(top, now, passed, |layer, io| layer.start(io))?;
        if wire_rest.is_empty() {
            return Ok(());
        }
        let up = self.step(top, now, passed, |layer, io| layer.incoming(wire_rest, io))?;
        passed.up.extend_from_slice(&up);
        Ok(())
    }

    pub(crate) fn incoming(
        &mut self,
        wire: &[u8],
        now: Time,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for at in 0..self.0.len() {
            let input = if at == 0 { wire } else { &bytes };
            if input.is_empty() {
                return Ok(());
            }
            let up = self.step(at, now, passed, |layer, io| layer.incoming(input, io))?;
            bytes = up;
        }
        passed.up.extend_from_slice(&bytes);
        Ok(())
    }

    pub(crate) fn outgoing(
        &mut self,
        plain: &[u8],
        now: Time,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        let Some(top) = self.0.len().checked_sub(1) else {
            passed.wire.extend_from_slice(plain);
            return Ok(());
        };
        self.step(top, now, passed, |layer, io| layer.outgoing(plain, io)).map(drop)
    }

    pub(crate) fn end_of_input(&mut self, now: Time, passed: &mut Passed) -> Result<(), Failure> {
        for at in 0..self.0.len() {
            let up = self.step(at, now, passed, |layer, io| layer.end_of_input(io))?;
            self.rise(at + 1, up, now, passed)?;
        }
        Ok(())
    }

    pub(crate) fn closing(&mut self, now: Time, passed: &mut Passed) -> Result<(), Failure> {
        for at in (0..self.0.len()).rev() {
            self.step(at, now, passed, |layer, io| layer.closing(io))?;
        }
        Ok(())
    }

    /// Bytes that came out of layer `at - 1` go up through the rest.
    fn rise(
        &mut self,
        at: usize,
        mut bytes: Vec<u8>,
        now: Time,
        passed: &mut Passed,
    ) -> Result<(), Failure> {
        for at in at..self.0.len() {
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = self.step(at, now, passed, |layer, io| layer.incoming(&bytes, io))?;
        }
        passed.up.extend_from_slice(&bytes);
        Ok(())
    }

    /// Calls layer `at`, sends what it puts down through the layers below, and returns what it puts up.
    fn step(
        &mut self,
        at: usize,
        now: Time,
        passed: &mut Passed,
        call: impl FnOnce(&mut dyn Layer, &mut LayerIo) -> Result<(), Failure>,
    ) -> Result<Vec<u8>, Failure> {
        let mut io = LayerIo { up: Vec::new(), down: Vec::new(), end: false, now };
        let result = call(&mut *self.0[at], &mut io);
        passed.end |= io.end;
        let mut down = io.down;
        for below in (0..at).rev() {
            if down.is_empty() {
                break;
            }
            let mut io = LayerIo { up: Vec::new(), down: Vec::new(), end: false, now };
            self.0[below].outgoing(&down, &mut io)?;
            down = io.down;
        }
        passed.wire.extend_from_slice(&down);
        result.map(|()| io.up)
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|layer| layer.name())).finish()
    }
}
