//! What a job takes along: whose line it is that it logs, and where that goes. What it does not: the reactor.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use marline_conformance::on_every_driver;
use marline_core::deferred::Interrupt;
use marline_core::testing::CapturedLog;
use marline_core::{Reactor, log};
use tracing::{Level, Metadata, Subscriber};
use tracing_core::span::{Attributes, Current, Id, Record};

use super::turn_for_threads;
use crate::life_cycle::patient;
use crate::streams::kit::{Ends, Outcome, Probe};

on_every_driver!(an_event_logged_in_a_job_names_the_job_its_place_and_the_connection, |ground| {
    let captured = CapturedLog::start();
    let server = Probe::new().on_data(|transport, _| {
        let reactor = transport.reactor().unwrap();
        let peer = transport.clone();
        let job = reactor.defer_to_thread(|| tracing::info!(target: "test", "in the job"));
        job.done(move |_| peer.write(b"done"));
    });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(b"x");
    ends.until("the answer", |ends| ends.client.received() == 4);
    let events = captured.take_where(|event| event.target == "test");
    assert_eq!(events.len(), 1, "{events:#?}");
    let context = events[0].context.as_ref().unwrap();
    assert_eq!(context.callback, "job");
    assert_eq!(context.peer, Some(ends.server.transport().peer_addr()));
    assert!(context.connection.is_some());
    assert!(context.protocol.unwrap().contains("Probe"), "{context}");
    assert!(context.site.unwrap().file().ends_with("lines.rs"), "{context}");
});

on_every_driver!(a_job_without_a_connection_is_named_by_its_place, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let (line, job) = (line!(), reactor.defer_to_thread(|| log::context().unwrap().to_string()));
    let shown = Outcome::of(job);
    turn_for_threads(&reactor, || shown.is_there());
    let shown = shown.take().unwrap();
    assert!(shown.starts_with("job ") && shown.contains(&format!("lines.rs:{line}:")), "{shown}");
    // The next job on the same thread has a name of its own, and there is none between them.
    assert_eq!(log::context(), None);
});

on_every_driver!(a_panic_in_a_job_nobody_waits_for_is_logged_with_its_place, |ground| {
    let captured = CapturedLog::start();
    let reactor = patient(ground);
    reactor.start().unwrap();
    reactor.set_workers(1);
    reactor.call_in_thread(|| panic!("no such file"));
    let after = Outcome::of(reactor.defer_to_thread(|| ()));
    turn_for_threads(&reactor, || after.is_there());
    let errors = captured.take_errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].message.contains("no such file"));
    let context = errors[0].context.as_ref().unwrap().to_string();
    assert!(context.starts_with("job ") && context.contains("lines.rs:"), "{context}");
});

on_every_driver!(a_panic_in_a_job_is_a_typed_error, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let answer = Outcome::of(reactor.defer_to_thread(|| -> u8 { panic!("no such file") }));
    turn_for_threads(&reactor, || answer.is_there());
    let failure = answer.take().unwrap_err();
    assert_eq!(failure.check(), Some(&Interrupt::Panicked("no such file".into())));
});

on_every_driver!(a_job_has_no_reactor_of_its_own, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let remote = reactor.remote();
    let answer = Outcome::of(reactor.spawn(async {
        let reactor = Reactor::current().unwrap();
        let job = reactor
            .defer_to_thread(move || (Reactor::current().is_some(), remote.is_reactor_thread()));
        (job.await.unwrap(), Reactor::current().is_some())
    }));
    turn_for_threads(&reactor, || answer.is_there());
    // In a simulation the job runs in the reactor's thread.
    assert_eq!(answer.take().unwrap(), ((false, ground.is_simulated()), true));
});

/// A subscriber with one span, which notes where that is entered.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    span: Option<&'static Metadata<'static>>,
    entered: Vec<ThreadId>,
    left: Vec<ThreadId>,
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == "test"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.0.lock().unwrap().span = Some(attributes.metadata());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &Id) {
        self.0.lock().unwrap().entered.push(thread::current().id());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().left.push(thread::current().id());
    }

    fn current_span(&self) -> Current {
        let noted = self.0.lock().unwrap();
        let here = |list: &[ThreadId]| {
            list.iter().filter(|thread| **thread == thread::current().id()).count()
        };
        match noted.span {
            Some(span) if here(&noted.entered) > here(&noted.left) => {
                Current::new(Id::from_u64(1), span)
            }
            _ => Current::none(),
        }
    }
}

on_every_driver!(a_job_runs_in_its_callers_span, |ground| {
    let spans = Spans::default();
    let _installed = tracing::subscriber::set_default(spans.clone());
    let reactor = patient(ground);
    reactor.start().unwrap();
    let inside = || tracing::Span::current().id().is_some();
    let answer = tracing::span!(target: "test", Level::INFO, "request").in_scope(|| {
        assert!(inside());
        Outcome::of(reactor.defer_to_thread(move || (inside(), thread::current().id())))
    });
    let without = Outcome::of(reactor.defer_to_thread(inside));
    turn_for_threads(&reactor, || answer.is_there() && without.is_there());
    let (within, worker) = answer.take().unwrap();
    assert!(within && !without.take().unwrap());
    let noted = spans.0.lock().unwrap();
    assert!(noted.entered.contains(&worker) && noted.left.contains(&worker));
});
