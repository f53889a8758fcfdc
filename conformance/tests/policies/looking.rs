//! What any policy may rely on.

use std::any::Any;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::failure::Failure;
use marline_core::layer::{Layer, LayerIo};
use marline_core::policy::{Direction, Policy, PolicyIo, Watch};
use marline_core::protocol::from_fn;
use marline_core::{CloseReason, Time};
use marline_protocols::policy::{Rate, Throttle};

use super::Witness;
use crate::layers::Flip;
use crate::streams::kit::{Ends, Probe, assert_same, connect, pattern, started, turn_until};

on_every_driver!(a_policy_sees_the_wire_below_a_layer_and_plain_text_above_it, |ground| {
    let (below, above) = (Witness::default(), Witness::default());
    let (first, last) = (below.clone(), above.clone());
    let server = Probe::new()
        .on_made(move |transport| {
            transport.start_policy(first.clone());
            transport.start_layer(Flip, b"");
            transport.start_policy(last.clone());
        })
        .on_data(|transport, data| transport.write(data));
    let sent = pattern(300_000);
    let bytes = sent.clone();
    let client = Probe::new().on_made(move |transport| {
        transport.start_layer(Flip, b"");
        transport.write(&bytes);
    });
    let ends = Ends::join(ground, client, server);
    ends.until("the echo", |ends| ends.client.received() == sent.len());
    assert_same(&ends.client.bytes(), &sent);
    let flipped: Vec<u8> = sent.iter().map(|byte| !byte).collect();
    for (witness, expected) in [(&below, &flipped), (&above, &sent)] {
        assert_same(&witness.0.borrow().received, expected);
        assert_same(&witness.0.borrow().written, expected);
    }
});

on_every_driver!(a_policy_sees_what_is_written_from_anywhere_in_the_order_it_leaves, |ground| {
    let witness = Witness::default();
    let policy = witness.clone();
    let server = Probe::new()
        .on_made(move |transport| {
            transport.write(b"before ");
            transport.start_policy(policy.clone());
            transport.write(b"behind ");
        })
        .on_data(|transport, data| {
            // Lent, copied, lent again and in pieces large enough to be sent as they are.
            transport.write(data);
            transport.write(b"copied");
            transport.write(&data[..data.len() / 2]);
            transport.write(data);
        });
    let ends = Ends::join(ground, Probe::new(), server);
    for piece in [pattern(1), pattern(50_000), pattern(3)] {
        let all = ends.client.received();
        ends.client.transport().write(&piece);
        ends.until("an answer", |ends| ends.client.received() > all);
        // Not from inside any callback.
        ends.server.transport().write(b" from outside ");
        ends.server.transport().write(b"twice ");
        ends.idle();
    }
    ends.until("all of it", |ends| {
        let seen = witness.0.borrow();
        ends.client.received() == b"before ".len() + seen.written.len()
    });
    assert_same(&ends.client.bytes()[b"before ".len()..], &witness.0.borrow().written);
    assert!(witness.0.borrow().written.starts_with(b"behind "));
    assert_same(&ends.server.bytes(), &witness.0.borrow().received);
});

on_every_driver!(a_policy_survives_an_upgrade_and_hears_the_end_last, |ground| {
    let witness = Witness::default();
    let policy = witness.clone();
    let mut policy = Some(policy);
    let next = Probe::new().on_data(|transport, data| transport.write(data));
    let mut next = Some(next);
    let server = Probe::new()
        .on_made(move |transport| transport.start_policy(policy.take().unwrap()))
        .on_data(move |transport, data| {
            transport.upgrade(next.take().unwrap(), data);
        });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(b"hello");
    ends.until("the echo of the next", |ends| ends.client.bytes() == b"hello");
    assert!(ends.server.transport().with_policy(|_: &mut Witness| ()).is_some());
    ends.client.transport().lose_connection();
    ends.until("the end", |_| witness.0.borrow().reason.is_some());
    assert_eq!(witness.story(), "attached received written due closing lost");
    assert_eq!(witness.0.borrow().written, b"hello");
});

/// Does something unpleasant at one of its callbacks.
struct Rude {
    at: &'static str,
    panics: bool,
}

