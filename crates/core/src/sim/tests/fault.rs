//! What goes wrong on demand: partitions, holds, resets, crashes, and hosts that have run out of things.

use std::io::ErrorKind;

use super::*;
use crate::sim::Crash;

fn failed(handle: Handle, kind: ErrorKind) -> Option<Completion> {
    Some(Completion::Failed { handle, error: kind.into() })
}

#[test]
fn a_partition_stops_both_ways_and_healing_delivers_everything_in_order() {
    let mut pair = Pair::new(Link::default());
    let bytes = pattern(200_000);
    pair.client.driver.send(pair.ends[0], Outgoing::Buffer(&mut bytes.clone(), 0));
    let mut got = Vec::new();
    for cut in 0..20 {
        if cut % 2 == 0 {
            pair.world.partition(&pair.hosts[0], &pair.hosts[1]);
        }
        for _ in 0..10 {
            pair.client.next_within(Duration::from_micros(200));
            while let Some(Completion::Received { .. }) = pair.server.next_within(Duration::ZERO) {
                got.extend_from_slice(pair.server.bytes());
            }
        }
        pair.world.heal(&pair.hosts[1], &pair.hosts[0]);
    }
    while got.len() < bytes.len() {
        pair.client.next_within(millis(1));
        while let Some(Completion::Received { .. }) = pair.server.next_within(Duration::ZERO) {
            got.extend_from_slice(pair.server.bytes());
        }
    }
    assert!(got == bytes);
}

#[test]
fn nothing_gets_through_a_partition_but_what_was_on_the_wire() {
    let mut pair = Pair::new(Link { latency: millis(10), ..Link::default() });
    pair.client.send(pair.ends[0], b"before");
    pair.world.cut_off(&pair.hosts[0]);
    pair.client.send(pair.ends[0], b"after");
    let conn = pair.ends[1];
    assert_eq!(pair.server.next(), Some(Completion::Received { conn, len: 6 }));
    assert_eq!(pair.server.next_within(Duration::from_secs(60)), None);
    pair.world.heal_all();
    assert_eq!(pair.server.next(), Some(Completion::Received { conn, len: 5 }));
}

#[test]
fn a_partition_of_one_way_leaves_the_other() {
    let mut pair = Pair::new(Link::default());
    pair.world.partition_one_way(&pair.hosts[0], &pair.hosts[1]);
    pair.client.send(pair.ends[0], b"lost");
    pair.server.send(pair.ends[1], b"heard");
    let conn = pair.ends[0];
    assert_eq!(pair.client.next(), Some(Completion::Received { conn, len: 5 }));
    assert_eq!(pair.server.next_within(Duration::from_secs(60)), None);
}

#[test]
fn who_is_heard_by_nobody_for_long_enough_is_timed_out() {
    let mut pair = Pair::new(Link::default());
    pair.world.set_give_up(Duration::from_secs(100));
    pair.world.partition(&pair.hosts[0], &pair.hosts[1]);
    let start = pair.world.now();
    pair.client.send(pair.ends[0], b"anybody?");
    assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::TimedOut));
    assert_eq!(pair.world.now() - start, Duration::from_secs(100));
    pair.client.driver.close(pair.ends[0], Close::Reset);
    pair.world.heal_all();
    pair.server.send(pair.ends[1], b"you called?");
    assert_eq!(pair.server.next(), failed(pair.ends[1], ErrorKind::ConnectionReset));
    pair.server.driver.close(pair.ends[1], Close::Reset);
    assert_eq!(pair.world.connections(), 0);
}

#[test]
fn a_reset_waits_for_the_partition_to_heal() {
    let mut pair = Pair::new(Link::default());
    pair.world.partition(&pair.hosts[0], &pair.hosts[1]);
    pair.client.driver.close(pair.ends[0], Close::Reset);
    assert_eq!(pair.server.next_within(Duration::from_secs(60)), None);
    pair.world.heal_all();
    assert_eq!(pair.server.next(), failed(pair.ends[1], ErrorKind::ConnectionReset));
}

#[test]
fn attempts_across_a_partition_are_repeated_and_time_out() {
    let (world, hosts) = two_hosts(1);
    let (mut server, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (_, addr) = server.listen("10.0.0.2:80").unwrap();
    world.partition(&hosts[0], &hosts[1]);
    let start = world.now();
    let conn = client.connect(&addr).unwrap();
    assert_eq!(client.next(), failed(conn, ErrorKind::TimedOut));
    assert_eq!(world.now() - start, Duration::from_secs(127));
    let conn = client.connect(&addr).unwrap();
    assert_eq!(client.next_within(millis(2500)), None);
    world.heal_all();
    let start = world.now();
    assert_eq!(client.next(), Some(Completion::Connected { conn }));
    assert_eq!(
        world.now() - start,
        millis(501),
        "the third attempt, three seconds after the first"
    );
}

#[test]
fn what_is_held_leaves_when_the_time_has_come() {
    let mut pair = Pair::new(Link::default());
    let start = pair.world.now();
    pair.world.hold(&pair.hosts[0], &pair.hosts[1], millis(300));
    pair.client.send(pair.ends[0], b"x");
    let conn = pair.ends[1];
    assert_eq!(pair.server.next(), Some(Completion::Received { conn, len: 1 }));
    assert_eq!(pair.world.now() - start, Duration::from_micros(300_500));
}

#[test]
fn connections_can_be_reset_one_by_one_and_all_at_once() {
    let mut pair = Pair::new(Link::default());
    let local = pair.client.driver.local_addr(pair.ends[0]).unwrap();
    assert!(!pair.hosts[1].reset_connection(&local, &at("10.0.0.2:80")));
    assert!(pair.hosts[0].reset_connection(&local, &at("10.0.0.2:80")));
    assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::ConnectionReset));
    assert_eq!(pair.server.next(), failed(pair.ends[1], ErrorKind::ConnectionReset));
    let mut pair = Pair::new(Link::default());
    assert_eq!(pair.world.reset(&pair.hosts[0], &pair.hosts[0]), 0);
    assert_eq!(pair.world.reset(&pair.hosts[1], &pair.hosts[0]), 1);
    assert_eq!(pair.server.next(), failed(pair.ends[1], ErrorKind::ConnectionReset));
    assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::ConnectionReset));
}

