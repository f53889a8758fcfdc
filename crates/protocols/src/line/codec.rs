//! Reading lines and raw bytes out of a stream that comes in pieces of any size.
//!
//! No I/O, no clock, no copy of a line that lies whole in its piece, and no memory while no line is
//! cut in two. Where a line ends is found in `format.rs`; what to do with it is the protocol's.

use std::error::Error;
use std::fmt;
use std::mem;

use super::format::{LineFormat, Verdict, end_of, ends_with};
use crate::carry::Carry;

/// Reads lines, and raw bytes where asked to, from a stream.
///
/// Input is lent for one [`feed`](Self::feed) and frames are pulled out of it one by one, so
/// between two frames the reader may change its mind: go [raw](Self::set_raw), change the
/// [limit](Self::set_limit), or stop and take the [rest](Feed::rest) back, to read it later
/// (pause), to give it to another protocol (upgrade), or to drop it (close).
///
/// What comes out depends on the bytes alone, never on how they were cut. Only the beginning of a
/// line whose end has not come is kept, at most the limit and a delimiter; when there is none, the
/// codec owns no memory. Time is linear in the bytes read.
///
/// ```
/// use marline_protocols::line::{Frame, LineCodec, LineFormat};
///
/// # fn main() -> Result<(), marline_protocols::line::LineError> {
/// let mut codec = LineCodec::new(LineFormat::default().with_limit(512));
/// let mut feed = codec.feed(b"BDAT 5\r\nhelloQUIT\r\n");
/// assert_eq!(feed.next_frame()?, Some(Frame::Line(b"BDAT 5")));
/// feed.codec().set_raw_for(5);
/// assert_eq!(feed.next_frame()?, Some(Frame::Raw(b"hello")));
/// assert_eq!(feed.rest(), b"QUIT\r\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LineCodec {
    format: LineFormat,
    state: State,
    /// The beginning of an unfinished line; searched, and without an end in it.
    carry: Carry,
}

impl LineCodec {
    /// Makes a codec that stands at byte 0 of a stream and reads lines.
    #[must_use]
    pub const fn new(format: LineFormat) -> Self {
        Self { format, state: State::Lines, carry: Carry::new() }
    }

