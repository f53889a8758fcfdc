//! Framings and small protocols: `frames.rs` and `small.rs` on every driver, `twisted.rs` against Twisted's own. How frames and messages are
//! read is tested where they are, without a network.

mod frames;
mod small;
mod twisted;
