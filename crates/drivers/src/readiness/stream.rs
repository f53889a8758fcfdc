//! Connections: connecting, receiving, sending and half-closing. How they are closed lives in `linger.rs`.

use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use marline_core::Addr;
use marline_core::driver::{Completion, ConnectFault, ConnectOptions, Handle, OsError, Sent};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, shutdown};

use super::Readiness;
use super::selector::{Interest, Ready, Selector};
use super::table::{Kind, Marks, NONE, Output};
use crate::socket::{Waiting, connecting, fault, monotonic, peer_addr, take_any_error, take_error};
use crate::sys::calls::{send, sendmsg};

impl<S: Selector> Readiness<S> {
    pub(super) fn open_stream(
        &mut self,
        to: &Addr,
        options: &ConnectOptions,
    ) -> Result<Handle, ConnectFault> {
        if let Addr::Unix(path) = to {
            return self.open_unix_stream(path, options);
        }
        let socket = connecting(to, options)?;
        // Also a connection that stood at once is reported by the selector, so never from inside this call.
        let conn = self.table.insert(socket, Kind::Connecting, Interest::NONE);
        self.touch(conn);
        Ok(conn)
    }

    /// An attempt has come to its end.
    pub(super) fn connected(&mut self, conn: Handle) -> Option<Completion> {
        let entry = self.table.get_mut(conn)?;
        if entry.marks.any(Marks::BROKEN) {
            return None;
        }
        let fd = entry.fd()?;
        if let Some(error) = take_error(fd) {
            return self.failed(conn, error);
        }
        entry.kind = match peer_addr(fd) {
            // Ready without an error and without a peer: reset in between, and somebody else has taken the error.
            None => return self.failed(conn, OsError::from(ErrorKind::ConnectionReset)),
            Some(Addr::Unix(_)) => Kind::Unix,
            Some(_) => Kind::Stream,
        };
        self.touch(conn);
        Some(Completion::Connected { conn })
    }

    /// An event of a connection that is not just bytes. Read first; the same event comes back for what can be written.
    pub(super) fn stream_ready(
        &mut self,
        conn: Handle,
        ready: Ready,
        scratch: &mut [u8],
    ) -> Option<Completion> {
        if !self.read_done {
            self.read_done = true;
            let completion = self.input_ready(conn, ready, scratch);
            if completion.is_some() {
                return completion;
            }
        }
        self.advance();
        let entry = self.table.get(conn)?;
        let rests = entry.marks.any(Marks::BROKEN.both(Marks::RESTING));
        let writes = entry.want.has(Interest::WRITE) && !rests;
        if writes && ready.writable() { self.flush(conn) } else { None }
    }

    fn input_ready(
        &mut self,
        conn: Handle,
        ready: Ready,
        scratch: &mut [u8],
    ) -> Option<Completion> {
        let entry = self.table.get(conn)?;
        let fd = entry.fd()?;
        if entry.reads() {
            if !ready.readable() {
                return None;
            }
            if entry.kind == Kind::Unix {
                return self.receive_unix(conn, scratch);
            }
            // Also after a reset: what arrived before it is read, then the error.
            // Another holder of a socket that was taken over may have read it, and have it block again.
            let received = recv(fd, &mut *scratch, RecvFlags::DONTWAIT);
            return match received {
                Ok((len, _)) if len > 0 => Some(Completion::Received { conn, len }),
                Err(Errno::AGAIN | Errno::INTR) => self.deaf_stream_ready(conn, ready),
                ended => self.read_ended(conn, ended.map(|_| ())),
            };
        }
        self.deaf_stream_ready(conn, ready)
    }

    /// A connection that does not receive, or has nothing to receive, is ready all the same.
    #[cold]
    fn deaf_stream_ready(&mut self, conn: Handle, ready: Ready) -> Option<Completion> {
        let entry = self.table.get(conn)?;
        match if ready.failed() { take_any_error(entry.fd()?) } else { Waiting::Nothing } {
            Waiting::Error(error) => return self.failed(conn, error),
            Waiting::Reports => {}
            Waiting::Nothing => {
                let is_heard = entry.reads() || entry.want.has(Interest::WRITE);
                if (ready.failed() || ready.hung_up()) && !is_heard {
                    self.hung_up(conn);
                }
            }
        }
        None
    }

