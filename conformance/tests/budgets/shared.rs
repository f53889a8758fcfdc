//! The budget that all connections of a reactor share.

use marline_conformance::on_every_driver;
use marline_core::WhenSpent;

use super::{BUDGET, Heard, another, budgets, end, fill, top_up};
use crate::streams::kit::{Probe, Tape, idle, started, turn_until};

/// Connections whose servers do not read, all full.
fn some(reactor: &marline_core::Reactor, count: usize) -> Vec<(Tape, Tape)> {
    let server = || Probe::new().on_made(|transport| transport.pause_reading());
    let tapes: Vec<_> = (0..count).map(|_| another(reactor, server())).collect();
    for (client, _) in &tapes {
        fill(reactor, &client.transport());
    }
    tapes
}

fn all(tapes: &[(Tape, Tape)]) -> Vec<&Tape> {
    tapes.iter().flat_map(|(client, server)| [client, server]).collect()
}

on_every_driver!(those_that_write_are_held_when_the_reactors_budget_is_spent, |ground| {
    let reactor = started(ground);
    let tapes = some(&reactor, 3);
    let clients: Vec<_> = tapes.iter().map(|(client, _)| client.transport()).collect();
    let (heard, _subscription) = Heard::listen(&reactor);
    // Buffers are counted by their size, which is a quarter more than what they hold at most.
    reactor.set_budgets(budgets(None, Some(8 * BUDGET), WhenSpent::Pause));
    top_up(&clients[0], 2 * BUDGET);
    assert!(clients.iter().all(|client| client.is_reading()));
    let mut waiting = 20_000;
    while clients[1].is_reading() && clients[1].is_open() {
        waiting += 1000;
        top_up(&clients[1], waiting);
    }
    assert!(clients[0].is_reading() && clients[2].is_reading(), "they have written nothing since");
    clients[2].write(b"x");
    assert!(!clients[2].is_reading());
    idle(&reactor);
    assert_eq!(heard.words(), "spent all, spent all");
    assert_eq!(reactor.figures().held_up, 2);
    // The large one leaves: half is free, and both go on, the first first.
    tapes[1].1.transport().resume_reading();
    turn_until(&reactor, "both to go on", || clients.iter().all(|client| client.is_reading()));
    idle(&reactor);
    assert_eq!(heard.words(), "spent all, spent all, free all, free all");
    end(&reactor, &all(&tapes));
});

on_every_driver!(a_quarter_beyond_those_with_the_most_waiting_are_reset, |ground| {
    let reactor = started(ground);
    let tapes = some(&reactor, 3);
    let clients: Vec<_> = tapes.iter().map(|(client, _)| client.transport()).collect();
    reactor.set_budgets(budgets(None, Some(8 * BUDGET), WhenSpent::Pause));
    top_up(&clients[0], 3 * BUDGET);
    let mut waiting = 20_000;
    while tapes.iter().all(|(client, _)| client.transport().is_open()) {
        waiting += 1000;
        top_up(&clients[1], waiting);
        assert!(reactor.figures().counted <= 10 * BUDGET);
    }
    assert!(reactor.figures().counted <= 8 * BUDGET, "down to the budget");
    turn_until(&reactor, "the end", || tapes.iter().any(|(client, _)| client.is_lost()));
    let largest = if clients[0].is_open() { &tapes[1].0 } else { &tapes[0].0 };
    assert_eq!(largest.reason(), "BudgetSpent");
    assert!(clients[2].is_open(), "the smallest is not touched");
    assert_eq!(reactor.figures().ended_by_budget, 1);
    end(&reactor, &all(&tapes));
});

on_every_driver!(
    with_close_those_with_the_most_waiting_are_reset_as_soon_as_it_is_spent,
    |ground| {
        let reactor = started(ground);
        let tapes = some(&reactor, 2);
        reactor.set_budgets(budgets(None, Some(4 * BUDGET), WhenSpent::Close));
        let clients: Vec<_> = tapes.iter().map(|(client, _)| client.transport()).collect();
        top_up(&clients[0], BUDGET);
        let mut waiting = 20_000;
        while reactor.figures().ended_by_budget == 0 {
            waiting += 1000;
            top_up(&clients[1], waiting);
            assert!(reactor.figures().counted <= 4 * BUDGET);
        }
        assert_eq!(reactor.figures().held_up, 0);
        end(&reactor, &all(&tapes));
    }
);

on_every_driver!(readers_that_never_read_do_not_stop_those_that_do, |ground| {
    let reactor = started(ground);
    let tapes = some(&reactor, 2);
    reactor.set_budgets(budgets(None, Some(4 * BUDGET), WhenSpent::Pause));
    // More than half of the budget is never free again.
    for (client, _) in &tapes {
        top_up(&client.transport(), BUDGET + 20_000);
    }
    assert!(reactor.figures().counted > 2 * BUDGET);
    // This one reads, but in rests; it asks for more each time, and is answered.
    let reader = Probe::new();
    let (writer, reader) = another(&reactor, reader);
    let writing = writer.transport();
    let mut sent = 0;
    for _ in 0..5 {
        reader.transport().pause_reading();
        sent += fill(&reactor, &writing);
        for _ in 0..600 {
            if !writing.is_reading() {
                break;
            }
            writing.write(&[b'w'; 1000]);
            sent += 1000;
        }
        assert!(!writing.is_reading(), "held");
        reader.transport().resume_reading();
        turn_until(&reactor, "all of it", || reader.received() == sent);
        turn_until(&reactor, "it to go on", || writing.is_reading());
    }
    assert!(writing.is_open());
    assert!(reactor.figures().counted > 2 * BUDGET, "nobody else has gone on meanwhile");
    end(&reactor, &all(&tapes));
    end(&reactor, &[&writer, &reader]);
});