    /// Lends the next bytes of the stream to the codec. Nothing is read until frames are pulled.
    ///
    /// Pull until `Ok(None)`, or take the [`rest`](Feed::rest) and feed it again later: bytes
    /// neither pulled nor taken are lost.
    pub const fn feed<'i>(&mut self, input: &'i [u8]) -> Feed<'_, 'i> {
        Feed { codec: self, input, cut: Vec::new(), lent: Lent::Nothing }
    }

    /// Reads raw bytes from here on, until [`set_lines`](Self::set_lines) or [`Feed::end_raw`].
    ///
    /// The beginning of an unfinished line, if there is one, is the first raw frame of the next
    /// feed. A failed codec stays failed, and a line that is being skipped is skipped no further.
    #[doc(alias = "setRawMode")]
    pub const fn set_raw(&mut self) {
        self.switch(State::Raw { left: UNTIL_TOLD });
    }

    /// Reads the next `count` bytes raw, as [`set_raw`](Self::set_raw) does, and lines again after
    /// them.
    pub const fn set_raw_for(&mut self, count: u64) {
        if count == 0 {
            self.set_lines();
        } else {
            self.switch(State::Raw { left: count });
        }
    }

    /// Reads lines from here on. A failed codec stays failed.
    #[doc(alias = "setLineMode")]
    pub const fn set_lines(&mut self) {
        if self.is_raw() {
            self.switch(State::Lines);
        }
    }

    /// After an error, drops what is left of the bad line, end included, and reads lines again
    /// behind it.
    ///
    /// With a strict CRLF the end is the next CR LF: a lone CR or LF does not end the bad line.
    /// What is dropped is not kept, so a line without end costs no memory. Without an error before
    /// it this does nothing.
    pub const fn skip_line(&mut self) {
        if let State::Failed(_) = self.state {
            self.state = State::Skip;
        }
    }

    /// Changes the greatest length of a line, in bytes, delimiter excluded, for the unfinished one
    /// and those that follow.
    pub const fn set_limit(&mut self, limit: usize) {
        self.format.limit = limit;
    }

    /// Takes out the beginning of the unfinished line, as if it had been read: for another
    /// protocol, to forget it, or as a last line that the end of the stream ended.
    #[doc(alias = "clearLineBuffer")]
    #[must_use]
    pub fn take_pending(&mut self) -> Vec<u8> {
        self.carry.take()
    }

    /// The beginning of the unfinished line, empty if there is none.
    ///
    /// After an error: what was kept of the bad line from the error on. While skipping: the
    /// beginning of a delimiter.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.carry.bytes
    }

    /// What a line is here.
    #[must_use]
    pub const fn format(&self) -> LineFormat {
        self.format
    }

    /// Whether raw bytes are read now.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        matches!(self.state, State::Raw { .. })
    }

    /// How many bytes of the stream are behind the reader: every frame pulled and everything
    /// dropped. Pending bytes are not.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.carry.position
    }

    /// Bytes of memory owned now, for the beginning of the unfinished line: at most the limit and a delimiter.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.carry.held()
    }

    /// What is kept of an unfinished line, for whoever goes on with it.
    pub(crate) const fn carry(&mut self) -> &mut Carry {
        &mut self.carry
    }

    const fn switch(&mut self, state: State) {
        if !matches!(self.state, State::Failed(_)) {
            self.state = state;
        }
    }

    /// Keeps the beginning of a line for the next input.
    fn keep(&mut self, input: &[u8]) {
        self.carry.keep(input, self.format.reach());
    }

    /// Stands at the byte of the error, `at` bytes into the line, and keeps what lies behind it.
    /// Returns what was used of the input.
    fn fail(&mut self, at: usize, error: LineError) -> usize {
        let used = at.saturating_sub(self.carry.bytes.len());
        self.carry.forget(at - used);
        self.carry.position += used as u64;
        self.state = State::Failed(error);
        used
    }

    /// Drops up to the end of a bad line. Returns what was used of the input.
    fn skip(&mut self, input: &[u8]) -> usize {
        let needle = self.format.delimiter.searched();
        let before = self.carry.bytes.len();
        if let Some(end) = end_of(needle, &self.carry.bytes, input) {
            self.carry.forget(before);
            self.carry.position += (end - before) as u64;
            self.state = State::Lines;
            return end - before;
        }
        // Of all that was seen only the beginning of a delimiter matters; most often there is none.
        let kept = (0..needle.len())
            .rev()
            .find(|&n| ends_with(&self.carry.bytes, input, &needle[..n]))
            .unwrap_or(0);
        self.carry.position += (before + input.len() - kept) as u64;
        self.carry.bytes = needle[..kept].to_vec();
        input.len()
    }
}

/// One piece of input, lent to a [`LineCodec`], out of which frames are pulled.
#[derive(Debug)]
#[must_use = "bytes neither pulled nor taken as the rest are lost"]
pub struct Feed<'c, 'i> {
    codec: &'c mut LineCodec,
    /// What is not used yet.
    input: &'i [u8],
    /// The frame last pulled, if it began in earlier input. It lives here so that its memory goes
    /// with the feed.
    cut: Vec<u8>,
    lent: Lent<'i>,
}

