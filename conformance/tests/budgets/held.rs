//! One connection whose budget is spent is held, and goes on when half of it is free.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::failure::Failure;
use marline_core::flow::Producer;
use marline_core::layer::{Layer, LayerIo};

use super::{BUDGET, Heard, end, fill, full, top_up};
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(
    a_connection_is_held_when_its_budget_is_spent_and_goes_on_when_half_is_free,
    |ground| {
        let ends = full(ground, Probe::new(), Probe::new());
        let (heard, _subscription) = Heard::listen(&ends.reactor);
        let (client, server) = (ends.client.transport(), ends.server.transport());
        client.set_budget(BUDGET);
        top_up(&client, BUDGET);
        assert!(client.is_reading(), "exactly the budget is not more");
        client.write(b"x");
        assert!(!client.is_reading() && !client.is_paused());
        server.write(b"unheard");
        ends.idle();
        assert_eq!((ends.client.received(), ends.reactor.figures().held_up), (0, 1));
        assert_eq!(heard.words(), "spent one");
        server.resume_reading();
        ends.until("the hold to end", |ends| ends.client.received() == 7);
        assert!(client.is_reading() && client.pending() <= BUDGET / 2);
        ends.idle();
        assert_eq!(heard.words(), "spent one, free one");
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
);

on_every_driver!(the_users_pause_and_the_budgets_hold_do_not_lift_each_other, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let (client, server) = (ends.client.transport(), ends.server.transport());
    client.set_budget(BUDGET);
    top_up(&client, BUDGET + 1);
    client.pause_reading();
    client.resume_reading();
    assert!(!client.is_paused() && !client.is_reading());
    server.write(b"later");
    ends.idle();
    assert_eq!(ends.client.received(), 0, "the user's resume lifts the user's pause alone");
    client.pause_reading();
    server.resume_reading();
    ends.until("all to leave", |_| client.pending() == 0);
    ends.idle();
    assert_eq!(ends.client.received(), 0, "paused by the user, still");
    client.resume_reading();
    ends.until("the rest", |ends| ends.client.bytes() == b"later");
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

on_every_driver!(
    a_peer_that_sends_and_never_reads_costs_bounded_memory_and_loses_nothing,
    |ground| {
        // Each byte is answered with a hundred.
        let server = Probe::new().on_data(|transport, data| {
            for byte in data {
                transport.write(&[*byte; 100]);
            }
        });
        let client = Probe::half_close().on_made(|transport| transport.pause_reading());
        let ends = Ends::join(ground, client, server);
        let (client, server) = (ends.client.transport(), ends.server.transport());
        server.set_budget(BUDGET);
        let requests = pattern(200_000);
        let mut most = 0;
        for piece in requests.chunks(1000) {
            client.write(piece);
            ends.reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
            most = most.max(server.pending());
        }
        ends.idle();
        // What one callback writes to its own connection is one write: here a hundred times 64 KiB.
        assert!(most <= BUDGET + 100 * 65_536, "{most}");
        assert!(server.is_open() && !server.is_reading());
        assert!(ends.server.received() < requests.len(), "the rest waits outside");
        client.resume_reading();
        ends.until("all answers", |ends| ends.client.received() == 100 * requests.len());
        let answers: Vec<u8> = requests.iter().flat_map(|byte| [*byte; 100]).collect();
        assert_same(&ends.client.bytes(), &answers);
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
);

on_every_driver!(a_single_write_is_taken_however_long_and_arrives, |ground| {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    let client = ends.client.transport();
    client.set_budget(1000);
    let long = pattern(12_000_000);
    client.write(&long);
    ends.idle();
    assert!(client.pending() > 2000, "the system cannot have taken it");
    // The peer may have to be read before it reads.
    assert!(client.is_open() && client.is_reading());
    ends.server.transport().write(b"go on");
    ends.until("the peer's word", |ends| ends.client.bytes() == b"go on");
    // A quarter of the budget more is taken as well, and then nothing is read.
    client.write(&[7; 250]);
    assert!(!client.is_reading());
    ends.server.transport().resume_reading();
    ends.until("all of it", |ends| ends.server.received() == long.len() + 250);
    assert_same(&ends.server.bytes()[..long.len()], &long);
    assert!(client.is_reading());
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

#[derive(Default)]
struct Noted(RefCell<Vec<&'static str>>);

impl Producer for Noted {
    fn resume_producing(&self) {
        self.0.borrow_mut().push("resume");
    }

    fn pause_producing(&self) {
        self.0.borrow_mut().push("pause");
    }

    fn stop_producing(&self) {
        self.0.borrow_mut().push("stop");
    }
}

on_every_driver!(
    a_push_producer_is_paused_with_the_budget_and_resumed_when_all_has_left,
    |ground| {
        let ends = full(ground, Probe::new(), Probe::new());
        let (client, producer) = (ends.client.transport(), Rc::new(Noted::default()));
        client.set_budget(20_000);
        client.register_producer(Rc::clone(&producer) as Rc<dyn Producer>, true).unwrap();
        top_up(&client, 20_001);
        ends.idle();
        assert_eq!(*producer.0.borrow(), ["pause"], "long before the usual 64 KiB");
        ends.server.transport().resume_reading();
        ends.until("all to leave", |_| client.pending() == 0);
        ends.idle();
        assert_eq!(*producer.0.borrow(), ["pause", "resume"]);
        client.unregister_producer();
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
);

on_every_driver!(a_pull_producer_is_asked_for_nothing_while_the_budget_is_spent, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let (client, producer) = (ends.client.transport(), Rc::new(Noted::default()));
    client.set_budget(20_000);
    top_up(&client, 20_001);
    client.register_producer(Rc::clone(&producer) as Rc<dyn Producer>, false).unwrap();
    ends.idle();
    assert_eq!(producer.0.borrow().len(), 0, "not even when it is registered");
    ends.server.transport().resume_reading();
    ends.until("to be asked", |_| producer.0.borrow().len() == 1);
    assert_eq!(client.pending(), 0);
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

on_every_driver!(a_hold_lasts_through_a_hand_over, |ground| {
    let next = Probe::new();
    let tape = next.tape();
    let next = Cell::new(Some(next));
    let first = Probe::new().on_data(move |transport, data| {
        // In the callback that hands over the budget is spent, and a part of the input is not used.
        top_up(transport, transport.pending().max(30_001));
        transport.upgrade(next.take().unwrap(), &data[1..]);
    });
    let ends = full(ground, first, Probe::new());
    let (client, server) = (ends.client.transport(), ends.server.transport());
    client.set_budget(30_000);
    server.write(b"abc");
    ends.until("the hand-over", |_| tape.is_made());
    server.write(b"def");
    ends.idle();
    assert_eq!(tape.received(), 0);
    server.resume_reading();
    ends.until("what was held", |_| tape.bytes() == b"bcdef");
    end(&ends.reactor, &[&tape, &ends.server]);
});

on_every_driver!(bytes_that_come_again_after_the_callback_come_before_the_end, |ground| {
    let story = Rc::<RefCell<String>>::default();
    let (hears, ends_with) = (Rc::clone(&story), Rc::clone(&story));
    // Each byte is answered with more than may wait, so that the next comes in another callback.
    let next = Probe::new()
        .on_data(move |transport, data| {
            hears.borrow_mut().push(char::from(data[0]));
            transport.write(&[0; 2000]);
            assert!(!transport.is_reading());
            transport.unread(&data[1..]);
        })
        .on_read_lost(move |transport| {
            ends_with.borrow_mut().push('.');
            transport.lose_connection();
        });
    let (tape, next) = (next.tape(), Cell::new(Some(next)));
    let first = Probe::new().on_read_lost(move |transport| {
        transport.set_budget(1000);
        transport.upgrade(next.take().unwrap(), b"abcdef");
    });
    let ends = Ends::join(ground, first, Probe::half_close());
    ends.server.transport().lose_write_connection();
    ends.until("the end", |_| tape.is_lost());
    assert_eq!(*story.borrow(), "abcdef.");
    ends.until("all answers", |ends| ends.server.received() == 12_000);
});

on_every_driver!(a_close_while_held_delivers_everything, |ground| {
    let server = Probe::half_close().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    let (client, server) = (ends.client.transport(), ends.server.transport());
    let before = fill(&ends.reactor, &client);
    client.set_budget(BUDGET);
    let waited = client.pending();
    top_up(&client, BUDGET + 1);
    client.lose_connection();
    ends.idle();
    assert!(!ends.client.is_lost());
    server.resume_reading();
    ends.until("the end", |ends| ends.client.is_lost() && ends.server.has("read_lost"));
    assert_eq!(ends.client.reason(), "Done");
    assert_eq!(ends.server.received(), before - waited + BUDGET + 1);
    end(&ends.reactor, &[&ends.server]);
});

on_every_driver!(a_reset_is_noticed_while_held, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.set_budget(BUDGET);
    top_up(&client, BUDGET + 1);
    ends.server.transport().abort_connection();
    ends.until_lost();
    assert!(ends.client.reason().starts_with("Lost("), "{}", ends.client.reason());
    assert_eq!(ends.reactor.figures().counted, 0);
});

on_every_driver!(a_larger_budget_lets_it_go_on, |ground| {
    let ends = full(ground, Probe::new(), Probe::new());
    let client = ends.client.transport();
    client.set_budget(BUDGET);
    top_up(&client, BUDGET + 1);
    assert!(!client.is_reading());
    client.set_budget(3 * BUDGET);
    assert!(client.is_reading());
    end(&ends.reactor, &[&ends.client, &ends.server]);
});

/// Keeps everything until the first byte from the peer, as a handshake does.
#[derive(Default)]
struct Shy {
    kept: Vec<u8>,
    open: bool,
}

impl Layer for Shy {
    fn name(&self) -> &'static str {
        "shy"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        self.open = true;
        io.down.append(&mut self.kept);
        io.up.extend_from_slice(wire);
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        let to = if self.open { &mut io.down } else { &mut self.kept };
        to.extend_from_slice(plain);
        Ok(())
    }

    fn held(&self) -> usize {
        self.kept.len()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

on_every_driver!(
    what_a_layer_holds_back_counts_and_does_not_keep_it_from_its_handshake,
    |ground| {
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        let (client, server) = (ends.client.transport(), ends.server.transport());
        client.set_budget(1000);
        client.start_layer(Shy::default(), b"");
        client.write(&[1; 1200]);
        ends.idle();
        assert_eq!(ends.reactor.figures().counted, 1200);
        assert!(client.is_reading(), "it waits for the peer, and the peer's bytes for nobody");
        server.write(b"hello");
        ends.until("what was held back", |ends| ends.server.received() == 1200);
        assert_eq!(ends.client.bytes(), b"hello");
        ends.idle();
        assert_eq!(ends.reactor.figures().counted, 0);
        end(&ends.reactor, &[&ends.client, &ends.server]);
    }
);
