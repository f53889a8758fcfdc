//! Addresses of both ends and of ports, as numbers, in both families; socket options.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;

use marline_conformance::{Ground, on_every_driver};
use marline_core::protocol::from_fn;
use marline_core::sim::SimDriver;
use marline_core::{Addr, ConnectCause};

use super::kit::{
    Ends, Outcome, Probe, Tape, connect, connecting, listen, listen_once, listening, started,
    turn_until,
};

/// What each side of a connection to `bind` says of itself and of the other, and what the factory was shown.
fn addresses(ground: Ground, bind: &str) -> Seen {
    let reactor = started(ground);
    let server = Probe::new();
    let server_tape = server.tape();
    let shown: Rc<RefCell<Option<Shown>>> = Rc::default();
    let (slot, mut server) = (Rc::clone(&shown), Some(server));
    let factory = from_fn(move |link| {
        *slot.borrow_mut() = Some((link.peer().clone(), link.local()));
        server.take()
    });
    let port = reactor.listen_tcp(bind, factory).unwrap();
    let client = Probe::new();
    let client_tape = client.tape();
    connect(&reactor, &port.local_addr(), client);
    turn_until(&reactor, "the server", || server_tape.is_made());
    let both = |tape: &Tape| {
        let transport = tape.transport();
        (transport.local_addr().unwrap(), transport.peer_addr())
    };
    let shown = shown.borrow().clone().unwrap();
    Seen { port: port.local_addr(), client: both(&client_tape), server: both(&server_tape), shown }
}

/// Peer and own address, as a factory sees them.
type Shown = (Addr, Option<Addr>);

struct Seen {
    port: Addr,
    client: (Addr, Addr),
    server: (Addr, Addr),
    shown: Shown,
}

impl Seen {
    fn assert_consistent(&self) {
        assert_ne!(self.port.port(), 0, "a port was chosen");
        assert_eq!(self.client.1, self.port);
        assert_eq!(self.server.0, self.port);
        assert_eq!(self.server.1, self.client.0);
        assert_ne!(self.client.0.port(), 0);
        assert_eq!(self.shown, (self.client.0.clone(), Some(self.port.clone())));
    }
}

// 67, 68, 69
on_every_driver!(both_ends_know_both_numeric_addresses_in_ipv4, |ground| {
    let seen = addresses(ground, "127.0.0.1:0");
    seen.assert_consistent();
    assert_eq!(seen.client.0.ip().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(seen.port.ip().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
});

// 67, 68, 69
on_every_driver!(both_ends_know_both_numeric_addresses_in_ipv6, |ground| {
    let seen = addresses(ground, "[::1]:0");
    seen.assert_consistent();
    assert_eq!(seen.client.0.ip().unwrap().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(seen.port.ip().unwrap().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
});

// 67, 68: only where this machine has such an address; the simulated network has no scopes.
on_every_driver!(a_link_local_address_keeps_its_scope, |ground| {
    let (false, Some(addr)) = (ground.is_simulated(), link_local()) else { return };
    let seen = addresses(ground, &SocketAddr::V6(addr).to_string());
    seen.assert_consistent();
    for end in [&seen.port, &seen.client.0, &seen.client.1, &seen.server.0, &seen.server.1] {
        let Some(SocketAddr::V6(end)) = end.ip() else { panic!("{end} is not IPv6") };
        assert_eq!((end.ip(), end.scope_id()), (addr.ip(), addr.scope_id()));
    }
});

/// A link-local address of this machine, with its scope.
fn link_local() -> Option<SocketAddrV6> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let bits = u128::from_str_radix(fields.next()?, 16).ok()?;
        let scope = u32::from_str_radix(fields.next()?, 16).ok()?;
        let ip = Ipv6Addr::from_bits(bits);
        ip.is_unicast_link_local().then(|| SocketAddrV6::new(ip, 0, 0, scope))
    })
}

// 67
on_every_driver!(a_client_connected_by_name_has_numeric_addresses, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    let client = Probe::new();
    let tape = client.tape();
    let to = ("localhost", port.local_addr().port());
    let connected = Outcome::of(reactor.connect_tcp(to, client));
    turn_until(&reactor, "the connection", || connected.is_there());
    assert_eq!(tape.transport().peer_addr(), port.local_addr());
    let local = tape.transport().local_addr().unwrap();
    assert_eq!(local.ip().unwrap().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
});

// 68
on_every_driver!(a_port_on_all_addresses_says_so_and_its_connections_say_which, |ground| {
    for (bind, ip) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let ip: IpAddr = ip.parse().unwrap();
        let reactor = started(ground);
        let server = Probe::new();
        let tape = server.tape();
        let mut server = Some(server);
        let port = reactor.listen_tcp(bind, from_fn(move |_| server.take())).unwrap();
        let bound = port.local_addr().ip().unwrap();
        assert!(
            bound.ip().is_unspecified() && bound.is_ipv4() == ip.is_ipv4() && bound.port() != 0
        );
        connect(&reactor, &(ip, bound.port()).into(), Probe::new());
        turn_until(&reactor, "the server", || tape.is_made());
        assert_eq!(tape.transport().local_addr(), Some((ip, bound.port()).into()));
    }
});

