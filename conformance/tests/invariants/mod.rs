//! Random programs against the promises of the design's section 6: every public call made from inside every kind of callback, with
//! a model beside it. `model.rs` says what must be, `play.rs` is the stage, `actor.rs` what the engine calls, `calls.rs` the calls.
//! What it found is pinned in `regressions.rs`.
//!
//! A failure prints its seed and the last events. `MARLINE_SEED=alone:17` (or `together:17`, `epoll:17`) replays one seed;
//! `alone:0..500000` plays a range.

mod actor;
mod calls;
mod model;
mod play;
mod regressions;

use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use marline_core::sim::{Crash, Link, Program, World};
use marline_core::{Reactor, Turn};

use calls::CALLS;
use play::{Coverage, Kind, Node, Play, Scene};

// ---- one reactor, turned by the test

/// Turns one reactor through a random program; on a simulated host, or on the kernel.
fn alone(seed: u64, reactor: Reactor, is_simulated: bool) -> Rc<Play> {
    let play = Play::new(seed, vec![Node::default()], Vec::new(), 400);
    play.nodes[0].reactor.replace(Some(reactor.clone()));
    let outside = |count| (0..count).for_each(|_| play.call_one(outside(&play, 0)));
    calls::listen(&self::outside(&play, 0));
    (0..4).for_each(|_| calls::connect(&self::outside(&play, 0)));
    outside(3);
    reactor.start().unwrap();
    for _ in 0..80 {
        if play.chance(0.2) {
            outside(1);
        }
        let wait = if play.chance(0.5) { 0 } else { 2 };
        let turn = reactor.turn(Some(Duration::from_millis(wait))).unwrap();
        assert_whole(&play, seed);
        if turn == Turn::Stopped {
            if play.chance(0.4) {
                break;
            }
            // It may have been started from outside already.
            let _ = reactor.start();
        }
    }
    match play.below(4) {
        // Everything is closed properly, and that takes only so long.
        0 | 1 => {
            let _ = reactor.start();
            read_everything(&play, 0);
            let _ = reactor.turn(Some(Duration::ZERO));
            play.model.borrow_mut().check_ends_of_streams();
            let _ = reactor.start();
            end_calmly(&play, 0);
            let turns = if is_simulated { 4000 } else { 1000 };
            for left in (0..turns).rev() {
                let _ = reactor.turn(Some(Duration::from_millis(20)));
                let _ = reactor.start();
                if !play.model.borrow().any_alive() && !play.model.borrow().is_waiting() {
                    break;
                }
                end_calmly(&play, 0);
                if left == turns / 2 {
                    end_standoffs(&play, 0);
                }
                if left == 0 {
                    let unfinished = play.model.borrow().unfinished();
                    play.model.borrow_mut().fail(format!("it does not end: {unfinished}"));
                }
            }
        }
        // It stops in the middle of things.
        2 => {
            play.node_ends(0);
            let _ = reactor.start();
            play.nodes[0].crashed.set(false);
            let _ = reactor.stop();
            let stopped = (0..1000).any(|_| {
                // A stop may wait for a Deferred that nobody fires.
                play.give_up(&play.nodes[0]);
                reactor.turn(Some(Duration::from_millis(1))).unwrap() == Turn::Stopped
            });
            play.check(stopped, || "the reactor does not stop".into());
            let open = play.model.borrow().any_alive() && !play.nodes[0].crashed.get();
            play.check(!open, || "a connection outlives the stop of its reactor".into());
        }
        // It crashes, and nothing is closed until somebody does.
        _ => {
            reactor.crash();
            let _ = reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_whole(&play, seed);
    drop(reactor);
    finish(&play, seed);
    play
}

// ---- several hosts, turned by the world

/// Runs a program on each of three hosts, over links and through faults that are drawn too.
fn together(seed: u64) -> (Rc<Play>, u64) {
    let world = World::new(seed);
    // A reset can get lost in a partition: then the other end finds out when it gives up.
    world.set_give_up(Duration::from_secs(100));
    let hosts: Vec<_> =
        (1..=3).map(|n| world.host(&format!("h{n}"), [IpAddr::from([10, 0, 0, n])])).collect();
    let nodes = hosts.iter().map(|host| Node { host: Some(host.clone()), ..Node::default() });
    let names = vec!["h1".into(), "h2".into(), "h3".into(), "nowhere".into()];
    let play = Play::new(seed, nodes.collect(), names, 900);
    for _ in 0..4 {
        let mut link = Link::loopback();
        link.segment = 1448;
        link.latency = Duration::from_micros(play.below(3000) as u64);
        link.jitter = Duration::from_micros(play.below(1000) as u64);
        link.bandwidth = play.chance(0.3).then(|| 200_000 + play.below(1_000_000) as u64);
        link.loss = if play.chance(0.2) { 0.02 } else { 0.0 };
        link.split = play.chance(0.4);
        world.set_link_one_way(&hosts[play.below(3)], &hosts[play.below(3)], link);
    }
    for host in &hosts {
        if play.chance(0.5) {
            host.set_buffers(1000 + play.below(9000), 1000 + play.below(9000));
        }
    }
    let programs: Vec<Program> = (0..3).map(|n| start(&play, &world, n)).collect();
    for _ in 0..50 {
        fault(&play, &world, &programs);
        let node = play.below(3);
        if play.chance(0.3) && programs[node].is_running() {
            play.call_one(outside(&play, node));
        }
        world.run_for(Duration::from_micros(play.below(4000) as u64));
        bury(&play, &programs);
        assert_whole(&play, seed);
    }
    world.heal_all();
    for left in (0..400).rev() {
        (0..3).for_each(|node| end_calmly(&play, node));
        world.run_for(Duration::from_secs(1));
        bury(&play, &programs);
        if !play.model.borrow().any_alive() && !play.model.borrow().is_waiting() {
            break;
        }
        if left == 200 {
            (0..3).for_each(|node| end_standoffs(&play, node));
        }
        if left == 0 {
            let unfinished = play.model.borrow().unfinished();
            play.model.borrow_mut().fail(format!("it does not end: {unfinished}"));
        }
    }
    assert_whole(&play, seed);
    let hash = world.trace_hash();
    // What is left of the world's own handles on the reactors.
    drop((programs, world));
    finish(&play, seed);
    (play, hash)
}

fn start(play: &Rc<Play>, world: &World, number: usize) -> Program {
    let node = &play.nodes[number];
    let Some(host) = &node.host else { unreachable!("every node has a host") };
    world.spawn(host, |reactor| {
        node.reactor.replace(Some(reactor.clone()));
        calls::listen(&outside(play, number));
        (0..3).for_each(|_| calls::connect(&outside(play, number)));
    })
}

fn fault(play: &Rc<Play>, world: &World, programs: &[Program]) {
    let (one, other) = (play.below(3), play.below(3));
    let hosts = [programs[one].host(), programs[other].host()];
    match play.below(60) {
        0 => world.partition(hosts[0], hosts[1]),
        1 => world.partition_one_way(hosts[0], hosts[1]),
        2..6 => world.heal_all(),
        6 => _ = world.reset(hosts[0], hosts[1]),
        7 => world.hold(hosts[0], hosts[1], Duration::from_millis(3)),
        8 if play.chance(0.3) => {
            play.node_ends(one);
            play.model.borrow_mut().cut_off(one);
            if play.chance(0.5) {
                programs[one].kill();
            } else {
                hosts[0].crash(Crash::Reset);
            }
        }
        _ => {}
    }
}

/// Drops the last handles on the reactors of programs that are over.
fn bury(play: &Rc<Play>, programs: &[Program]) {
    for (number, program) in programs.iter().enumerate() {
        if let Some(error) = program.take_error() {
            play.model.borrow_mut().fail(format!("program {number}: {error}"));
        }
        if !program.is_running() {
            play.node_ends(number);
            let reactor = play.nodes[number].reactor.take();
            drop(reactor);
        }
    }
}

/// Closes and drops everything, and looks for what is left.
fn finish(play: &Rc<Play>, seed: u64) {
    for (number, node) in play.nodes.iter().enumerate() {
        play.node_ends(number);
        let reactor = node.reactor.borrow().clone();
        if let Some(reactor) = reactor.filter(|_| play.chance(0.5)) {
            reactor.close_all();
            assert_whole(play, seed);
            // The farewells may have opened something new, which is closed as well.
            let open = reactor.open();
            play.check(open.is_empty(), || format!("open after close_all: {open:?}"));
            if play.nodes.len() == 1 {
                play.let_go(number);
                reactor.close_all();
                let mut held = play.held();
                // Triggers stay for the next run.
                held.retain(|(kind, _)| *kind != "trigger");
                play.check(held.is_empty(), || format!("held after close_all: {held:?}"));
            }
        }
        let reactor = node.reactor.take();
        drop(reactor);
    }
    (0..play.nodes.len()).for_each(|number| play.let_go(number));
    calls::forget_remote();
    let held = play.held();
    play.check(held.is_empty(), || format!("still held: {held:?}"));
    play.model.borrow_mut().check_over();
    assert_whole(play, seed);
}

fn outside(play: &Rc<Play>, node: usize) -> Scene<'_> {
    Scene { play, node, kind: Kind::Outside, line: None, lent: &[] }
}

/// From here on nothing is random, and readers read.
fn read_everything(play: &Rc<Play>, node: usize) {
    play.calm.set(true);
    let lines = play.nodes[node].lines.borrow().clone();
    for line in lines {
        play.model.borrow_mut().pause(line.end, false);
        line.transport.resume_reading();
    }
}

/// From here on everything comes to a proper end: readers read, producers end, one side of each connection closes.
fn end_calmly(play: &Rc<Play>, node: usize) {
    read_everything(play, node);
    let here = &play.nodes[node];
    let ports = here.ports.borrow().clone();
    for (port, _) in ports {
        port.stop_listening().ignore();
    }
    play.give_up(here);
    let lines = here.lines.borrow().clone();
    for line in lines {
        let mut model = play.model.borrow_mut();
        model.unregister(line.end);
        let peer = model.peer(line.end);
        let closes = peer.is_none_or(|peer| line.end <= peer || !model.is_alive(peer));
        if closes {
            model.lose(line.end);
        }
        drop(model);
        line.transport.unregister_producer();
        if closes {
            line.transport.lose_connection();
        }
    }
}

/// Two ends that both wait to deliver what the other will not read any more wait for ever, by the rules.
fn end_standoffs(play: &Rc<Play>, node: usize) {
    let lines = play.nodes[node].lines.borrow().clone();
    for line in lines {
        let mut model = play.model.borrow_mut();
        let peer = model.peer(line.end);
        if model.ends[line.end].closing && peer.is_some_and(|peer| model.ends[peer].closing) {
            model.abort(line.end);
            drop(model);
            line.transport.abort_connection();
        }
    }
}

#[track_caller]
fn assert_whole(play: &Play, seed: u64) {
    let panics = PANICS.with_borrow(Option::clone).unwrap_or_default();
    for panic in panics {
        play.model.borrow_mut().fail(format!("the engine panicked: {panic}"));
    }
    let model = play.model.borrow();
    if let Some(broken) = &model.broken {
        panic!("seed {seed}: {broken}\nthe last events:\n{}", model.last_events());
    }
}

// ---- panics of the engine

thread_local! {
    /// Panics that went through the hook on this thread, while a play is on.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs a play with the panic hook watching: panics on purpose do not pass through it, those of the engine do, even if caught.
fn watched<R>(play: impl FnOnce() -> R) -> R {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            let ours = PANICS.try_with(|panics| match panics.try_borrow_mut() {
                Ok(mut panics) => panics.as_mut().map(|panics| panics.push(text)).is_some(),
                Err(_) => false,
            });
            let _ = ours;
            before(info);
        }));
    });
    PANICS.set(Some(Vec::new()));
    let result = play();
    PANICS.set(None);
    result
}

