//! Connections and readiness: a thin layer over rustix, without errors that only mean "not now".

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::Options;

/// A non-blocking socket on its way to the server (on loopback normally there already); `serial` picks the source address.
pub(crate) fn connect(o: &Options, serial: usize) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if o.sources > 1 {
        let source = u32::from(Ipv4Addr::LOCALHOST) + serial as u32 % o.sources;
        net::bind(&fd, &SocketAddrV4::new(source.into(), 0))?;
    }
    match net::connect(&fd, &o.address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(e) => Err(io::Error::other(format!("connect to {}: {e}", o.address))),
    }
}

/// Sends what goes now; 0 when the socket takes nothing.
pub(crate) fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::NOTCONN) => Ok(0),
        result => Ok(result?),
    }
}

/// Receives what is there: `None` for nothing now. The end of the stream is an error: no server here may close first.
pub(crate) fn recv(fd: &OwnedFd, buf: &mut [u8]) -> io::Result<Option<usize>> {
    match net::recv(fd, &mut *buf, RecvFlags::empty()) {
        Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok((n, _)) => Ok(Some(n)),
        Err(Errno::AGAIN) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// An epoll set, edge-triggered; the data word is an index of the caller's.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    events: Vec<MaybeUninit<epoll::Event>>,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: vec![MaybeUninit::uninit(); 1024] })
    }

    /// Watches `fd` for input, and for room for output if `output`.
    pub(crate) fn add(&self, fd: &OwnedFd, index: usize, output: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        flags.set(epoll::EventFlags::OUT, output);
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(index as u64), flags)?)
    }

    /// What is ready, after waiting for at most 100 ms if `patient`, else at once.
    pub(crate) fn wait(
        &mut self,
        patient: bool,
    ) -> io::Result<impl Iterator<Item = Ready> + use<'_>> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: if patient { 100_000_000 } else { 0 } };
        let ready: &mut [epoll::Event] =
            match epoll::wait(&self.epoll, &mut self.events[..], Some(&timeout)) {
                Ok((ready, _)) => ready,
                Err(Errno::INTR) => &mut [],
                Err(e) => return Err(e.into()),
            };
        Ok(ready.iter().map(|event| {
            let flags = event.flags;
            Ready {
                index: event.data.u64() as usize,
                input: flags.intersects(
                    epoll::EventFlags::IN | epoll::EventFlags::ERR | epoll::EventFlags::HUP,
                ),
                output: flags.contains(epoll::EventFlags::OUT),
            }
        }))
    }
}

/// One event.
pub(crate) struct Ready {
    pub(crate) index: usize,
    pub(crate) input: bool,
    pub(crate) output: bool,
}