impl Rude {
    fn act(&self, at: &str, io: &mut PolicyIo<'_>) {
        if at == self.at {
            assert!(!self.panics, "cannot bear it");
            io.abort(CloseReason::TimedOut);
        }
    }
}

impl Policy for Rude {
    fn name(&self) -> &'static str {
        "rude"
    }

    fn watches(&self) -> Watch {
        match self.at {
            "admit received" => Watch::LIMIT_RECEIVED,
            "admit written" => Watch::LIMIT_WRITTEN,
            _ => Watch::RECEIVED | Watch::WRITTEN,
        }
    }

    fn attached(&mut self, io: &mut PolicyIo<'_>) {
        // One in the past, which comes nevertheless, or one that never comes.
        io.set_deadline(Some(if self.at == "due" { Time::ZERO } else { Time::MAX }));
        self.act("attached", io);
    }

    fn received(&mut self, _bytes: &[u8], io: &mut PolicyIo<'_>) {
        self.act("received", io);
    }

    fn written(&mut self, _bytes: &[u8], io: &mut PolicyIo<'_>) {
        self.act("written", io);
    }

    fn admit(&mut self, direction: Direction, len: usize, io: &mut PolicyIo<'_>) -> usize {
        let at = if direction == Direction::Received { "admit received" } else { "admit written" };
        self.act(at, io);
        len
    }

    fn due(&mut self, io: &mut PolicyIo<'_>) {
        self.act("due", io);
    }

    fn closing(&mut self, io: &mut PolicyIo<'_>) {
        self.act("closing", io);
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

const PLACES: [&str; 7] =
    ["attached", "received", "written", "admit received", "admit written", "due", "closing"];

on_every_driver!(a_policy_that_panics_or_aborts_anywhere_ends_its_connection_alone, |ground| {
    let reactor = started(ground);
    let bystander = Ends::begin_on(
        reactor.clone(),
        Probe::new(),
        Probe::new().on_data(|transport, data| transport.write(data)),
    );
    for (at, panics) in PLACES.iter().flat_map(|at| [(*at, true), (*at, false)]) {
        let server = Probe::new()
            .on_made(move |transport| transport.start_policy(Rude { at, panics }))
            .on_data(|transport, data| {
                transport.write(data);
                transport.lose_connection();
            });
        let ends = Ends::begin_on(reactor.clone(), Probe::new().on_made(|t| t.write(b"x")), server);
        turn_until(&reactor, at, || ends.server.is_lost());
        let expected = if panics { "Panicked(cannot bear it)" } else { "TimedOut" };
        assert_eq!(ends.server.reason(), expected, "at {at}");
        let heard = ["received", "admit received", "attached", "due"].contains(&at);
        if heard {
            assert_eq!(ends.server.received(), 0, "a byte came past {at}");
        }
        ends.server.assert_in_order();
    }
    turn_until(&reactor, "the bystander", || bystander.client.is_made());
    bystander.client.transport().write(b"still there");
    turn_until(&reactor, "its echo", || bystander.client.bytes() == b"still there");
});

/// Lets through what it was told to.
#[derive(Default)]
struct Gate {
    open: bool,
}

impl Policy for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn watches(&self) -> Watch {
        Watch::LIMIT_RECEIVED | Watch::LIMIT_WRITTEN
    }

    fn admit(&mut self, _direction: Direction, len: usize, _io: &mut PolicyIo<'_>) -> usize {
        if self.open { len } else { 0 }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

on_every_driver!(what_a_policy_holds_goes_on_when_it_was_changed, |ground| {
    let server = Probe::new()
        .on_made(|transport| transport.start_policy(Gate::default()))
        .on_data(|transport, data| transport.write(data));
    let client = Probe::new().on_made(|transport| {
        transport.write(b"hello");
        transport.lose_write_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.idle();
    assert_eq!(ends.server.story(), "made");
    let transport = ends.server.transport();
    // The user's pause and the policy's hold both have to end.
    transport.pause_reading();
    assert_eq!(transport.with_policy(|gate: &mut Gate| gate.open = true), Some(()));
    ends.idle();
    assert_eq!(ends.server.story(), "made");
    transport.resume_reading();
    // Data, the end behind it, and by default a close that delivers the answer.
    ends.until_lost();
    assert_eq!(ends.server.story(), "made data read_lost lost");
    assert_eq!(ends.client.bytes(), b"hello");
});

on_every_driver!(a_hold_outlasts_a_resume_by_the_user, |ground| {
    let server = Probe::new().on_made(|transport| transport.start_policy(Gate::default()));
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"one")), server);
    ends.idle();
    let transport = ends.server.transport();
    transport.pause_reading();
    transport.resume_reading();
    ends.client.transport().write(b"two");
    ends.idle();
    assert_eq!(ends.server.received(), 0);
    transport.with_policy(|gate: &mut Gate| gate.open = true);
    ends.until("all of it", |ends| ends.server.bytes() == b"onetwo");
});

on_every_driver!(a_close_waits_for_what_a_policy_holds_and_an_abort_drops_it, |ground| {
    for abort in [false, true] {
        let server = Probe::new().on_made(|transport| {
            transport.start_policy(Gate::default());
            transport.write(b"held");
            assert_eq!(transport.pending(), 4);
        });
        let ends = Ends::join(ground, Probe::new(), server);
        let transport = ends.server.transport();
        transport.lose_connection();
        ends.idle();
        assert_eq!((ends.client.received(), ends.server.is_lost()), (0, false));
        if abort {
            transport.abort_connection();
        } else {
            transport.with_policy(|gate: &mut Gate| gate.open = true);
        }
        ends.until_lost();
        let expected: &[u8] = if abort { b"" } else { b"held" };
        assert_eq!(ends.client.bytes(), expected);
        assert_eq!(ends.server.reason(), if abort { "Aborted" } else { "Done" });
    }
});

/// Says goodbye at length.
struct Polite;

impl Layer for Polite {
    fn name(&self) -> &'static str {
        "polite"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend_from_slice(wire);
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(plain);
        Ok(())
    }

    fn closing(&mut self, io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend(pattern(10_000));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

on_every_driver!(the_last_words_of_a_layer_leave_whole_through_a_throttle, |ground| {
    for half in [false, true] {
        let rate = Rate::new(100_000, 1000).unwrap();
        let server = Probe::half_close().on_made(move |transport| {
            transport.start_policy(Throttle::new().writing(&rate));
            transport.start_layer(Polite, b"");
            transport.write(b"hello");
            match half {
                true => transport.lose_write_connection(),
                false => transport.lose_connection(),
            }
        });
        let ends = Ends::join(ground, Probe::new(), server);
        ends.until("the end of the stream", |ends| ends.client.has("read_lost"));
        assert_same(&ends.client.bytes(), &[b"hello", &pattern(10_000)[..]].concat());
    }
});

on_every_driver!(a_producer_pauses_for_what_a_policy_holds, |ground| {
    let server = Probe::new().on_made(|transport| {
        transport.start_policy(Gate::default());
        transport.write(&[0; 200_000]);
    });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.idle();
    let feeder = Ends::begin_on(ends.reactor.clone(), Probe::new(), Probe::new());
    feeder.until("the feeder", |feeder| feeder.client.is_made());
    let (transport, source) = (ends.server.transport(), feeder.client.transport());
    transport.register_producer(std::rc::Rc::new(source.clone()), true).unwrap();
    ends.idle();
    assert!(source.is_paused());
    transport.with_policy(|gate: &mut Gate| gate.open = true);
    ends.until("the resume", |_| !source.is_paused());
    assert_eq!(transport.pending(), 0);
});

on_every_driver!(a_connection_with_policies_leaves_no_timer_behind, |ground| {
    let reactor = started(ground);
    let factory = from_fn(|link| {
        link.add_policy(Rude { at: "never", panics: false });
        Some(Probe::new())
    });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let connection = connect(&reactor, &port.local_addr(), Probe::new());
    let timers = || reactor.open().iter().filter(|open| open.kind == "timer").count();
    turn_until(&reactor, "the policy's timer", || timers() == 1);
    connection.transport().lose_connection();
    turn_until(&reactor, "its end", || timers() == 0);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.open().len(), 1, "the port alone");
});
