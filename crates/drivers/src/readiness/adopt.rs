//! Taking over sockets that somebody else has opened: what they have to be, and what is set on them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use marline_core::Addr;
use marline_core::driver::{Adopt, Handle, OsError};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::Readiness;
use super::selector::{Interest, Selector};
use super::table::{Kind, Marks};
use crate::socket::{fault, local_addr, peer_addr};

impl<S: Selector> Readiness<S> {
    pub(super) fn take_over(
        &mut self,
        descriptor: OwnedFd,
        what: Adopt,
    ) -> Result<(Handle, Addr), (OsError, OwnedFd)> {
        let (family, bound) = match prepare(descriptor.as_fd(), what) {
            Ok(prepared) => prepared,
            Err(error) => return Err((error, descriptor)),
        };
        let handle = match what {
            Adopt::Datagrams => self.place_datagrams(descriptor, &bound),
            Adopt::Port => self.table.insert(descriptor, Kind::Port, Interest::READ),
            Adopt::Connection => {
                let is_unix = family == AddressFamily::UNIX;
                let kind = if is_unix { Kind::Unix } else { Kind::Stream };
                self.table.insert(descriptor, kind, Interest::NONE)
            }
        };
        if let Some(entry) = self.table.get_mut(handle) {
            entry.marks.set(Marks::ADOPTED);
        }
        self.touch(handle);
        Ok((handle, bound))
    }
}

/// Makes a socket one of ours, if it is what it is to be used as. Answers its family and where it is bound.
fn prepare(socket: BorrowedFd<'_>, what: Adopt) -> Result<(AddressFamily, Addr), OsError> {
    let kind = sockopt::socket_type(socket).map_err(fault)?;
    let family = sockopt::socket_domain(socket).map_err(fault)?;
    let known = [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX];
    let bound = local_addr(socket).filter(|_| known.contains(&family));
    let bound = bound.ok_or(OsError::UNSUPPORTED)?;
    let fits = match what {
        Adopt::Port => kind == SocketType::STREAM && listens(socket)?,
        Adopt::Connection => kind == SocketType::STREAM && peer_addr(socket).is_some(),
        Adopt::Datagrams => {
            kind == SocketType::DGRAM && (bound.ip().is_none() || bound.port() != 0)
        }
    };
    if !fits {
        return Err(OsError::UNSUPPORTED);
    }
    let own = || -> Result<(), Errno> {
        fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?;
        fcntl_setfd(socket, FdFlags::CLOEXEC)?;
        if kind == SocketType::STREAM && family != AddressFamily::UNIX {
            // As on the sockets that we open, and handed down to what a port accepts.
            sockopt::set_tcp_nodelay(socket, true)?;
        }
        Ok(())
    };
    own().map_err(fault)?;
    Ok((family, bound))
}

fn listens(socket: BorrowedFd<'_>) -> Result<bool, OsError> {
    sockopt::socket_acceptconn(socket).map_err(fault)
}
