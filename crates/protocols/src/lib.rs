//! Framings, wrappers and small protocols for marline.
//!
//! Nothing here opens a socket, reads a clock or starts a thread. Each protocol is a codec, a pure
//! state machine of bytes in and frames out, and a page of glue that makes a marline protocol of
//! it.
//!
//! ```
//! use marline_protocols::line::{Frame, LineCodec, LineFormat};
//!
//! # fn main() -> Result<(), marline_protocols::line::LineError> {
//! let mut codec = LineCodec::new(LineFormat::default());
//! let mut feed = codec.feed(b"EHLO example.org\r\nQU");
//! assert_eq!(feed.next_frame()?, Some(Frame::Line(b"EHLO example.org")));
//! assert_eq!(feed.next_frame()?, None);
//! assert_eq!(codec.pending(), b"QU");
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`mod@line`] | lines ended by a delimiter, with raw bytes in between |
//! | [`policy`] | time-outs, limits, throttling and a traffic log for any connection |

#![forbid(unsafe_code)]

pub mod line;
pub mod policy;
