//! Sockets that somebody else has opened.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::{Addr, AdoptCause, Factory, Link, Reactor};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketType, socket};

use super::{Folder, unix};
use crate::streams::kit::{Outcome, Probe, connect, started, turn_until};

fn open_file() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Tries to adopt; the descriptor has to come back as it was.
#[track_caller]
fn refused_port(reactor: &Reactor, descriptor: impl Into<OwnedFd>) -> AdoptCause {
    let descriptor = descriptor.into();
    let number = descriptor.as_raw_fd();
    let error = reactor.adopt_port(descriptor, Probe::new).unwrap_err();
    assert_eq!(error.descriptor.as_raw_fd(), number);
    fcntl_getfd(&error.descriptor).unwrap();
    error.cause
}

#[track_caller]
fn refused_connection(reactor: &Reactor, descriptor: impl Into<OwnedFd>) -> AdoptCause {
    let descriptor = descriptor.into();
    let number = descriptor.as_raw_fd();
    let error = reactor.adopt_connection(descriptor, Probe::new).unwrap_err();
    assert_eq!(error.descriptor.as_raw_fd(), number);
    fcntl_getfd(&error.descriptor).unwrap();
    error.cause
}

// 53
on_every_driver!(what_is_no_socket_and_what_is_of_another_kind_are_told_apart, |ground| {
    let reactor = started(ground);
    if ground.is_simulated() {
        // A descriptor of this process has no place in a simulated world.
        assert_eq!(refused_port(&reactor, open_file()), AdoptCause::Unsupported);
        assert_eq!(refused_connection(&reactor, open_file()), AdoptCause::Unsupported);
        return;
    }
    assert_eq!(refused_port(&reactor, open_file()), AdoptCause::NotASocket);
    assert_eq!(refused_connection(&reactor, open_file()), AdoptCause::NotASocket);
    let other = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    assert_eq!(refused_port(&reactor, other), AdoptCause::Unsupported);
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(refused_port(&reactor, datagrams), AdoptCause::Unsupported);
    assert_eq!(
        refused_connection(&reactor, UnixDatagram::pair().unwrap().0),
        AdoptCause::Unsupported
    );
    let idle = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    assert_eq!(refused_port(&reactor, idle()), AdoptCause::Unsupported);
    assert_eq!(refused_connection(&reactor, idle()), AdoptCause::Unsupported);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(refused_connection(&reactor, listener), AdoptCause::Unsupported);
    assert_eq!(refused_port(&reactor, tcp().0), AdoptCause::Unsupported);
});

on_every_driver!(an_adopted_port_serves_and_is_neither_blocking_nor_inherited, |ground| {
    if ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(addr) else { continue };
        let own: OwnedFd = listener.try_clone().unwrap().into();
        rustix::io::fcntl_setfd(&own, FdFlags::empty()).unwrap();
        let number = own.as_raw_fd();
        let greeter = || Probe::new().on_made(|transport| transport.write(b"hello"));
        let port = reactor.adopt_port(own, greeter).unwrap();
        assert_eq!(port.local_addr(), Addr::from(listener.local_addr().unwrap()));
        assert!(is_inherited_by_nobody(number));
        // Non-blocking for all that share it.
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let client = Probe::new();
        let tape = client.tape();
        connect(&reactor, &port.local_addr(), client);
        turn_until(&reactor, "the greeting", || tape.bytes() == b"hello");
        assert!(tape.transport().no_delay().unwrap());
    }
});

/// Looked up by its number: the descriptor itself is the reactor's by now.
fn is_inherited_by_nobody(number: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    flags & 0o2_000_000 != 0
}

