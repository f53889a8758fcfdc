//! Multicast on loopback: join, leave, several sockets on one port. `private_network.rs` has what needs another interface.

use std::net::{IpAddr, Ipv4Addr};

use marline_conformance::on_every_driver;
use marline_core::Reactor;
use marline_core::datagram::DatagramTransport;
use marline_core::driver::{Capability, DatagramOptions, Interface};

use super::kit::{Ear, Tape, until_count};
use crate::streams::kit::{idle, started};

const LOOPBACK: Interface = Interface::Addr(Ipv4Addr::LOCALHOST);

/// A group that no other test of this process uses.
fn group(number: u8) -> IpAddr {
    Ipv4Addr::new(239, 255, 77, number).into()
}

#[track_caller]
fn member(reactor: &Reactor, port: u16) -> (DatagramTransport, Tape) {
    let ear = Ear::new();
    let tape = ear.tape();
    let options = DatagramOptions { reuse_address: true, ..DatagramOptions::default() };
    let addr = (IpAddr::from(Ipv4Addr::UNSPECIFIED), port);
    let socket = reactor.listen_udp_with(addr, ear, options).unwrap();
    socket.set_multicast_interface(LOOPBACK).unwrap();
    (socket, tape)
}

on_every_driver!(members_hear_what_is_sent_to_their_group_until_they_leave, |ground| {
    let reactor = started(ground);
    assert!(reactor.supports(Capability::Multicast));
    let group = group(1);
    let (one, first) = member(&reactor, 0);
    let port = one.local_addr().port();
    let (two, second) = member(&reactor, port);
    let (sender, _) = member(&reactor, 0);
    one.join_group(group, LOOPBACK).unwrap();
    two.join_group(group, LOOPBACK).unwrap();
    sender.send_to(b"both", (group, port)).unwrap();
    until_count(&reactor, &first, 1);
    until_count(&reactor, &second, 1);
    assert_eq!(first.received()[0].1.port(), sender.local_addr().port());

    one.leave_group(group, LOOPBACK).unwrap();
    two.leave_group(group, LOOPBACK).unwrap();
    sender.send_to(b"nobody", (group, port)).unwrap();
    idle(&reactor);
    assert_eq!((first.count(), second.count()), (1, 1));
    // And again.
    two.join_group(group, LOOPBACK).unwrap();
    sender.send_to(b"two", (group, port)).unwrap();
    until_count(&reactor, &second, 2);
    assert_eq!(second.bytes(), [&b"both"[..], b"two"]);
});

on_every_driver!(
    joining_what_is_no_group_twice_or_on_no_interface_and_leaving_unjoined_are_errors,
    |ground| {
        let reactor = started(ground);
        let (socket, _) = member(&reactor, 0);
        assert!(socket.join_group(Ipv4Addr::LOCALHOST.into(), LOOPBACK).is_err());
        assert!(socket.join_group("ff02::1".parse().unwrap(), Interface::Index(1)).is_err());
        assert!(socket.leave_group(group(3), LOOPBACK).is_err());
        socket.join_group(group(3), LOOPBACK).unwrap();
        assert!(socket.join_group(group(3), LOOPBACK).is_err());
        let nowhere = Interface::Addr(Ipv4Addr::new(192, 0, 2, 1));
        assert!(socket.join_group(group(4), nowhere).is_err());
        assert!(socket.join_group(group(4), Interface::Index(99_999)).is_err());
        assert!(socket.set_multicast_interface(nowhere).is_err());
    }
);