on_every_driver!(an_ipv6_port_takes_ipv4_only_where_it_is_asked_to, |ground| {
    for only_v6 in [true, false] {
        let reactor = started(ground);
        let server = Probe::new();
        let tape = server.tape();
        let mut server = Some(server);
        let options = listening(|options| options.only_v6 = only_v6);
        let factory = from_fn(move |_| server.take());
        let port = reactor.listen_tcp_with("[::]:0", factory, options).unwrap();
        let to: Addr = (IpAddr::V4(Ipv4Addr::LOCALHOST), port.local_addr().port()).into();
        let connected = Outcome::of(reactor.connect_tcp(to, Probe::new()));
        turn_until(&reactor, "an answer", || connected.is_there());
        match connected.take() {
            Ok(_) => {
                assert!(!only_v6);
                turn_until(&reactor, "the server", || tape.is_made());
                let peer = tape.transport().peer_addr().ip().unwrap().ip();
                assert_eq!(peer.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            }
            Err(error) => {
                assert!(only_v6);
                assert_eq!(error.cause, ConnectCause::Refused);
            }
        }
    }
});

// 69
on_every_driver!(handles_print_their_addresses, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let port = ends.port.local_addr();
    assert_eq!(format!("{:?}", ends.port), format!("Port({port})"));
    assert_eq!(format!("{:?}", ends.client.transport()), format!("Transport({port})"));
    let client = ends.client.transport().local_addr().unwrap();
    assert_eq!(format!("{:?}", ends.server.transport()), format!("Transport({client})"));
    let connection = format!("{:?}", ends.connected.take().unwrap());
    assert!(connection.contains("Probe") && connection.contains(&port.to_string()), "{connection}");
});

on_every_driver!(a_client_comes_from_the_address_it_was_bound_to, |ground| {
    // Another address of loopback than the one that would be chosen.
    let from: Addr = (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5)), 0).into();
    let reactor = started(ground);
    let server = Probe::new();
    let tape = server.tape();
    let port = listen_once(&reactor, server);
    let options = connecting(|options| options.bind = Some(from.clone()));
    let connected = Outcome::of(reactor.connect_tcp_with(port.local_addr(), Probe::new(), options));
    turn_until(&reactor, "the connection", || connected.is_there() && tape.is_made());
    let peer = tape.transport().peer_addr();
    assert_eq!(peer.ip().unwrap().ip(), from.ip().unwrap().ip());
    assert_eq!(connected.take().unwrap().transport().local_addr(), Some(peer));
});

on_every_driver!(an_address_that_is_not_ours_cannot_be_bound_to, |ground| {
    let reactor = started(ground);
    let port = listen(&reactor, Probe::new);
    // TEST-NET-1: nobody's.
    let foreign: Addr = (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0).into();
    let options = connecting(|options| options.bind = Some(foreign.clone()));
    let client = Probe::new();
    let tape = client.tape();
    let connected = Outcome::of(reactor.connect_tcp_with(port.local_addr(), client, options));
    assert!(!connected.is_there(), "never from inside the call");
    turn_until(&reactor, "the failure", || connected.is_there());
    let error = connected.take().unwrap_err();
    assert!(matches!(error.cause, ConnectCause::Bind(_)), "{error}");
    assert_eq!(tape.story(), "");
    assert!(tape.is_dropped());
    let error = reactor.listen_tcp(&foreign, Probe::new).unwrap_err();
    assert_eq!(error.address, foreign.to_string());
});

on_every_driver!(no_delay_is_on_and_keep_alive_off_until_they_are_set, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    for tape in [&ends.client, &ends.server] {
        let transport = tape.transport();
        assert!(transport.no_delay().unwrap());
        assert!(!transport.keep_alive().unwrap());
        transport.set_no_delay(false).unwrap();
        transport.set_keep_alive(true).unwrap();
        assert!(!transport.no_delay().unwrap());
        assert!(transport.keep_alive().unwrap());
        transport.set_no_delay(true).unwrap();
        transport.set_keep_alive(false).unwrap();
        assert!(transport.no_delay().unwrap());
        assert!(!transport.keep_alive().unwrap());
    }
});

on_every_driver!(no_delay_is_off_where_the_options_say_so, |ground| {
    let reactor = started(ground);
    let server = Probe::new();
    let tape = server.tape();
    let mut server = Some(server);
    let listen = listening(|options| options.no_delay = false);
    let connect = connecting(|options| options.no_delay = false);
    let factory = from_fn(move |_| server.take());
    let port = reactor.listen_tcp_with("127.0.0.1:0", factory, listen).unwrap();
    let connected = Outcome::of(reactor.connect_tcp_with(port.local_addr(), Probe::new(), connect));
    turn_until(&reactor, "the connection", || connected.is_there() && tape.is_made());
    assert!(!tape.transport().no_delay().unwrap());
    assert!(!connected.take().unwrap().transport().no_delay().unwrap());
});

on_every_driver!(the_reactor_of_a_transport_is_the_one_it_lives_on, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = ends.client.transport().reactor().unwrap();
    assert_eq!(reactor.driver_name(), ground.driver);
    assert_eq!(reactor.open().len(), ends.reactor.open().len());
    if ground.is_simulated() {
        assert!(reactor.with_driver::<SimDriver, _>(|_| ()).is_some());
    }
});
