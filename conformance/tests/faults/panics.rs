//! Panics in callbacks: exactly that connection ends, with that reason; the others and the reactor go on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{Connection, Protocol, Transport};

use crate::streams::kit::{
    Ends, Probe, Tape, attempt, connect, idle, listen, listen_once, open_kinds, started, turn_until,
};

/// Runs a connection whose server panics somewhere, beside one that must not notice.
fn panicking(ground: Ground, client: Probe, server: Probe) -> Ends {
    let bystanders = Ends::join(ground, Probe::new(), Probe::new());
    let ends = Ends::begin_on(bystanders.reactor.clone(), client, server);
    ends.until("the end", |ends| ends.server.is_lost() && ends.client.is_dropped());
    ends.idle();
    bystanders.client.transport().write(b"still here");
    bystanders.until("the bystanders' bytes", |ends| ends.server.received() == 10);
    assert_eq!(
        (bystanders.client.story(), bystanders.server.story()),
        ("made".into(), "made data".into())
    );
    ends.client.assert_in_order();
    assert!(ends.server.is_dropped());
    assert_eq!(open_kinds(&ends.reactor).iter().filter(|kind| **kind == "connection").count(), 2);
    drop(bystanders);
    ends
}

#[track_caller]
fn assert_end(ends: &Ends, story: &str, reason: &str) {
    assert_eq!((ends.server.story().as_str(), ends.server.reason().as_str()), (story, reason));
}

fn speaker() -> Probe {
    Probe::new().on_made(|transport| transport.write(b"x"))
}

// Section 13: in Twisted a server's connection stays open.
on_every_driver!(a_panic_in_connection_made_ends_that_connection, |ground| {
    let ends = panicking(ground, speaker(), Probe::new().on_made(|_| panic!("boom")));
    assert_end(&ends, "made lost", "Panicked(boom)");
    // The reset may come before the client knows that the connection stands.
    if ends.client.is_made() {
        assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
    }
    // And of a client.
    let reactor = started(ground);
    let server = Probe::new();
    let tape = server.tape();
    let port = listen_once(&reactor, server);
    let client = Probe::new().on_made(|_| panic!("boom"));
    let client_tape = client.tape();
    connect(&reactor, &port.local_addr(), client);
    turn_until(&reactor, "both ends", || {
        client_tape.is_lost() && (tape.is_lost() || !tape.is_made())
    });
    assert_eq!(
        (client_tape.story().as_str(), client_tape.reason().as_str()),
        ("made lost", "Panicked(boom)")
    );
});

on_every_driver!(a_panic_in_data_received_ends_that_connection, |ground| {
    let ends = panicking(ground, speaker(), Probe::new().on_data(|_, _| panic!("boom")));
    assert_end(&ends, "made data lost", "Panicked(boom)");
    assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
});

on_every_driver!(a_panic_drops_what_the_same_callback_wrote, |ground| {
    let server = Probe::new().on_data(|transport, data| {
        transport.write(b"half an answer");
        transport.write(data);
        panic!("boom");
    });
    let ends = panicking(ground, speaker(), server);
    assert_eq!(ends.client.received(), 0);
});

on_every_driver!(a_panic_in_read_connection_lost_ends_that_connection, |ground| {
    let client = Probe::half_close().on_made(|transport| transport.lose_write_connection());
    let ends = panicking(ground, client, Probe::new().on_read_lost(|_| panic!("boom")));
    assert_end(&ends, "made read_lost lost", "Panicked(boom)");
    assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
});

on_every_driver!(a_panic_in_write_connection_lost_ends_that_connection, |ground| {
    let server = Probe::new()
        .on_made(|transport| transport.lose_write_connection())
        .on_write_lost(|_| panic!("boom"));
    let ends = panicking(ground, Probe::new(), server);
    assert_end(&ends, "made write_lost lost", "Panicked(boom)");
});

on_every_driver!(a_panic_in_writable_ends_that_connection, |ground| {
    let server = Probe::new()
        .on_made(|transport| transport.notify_writable())
        .on_writable(|_| panic!("boom"));
    let ends = panicking(ground, Probe::new(), server);
    assert_end(&ends, "made writable lost", "Panicked(boom)");
});

