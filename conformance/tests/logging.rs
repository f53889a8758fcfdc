//! What is logged, and whose line it is: whatever is logged while a callback runs, by the engine or the user, is told the connection, the protocol
//! and the callback.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use marline_conformance::{Ground, on_every_driver};
use marline_core::deferred::Deferred;
use marline_core::driver::Handle;
use marline_core::failure::Failure;
use marline_core::log::{self, Context, Event, History, LevelFilter, Publisher};
use marline_core::protocol::from_fn;
use marline_core::sim::SimDriver;
use marline_core::testing::CapturedLog;
use marline_core::{CloseReason, Protocol, Reactor, Transport};

/// Logs in every callback, and ends after the first bytes.
struct Teller;

impl Protocol for Teller {
    fn connection_made(&mut self, transport: &Transport) {
        tracing::info!("made");
        transport.notify_writable();
    }

    fn data_received(&mut self, transport: &Transport, _: &[u8]) {
        tracing::info!("data");
        transport.lose_write_connection();
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        tracing::info!("read lost");
        transport.lose_connection();
    }

    fn write_connection_lost(&mut self, _: &Transport) {
        tracing::info!("write lost");
    }

    fn writable(&mut self, _: &Transport) {
        tracing::info!("writable");
    }

    fn connection_lost(&mut self, _: &Transport, _: &CloseReason) {
        tracing::info!("lost");
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        tracing::info!("dropped");
    }
}

/// Says something, and does what the check wants with bytes.
struct Client<F>(F);

impl<F: FnMut(&Transport, &[u8]) + 'static> Protocol for Client<F> {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"hello");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        (self.0)(transport, data);
    }
}

/// Accepts one connection and gives it to `server`; a client connects and says hello. Runs until `over`.
fn run(ground: Ground, server: impl Protocol, over: impl Fn() -> bool + 'static) {
    let reactor = ground.reactor();
    reactor.leave_signals_alone();
    let mut server = Some(server);
    let port = reactor.listen_tcp("127.0.0.1:0", from_fn(move |_| server.take())).unwrap();
    reactor.connect_tcp(port.local_addr(), Client(|_: &Transport, _: &[u8]| {})).ignore();
    run_until(&reactor, over);
}

fn run_until(reactor: &Reactor, over: impl Fn() -> bool) {
    reactor.start().unwrap();
    while !over() {
        reactor.turn(Some(Duration::from_millis(5))).unwrap();
    }
    reactor.crash();
}

/// What this test logged itself.
fn own(log: &CapturedLog) -> Vec<Event> {
    log.take_where(|event| event.target.starts_with(module_path!()))
}

fn context_of(event: &Event) -> &Context {
    event.context.as_ref().unwrap_or_else(|| panic!("nothing ran: {event}"))
}

// 78
on_every_driver!(start_and_close_of_a_port_are_logged_with_factory_and_address, |ground| {
    fn name_of<T>(_: &T) -> &'static str {
        std::any::type_name::<T>()
    }
    let log = CapturedLog::start();
    let reactor = ground.reactor();
    let factory = || Teller;
    let name = name_of(&factory);
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let stopped = Rc::new(Cell::new(false));
    let flag = Rc::clone(&stopped);
    port.stop_listening().done(move |_| flag.set(true));
    run_until(&reactor, move || stopped.get());
    let addr = port.local_addr().to_string();
    for kind in ["port_opened", "port_closed"] {
        let told = log.take_where(|event| event.name == kind);
        assert_eq!(told.len(), 1, "{log:?}");
        assert_eq!(told[0].level, log::Level::INFO);
        assert_eq!(told[0].field("addr").as_deref(), Some(&*addr));
        assert_eq!(told[0].field("factory").as_deref(), Some(name));
    }
});

