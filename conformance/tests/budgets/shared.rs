//! The budget that all connections of a reactor share.

use std::rc::Rc;

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

on_every_driver!(an_eighth_beyond_those_with_the_most_waiting_are_reset, |ground| {
    let reactor = started(ground);
    let tapes = some(&reactor, 3);
    let clients: Vec<_> = tapes.iter().map(|(client, _)| client.transport()).collect();
    reactor.set_budgets(budgets(None, Some(8 * BUDGET), WhenSpent::Pause));
    top_up(&clients[0], 3 * BUDGET);
    let mut waiting = 20_000;
    while tapes.iter().all(|(client, _)| client.transport().is_open()) {
        waiting += 1000;
        top_up(&clients[1], waiting);
        assert!(reactor.figures().counted <= 9 * BUDGET);
    }
    assert!(reactor.figures().counted <= 8 * BUDGET, "down to the budget");
    turn_until(&reactor, "the end", || tapes.iter().any(|(client, _)| client.is_lost()));
    let largest = if clients[0].is_open() { &tapes[1].0 } else { &tapes[0].0 };
    assert_eq!(largest.reason(), "BudgetSpent");
    assert!(clients[2].is_open(), "the smallest is not touched");
    assert_eq!(reactor.figures().ended_by_budget, 1);
    end(&reactor, &all(&tapes));
});

on_every_driver!(producers_pause_all_at_once_when_the_reactors_budget_is_spent, |ground| {
    let reactor = started(ground);
    let tapes = some(&reactor, 4);
    let (idle_one, _) = another(&reactor, Probe::new());
    let clients: Vec<_> =
        tapes.iter().map(|(client, _)| client).chain([&idle_one]).map(Tape::transport).collect();
    // As a proxy has it: the sources are paused and resumed.
    let mut sources = Vec::new();
    for client in &clients {
        let (source, peer) = another(&reactor, Probe::new());
        client.register_producer(Rc::new(source.transport()), true).unwrap();
        sources.push((source, peer));
    }
    let paused = || sources.iter().map(|(source, _)| source.transport().is_paused());
    let (heard, _subscription) = Heard::listen(&reactor);
    // Large enough that the size of a buffer is less than an eighth of it.
    let budget = 4 * BUDGET;
    reactor.set_budgets(budgets(None, Some(budget), WhenSpent::Pause));
    // Less than pauses a producer for its own sake.
    for client in &clients[..3] {
        top_up(client, 20_000);
    }
    idle(&reactor);
    assert!(paused().all(|paused| !paused));
    // This one has none.
    clients[3].unregister_producer();
    let mut waiting = 20_000;
    while reactor.figures().counted <= budget {
        waiting += 1000;
        top_up(&clients[3], waiting);
    }
    idle(&reactor);
    assert_eq!(paused().collect::<Vec<_>>(), [true, true, true, false, false]);
    assert_eq!(heard.words(), ["spent all"; 4].join(", "));
    assert!(clients[..3].iter().all(|client| client.is_reading()), "they have written no more");
    assert_eq!(reactor.figures().ended_by_budget, 0);
    // What is under way already is taken, up to an eighth for all.
    for client in &clients[..3] {
        client.write(&[1; 1000]);
        assert!(client.is_open() && !client.is_reading());
    }
    // The large one leaves: half is free, and all go on, each when its own output has left.
    tapes[3].1.transport().resume_reading();
    let freed = || heard.words().matches("free all").count() == 4;
    turn_until(&reactor, "all to go on", freed);
    for (_, server) in &tapes {
        server.transport().resume_reading();
    }
    turn_until(&reactor, "the producers to go on", || paused().all(|paused| !paused));
    for client in &clients {
        client.unregister_producer();
    }
    end(&reactor, &all(&tapes));
    end(&reactor, &all(&sources));
    end(&reactor, &[&idle_one]);
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
