//! Listening, connecting and accepting, addresses and ports.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::*;

fn failure(node: &mut Node, handle: Handle) -> ErrorKind {
    match node.next() {
        Some(Completion::Failed { handle: failed, error }) if failed == handle => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_port_that_nobody_listens_on_refuses_after_a_round_trip() {
    let (world, hosts) = two_hosts(1);
    world.set_default_link(Link { latency: millis(30), ..Link::default() });
    let mut client = Node::new(&hosts[0]);
    let start = world.now();
    let conn = client.connect(&at("10.0.0.2:80")).unwrap();
    assert_eq!(failure(&mut client, conn), ErrorKind::ConnectionRefused);
    assert_eq!(world.now() - start, millis(60));
    client.driver.close(conn, Close::Graceful);
    assert_eq!((world.connections(), hosts[0].descriptors()), (0, 0));
}

#[test]
fn an_address_that_no_host_has_is_unreachable() {
    let (_world, hosts) = two_hosts(1);
    let mut client = Node::new(&hosts[0]);
    let conn = client.connect(&at("10.9.9.9:80")).unwrap();
    assert_eq!(failure(&mut client, conn), ErrorKind::HostUnreachable);
    let v4 = World::new(1).host("v4", [ip("10.0.0.1")]);
    let fault = Node::new(&v4).connect(&at("[fd00::9]:1"));
    assert_eq!(fault, Err(ConnectFault::Connect(ErrorKind::NetworkUnreachable.into())));
}

#[test]
fn both_ends_know_both_addresses() {
    let mut pair = Pair::new(Link::default());
    let (near, far) = (pair.ends[0], pair.ends[1]);
    let local = pair.client.driver.local_addr(near).unwrap();
    assert_eq!(pair.client.driver.peer_addr(near), Some(at("10.0.0.2:80")));
    assert_eq!(pair.server.driver.local_addr(far), Some(at("10.0.0.2:80")));
    assert_eq!(pair.server.driver.peer_addr(far), Some(local.clone()));
    assert_eq!(local.ip().unwrap().ip(), ip("10.0.0.1"));
    assert!(local.port() >= 32_768);
}

#[test]
fn loopback_is_each_hosts_own() {
    let (_world, hosts) = two_hosts(1);
    let (mut one, mut other) = (Node::new(&hosts[0]), Node::new(&hosts[1]));
    let (_, addr) = one.listen("[::1]:7").unwrap();
    let conn = other.connect(&addr).unwrap();
    assert_eq!(failure(&mut other, conn), ErrorKind::ConnectionRefused);
    let conn = one.connect(&addr).unwrap();
    let first = one.next();
    let second = one.next();
    assert!(matches!(first, Some(Completion::Accepted { .. })));
    assert_eq!(second, Some(Completion::Connected { conn }));
}

#[test]
fn an_address_in_use_cannot_be_had_but_may_be_shared() {
    let (_world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[1]);
    let (port, _) = node.listen("10.0.0.2:80").unwrap();
    let in_use = OsError::new(ErrorKind::AddrInUse);
    assert_eq!(node.listen("10.0.0.2:80"), Err(in_use));
    assert_eq!(node.listen("0.0.0.0:80"), Err(in_use));
    assert!(node.listen("127.0.0.1:80").is_ok());
    assert!(node.listen("[::]:80").is_ok(), "only IPv6");
    assert_eq!(node.listen("10.0.0.1:80"), Err(ErrorKind::AddrNotAvailable.into()));
    node.driver.close(port, Close::Graceful);
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let mut other = Node::new(&hosts[1]);
    let (one, _) = node.driver.listen(&at("10.0.0.2:80"), &shared).unwrap();
    let (two, _) = other.driver.listen(&at("10.0.0.2:80"), &shared).unwrap();
    assert_eq!(node.listen("10.0.0.2:80"), Err(in_use));

    let mut client = Node::new(&hosts[0]);
    for _ in 0..40 {
        client.connect(&at("10.0.0.2:80")).unwrap();
    }
    let mut shares = [0, 0];
    while let Some(Completion::Accepted { port, .. }) = node.next_within(millis(100)) {
        assert_eq!(port, one);
        shares[0] += 1;
    }
    while let Some(Completion::Accepted { port, .. }) = other.next_within(millis(100)) {
        assert_eq!(port, two);
        shares[1] += 1;
    }
    assert_eq!(shares[0] + shares[1], 40);
    assert!(shares[0] > 5 && shares[1] > 5, "{shares:?}");
}

#[test]
fn port_zero_gets_a_port_that_is_free() {
    let (_world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[1]);
    let (_, one) = node.listen("0.0.0.0:0").unwrap();
    let (_, two) = node.listen("0.0.0.0:0").unwrap();
    assert_ne!(one.port(), two.port());
    assert_ne!(one.port(), 0);
}

#[test]
fn a_wildcard_hears_all_addresses_and_the_exact_one_is_preferred() {
    let (_world, hosts) = two_hosts(1);
    let (mut node, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let both = ListenOptions { only_v6: false, ..ListenOptions::default() };
    let (wide, _) = node.driver.listen(&at("[::]:80"), &both).unwrap();
    client.connect(&at("10.0.0.2:80")).unwrap();
    let Some(Completion::Accepted { port, conn }) = node.next() else { panic!() };
    assert_eq!(port, wide);
    assert_eq!(node.driver.local_addr(conn), Some(at("[::ffff:10.0.0.2]:80")));
    client.connect(&at("[fd00::2]:80")).unwrap();
    assert!(matches!(node.next(), Some(Completion::Accepted { port, .. }) if port == wide));

    let (narrow, _) = node.listen("10.0.0.2:81").unwrap();
    client.connect(&at("10.0.0.2:81")).unwrap();
    assert!(matches!(node.next(), Some(Completion::Accepted { port, .. }) if port == narrow));
    let mut own = Node::new(&hosts[1]);
    let conn = own.connect(&at("0.0.0.0:80")).unwrap();
    assert_eq!(own.next(), Some(Completion::Connected { conn }));
}

#[test]
fn a_bind_address_is_used_or_is_a_fault() {
    let (_world, hosts) = two_hosts(1);
    let (mut node, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (_, addr) = node.listen("10.0.0.2:80").unwrap();
    let mut from = |bind: &str| {
        let options = ConnectOptions { bind: Some(at(bind)), ..ConnectOptions::default() };
        client.driver.connect(&addr, &options)
    };
    assert!(from("10.0.0.1:4000").is_ok());
    assert_eq!(from("10.0.0.1:4000"), Err(ConnectFault::Bind(ErrorKind::AddrInUse.into())));
    assert_eq!(from("10.0.0.7:0"), Err(ConnectFault::Bind(ErrorKind::AddrNotAvailable.into())));
    assert_eq!(from("[fd00::1]:0"), Err(ConnectFault::Bind(ErrorKind::InvalidInput.into())));
    let Some(Completion::Accepted { conn, .. }) = node.next() else { panic!() };
    assert_eq!(node.driver.peer_addr(conn), Some(at("10.0.0.1:4000")));
}

#[test]
fn a_full_backlog_makes_the_client_try_again() {
    let (world, hosts) = two_hosts(1);
    let (mut node, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let (port, addr) = node.driver.listen(&at("10.0.0.2:80"), &options).unwrap();
    node.driver.receive(port, false);
    let one = client.connect(&addr).unwrap();
    let two = client.connect(&addr).unwrap();
    assert_eq!(client.next_within(millis(500)), Some(Completion::Connected { conn: one }));
    assert_eq!(node.next_within(millis(500)), None, "accepting is off");
    node.driver.receive(port, true);
    assert!(matches!(node.next(), Some(Completion::Accepted { .. })));
    let start = world.now();
    assert_eq!(client.next(), Some(Completion::Connected { conn: two }));
    assert!(world.now() - start < Duration::from_secs(2));
}

#[test]
fn closing_a_port_resets_who_was_not_accepted() {
    let (world, hosts) = two_hosts(1);
    let (mut node, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (port, addr) = node.listen("10.0.0.2:80").unwrap();
    node.driver.receive(port, false);
    let conn = client.connect(&addr).unwrap();
    assert_eq!(client.next(), Some(Completion::Connected { conn }));
    node.driver.close(port, Close::Graceful);
    assert_eq!(failure(&mut client, conn), ErrorKind::ConnectionReset);
    client.driver.close(conn, Close::Graceful);
    assert_eq!(world.connections(), 0);
}

#[test]
fn an_attempt_closed_at_any_moment_leaves_nothing_behind() {
    for wait in 0..12 {
        let (world, hosts) = two_hosts(1);
        world.set_default_link(Link { latency: millis(4), ..Link::default() });
        let (mut node, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
        let (_, addr) = node.listen("10.0.0.2:80").unwrap();
        let conn = client.connect(&addr).unwrap();
        client.driver.wait(Some(world.now() + millis(wait))).unwrap();
        client.driver.close(conn, Close::Reset);
        assert_eq!(client.next_within(millis(100)), None);
        while let Some(completion) = node.next_within(millis(100)) {
            if let Completion::Accepted { conn, .. } = completion {
                node.driver.receive(conn, true);
            } else if let Completion::Failed { handle, .. } = completion {
                node.driver.close(handle, Close::Reset);
            }
        }
        assert_eq!((world.connections(), hosts[1].descriptors()), (0, 1), "after {wait} ms");
    }
}

#[test]
fn unix_sockets_connect_within_a_host() {
    let (_world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[0]);
    let addr = Addr::Unix(PathBuf::from("/run/socket"));
    let options = ListenOptions::default();
    let (port, bound) = node.driver.listen(&addr, &options).unwrap();
    assert_eq!(bound, addr);
    assert_eq!(node.driver.listen(&addr, &options), Err(ErrorKind::AddrInUse.into()));
    let conn = node.connect(&addr).unwrap();
    let Some(Completion::Accepted { conn: accepted, .. }) = node.next() else { panic!() };
    assert_eq!(node.next(), Some(Completion::Connected { conn }));
    node.driver.receive(accepted, true);
    node.send(conn, b"hello");
    assert_eq!(node.next(), Some(Completion::Received { conn: accepted, len: 5 }));
    node.driver.close(port, Close::Graceful);
    let conn = node.connect(&addr).unwrap();
    assert_eq!(failure(&mut node, conn), ErrorKind::ConnectionRefused);
}
