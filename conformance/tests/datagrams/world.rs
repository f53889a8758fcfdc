//! Datagrams between simulated hosts: groups, broadcasts, refusals over a link, full buffers, and the same run for the same seed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use marline_core::datagram::DatagramTransport;
use marline_core::driver::{DatagramOptions, Interface, SocketOption};
use marline_core::sim::{Host, Link, World};

use super::kit::{Ear, Tape};

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));

struct Node {
    socket: DatagramTransport,
    tape: Tape,
}

/// A program on a host of its own, with one socket.
fn node(world: &World, number: u8, port: u16, ear: Ear, options: DatagramOptions) -> (Host, Node) {
    let host = world.host(&format!("host{number}"), [IpAddr::from([10, 0, 0, number])]);
    let tape = ear.tape();
    let mut socket = None;
    world.spawn(&host, |reactor| {
        let all = (IpAddr::from(Ipv4Addr::UNSPECIFIED), port);
        socket = Some(reactor.listen_udp_with(all, ear, options).unwrap());
    });
    (host, Node { socket: socket.unwrap(), tape })
}

fn nodes(world: &World, count: u8, options: &DatagramOptions) -> Vec<Node> {
    (1..=count).map(|number| node(world, number, 700, Ear::new(), options.clone()).1).collect()
}

const LONG: Duration = Duration::from_secs(1);

#[test]
fn a_group_reaches_its_members_on_every_host_and_nobody_else() {
    let world = World::new(1);
    let nodes = nodes(&world, 4, &DatagramOptions::default());
    for member in &nodes[..3] {
        member.socket.join_group(GROUP, Interface::Any).unwrap();
    }
    let counts = || nodes.iter().map(|node| node.tape.count()).collect::<Vec<_>>();
    nodes[0].socket.send_to(b"all", (GROUP, 700)).unwrap();
    world.run_for(LONG);
    assert_eq!(counts(), [1, 1, 1, 0]);
    assert_eq!(nodes[1].tape.received()[0].1.to_string(), "10.0.0.1:700");
    // Not to oneself, then to oneself alone.
    nodes[0].socket.set_multicast_loop(false).unwrap();
    nodes[0].socket.send_to(b"others", (GROUP, 700)).unwrap();
    world.run_for(LONG);
    assert_eq!(counts(), [1, 2, 2, 0]);
    nodes[0].socket.set_multicast_loop(true).unwrap();
    nodes[0].socket.set_multicast_ttl(0).unwrap();
    nodes[0].socket.send_to(b"here", (GROUP, 700)).unwrap();
    world.run_for(LONG);
    assert_eq!(counts(), [2, 2, 2, 0]);
    // Who is no member may send, and who leaves hears no more.
    nodes[1].socket.leave_group(GROUP, Interface::Any).unwrap();
    nodes[3].socket.send_to(b"from outside", (GROUP, 700)).unwrap();
    world.run_for(LONG);
    assert_eq!(counts(), [3, 2, 3, 0]);
}

#[test]
fn a_broadcast_reaches_every_host_if_it_is_allowed() {
    let world = World::new(2);
    let nodes =
        nodes(&world, 3, &DatagramOptions { broadcast: true, ..DatagramOptions::default() });
    let (_, other) = node(&world, 9, 701, Ear::new(), DatagramOptions::default());
    nodes[0].socket.send_to(b"hello", "255.255.255.255:700").unwrap();
    other.socket.send_to(b"forbidden", "255.255.255.255:700").unwrap();
    world.run_for(LONG);
    for node in &nodes {
        assert_eq!(node.tape.bytes(), [b"hello"]);
    }
    assert_eq!(other.tape.story(), ["started", "failed PermissionDenied 1"]);
}

#[test]
fn a_refusal_comes_back_after_a_round_trip_unless_the_way_is_cut() {
    let world = World::new(3);
    world.set_default_link(Link { latency: Duration::from_millis(40), ..Link::default() });
    let (here, client) = node(&world, 1, 700, Ear::new(), DatagramOptions::default());
    let there = world.host("there", [IpAddr::from([10, 0, 0, 2])]);
    let _nothing = world.spawn(&there, |_| {});
    client.socket.connect("10.0.0.2:53").unwrap();
    client.socket.send(b"?").unwrap();
    world.run_for(Duration::from_millis(79));
    assert_eq!(client.tape.story(), ["started"]);
    world.run_for(Duration::from_millis(2));
    assert_eq!(client.tape.story(), ["started", "refused ConnectionRefused"]);
    world.partition_one_way(&there, &here);
    client.socket.send(b"?").unwrap();
    world.run_for(LONG);
    assert_eq!(client.tape.story().len(), 2);
}

#[test]
fn a_full_buffer_drops_and_has_room_again_when_it_was_read() {
    let world = World::new(4);
    let (_, sender) = node(&world, 1, 700, Ear::new(), DatagramOptions::default());
    let (_, reader) = node(&world, 2, 700, Ear::new(), DatagramOptions::default());
    reader.socket.set_option(SocketOption::ReceiveBuffer(10_000)).unwrap();
    reader.socket.pause_reading();
    for _ in 0..20 {
        sender.socket.send_to(&[0; 1000], "10.0.0.2:700").unwrap();
    }
    world.run_for(LONG);
    assert_eq!(reader.tape.count(), 0);
    reader.socket.resume_reading();
    world.run_for(LONG);
    assert_eq!(reader.tape.count(), 7, "1,000 bytes and 256 for the datagram itself");
    sender.socket.send_to(&[0; 1000], "10.0.0.2:700").unwrap();
    world.run_for(LONG);
    assert_eq!(reader.tape.count(), 8);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let world = World::new(seed);
        let jitter = Duration::from_millis(3);
        let link = Link { loss: 0.2, duplicate: 0.1, reorder: 0.3, jitter, ..Link::default() };
        world.set_default_link(link);
        let nodes = nodes(&world, 5, &DatagramOptions { broadcast: true, ..Default::default() });
        for node in &nodes {
            node.socket.join_group(GROUP, Interface::Any).unwrap();
        }
        for round in 0..20_u8 {
            for node in &nodes {
                node.socket.send_to(&[round], (GROUP, 700)).unwrap();
                node.socket.send_to(&[round], "255.255.255.255:700").unwrap();
            }
            world.run_for(Duration::from_millis(5));
        }
        world.run_for(LONG);
        world.trace_hash()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
