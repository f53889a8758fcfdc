//! Lines ended by a delimiter, with stretches of raw bytes in between: SMTP, FTP, IRC, HTTP heads
//! and a thousand others.
//!
//! `format.rs` says what a line is and writes lines, `codec.rs` reads them, `fuzz.rs` holds what
//! the fuzzer checks; `receiver.rs` makes a protocol of it all.

#[cfg(test)]
mod budget_tests;
mod codec;
mod format;
mod fuzz;
mod receiver;
#[cfg(test)]
mod tests;

pub use codec::{Feed, Frame, LineCodec, LineError};
pub use format::{DEFAULT_LIMIT, Delimiter, EncodeError, LineFormat};
#[doc(hidden)]
pub use fuzz::fuzz;
pub use receiver::{LineLink, LineProtocol, LineReceiver, Refused};
