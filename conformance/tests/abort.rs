//! Abort, and what may follow it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::{Ground, on_every_driver};
use marline_core::Transport;
use marline_core::flow::Producer;

use crate::streams::kit::{Ends, Probe, open_kinds};

/// Both ends after one of them aborted: the story and reason of each.
#[track_caller]
fn assert_aborted(ends: &Ends, story: &str) {
    ends.until_lost();
    assert_eq!((ends.client.story().as_str(), ends.client.reason().as_str()), (story, "Aborted"));
    assert_eq!(ends.server.reason(), "Lost(ConnectionReset)");
    assert_eq!(open_kinds(&ends.reactor), ["port"]);
}

// 80
on_every_driver!(an_abort_inside_data_received_is_told_after_that_call, |ground| {
    let returned = Rc::new(Cell::new(false));
    let (flag, after) = (Rc::clone(&returned), Rc::clone(&returned));
    let client = Probe::new()
        .on_data(move |transport, _| {
            transport.abort_connection();
            flag.set(true);
        })
        .on_lost(move |_| assert!(after.get()));
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
    assert_aborted(&ends, "made data lost");
});

on_every_driver!(an_abort_works_from_inside_every_callback, |ground| {
    let abort = |transport: &Transport| transport.abort_connection();
    let check = |client: Probe, server: Probe, story: &str| {
        let ends = Ends::begin(ground, client, server);
        ends.until("the loss", |ends| ends.client.is_lost());
        ends.idle();
        assert_eq!(
            (ends.client.story().as_str(), ends.client.reason().as_str()),
            (story, "Aborted")
        );
        assert_eq!(
            open_kinds(&ends.reactor).iter().filter(|kind| **kind == "connector").count(),
            0
        );
    };
    check(Probe::new().on_made(abort), Probe::new(), "made lost");
    let writes = || Probe::new().on_made(|t| t.write(b"x"));
    check(Probe::new().on_data(|t, _| t.abort_connection()), writes(), "made data lost");
    let ends_stream = || Probe::half_close().on_made(|t| t.lose_write_connection());
    check(Probe::new().on_read_lost(abort), ends_stream(), "made read_lost lost");
    let client = Probe::new().on_made(|t| t.lose_write_connection()).on_write_lost(abort);
    check(client, Probe::half_close(), "made write_lost lost");
    let client = Probe::new().on_made(|t| t.notify_writable()).on_writable(abort);
    check(client, Probe::new(), "made writable lost");
});

// Section 6 of the design: the peer gets none of it, only the reset.
on_every_driver!(an_abort_drops_what_the_same_callback_wrote, |ground| {
    let client = Probe::new().on_data(|transport, data| {
        transport.write(b"own bytes");
        transport.write(data);
        transport.abort_connection();
        transport.write(b"and later");
    });
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(&[7; 10_000])));
    assert_aborted(&ends, "made data lost");
    assert_eq!(ends.server.story(), "made lost");
    assert_eq!(ends.client.transport().pending(), 0);
});

on_every_driver!(an_abort_of_another_connection_spares_what_this_callback_wrote, |ground| {
    let other = Ends::join(ground, Probe::new(), Probe::new());
    let victim = other.client.transport();
    let server = Probe::new().on_data(move |transport, _| {
        transport.write(b"kept");
        victim.write(b"dropped");
        victim.abort_connection();
    });
    let ends =
        Ends::begin_on(other.reactor.clone(), Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until("the answer", |ends| ends.client.received() == 4);
    other.until("the other's end", |other| other.server.is_lost());
    assert_eq!(other.server.story(), "made lost");
    assert_eq!(other.server.reason(), "Lost(ConnectionReset)");
});

// 81
on_every_driver!(aborting_twice_or_aborting_and_closing_makes_one_loss, |ground| {
    let both: [fn(&Transport); 4] = [
        |transport| {
            transport.abort_connection();
            transport.abort_connection();
        },
        |transport| {
            transport.abort_connection();
            transport.lose_connection();
        },
        |transport| {
            transport.lose_connection();
            transport.abort_connection();
        },
        |transport| {
            transport.lose_write_connection();
            transport.abort_connection();
            transport.lose_write_connection();
        },
    ];
    for end in both {
        // From the client and from the server, inside a callback and outside.
        let client = Probe::new().on_data(move |transport, _| end(transport)).on_lost(end);
        let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
        assert_aborted(&ends, "made data lost");
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        end(&ends.server.transport());
        ends.until_lost();
        end(&ends.server.transport());
        ends.idle();
        assert_eq!(
            (ends.server.story().as_str(), ends.server.reason().as_str()),
            ("made lost", "Aborted")
        );
        assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
    }
});

on_every_driver!(both_ends_may_abort_at_once, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.client.transport().abort_connection();
    ends.server.transport().abort_connection();
    ends.until_lost();
    for tape in [&ends.client, &ends.server] {
        assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Aborted"));
    }
});

