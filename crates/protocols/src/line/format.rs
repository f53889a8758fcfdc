//! What a line is: how it ends and how long it may be; writing lines, and finding their ends.
//!
//! The search never looks at a byte twice: it is told what was carried over from earlier input, and
//! looks for the last byte of the delimiter in new input only. Reading as a conversation of calls
//! lives in `codec.rs`.

use std::error::Error;
use std::fmt;

use memchr::{memchr, memchr_iter, memchr2};

use super::LineError;
use crate::carry::{byte_at, looked_at};
use crate::frame::{Envelope, FrameFormat, Search};

/// How long a line may be unless told otherwise, in bytes, delimiter excluded.
#[doc(alias = "MAX_LENGTH")]
pub const DEFAULT_LIMIT: usize = 16_384;

/// What a line is on one connection: its delimiter and its greatest length.
///
/// The default is a strict CRLF and [`DEFAULT_LIMIT`]. A small `Copy` value that can be a `const`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineFormat {
    pub(super) delimiter: Delimiter,
    pub(super) limit: usize,
}

impl LineFormat {
    /// Describes lines that end with `delimiter` and are no longer than [`DEFAULT_LIMIT`].
    #[must_use]
    pub const fn new(delimiter: Delimiter) -> Self {
        Self { delimiter, limit: DEFAULT_LIMIT }
    }

    /// Returns the same format with another greatest length, in bytes, delimiter excluded.
    #[must_use]
    pub const fn with_limit(self, limit: usize) -> Self {
        Self { delimiter: self.delimiter, limit }
    }

    /// How a line ends.
    #[must_use]
    pub const fn delimiter(&self) -> Delimiter {
        self.delimiter
    }

    /// The greatest length of a line in bytes, delimiter excluded.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Appends `line` and its delimiter to `out`.
    ///
    /// What is accepted here is read back as exactly this one line by a codec of the same format,
    /// so text from elsewhere cannot smuggle in a line of its own.
    ///
    /// # Errors
    ///
    /// A line above the limit, or one that would end early; `out` is unchanged then. With
    /// [`Delimiter::CRLF`] and [`Delimiter::CRLF_OR_LF`] any CR or LF is refused, since some reader
    /// takes each of them for an end of line.
    #[doc(alias = "sendLine")]
    pub fn encode(&self, line: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        FrameFormat::encode(self, line, out)
    }

    /// Refuses what a reader of the same format would not read as this one line.
    fn check(&self, line: &[u8]) -> Result<(), EncodeError> {
        if line.len() > self.limit {
            return Err(EncodeError::TooLong { limit: self.limit, length: line.len() });
        }
        let delimiter = self.delimiter.written();
        let inside = match self.delimiter.0 {
            Kind::Strict | Kind::Lenient => memchr2(b'\r', b'\n', line),
            // The tail of the line and the head of the delimiter can make a delimiter too: "a"
            // before "aa".
            Kind::Exact(_) => end_of(delimiter, &[], line)
                .or_else(|| end_of(delimiter, line, &delimiter[..delimiter.len() - 1]))
                .map(|end| end - delimiter.len()),
        };
        if let Some(at) = inside {
            return Err(EncodeError::Delimiter { at });
        }
        Ok(())
    }

    /// Bytes of one line, delimiter included, after which its fate is known whatever follows.
    pub(super) const fn reach(&self) -> usize {
        self.limit.saturating_add(self.delimiter.written().len())
    }

    /// Looks for the end of the line that begins with `carried` and goes on with `input`.
    ///
    /// `carried` must have been searched before without an end being found. The verdict depends on
    /// the bytes up to the one that decides, never on where `carried` stops.
    pub(super) fn search(&self, carried: &[u8], input: &[u8]) -> Verdict {
        if self.delimiter.0 == Kind::Strict {
            return self.search_strict(carried, input);
        }
        let window = prefix(input, self.reach().saturating_sub(carried.len()));
        let needle = self.delimiter.searched();
        let Some(end) = end_of(needle, carried, window) else {
            let decided = carried.len() + input.len() >= self.reach();
            return if decided { Verdict::TooLong } else { Verdict::Unfinished };
        };
        let mut length = end - needle.len();
        if self.delimiter.0 == Kind::Lenient
            && length > 0
            && byte_at(carried, input, length - 1) == b'\r'
        {
            length -= 1;
        }
        if length > self.limit { Verdict::TooLong } else { Verdict::Line { length, end } }
    }

    /// In strict CRLF the first CR or LF decides, so that one look at each byte is enough.
    fn search_strict(&self, carried: &[u8], input: &[u8]) -> Verdict {
        let mark = if carried.last() == Some(&b'\r') {
            Some(carried.len() - 1)
        } else {
            let limit_and_one = self.limit.saturating_add(1);
            let window = prefix(input, limit_and_one.saturating_sub(carried.len()));
            let found = memchr2(b'\r', b'\n', window);
            looked_at(found.map_or(window.len(), |i| i + 1));
            found.map(|i| carried.len() + i)
        };
        let present = carried.len() + input.len();
        match mark {
            None if present > self.limit => Verdict::TooLong,
            None => Verdict::Unfinished,
            Some(mark) if mark > self.limit => Verdict::TooLong,
            Some(mark) if byte_at(carried, input, mark) == b'\n' => Verdict::BareLf { at: mark },
            Some(mark) if mark + 1 == present => Verdict::Unfinished,
            Some(mark) if byte_at(carried, input, mark + 1) == b'\n' => {
                Verdict::Line { length: mark, end: mark + 2 }
            }
            Some(mark) => Verdict::BareCr { at: mark },
        }
    }
}

/// Lines only: without raw bytes in between, and without going on behind a line that is none.
impl FrameFormat for LineFormat {
    type Error = LineError;
    type EncodeError = EncodeError;