// 54
on_every_driver!(another_holder_goes_on_after_an_adopted_port_is_stopped, |ground| {
    if ground.is_simulated() {
        return;
    }
    let (reactor, folder) = (started(ground), Folder::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = folder.file("s");
    let local = UnixListener::bind(&path).unwrap();
    let ports = [
        reactor.adopt_port(listener.try_clone().unwrap().into(), Probe::new).unwrap(),
        reactor.adopt_port(local.try_clone().unwrap().into(), Probe::new).unwrap(),
    ];
    assert_eq!(ports[1].local_addr(), unix(&path));
    for port in &ports {
        let closed = Outcome::of(port.stop_listening());
        turn_until(&reactor, "the port to close", || closed.is_there());
        closed.take().unwrap();
        let error = port.start_listening().unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::Unsupported);
    }
    // The queue is the socket's: the other holder, whose socket does not block by now, accepts from it.
    let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.accept().unwrap().0.write_all(b"tcp").unwrap();
    let mut unix = UnixStream::connect(&path).unwrap();
    local.accept().unwrap().0.write_all(b"unix").unwrap();
    let (mut one, mut other) = (String::new(), String::new());
    tcp.read_to_string(&mut one).unwrap();
    unix.read_to_string(&mut other).unwrap();
    assert_eq!((one.as_str(), other.as_str()), ("tcp", "unix"));
});

/// A factory that notes what it is asked.
struct Noting {
    notes: Rc<RefCell<Vec<&'static str>>>,
    makes: Option<Probe>,
}

impl Factory for Noting {
    type Protocol = Probe;

    fn build_protocol(&mut self, _: &mut Link<'_>) -> Option<Probe> {
        self.notes.borrow_mut().push("build");
        self.makes.take()
    }

    fn start(&mut self) {
        self.notes.borrow_mut().push("start");
    }

    fn stop(&mut self) {
        self.notes.borrow_mut().push("stop");
    }
}

on_every_driver!(an_adopted_connection_gets_its_protocol_after_the_callback, |ground| {
    if ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    let pairs: [(OwnedFd, Box<dyn ReadWrite>); 2] = {
        let (one, other) = tcp();
        let (third, fourth) = UnixStream::pair().unwrap();
        [(one.into(), Box::new(other)), (third.into(), Box::new(fourth))]
    };
    for (own, mut peer) in pairs {
        let notes = Rc::default();
        let probe = Probe::new().on_data(|transport, data| {
            transport.write(data);
            transport.lose_connection();
        });
        let tape = probe.tape();
        let factory = Noting { notes: Rc::clone(&notes), makes: Some(probe) };
        peer.write_all(b"sent before").unwrap();
        reactor.adopt_connection(own, factory).unwrap();
        assert!(notes.borrow().is_empty(), "no factory is called from inside");
        turn_until(&reactor, "its end", || tape.received() == 11);
        let mut back = [0; 11];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"sent before");
        drop(peer);
        turn_until(&reactor, "its end", || tape.is_lost());
        assert_eq!(tape.story(), "made data lost");
        assert_eq!(*notes.borrow(), ["build"]);
    }
});

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

// 66
on_every_driver!(a_factory_that_makes_nothing_closes_an_adopted_connection_gracefully, |ground| {
    if ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    let (one, mut other) = tcp();
    let notes = Rc::default();
    reactor.adopt_connection(one.into(), Noting { notes: Rc::clone(&notes), makes: None }).unwrap();
    turn_until(&reactor, "the factory", || !notes.borrow().is_empty());
    let mut rest = Vec::new();
    assert_eq!(other.read_to_end(&mut rest).unwrap(), 0);
    assert_eq!(*notes.borrow(), ["build"]);
});

on_every_driver!(sockets_are_adopted_from_inside_a_callback, |ground| {
    if ground.is_simulated() {
        return;
    }
    let reactor = started(ground);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = Addr::from(listener.local_addr().unwrap());
    let tape = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&tape);
    let (one, mut other) = tcp();
    reactor.call_soon(move |reactor| {
        reactor.adopt_port(listener.into(), Probe::new).unwrap();
        let probe = Probe::new().on_made(|transport| transport.write(b"here"));
        *kept.borrow_mut() = Some(probe.tape());
        let mut probe = Some(probe);
        let factory = marline_core::protocol::from_fn(move |_| probe.take());
        reactor.adopt_connection(one.into(), factory).unwrap();
    });
    connect_later(&reactor, &addr, &tape);
    let mut text = [0; 4];
    other.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"here");
});

fn connect_later(
    reactor: &Reactor,
    addr: &Addr,
    tape: &Rc<RefCell<Option<crate::streams::kit::Tape>>>,
) {
    turn_until(reactor, "the adoption", || {
        tape.borrow().as_ref().is_some_and(crate::streams::kit::Tape::is_made)
    });
    connect(reactor, addr, Probe::new());
}