on_every_driver!(a_panic_in_connection_lost_is_the_end_of_it, |ground| {
    let client = speaker().on_data(|transport, _| transport.lose_connection());
    let server =
        Probe::new().on_data(|transport, data| transport.write(data)).on_lost(|_| panic!("boom"));
    let ends = panicking(ground, client, server);
    assert_end(&ends, "made data read_lost lost", "Done");
    assert_eq!(ends.client.reason(), "Done");
});

on_every_driver!(a_panic_inside_with_from_a_timer_ends_that_connection, |ground| {
    let server = Probe::new().on_made(|transport| {
        let connection: Connection<Probe> = transport.connection().unwrap();
        transport.reactor().unwrap().call_soon(move |_| {
            connection
                .with(|_, _| panic!("boom"))
                .done(|result: Result<(), _>| drop(result.unwrap_err()));
        });
    });
    let ends = panicking(ground, Probe::new(), server);
    assert_end(&ends, "made lost", "Panicked(boom)");
});

on_every_driver!(a_panic_inside_a_deferred_with_ends_that_connection, |ground| {
    let server = Probe::new().on_data(|transport, _| {
        let connection: Connection<Probe> = transport.connection().unwrap();
        connection
            .with(|_, _| panic!("boom"))
            .done(|result: Result<(), _>| drop(result.unwrap_err()));
    });
    let ends = panicking(ground, speaker(), server);
    assert_end(&ends, "made data lost", "Panicked(boom)");
});

on_every_driver!(a_panic_after_a_close_in_the_same_callback_is_the_reason, |ground| {
    let server = Probe::new().on_data(|transport, _| {
        transport.lose_connection();
        panic!("boom");
    });
    let ends = panicking(ground, speaker(), server);
    assert_end(&ends, "made data lost", "Panicked(boom)");
});

on_every_driver!(a_panic_in_a_protocols_drop_hurts_nobody, |ground| {
    struct Fragile(Tape);
    impl Protocol for Fragile {
        fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
            transport.lose_connection();
        }
    }
    impl Drop for Fragile {
        fn drop(&mut self) {
            assert!(!self.0.is_made(), "broke while it was put away");
        }
    }
    let bystander = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = bystander.reactor.clone();
    let port = listen_once(&reactor, Fragile(bystander.client.clone()));
    let client = speaker();
    let tape = client.tape();
    connect(&reactor, &port.local_addr(), client);
    turn_until(&reactor, "the end", || tape.is_lost());
    idle(&reactor);
    bystander.client.transport().write(b"x");
    bystander.until("the byte", |ends| ends.server.received() == 1);
    // The next check's panic hook and this thread are as before.
    assert!(!std::thread::panicking());
});

on_every_driver!(a_panic_with_a_value_that_is_no_text_is_told_so, |ground| {
    let server = Probe::new().on_data(|_, _| std::panic::panic_any(42));
    let ends = panicking(ground, speaker(), server);
    assert_end(&ends, "made data lost", "Panicked((a panic without a text))");
});

on_every_driver!(a_hundred_panics_leave_nothing_behind, |ground| {
    let reactor = started(ground);
    let lost = Rc::new(Cell::new(0));
    let (count, turn) = (Rc::clone(&lost), Cell::new(0));
    let tapes: Rc<RefCell<Vec<Tape>>> = Rc::default();
    let list = Rc::clone(&tapes);
    let port = listen(&reactor, move || {
        turn.set(turn.get() + 1);
        let count = Rc::clone(&count);
        let probe = match turn.get() % 3 {
            0 => Probe::new().on_made(|_| panic!("made")),
            1 => Probe::new().on_data(|_, _| panic!("data")),
            _ => Probe::new().on_data(|transport, _| {
                transport.write(b"y");
                transport.lose_connection();
            }),
        };
        list.borrow_mut().push(probe.tape());
        probe.on_lost(move |_| {
            count.set(count.get() + 1);
            panic!("lost");
        })
    });
    for _ in 0..100 {
        attempt(&reactor, &port.local_addr(), speaker());
    }
    turn_until(&reactor, "every end", || lost.get() == 100 && open_kinds(&reactor) == ["port"]);
    for tape in tapes.borrow().iter() {
        assert!(tape.is_dropped());
        tape.assert_in_order();
    }
});
