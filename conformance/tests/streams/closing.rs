//! Closing: everything written is delivered, half-close both ways, and what is told in which order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::flow::Producer;
use marline_core::{Reactor, Transport};

use super::kit::{Ends, Probe, assert_same, idle, listen_once, open_kinds, pattern, started};

const MUCH: usize = 8 * 1024 * 1024;

/// A reader that takes a while over each piece.
fn slow_reader() -> Probe {
    Probe::new().on_data(|transport, _| {
        transport.pause_reading();
        let (reactor, transport) = (transport.reactor().unwrap(), transport.clone());
        reactor.call_later(Duration::from_micros(200), move |_| transport.resume_reading());
    })
}

/// Feeds a transport so many bytes, push or pull, and then says that there are no more.
struct Feeder {
    to: RefCell<Option<Transport>>,
    bytes: Vec<u8>,
    at: Cell<usize>,
    streaming: bool,
    running: Cell<bool>,
    stopped: Cell<bool>,
}

impl Feeder {
    fn new(bytes: Vec<u8>, streaming: bool) -> Rc<Self> {
        Rc::new(Self {
            to: RefCell::default(),
            bytes,
            at: Cell::new(0),
            streaming,
            running: Cell::new(true),
            stopped: Cell::new(false),
        })
    }

    fn register(self: &Rc<Self>, transport: &Transport) {
        *self.to.borrow_mut() = Some(transport.clone());
        transport.register_producer(Rc::clone(self) as Rc<dyn Producer>, self.streaming).unwrap();
        if self.streaming {
            self.produce(&transport.reactor().unwrap());
        }
    }

    fn feed(&self) {
        let transport = self.to.borrow().clone().unwrap();
        let end = (self.at.get() + 50_000).min(self.bytes.len());
        transport.write(&self.bytes[self.at.get()..end]);
        self.at.set(end);
        if end == self.bytes.len() {
            transport.unregister_producer();
        }
    }

    /// A push producer makes bytes by itself while it may.
    fn produce(self: &Rc<Self>, reactor: &Reactor) {
        if self.stopped.get() || self.at.get() == self.bytes.len() {
            return;
        }
        if self.running.get() {
            self.feed();
        }
        let this = Rc::clone(self);
        reactor.call_later(Duration::from_micros(50), move |reactor| this.produce(reactor));
    }
}

impl Producer for Feeder {
    fn resume_producing(&self) {
        self.running.set(true);
        if !self.streaming {
            self.feed();
        }
    }

    fn pause_producing(&self) {
        assert!(self.streaming, "a pull producer is never paused");
        self.running.set(false);
    }

    fn stop_producing(&self) {
        self.stopped.set(true);
    }
}

on_every_driver!(a_close_delivers_everything_written_before_it_to_a_slow_reader, |ground| {
    let sent = pattern(MUCH);
    let bytes = sent.clone();
    let client = Probe::new().on_made(move |transport| {
        transport.write(&bytes);
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, slow_reader());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.server.story(), "made data read_lost lost");
    assert_eq!(ends.client.story(), "made lost");
    assert_eq!((ends.client.reason(), ends.server.reason()), ("Done".into(), "Done".into()));
});

// 63
on_every_driver!(a_close_waits_for_a_push_producer_and_delivers_what_it_makes, |ground| {
    closes_after_its_producer(ground, true);
});

// 63
on_every_driver!(a_close_waits_for_a_pull_producer_and_delivers_what_it_makes, |ground| {
    closes_after_its_producer(ground, false);
});

fn closes_after_its_producer(ground: marline_conformance::Ground, streaming: bool) {
    let sent = pattern(MUCH);
    let feeder = Feeder::new(sent.clone(), streaming);
    let producer = Rc::clone(&feeder);
    let client = Probe::new().on_made(move |transport| {
        producer.register(transport);
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, slow_reader());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.client.reason(), "Done");
    assert!(!feeder.stopped.get(), "it unregistered by itself");
}

