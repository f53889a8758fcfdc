//! Output that layers, policies or a file before them keep from leaving: it counts as what it is, and is held and reset as all other output.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::Transport;
use marline_core::flow::Producer;
use marline_core::policy::{Direction, Policy, PolicyIo, Watch};

use super::{BUDGET, Heard, end, full};
use crate::layers::Clear;
use crate::sending::{file, sent, sparse};
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

/// Lets nothing written pass until it is opened.
#[derive(Default)]
struct Gate {
    open: bool,
}

impl Policy for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn watches(&self) -> Watch {
        Watch::LIMIT_WRITTEN
    }

    fn admit(&mut self, _direction: Direction, len: usize, _io: &mut PolicyIo<'_>) -> usize {
        if self.open { len } else { 0 }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Writes a thousand bytes at a time from outside every callback, each in a turn of its own, for as long as `goes_on`. Answers how many.
fn write_while(ends: &Ends, transport: &Transport, goes_on: impl Fn() -> bool) -> usize {
    let mut written = 0;
    while goes_on() {
        transport.write(&[b't'; 1000]);
        written += 1000;
        assert!(written < 100 * BUDGET, "never came to an end");
        ends.reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    }
    written
}

// ---- behind a file

/// A client with a layer, a file that waits before it, and a server that does not read.
fn behind_a_file(ground: marline_conformance::Ground) -> Ends {
    let ends = full(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.set_budget(BUDGET);
    client.start_layer(Clear, b"");
    client.send_file(sparse(8_000_000), 0, 8_000_000).ignore();
    ends.idle();
    ends
}

/// What of a file may be in memory besides.
const CHUNK: usize = 65_536;

on_every_driver!(what_waits_behind_a_file_before_layers_is_held_and_goes_on, |ground| {
    let ends = behind_a_file(ground);
    let (heard, _subscription) = Heard::listen(&ends.reactor);
    let (client, server) = (ends.client.transport(), ends.server.transport());
    let before = ends.reactor.figures().counted;
    let written = write_while(&ends, &client, || client.is_reading());
    assert!(ends.reactor.figures().counted >= before + written);
    assert!(written <= BUDGET + 1000 && written + 2 * CHUNK > BUDGET, "{written}");
    server.write(b"unheard");
    ends.idle();
    assert_eq!((ends.client.received(), heard.words()), (0, "spent one".to_owned()));
    server.resume_reading();
    ends.until("the hold to end", |ends| ends.client.received() == 7);
    ends.until("all of it", |ends| {
        client.pending() == 0 && ends.server.bytes().ends_with(&vec![b't'; written])
    });
    // Once, and not again with every chunk of the file.
    assert_eq!(heard.words(), "spent one, free one");
    assert_eq!(ends.reactor.figures().counted, 0);
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

on_every_driver!(what_waits_behind_a_file_before_layers_is_bounded, |ground| {
    let ends = behind_a_file(ground);
    let client = ends.client.transport();
    let written = write_while(&ends, &client, || client.is_open());
    assert!(written <= BUDGET + BUDGET / 4 + 1000, "{written}");
    ends.until_lost();
    assert_eq!(ends.client.reason(), "BudgetSpent");
    assert_eq!(ends.reactor.figures().counted, 0);
});

on_every_driver!(a_hold_lasts_while_a_file_leaves_chunk_by_chunk, |ground| {
    let size = 8_000_000;
    for (layered, cut) in [(false, false), (true, false), (false, true)] {
        let ends = full(ground, Probe::new(), Probe::new());
        let (heard, _subscription) = Heard::listen(&ends.reactor);
        let (client, server) = (ends.client.transport(), ends.server.transport());
        client.set_budget(BUDGET);
        if layered {
            client.start_layer(Clear, b"");
        }
        let file = sparse(size);
        let shortened = file.try_clone().unwrap();
        let outcome = sent(client.send_file(file, 0, size));
        ends.idle();
        write_while(&ends, &client, || client.is_reading());
        if cut {
            // What is left of it cannot be read: what is behind it goes on.
            shortened.set_len(1).unwrap();
        }
        while !outcome.is_there() {
            server.resume_reading();
            ends.reactor.turn(Some(std::time::Duration::from_millis(1))).unwrap();
            server.pause_reading();
            assert!(outcome.is_there() || heard.words() == "spent one", "{}", heard.words());
        }
        assert_eq!(outcome.take().is_err(), cut);
        server.resume_reading();
        ends.until("all of it", |_| client.pending() == 0);
        ends.idle();
        assert_eq!(heard.words(), "spent one, free one");
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
});

// ---- through layers and policies

/// A server whose way out is full, and which answers everything with five times its budget, in many writes. How many it made, and whether it had
/// been told by `is_reading` to stop.
fn answer_at_length(transport: &Transport, told: &RefCell<Vec<usize>>) {
    let mut stopped = None;
    for count in 0..50 {
        if stopped.is_none() && !transport.is_reading() {
            stopped = Some(count);
        }
        transport.write(&[count as u8; BUDGET / 10]);
    }
    told.borrow_mut().push(stopped.unwrap_or(0));
}

on_every_driver!(what_one_callback_writes_is_one_write_through_layers_and_policies_too, |ground| {
    let places: [fn(&Transport); 3] = [
        |_| {},
        |transport| transport.start_layer(Clear, b""),
        |transport| transport.start_policy(Gate { open: true }),
    ];
    for (place, full_before) in places.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        let told = Rc::<RefCell<Vec<usize>>>::default();
        let tell = Rc::clone(&told);
        let answering =
            Probe::new().on_data(move |transport, _| answer_at_length(transport, &tell));
        let ends = match full_before {
            true => full(ground, answering, Probe::new()),
            false => Ends::join(ground, answering, Probe::new()),
        };
        let (client, server) = (ends.client.transport(), ends.server.transport());
        let before = client.pending();
        client.set_budget(BUDGET);
        server.pause_reading();
        place(&client);
        ends.idle();
        server.write(b"?");
        ends.until("the question", |ends| ends.client.received() > 0);
        ends.idle();
        assert!(client.is_open(), "taken: {}", ends.client.is_lost());
        // As many writes as the budget holds, and one more.
        assert!((9..=11).contains(&told.borrow()[0]), "{told:?} with {before} before");
        if full_before {
            assert!(!client.is_reading(), "held");
        }
        // What others write then has a quarter of the budget and no more.
        let most = client.pending() + BUDGET / 4 + 1000;
        if full_before {
            write_while(&ends, &client, || client.is_open() && client.pending() <= most);
            assert!(!client.is_open());
        }
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
});

on_every_driver!(input_given_back_while_a_layered_answer_leaves_comes_again, |ground| {
    let log = Rc::<RefCell<Vec<u8>>>::default();
    let taken = Rc::clone(&log);
    // As protocols with frames do: one byte is a frame.
    let server = Probe::new()
        .on_made(|transport| {
            transport.set_budget(1000);
            transport.start_layer(Clear, b"");
        })
        .on_data(move |transport, data| {
            for (at, byte) in data.iter().enumerate() {
                if !transport.is_reading() {
                    return transport.unread(&data[at..]);
                }
                taken.borrow_mut().push(*byte);
                transport.write(&[*byte; 600]);
            }
        });
    let ends = Ends::join(ground, Probe::new(), server);
    let asked = pattern(500);
    ends.client.transport().write(&asked);
    ends.until("all answers", |ends| ends.client.received() == 600 * asked.len());
    assert_same(&log.borrow(), &asked);
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

/// Keeps what it was asked for.
#[derive(Default)]
struct Paused(Cell<bool>);

impl Producer for Paused {
    fn resume_producing(&self) {
        self.0.set(false);
    }

    fn pause_producing(&self) {
        self.0.set(true);
    }

    fn stop_producing(&self) {}
}

on_every_driver!(what_a_policy_holds_counts_as_output_that_waits, |ground| {
    for abandoned in [false, true] {
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        let (heard, _subscription) = Heard::listen(&ends.reactor);
        let (client, server) = (ends.client.transport(), ends.server.transport());
        let producer = Rc::new(Paused::default());
        // Less than what pauses a producer anyway.
        let budget = 20_000;
        client.set_budget(budget);
        client.start_policy(Gate::default());
        client.register_producer(Rc::clone(&producer) as Rc<dyn Producer>, true).unwrap();
        ends.idle();
        let written = write_while(&ends, &client, || client.is_reading());
        assert_eq!(written, budget + 1000);
        assert_eq!(ends.reactor.figures().counted, written);
        server.write(b"unheard");
        ends.idle();
        assert_eq!((ends.client.received(), producer.0.get()), (0, true));
        if abandoned {
            let more = write_while(&ends, &client, || client.is_open());
            assert_eq!(written + more, budget + budget / 4 + 1000);
            ends.until_lost();
            assert_eq!(ends.client.reason(), "BudgetSpent");
            assert_eq!(heard.words(), "spent one, exceeded one");
        } else {
            client.with_policy(|gate: &mut Gate| gate.open = true).unwrap();
            ends.until("all of it", |ends| ends.server.received() == written);
            ends.until("the input that waited", |ends| ends.client.received() == 7);
            ends.until("the producer to go on", |_| !producer.0.get());
            assert_eq!(heard.words(), "spent one, free one");
            client.unregister_producer();
            end(&ends.reactor, &[&ends.client, &ends.server]);
        }
    }
});

on_every_driver!(a_file_through_a_policy_needs_no_more_than_its_chunks, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.set_budget(2 * CHUNK);
    client.start_policy(Gate::default());
    let outcome = sent(client.send_file(file(1_000_000), 0, 1_000_000));
    ends.idle();
    assert!(client.is_reading() && client.is_open());
    client.with_policy(|gate: &mut Gate| gate.open = true).unwrap();
    ends.server.transport().resume_reading();
    ends.until("the file", |_| outcome.is_there());
    assert_eq!(outcome.take().unwrap(), 1_000_000);
    end(&ends.reactor, &[&ends.client, &ends.server]);
});
