//! Reading frames out of a stream that comes in pieces of any size.
//!
//! No I/O, no clock, no copy of a frame that lies whole in its piece, and no memory while no frame is cut in two. Where a frame ends is the
//! format's to find; what to do with it is the protocol's.

use super::format::{FrameFormat, Search};
use crate::carry::Carry;

/// Reads the frames of one format from a stream.
///
/// Input is lent for one [`feed`](Self::feed) and frames are pulled out of it one by one, so between two frames the reader may change its
/// mind: change the [limit](Self::set_limit), or stop and take the [rest](Feed::rest) back, to read it later (pause), to give it to another
/// protocol (upgrade), or to drop it (close).
///
/// What comes out depends on the bytes alone, never on how they were cut. Only the beginning of a frame whose end has not come is kept;
/// what a peer merely announces costs nothing. When no frame is cut in two the codec owns no memory. Time is linear in the bytes read.
///
/// ```
/// use marline_protocols::frame::FrameCodec;
/// use marline_protocols::netstring::{Netstring, NetstringError};
///
/// # fn main() -> Result<(), NetstringError> {
/// let mut codec = FrameCodec::new(Netstring::default());
/// let mut feed = codec.feed(b"12:hello world!,3:ab");
/// assert_eq!(feed.next_frame()?, Some(&b"hello world!"[..]));
/// assert_eq!(feed.next_frame()?, None);
/// assert_eq!(codec.pending(), b"3:ab");
/// assert_eq!(codec.feed(b"c,").next_frame()?, Some(&b"abc"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FrameCodec<F: FrameFormat> {
    format: F,
    /// The beginning of an unfinished frame; searched, and without an end in it.
    carry: Carry,
    failed: Option<F::Error>,
}

impl<F: FrameFormat> FrameCodec<F> {
    /// Makes a codec that stands at byte 0 of a stream.
    #[must_use]
    pub const fn new(format: F) -> Self {
        Self { format, carry: Carry::new(), failed: None }
    }

    /// Lends the next bytes of the stream to the codec. Nothing is read until frames are pulled.
    ///
    /// Pull until `Ok(None)`, or take the [`rest`](Feed::rest) and feed it again later: bytes neither pulled nor taken are lost.
    pub const fn feed<'i>(&mut self, input: &'i [u8]) -> Feed<'_, 'i, F> {
        Feed { codec: self, input, cut: Vec::new() }
    }

    /// Changes the greatest length of a frame, in bytes of content, for the unfinished one and those that follow.
    pub fn set_limit(&mut self, limit: usize) {
        self.format = self.format.with_limit(limit);
    }

    /// Takes out the beginning of the unfinished frame, with what goes round it, as if it had been read: for another protocol, or to forget
    /// it.
    #[must_use]
    pub fn take_pending(&mut self) -> Vec<u8> {
        self.carry.take()
    }

    /// The beginning of the unfinished frame, with what goes round it; empty if there is none. After an error: of the bad one.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.carry.bytes
    }

    /// What a frame is here.
    #[must_use]
    pub const fn format(&self) -> F {
        self.format
    }

    /// How many bytes of the stream are behind the reader: every frame pulled and everything taken. Pending bytes are not.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.carry.position
    }

    /// Bytes of memory owned now, for the beginning of the unfinished frame: at most twice what was received of it, and never more than the
    /// limit and what goes round a frame.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.carry.held()
    }

    /// What is kept of an unfinished frame, for whoever goes on with it.
    pub(crate) const fn carry(&mut self) -> &mut Carry {
        &mut self.carry
    }
}

/// One piece of input, lent to a [`FrameCodec`], out of which frames are pulled.
#[derive(Debug)]
#[must_use = "bytes neither pulled nor taken as the rest are lost"]
pub struct Feed<'c, 'i, F: FrameFormat> {
    codec: &'c mut FrameCodec<F>,
    /// What is not used yet.
    input: &'i [u8],
    /// The frame last pulled, if it began in earlier input. It lives here so that its memory goes with the feed.
    cut: Vec<u8>,
}

impl<'i, F: FrameFormat> Feed<'_, 'i, F> {
    /// Pulls the next frame. `Ok(None)`: all input is used, and an unfinished frame is kept by the codec.
    ///
    /// # Errors
    ///
    /// What comes next is no frame. Nothing of it is used: it is what is [pending](FrameCodec::pending), and then the
    /// [`rest`](Self::rest). The codec gives the same error from then on.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, F::Error> {
        self.cut = Vec::new();
        let Self { codec, input, cut } = self;
        if let Some(error) = codec.failed {
            return Err(error);
        }
        let carry = &mut codec.carry;
        match codec.format.search(carry.position, &carry.bytes, input) {
            Err(error) => {
                codec.failed = Some(error);
                Err(error)
            }
            Ok(Search::Unfinished { at_most }) => {
                if !input.is_empty() {
                    carry.keep(input, at_most);
                    *input = &[];
                }
                Ok(None)
            }
            Ok(Search::Frame { content, end }) => {
                let (used, rest) = input.split_at(end - carry.bytes.len());
                *input = rest;
                if carry.bytes.is_empty() {
                    carry.position += end as u64;
                    return Ok(Some(&used[content]));
                }
                carry.keep(used, end);
                *cut = carry.take();
                Ok(Some(&cut[content]))
            }
        }
    }

    /// The codec, to change its limit between two frames.
    pub const fn codec(&mut self) -> &mut FrameCodec<F> {
        self.codec
    }

    /// Ends the feed and gives back what was not used of the input.
    ///
    /// It is empty after `Ok(None)`. After a frame it is all that follows the frame. Otherwise what is [pending](FrameCodec::pending)
    /// comes before it in the stream; who hands the connection over hands over both.
    #[must_use]
    pub fn rest(self) -> &'i [u8] {
        self.input
    }

    /// All that is not used yet: what is kept, and what follows it of the input.
    pub(crate) const fn left(&mut self) -> (&mut Carry, &'i [u8]) {
        (&mut self.codec.carry, self.input)
    }
}
