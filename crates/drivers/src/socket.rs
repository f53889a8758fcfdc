//! Opening sockets and the small things drivers ask of them. What becomes of them lives with the drivers.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use marline_core::driver::{ConnectFault, ConnectOptions, ListenOptions, OsError, SocketOption};
use marline_core::{Addr, Time};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, connect, getpeername, getsockname,
    ipproto, listen, recv, socket_with, sockopt,
};
use rustix::time::{ClockId, clock_gettime};

use crate::datagram;
use crate::unix::addr;

/// Monotonic time of the kernel.
#[inline]
pub(crate) fn monotonic() -> Time {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part of this clock is ever negative.
    Time::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

pub(crate) fn fault(errno: Errno) -> OsError {
    OsError::from_raw(errno.raw_os_error())
}

/// A socket that listens, and the address it is bound to.
pub(crate) fn listening(
    addr: &Addr,
    options: &ListenOptions,
) -> Result<(OwnedFd, SocketAddr), OsError> {
    let addr = ip(addr)?;
    let socket = open(addr, SocketType::STREAM).map_err(fault)?;
    let bound = || -> Result<SocketAddr, Errno> {
        sockopt::set_socket_reuseaddr(&socket, options.reuse_address)?;
        shared(&socket, addr, options.reuse_port, options.only_v6)?;
        // Linux hands this one down to what is accepted.
        sockopt::set_tcp_nodelay(&socket, options.no_delay)?;
        bind(&socket, &addr)?;
        listen(&socket, i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        getsockname(&socket)?.try_into()
    };
    let bound = bound().map_err(fault)?;
    Ok((socket, bound))
}

/// A socket that has begun to connect.
pub(crate) fn connecting(to: &Addr, options: &ConnectOptions) -> Result<OwnedFd, ConnectFault> {
    let to = ip(to).map_err(ConnectFault::Connect)?;
    let refused = |errno| ConnectFault::Connect(fault(errno));
    let socket = open(to, SocketType::STREAM).map_err(refused)?;
    sockopt::set_tcp_nodelay(&socket, options.no_delay).map_err(refused)?;
    if let Some(local) = &options.bind {
        let local = ip(local).map_err(ConnectFault::Bind)?;
        sockopt::set_socket_reuseaddr(&socket, options.reuse_address)
            .and_then(|()| bind(&socket, &local))
            .map_err(|errno| ConnectFault::Bind(fault(errno)))?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(errno) => Err(refused(errno)),
    }
}

pub(crate) fn local_addr(socket: BorrowedFd<'_>) -> Option<Addr> {
    addr(getsockname(socket).ok()?)
}

pub(crate) fn peer_addr(socket: BorrowedFd<'_>) -> Option<Addr> {
    addr(getpeername(socket).ok()??)
}

pub(crate) fn set_option(socket: BorrowedFd<'_>, option: SocketOption) -> Result<(), OsError> {
    match option {
        SocketOption::NoDelay(on) => sockopt::set_tcp_nodelay(socket, on).map_err(fault),
        SocketOption::KeepAlive(on) => sockopt::set_socket_keepalive(socket, on).map_err(fault),
        _ => datagram::set_option(socket, option),
    }
}

pub(crate) fn option(
    socket: BorrowedFd<'_>,
    option: SocketOption,
) -> Result<SocketOption, OsError> {
    match option {
        SocketOption::NoDelay(_) => {
            sockopt::tcp_nodelay(socket).map(SocketOption::NoDelay).map_err(fault)
        }
        SocketOption::KeepAlive(_) => {
            sockopt::socket_keepalive(socket).map(SocketOption::KeepAlive).map_err(fault)
        }
        _ => datagram::option(socket, option),
    }
}

/// Takes the error that waits on a socket, if one does.
pub(crate) fn take_error(socket: BorrowedFd<'_>) -> Option<OsError> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(errno)) | Err(errno) => Some(fault(errno)),
    }
}

/// What a socket that the system reports an error of has.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// An error, which was taken.
    Error(OsError),
    /// Reports in a queue of their own (of refusals, of times), which somebody else has asked for: some were thrown away.
    Reports,
    Nothing,
}

/// Takes the error that waits on a socket. If there is none but a queue of reports, empties that, or it would end every wait: sockets that were
/// taken over may have one.
#[cold]
pub(crate) fn take_any_error(socket: BorrowedFd<'_>) -> Waiting {
    if let Some(error) = take_error(socket) {
        return Waiting::Error(error);
    }
    let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
    for thrown_away in 0..REPORTS {
        if recv(socket, &mut [0_u8; 1], flags).is_err() {
            return if thrown_away == 0 { Waiting::Nothing } else { Waiting::Reports };
        }
    }
    Waiting::Reports
}

/// The only addresses these sockets have.
pub(crate) fn ip(addr: &Addr) -> Result<SocketAddr, OsError> {
    addr.ip().ok_or(OsError::new(ErrorKind::Unsupported))
}

pub(crate) fn open(addr: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match (addr, kind) {
        (SocketAddr::V4(_), SocketType::STREAM) => (AddressFamily::INET, ipproto::TCP),
        (SocketAddr::V6(_), SocketType::STREAM) => (AddressFamily::INET6, ipproto::TCP),
        (SocketAddr::V4(_), _) => (AddressFamily::INET, ipproto::UDP),
        (SocketAddr::V6(_), _) => (AddressFamily::INET6, ipproto::UDP),
    };
    socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, Some(protocol))
}

pub(crate) fn shared(
    socket: &OwnedFd,
    addr: SocketAddr,
    reuse_port: bool,
    only_v6: bool,
) -> Result<(), Errno> {
    if reuse_port {
        sockopt::set_socket_reuseport(socket, true)?;
    }
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(socket.as_fd(), only_v6)?;
    }
    Ok(())
}

/// How many reports are thrown away at a time; the next wait finds the rest.
const REPORTS: usize = 64;
