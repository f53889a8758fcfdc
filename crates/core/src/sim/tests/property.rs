//! Random worlds: whatever the weather, a stream's bytes arrive in order and whole, or its end is told that it failed;
//! and the same seed is the same run.

use std::collections::BTreeMap;

use super::*;
use crate::rng::Rng;
use crate::sim::Crash;

/// What one end has sent and received.
#[derive(Default)]
struct Ledger {
    sent: u64,
    got: u64,
    finished: bool,
    ended: bool,
    failed: bool,
    in_flight: bool,
}

struct Run {
    hash: u64,
    events: u64,
    whole: usize,
    failed: usize,
}

/// The byte at a position of the stream that an end sends.
fn byte(stream: u64, at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9).wrapping_add(stream) >> 7) as u8
}

/// Three hosts whose links are drawn, thirty connections that send both ways, and things that go wrong meanwhile.
fn random_world(seed: u64, with_faults: bool) -> Run {
    let mut rng = Rng::from_number(seed ^ 0xabcd);
    let world = World::new(seed);
    let hosts: Vec<Host> =
        (1..=3).map(|n| world.host(&format!("h{n}"), [IpAddr::from([10, 0, 0, n])])).collect();
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let link = Link {
            latency: Duration::from_micros(rng.below(20_000)),
            jitter: Duration::from_micros(rng.below(5_000)),
            bandwidth: rng.chance(0.5).then(|| 50_000 + rng.below(1_000_000)),
            loss: if rng.chance(0.3) { 0.05 } else { 0.0 },
            segment: 1 + rng.below(3000) as usize,
            split: rng.chance(0.5),
            ..Link::default()
        };
        world.set_link_one_way(&hosts[from], &hosts[to], link);
    }
    for host in &hosts {
        host.set_buffers(1 + rng.below(20_000) as usize, 1 + rng.below(20_000) as usize);
    }
    let mut nodes: Vec<Node> = hosts.iter().map(Node::new).collect();
    let addrs: Vec<Addr> =
        (1..=3).map(|n| nodes[n - 1].listen(&format!("10.0.0.{n}:80")).unwrap().1).collect();
    // By node and handle; the stream's name is the client's port, doubled, and one more for the server's.
    let mut ends: BTreeMap<(usize, Handle), (u64, Ledger)> = BTreeMap::new();
    for _ in 0..30 {
        let from = rng.below(3) as usize;
        let to = (from + 1 + rng.below(2) as usize) % 3;
        let conn = nodes[from].connect(&addrs[to]).unwrap();
        let port = nodes[from].driver.local_addr(conn).unwrap().port();
        let stream = (u64::from(port) << 8 | from as u64) << 1;
        ends.insert((from, conn), (stream, Ledger::default()));
    }
    let lengths = |stream: u64| 1 + stream.wrapping_mul(7919) % 30_000;
    let (mut whole, mut failed) = (0, 0);
    let mut idle = 0;
    while idle < 4 {
        let mut active = false;
        for (at, node) in nodes.iter_mut().enumerate() {
            let step =
                Duration::from_micros(rng.below(3000) * u64::from(idle == 0) + 2_000_000 * idle);
            while let Some(completion) = node.next_within(step) {
                active = true;
                match completion {
                    Completion::Accepted { conn, .. } => {
                        let peer = node.driver.peer_addr(conn).unwrap().ip().unwrap();
                        let IpAddr::V4(ip) = peer.ip() else { panic!() };
                        let from = u64::from(ip.octets()[3] - 1);
                        let stream = (u64::from(peer.port()) << 8 | from) << 1 | 1;
                        ends.insert((at, conn), (stream, Ledger::default()));
                        node.driver.receive(conn, true);
                        feed(node, at, conn, &mut ends, &lengths);
                    }
                    Completion::Connected { conn } => {
                        node.driver.receive(conn, true);
                        feed(node, at, conn, &mut ends, &lengths);
                    }
                    Completion::Received { conn, len } => {
                        let (stream, ledger) = ends.get_mut(&(at, conn)).unwrap();
                        assert!(!ledger.ended && !ledger.failed);
                        for (place, got) in node.bytes()[..len].iter().enumerate() {
                            assert_eq!(*got, byte(*stream ^ 1, ledger.got + place as u64));
                        }
                        ledger.got += len as u64;
                        if rng.chance(0.05) {
                            node.driver.receive(conn, false);
                            node.driver.wait(Some(Time::ZERO)).unwrap();
                            node.driver.receive(conn, true);
                        }
                    }
                    Completion::Sent { conn, done, .. } => {
                        if done {
                            let (_, ledger) = ends.get_mut(&(at, conn)).unwrap();
                            assert!(ledger.in_flight);
                            ledger.in_flight = false;
                            assert!(!node.driver.reclaim(conn).is_empty());
                            feed(node, at, conn, &mut ends, &lengths);
                        }
                    }
                    Completion::ReadClosed { conn } => {
                        let (stream, ledger) = ends.get_mut(&(at, conn)).unwrap();
                        assert_eq!(ledger.got, lengths(*stream ^ 1), "whole");
                        assert!(!std::mem::replace(&mut ledger.ended, true));
                        whole += 1;
                    }
                    Completion::Failed { handle, .. } => {
                        let (_, ledger) = ends.get_mut(&(at, handle)).unwrap();
                        assert!(!std::mem::replace(&mut ledger.failed, true));
                        node.driver.close(handle, Close::Reset);
                        failed += 1;
                    }
                    other => panic!("{other:?}"),
                }
                if let Some((conn, _)) = done_end(&ends, at) {
                    node.driver.close(conn, Close::Graceful);
                    ends.remove(&(at, conn));
                }
            }
        }
        idle = if active { 0 } else { idle + 1 };
        if with_faults && idle == 0 {
            let (one, other) = (rng.below(3) as usize, rng.below(3) as usize);
            match rng.below(200) {
                0..4 => world.partition(&hosts[one], &hosts[other]),
                4..6 => world.partition_one_way(&hosts[one], &hosts[other]),
                6 => _ = world.reset(&hosts[one], &hosts[other]),
                7 => world.hold(&hosts[one], &hosts[other], millis(300)),
                8..40 => world.heal_all(),
                _ => {}
            }
        } else if with_faults && idle == 1 {
            world.heal_all();
        }
    }
    for host in &hosts {
        host.crash(Crash::Reset);
    }
    Run { hash: world.trace_hash(), events: world.events(), whole, failed }
}

