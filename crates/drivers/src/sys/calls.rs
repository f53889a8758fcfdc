//! The system calls that move data and accept connections: rustix's and libc's own, which tests of this crate can have fail as the kernel
//! fails when it is out of memory. It cannot be asked to.

#[cfg(not(test))]
pub(super) use libc::sendmmsg;
#[cfg(not(test))]
pub(crate) use rustix::{
    fs::sendfile,
    net::{acceptfrom_with, send, sendmsg},
};

#[cfg(test)]
pub(super) use failing::sendmmsg;
#[cfg(test)]
pub(crate) use failing::{acceptfrom_with, fail, faults_left, send, sendfile, sendmsg};

#[cfg(test)]
mod failing {
    use std::cell::Cell;
    use std::io::IoSlice;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::io::Errno;
    use rustix::net::{SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketFlags};

    thread_local! {
        static FAULTS: Cell<(usize, Errno)> = const { Cell::new((0, Errno::NOBUFS)) };
    }

    /// Has so many of the next of these calls in this thread fail, after which they work again.
    pub(crate) fn fail(times: usize, errno: Errno) {
        FAULTS.set((times, errno));
    }

    /// How many of them are still to fail.
    pub(crate) fn faults_left() -> usize {
        FAULTS.get().0
    }

    fn fault() -> Result<(), Errno> {
        let (left, errno) = FAULTS.get();
        if left == 0 {
            return Ok(());
        }
        FAULTS.set((left - 1, errno));
        Err(errno)
    }

    pub(crate) fn send(fd: impl AsFd, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
        fault()?;
        rustix::net::send(fd, bytes, flags)
    }

    pub(crate) fn sendmsg(
        fd: impl AsFd,
        pieces: &[IoSlice<'_>],
        control: &mut SendAncillaryBuffer<'_, '_, '_>,
        flags: SendFlags,
    ) -> Result<usize, Errno> {
        fault()?;
        rustix::net::sendmsg(fd, pieces, control, flags)
    }

    pub(crate) fn sendfile(
        to: impl AsFd,
        from: impl AsFd,
        offset: Option<&mut u64>,
        count: usize,
    ) -> Result<usize, Errno> {
        fault()?;
        rustix::fs::sendfile(to, from, offset, count)
    }

    pub(crate) fn acceptfrom_with(
        port: impl AsFd,
        flags: SocketFlags,
    ) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
        fault()?;
        rustix::net::acceptfrom_with(port, flags)
    }

    /// As libc's.
    ///
    /// # Safety
    ///
    /// What libc's asks for: as many headers as are said, and all that they point to.
    pub(crate) unsafe fn sendmmsg(
        fd: libc::c_int,
        headers: *mut libc::mmsghdr,
        count: libc::c_uint,
        flags: libc::c_int,
    ) -> libc::c_int {
        if let Err(errno) = fault() {
            // SAFETY: it points to this thread's own errno, always.
            unsafe { *libc::__errno_location() = errno.raw_os_error() };
            return -1;
        }
        // SAFETY: what the caller promises.
        unsafe { libc::sendmmsg(fd, headers, count, flags) }
    }
}