#[test]
fn a_crash_with_resets_is_heard_and_the_hosts_old_driver_is_dead() {
    let mut pair = Pair::new(Link::default());
    pair.server.listen("10.0.0.2:99").unwrap();
    pair.hosts[1].crash(Crash::Reset);
    assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::ConnectionReset));
    assert_eq!(pair.server.next(), None);
    assert_eq!(pair.server.send(pair.ends[1], b"x"), Sent::Failed(OsError::STALE));
    assert_eq!(pair.hosts[1].descriptors(), 0);
    pair.hosts[1].restart();
    let down = OsError::new(ErrorKind::NetworkDown);
    assert_eq!(pair.server.listen("10.0.0.2:99"), Err(down));
    assert!(
        Node::new(&pair.hosts[1]).listen("10.0.0.2:99").is_ok(),
        "nothing is left of the old one"
    );
}

#[test]
fn a_silent_crash_is_found_out_by_time_or_by_the_restarted_host() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Link::default());
        pair.hosts[1].crash(Crash::Silent);
        assert_eq!(pair.client.next(), None);
        pair.client.send(pair.ends[0], b"still there?");
        if restarts {
            pair.hosts[1].restart();
            assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::ConnectionReset));
        } else {
            let start = pair.world.now();
            assert_eq!(pair.client.next(), failed(pair.ends[0], ErrorKind::TimedOut));
            assert!(pair.world.now() - start >= Duration::from_secs(924));
        }
        pair.client.driver.close(pair.ends[0], Close::Graceful);
        assert_eq!(pair.world.connections(), 0);
    }
}

#[test]
fn a_dropped_driver_closes_what_it_had() {
    let mut pair = Pair::new(Link::default());
    pair.server.send(pair.ends[1], b"last words");
    drop(pair.server);
    let (bytes, last) = pair.client.read_all(pair.ends[0]);
    assert_eq!(bytes, b"last words");
    assert_eq!(last, Some(Completion::ReadClosed { conn: pair.ends[0] }));
    assert_eq!(pair.hosts[1].descriptors(), 0);
}

#[test]
fn accepting_fails_as_often_as_told_and_then_goes_on() {
    let (_world, hosts) = two_hosts(1);
    let (mut server, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (port, addr) = server.listen("10.0.0.2:80").unwrap();
    let error = OsError::from_raw(24);
    hosts[1].fail_accepts(2, error);
    client.connect(&addr).unwrap();
    assert_eq!(server.next(), Some(Completion::AcceptFailed { port, error }));
    assert_eq!(server.next(), Some(Completion::AcceptFailed { port, error }));
    assert!(matches!(server.next(), Some(Completion::Accepted { .. })));
}

#[test]
fn connecting_fails_as_told() {
    let (_world, hosts) = two_hosts(1);
    let (mut server, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (_, addr) = server.listen("10.0.0.2:80").unwrap();
    hosts[0].fail_connects(1, ErrorKind::PermissionDenied.into());
    let conn = client.connect(&addr).unwrap();
    assert_eq!(client.next(), failed(conn, ErrorKind::PermissionDenied));
    let conn = client.connect(&addr).unwrap();
    assert_eq!(client.next(), Some(Completion::Connected { conn }));
}

#[test]
fn out_of_descriptors_a_port_says_so_once_and_accepts_again_when_it_can() {
    let (_world, hosts) = two_hosts(1);
    let (mut server, mut client) = (Node::new(&hosts[1]), Node::new(&hosts[0]));
    let (port, addr) = server.listen("10.0.0.2:80").unwrap();
    hosts[1].set_descriptor_limit(Some(2));
    (0..2).for_each(|_| _ = client.connect(&addr).unwrap());
    let Some(Completion::Accepted { conn, .. }) = server.next() else { panic!() };
    let error = OsError::from_raw(24);
    assert_eq!(server.next(), Some(Completion::AcceptFailed { port, error }));
    assert_eq!(server.next(), None);
    assert_eq!(server.listen("10.0.0.2:81"), Err(error));
    assert_eq!(server.connect(&addr), Err(ConnectFault::Connect(error)));
    server.driver.close(conn, Close::Graceful);
    assert!(matches!(server.next(), Some(Completion::Accepted { .. })));
}
