//! Echo on mio: one thread, connections in a vector indexed by token, one read buffer for all.
//! `mio-echo HOST:PORT`; bytes read at a time by `ECHO_BUF`.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(usize::MAX - 1);

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).and_then(|a| a.parse().ok());
    let address = address.ok_or_else(|| io::Error::other("usage: mio-echo HOST:PORT"))?;
    let size = std::env::var("ECHO_BUF").ok().and_then(|v| v.parse().ok()).unwrap_or(4096);
    let mut buf = vec![0; size];
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(poll.registry(), &listener, &mut conns, &mut free)?;
                continue;
            }
            let index = event.token().0;
            let Some(conn) = &mut conns[index] else { continue };
            if !conn.turn(event, &mut buf) {
                conns[index] = None;
                free.push(index);
            }
        }
    }
}

struct Conn {
    stream: TcpStream,
    /// Bytes that the socket did not take.
    pending: Vec<u8>,
}

impl Conn {
    /// Edge-triggered: writes what is pending, then reads until drained or blocked; false when the connection is over.
    #[inline]
    fn turn(&mut self, event: &Event, buf: &mut [u8]) -> bool {
        loop {
            if !self.pending.is_empty() {
                match self.stream.write(&self.pending) {
                    Ok(n) => drop(self.pending.drain(..n)),
                    Err(e) => return e.kind() == ErrorKind::WouldBlock,
                }
                continue;
            }
            let received = match self.stream.read(buf) {
                Ok(0) => return false,
                Ok(n) => n,
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            };
            let sent = match self.stream.write(&buf[..received]) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            };
            if sent < received {
                self.pending.extend_from_slice(&buf[sent..received]);
            } else if received < buf.len() && !event.is_read_closed() {
                // A short read: the socket is drained.
                return true;
            }
        }
    }
}

fn accept(
    registry: &Registry,
    listener: &TcpListener,
    conns: &mut Vec<Option<Conn>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        let index = free.pop().unwrap_or_else(|| {
            conns.push(None);
            conns.len() - 1
        });
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        conns[index] = Some(Conn { stream, pending: Vec::new() });
    }
    Ok(())
}
