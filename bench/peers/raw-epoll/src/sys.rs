//! The system calls, each a function of a line or two that the compiler inlines. Nothing else here is unsafe.

use std::io;
use std::net::SocketAddrV4;

use libc::c_int;

/// A listening socket: non-blocking, address reused.
pub(crate) fn listen(address: SocketAddrV4) -> io::Result<c_int> {
    // SAFETY: no pointers are passed.
    let fd = check(unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0)
    })?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: `name` is a whole sockaddr_in and outlives the call; its size is passed.
    check(unsafe { libc::bind(fd, (&raw const name).cast(), size_of_val(&name) as u32) })?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::listen(fd, 4096) })?;
    Ok(fd)
}

/// The next connection, non-blocking and without Nagle's delay; `None` when there is none now.
pub(crate) fn accept(listener: c_int) -> Option<c_int> {
    let (null, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    // SAFETY: null for the peer's address is allowed: it is not wanted.
    let fd = check(unsafe { libc::accept4(listener, null, std::ptr::null_mut(), flags) }).ok()?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY).ok()?;
    Some(fd)
}

/// Receives into `buf`; `None` on an error: ask [`would_block`] at once.
#[inline]
pub(crate) fn recv(fd: c_int, buf: &mut [u8]) -> Option<usize> {
    // SAFETY: pointer and length are those of one live slice that nothing else uses meanwhile.
    let n = unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), 0) };
    usize::try_from(n).ok()
}

/// Sends from `bytes`; `None` on an error: ask [`would_block`] at once.
#[inline]
pub(crate) fn send(fd: c_int, bytes: &[u8]) -> Option<usize> {
    // SAFETY: pointer and length are those of one live slice.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    usize::try_from(n).ok()
}

/// Whether the last call failed only for now.
pub(crate) fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

pub(crate) fn close(fd: c_int) {
    // SAFETY: no pointers are passed; the caller owns `fd` and forgets it.
    unsafe { libc::close(fd) };
}

/// An epoll descriptor; the data word of an event is the descriptor it is about.
pub(crate) struct Epoll(c_int);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    pub(crate) fn add(&self, fd: c_int, bits: c_int) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, bits)
    }

    pub(crate) fn modify(&self, fd: c_int, bits: c_int) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, bits)
    }

    /// Waits for as long as it takes.
    #[inline]
    pub(crate) fn wait<'a>(
        &self,
        events: &'a mut [libc::epoll_event],
    ) -> io::Result<&'a [libc::epoll_event]> {
        // SAFETY: pointer and length are those of one live slice that nothing else uses meanwhile.
        let n = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as c_int, -1) };
        match check(n) {
            Ok(n) => Ok(&events[..n as usize]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(e) => Err(e),
        }
    }

    fn control(&self, operation: c_int, fd: c_int, bits: c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits as u32, u64: fd as u64 };
        // SAFETY: `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.0, operation, fd, &raw mut event) }).map(drop)
    }
}

fn set_option(fd: c_int, level: c_int, name: c_int) -> io::Result<()> {
    let one: c_int = 1;
    // SAFETY: `one` outlives the call; its size is passed.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const one).cast(), 4) }).map(drop)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
