//! Listening ports: accepting in bounded shares, and surviving the lack of descriptors.
//!
//! A client for which there is no descriptor would stay in the queue and make every wait return at once. So one descriptor is kept in
//! reserve: it is given up for a moment, the client accepted and closed. If even that fails the port rests for a while.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use marline_core::driver::{Completion, Handle, ListenOptions, OsError};
use marline_core::{Addr, Time};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::Readiness;
use super::selector::{Interest, Selector};
use super::table::{Kind, Marks};
use crate::socket::{fault, listening, monotonic};
use crate::sys::calls::acceptfrom_with;

/// Ports that could not accept, attempts to connect that found no room, and output for which the system had no memory: to be tried again.
#[derive(Debug, Default)]
pub(super) struct Resting {
    /// In the order of their times.
    queue: Vec<(Time, Handle)>,
}

impl Resting {
    pub(super) fn first(&self) -> Option<Time> {
        self.queue.first().map(|&(until, _)| until)
    }

    pub(super) fn push(&mut self, until: Time, handle: Handle) {
        let place = self.queue.partition_point(|&(other, _)| other <= until);
        self.queue.insert(place, (until, handle));
    }
}

impl<S: Selector> Readiness<S> {
    pub(super) fn open_port(
        &mut self,
        addr: &Addr,
        options: &ListenOptions,
    ) -> Result<(Handle, Addr), OsError> {
        if let Addr::Unix(path) = addr {
            return self.open_unix_port(path, options);
        }
        let (socket, bound) = listening(addr, options)?;
        let port = self.table.insert(socket, Kind::Port, Interest::READ);
        self.touch(port);
        Ok((port, Addr::Ip(bound)))
    }

    /// Accepts one connection. Called again for the same event until the queue is empty or the port's share used up.
    pub(super) fn accept(&mut self, port: Handle) -> Option<Completion> {
        let entry = self.table.get_mut(port)?;
        let stopped =
            entry.marks.any(Marks::BROKEN.both(Marks::RESTING)) || !entry.want.has(Interest::READ);
        if stopped || self.share == 0 {
            self.advance();
            return None;
        }
        self.share -= 1;
        match acceptfrom_with(entry.fd()?, FLAGS) {
            Ok((socket, peer)) => {
                entry.marks.unset(Marks::REFUSING);
                // What has no IP address is a UNIX stream.
                let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                let kind = if peer.is_some() { Kind::Stream } else { Kind::Unix };
                let conn = self.table.insert(socket, kind, Interest::NONE);
                self.touch(conn);
                self.accepted_from = peer.map(|peer| (conn, peer));
                Some(Completion::Accepted { port, conn })
            }
            Err(errno) => self.not_accepted(port, errno),
        }
    }

    #[cold]
    fn not_accepted(&mut self, port: Handle, errno: Errno) -> Option<Completion> {
        match errno {
            Errno::AGAIN | Errno::INTR => {
                self.advance();
                None
            }
            // That one connection is gone, by its peer, a firewall or the network: accept(2) says to go on.
            Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOPROTOOPT
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT => None,
            Errno::MFILE | Errno::NFILE => {
                if !self.turn_away(port) {
                    self.rest(port);
                }
                self.refusing(port, errno)
            }
            Errno::NOBUFS | Errno::NOMEM => {
                self.rest(port);
                self.refusing(port, errno)
            }
            _ => {
                self.advance();
                self.failed(port, fault(errno))
            }
        }
    }

    /// Accepts and closes one client with the descriptor kept in reserve; whether that worked and can be done again.
    fn turn_away(&mut self, port: Handle) -> bool {
        let Some(reserve) = self.reserve.take() else { return false };
        drop(reserve);
        let fd = self.table.get(port).and_then(|entry| entry.fd());
        let gone = match fd.map(|fd| accept_with(fd, FLAGS)) {
            Some(Ok(client)) => {
                drop(client);
                true
            }
            // It left by itself.
            Some(Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR)) => true,
            _ => false,
        };
        self.reserve = reserve_now();
        gone && self.reserve.is_some()
    }

    /// Takes a port out of the selector for a while.
    fn rest(&mut self, port: Handle) {
        self.advance();
        if let Some(entry) = self.table.get_mut(port) {
            entry.marks.set(Marks::RESTING);
            self.touch(port);
            self.resting.push(monotonic() + PAUSE, port);
        }
    }

    /// Says that a port cannot accept: once, until it has accepted again, however many clients knock.
    fn refusing(&mut self, port: Handle, errno: Errno) -> Option<Completion> {
        let entry = self.table.get_mut(port)?;
        if entry.marks.any(Marks::REFUSING) {
            return None;
        }
        entry.marks.set(Marks::REFUSING);
        Some(Completion::AcceptFailed { port, error: fault(errno) })
    }

    /// Lets those try again whose pause is over.
    pub(super) fn wake_resting(&mut self, now: Time) {
        if self.reserve.is_none() {
            self.reserve = reserve_now();
        }
        while let Some(&(until, handle)) = self.resting.queue.first()
            && until <= now
        {
            self.resting.queue.remove(0);
            let Some(entry) = self.table.get_mut(handle) else { continue };
            entry.marks.unset(Marks::RESTING);
            if entry.kind == Kind::Connecting {
                self.knock_again(handle);
            }
            self.touch(handle);
        }
    }
}

/// Takes a descriptor that serves no purpose but to be given up.
pub(super) fn reserve() -> Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC)
}

fn reserve_now() -> Option<OwnedFd> {
    reserve().ok()
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
/// How many connections a port may accept before the others have their turn.
pub(super) const SHARE: u32 = 64;
/// How long a port rests that could not accept.
const PAUSE: Duration = Duration::from_millis(100);