// 63; Twisted's TCP closes here and stops the producer, against its own documentation.
on_every_driver!(a_close_waits_for_a_running_push_producer_that_has_nothing_queued, |ground| {
    let feeder = Feeder::new(b"x".to_vec(), true);
    feeder.running.set(false);
    let producer = Rc::clone(&feeder);
    let client = Probe::new().on_made(move |transport| producer.register(transport));
    let ends = Ends::join(ground, client, Probe::new());
    ends.client.transport().lose_connection();
    ends.idle();
    assert_eq!(ends.client.story(), "made");
    assert_eq!(ends.server.story(), "made");
    assert!(!feeder.stopped.get());
    ends.client.transport().unregister_producer();
    ends.until_lost();
    assert_eq!(ends.client.reason(), "Done");
});

on_every_driver!(a_half_close_waits_for_a_producer, |ground| {
    let sent = pattern(1_000_000);
    let feeder = Feeder::new(sent.clone(), false);
    let client = Probe::new().on_made(move |transport| {
        feeder.register(transport);
        transport.lose_write_connection();
    });
    let ends = Ends::join(ground, client, slow_reader());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.client.story(), "made write_lost read_lost lost");
});

// Section 13: on Twisted's TCP these bytes still go out, on its TLS they do not.
on_every_driver!(bytes_written_after_a_close_are_dropped, |ground| {
    let client = Probe::new().on_made(|transport| {
        transport.write(b"before");
        transport.lose_connection();
        assert!(!transport.is_open());
        transport.write(b"after");
        transport.write_sequence([b"after".as_slice(), b"that"]);
    });
    let ends = Ends::join(ground, client, Probe::new());
    ends.until_lost();
    assert_eq!(ends.server.bytes(), b"before");
});

on_every_driver!(closing_again_and_again_ends_it_once, |ground| {
    let client = Probe::new()
        .on_made(|transport| {
            transport.lose_connection();
            transport.lose_write_connection();
            transport.lose_connection();
        })
        .on_lost(|transport| {
            transport.lose_connection();
            transport.lose_write_connection();
        });
    let ends = Ends::join(ground, client, Probe::new());
    ends.client.transport().lose_connection();
    ends.until_lost();
    ends.client.transport().lose_connection();
    ends.idle();
    assert_eq!(ends.client.story(), "made lost");
    assert_eq!(ends.server.story(), "made read_lost lost");
});

on_every_driver!(the_loss_is_told_after_the_callback_that_closed, |ground| {
    let seen = Rc::new(Cell::new(false));
    let flag = Rc::clone(&seen);
    let server = Probe::new().on_data(move |transport, _| {
        transport.lose_connection();
        flag.set(true);
    });
    let tape = server.tape();
    let after = Rc::clone(&seen);
    let server = server.on_lost(move |_| assert!(after.get()));
    let ends = Ends::join(ground, Probe::new().on_made(|transport| transport.write(b"x")), server);
    ends.until_lost();
    assert_eq!(tape.story(), "made data lost");
});

on_every_driver!(closing_works_from_inside_every_callback, |ground| {
    let closes = |transport: &Transport| transport.lose_connection();
    let speaks = || Probe::new().on_made(|transport| transport.write(b"x"));
    let story = |client, server| {
        let ends = Ends::join(ground, client, server);
        ends.until_lost();
        assert_eq!(ends.server.reason(), "Done");
        ends.server.story()
    };
    assert_eq!(story(Probe::new(), Probe::new().on_made(closes)), "made lost");
    let on_data = Probe::new().on_data(|transport, _| transport.lose_connection());
    assert_eq!(story(speaks(), on_data), "made data lost");
    let on_writable = Probe::new().on_made(|t| t.notify_writable()).on_writable(closes);
    assert_eq!(story(Probe::new(), on_writable), "made writable lost");
    let on_write_lost = Probe::new().on_made(|t| t.lose_write_connection()).on_write_lost(closes);
    assert_eq!(story(Probe::new(), on_write_lost), "made write_lost lost");
});

on_every_driver!(
    a_close_while_reading_is_paused_ends_it_and_what_was_unread_is_dropped,
    |ground| {
        let server = Probe::new().on_made(|transport| transport.pause_reading());
        let ends = Ends::join(ground, Probe::half_close(), server);
        ends.client.transport().write(b"never read");
        ends.idle();
        ends.server.transport().write(b"goodbye");
        ends.server.transport().lose_connection();
        ends.until("the farewell", |ends| ends.client.has("read_lost"));
        ends.client.transport().lose_connection();
        ends.until_lost();
        assert_eq!(ends.client.bytes(), b"goodbye");
        assert_eq!(ends.server.story(), "made lost");
        assert_eq!((ends.client.reason(), ends.server.reason()), ("Done".into(), "Done".into()));
    }
);

