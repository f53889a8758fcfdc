//! Programs that the world runs: real reactors and protocols.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::sim::Crash;
use crate::{CloseReason, Protocol, Transport};

/// Sends back what it gets.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Sends something, and again whenever it comes back.
struct Ping {
    rounds: Rc<Cell<u32>>,
    lost: Rc<RefCell<Vec<String>>>,
}

impl Protocol for Ping {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"ping");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.rounds.set(self.rounds.get() + 1);
        transport.write(data);
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.lost.borrow_mut().push(format!("{reason:?}"));
    }
}

struct Game {
    world: World,
    hosts: [Host; 2],
    server: crate::sim::Program,
    client: crate::sim::Program,
    rounds: Rc<Cell<u32>>,
    lost: Rc<RefCell<Vec<String>>>,
}

fn game(seed: u64) -> Game {
    let (world, hosts) = two_hosts(seed);
    let link = Link { latency: millis(5), jitter: millis(1), ..Link::default() };
    world.set_default_link(link);
    let server = world.spawn(&hosts[1], |reactor| {
        reactor.listen_tcp("10.0.0.2:7", || Echo).unwrap();
    });
    let (rounds, lost) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
    let ping = Ping { rounds: Rc::clone(&rounds), lost: Rc::clone(&lost) };
    let client = world.spawn(&hosts[0], |reactor| {
        reactor.connect_tcp("server:7", ping).ignore();
    });
    Game { world, hosts, server, client, rounds, lost }
}

#[test]
fn programs_talk_for_a_time_and_the_same_seed_is_the_same_run() {
    let play = |seed| {
        let game = game(seed);
        let start = game.world.now();
        game.world.run_for(Duration::from_secs(60));
        assert_eq!(game.world.now(), start + Duration::from_secs(60));
        assert!((4800..5800).contains(&game.rounds.get()), "{}", game.rounds.get());
        (game.world.trace_hash(), game.world.events())
    };
    assert_eq!(play(1), play(1));
    assert_ne!(play(1).0, play(2).0);
}

#[test]
fn a_condition_ends_a_run_and_so_does_the_end_of_all_things() {
    let game = game(1);
    let rounds = Rc::clone(&game.rounds);
    assert!(game.world.run_while(move || rounds.get() < 10));
    assert_eq!(game.rounds.get(), 10);
    assert!(!game.world.run_until_idle(Duration::from_secs(1)));
    game.client.kill();
    assert!(game.world.run_until_idle(Duration::from_secs(1)));
    assert!(!game.world.run_while(|| true));
    assert!(!game.client.is_running() && game.server.is_running());
}

#[test]
fn timers_run_at_their_time_and_idle_programs_get_no_turns() {
    let (world, hosts) = two_hosts(1);
    let start = world.now();
    let times = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&times);
    world.spawn(&hosts[0], move |reactor| {
        for secs in [7200, 60, 3600] {
            let noted = Rc::clone(&noted);
            reactor.call_later(Duration::from_secs(secs), move |reactor| {
                noted.borrow_mut().push(reactor.now() - start);
            });
        }
    });
    world.spawn(&hosts[1], |reactor| {
        reactor.listen_tcp("10.0.0.2:7", || Echo).unwrap();
    });
    assert!(world.run_until_idle(Duration::from_secs(100_000)));
    assert_eq!(*times.borrow(), [60, 3600, 7200].map(Duration::from_secs));
    assert_eq!(world.now(), start + Duration::from_secs(7200));
}

#[test]
fn a_program_that_stops_is_over_and_its_sockets_with_it() {
    let game = game(1);
    game.server.reactor().unwrap().call_later(millis(500), |reactor| reactor.stop().unwrap());
    game.world.run_for(Duration::from_secs(2));
    assert!(!game.server.is_running() && game.server.reactor().is_none());
    assert_eq!(game.hosts[1].descriptors(), 0);
    assert_eq!(game.lost.borrow().len(), 1);
}

#[test]
fn a_signal_stops_a_program() {
    let game = game(1);
    game.world.run_for(millis(100));
    assert_eq!(game.hosts[1].signal(crate::signal::TERM), 1);
    game.world.run_for(millis(100));
    assert!(!game.server.is_running() && game.client.is_running());
}

#[test]
fn a_crashed_host_can_be_given_a_new_program() {
    let game = game(1);
    game.world.run_for(millis(100));
    game.hosts[1].crash(Crash::Reset);
    game.world.run_for(millis(100));
    assert!(!game.server.is_running() && game.server.reactor().is_none());
    assert_eq!(game.lost.borrow().len(), 1);
    game.hosts[1].restart();
    game.world.spawn(&game.hosts[1], |reactor| {
        reactor.listen_tcp("10.0.0.2:7", || Echo).unwrap();
    });
    let before = game.rounds.get();
    let ping = Ping { rounds: Rc::clone(&game.rounds), lost: Rc::clone(&game.lost) };
    game.client.reactor().unwrap().connect_tcp("10.0.0.2:7", ping).ignore();
    game.world.run_for(millis(500));
    assert!(game.rounds.get() > before + 10);
}

#[test]
fn what_is_asked_of_a_program_between_two_runs_or_by_a_thread_is_done() {
    let (world, hosts) = two_hosts(1);
    let program = world.spawn(&hosts[0], |_| {});
    assert!(world.run_until_idle(millis(1)));
    let called = Rc::new(Cell::new(0));
    let reactor = program.reactor().unwrap();
    let calls = Rc::clone(&called);
    reactor.call_soon(move |_| calls.set(calls.get() + 1));
    world.run_for(millis(1));
    assert_eq!(called.get(), 1);
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || remote.call(|reactor| reactor.crash()));
    thread.join().unwrap();
    world.run_for(millis(1));
    assert!(!program.is_running());
    assert!(program.take_error().is_none());
}

#[test]
fn the_world_cannot_be_run_from_inside_a_program() {
    let (world, hosts) = two_hosts(1);
    let inner = world.clone();
    let refused = Rc::new(Cell::new(false));
    let told = Rc::clone(&refused);
    world.spawn(&hosts[0], move |reactor| {
        reactor.call_soon(move |_| {
            let nested = std::panic::AssertUnwindSafe(|| inner.run_for(millis(1)));
            told.set(std::panic::catch_unwind(nested).is_err());
        });
    });
    world.run_for(millis(1));
    assert!(refused.get());
}

#[test]
fn a_partition_in_the_middle_delays_a_conversation_and_loses_nothing() {
    let game = game(1);
    game.world.run_for(Duration::from_secs(1));
    game.world.partition(&game.hosts[0], &game.hosts[1]);
    game.world.run_for(millis(100));
    let during = game.rounds.get();
    game.world.run_for(Duration::from_secs(60));
    assert_eq!(game.rounds.get(), during);
    game.world.heal_all();
    game.world.run_for(Duration::from_secs(1));
    assert!(game.rounds.get() > during + 50);
    assert!(game.lost.borrow().is_empty());
}
