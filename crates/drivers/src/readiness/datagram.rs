//! Datagram sockets: one datagram a call, sent or dropped at once.

use std::io::IoSlice;

use marline_core::Addr;
use marline_core::driver::{Completion, DatagramOptions, Handle, OsError};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recvfrom, sendmsg, sendmsg_addr};

use super::Readiness;
use super::selector::{Interest, Ready, Selector};
use super::table::{Kind, Marks};
use crate::socket::{datagrams, fault, ip, take_error};

impl<S: Selector> Readiness<S> {
    pub(super) fn open_datagrams(
        &mut self,
        addr: &Addr,
        options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        let (socket, bound) = datagrams(addr, options)?;
        let socket = self.table.insert(socket, Kind::Datagram, Interest::READ);
        self.touch(socket);
        Ok((socket, Addr::Ip(bound)))
    }

    pub(super) fn datagram_ready(&mut self, socket: Handle, ready: Ready) -> Option<Completion> {
        let entry = self.table.get(socket)?;
        let fd = entry.fd()?;
        if !entry.reads() {
            // An error is taken also while nothing is received, or it would end every wait.
            if ready.failed()
                && let Some(error) = take_error(fd)
            {
                return Some(Completion::DatagramFailed { socket, error });
            }
            if ready.failed() || ready.hung_up() {
                self.hung_up(socket);
            }
            return None;
        }
        self.chunk.resize(CHUNK, 0);
        match recvfrom(fd, &mut *self.chunk, RecvFlags::empty()) {
            Ok((len, _, from)) => {
                self.datagram_from =
                    from.and_then(|from| from.try_into().ok()).map(|from| (socket, from));
                Some(Completion::Datagrams { socket, chunk: 0, len, segment: len })
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(errno @ (Errno::BADF | Errno::NOTSOCK | Errno::INVAL | Errno::FAULT)) => {
                self.failed(socket, fault(errno))
            }
            Err(errno) => Some(Completion::DatagramFailed { socket, error: fault(errno) }),
        }
    }

    pub(super) fn send_one(
        &mut self,
        socket: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        let entry = self
            .table
            .live(socket)
            .filter(|entry| entry.kind == Kind::Datagram && !entry.marks.any(Marks::BROKEN))
            .ok_or(OsError::STALE)?;
        let fd = entry.fd().ok_or(OsError::STALE)?;
        let mut control = SendAncillaryBuffer::default();
        let sent = match to {
            Some(to) => sendmsg_addr(fd, &ip(to)?, parts, &mut control, FLAGS),
            None => sendmsg(fd, parts, &mut control, FLAGS),
        };
        sent.map(drop).map_err(fault)
    }
}

/// The longest datagram.
const CHUNK: usize = 65_536;
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