on_every_driver!(the_last_bytes_arrive_although_the_peer_is_still_sending, |ground| {
    let sent = pattern(300_000);
    let bytes = sent.clone();
    let server = Probe::new().on_data(move |transport, _| {
        transport.write(&bytes);
        transport.lose_connection();
    });
    let client = Probe::new().on_made(|transport| transport.write(b"go on")).on_data({
        // It talks on, although nobody listens any more: a hundred small pieces.
        let mut left = 100;
        move |transport, _| {
            if left > 0 {
                left -= 1;
                transport.write(&[0; 100]);
            }
        }
    });
    let ends = Ends::join(ground, client, server);
    ends.until_lost();
    assert_same(&ends.client.bytes(), &sent);
    assert_eq!(ends.client.reason(), "Done");
});

// 61
on_every_driver!(success_and_loss_are_told_with_nothing_else_going_on, |ground| {
    let reactor = ground.reactor();
    reactor.leave_signals_alone();
    let client = Probe::new().on_lost(|transport| transport.reactor().unwrap().stop().unwrap());
    let tape = client.tape();
    let server = Probe::new().on_made(|transport| transport.lose_connection());
    let port = listen_once(&reactor, server);
    reactor.connect_tcp(port.local_addr(), client).ignore();
    reactor.run().unwrap();
    assert_eq!(tape.story(), "made read_lost lost");
});

// ---- half-close