/// An end that has sent and received everything.
fn done_end(ends: &BTreeMap<(usize, Handle), (u64, Ledger)>, at: usize) -> Option<(Handle, u64)> {
    ends.iter()
        .find(|((node, _), (_, ledger))| *node == at && ledger.ended && ledger.finished)
        .map(|((_, conn), (stream, _))| (*conn, *stream))
}

/// Sends what an end has still to send, and the end of its stream.
fn feed(
    node: &mut Node,
    at: usize,
    conn: Handle,
    ends: &mut BTreeMap<(usize, Handle), (u64, Ledger)>,
    lengths: &impl Fn(u64) -> u64,
) {
    let (stream, ledger) = ends.get_mut(&(at, conn)).unwrap();
    while ledger.sent < lengths(*stream) {
        let most = lengths(*stream).min(ledger.sent + 4000);
        let mut chunk: Vec<u8> = (ledger.sent..most).map(|at| byte(*stream, at)).collect();
        let len = chunk.len() as u64;
        match node.driver.send(conn, Outgoing::Buffer(&mut chunk, 0)) {
            Sent::Now(now) => assert_eq!(now as u64, len),
            Sent::InFlight(_) => {
                ledger.sent = most;
                ledger.in_flight = true;
                return;
            }
            Sent::Failed(_) => {
                ledger.failed = true;
                node.driver.close(conn, Close::Reset);
                return;
            }
        }
        ledger.sent = most;
    }
    if !ledger.finished {
        ledger.finished = true;
        node.driver.shutdown(conn).unwrap();
    }
}

#[test]
fn without_faults_every_stream_arrives_whole() {
    for seed in 0..40 {
        let run = random_world(seed, false);
        assert_eq!((run.whole, run.failed), (60, 0), "seed {seed}");
    }
}

#[test]
fn with_faults_every_stream_arrives_whole_or_fails() {
    let mut failures = 0;
    for seed in 0..80 {
        let run = random_world(seed, true);
        assert!(run.whole + run.failed >= 30, "seed {seed}: {} {}", run.whole, run.failed);
        failures += run.failed;
    }
    assert!(failures > 0, "the faults never struck");
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_another() {
    let hashes: Vec<u64> = (0..10)
        .map(|seed| {
            let (one, two) = (random_world(seed, true), random_world(seed, true));
            assert_eq!((one.hash, one.events), (two.hash, two.events), "seed {seed}");
            one.hash
        })
        .collect();
    let distinct: std::collections::BTreeSet<&u64> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn a_kept_trace_lists_what_was_delivered() {
    let mut pair = Pair::new(Link::default());
    assert!(pair.world.take_trace().is_empty());
    pair.world.keep_trace();
    pair.client.send(pair.ends[0], b"x");
    let before = pair.world.events();
    let next = pair.server.next();
    let trace = pair.world.take_trace();
    assert_eq!(trace.len(), 1);
    assert_eq!((Some(trace[0].completion), trace[0].driver), (next, pair.server.driver.number()));
    assert_eq!(pair.world.events(), before + 1);
}
