//! What framings have in common: a stream is a row of frames, each with an end that the bytes up to it decide.
//!
//! A framing is a [`FrameFormat`], a small value that finds the end of a frame and wraps one: [`Netstring`](crate::netstring::Netstring),
//! [`LengthPrefix`](crate::length_prefix::LengthPrefix), [`LineFormat`](crate::line::LineFormat), or one of your own.
//! [`FrameCodec`] reads a stream of any of them, without I/O; [`FrameReceiver`] makes a protocol of it. What has modes besides frames has a
//! codec of its own: lines with raw bytes in between are in [`line`](mod@crate::line).
//!
//! `format.rs` says what a format is, `codec.rs` reads, `receiver.rs` is the glue, `fuzz.rs` what holds for every format.

#[cfg(test)]
mod budget_tests;
mod codec;
mod format;
pub(crate) mod fuzz;
mod receiver;
#[cfg(test)]
mod tests;

pub use codec::{Feed, FrameCodec};
pub use format::{Envelope, FrameFormat, Search, TooLong};
pub use receiver::{FrameLink, FrameProtocol, FrameReceiver, send};

/// How long a frame may be unless told otherwise, in bytes of content: Twisted's 99,999.
#[doc(alias = "MAX_LENGTH")]
pub const DEFAULT_LIMIT: usize = 99_999;
