//! The books balance, whatever is done: random programs on the simulated network.

use std::time::Duration;

use marline_conformance::Ground;
use marline_core::{Rng, WhenSpent};

use super::{another, budgets};
use crate::streams::kit::{Probe, started, turn_until};

/// Writes, pauses, gives back, hands over, accounts for input, closes and aborts, with budgets so small that they are spent all the time. Whatever
/// is counted belongs to a connection that stands; what waits is never more than what is allowed; in the end nothing is.
fn play(seed: u64) {
    let reactor = started(Ground { driver: "sim" });
    let mut rng = Rng::from_number(seed);
    let policy = if seed.is_multiple_of(3) { WhenSpent::Close } else { WhenSpent::Pause };
    reactor.set_budgets(budgets(Some(50_000), Some(120_000), policy));
    let probe = |gives_back: bool| {
        Probe::half_close().on_data(move |transport, data| {
            if gives_back && data.len() > 500 {
                transport.unread(&data[500..]);
            }
        })
    };
    let mut ends = Vec::new();
    for at in 0..4 {
        let (client, server) = another(&reactor, probe(at % 2 == 0));
        ends.extend([client, server]);
    }
    for _ in 0..400 {
        let tape = &ends[rng.below(ends.len() as u64) as usize];
        let transport = tape.transport();
        match rng.below(12) {
            0..5 => transport.write(&vec![1; rng.below(30_000) as usize]),
            5 => transport.pause_reading(),
            6..8 => transport.resume_reading(),
            8 => transport.account_held(rng.below(20_000) as usize),
            9 => transport.unread(&vec![2; rng.below(2000) as usize]),
            10 if rng.below(20) == 0 => transport.lose_connection(),
            11 if rng.below(30) == 0 => transport.abort_connection(),
            _ => {
                reactor.turn(Some(Duration::from_millis(rng.below(20)))).unwrap();
            }
        }
        let figures = reactor.figures();
        assert!(figures.counted <= 135_000, "seed {seed}: {figures:?}");
        assert!(figures.connections > 0 || figures.counted == 0, "seed {seed}: {figures:?}");
    }
    for tape in &ends {
        tape.transport().set_budget(usize::MAX);
        tape.transport().account_held(0);
        tape.transport().resume_reading();
    }
    reactor.set_budgets(budgets(None, None, WhenSpent::Pause));
    let rests = || reactor.figures().output == 0;
    turn_until(&reactor, &format!("seed {seed}: all to leave"), rests);
    assert_eq!(reactor.figures().held_up, 0, "seed {seed}");
    for tape in &ends {
        tape.assert_in_order();
        tape.transport().abort_connection();
    }
    turn_until(&reactor, "the end", || ends.iter().all(|tape| tape.is_lost()));
    assert_eq!(reactor.figures().counted, 0, "seed {seed}");
}

#[test]
fn the_books_balance_whatever_is_done() {
    for seed in 0..300 {
        play(seed);
    }
}