    fn limit(&self) -> usize {
        self.limit
    }

    fn with_limit(self, limit: usize) -> Self {
        self.with_limit(limit)
    }

    fn search(&self, position: u64, carried: &[u8], input: &[u8]) -> Result<Search, LineError> {
        let verdict = self.search(carried, input);
        match verdict {
            Verdict::Line { length, end } => Ok(Search::Frame { content: 0..length, end }),
            _ => verdict.error(position, self.limit).map_or_else(
                || Ok(Search::Unfinished { at_most: self.reach() }),
                |(_, error)| Err(error),
            ),
        }
    }

    fn envelope(&self, line: &[u8]) -> Result<Envelope, EncodeError> {
        self.check(line)?;
        Ok(Envelope::new(b"", self.delimiter.written()))
    }
}

impl Default for LineFormat {
    fn default() -> Self {
        Self::new(Delimiter::CRLF)
    }
}

/// How a line ends. A value of the connection, so that leniency towards one peer is no leniency
/// towards all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delimiter(Kind);

impl Delimiter {
    /// CR LF, and a CR or an LF by itself is an error: the default.
    ///
    /// Two readers that disagree about a lone LF see different lines in the same bytes, which is
    /// how mail and requests are smuggled past a filter (RFC 5321 §2.3.8: CR and LF only together).
    pub const CRLF: Self = Self(Kind::Strict);

    /// CR LF, or LF alone, ends a line; a CR elsewhere is part of the line. CR LF is written.
    ///
    /// For people at a keyboard and for old peers. Do not relay what was read so without writing it
    /// anew.
    pub const CRLF_OR_LF: Self = Self(Kind::Lenient);

    /// LF alone ends a line; a CR is part of the line.
    pub const LF: Self = Self(Kind::Exact(b"\n"));

    /// A zero byte ends a line.
    pub const NUL: Self = Self(Kind::Exact(b"\0"));

    /// These bytes end a line, and every other byte is part of it.
    ///
    /// `Delimiter::exact(b"\r\n")` is Twisted's default: a CR or LF by itself is part of the line.
    /// A delimiter that repeats itself is found at its first place: with `aa`, `aaa` is an empty
    /// line and an `a`.
    ///
    /// # Panics
    ///
    /// If `bytes` is empty; in a `const`, at compile time.
    #[must_use]
    pub const fn exact(bytes: &'static [u8]) -> Self {
        assert!(!bytes.is_empty(), "a delimiter has at least one byte");
        Self(Kind::Exact(bytes))
    }

    /// What is appended to a line that is written; also the longest end a line can have.
    pub(super) const fn written(self) -> &'static [u8] {
        match self.0 {
            Kind::Strict | Kind::Lenient => b"\r\n",
            Kind::Exact(bytes) => bytes,
        }
    }

    /// What surely ends a line wherever it stands.
    pub(super) const fn searched(self) -> &'static [u8] {
        match self.0 {
            Kind::Strict => b"\r\n",
            Kind::Lenient => b"\n",
            Kind::Exact(bytes) => bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Strict,
    Lenient,
    Exact(&'static [u8]),
}

/// Why a line cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The line has `length` bytes and the format allows `limit`.
    TooLong {
        /// The greatest length, in bytes, delimiter excluded.
        limit: usize,
        /// The length of the line refused, in bytes.
        length: usize,
    },
    /// The line would be read as more than one: an end of line begins `at` this byte of it.
    Delimiter {
        /// Offset in the line, in bytes.
        at: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, length } => {
                write!(f, "line of {length} bytes is above the limit of {limit}")
            }
            Self::Delimiter { at } => write!(f, "line contains an end of line at byte {at}"),
        }
    }
}

impl Error for EncodeError {}

/// What a search found. All numbers count from the beginning of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Unfinished,
    Line { length: usize, end: usize },
    TooLong,
    BareCr { at: usize },
    BareLf { at: usize },
}

impl Verdict {
    /// The error it is, if it is one, and at which byte of the line.
    pub(super) const fn error(self, position: u64, limit: usize) -> Option<(usize, LineError)> {
        match self {
            Self::Unfinished | Self::Line { .. } => None,
            Self::TooLong => {
                Some((limit, LineError::TooLong { limit, at: position + limit as u64 }))
            }
            Self::BareCr { at } => Some((at, LineError::BareCr { at: position + at as u64 })),
            Self::BareLf { at } => Some((at, LineError::BareLf { at: position + at as u64 })),
        }
    }
}

/// Where the first `needle` of `carried` followed by `input` ends, if it ends in `input` (ends in
/// `carried` were looked for when those bytes came). Time: the length of `input`, times that of
/// `needle` at worst.
pub(super) fn end_of(needle: &[u8], carried: &[u8], input: &[u8]) -> Option<usize> {
    let (&last, head) = needle.split_last()?;
    if head.is_empty() {
        let found = memchr(last, input);
        looked_at(found.map_or(input.len(), |i| i + 1));
        return found.map(|i| carried.len() + i + 1);
    }
    let found = memchr_iter(last, input).find(|&i| {
        looked_at(head.len());
        ends_with(carried, &input[..i], head)
    });
    looked_at(found.map_or(input.len(), |i| i + 1));
    found.map(|i| carried.len() + i + 1)
}

/// Whether `a` followed by `b` ends with `tail`.
pub(super) fn ends_with(a: &[u8], b: &[u8], tail: &[u8]) -> bool {
    if tail.len() <= b.len() {
        return b.ends_with(tail);
    }
    let (in_a, in_b) = tail.split_at(tail.len() - b.len());
    b == in_b && a.ends_with(in_a)
}

fn prefix(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[..bytes.len().min(length)]
}