// ---- with producers

/// A producer that writes, or not, then ends the connection from inside its resume, and may panic at last.
struct Ending {
    to: RefCell<Option<Transport>>,
    writes: usize,
    panics: bool,
    stopped: Cell<u32>,
}

impl Producer for Ending {
    fn resume_producing(&self) {
        let transport = self.to.borrow().clone().unwrap();
        if self.writes > 0 {
            transport.write(&vec![0; self.writes]);
        }
        transport.abort_connection();
        assert!(!self.panics, "after the abort");
    }

    fn stop_producing(&self) {
        self.stopped.set(self.stopped.get() + 1);
    }
}

fn ending(ground: Ground, moved: bool, writes: usize, panics: bool) -> (Ends, Rc<Ending>) {
    let producer =
        Rc::new(Ending { to: RefCell::default(), writes, panics, stopped: Cell::new(0) });
    let registered = Rc::clone(&producer);
    let client = Probe::new().on_data(move |transport, _| {
        *registered.to.borrow_mut() = Some(transport.clone());
        let producer = Rc::clone(&registered) as Rc<dyn Producer>;
        transport.register_producer(producer, false).unwrap();
    });
    let ends = Ends::join(ground, client, Probe::new());
    if moved {
        // Bytes have gone both ways before.
        ends.client.transport().write(b"before");
        ends.until("the bytes", |ends| ends.server.received() == 6);
    }
    ends.server.transport().write(b"go");
    ends.until_lost();
    (ends, producer)
}

// 82
on_every_driver!(an_abort_in_a_producers_resume_ends_it_and_stops_the_producer, |ground| {
    for moved in [false, true] {
        for writes in [0, 10, 5_000_000] {
            let (ends, producer) = ending(ground, moved, writes, false);
            assert_aborted(&ends, "made data lost");
            assert_eq!(producer.stopped.get(), 1);
            assert_eq!(ends.server.received(), if moved { 6 } else { 0 });
        }
    }
});

// 84
on_every_driver!(a_panic_after_an_abort_in_a_producers_resume_is_the_reason, |ground| {
    let (ends, producer) = ending(ground, true, 10, true);
    assert_eq!(ends.client.story(), "made data lost");
    assert_eq!(ends.client.reason(), "Panicked(after the abort)");
    assert_eq!(producer.stopped.get(), 1);
});

// 84
on_every_driver!(a_panic_after_an_abort_in_data_received_is_the_reason, |ground| {
    let client = Probe::new().on_data(|transport, _| {
        transport.abort_connection();
        panic!("after the abort");
    });
    let ends = Ends::join(ground, client, Probe::new().on_made(|t| t.write(b"x")));
    ends.until_lost();
    assert_eq!(ends.client.story(), "made data lost");
    assert_eq!(ends.client.reason(), "Panicked(after the abort)");
    assert_eq!(ends.server.reason(), "Lost(ConnectionReset)");
});

// 83
on_every_driver!(an_abort_with_much_unsent_and_a_peer_that_does_not_read_ends_promptly, |ground| {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(&vec![0; 16_000_000]);
    ends.idle();
    assert!(ends.client.transport().pending() > 0);
    ends.client.transport().abort_connection();
    assert_eq!(ends.client.transport().pending(), 0);
    // In the next turn, whatever the peer does.
    ends.reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
    assert_eq!(
        (ends.client.story().as_str(), ends.client.reason().as_str()),
        ("made lost", "Aborted")
    );
    assert_aborted(&ends, "made lost");
    assert_eq!(ends.server.story(), "made lost");
});

on_every_driver!(an_abort_ends_a_close_that_waits_for_a_peer_that_does_not_read, |ground| {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(&vec![0; 16_000_000]);
    ends.client.transport().lose_connection();
    ends.idle();
    assert_eq!(ends.client.story(), "made");
    ends.client.transport().abort_connection();
    assert_aborted(&ends, "made lost");
});

on_every_driver!(no_data_comes_after_an_abort, |ground| {
    // Much is on the way, and reading it again and again would be possible.
    let client = Probe::new().on_data(|transport, _| {
        transport.unread(b"again");
        transport.abort_connection();
        transport.resume_reading();
        transport.unread(b"and again");
    });
    let server = Probe::new().on_made(|transport| transport.write(&vec![1; 4_000_000]));
    let ends = Ends::join(ground, client, server);
    assert_aborted(&ends, "made data lost");
});
