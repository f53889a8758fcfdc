//! Closing, so that what was sent arrives.
//!
//! `close(2)` of a TCP socket answers whatever still arrives, or lies unread, with a reset, and a reset may destroy at the peer what it has
//! received but not read. So a connection whose peer has not ended its side is only shut for writing; what still comes is
//! read and thrown away until the peer closes too, or has had its chance. The reactor sees nothing of this.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use marline_core::Time;
use marline_core::driver::{Close, Handle};
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, connect_unspec, recv, shutdown, sockopt};

use super::Readiness;
use super::selector::{Interest, Selector};
use super::table::{Kind, Marks, NONE};
use crate::socket::monotonic;

/// The connections that linger, in the order they were closed.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// Also some that are gone meanwhile.
    queue: VecDeque<(Time, Handle)>,
    /// How many are not.
    count: usize,
}

impl Lingering {
    /// When the first has had its time, or none is left.
    pub(super) fn first(&self) -> Option<Time> {
        self.queue.front().map(|&(until, _)| until)
    }

    pub(super) fn one_less(&mut self) {
        self.count -= 1;
        if self.count == 0 {
            // Or their times would still end waits.
            self.queue.clear();
        }
    }
}

impl<S: Selector> Readiness<S> {
    pub(super) fn end(&mut self, handle: Handle, how: Close) {
        let Some(entry) = self.table.live(handle) else { return };
        let stands = matches!(entry.kind, Kind::Stream | Kind::Unix);
        let is_shared = entry.marks.any(Marks::ADOPTED);
        if stands
            && !entry.marks.any(Marks::BROKEN)
            && let Some(fd) = entry.fd()
        {
            match how {
                Close::Reset => reset(fd, is_shared),
                // Nothing more can come: an ordinary close delivers everything.
                Close::Graceful if entry.marks.any(Marks::ENDED) => {
                    if is_shared {
                        // But not while others have it open. If it fails, there is nobody to be told.
                        let _ = shutdown(fd, Shutdown::Write);
                    }
                }
                Close::Graceful => return self.linger(handle),
            }
        }
        self.forget(handle);
    }

    fn linger(&mut self, handle: Handle) {
        self.unix.forget(handle);
        let Some(entry) = self.table.conn(handle) else { return };
        let shut = entry.marks.any(Marks::SHUT)
            || entry.fd().is_some_and(|fd| shutdown(fd, Shutdown::Write).is_ok());
        if !shut {
            // Reset already.
            return self.forget(handle);
        }
        self.outputs.take(std::mem::replace(&mut entry.side, NONE));
        entry.side = MOST_DISCARDED;
        entry.kind = Kind::Lingering;
        entry.want = Interest::READ;
        entry.marks.unset(Marks::HUNG_UP);
        self.touch(handle);
        self.lingering.queue.push_back((monotonic() + LONGEST, handle));
        self.lingering.count += 1;
        while self.lingering.count > MOST_LINGERING
            && let Some((_, oldest)) = self.lingering.queue.pop_front()
        {
            self.end_one(oldest);
        }
        // Connections whose peers close at once leave their places in the queue: swept when those are the most of it.
        if self.lingering.queue.len() > 4 * MOST_LINGERING {
            let table = &self.table;
            self.lingering.queue.retain(|&(_, handle)| table.get(handle).is_some());
        }
    }

    /// Reads what still comes and throws it away, a bounded share at a time.
    pub(super) fn discard(&mut self, handle: Handle, scratch: &mut [u8]) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let Some(fd) = entry.fd() else { return };
        match recv(fd, scratch, RecvFlags::DONTWAIT) {
            Ok((len, _)) if len > 0 && (len as u64) < u64::from(entry.side) => {
                entry.side -= len as u32;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The peer has closed, or has sent too much to be waited for.
            _ => self.forget(handle),
        }
    }

    /// Closes those that have had their time.
    pub(super) fn end_lingering(&mut self, now: Time) {
        while let Some(&(until, handle)) = self.lingering.queue.front() {
            if until > now && self.table.get(handle).is_some() {
                return;
            }
            self.lingering.queue.pop_front();
            self.end_one(handle);
        }
    }

    /// Closes one that lingers, if it still does.
    fn end_one(&mut self, handle: Handle) {
        if self.table.get(handle).is_some() {
            self.forget(handle);
        }
    }
}

/// Has the close that follows be a reset; of a connection that others hold as well, where closing is no end, is one by itself. If it
/// fails the socket is past being reset.
#[cold]
fn reset(socket: BorrowedFd<'_>, is_shared: bool) {
    if !is_shared {
        let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    } else if connect_unspec(socket).is_err() {
        // A UNIX socket, which knows no such thing.
        let _ = shutdown(socket, Shutdown::Both);
    }
}

/// How long a peer may take to close its side.
const LONGEST: Duration = Duration::from_secs(2);
/// How many bytes it may still send.
const MOST_DISCARDED: u32 = 256 * 1024;
/// How many connections may linger; beyond that the oldest is closed.
pub(crate) const MOST_LINGERING: usize = 256;
