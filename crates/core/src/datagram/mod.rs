//! Datagrams: protocols that receive them, the handle they are sent through, and how a socket is opened.
//!
//! | file | what |
//! |---|---|
//! | `protocol.rs` | what a protocol is told |
//! | `transport.rs` | the handle |
//! | `open.rs` | the reactor's methods that open sockets |
//! | `socket.rs` | the owner of a socket: delivers, tells, ends |
//! | `head.rs` | a socket's state, whatever the type of its protocol |
//! | `batch.rs` | what waits to be sent |
//! | `error.rs` | why something was not sent |

pub(crate) mod batch;
mod error;
mod head;
mod open;
mod protocol;
mod socket;
mod transport;

pub use error::{DatagramError, SendFailed};
pub use protocol::DatagramProtocol;
pub use transport::DatagramTransport;
