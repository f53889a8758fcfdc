//! Netstrings, as D. J. Bernstein's memo of 1997 has them: `12:hello world!,`.
//!
//! Read strictly: the length has no leading zero, no sign, no space, and stands in decimal. Reading a stream of them is
//! [`FrameCodec`](crate::frame::FrameCodec)'s, a protocol is made of them by [`FrameReceiver`](crate::frame::FrameReceiver).

mod fuzz;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::io::Write;

use crate::carry::{byte_at, looked_at};
use crate::frame::{DEFAULT_LIMIT, Envelope, FrameFormat, Search, TooLong};

#[doc(hidden)]
pub use fuzz::fuzz;

/// Netstrings of a greatest length.
///
/// The length of one that is too long is refused at the digit that makes it so, before anything of the string is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "NetstringReceiver")]
pub struct Netstring {
    limit: usize,
}

impl Netstring {
    /// Netstrings of up to [`DEFAULT_LIMIT`] bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { limit: DEFAULT_LIMIT }
    }

    /// The same with another greatest length, in bytes of content.
    #[must_use]
    pub const fn with_limit(self, limit: usize) -> Self {
        Self { limit }
    }

    /// The greatest length, in bytes of content.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

impl Default for Netstring {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameFormat for Netstring {
    type Error = NetstringError;
    type EncodeError = TooLong;

    fn limit(&self) -> usize {
        self.limit
    }

    fn with_limit(self, limit: usize) -> Self {
        self.with_limit(limit)
    }

    /// ```abnf
    /// netstring = ( "0" / nonzero *DIGIT ) ":" *OCTET ","
    /// ```
    fn search(
        &self,
        position: u64,
        carried: &[u8],
        input: &[u8],
    ) -> Result<Search, NetstringError> {
        let present = carried.len() + input.len();
        let mut length = 0_usize;
        for index in 0..present {
            looked_at(1);
            let at = position + index as u64;
            let digit = match byte_at(carried, input, index) {
                byte @ b'0'..=b'9' => byte - b'0',
                b':' if index > 0 => {
                    return self.search_end(length, index + 1, position, carried, input);
                }
                _ => return Err(NetstringError::Length { at }),
            };
            if index > 0 && length == 0 {
                return Err(NetstringError::LeadingZero { at });
            }
            length = length
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(usize::from(digit)))
                .filter(|length| *length <= self.limit)
                .ok_or(NetstringError::TooLong { limit: self.limit, at })?;
        }
        Ok(Search::Unfinished { at_most: self.limit.saturating_add(DIGITS + 2) })
    }

    fn envelope(&self, frame: &[u8]) -> Result<Envelope, TooLong> {
        TooLong::check(frame, self.limit)?;
        let mut head = [0; DIGITS + 1];
        let mut left = &mut head[..];
        // OK: there is room for every length.
        let _ = write!(left, "{}:", frame.len());
        let unused = left.len();
        Ok(Envelope::new(&head[..head.len() - unused], b","))
    }
}

impl Netstring {
    /// Behind the colon: looks at the place of the comma alone.
    fn search_end(
        self,
        length: usize,
        start: usize,
        position: u64,
        carried: &[u8],
        input: &[u8],
    ) -> Result<Search, NetstringError> {
        let comma = start.saturating_add(length);
        if comma >= carried.len() + input.len() {
            return Ok(Search::Unfinished { at_most: comma.saturating_add(1) });
        }
        if byte_at(carried, input, comma) != b',' {
            return Err(NetstringError::Comma { at: position + comma as u64 });
        }
        Ok(Search::Frame { content: start..comma, end: comma + 1 })
    }
}

/// What is no netstring. `at` counts bytes from the beginning of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "NetstringParseError")]
pub enum NetstringError {
    /// Where a length must be, or go on, or end with a colon, stands another byte.
    Length {
        /// Offset in the stream, in bytes.
        at: u64,
    },
    /// The length has digits behind a leading zero; `at` is the first of them.
    LeadingZero {
        /// Offset in the stream, in bytes.
        at: u64,
    },
    /// The length is above `limit`; `at` is the digit that makes it so.
    TooLong {
        /// The greatest length, in bytes of content.
        limit: usize,
        /// Offset in the stream, in bytes.
        at: u64,
    },
    /// The string is not followed by a comma.
    Comma {
        /// Offset in the stream, in bytes.
        at: u64,
    },
}

impl fmt::Display for NetstringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { at } => write!(f, "no netstring length at byte {at} of the stream"),
            Self::LeadingZero { at } => {
                write!(f, "netstring length with a leading zero at byte {at} of the stream")
            }
            Self::TooLong { limit, at } => {
                write!(f, "netstring longer than {limit} bytes at byte {at} of the stream")
            }
            Self::Comma { at } => write!(f, "netstring without comma at byte {at} of the stream"),
        }
    }
}

impl Error for NetstringError {}

/// Digits of the greatest length there is.
const DIGITS: usize = 20;