on_every_driver!(a_half_close_lets_the_other_direction_go_on, |ground| {
    let answer = pattern(1_000_000);
    let bytes = answer.clone();
    let client = Probe::new().on_made(|transport| {
        transport.write(b"question");
        transport.lose_write_connection();
    });
    let server = Probe::new().on_read_lost(move |transport| {
        transport.write(&bytes);
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.until_lost();
    assert_eq!(ends.server.bytes(), b"question");
    assert_same(&ends.client.bytes(), &answer);
    assert_eq!(ends.client.story(), "made write_lost data read_lost lost");
    assert_eq!(ends.server.story(), "made data read_lost lost");
    assert_eq!((ends.client.reason(), ends.server.reason()), ("Done".into(), "Done".into()));
});

on_every_driver!(a_half_close_happens_after_everything_written_has_left, |ground| {
    let sent = pattern(MUCH);
    let bytes = sent.clone();
    let client = Probe::new()
        .on_made(move |transport| {
            transport.write(&bytes);
            transport.lose_write_connection();
            assert!(transport.is_open());
        })
        .on_write_lost(|transport| assert_eq!(transport.pending(), 0));
    let ends = Ends::join(ground, client, slow_reader());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.client.story(), "made write_lost read_lost lost");
    assert_eq!(ends.client.reason(), "Done");
});

on_every_driver!(
    bytes_written_after_a_half_close_are_dropped_and_a_second_one_is_not_told,
    |ground| {
        let client = Probe::new()
            .on_made(|transport| {
                transport.write(b"before");
                transport.lose_write_connection();
                transport.write(b"after");
                transport.lose_write_connection();
            })
            .on_write_lost(|transport| {
                transport.write(b"later");
                transport.lose_write_connection();
            });
        let ends = Ends::join(ground, client, Probe::half_close());
        ends.until("the half-close", |ends| ends.server.has("read_lost"));
        ends.idle();
        assert_eq!(ends.server.bytes(), b"before");
        assert_eq!(ends.client.story(), "made write_lost");
        assert_eq!(ends.server.story(), "made data read_lost");
    }
);

on_every_driver!(
    by_default_the_end_of_the_peers_stream_closes_after_delivering_what_was_written,
    |ground| {
        let answer = pattern(MUCH);
        let bytes = answer.clone();
        let server = Probe::new().on_made(move |transport| transport.write(&bytes));
        let client = Probe::half_close().on_made(|transport| transport.lose_write_connection());
        let ends = Ends::join(ground, client, server);
        ends.until_lost();
        assert_same(&ends.client.bytes(), &answer);
        assert_eq!(ends.server.story(), "made read_lost lost");
        assert_eq!(ends.client.story(), "made write_lost data read_lost lost");
    }
);

on_every_driver!(two_half_closes_make_a_clean_end_without_a_close, |ground| {
    let half = || Probe::half_close().on_made(|transport| transport.lose_write_connection());
    let ends = Ends::join(ground, half(), half());
    ends.until_lost();
    for tape in [&ends.client, &ends.server] {
        assert_eq!(tape.reason(), "Done");
        assert!(tape.has("read_lost") && tape.has("write_lost"), "{}", tape.story());
    }
    drop(ends.connected);
    assert_eq!(open_kinds(&ends.reactor), ["port"]);
});

// 73
on_every_driver!(both_half_close_and_then_close_inside_the_notice, |ground| {
    let half = || {
        Probe::new()
            .on_made(|transport| transport.lose_write_connection())
            .on_read_lost(|transport| transport.lose_connection())
            .on_write_lost(|transport| transport.lose_connection())
    };
    let ends = Ends::join(ground, half(), half());
    ends.until_lost();
    assert_eq!((ends.client.reason(), ends.server.reason()), ("Done".into(), "Done".into()));
});

on_every_driver!(after_both_streams_ended_bytes_on_the_way_are_not_lost, |ground| {
    // The server ends its stream first; the client still has much to say.
    let sent = pattern(MUCH);
    let bytes = sent.clone();
    let client = Probe::half_close().on_read_lost(move |transport| {
        transport.write(&bytes);
        transport.lose_write_connection();
    });
    let server = slow_reader().on_made(|transport| transport.lose_write_connection());
    let ends = Ends::join(ground, client, server);
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    assert_eq!(ends.server.story(), "made write_lost data read_lost lost");
    assert_eq!(ends.client.story(), "made read_lost write_lost lost");
});

// ---- afterwards

// 55
on_every_driver!(after_the_loss_the_transport_answers_and_does_nothing, |ground| {
    let everything = |transport: &Transport| {
        transport.write(b"x");
        transport.write_sequence([b"y".as_slice(), b"z"]);
        transport.pause_reading();
        transport.resume_reading();
        transport.unread(b"u");
        transport.lose_write_connection();
        transport.lose_connection();
        transport.abort_connection();
        transport.notify_writable();
        transport.unregister_producer();
        assert_eq!(transport.pending(), 0);
        assert!(!transport.is_open());
        assert!(transport.set_no_delay(true).is_err());
        assert!(transport.keep_alive().is_err());
    };
    let client = Probe::new().on_made(|transport| transport.lose_connection()).on_lost(everything);
    let ends = Ends::join(ground, client, Probe::new());
    ends.until_lost();
    everything(&ends.client.transport());
    assert_eq!(ends.client.transport().peer_addr(), ends.port.local_addr());
    ends.idle();
    assert_eq!(ends.client.story(), "made lost");
    assert_eq!(ends.server.story(), "made read_lost lost");
});

// 57
on_every_driver!(the_reactor_forgets_the_protocol_after_the_loss, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let connection = ends.connected.take().unwrap();
    assert_eq!(open_kinds(&ends.reactor).len(), 3);
    assert!(!ends.client.is_dropped() && !ends.server.is_dropped());
    ends.client.transport().lose_connection();
    ends.until_lost();
    // Handles do not keep it alive.
    assert!(ends.client.is_dropped() && ends.server.is_dropped());
    assert!(connection.try_with(|_, _| ()).is_err());
    assert_eq!(open_kinds(&ends.reactor), ["port"]);
});

// Section 13: in Twisted a paused transport hears nothing of the end.
on_every_driver!(a_paused_connection_hears_that_the_reactor_stops, |ground| {
    let reactor = started(ground);
    let paused = || Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::begin_on(reactor.clone(), paused(), paused());
    ends.until("both were made", |ends| ends.client.is_made() && ends.server.is_made());
    idle(&reactor);
    reactor.stop().unwrap();
    while reactor.turn(None).unwrap() == marline_core::Turn::Continue {}
    for tape in [&ends.client, &ends.server] {
        assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made lost", "Stopped"));
    }
});