// ---- tests

/// One reactor on a simulated host.
fn on_sim_alone(seed: u64) -> (Rc<Play>, u64) {
    watched(|| {
        let world = World::new(seed);
        let host = world.host("alone", [IpAddr::from([10, 0, 0, 1])]);
        let mut link = Link::loopback();
        link.split = seed.is_multiple_of(3);
        world.set_link(&host, &host, link);
        if seed.is_multiple_of(4) {
            host.set_buffers(3000, 2000);
        }
        let play = alone(seed, Reactor::new(host.driver()), true);
        (play, world.trace_hash())
    })
}

/// Three programs on three simulated hosts.
fn on_sim_together(seed: u64) -> (Rc<Play>, u64) {
    watched(|| together(seed))
}

/// One reactor on the kernel.
fn on_epoll(seed: u64) -> (Rc<Play>, u64) {
    watched(|| {
        let driver = marline_drivers::open(Some("epoll")).unwrap().driver;
        (alone(seed, Reactor::from_boxed(driver), false), 0)
    })
}

/// The seeds to play: the usual ones, or those that are asked for.
fn seeds(kind: &str, usual: Range<u64>) -> Range<u64> {
    match std::env::var("MARLINE_SEED").ok().as_deref().map(|asked| asked.split_once(':')) {
        None => usual,
        Some(Some((which, seed))) if which == kind => {
            let number = |text: &str| text.parse::<u64>().expect("a number, or a range of them");
            match seed.split_once("..") {
                Some((from, to)) => number(from)..number(to),
                None => number(seed)..number(seed) + 1,
            }
        }
        Some(_) => 0..0,
    }
}

