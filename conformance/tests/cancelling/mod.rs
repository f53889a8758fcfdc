//! A line protocol between two simulated hosts, cancelled at every event: whatever is dropped, cancelled or given up, no byte is lost or doubled, and
//! every answer finds its question.
//!
//! | file | what |
//! |---|---|
//! | `stage.rs` | what is said and heard on both sides, what can be cancelled, and what must be true at the end |
//! | `callbacks.rs` | client and server as protocol objects |
//! | `coroutines.rs` | client and server as async functions |

mod callbacks;
mod coroutines;
mod stage;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use marline_core::sim::{Host, Link, World};
use marline_core::testing::CapturedLog;
use marline_core::{Reactor, Rng};

use stage::Stage;

/// How one of the two sides is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Callbacks,
    Coroutines,
}

const SIDES: [Side; 2] = [Side::Callbacks, Side::Coroutines];

/// What is cancelled at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The question asked first of those that wait for their answers; before there is a connection, the attempt to connect.
    Question,
    /// The question asked last.
    Last,
    /// What the server does to find an answer.
    Handler,
    /// All of that at once.
    Everything,
}

const TARGETS: [Target; 4] = [Target::Question, Target::Last, Target::Handler, Target::Everything];

/// When something is cancelled.
#[derive(Debug)]
enum Whim {
    Never,
    Once(u64, Target),
    /// At each event with this probability.
    Often(f64),
}

/// What came of one exchange.
struct Played {
    events: u64,
    /// How often something was cancelled, by what it was doing.
    struck: BTreeMap<&'static str, u32>,
}

/// Says what was played when that fails.
#[derive(Debug)]
#[allow(dead_code, reason = "shown by its Debug")]
struct Game<'a> {
    seed: u64,
    client: Side,
    server: Side,
    whim: &'a Whim,
}

impl Drop for Game<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {self:?}");
        }
    }
}

/// One exchange from the first segment to the last, over a network that depends on the seed alone.
#[track_caller]
fn play(seed: u64, client: Side, server: Side, whim: &Whim) -> Played {
    let _game = Game { seed, client, server, whim };
    let log = CapturedLog::start();
    let mut rng = Rng::from_number(seed);
    let (world, [here, there]) = network(seed, &mut rng);
    let stage = Rc::new(Stage::new(seed));
    let listens = world.spawn(&there, |reactor| {
        let port = match server {
            Side::Callbacks => callbacks::serve(reactor, &stage),
            Side::Coroutines => coroutines::serve(reactor, &stage),
        };
        drop(port.unwrap());
    });
    let asks = world.spawn(&here, |reactor| match client {
        Side::Callbacks => callbacks::ask(reactor, &stage),
        Side::Coroutines => coroutines::ask(reactor, &stage),
    });
    let mut events = 0;
    while step(&world) {
        events += 1;
        assert!(events < 100_000, "no end: {stage:?}");
        match *whim {
            Whim::Never => {}
            Whim::Once(at, target) if at == events => stage.strike(target),
            Whim::Once(..) => {}
            Whim::Often(p) => {
                if rng.chance(p) {
                    stage.strike(TARGETS[rng.below(4) as usize]);
                }
            }
        }
    }
    stage.check();
    let errors = log.take_errors();
    assert!(errors.is_empty(), "{errors:#?}");
    let open = |reactor: Option<Reactor>| reactor.unwrap().open().len();
    // The server's port.
    assert_eq!((open(asks.reactor()), open(listens.reactor()), world.connections()), (0, 1, 0));
    Played { events, struck: stage.struck() }
}

/// A turn of one of the two programs. False if nothing will ever happen any more.
fn step(world: &World) -> bool {
    let is_first = Cell::new(true);
    world.run_while(|| is_first.replace(false))
}

