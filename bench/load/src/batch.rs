//! `sendmmsg(2)` and `recvmmsg(2)` on connected sockets, or `UDP_SEGMENT` and `UDP_GRO`: so that this side is not the slower one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, RecvFlags};

/// The one control message there is.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    segment: u16,
}

/// Room for so many datagrams of one length.
pub(crate) struct Batch {
    size: usize,
    bytes: Vec<u8>,
    /// Whether the kernel is to cut and to join.
    offload: bool,
}

impl Batch {
    pub(crate) fn new(most: usize, size: usize, offload: bool) -> Self {
        Self { size, bytes: vec![0; (most * size).max(65_536)], offload }
    }

    /// Has a socket hand over together what arrived together, if that is asked for.
    pub(crate) fn prepare(&self, fd: &OwnedFd) -> io::Result<()> {
        if !self.offload {
            return Ok(());
        }
        let on: libc::c_int = 1;
        // SAFETY: `on` outlives the call; its size is passed.
        let set = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_GRO,
                (&raw const on).cast(),
                4,
            )
        };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The datagram at a place.
    pub(crate) fn datagram(&mut self, at: usize) -> &mut [u8] {
        &mut self.bytes[at * self.size..(at + 1) * self.size]
    }

    /// Sends the first `count`; how many have left.
    pub(crate) fn send(&mut self, fd: &OwnedFd, count: usize) -> io::Result<usize> {
        if self.offload {
            return self.send_joined(fd, count);
        }
        self.call(fd, count, |fd, headers| {
            // SAFETY: each header points to one iovec, and that to bytes of `self`; both outlive the call, which only reads them.
            unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), headers.len() as u32, 0) }
        })
    }

    /// Receives at most `most`; how many there are.
    pub(crate) fn receive(&mut self, fd: &OwnedFd, most: usize) -> io::Result<usize> {
        if self.offload {
            // All are of one length: there is no need to ask for it.
            return match net::recv(fd, &mut self.bytes[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => Ok(len / self.size),
                Err(Errno::AGAIN) => Ok(0),
                Err(error) => Err(error.into()),
            };
        }
        self.call(fd, most, |fd, headers| {
            let (count, null) = (headers.len() as u32, std::ptr::null_mut());
            // SAFETY: each header points to one iovec, and that to bytes of `self` that are borrowed exclusively; both outlive the call.
            unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, null) }
        })
    }

    /// Sends as many in a call as the kernel cuts out of one message.
    fn send_joined(&mut self, fd: &OwnedFd, count: usize) -> io::Result<usize> {
        let most = (65_507 / self.size).min(64);
        let mut control = Control {
            // SAFETY: a header is numbers only.
            header: unsafe { std::mem::zeroed() },
            segment: self.size as u16,
        };
        control.header.cmsg_len = size_of::<libc::cmsghdr>() + size_of::<u16>();
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        let mut sent = 0;
        while sent < count {
            let some = most.min(count - sent);
            let piece = &mut self.bytes[sent * self.size..(sent + some) * self.size];
            let mut piece =
                libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() };
            // SAFETY: a header of zeros is one without a name, pieces and control messages.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            header.msg_iov = &raw mut piece;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = size_of::<Control>();
            // SAFETY: the header points to one iovec, that to bytes of `self`, and to a whole control message; all outlive the call.
            if unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, 0) } < 0 {
                return match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => Ok(sent),
                    error => Err(error),
                };
            }
            sent += some;
        }
        Ok(sent)
    }

    fn call(
        &mut self,
        fd: &OwnedFd,
        count: usize,
        call: impl FnOnce(i32, &mut [libc::mmsghdr]) -> i32,
    ) -> io::Result<usize> {
        let mut pieces: Vec<libc::iovec> = self
            .bytes
            .chunks_mut(self.size)
            .take(count)
            .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: a header of zeros is one without a name, pieces and control messages.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = piece;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        match usize::try_from(call(fd.as_raw_fd(), &mut headers)) {
            Ok(done) => Ok(done),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }
}