/// Whether a call can be made, and says something, in this kind of code.
fn is_possible(call: &str, kind: Kind) -> bool {
    match call {
        "turn" | "run" => !matches!(kind, Kind::Outside | Kind::Deferred),
        "panic" => kind != Kind::Outside,
        _ => true,
    }
}

#[test]
fn every_call_from_every_callback_keeps_the_promises() {
    let mut coverage: Coverage = vec![[0; Kind::COUNT]; CALLS.len()];
    let usual = 0..12_000;
    let seeds = seeds("alone", usual.clone());
    let is_whole = seeds.end - seeds.start >= usual.end;
    for seed in seeds {
        let (play, _) = on_sim_alone(seed);
        add(&mut coverage, &play);
    }
    // A random program that misses a combination would prove less than this test's name says.
    let never: Vec<String> = CALLS
        .iter()
        .zip(&coverage)
        .flat_map(|(call, counts)| {
            let kinds = Kind::ALL.iter().zip(counts);
            kinds
                .filter(|(kind, count)| **count == 0 && is_possible(call.name, **kind))
                .map(|(kind, _)| format!("{} from {kind:?}", call.name))
        })
        .collect();
    assert!(!is_whole || never.is_empty(), "never made: {never:?}");
}

fn add(coverage: &mut Coverage, play: &Play) {
    for (sum, counts) in coverage.iter_mut().zip(play.coverage.borrow().iter()) {
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += count;
        }
    }
}

#[test]
fn programs_on_several_hosts_keep_the_promises_through_faults() {
    for seed in seeds("together", 0..1500) {
        on_sim_together(seed);
    }
}

#[test]
fn a_reactor_on_the_kernel_keeps_the_promises() {
    for seed in seeds("epoll", 0..30) {
        on_epoll(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds("same", 0..60) {
        assert_eq!(on_sim_alone(seed).1, on_sim_alone(seed).1, "alone, seed {seed}");
        assert_eq!(on_sim_together(seed).1, on_sim_together(seed).1, "together, seed {seed}");
    }
}