// 58
on_every_driver!(every_line_of_a_callback_names_connection_protocol_and_callback, |ground| {
    let log = CapturedLog::start();
    let over = Rc::new(Cell::new(false));
    let flag = Rc::clone(&over);
    struct Last(Teller, Rc<Cell<bool>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.1.set(true);
        }
    }
    impl Protocol for Last {
        fn connection_made(&mut self, transport: &Transport) {
            self.0.connection_made(transport);
        }
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.data_received(transport, data);
        }
        fn read_connection_lost(&mut self, transport: &Transport) {
            self.0.read_connection_lost(transport);
        }
        fn write_connection_lost(&mut self, transport: &Transport) {
            self.0.write_connection_lost(transport);
        }
        fn writable(&mut self, transport: &Transport) {
            self.0.writable(transport);
        }
        fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
            self.0.connection_lost(transport, reason);
        }
    }
    run(ground, Last(Teller, flag), move || over.get());
    let events = own(&log);
    let mut callbacks: Vec<_> =
        events.iter().map(|event| (&*event.message, context_of(event).callback)).collect();
    callbacks.sort_unstable();
    assert_eq!(
        callbacks,
        [
            ("data", "data_received"),
            ("dropped", "connection_lost"),
            ("lost", "connection_lost"),
            ("made", "connection_made"),
            ("read lost", "read_connection_lost"),
            ("writable", "writable"),
            ("write lost", "write_connection_lost"),
        ]
    );
    let first = context_of(&events[0]);
    for event in &events {
        let context = context_of(event);
        assert!(context.protocol.unwrap().ends_with("::Last"), "{event}");
        assert_eq!((context.connection, &context.peer), (first.connection, &first.peer));
        let peer = context.peer.as_ref().unwrap();
        let end = format!(" [Last{:?} {peer}]", context.connection.unwrap());
        assert!(event.to_text().ends_with(&end), "{event} does not end with {end}");
    }
});

on_every_driver!(lines_of_many_connections_are_told_apart_by_number_and_peer, |ground| {
    const MANY: usize = 5;
    struct Greets;
    impl Protocol for Greets {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) {
            tracing::info!(peer = %transport.peer_addr(), "hello");
            transport.write(b"x");
        }
    }
    let log = CapturedLog::start();
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Greets).unwrap();
    let answered = Rc::new(Cell::new(0));
    for _ in 0..MANY {
        let answered = Rc::clone(&answered);
        let client = Client(move |_: &Transport, _: &[u8]| answered.set(answered.get() + 1));
        reactor.connect_tcp(port.local_addr(), client).ignore();
    }
    run_until(&reactor, move || answered.get() == MANY);
    let mut numbers: Vec<Handle> = Vec::new();
    for event in own(&log) {
        let context = context_of(&event);
        let peer = context.peer.as_ref().unwrap().to_string();
        assert_eq!(event.field("peer").as_deref(), Some(&*peer));
        numbers.extend(context.connection);
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), MANY);
});

on_every_driver!(after_a_hand_over_lines_name_the_protocol_that_took_over, |ground| {
    struct Before(Rc<Cell<bool>>);
    struct After(Rc<Cell<bool>>);
    impl Protocol for Before {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            tracing::info!("before");
            transport.upgrade(After(Rc::clone(&self.0)), data);
        }
    }
    impl Protocol for After {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            tracing::info!("after");
            self.0.set(true);
        }
    }
    let log = CapturedLog::start();
    let over = Rc::new(Cell::new(false));
    run(ground, Before(Rc::clone(&over)), move || over.get());
    let events = own(&log);
    let named: Vec<_> = events
        .iter()
        .map(|event| context_of(event).protocol.unwrap().rsplit("::").next().unwrap())
        .collect();
    assert_eq!(named, ["Before", "After"]);
    assert_eq!(context_of(&events[0]).connection, context_of(&events[1]).connection);
});

on_every_driver!(a_connection_that_ends_itself_is_still_named_in_the_same_callback, |ground| {
    struct Quits(Rc<Cell<bool>>);
    impl Protocol for Quits {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) {
            transport.abort_connection();
            tracing::info!("after the end");
            self.0.set(true);
        }
    }
    let log = CapturedLog::start();
    let over = Rc::new(Cell::new(false));
    run(ground, Quits(Rc::clone(&over)), move || over.get());
    let events = own(&log);
    let context = context_of(&events[0]);
    assert!(context.protocol.unwrap().ends_with("::Quits") && context.peer.is_some());
});

on_every_driver!(a_failure_nobody_looked_at_belongs_to_the_connection_that_dropped_it, |ground| {
    struct Careless(Rc<Cell<bool>>);
    impl Protocol for Careless {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            drop(Deferred::<()>::failed(Failure::from(std::fmt::Error)));
            self.0.set(true);
        }
    }
    let log = CapturedLog::start();
    let over = Rc::new(Cell::new(false));
    run(ground, Careless(Rc::clone(&over)), move || over.get());
    let errors = log.flush_errors::<std::fmt::Error>();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].name, "unhandled_failure");
    let context = context_of(&errors[0]);
    assert!(context.protocol.unwrap().ends_with("::Careless"), "{context}");
    assert_eq!(context.callback, "data_received");
});