    /// A receive brought no bytes.
    #[cold]
    pub(super) fn read_ended(
        &mut self,
        conn: Handle,
        received: Result<(), Errno>,
    ) -> Option<Completion> {
        match received {
            Ok(()) => {
                self.table.get_mut(conn)?.marks.set(Marks::ENDED);
                self.touch(conn);
                Some(Completion::ReadClosed { conn })
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(errno) => self.failed(conn, fault(errno)),
        }
    }

    /// What can leave without a word: whatever goes wrong is found, and told, by the send that follows.
    #[inline]
    pub(super) fn send_at_once(&mut self, conn: Handle, bytes: &[u8]) -> Option<usize> {
        let fd = self.table.stream(conn)?.fd()?;
        send(fd, bytes, FLAGS).ok()
    }

    #[inline]
    pub(super) fn send_lent(&mut self, conn: Handle, bytes: &[u8]) -> Sent {
        let Some(fd) = self.table.stream(conn).and_then(|entry| entry.fd()) else {
            return self.send_unix(conn, &[IoSlice::new(bytes)]);
        };
        match send(fd, bytes, FLAGS) {
            Ok(len) => Sent::Now(len),
            Err(errno) => self.not_sent(conn, errno),
        }
    }

    /// As many pieces as one call takes. (Out of line, as `send_buffer`: what it keeps on the stack would be paid for by every send.)
    #[inline(never)]
    pub(super) fn send_vectored(&mut self, conn: Handle, pieces: &[IoSlice<'_>]) -> Sent {
        let pieces = &pieces[..pieces.len().min(MOST_PIECES)];
        let Some(fd) = self.table.stream(conn).and_then(|entry| entry.fd()) else {
            return self.send_unix(conn, pieces);
        };
        match sendmsg(fd, pieces, &mut SendAncillaryBuffer::default(), FLAGS) {
            Ok(len) => Sent::Now(len),
            Err(errno) => self.not_sent(conn, errno),
        }
    }

    #[inline(never)]
    pub(super) fn send_buffer(&mut self, conn: Handle, buffer: &mut Vec<u8>, from: usize) -> Sent {
        let Some(entry) = self.table.conn(conn) else { return STALE };
        debug_assert!(!entry.want.has(Interest::WRITE), "a buffer is in flight for {conn:?}");
        let Some(fd) = entry.fd() else { return STALE };
        let bytes = buffer.get(from..).unwrap_or_default();
        let sent = match entry.kind {
            Kind::Unix => self.unix.send(conn, fd, &[IoSlice::new(bytes)]),
            _ => send(fd, bytes, FLAGS),
        };
        let len = match sent {
            Ok(len) => len,
            Err(errno) => match self.not_sent(conn, errno) {
                Sent::Now(len) => len,
                other => return other,
            },
        };
        if len == bytes.len() {
            return Sent::Now(len);
        }
        let output = Output { buffer: std::mem::take(buffer), sent: from + len, file: None };
        let Some(entry) = self.table.conn(conn) else { return STALE };
        entry.side = self.outputs.put(entry.side, output);
        entry.want = entry.want.and(Interest::WRITE);
        entry.marks.unset(Marks::HUNG_UP);
        self.touch(conn);
        Sent::InFlight(len)
    }

    /// A send brought nothing: because there is no room now, or because the connection is broken.
    #[cold]
    pub(super) fn not_sent(&mut self, conn: Handle, errno: Errno) -> Sent {
        if matches!(errno, Errno::AGAIN | Errno::INTR) || is_short_of_memory(errno) {
            return Sent::Now(0);
        }
        // The reactor hears of it here, not again as a completion.
        self.failed(conn, fault(errno));
        Sent::Failed(fault(errno))
    }

    /// There is room for more of the buffer in flight.
    fn flush(&mut self, conn: Handle) -> Option<Completion> {
        let entry = self.table.conn(conn)?;
        let output = self.outputs.get_mut(entry.side)?;
        if output.file.is_some() {
            return self.flush_file(conn);
        }
        let rest = output.buffer.get(output.sent..)?;
        let sent = match entry.kind {
            Kind::Unix => self.unix.send(conn, entry.fd()?, &[IoSlice::new(rest)]),
            _ => send(entry.fd()?, rest, FLAGS),
        };
        match sent {
            Ok(len) => {
                let done = len == rest.len();
                output.sent += len;
                if done {
                    entry.want = entry.want.without(Interest::WRITE);
                    self.touch(conn);
                }
                Some(Completion::Sent { conn, len, done })
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(errno) if is_short_of_memory(errno) => {
                self.rest_output(conn);
                None
            }
            Err(errno) => self.failed(conn, fault(errno)),
        }
    }

    /// The connection has room, but the system none for what leaves, and it does not tell when it has: asked again after a while, or every wait would
    /// return at once.
    #[cold]
    pub(super) fn rest_output(&mut self, conn: Handle) {
        if let Some(entry) = self.table.conn(conn) {
            entry.marks.set(Marks::RESTING);
            self.touch(conn);
            self.resting.push(monotonic() + PAUSE, conn);
        }
    }

    /// The buffer of a send that is complete; an empty one if none is.
    pub(super) fn take_output(&mut self, conn: Handle) -> Vec<u8> {
        match self.table.conn(conn) {
            Some(entry) if !entry.want.has(Interest::WRITE) => {
                self.outputs.take(std::mem::replace(&mut entry.side, NONE))
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn shut(&mut self, conn: Handle) -> Result<(), OsError> {
        let entry = self.table.conn(conn).ok_or(OsError::STALE)?;
        debug_assert!(!entry.want.has(Interest::WRITE), "a buffer is in flight for {conn:?}");
        shutdown(entry.fd().ok_or(OsError::STALE)?, Shutdown::Write).map_err(fault)?;
        entry.marks.set(Marks::SHUT);
        self.touch(conn);
        Ok(())
    }
}

/// Whether the system has no memory for the moment, which says nothing of the connection.
pub(super) fn is_short_of_memory(errno: Errno) -> bool {
    matches!(errno, Errno::NOBUFS | Errno::NOMEM)
}

const STALE: Sent = Sent::Failed(OsError::STALE);
/// A broken connection is an error, not a SIGPIPE.
pub(super) const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
/// How long output rests for which the system had no memory.
const PAUSE: Duration = Duration::from_millis(20);
/// `IOV_MAX`.
const MOST_PIECES: usize = 1024;
