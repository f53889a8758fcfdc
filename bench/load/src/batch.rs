//! `sendmmsg(2)` and `recvmmsg(2)` on connected sockets, or `UDP_SEGMENT` and `UDP_GRO`: so that this side is not the slower one.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, recv, recvmmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};

/// Room for so many datagrams of one length.
pub(crate) struct Batch {
    size: usize,
    bytes: Vec<u8>,
    headers: MultiHeaders<()>,
    /// Whether the kernel is to cut and to join.
    offload: bool,
}

impl Batch {
    pub(crate) fn new(most: usize, size: usize, offload: bool) -> Self {
        let bytes = vec![0; (most * size).max(65_536)];
        Self { size, bytes, headers: MultiHeaders::preallocate(most, None), offload }
    }

    /// Has a socket hand over together what arrived together, if that is asked for.
    pub(crate) fn prepare(&self, fd: &OwnedFd) -> io::Result<()> {
        if self.offload {
            setsockopt(fd, sockopt::UdpGroSegment, &true)?;
        }
        Ok(())
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
        let datagrams = self.bytes.chunks(self.size).take(count);
        let pieces: Vec<[IoSlice<'_>; 1]> =
            datagrams.map(|datagram| [IoSlice::new(datagram)]).collect();
        let to = vec![None; pieces.len()];
        let flags = MsgFlags::empty();
        done(
            sendmmsg(fd.as_raw_fd(), &mut self.headers, &pieces, to, [], flags)
                .map(|sent| sent.count()),
        )
    }

    /// Receives at most `most`; how many there are.
    pub(crate) fn receive(&mut self, fd: &OwnedFd, most: usize) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT;
        if self.offload {
            // All are of one length: there is no need to ask for it.
            let len = recv(fd.as_raw_fd(), &mut self.bytes, flags);
            return done(len.map(|len| len / self.size));
        }
        let places = self.bytes.chunks_mut(self.size).take(most);
        let mut pieces: Vec<[IoSliceMut<'_>; 1]> =
            places.map(|place| [IoSliceMut::new(place)]).collect();
        done(
            recvmmsg(fd.as_raw_fd(), &mut self.headers, pieces.iter_mut(), flags, None)
                .map(|received| received.count()),
        )
    }

    /// Sends as many in a call as the kernel cuts out of one message.
    fn send_joined(&self, fd: &OwnedFd, count: usize) -> io::Result<usize> {
        let most = (65_507 / self.size).min(64);
        let segment = [ControlMessage::UdpGsoSegments(&(self.size as u16))];
        let mut sent = 0;
        while sent < count {
            let some = most.min(count - sent);
            let piece = [IoSlice::new(&self.bytes[sent * self.size..(sent + some) * self.size])];
            let flags = MsgFlags::empty();
            match sendmsg(fd.as_raw_fd(), &piece, &segment, flags, None::<&()>) {
                Ok(_) => sent += some,
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }
}

/// None is an answer as well.
fn done(result: nix::Result<usize>) -> io::Result<usize> {
    match result {
        Err(Errno::EAGAIN) => Ok(0),
        other => Ok(other?),
    }
}
