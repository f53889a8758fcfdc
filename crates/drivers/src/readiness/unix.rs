//! UNIX streams: opening them, and descriptors that come and go with their bytes. All else they share with TCP, in `stream.rs` and `port.rs`;
//! they are off its short ways, which know nothing of descriptors.

use std::collections::{BTreeMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use marline_core::Addr;
use marline_core::driver::{
    Completion, ConnectFault, ConnectOptions, Handle, ListenOptions, OsError, Sent, SocketFile,
};
use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SocketAddrUnix, SocketType, connect, listen, recvmsg,
};

use super::Readiness;
use super::selector::{Interest, Selector};
use super::stream::FLAGS;
use super::table::{Kind, Marks};
use crate::socket::{fault, local_addr, monotonic};
use crate::socket_file::BoundFile;
use crate::sys::calls::sendmsg;
use crate::unix::{socket, to_system};

/// What UNIX sockets have beside their entries.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Descriptors that leave with the next byte, by the index of their connection.
    outgoing: BTreeMap<u32, Vec<OwnedFd>>,
    /// Those that came with the bytes reported last, and on which connection.
    incoming: (Handle, VecDeque<OwnedFd>),
    /// Files that sockets are bound to, by index.
    files: BTreeMap<u32, BoundFile>,
    /// Where attempts go that found no room in the port's queue, by index.
    knocking: BTreeMap<u32, SocketAddrUnix>,
}

impl Beside {
    /// Has a file removed when its socket is closed.
    pub(super) fn keep_file(&mut self, socket: Handle, file: BoundFile) {
        self.files.insert(socket.index, file);
    }

    /// An entry is about to be closed: what it has beside goes with it.
    pub(super) fn forget(&mut self, handle: Handle) {
        self.outgoing.remove(&handle.index);
        self.files.remove(&handle.index);
        self.knocking.remove(&handle.index);
        if self.incoming.0 == handle {
            self.incoming.1.clear();
        }
    }

    /// Sends bytes and, with the first of them, the descriptors that wait for it.
    pub(super) fn send(
        &mut self,
        conn: Handle,
        fd: BorrowedFd<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        let Some(waiting) = self.outgoing.get(&conn.index) else {
            return sendmsg(fd, pieces, &mut SendAncillaryBuffer::default(), FLAGS);
        };
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = waiting.iter().map(AsFd::as_fd).collect();
        // There is room for as many as may wait.
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(fd, pieces, &mut control, FLAGS)?;
        if sent > 0 {
            self.outgoing.remove(&conn.index);
        }
        Ok(sent)
    }
}