impl<'i> Feed<'_, 'i> {
    /// Pulls the next frame. `Ok(None)`: all input is used, and an unfinished line is kept by the
    /// codec.
    ///
    /// # Errors
    ///
    /// The line that comes next is not one. The codec stands at the byte of the error, which is the
    /// first of the [`rest`](Self::rest) or pending, and gives the same error from then on, unless
    /// told to [skip](LineCodec::skip_line).
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LineError> {
        self.cut = Vec::new();
        self.lent = Lent::Nothing;
        if let State::Skip = self.codec.state {
            let used = self.codec.skip(self.input);
            self.input = &self.input[used..];
        }
        match self.codec.state {
            State::Failed(error) => Err(error),
            State::Skip => Ok(None),
            State::Raw { left } => Ok(self.next_raw(left)),
            State::Lines => self.next_line(),
        }
    }

    /// Ends raw mode inside the raw frame last pulled: its last `unused` bytes come again, as
    /// lines.
    ///
    /// # Panics
    ///
    /// If what was last pulled is not a raw frame of at least `unused` bytes.
    #[doc(alias = "setLineMode")]
    pub fn end_raw(&mut self, unused: usize) {
        let length = match self.lent {
            Lent::Nothing => 0,
            Lent::Input { length, .. } => length,
            Lent::Carried => self.cut.len(),
        };
        assert!(unused <= length, "end_raw takes back more than the last raw frame had");
        match mem::replace(&mut self.lent, Lent::Nothing) {
            Lent::Nothing => {}
            Lent::Input { from, .. } => self.input = &from[length - unused..],
            Lent::Carried => {
                let mut back = self.cut.split_off(length - unused);
                back.append(&mut self.codec.carry.bytes);
                self.codec.carry.bytes = back;
            }
        }
        self.codec.carry.position -= unused as u64;
        self.codec.set_lines();
    }

    /// The codec, to change its mode or limit between two frames.
    pub const fn codec(&mut self) -> &mut LineCodec {
        self.codec
    }

    /// Ends the feed and gives back what was not used of the input.
    ///
    /// It is empty after `Ok(None)`. After a line it is all that follows the line. Otherwise what is
    /// [pending](LineCodec::pending) comes before it in the stream; who hands the connection over
    /// hands over both.
    #[must_use]
    pub fn rest(self) -> &'i [u8] {
        self.input
    }

    /// All that is not used yet: what is kept, and what follows it of the input.
    pub(crate) const fn left(&mut self) -> (&mut Carry, &'i [u8]) {
        (&mut self.codec.carry, self.input)
    }

    fn next_raw(&mut self, left: u64) -> Option<Frame<'_>> {
        let codec = &mut *self.codec;
        let from = self.input;
        let available =
            if codec.carry.bytes.is_empty() { from.len() } else { codec.carry.bytes.len() };
        if available == 0 {
            return None;
        }
        let length = usize::try_from(left).map_or(available, |left| left.min(available));
        codec.carry.position += length as u64;
        if left != UNTIL_TOLD {
            codec.set_raw_for(left - length as u64);
        }
        if codec.carry.bytes.is_empty() {
            let (frame, rest) = from.split_at(length);
            self.input = rest;
            self.lent = Lent::Input { from, length };
            return Some(Frame::Raw(frame));
        }
        let rest = codec.carry.bytes.split_off(length);
        self.cut = mem::replace(&mut codec.carry.bytes, rest);
        self.lent = Lent::Carried;
        Some(Frame::Raw(&self.cut))
    }

    fn next_line(&mut self) -> Result<Option<Frame<'_>>, LineError> {
        let codec = &mut *self.codec;
        let verdict = codec.format.search(&codec.carry.bytes, self.input);
        if let Verdict::Line { length, end } = verdict {
            let (used, rest) = self.input.split_at(end - codec.carry.bytes.len());
            self.input = rest;
            if codec.carry.bytes.is_empty() {
                codec.carry.position += end as u64;
                return Ok(Some(Frame::Line(&used[..length])));
            }
            codec.keep(used);
            self.cut = codec.carry.take();
            return Ok(Some(Frame::Line(&self.cut[..length])));
        }
        let Some((at, error)) = verdict.error(codec.carry.position, codec.format.limit) else {
            codec.keep(self.input);
            self.input = &[];
            return Ok(None);
        };
        let used = codec.fail(at, error);
        self.input = &self.input[used..];
        Err(error)
    }
}

/// What is read from a stream of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole line, its delimiter taken off.
    Line(&'a [u8]),
    /// Raw bytes, at least one; how many come at once depends on how they came in.
    Raw(&'a [u8]),
}

/// What is wrong with a line that was received. `at` counts bytes from the beginning of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// The line is longer than `limit` bytes; `at` is the first byte too many.
    #[doc(alias = "lineLengthExceeded")]
    TooLong {
        /// The greatest length, in bytes, delimiter excluded.
        limit: usize,
        /// Offset in the stream, in bytes.
        at: u64,
    },
    /// A CR that no LF follows, where CR LF alone ends a line.
    BareCr {
        /// Offset in the stream, in bytes.
        at: u64,
    },
    /// An LF that no CR precedes, where CR LF alone ends a line.
    BareLf {
        /// Offset in the stream, in bytes.
        at: u64,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit, at } => {
                write!(f, "line longer than {limit} bytes at byte {at} of the stream")
            }
            Self::BareCr { at } => write!(f, "CR without LF at byte {at} of the stream"),
            Self::BareLf { at } => write!(f, "LF without CR at byte {at} of the stream"),
        }
    }
}

impl Error for LineError {}

#[derive(Clone, Copy, Debug)]
enum State {
    Lines,
    /// `left` bytes to go, [`UNTIL_TOLD`] for no end.
    Raw {
        left: u64,
    },
    /// Behind an error, before the end of the bad line.
    Skip,
    Failed(LineError),
}

