//! Connections as streams of bytes for async code: exchanges, ends, back-pressure, taking over. What does not depend on drivers is tested
//! beside the code, in core.

mod ends;
mod exchanges;
mod pressure;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use marline_core::stream::{ByteStream, serve};
use marline_core::{Addr, Port, Reactor};

use crate::streams::kit::turn_until;

/// Runs a future to its end.
#[track_caller]
fn run<T: 'static>(reactor: &Reactor, what: &str, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    reactor.spawn(async move { *place.borrow_mut() = Some(future.await) }).ignore();
    turn_until(reactor, what, || result.borrow().is_some());
    result.take().unwrap()
}

/// Gives back what comes, until the peer sends no more.
async fn echo(mut stream: ByteStream) -> io::Result<()> {
    let mut buffer = [0; 10_000];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            len => stream.write_all(&buffer[..len]).await?,
        }
    }
}

/// Reads to the end.
async fn read_all(stream: &mut ByteStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while stream.reader().fill().await? > 0 {
        all.extend_from_slice(stream.reader().buffered());
        stream.reader().consume(usize::MAX);
    }
    Ok(all)
}

#[track_caller]
fn connect(reactor: &Reactor, to: &Addr) -> ByteStream {
    let connecting = reactor.connect_stream(to);
    run(reactor, "the connection", connecting).unwrap()
}

/// Two ends of one connection on one reactor, and the port between them.
#[track_caller]
fn pair(reactor: &Reactor) -> (ByteStream, ByteStream, Port) {
    let accepted = Rc::new(RefCell::new(None));
    let place = Rc::clone(&accepted);
    let session = move |stream| {
        *place.borrow_mut() = Some(stream);
        std::future::ready(())
    };
    let port = reactor.listen_tcp("127.0.0.1:0", serve(session)).unwrap();
    let client = connect(reactor, &port.local_addr());
    turn_until(reactor, "the other end", || accepted.borrow().is_some());
    (client, accepted.take().unwrap(), port)
}
