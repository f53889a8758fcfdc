//! Producers registered with a transport: asked, paused, resumed and stopped at the right moments, and never from inside a method.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::Transport;
use marline_core::flow::Producer;
use marline_core::transport::AlreadyRegistered;

use super::kit::{
    Ends, Probe, assert_same, connect, idle, listen, listen_once, pattern, started, turn_until,
};

const LIMIT: usize = 65_536;

type Hook = Box<dyn FnMut(&Transport)>;

/// A producer that notes what it is told, and then does what the check wants.
#[derive(Default)]
struct Noted {
    to: RefCell<Option<Transport>>,
    notes: RefCell<Vec<&'static str>>,
    resume: RefCell<Option<Hook>>,
    pause: RefCell<Option<Hook>>,
    /// The check is inside a call to the transport.
    calling: Cell<bool>,
}

impl Noted {
    fn new() -> Rc<Self> {
        Rc::default()
    }

    fn on_resume(self: Rc<Self>, hook: impl FnMut(&Transport) + 'static) -> Rc<Self> {
        *self.resume.borrow_mut() = Some(Box::new(hook));
        self
    }

    fn register(
        self: &Rc<Self>,
        transport: &Transport,
        streaming: bool,
    ) -> Result<(), AlreadyRegistered> {
        *self.to.borrow_mut() = Some(transport.clone());
        self.calling.set(true);
        let result = transport.register_producer(Rc::clone(self) as Rc<dyn Producer>, streaming);
        self.calling.set(false);
        result
    }

    fn notes(&self) -> String {
        self.notes.borrow().join(" ")
    }

    fn count(&self, note: &str) -> usize {
        self.notes.borrow().iter().filter(|known| **known == note).count()
    }

    fn told(&self, note: &'static str, hook: &RefCell<Option<Hook>>) {
        let note = if self.calling.get() { "inside a call!" } else { note };
        self.notes.borrow_mut().push(note);
        let taken = hook.borrow_mut().take();
        if let Some(mut taken) = taken {
            let transport = self.to.borrow().clone().unwrap();
            taken(&transport);
            hook.borrow_mut().get_or_insert(taken);
        }
    }
}

impl Producer for Noted {
    fn resume_producing(&self) {
        self.told("resume", &self.resume);
    }

    fn pause_producing(&self) {
        self.told("pause", &self.pause);
    }

    fn stop_producing(&self) {
        self.told("stop", &RefCell::default());
    }
}

/// A connection whose server does not read, and whose way there is full, but for which hardly anything is queued here.
fn full(ground: marline_conformance::Ground) -> Ends {
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new(), server);
    let transport = ends.client.transport();
    let mut quiet = 0;
    while quiet < 10 {
        if transport.pending() == 0 {
            transport.write(&[0; 4096]);
            quiet = 0;
        } else {
            quiet += 1;
        }
        ends.reactor.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert!(transport.pending() <= 4096);
    ends
}

// 74
on_every_driver!(a_push_producer_is_paused_over_the_limit_and_not_at_it, |ground| {
    let ends = full(ground);
    let transport = ends.client.transport();
    let producer = Noted::new();
    producer.register(&transport, true).unwrap();
    transport.write(&vec![0; LIMIT - transport.pending()]);
    assert_eq!(transport.pending(), LIMIT);
    ends.idle();
    assert_eq!(producer.notes(), "");
    transport.write(&vec![0; LIMIT + 1 - transport.pending()]);
    ends.idle();
    assert_eq!(producer.notes(), "pause");
    // And not for each write beyond it.
    transport.write(&[0; LIMIT]);
    ends.idle();
    assert_eq!(producer.notes(), "pause");
});

// 74
on_every_driver!(a_push_producer_is_resumed_when_everything_has_left, |ground| {
    let ends = full(ground);
    let transport = ends.client.transport();
    let pending = Rc::new(Cell::new(usize::MAX));
    let seen = Rc::clone(&pending);
    let producer = Noted::new().on_resume(move |transport| seen.set(transport.pending()));
    producer.register(&transport, true).unwrap();
    transport.write(&vec![0; 4_000_000]);
    ends.until("the pause", |_| producer.count("pause") == 1);
    ends.idle();
    assert_eq!(producer.notes(), "pause");
    ends.server.transport().resume_reading();
    ends.until("the resume", |_| producer.count("resume") == 1);
    assert_eq!(pending.get(), 0);
    ends.idle();
    assert_eq!(producer.notes(), "pause resume");
});

