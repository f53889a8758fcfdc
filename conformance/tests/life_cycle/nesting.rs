//! Turns and runs from inside callbacks: refused for the reactor whose callback it is, legal for any other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{Event, Phase, Reactor, RunError, Turn};

use super::places::{Place, RUNNING, STARTING, STOPPING, counted};
use super::{Diary, reactor, run_until, stop};
use crate::streams::kit::{Ends, Probe, started};

/// Has the reactor turned and run from inside itself, which has to be refused and to change nothing.
fn insist(reactor: &Reactor) {
    let before = reactor.is_running();
    let turn = reactor.turn(Some(Duration::ZERO));
    assert!(matches!(turn, Err(RunError::Nested)), "a turn inside a callback: {turn:?}");
    assert!(reactor.run().is_err(), "a run inside a callback");
    assert_eq!(reactor.is_running(), before);
}

fn refused_in(ground: Ground, place: &Place) {
    let reactor = reactor(ground);
    // A panic is caught where callbacks are called: what matters is that the end was come to.
    let refused = Rc::new(Cell::new(0));
    let count = Rc::clone(&refused);
    let (action, tried) = counted(move |reactor| {
        insist(reactor);
        count.set(count.get() + 1);
    });
    (place.arrange)(&reactor, action);
    let seen = Rc::clone(&tried);
    run_until(&reactor, move || seen.get() > 0);
    assert_eq!((tried.get(), refused.get()), (1, 1), "{}", place.name);
}

// 9
on_every_driver!(a_turn_and_a_run_are_refused_inside_every_callback, |ground| {
    for place in RUNNING.iter().chain(STARTING).chain(STOPPING) {
        refused_in(ground, place);
    }
});

// 9: without a turn around it.
on_every_driver!(a_turn_is_refused_inside_a_trigger_fired_from_outside, |ground| {
    let reactor = started(ground);
    let diary = Diary::default();
    reactor.call_soon(diary.noting("call"));
    let (action, tried) = counted(insist);
    let diary_inside = diary.clone();
    reactor.add_trigger(Phase::Before, Event::Custom("own"), move |reactor| {
        action(reactor);
        diary_inside.note("refused");
    });
    reactor.fire_event(Event::Custom("own"));
    assert_eq!((diary.take().as_str(), tried.get()), ("refused", 1));
});

// 9: without a turn around it.
on_every_driver!(a_turn_is_refused_inside_a_farewell_of_close_all, |ground| {
    let diary = Diary::default();
    let inside = diary.clone();
    let client = Probe::new().on_lost(move |transport| {
        insist(&transport.reactor().unwrap());
        inside.note("refused");
    });
    let ends = Ends::join(ground, client, Probe::new());
    ends.reactor.call_soon(diary.noting("call"));
    ends.reactor.close_all();
    assert_eq!(diary.take(), "refused");
});

// 9
on_every_driver!(a_run_refused_inside_a_turn_has_started_nothing, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    diary.follow(&reactor, Event::Startup);
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            assert!(matches!(reactor.run(), Err(RunError::Nested)));
            diary.note("refused");
        }
    });
    // Turned without having been started.
    assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), Turn::Continue);
    assert_eq!(diary.take(), "refused");
    assert!(!reactor.is_running());
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
});

on_every_driver!(a_reactor_may_be_run_from_inside_the_callback_of_another, |ground| {
    let (outer, inner) = (reactor(ground), reactor(ground));
    let diary = Diary::default();
    inner.call_later(Duration::from_millis(1), {
        let (diary, outer) = (diary.clone(), outer.clone());
        move |inner| {
            // Refused however deep inside.
            insist(&outer);
            insist(inner);
            diary.note("inner");
            stop(inner);
        }
    });
    outer.call_soon({
        let diary = diary.clone();
        move |outer| {
            inner.run().unwrap();
            diary.note("outer");
            stop(outer);
        }
    });
    outer.run().unwrap();
    assert_eq!(diary.take(), "inner outer");
});

on_every_driver!(a_reactor_may_be_turned_from_data_received_of_another, |ground| {
    let other = Ends::join(ground, Probe::new(), Probe::new());
    let other_client = other.client.clone();
    let heard = other.server.clone();
    let client = Probe::new().on_data(move |transport, data| {
        other_client.transport().write(data);
        other.until("the other's bytes", |other| other.server.received() == data.len());
        // What was lent is still there.
        transport.write(data);
    });
    let server = Probe::new().on_made(|transport| transport.write(b"lent bytes"));
    let ends = Ends::join(ground, client, server);
    ends.until("the echo", |ends| ends.server.received() == 10);
    assert_eq!(
        (ends.server.bytes(), heard.bytes()),
        (b"lent bytes".to_vec(), b"lent bytes".to_vec())
    );
});

on_every_driver!(reactors_of_one_thread_know_nothing_of_each_other, |ground| {
    let diary = Diary::default();
    let mut reactors: Vec<Reactor> = (0..3).map(|_| reactor(ground)).collect();
    for reactor in &reactors {
        diary.follow(reactor, Event::Shutdown);
        reactor.start().unwrap();
    }
    let last = reactors.pop().unwrap();
    last.call_soon(stop);
    while last.turn(None).unwrap() == Turn::Continue {}
    assert_eq!(diary.take(), "before during after");
    assert!(reactors.iter().all(Reactor::is_running));
    drop(reactors);
    assert_eq!(diary.take(), "");
});
