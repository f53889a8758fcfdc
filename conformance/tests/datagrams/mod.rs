//! Datagram sockets: addresses, what is sent together, pausing and stopping, refusals, groups, UNIX sockets. `kit.rs` is what these checks
//! are written with.

mod addresses;
mod batches;
mod ending;
mod groups;
pub(crate) mod kit;
mod moved_out;
mod private_network;
mod refusals;
mod unix;
mod world;