on_every_driver!(calls_and_timers_are_named_and_outside_of_callbacks_there_is_nothing, |ground| {
    let log = CapturedLog::start();
    let reactor = ground.reactor();
    let over = Rc::new(Cell::new(false));
    let flag = Rc::clone(&over);
    tracing::info!("before");
    reactor.call_soon(|_| tracing::info!("call"));
    reactor.call_later(Duration::from_millis(1), move |_| {
        tracing::info!("timer");
        flag.set(true);
    });
    let line = line!() - 4;
    run_until(&reactor, move || over.get());
    tracing::info!("afterwards");
    let events = own(&log);
    let told = events.iter().map(|event| event.context.as_ref().map(|context| context.callback));
    assert_eq!(told.collect::<Vec<_>>(), [None, Some("call"), Some("timer"), None]);
    let site = context_of(&events[2]).site.unwrap();
    assert!(site.file().ends_with("logging.rs") && site.line() == line, "{site}");
    assert!(events[2].to_text().ends_with(&format!(" [timer {site}]")), "{}", events[2]);
    assert_eq!(context_of(&events[1]).site, None);
});

on_every_driver!(
    inside_a_callback_another_reactors_is_named_and_then_the_outer_one_again,
    |ground| {
        let log = CapturedLog::start();
        let outer = ground.reactor();
        let over = Rc::new(Cell::new(false));
        let flag = Rc::clone(&over);
        outer.call_soon(move |_| {
            tracing::info!("outer");
            let inner = Reactor::new(SimDriver::alone(5));
            inner.call_later(Duration::ZERO, |inner| {
                tracing::info!("inner");
                inner.stop().unwrap();
            });
            inner.run().unwrap();
            drop(inner);
            tracing::info!("outer again");
            flag.set(true);
        });
        run_until(&outer, move || over.get());
        let events = own(&log);
        let told: Vec<_> = events.iter().map(|event| context_of(event).callback).collect();
        assert_eq!(told, ["call", "timer", "call"]);
    }
);

on_every_driver!(a_call_into_a_protocol_is_named_until_it_returns, |ground| {
    struct Still;
    impl Protocol for Still {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    }
    let log = CapturedLog::start();
    let reactor = ground.reactor();
    let port = reactor.listen_tcp("127.0.0.1:0", || Still).unwrap();
    let made = Rc::new(RefCell::new(None));
    let place = Rc::clone(&made);
    reactor
        .connect_tcp(port.local_addr(), Still)
        .done(move |result| *place.borrow_mut() = result.ok());
    let there = Rc::clone(&made);
    run_until(&reactor, move || there.borrow().is_some());
    let connection = made.take().unwrap();
    // From outside any turn.
    connection.with(|_, _| tracing::info!("inside")).ignore();
    tracing::info!("outside");
    let events = own(&log);
    let context = context_of(&events[0]);
    assert!(context.protocol.unwrap().ends_with("::Still"), "{context}");
    assert_eq!(context.callback, "with");
    assert_eq!(events[1].context, None);
});

// On whose behalf a job runs is checked in `threads/lines.rs`.
on_every_driver!(a_worker_thread_runs_a_job_and_no_callback_of_a_protocol, |ground| {
    let reactor = ground.reactor();
    let (sender, receiver) = mpsc::channel();
    reactor.call_in_thread(move || sender.send(log::context()).unwrap());
    let answers = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&answers);
    run_until(&reactor, move || {
        kept.borrow_mut().extend(receiver.try_iter());
        !kept.borrow().is_empty()
    });
    let contexts = answers.take();
    let context = contexts[0].as_ref().unwrap();
    assert_eq!((context.callback, context.protocol, context.connection), ("job", None, None));
});

on_every_driver!(a_line_has_the_time_of_its_reactors_world, |ground| {
    let (publisher, history) = (Publisher::new(), History::new(9));
    publisher.set_level("marline", LevelFilter::OFF);
    publisher.add(history.clone());
    let _installed = publisher.install_for_thread();
    let before = SystemTime::now();
    let reactor = ground.bare_reactor();
    let wall = Rc::new(Cell::new(None));
    let slot = Rc::clone(&wall);
    reactor.call_later(Duration::from_millis(5), move |reactor| {
        tracing::info!("now");
        slot.set(Some(reactor.wall_clock()));
        reactor.stop().unwrap();
    });
    reactor.run().unwrap();
    let time = history.events()[0].time;
    if ground.is_simulated() {
        assert_eq!(Some(time), wall.get());
    } else {
        assert!(before <= time && Some(time) <= wall.get());
    }
});