/// Two hosts, and between them what cuts, delays and holds back in both directions.
fn network(seed: u64, rng: &mut Rng) -> (World, [Host; 2]) {
    let world = World::new(seed);
    let hosts = [1, 2].map(|n| world.host(&format!("h{n}"), [[10, 0, 0, n].into()]));
    for (from, to) in [(0, 1), (1, 0)] {
        let link = Link {
            latency: Duration::from_micros(100 + rng.below(2000)),
            jitter: Duration::from_micros(rng.below(1500)),
            bandwidth: rng.chance(0.3).then(|| 50_000 + rng.below(1_000_000)),
            loss: if rng.chance(0.3) { 0.05 } else { 0.0 },
            segment: if rng.chance(0.3) { 100 } else { 1448 },
            split: true,
            ..Link::default()
        };
        world.set_link_one_way(&hosts[from], &hosts[to], link);
        if rng.chance(0.5) {
            let mut size = || 1000 + rng.below(9000) as usize;
            let (send, receive) = (size(), size());
            hosts[from].set_buffers(send, receive);
        }
    }
    (world, hosts)
}

/// The seeds to play: the usual ones; `MARLINE_SEED=7` plays that one, and `MARLINE_SEEDS=1000` so many.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match asked("MARLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("MARLINE_SEEDS").unwrap_or(usual),
    }
}

/// Sees that a cancel has struck at each of these places, or the test shows less than its name says. A single seed need not.
#[track_caller]
fn check_places<'a>(
    client: Side,
    struck: &BTreeMap<&'static str, u32>,
    places: impl IntoIterator<Item = &'a &'static str>,
) {
    let missed: Vec<_> = places.into_iter().filter(|place| !struck.contains_key(*place)).collect();
    let one = std::env::var_os("MARLINE_SEED").is_some();
    assert!(one || missed.is_empty(), "{client:?}: never cancelled {missed:?}: {struck:?}");
}

/// Plays a seed undisturbed, and then once more for each of its events, with a cancel there.
fn at_every_event(client: Side, server: Side, seed: u64) -> BTreeMap<&'static str, u32> {
    let mut struck = BTreeMap::new();
    let undisturbed = play(seed, client, server, &Whim::Never);
    assert!(undisturbed.struck.is_empty());
    for at in 1..=undisturbed.events {
        // Every target at each event over the seeds, a different one from event to event.
        let target = TARGETS[(at + seed) as usize % TARGETS.len()];
        let played = play(seed, client, server, &Whim::Once(at, target));
        for (what, times) in played.struck {
            *struck.entry(what).or_default() += times;
        }
    }
    struck
}

/// What a client is doing, and its server, when a cancel strikes.
fn places(client: Side) -> &'static [&'static str] {
    match client {
        Side::Callbacks => &["connecting", "waiting", "answering"],
        Side::Coroutines => &["connecting", "head", "rest", "answering"],
    }
}

#[test]
fn a_cancel_at_any_event_loses_and_doubles_no_byte() {
    for client in SIDES {
        let mut struck = BTreeMap::<_, u32>::new();
        for server in SIDES {
            for seed in seeds(3) {
                for (what, times) in at_every_event(client, server, seed) {
                    *struck.entry(what).or_default() += times;
                }
            }
        }
        check_places(client, &struck, places(client));
    }
}

#[test]
fn cancels_all_the_time_lose_and_double_no_byte() {
    for client in SIDES {
        let mut struck = BTreeMap::<_, u32>::new();
        for server in SIDES {
            for seed in seeds(160) {
                let p = [0.01, 0.05, 0.2, 0.6][seed as usize / 4 % 4];
                let played = play(seed, client, server, &Whim::Often(p));
                for (what, times) in played.struck {
                    *struck.entry(what).or_default() += times;
                }
            }
        }
        // Only who cancels often has so much under way that it has to wait before it writes.
        let waits: &[_] = match client {
            Side::Callbacks => &[],
            Side::Coroutines => &["writing a part", "writing the whole"],
        };
        check_places(client, &struck, places(client).iter().chain(waits));
    }
}
