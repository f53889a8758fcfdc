//! Peers that reset, and peers that vanish in an orderly way, at every point of a connection's life.

use std::cell::RefCell;
use std::rc::Rc;

use marline_conformance::{Ground, on_every_driver};
use marline_core::Transport;
use marline_core::flow::Producer;

use crate::layers::Clear;
use crate::streams::kit::{Ends, Probe, Tape, open_kinds, pattern};

/// The points at which the peer may go: what the server does to get there, and what the client has to write for it.
const POINTS: [&str; 12] = [
    "idle",
    "spoken to",
    "paused",
    "paused with bytes held",
    "much unsent",
    "closing with much unsent",
    "half-closed",
    "half-closed by the peer",
    "fed by a push producer",
    "fed by a pull producer",
    "layered",
    "handed over",
];

struct Faucet(RefCell<Vec<&'static str>>);

impl Producer for Faucet {
    fn resume_producing(&self) {
        self.0.borrow_mut().push("resume");
    }

    fn stop_producing(&self) {
        self.0.borrow_mut().push("stop");
    }
}

/// A connection brought to that point, with the tape of the server's protocol in charge.
fn at(ground: Ground, point: &str) -> (Ends, Tape, Rc<Faucet>) {
    let client = Probe::half_close().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, client, Probe::half_close());
    let faucet = Rc::new(Faucet(RefCell::default()));
    let (client, server) = (ends.client.transport(), ends.server.transport());
    let mut in_charge = ends.server.clone();
    match point {
        "spoken to" => client.write(b"hello"),
        "paused" => server.pause_reading(),
        "paused with bytes held" => {
            client.write(b"hello");
            ends.until("the bytes", |ends| ends.server.received() == 5);
            server.pause_reading();
            server.unread(b"lo");
        }
        "much unsent" => server.write(&pattern(8_000_000)),
        "closing with much unsent" => {
            server.write(&pattern(8_000_000));
            server.lose_connection();
        }
        "half-closed" => server.lose_write_connection(),
        "half-closed by the peer" => client.lose_write_connection(),
        "fed by a push producer" | "fed by a pull producer" => {
            let streaming = point == "fed by a push producer";
            server.register_producer(Rc::clone(&faucet) as Rc<dyn Producer>, streaming).unwrap();
            server.write(&pattern(8_000_000));
        }
        "layered" => server.start_layer(Clear, b""),
        "handed over" => {
            let next = Probe::half_close();
            in_charge = next.tape();
            server.upgrade(next, b"");
        }
        _ => {}
    }
    ends.idle();
    (ends, in_charge, faucet)
}

fn assert_over(ends: &Ends, tape: &Tape, point: &str) {
    ends.until(point, |ends| tape.is_lost() && ends.client.is_lost());
    ends.idle();
    tape.assert_in_order();
    assert!(tape.is_dropped(), "{point}");
    assert_eq!(open_kinds(&ends.reactor), ["port"], "{point}");
}

on_every_driver!(a_reset_at_any_point_is_told_once, |ground| {
    for point in POINTS {
        let (ends, tape, faucet) = at(ground, point);
        ends.client.transport().abort_connection();
        assert_over(&ends, &tape, point);
        assert!(tape.reason().starts_with("Lost("), "{point}: {}", tape.reason());
        let stops = faucet.0.borrow().iter().filter(|note| **note == "stop").count();
        assert_eq!(stops, usize::from(point.starts_with("fed")), "{point}");
    }
});

on_every_driver!(an_own_abort_at_any_point_is_told_once, |ground| {
    for point in POINTS {
        let (ends, tape, _) = at(ground, point);
        ends.server.transport().abort_connection();
        ends.client.transport().resume_reading();
        assert_over(&ends, &tape, point);
        assert_eq!(tape.reason(), "Aborted", "{point}");
    }
});

on_every_driver!(a_reset_while_connecting_is_a_failed_attempt_or_a_lost_connection, |ground| {
    // The server ends it before the client can have heard that it stands.
    let reset = |transport: &Transport| transport.abort_connection();
    for _ in 0..20 {
        let ends = Ends::begin(ground, Probe::new(), Probe::new().on_made(reset));
        ends.until("the end", |ends| ends.client.is_dropped() && ends.server.is_lost());
        ends.idle();
        assert_eq!(ends.client.is_made(), ends.client.is_lost());
        match ends.connected.take() {
            Ok(_) => assert_eq!(ends.client.reason(), "Lost(ConnectionReset)"),
            Err(error) => assert!(!ends.client.is_made(), "{error}"),
        }
        assert_eq!(open_kinds(&ends.reactor), ["port"]);
    }
});

on_every_driver!(the_reactors_end_at_any_point_is_told_once, |ground| {
    for point in POINTS {
        let (ends, tape, _) = at(ground, point);
        let client = ends.client.clone();
        ends.reactor.close_all();
        for tape in [&tape, &client] {
            assert!(tape.is_lost(), "{point}");
            tape.assert_in_order();
            assert!(tape.is_dropped(), "{point}");
        }
        assert_eq!(tape.reason(), "Stopped", "{point}");
        assert!(ends.reactor.open().is_empty(), "{point}: {:?}", ends.reactor.open());
    }
});

on_every_driver!(the_last_handle_dropped_at_any_point_ends_everything, |ground| {
    for point in POINTS {
        let (ends, tape, _) = at(ground, point);
        let client = ends.client.clone();
        drop(ends);
        for tape in [&tape, &client] {
            assert!(tape.is_lost(), "{point}");
            tape.assert_in_order();
            assert!(tape.is_dropped(), "{point}");
        }
    }
});