impl<S: Selector> Readiness<S> {
    pub(super) fn open_unix_port(
        &mut self,
        path: &Path,
        options: &ListenOptions,
    ) -> Result<(Handle, Addr), OsError> {
        let socket = socket(SocketType::STREAM).map_err(fault)?;
        let file = BoundFile::bind(socket.as_fd(), path, &options.file)?;
        listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX)).map_err(fault)?;
        let bound = local_addr(socket.as_fd()).ok_or(OsError::STALE)?;
        let port = self.table.insert(socket, Kind::Port, Interest::READ);
        if let Some(file) = file {
            self.unix.files.insert(port.index, file);
        }
        self.touch(port);
        Ok((port, bound))
    }

    pub(super) fn open_unix_stream(
        &mut self,
        to: &Path,
        options: &ConnectOptions,
    ) -> Result<Handle, ConnectFault> {
        let to = to_system(to).map_err(ConnectFault::Connect)?;
        let refused = |errno| ConnectFault::Connect(fault(errno));
        let socket = socket(SocketType::STREAM).map_err(refused)?;
        let file = match &options.bind {
            None => None,
            Some(Addr::Unix(path)) => {
                let plain = SocketFile { mode: None, lock: false };
                BoundFile::bind(socket.as_fd(), path, &plain).map_err(ConnectFault::Bind)?
            }
            Some(_) => return Err(ConnectFault::Bind(OsError::UNSUPPORTED)),
        };
        let full = match connect(&socket, &to) {
            Ok(()) => false,
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(errno) => return Err(refused(errno)),
        };
        let conn = self.table.insert(socket, Kind::Connecting, Interest::NONE);
        if let Some(file) = file {
            self.unix.files.insert(conn.index, file);
        }
        if full {
            self.knock_later(conn, to);
        }
        self.touch(conn);
        Ok(conn)
    }

    /// The port has no room for an attempt, and the system does not tell when it has.
    fn knock_later(&mut self, conn: Handle, to: SocketAddrUnix) {
        if let Some(entry) = self.table.get_mut(conn) {
            entry.marks.set(Marks::RESTING);
            self.unix.knocking.insert(conn.index, to);
            self.resting.push(monotonic() + PAUSE, conn);
        }
    }

    /// Tries again to connect where there was no room.
    pub(super) fn knock_again(&mut self, conn: Handle) {
        let Some(to) = self.unix.knocking.remove(&conn.index) else { return };
        let fd = self.table.get(conn).and_then(|entry| entry.fd());
        match fd.map(|fd| connect(fd, &to)) {
            Some(Err(Errno::AGAIN | Errno::INTR)) => self.knock_later(conn, to),
            Some(Err(errno)) => {
                if let Some(failed) = self.failed(conn, fault(errno)) {
                    self.notices.push_back(failed);
                }
            }
            Some(Ok(())) | None => {}
        }
    }

    /// Receives bytes and the descriptors that come with them.
    pub(super) fn receive_unix(&mut self, conn: Handle, scratch: &mut [u8]) -> Option<Completion> {
        let fd = self.table.get(conn)?.fd()?;
        let mut space = [MaybeUninit::uninit(); ROOM];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let pieces = &mut [IoSliceMut::new(scratch)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = match recvmsg(fd, pieces, &mut control, flags) {
            Ok(received) => received,
            Err(errno) => return self.read_ended(conn, Err(errno)),
        };
        // Whatever else comes along (credentials, labels) nobody has asked for.
        let (of, incoming) = &mut self.unix.incoming;
        *of = conn;
        incoming.clear();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                incoming.extend(descriptors);
            }
        }
        let len = received.bytes;
        if len == 0 {
            return self.read_ended(conn, Ok(()));
        }
        let lost = received.flags.contains(ReturnFlags::CTRUNC);
        if incoming.is_empty() && !lost {
            return Some(Completion::Received { conn, len });
        }
        Some(Completion::ReceivedWith { conn, len, lost })
    }

    /// A send on a connection that is not TCP's.
    #[cold]
    pub(super) fn send_unix(&mut self, conn: Handle, pieces: &[IoSlice<'_>]) -> Sent {
        let fd = self.table.conn(conn).and_then(|entry| entry.fd());
        let Some(fd) = fd else { return Sent::Failed(OsError::STALE) };
        match self.unix.send(conn, fd, pieces) {
            Ok(len) => Sent::Now(len),
            Err(errno) => self.not_sent(conn, errno),
        }
    }

    pub(super) fn pass(&mut self, conn: Handle, descriptor: OwnedFd) -> Result<(), OsError> {
        let entry = self.table.conn(conn).ok_or(OsError::STALE)?;
        if entry.kind != Kind::Unix {
            return Err(OsError::UNSUPPORTED);
        }
        debug_assert!(!entry.want.has(Interest::WRITE), "a buffer is in flight for {conn:?}");
        let waiting = self.unix.outgoing.entry(conn.index).or_default();
        if waiting.len() >= MOST_AT_ONCE {
            return Err(fault(Errno::TOOMANYREFS));
        }
        waiting.push(descriptor);
        Ok(())
    }

    pub(super) fn take_passed(&mut self, conn: Handle) -> Option<OwnedFd> {
        let (of, incoming) = &mut self.unix.incoming;
        if *of == conn { incoming.pop_front() } else { None }
    }
}

/// `SCM_MAX_FD`: the most descriptors that one message carries.
const MOST_AT_ONCE: usize = 253;
/// For those, credentials, and labels that nobody asked for.
const ROOM: usize = cmsg_space!(ScmRights(MOST_AT_ONCE), ScmCredentials(1)) + 512;
/// How long an attempt waits that found no room.
const PAUSE: Duration = Duration::from_millis(5);
