//! Echo on bare `epoll(7)` with libc, one thread, level-triggered: what readiness can cost at least.
//! `raw-epoll HOST:PORT`; bytes read at a time by `ECHO_BUF`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;

mod sys;

use sys::Epoll;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).and_then(|a| a.parse::<SocketAddrV4>().ok());
    let address = address.ok_or_else(|| io::Error::other("usage: raw-epoll HOST:PORT"))?;
    let size = std::env::var("ECHO_BUF").ok().and_then(|v| v.parse().ok()).unwrap_or(4096);
    let listener = sys::listen(address)?;
    let epoll = Epoll::new()?;
    epoll.add(listener, libc::EPOLLIN)?;

    let mut conns: Vec<Conn> = Vec::new();
    let mut buf = vec![0; size];
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    loop {
        for event in epoll.wait(&mut events)? {
            let fd = event.u64 as i32;
            if fd == listener {
                accept(&epoll, listener, &mut conns)?;
                continue;
            }
            let conn = &mut conns[fd as usize];
            if !conn.turn(&epoll, fd, &mut buf)? {
                *conn = Conn::default();
                sys::close(fd);
            }
        }
    }
}

/// One connection; the table's index is the descriptor.
#[derive(Default)]
struct Conn {
    /// Bytes that the socket did not take. While there are any, nothing more is read.
    #[allow(clippy::box_collection, reason = "8 bytes in an idle connection instead of 32")]
    pending: Option<Box<VecDeque<u8>>>,
}

impl Conn {
    /// Serves one readiness; false when the connection is over.
    #[inline]
    fn turn(&mut self, epoll: &Epoll, fd: i32, buf: &mut [u8]) -> io::Result<bool> {
        if self.pending.is_some() {
            match self.flush(fd) {
                Some(true) => epoll.modify(fd, libc::EPOLLIN)?,
                Some(false) => return Ok(true),
                None => return Ok(false),
            }
        }
        let Some(received) = sys::recv(fd, buf) else { return Ok(sys::would_block()) };
        if received == 0 {
            return Ok(false);
        }
        let sent = match sys::send(fd, &buf[..received]) {
            Some(n) => n,
            None if sys::would_block() => 0,
            None => return Ok(false),
        };
        if sent < received {
            self.pending = Some(Box::new(buf[sent..received].to_vec().into()));
            epoll.modify(fd, libc::EPOLLOUT)?;
        }
        Ok(true)
    }

    /// Writes what is pending: whether all of it left, or `None` when the connection has failed.
    #[cold]
    fn flush(&mut self, fd: i32) -> Option<bool> {
        while let Some(pending) = &mut self.pending {
            match sys::send(fd, pending.as_slices().0) {
                Some(n) => drop(pending.drain(..n)),
                None => return sys::would_block().then_some(false),
            }
            if pending.is_empty() {
                self.pending = None;
            }
        }
        Some(true)
    }
}

fn accept(epoll: &Epoll, listener: i32, conns: &mut Vec<Conn>) -> io::Result<()> {
    while let Some(fd) = sys::accept(listener) {
        while conns.len() <= fd as usize {
            conns.push(Conn::default());
        }
        epoll.add(fd, libc::EPOLLIN)?;
    }
    Ok(())
}
