//! Connections: addresses, writing, closing, half-close, reading, producers, hand-over, layers, ports and connectors. `kit.rs` is what these
//! checks (and those of `abort.rs` and `faults/`) are written with.

mod addresses;
mod closing;
mod connectors;
mod handover;
pub(crate) mod kit;
mod layers;
mod logs;
mod pipes;
mod ports;
mod producers;
mod reaching;
mod reading;
mod writing;