on_every_driver!(
    a_push_producer_registered_when_too_much_waits_already_is_paused_at_once,
    |ground| {
        let ends = full(ground);
        let transport = ends.client.transport();
        transport.write(&vec![0; 1_000_000]);
        let producer = Noted::new();
        producer.register(&transport, true).unwrap();
        ends.idle();
        assert_eq!(producer.notes(), "pause");
    }
);

// 76
on_every_driver!(pauses_and_resumes_alternate_when_a_producer_always_writes_too_much, |ground| {
    let sent = pattern(48_000_000);
    let producer = Noted::new();
    let first = Rc::clone(&producer);
    let client = Probe::new().on_made(move |transport| first.register(transport, true).unwrap());
    let ends = Ends::join(ground, client, Probe::new());
    let transport = ends.client.transport();
    for piece in sent.chunks(16_000_000) {
        // It makes more as long as it was not paused, as a push producer does.
        let running = || producer.notes.borrow().last() != Some(&"pause");
        ends.until("leave to go on", |_| running());
        transport.write(piece);
        ends.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    transport.unregister_producer();
    transport.lose_connection();
    ends.until_lost();
    assert_same(&ends.server.bytes(), &sent);
    let notes = producer.notes.borrow();
    assert!(notes.windows(2).all(|pair| pair[0] != pair[1]), "{notes:?}");
    assert!(notes.contains(&"pause") && !notes.contains(&"stop"), "{notes:?}");
});

// 76
on_every_driver!(a_producer_that_writes_too_much_in_its_resume_is_paused_again, |ground| {
    let ends = full(ground);
    let transport = ends.client.transport();
    let rounds = Rc::new(Cell::new(0));
    let count = Rc::clone(&rounds);
    let producer = Noted::new().on_resume(move |transport| {
        count.set(count.get() + 1);
        if count.get() <= 3 {
            // More than any buffer of the system takes.
            transport.write(&vec![0; 16_000_000]);
        }
    });
    producer.register(&transport, true).unwrap();
    transport.write(&[0; LIMIT + 1]);
    ends.server.transport().resume_reading();
    ends.until("the last resume", |_| rounds.get() == 4);
    ends.idle();
    assert_eq!(producer.notes(), "pause resume ".repeat(4).trim_end());
});

// 74, 75
on_every_driver!(
    a_pull_producer_is_asked_at_once_and_whenever_all_has_left_and_never_paused,
    |ground| {
        let sent = pattern(10_000_000);
        let (bytes, at) = (sent.clone(), Cell::new(0));
        let producer = Noted::new().on_resume(move |transport| {
            assert_eq!(transport.pending(), 0);
            let end = (at.get() + 500_000).min(bytes.len());
            transport.write(&bytes[at.get()..end]);
            at.set(end);
            if end == bytes.len() {
                transport.unregister_producer();
            }
        });
        let first = Rc::clone(&producer);
        let client =
            Probe::new().on_made(move |transport| first.register(transport, false).unwrap());
        let ends = Ends::join(ground, client, Probe::new());
        ends.until("all of it", |ends| ends.server.received() == sent.len());
        ends.idle();
        assert_same(&ends.server.bytes(), &sent);
        assert_eq!(producer.notes.borrow().as_slice(), vec!["resume"; 20]);
    }
);

on_every_driver!(a_pull_producer_that_writes_nothing_is_asked_once, |ground| {
    let producer = Noted::new();
    let first = Rc::clone(&producer);
    let client = Probe::new().on_made(move |transport| first.register(transport, false).unwrap());
    let ends = Ends::join(ground, client, Probe::new());
    ends.idle();
    assert_eq!(producer.notes(), "resume");
    // What others write counts: when that has left it is asked again.
    ends.client.transport().write(b"x");
    ends.until("the byte", |ends| ends.server.received() == 1);
    ends.idle();
    assert_eq!(producer.notes(), "resume resume");
});

// 75
on_every_driver!(a_second_producer_is_refused_and_the_first_stays, |ground| {
    let ends = full(ground);
    let transport = ends.client.transport();
    let (first, second) = (Noted::new(), Noted::new());
    first.register(&transport, true).unwrap();
    assert_eq!(second.register(&transport, true), Err(AlreadyRegistered));
    assert_eq!(second.register(&transport, false), Err(AlreadyRegistered));
    transport.write(&vec![0; 1_000_000]);
    ends.idle();
    assert_eq!((first.notes().as_str(), second.notes().as_str()), ("pause", ""));
    transport.unregister_producer();
    second.register(&transport, true).unwrap();
    ends.idle();
    assert_eq!((first.notes().as_str(), second.notes().as_str()), ("pause", "pause"));
});

// 75
on_every_driver!(a_producer_registered_with_a_dead_transport_is_told_to_stop, |ground| {
    let inside = Noted::new();
    let first = Rc::clone(&inside);
    let client = Probe::new()
        .on_made(|transport| transport.lose_connection())
        .on_lost(move |transport| first.register(transport, true).unwrap());
    let ends = Ends::join(ground, client, Probe::new());
    ends.until_lost();
    assert_eq!(inside.notes(), "stop");
    for streaming in [true, false] {
        let outside = Noted::new();
        outside.register(&ends.client.transport(), streaming).unwrap();
        ends.idle();
        assert_eq!(outside.notes(), "stop");
    }
});

on_every_driver!(a_producer_is_stopped_once_when_its_connection_is_lost, |ground| {
    for streaming in [true, false] {
        let producer = Noted::new();
        let first = Rc::clone(&producer);
        let client =
            Probe::new().on_made(move |transport| first.register(transport, streaming).unwrap());
        let ends = Ends::join(ground, client, Probe::new());
        ends.server.transport().abort_connection();
        ends.until_lost();
        assert_eq!(producer.count("stop"), 1);
        assert_eq!(producer.notes.borrow().last(), Some(&"stop"));
        assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
        assert_eq!(Rc::strong_count(&producer), 1, "somebody keeps it");
    }
});

// 62
on_every_driver!(a_producer_that_unregisters_after_the_loss_starts_nothing, |ground| {
    let client = Probe::new()
        .on_made(|transport| {
            Noted::new().register(transport, true).unwrap();
            transport.abort_connection();
        })
        .on_lost(|transport| transport.unregister_producer());
    let ends = Ends::begin(ground, client, Probe::new());
    ends.until("the loss", |ends| ends.client.is_lost());
    ends.idle();
    ends.client.transport().unregister_producer();
    assert_eq!(ends.reactor.next_wakeup(), None, "something was left to do");
    ends.idle();
    assert_eq!(ends.client.story(), "made lost");
});

on_every_driver!(a_producer_that_unregisters_is_asked_no_more, |ground| {
    let ends = full(ground);
    let transport = ends.client.transport();
    let producer = Noted::new();
    producer.register(&transport, true).unwrap();
    transport.write(&vec![0; 1_000_000]);
    transport.unregister_producer();
    ends.server.transport().resume_reading();
    ends.until("everything left", |_| transport.pending() == 0);
    ends.idle();
    assert_eq!(producer.notes(), "");
    transport.unregister_producer();
});

on_every_driver!(a_producer_that_panics_ends_its_connection_alone, |ground| {
    let producer = Noted::new().on_resume(|_| panic!("out of order"));
    let client =
        Probe::new().on_made(move |transport| producer.register(transport, false).unwrap());
    let ends = Ends::begin(ground, client, Probe::new());
    let bystander = Probe::new();
    let tape = bystander.tape();
    let other = listen(&ends.reactor, Probe::new);
    connect(&ends.reactor, &other.local_addr(), bystander);
    ends.until("the loss", |ends| ends.client.is_lost());
    ends.idle();
    assert_eq!(ends.client.reason(), "Panicked(out of order)");
    assert_eq!(tape.story(), "made");
});

on_every_driver!(one_transport_that_feeds_another_is_slowed_down_by_it, |ground| {
    // The relay's two connections, joined by hand: register_producer of one with the other.
    let reactor = started(ground);
    let sink = Probe::new().on_made(|transport| transport.pause_reading());
    let sink_tape = sink.tape();
    let sink_port = listen_once(&reactor, sink);
    let towards = connect(&reactor, &sink_port.local_addr(), Probe::new());
    let to = towards.transport().clone();
    let relay = Probe::new()
        .on_made({
            let to = to.clone();
            move |transport| to.register_producer(Rc::new(transport.clone()), true).unwrap()
        })
        .on_data(move |_, data| to.write(data));
    let relay_tape = relay.tape();
    let port = listen_once(&reactor, relay);
    let sent = pattern(40_000_000);
    let bytes = sent.clone();
    let source = Probe::new().on_made(move |transport| transport.write(&bytes));
    let source = connect(&reactor, &port.local_addr(), source);
    let mut most = 0;
    let to = towards.transport().clone();
    for _ in 0..20 {
        idle(&reactor);
        most = most.max(to.pending());
    }
    assert!(source.transport().pending() > 0, "the source goes on as if nobody were slow");
    assert!(most < 3 * LIMIT, "{most} bytes wait in the relay");
    assert!(relay_tape.received() < sent.len());
    sink_tape.transport().resume_reading();
    turn_until(&reactor, "all of it", || sink_tape.received() == sent.len());
    assert_same(&sink_tape.bytes(), &sent);
});
