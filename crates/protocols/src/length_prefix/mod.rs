//! Frames behind their length: 8, 16 or 32 bits, unsigned, in network byte order.
//!
//! Reading a stream of them is [`FrameCodec`](crate::frame::FrameCodec)'s, a protocol is made of them by
//! [`FrameReceiver`](crate::frame::FrameReceiver).

mod fuzz;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use crate::carry::{byte_at, looked_at};
use crate::frame::{DEFAULT_LIMIT, Envelope, FrameFormat, Search, TooLong};

#[doc(hidden)]
pub use fuzz::fuzz;

/// Frames behind their length, in one, two or four bytes, the most significant first; and their greatest length.
///
/// A length above the limit is refused as soon as it is there, and what a peer announces costs no memory: 4 GiB less one byte may be
/// allowed, and still no more is kept than was received.
///
/// ```
/// use marline_protocols::frame::FrameFormat;
/// use marline_protocols::length_prefix::LengthPrefix;
///
/// let mut out = Vec::new();
/// LengthPrefix::U16.encode(b"hello", &mut out).unwrap();
/// assert_eq!(out, b"\0\x05hello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LengthPrefix {
    width: Width,
    limit: usize,
}

impl LengthPrefix {
    /// A length of one byte: frames of up to 255 bytes.
    #[doc(alias = "Int8StringReceiver")]
    pub const U8: Self = Self { width: Width::One, limit: DEFAULT_LIMIT };

    /// A length of two bytes: frames of up to 65,535 bytes.
    #[doc(alias = "Int16StringReceiver")]
    pub const U16: Self = Self { width: Width::Two, limit: DEFAULT_LIMIT };

    /// A length of four bytes: frames of up to [`DEFAULT_LIMIT`], unless told otherwise.
    #[doc(alias = "Int32StringReceiver")]
    pub const U32: Self = Self { width: Width::Four, limit: DEFAULT_LIMIT };

    /// The same with another greatest length, in bytes of content. It cannot be more than the prefix can say.
    #[must_use]
    pub const fn with_limit(self, limit: usize) -> Self {
        Self { width: self.width, limit }
    }

    /// The greatest length, in bytes of content.
    #[must_use]
    pub const fn limit(&self) -> usize {
        let most = self.width.most();
        if self.limit < most { self.limit } else { most }
    }

    /// How many bytes the length has.
    #[must_use]
    #[doc(alias = "prefixLength")]
    pub const fn width(&self) -> usize {
        self.width as usize
    }
}

impl FrameFormat for LengthPrefix {
    type Error = LengthPrefixError;
    type EncodeError = TooLong;

    fn limit(&self) -> usize {
        self.limit()
    }

    fn with_limit(self, limit: usize) -> Self {
        self.with_limit(limit)
    }

    fn search(
        &self,
        position: u64,
        carried: &[u8],
        input: &[u8],
    ) -> Result<Search, LengthPrefixError> {
        let (width, present) = (self.width(), carried.len() + input.len());
        if present < width {
            return Ok(Search::Unfinished { at_most: width });
        }
        looked_at(width);
        let length = (0..width)
            .fold(0, |length, index| length << 8 | u32::from(byte_at(carried, input, index)));
        // Where a usize is shorter than the prefix, what does not fit is above any limit as well.
        let content = usize::try_from(length).unwrap_or(usize::MAX);
        if content > self.limit() {
            let limit = self.limit();
            return Err(LengthPrefixError::TooLong { length, limit, at: position });
        }
        let end = width.saturating_add(content);
        if end > present {
            return Ok(Search::Unfinished { at_most: end });
        }
        Ok(Search::Frame { content: width..end, end })
    }

    fn envelope(&self, frame: &[u8]) -> Result<Envelope, TooLong> {
        TooLong::check(frame, self.limit())?;
        let length = (frame.len() as u64).to_be_bytes();
        Ok(Envelope::new(&length[length.len() - self.width()..], b""))
    }
}

/// How many bytes a length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Width {
    One = 1,
    Two = 2,
    Four = 4,
}

impl Width {
    /// The greatest length that it can say.
    const fn most(self) -> usize {
        match self {
            Self::One => u8::MAX as usize,
            Self::Two => u16::MAX as usize,
            Self::Four => u32::MAX as usize,
        }
    }
}

/// What is no frame behind its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LengthPrefixError {
    /// A frame of `length` bytes is announced, and `limit` is the most.
    #[doc(alias = "lengthLimitExceeded")]
    TooLong {
        /// The length announced, in bytes.
        length: u32,
        /// The greatest length, in bytes of content.
        limit: usize,
        /// Where in the stream the length stands, in bytes from its beginning.
        at: u64,
    },
}

impl fmt::Display for LengthPrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::TooLong { length, limit, at } = self;
        write!(
            f,
            "frame of {length} bytes is above the limit of {limit} at byte {at} of the stream"
        )
    }
}

impl Error for LengthPrefixError {}
