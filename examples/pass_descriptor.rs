//! A port that outlives its servers. `pass_descriptor front 127.0.0.1:8000 /tmp/front.socket` opens it and passes it to whoever connects to
//! the UNIX socket; `pass_descriptor worker /tmp/front.socket` takes it and serves. Start as many workers as you like, kill one, start a newer
//! one: no client is refused as long as one is there, and those that come when none is wait.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use marline::driver::{ListenOptions, SocketFile};
use marline::{CloseReason, Protocol, Reactor, Transport};
use marline_examples::Args;

/// A worker, as the front sees it.
struct Front {
    listener: Rc<TcpListener>,
}

impl Protocol for Front {
    fn connection_made(&mut self, transport: &Transport) {
        let Ok(copy) = self.listener.try_clone() else { return transport.abort_connection() };
        if transport.send_descriptor(copy.into()).is_ok() {
            // The byte that it rides on.
            transport.write(b".");
        }
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

/// The front, as a worker sees it.
struct Worker;

impl Protocol for Worker {
    fn descriptor_received(&mut self, transport: &Transport, descriptor: OwnedFd) {
        let Some(reactor) = transport.reactor() else { return };
        match reactor.adopt_port(descriptor, || Greeter) {
            Ok(port) => println!("worker {} serves {}", std::process::id(), port.local_addr()),
            Err(error) => eprintln!("{error}"),
        }
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        if !reason.is_clean() {
            eprintln!("front: {reason}");
        }
    }
}

/// A client, as a worker sees it.
struct Greeter;

impl Protocol for Greeter {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(format!("hello from {}\r\n", std::process::id()).as_bytes());
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

fn front(reactor: &Reactor, listen: SocketAddr, path: &str) -> Result<(), Box<dyn Error>> {
    let listener = Rc::new(TcpListener::bind(listen)?);
    let addr = listener.local_addr()?;
    // Whoever may connect gets the port: nobody but this user.
    let file = SocketFile { mode: Some(0o600), ..Default::default() };
    let options = ListenOptions { file, ..Default::default() };
    let factory = move || Front { listener: Rc::clone(&listener) };
    reactor.listen_unix_with(path, factory, options)?;
    println!("front on {addr}");
    Ok(())
}

fn worker(reactor: &Reactor, path: &str) {
    let remote = reactor.remote();
    reactor.connect_unix(path, Worker).done(move |connected| {
        if let Err(error) = connected {
            eprintln!("{error}");
            remote.stop();
        }
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("pass_descriptor front LISTEN-ADDRESS PATH | worker PATH");
    let what: String = args.required();
    let listen: Option<SocketAddr> = match &*what {
        "front" => Some(args.required()),
        "worker" => None,
        _ => args.refuse(&format!("{what:?} is neither front nor worker")),
    };
    let path: String = args.required();
    args.end();
    let reactor = marline::reactor()?;
    match listen {
        Some(listen) => front(&reactor, listen, &path)?,
        None => worker(&reactor, &path),
    }
    Ok(reactor.run()?)
}
