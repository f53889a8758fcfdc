//! Layers for checks that need some layer: one that changes nothing, one that changes every byte. Those with ways of their own are beside their checks.

use std::any::Any;

use marline_core::failure::Failure;
use marline_core::layer::{Layer, LayerIo};

/// Passes everything on as it is.
pub(crate) struct Clear;

impl Layer for Clear {
    fn name(&self) -> &'static str {
        "clear"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend_from_slice(wire);
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(plain);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Turns every bit around.
pub(crate) struct Flip;

impl Layer for Flip {
    fn name(&self) -> &'static str {
        "flip"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend(wire.iter().map(|byte| !byte));
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
