//! What a framing is: finding the end of a frame, and wrapping one. Reading as a conversation of calls is in `codec.rs`.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// How frames lie in a stream, on one connection: a small `Copy` value.
///
/// To implement one of your own is to answer two questions: where does the frame that begins here end ([`search`](Self::search)), and what
/// goes round a frame ([`envelope`](Self::envelope)). The rest (pieces, memory, pausing, hand-over) is [`FrameCodec`](super::FrameCodec)'s
/// and [`FrameReceiver`](super::FrameReceiver)'s.
pub trait FrameFormat: Copy + fmt::Debug + 'static {
    /// What is wrong with a frame that was received.
    type Error: Error + Copy + PartialEq + 'static;

    /// Why a frame cannot be written.
    type EncodeError: Error + Copy + PartialEq + 'static;

    /// The greatest length of a frame, in bytes of content.
    fn limit(&self) -> usize;

    /// The same format with another greatest length, in bytes of content.
    #[must_use]
    fn with_limit(self, limit: usize) -> Self;

    /// Looks for the end of the frame that begins with `carried` and goes on with `input`. `position` is where in the stream the frame
    /// begins, for errors that tell a place.
    ///
    /// `carried` was searched before, and its end not found in it. The answer must depend on the bytes up to the one that decides, never on
    /// where `carried` stops; and looking at `carried` must not take longer the longer it is, or reading byte by byte takes quadratic time.
    ///
    /// # Errors
    ///
    /// What comes is no frame; told at the first byte that shows it.
    fn search(&self, position: u64, carried: &[u8], input: &[u8]) -> Result<Search, Self::Error>;

    /// Says what goes round a frame when it is sent.
    ///
    /// # Errors
    ///
    /// A frame that a reader of the same format would refuse, or read as something else.
    fn envelope(&self, frame: &[u8]) -> Result<Envelope, Self::EncodeError>;

    /// Appends a frame, with what goes round it, to `out`.
    ///
    /// # Errors
    ///
    /// As [`envelope`](Self::envelope); `out` is unchanged then.
    fn encode(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Self::EncodeError> {
        let envelope = self.envelope(frame)?;
        out.reserve(envelope.head().len() + frame.len() + envelope.tail().len());
        out.extend_from_slice(envelope.head());
        out.extend_from_slice(frame);
        out.extend_from_slice(envelope.tail());
        Ok(())
    }
}

/// What a search found. All numbers count bytes from the beginning of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The end has not come. The frame with all that goes round it will not be longer than `at_most`, as far as is known; no more memory
    /// than that is set aside, and no more than twice what was received.
    Unfinished {
        /// Bytes.
        at_most: usize,
    },
    /// The whole frame is there.
    Frame {
        /// The frame without what goes round it.
        content: Range<usize>,
        /// Where the next frame begins; behind `carried`.
        end: usize,
    },
}

/// What goes round a frame: up to 23 bytes before it, and a constant behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    head: [u8; HEAD],
    length: u8,
    tail: &'static [u8],
}

impl Envelope {
    /// Makes an envelope.
    ///
    /// # Panics
    ///
    /// If `head` is longer than 23 bytes.
    #[must_use]
    pub const fn new(head: &[u8], tail: &'static [u8]) -> Self {
        assert!(head.len() <= HEAD, "an envelope's head has at most 23 bytes");
        let mut this = Self { head: [0; HEAD], length: head.len() as u8, tail };
        this.head.split_at_mut(head.len()).0.copy_from_slice(head);
        this
    }

    /// What goes before the frame.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.length)]
    }

    /// What goes behind the frame.
    #[must_use]
    pub const fn tail(&self) -> &'static [u8] {
        self.tail
    }
}

/// A frame that is to be sent is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "StringTooLongError")]
pub struct TooLong {
    /// The greatest length, in bytes.
    pub limit: usize,
    /// The length of the frame refused, in bytes.
    pub length: usize,
}

impl TooLong {
    /// Refuses a frame above the limit.
    pub(crate) const fn check(frame: &[u8], limit: usize) -> Result<(), Self> {
        if frame.len() > limit {
            return Err(Self { limit, length: frame.len() });
        }
        Ok(())
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of {} bytes is above the limit of {}", self.length, self.limit)
    }
}

impl Error for TooLong {}

/// Room for 20 digits, which the greatest length has, and a mark or two.
const HEAD: usize = 23;