/// Where the raw frame last pulled came from.
#[derive(Debug)]
enum Lent<'a> {
    Nothing,
    /// The first `length` bytes of `from`, which is the input as it was.
    Input {
        from: &'a [u8],
        length: usize,
    },
    /// What had been carried over; it lies in `cut`.
    Carried,
}

const UNTIL_TOLD: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::super::Delimiter;
    use super::*;

    /// The specification: format, stream, and what comes out of it.
    #[test]
    fn the_table_holds() {
        let strict = Delimiter::CRLF;
        let lenient = Delimiter::CRLF_OR_LF;
        let twisted = Delimiter::exact(b"\r\n");
        let bars = Delimiter::exact(b"||-");
        let doubled = Delimiter::exact(b"aa");
        #[rustfmt::skip]
        let table: &[(Delimiter, usize, &str, &[&str], &str)] = &[
            // delimiter, limit, stream, frames, end: pending bytes, or the error
            (strict,  9, "",                 &[],             "+"),
            (strict,  9, "ab\r\ncd\r\n",     &["ab", "cd"],   "+"),
            (strict,  9, "\r\n\r\n",         &["", ""],       "+"),
            (strict,  9, "ab\r\nc",          &["ab"],         "+c"),
            (strict,  9, "ab\r",             &[],             "+ab\r"),
            (strict,  9, "ab\r\nc\nd\r\n",   &["ab"],         "LF without CR at byte 5 of the stream"),
            (strict,  9, "ab\r\nc\rd\r\n",   &["ab"],         "CR without LF at byte 5 of the stream"),
            (strict,  9, "a\r\r\n",          &[],             "CR without LF at byte 1 of the stream"),
            (strict,  9, "\n",               &[],             "LF without CR at byte 0 of the stream"),
            (strict,  3, "abc\r\n",          &["abc"],        "+"),
            (strict,  3, "abcd\r\n",         &[],             "line longer than 3 bytes at byte 3 of the stream"),
            (strict,  3, "a\r\nabcd",        &["a"],          "line longer than 3 bytes at byte 6 of the stream"),
            (strict,  3, "abc\r",            &[],             "+abc\r"),
            (strict,  3, "abcd\n",           &[],             "line longer than 3 bytes at byte 3 of the stream"),
            (strict,  0, "\r\n\r\na",        &["", ""],       "line longer than 0 bytes at byte 4 of the stream"),
            (lenient, 9, "a\nb\r\n\n\r\nc",  &["a", "b", "", ""], "+c"),
            (lenient, 9, "a\rb\r\r\n",       &["a\rb\r"],     "+"),
            (lenient, 3, "abc\r\nabc\n",     &["abc", "abc"], "+"),
            (lenient, 3, "abcd\n",           &[],             "line longer than 3 bytes at byte 3 of the stream"),
            (lenient, 3, "abc\rd\n",         &[],             "line longer than 3 bytes at byte 3 of the stream"),
            (twisted, 9, "a\nb\rc\r\r\n\n\r\n", &["a\nb\rc\r", "\n"], "+"),
            (twisted, 3, "abc\r\nabcd\r\n",  &["abc"],        "line longer than 3 bytes at byte 8 of the stream"),
            (Delimiter::LF, 9, "a\r\nb\n",   &["a\r", "b"],   "+"),
            (Delimiter::NUL, 9, "a\0\0\n",    &["a", ""],      "+\n"),
            (bars,    9, "a||-b|||-|-||-",   &["a", "b|", "|-"], "+"),
            (doubled, 9, "baaaab",           &["b", ""],      "+b"),
            (doubled, 9, "aaa",              &[""],           "+a"),
        ];
        for &(delimiter, limit, stream, frames, end) in table {
            let mut codec = LineCodec::new(LineFormat::new(delimiter).with_limit(limit));
            let mut feed = codec.feed(stream.as_bytes());
            let mut seen = Vec::new();
            let stopped = loop {
                match feed.next_frame() {
                    Ok(Some(Frame::Line(line))) => {
                        seen.push(String::from_utf8_lossy(line).into_owned());
                    }
                    Ok(Some(Frame::Raw(_))) => panic!("raw frame in {stream:?}"),
                    Ok(None) => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            let pending = || format!("+{}", String::from_utf8_lossy(codec.pending()));
            assert_eq!(seen, frames, "{delimiter:?} {limit} {stream:?}");
            assert_eq!(stopped.unwrap_or_else(pending), end, "{delimiter:?} {limit} {stream:?}");
        }
    }
}
