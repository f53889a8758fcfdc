//! The writing half of a byte stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::joint::{Joint, flag};
use crate::{Addr, Transport};

/// The writing half of a [`ByteStream`](super::ByteStream).
///
/// What is written is queued in the engine and leaves right after the callback or task that wrote it; nobody has to flush. While 64 KiB
/// wait for the peer to read, writing waits, until all of them have left.
///
/// Dropped before the reading half it ends the write side after everything written has left, as [`shutdown`](Self::shutdown) does.
pub struct WriteHalf {
    pub(super) joint: Rc<Joint>,
}

impl WriteHalf {
    pub(super) fn new(joint: Rc<Joint>) -> Self {
        Self { joint }
    }

    /// Writes a part of `bytes`, as much as may wait now, and answers how much that is: all of what is not larger than 64 KiB, mostly, and
    /// nothing only of nothing. A future that was dropped unfinished has written nothing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] once the connection is closing or the write side has ended, and else how the connection ended.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write(context, bytes)).await
    }

    /// Writes all of `bytes`, in pieces of 64 KiB when there are more. Dropped unfinished it has written a part from the beginning, and there
    /// is no telling how much: use [`write`](Self::write) or [`write_owned`](Self::write_owned) where that matters.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); a part may have been written.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self.write(bytes).await?;
            bytes = bytes.get(len..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of a buffer at once, however large, as soon as anything may be written. It is moved, not copied, if it is larger than 2 KiB. A future
    /// that was dropped unfinished has written nothing of it.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); nothing was written.
    pub async fn write_owned(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        poll_fn(|context| self.poll_room(context)).await?;
        self.transport().write_owned(bytes);
        Ok(())
    }

    /// Waits until the system has taken everything written. It leaves without this, too.
    ///
    /// # Errors
    ///
    /// How the connection ended, if it did before that and not cleanly.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Ends the write side once everything written has left, and waits for that. The peer hears the end of the stream; its bytes still come. Dropped
    /// unfinished it has begun all the same.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    #[doc(alias = "loseWriteConnection")]
    #[doc(alias = "half-close")]
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_shutdown(context)).await
    }

    /// The connection's transport: see [`ByteStream::transport`](super::ByteStream::transport).
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

    pub(super) fn poll_write(
        &mut self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(context))?;
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.transport().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The same for several pieces, one after the other.
    #[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
    pub(super) fn poll_write_pieces(
        &mut self,
        context: &Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.poll_room(context))?;
        let mut left = room;
        for piece in pieces {
            let bytes = piece.get(..left).unwrap_or(piece);
            self.transport().write(bytes);
            left -= bytes.len();
        }
        Poll::Ready(Ok(room - left))
    }

    pub(super) fn poll_flush(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.joint.flushed(context).map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn poll_shutdown(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.joint.shut_down(context).map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_room(&mut self, context: &Context<'_>) -> Poll<io::Result<usize>> {
        self.joint.room_to_write(context).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.joint.dropped(flag::NO_WRITER);
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteHalf({})", self.peer_addr())
    }
}
