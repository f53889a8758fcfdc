//! Framings and small protocols: `frames.rs` and `small.rs` on every driver, `twisted.rs` against Twisted's own and `sockets.rs` against
//! plain sockets, with `peer.rs`. How frames and messages are read is tested where they are, without a network.

mod frames;
mod peer;
mod small;
mod sockets;
mod twisted;
