//! Echo on calloop: one source and callback per connection, edge-triggered, one read buffer for all.
//! `calloop-echo HOST:PORT`; bytes read at a time by `ECHO_BUF`.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

/// What every callback is shown: the read buffer.
type Shared = Vec<u8>;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: calloop-echo HOST:PORT")?;
    let size = std::env::var("ECHO_BUF").ok().and_then(|v| v.parse().ok()).unwrap_or(4096);
    let mut events: EventLoop<'static, Shared> = EventLoop::try_new()?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let handle = events.handle();
    events.handle().insert_source(
        Generic::new(listener, Interest::READ, Mode::Level),
        move |_, listener, _| accept(&handle, listener),
    )?;
    events.run(None, &mut vec![0; size], |_| {})?;
    Ok(())
}

fn accept(handle: &LoopHandle<'static, Shared>, listener: &TcpListener) -> io::Result<PostAction> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut pending = Vec::new();
        let source = Generic::new(stream, Interest::BOTH, Mode::Edge);
        let inserted = handle.insert_source(source, move |_, stream, buf: &mut Shared| {
            Ok(match turn(stream, &mut pending, buf) {
                true => PostAction::Continue,
                false => PostAction::Remove,
            })
        });
        inserted.map_err(|e| io::Error::other(e.error))?;
    }
    Ok(PostAction::Continue)
}

/// Writes what is pending, then reads until drained or blocked; false when the connection is over.
#[inline]
fn turn(mut stream: &TcpStream, pending: &mut Vec<u8>, buf: &mut [u8]) -> bool {
    loop {
        if !pending.is_empty() {
            match stream.write(pending) {
                Ok(n) => drop(pending.drain(..n)),
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
            continue;
        }
        let received = match stream.read(buf) {
            Ok(0) => return false,
            Ok(n) => n,
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        };
        let sent = match stream.write(&buf[..received]) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        if sent < received {
            pending.extend_from_slice(&buf[sent..received]);
        } else if received < buf.len() {
            // A short read: the socket is drained.
            return true;
        }
    }
}
