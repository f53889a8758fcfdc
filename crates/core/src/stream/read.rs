//! The reading half of a byte stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::joint::{Joint, flag};
use super::{ByteStream, WriteHalf};
use crate::{Addr, Transport};

/// The reading half of a [`ByteStream`].
///
/// A future of any of its methods can be dropped at any time, and has then taken no byte. Received bytes wait here, up to a
/// [limit](Self::set_limit); beyond it reading is paused.
///
/// Once the peer has ended its stream, or the connection has closed cleanly, reading gives no bytes and no error. Bytes that came before the
/// end, of whatever kind, come first.
///
/// Dropped before the writing half it throws away what it holds, and nothing more is read: a peer that goes on sending is held up.
pub struct ReadHalf {
    pub(super) joint: Rc<Joint>,
    /// Taken over from the joint; used up to `at`.
    pub(super) front: Vec<u8>,
    at: usize,
}

impl ReadHalf {
    pub(super) fn new(joint: Rc<Joint>) -> Self {
        Self { joint, front: Vec::new(), at: 0 }
    }

    /// Waits for bytes and moves as many as there are, and fit, into `buffer`; answers how many. None only at the end of the stream, or if the
    /// buffer has no room.
    ///
    /// # Errors
    ///
    /// How the connection ended, if not cleanly: see [`ByteStream`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Fills all of `buffer`. Dropped half done it gives back what it has: those bytes are read again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedEof`] if the stream ends before, and whatever else ends the connection; what did come is still to be read.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filling = Filling { half: self, buffer, filled: 0 };
        poll_fn(|context| filling.poll(context)).await
    }

    /// Waits until `delimiter` has come and appends all up to and with it to `line`; answers how many bytes that is. At the end of the
    /// stream it gives what is left, without a delimiter, and then none. Dropped before, it has taken nothing.
    ///
    /// ```
    /// # use marline_core::stream::ByteStream;
    /// # async fn greet(stream: &mut ByteStream) -> std::io::Result<()> {
    /// let mut line = Vec::new();
    /// while stream.read_until(b'\n', &mut line, 1000).await? > 0 {
    ///     stream.write_all(&line).await?;
    ///     line.clear();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidData`] if there is none in the first `limit` bytes, or in as many as its own [limit](Self::set_limit): nothing is
    /// taken then. Besides, how the connection ended.
    pub async fn read_until(
        &mut self,
        delimiter: u8,
        line: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<usize> {
        let mut searched = 0;
        poll_fn(|context| {
            loop {
                let limit = limit.min(self.joint.bound(self.transport()));
                let bytes = self.buffered();
                let within = &bytes[..bytes.len().min(limit)];
                let fresh = within.get(searched..).unwrap_or_default();
                if let Some(at) = fresh.iter().position(|byte| *byte == delimiter) {
                    let len = searched + at + 1;
                    line.extend_from_slice(&within[..len]);
                    self.consume(len);
                    return Poll::Ready(Ok(len));
                }
                searched = within.len();
                if searched == limit {
                    let why = format!("no end of a line in {limit} bytes");
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, why)));
                }
                if ready!(self.poll_more(context))? {
                    continue;
                }
                line.extend_from_slice(self.buffered());
                self.consume(searched);
                return Poll::Ready(Ok(searched));
            }
        })
        .await
    }

    /// Waits until [`buffered`](Self::buffered) has bytes; answers how many, and none at the end of the stream.
    ///
    /// # Errors
    ///
    /// How the connection ended, if not cleanly.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Bytes that can be used without waiting, as they lie in memory. There may be more behind them.
    pub fn buffered(&self) -> &[u8] {
        self.front.get(self.at..).unwrap_or_default()
    }

    /// Takes so many of the [buffered](Self::buffered) bytes as used, or all if there are fewer.
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.buffered().len());
        if bytes == 0 {
            return;
        }
        self.at += bytes;
        if self.at == self.front.len() {
            self.at = 0;
            // An idle stream has no buffer.
            self.joint.spent(mem::take(&mut self.front));
        }
        self.joint.used(bytes);
    }

    /// Pauses reading while it holds more bytes than this, 64 KiB unless told otherwise; a receive that exceeds it is kept whole, so that it holds at
    /// most one receive (64 KiB) more. Reading goes on when half of it is used.
    ///
    /// What it holds counts against the connection's [byte budget](Transport::set_budget), up to half of that; a quarter of the budget is a limit, too.
    /// Budgets of 128 KiB and more are never spent by a stream alone.
    pub fn set_limit(&mut self, bytes: usize) {
        self.joint.set_limit(bytes);
    }

    /// The limit that was set.
    pub fn limit(&self) -> usize {
        self.joint.limit()
    }

    /// How many bytes it holds: [buffered](Self::buffered), and what came after those.
    pub fn held(&self) -> usize {
        self.joint.held()
    }

    /// Joins the halves again.
    ///
    /// # Errors
    ///
    /// Both halves, if they are not of one stream.
    #[allow(clippy::result_large_err, reason = "both halves come back")]
    pub fn reunite(self, write: WriteHalf) -> Result<ByteStream, (Self, WriteHalf)> {
        if Rc::ptr_eq(&self.joint, &write.joint) {
            Ok(ByteStream { read: self, write })
        } else {
            Err((self, write))
        }
    }

    /// The connection's transport: see [`ByteStream::transport`].
    pub fn transport(&self) -> &Transport {
        self.joint.transport()
    }

    /// The address of the other end.
    pub fn peer_addr(&self) -> Addr {
        self.transport().peer_addr()
    }

    /// The address of this end, as [`Transport::local_addr`] knows it.
    pub fn local_addr(&self) -> Option<Addr> {
        self.transport().local_addr()
    }

    // ---- for the traits of others, too

    pub(super) fn poll_read(
        &mut self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        let mut len = 0;
        ready!(self.poll_take(context, room, |bytes| {
            len = bytes.len();
            if let Some(place) = buffer.get_mut(..len) {
                place.copy_from_slice(bytes);
            }
        }))?;
        Poll::Ready(Ok(len))
    }

    /// Has `take` copy bytes, `room` at most, and takes those off; none at the end, or if there is no room.
    pub(super) fn poll_take(
        &mut self,
        context: &Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<()>> {
        if room > 0 {
            let len = ready!(self.poll_fill(context))?.min(room);
            take(self.buffered().get(..len).unwrap_or_default());
            self.consume(len);
        }
        Poll::Ready(Ok(()))
    }

    /// Ready with the number of buffered bytes: none at the end.
    pub(super) fn poll_fill(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffered().is_empty() {
            ready!(self.poll_more(context))?;
        }
        Poll::Ready(Ok(self.buffered().len()))
    }

    /// Ready with true when more is buffered than before, with false at the end.
    fn poll_more(&mut self, context: &Context<'_>) -> Poll<io::Result<bool>> {
        if self.joint.waiting() > 0 {
            let mut more = self.joint.take_over_incoming();
            if self.front.is_empty() {
                self.front = more;
            } else {
                self.front.drain(..mem::take(&mut self.at));
                self.front.append(&mut more);
                self.joint.spent(more);
            }
            return Poll::Ready(Ok(true));
        }
        match self.joint.reading_ended() {
            Some(end) => Poll::Ready(end.map(|()| false)),
            None => {
                self.joint.reader_waits(context);
                Poll::Pending
            }
        }
    }

    /// Puts bytes before those that are buffered.
    fn put_back(&mut self, bytes: &[u8]) {
        self.front.splice(..self.at, bytes.iter().copied());
        self.at = 0;
        self.joint.not_used(bytes.len());
    }

    /// All that was received and not used, which does not count as held any more.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = mem::take(&mut self.front);
        rest.drain(..mem::take(&mut self.at));
        rest.append(&mut self.joint.take_over_incoming());
        self.joint.forget();
        rest
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.joint.stop_reading();
        self.joint.dropped(flag::NO_READER);
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadHalf({})", self.peer_addr())
    }
}

/// A buffer that is being filled. What is in it goes back unless it becomes full.
struct Filling<'a> {
    half: &'a mut ReadHalf,
    buffer: &'a mut [u8],
    filled: usize,
}

impl Filling<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.filled < self.buffer.len() {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match ready!(self.half.poll_read(context, room))? {
                0 => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                len => self.filled += len,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        if self.filled < self.buffer.len() && self.filled > 0 {
            let bytes = self.buffer.get(..self.filled).unwrap_or_default();
            self.half.put_back(bytes);
        }
    }
}
