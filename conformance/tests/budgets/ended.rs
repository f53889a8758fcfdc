//! A connection on which too much waits is reset.

use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::WhenSpent;

use super::{BUDGET, Heard, another, budgets, end, full, top_up};
use crate::streams::kit::{Ends, Probe, turn_until};

on_every_driver!(a_quarter_beyond_its_budget_a_connection_is_reset, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let (heard, _subscription) = Heard::listen(&ends.reactor);
    let client = ends.client.transport();
    client.set_budget(BUDGET);
    top_up(&client, BUDGET + BUDGET / 4);
    ends.idle();
    assert!(client.is_open() && !ends.client.is_lost());
    client.write(b"x");
    assert!(!client.is_open(), "ended at once");
    ends.until_lost();
    assert_eq!(ends.client.reason(), "BudgetSpent");
    assert_eq!(ends.server.reason(), "Lost(ConnectionReset)");
    assert_eq!(heard.words(), "spent one, exceeded one");
    let figures = ends.reactor.figures();
    assert_eq!((figures.ended_by_budget, figures.counted), (1, 0));
});

on_every_driver!(a_protocol_that_writes_on_and_on_without_a_producer_is_bounded, |ground| {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    let client = ends.client.transport();
    client.set_budget(BUDGET);
    let mut most = 0;
    while client.is_open() {
        client.write(&[0; 10_000]);
        most = most.max(client.pending());
        ends.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(most <= BUDGET + BUDGET / 4, "{most}");
    ends.until_lost();
    assert_eq!(ends.client.reason(), "BudgetSpent");
});

on_every_driver!(
    with_close_a_connection_is_reset_when_more_is_written_on_a_spent_budget,
    |ground| {
        let ends = full(ground, Probe::new(), Probe::new());
        let client = ends.client.transport();
        ends.reactor.set_budgets(budgets(Some(BUDGET), None, WhenSpent::Close));
        top_up(&client, BUDGET + 1);
        ends.server.transport().write(b"heard");
        ends.until("nothing to be held", |ends| ends.client.received() == 5);
        assert!(client.is_open());
        client.write(b"x");
        ends.until_lost();
        assert_eq!(ends.client.reason(), "BudgetSpent");
    }
);

on_every_driver!(without_a_budget_nothing_is_held_or_reset, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    ends.reactor.set_budgets(budgets(None, None, WhenSpent::Pause));
    top_up(&client, 24 << 20);
    ends.idle();
    assert!(client.is_open() && client.is_reading());
    assert_eq!(ends.reactor.figures().held_up, 0);
    ends.reactor.set_budgets(budgets(Some(BUDGET), None, WhenSpent::Pause));
    client.set_budget(usize::MAX);
    client.write(b"x");
    assert!(client.is_open(), "its own budget counts, not the common one");
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

on_every_driver!(input_that_a_protocol_holds_counts_and_ends_it_beyond_the_budget, |ground| {
    let next = Probe::new();
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.set_budget(1000);
    client.account_held(1000);
    let figures = ends.reactor.figures();
    assert_eq!((figures.input, figures.counted), (1000, 1000));
    client.account_held(10);
    assert_eq!(ends.reactor.figures().counted, 10);
    let tape = next.tape();
    client.upgrade(next, b"");
    ends.until("the hand-over", |_| tape.is_made());
    assert_eq!(ends.reactor.figures().counted, 0, "who hands over holds nothing any more");
    client.account_held(1001);
    ends.until("the end", |_| tape.is_lost());
    assert_eq!(tape.reason(), "BudgetSpent");
    end(&ends.reactor, &[&ends.server]);
});

on_every_driver!(given_back_input_counts_and_comes_again, |ground| {
    let mut is_first = true;
    let client = Probe::new().on_data(move |transport, data| {
        if std::mem::take(&mut is_first) {
            transport.pause_reading();
            transport.unread(data);
        }
    });
    let ends = Ends::join(ground, client, Probe::new());
    let client = ends.client.transport();
    // Less than is held: what the user's pause holds, the user's resume delivers.
    client.set_budget(2);
    ends.server.transport().write(b"abcd");
    ends.until("the pause", |_| client.is_paused());
    ends.idle();
    let figures = ends.reactor.figures();
    assert_eq!((figures.input, figures.counted), (4, 4));
    ends.server.transport().write(b"efgh");
    client.resume_reading();
    ends.until("all eight", |ends| ends.client.bytes().ends_with(b"abcdefgh"));
    assert_eq!(ends.reactor.figures().counted, 0);
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

on_every_driver!(a_broadcast_ends_the_slow_and_reaches_the_quick, |ground| {
    let slow = full(ground, Probe::new(), Probe::new());
    let reactor = slow.reactor.clone();
    reactor.set_budgets(budgets(Some(BUDGET), None, WhenSpent::Pause));
    let (quick, reader) = another(&reactor, Probe::new());
    let mut sent = 0;
    while !slow.client.is_lost() {
        for tape in [&slow.client, &quick] {
            tape.transport().write(&[b'b'; 5000]);
        }
        sent += 5000;
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert_eq!(slow.client.reason(), "BudgetSpent");
    turn_until(&reactor, "all of it", || reader.received() == sent);
    end(&reactor, &[&quick, &reader]);
});
