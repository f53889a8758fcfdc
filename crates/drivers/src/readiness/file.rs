//! Sending files with `sendfile(2)`: the kernel moves the bytes from its page cache to the connection, and they never pass through this process.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use marline_core::driver::{Completion, Handle, OsError, Sent};
use rustix::io::Errno;

use super::Readiness;
use super::selector::{Interest, Selector};
use super::stream::is_short_of_memory;
use super::table::{Marks, NONE, Output};
use crate::socket::fault;
use crate::sys::calls::sendfile;

/// A file of which the bytes before `offset` have left.
#[derive(Debug)]
pub(super) struct FileOutput {
    file: OwnedFd,
    offset: u64,
    left: u64,
}

impl<S: Selector> Readiness<S> {
    /// Like a buffer: what can leave now, up to a share, and the rest in flight. What the kernel refuses comes back.
    pub(super) fn begin_file(
        &mut self,
        conn: Handle,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<Sent, (OsError, OwnedFd)> {
        let Some(entry) = self.table.conn(conn) else { return Ok(Sent::Failed(OsError::STALE)) };
        debug_assert!(!entry.want.has(Interest::WRITE), "something is in flight for {conn:?}");
        let Some(fd) = entry.fd() else { return Ok(Sent::Failed(OsError::STALE)) };
        let mut output = FileOutput { file, offset, left: length };
        let sent = match output.send(fd) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) if of_the_connection(errno) => {
                // The reactor hears of it here, not again as a completion.
                self.failed(conn, fault(errno));
                return Ok(Sent::Failed(fault(errno)));
            }
            // Neither a file that can be read so, nor an end of it that is worth finding out here.
            Err(errno) => return Err((fault(errno), output.file)),
        };
        if sent == 0 && length > 0 && output.is_at_its_end() {
            return Err((OsError::new(ErrorKind::UnexpectedEof), output.file));
        }
        if output.left == 0 {
            return Ok(Sent::Now(sent));
        }
        let Some(entry) = self.table.conn(conn) else { return Ok(Sent::Failed(OsError::STALE)) };
        let output = Output { file: Some(Box::new(output)), ..Output::default() };
        entry.side = self.outputs.put(entry.side, output);
        entry.want = entry.want.and(Interest::WRITE);
        entry.marks.unset(Marks::HUNG_UP);
        self.touch(conn);
        Ok(Sent::InFlight(sent))
    }

    /// There is room for more of the file in flight.
    #[cold]
    #[inline(never)]
    pub(super) fn flush_file(&mut self, conn: Handle) -> Option<Completion> {
        let entry = self.table.conn(conn)?;
        let output = self.outputs.get_mut(entry.side)?.file.as_mut()?;
        match output.send(entry.fd()?) {
            // Asked for bytes and got none: there are none.
            Ok(0) => Some(self.drop_file(conn, OsError::new(ErrorKind::UnexpectedEof))),
            Ok(len) => {
                let done = output.left == 0;
                if done {
                    self.end_file(conn);
                }
                Some(Completion::Sent { conn, len, done })
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(errno) if is_short_of_memory(errno) => {
                self.rest_output(conn);
                None
            }
            Err(errno) if of_the_connection(errno) => self.failed(conn, fault(errno)),
            Err(errno) => Some(self.drop_file(conn, fault(errno))),
        }
    }

    fn drop_file(&mut self, conn: Handle, error: OsError) -> Completion {
        self.end_file(conn);
        Completion::FileFailed { conn, error }
    }

    /// Nothing is in flight any more. There is no buffer for the reactor to fetch.
    fn end_file(&mut self, conn: Handle) {
        let Some(entry) = self.table.conn(conn) else { return };
        entry.want = entry.want.without(Interest::WRITE);
        self.outputs.take(std::mem::replace(&mut entry.side, NONE));
        self.touch(conn);
    }
}

impl FileOutput {
    /// One share of it. A broken connection is EPIPE and, as the call has no way to say otherwise, SIGPIPE, which Rust programs ignore.
    fn send(&mut self, to: std::os::fd::BorrowedFd<'_>) -> Result<usize, Errno> {
        let share = self.left.min(SHARE) as usize;
        if share == 0 {
            return Ok(0);
        }
        let sent = sendfile(to, &self.file, Some(&mut self.offset), share)?;
        self.left -= sent as u64;
        Ok(sent)
    }

    /// Whether there is nothing at its offset, as opposed to no room in the connection.
    fn is_at_its_end(&self) -> bool {
        rustix::fs::fstat(&self.file)
            .is_ok_and(|stat| u64::try_from(stat.st_size).unwrap_or(0) <= self.offset)
    }
}

/// Whether an error is the connection's, and not the file's.
fn of_the_connection(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::PIPE
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::NOTCONN
            | Errno::TIMEDOUT
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NETDOWN
            | Errno::HOSTDOWN
            | Errno::CONNREFUSED
            | Errno::PROTO
    )
}

/// Bytes sent in one call: a peer that reads as fast as the kernel copies would keep the others waiting.
const SHARE: u64 = 256 * 1024;
