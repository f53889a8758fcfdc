//! Byte budgets: what counts, who is held, who goes on and who is reset. `held.rs` is about one connection that is held and goes on, `ended.rs`
//! about one that is reset, `layered.rs` about output that has not passed layers or policies, `shared.rs` about the budget that all connections of a reactor share, `counts.rs` about the books.

mod counts;
mod ended;
mod held;
mod layered;
mod shared;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::Ground;
use marline_core::{Budgets, Incident, Reactor, Scope, Subscription, Transport, WhenSpent};

use crate::streams::kit::{Ends, Probe, Tape, listen_once, turn_until};

/// A budget of a connection, in bytes, for these checks.
const BUDGET: usize = 200_000;

/// Two ends: the server does not read, and the client's way there is full, with hardly anything waiting.
fn full(ground: Ground, client: Probe, server: Probe) -> Ends {
    let server = server.on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, client, server);
    fill(&ends.reactor, &ends.client.transport());
    ends
}

/// Writes until the system takes no more: then something waits, but no more than 16 KiB. Answers how much was written.
fn fill(reactor: &Reactor, transport: &Transport) -> usize {
    let (mut quiet, mut written) = (0, 0);
    while quiet < 10 {
        if transport.pending() == 0 {
            transport.write(&[b'f'; 16_384]);
            written += 16_384;
            quiet = 0;
        } else {
            quiet += 1;
        }
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    written
}

/// Writes, from outside every callback, so much that this many bytes wait.
fn top_up(transport: &Transport, to: usize) {
    let missing = to - transport.pending();
    for _ in 0..missing / 1000 {
        transport.write(&[b't'; 1000]);
    }
    transport.write(&vec![b't'; missing % 1000]);
    assert!(!transport.is_open() || transport.pending() == to);
}

/// What was told of budgets, a word each.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<Vec<String>>>);

impl Heard {
    fn listen(reactor: &Reactor) -> (Self, Subscription) {
        let heard = Self::default();
        let tell = heard.clone();
        let subscription = reactor.subscribe(move |_, incident| {
            let (word, spent) = match incident {
                Incident::BudgetSpent(spent) => ("spent", spent),
                Incident::BudgetFree(spent) => ("free", spent),
                Incident::BudgetExceeded(spent) => ("exceeded", spent),
                _ => return,
            };
            assert!(spent.protocol.ends_with("Probe"));
            let scope = if spent.scope == Scope::Reactor { "all" } else { "one" };
            tell.0.borrow_mut().push(format!("{word} {scope}"));
        });
        (heard, subscription)
    }

    fn words(&self) -> String {
        self.0.borrow().join(", ")
    }
}

/// Connections that stand already are left alone by a listener for one.
fn another(reactor: &Reactor, server: Probe) -> (Tape, Tape) {
    let served = server.tape();
    let port = listen_once(reactor, server);
    let client = Probe::new();
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(reactor, "both ends", || served.is_made() && tape.is_made());
    port.stop_listening().ignore();
    (tape, served)
}

fn budgets(connection: Option<usize>, reactor: Option<usize>, when_spent: WhenSpent) -> Budgets {
    Budgets { connection, reactor, when_spent }
}

/// Ends both and checks that nothing is counted any more.
fn end(reactor: &Reactor, tapes: &[&Tape]) {
    for tape in tapes {
        tape.transport().abort_connection();
    }
    turn_until(reactor, "all ends", || tapes.iter().all(|tape| tape.is_lost()));
    tapes.iter().for_each(|tape| tape.assert_in_order());
    let figures = reactor.figures();
    assert_eq!((figures.counted, figures.held_up, figures.input), (0, 0, 0));
}
