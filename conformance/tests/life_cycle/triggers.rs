//! Triggers: their phases, what they wait for, how they are removed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::Deferred;
use marline_core::failure::Failure;
use marline_core::{Event, Phase, TriggerId, UnknownTrigger};

use super::panics::errors_of;
use super::{Diary, Latch, Witness, reactor, stop};

/// Of the application's own.
const LUNCH: Event = Event::Custom("lunch");

on_every_driver!(triggers_of_a_phase_run_in_the_order_they_were_added, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.add_trigger(Phase::After, LUNCH, diary.noting("after1"));
    reactor.add_trigger(Phase::Before, LUNCH, diary.noting("before1"));
    reactor.add_trigger(Phase::During, LUNCH, diary.noting("during1"));
    reactor.add_trigger(Phase::During, LUNCH, diary.noting("during2"));
    reactor.add_trigger(Phase::Before, LUNCH, diary.noting("before2"));
    reactor.add_trigger(Phase::After, LUNCH, diary.noting("after2"));
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "before1 before2 during1 during2 after1 after2");
});

on_every_driver!(an_event_fired_from_a_callback_is_fired_after_it, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    diary.follow(&reactor, LUNCH);
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            reactor.fire_event(LUNCH);
            diary.note("fired");
        }
    });
    reactor.call_soon(diary.noting("call"));
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "fired before during after call");
});

on_every_driver!(an_event_that_nothing_hangs_on_does_nothing, |ground| {
    let reactor = reactor(ground);
    reactor.fire_event(Event::Custom("tea"));
    reactor.call_soon(|reactor| {
        reactor.fire_event(Event::Custom("tea"));
        stop(reactor);
    });
    reactor.run().unwrap();
});

// 15
on_every_driver!(during_waits_for_every_deferred_of_before, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let latches: Vec<Latch> = (0..4).map(|_| Latch::before(&reactor, Event::Shutdown)).collect();
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    // The last first; each in a turn of its own.
    for (turn, latch) in latches.into_iter().rev().enumerate() {
        let diary = diary.clone();
        reactor.call_later(Duration::from_millis(turn as u64 + 1), move |reactor| {
            assert!(reactor.is_running());
            latch.fire();
            diary.note("fired");
        });
    }
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before fired fired fired fired during after");
});

// 15
on_every_driver!(deferreds_of_before_may_fire_each_other, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let (first, first_deferred) = Latch::new();
    let (second, second_deferred) = Latch::new();
    let second_deferred = second_deferred.map({
        let diary = diary.clone();
        move |()| {
            diary.note("second");
            first.fire();
        }
    });
    reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| first_deferred);
    reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| second_deferred);
    // This one fires while before is still going on, and there is more to come.
    reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| second.fire());
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "second before during after");
});

// 15
on_every_driver!(a_deferred_that_is_ready_is_not_waited_for, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.add_trigger(Phase::Before, LUNCH, |_| Deferred::<u8>::ready(1));
    diary.follow(&reactor, LUNCH);
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "before during after");
});

// 15: what during and after return is not waited for.
on_every_driver!(only_before_is_waited_for, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let (_during, deferred) = Latch::new();
    reactor.add_trigger(Phase::During, Event::Shutdown, move |_| deferred);
    let (_after, deferred) = Latch::new();
    reactor.add_trigger(Phase::After, Event::Shutdown, move |_| deferred);
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
});

// 16
on_every_driver!(a_trigger_that_fails_is_logged_and_the_rest_still_run, |ground| {
    let diary = Diary::default();
    let errors = errors_of(|| {
        let reactor = reactor(ground);
        for (phase, text) in [
            (Phase::Before, "panic of before"),
            (Phase::During, "panic of during"),
            (Phase::After, "panic of after"),
        ] {
            reactor.add_trigger(phase, Event::Shutdown, move |_| -> () { panic!("{text}") });
        }
        let at_once = || Deferred::<()>::failed(Failure::msg("failed at once"));
        reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| at_once());
        let later = Latch::before(&reactor, Event::Shutdown);
        reactor.add_trigger(Phase::Before, Event::Shutdown, {
            let (latch, deferred) = Latch::new();
            reactor.call_later(Duration::from_millis(1), move |_| latch.fire());
            move |_| deferred.and_then(|()| Err::<(), _>(Failure::msg("failed later")))
        });
        diary.follow(&reactor, Event::Shutdown);
        reactor.call_soon(stop);
        reactor.call_later(Duration::from_millis(2), move |_| later.fire());
        reactor.run().unwrap();
    });
    assert_eq!(diary.take(), "before during after");
    for text in
        ["panic of before", "failed at once", "failed later", "panic of during", "panic of after"]
    {
        assert_eq!(errors.iter().filter(|error| error.contains(text)).count(), 1, "{errors:#?}");
    }
    assert_eq!(errors.len(), 5, "{errors:#?}");
});

on_every_driver!(a_trigger_whose_deferred_is_abandoned_or_cancelled_holds_up_nothing, |ground| {
    let diary = Diary::default();
    let errors = errors_of(|| {
        let reactor = reactor(ground);
        let (latch, deferred) = Latch::new();
        reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| deferred);
        let (_latch, cancelled) = Latch::new();
        let handle = cancelled.cancel_handle();
        reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| cancelled);
        diary.follow(&reactor, Event::Shutdown);
        reactor.call_soon(stop);
        reactor.call_later(Duration::from_millis(1), move |_| drop(latch));
        reactor.call_later(Duration::from_millis(2), move |_| handle.cancel());
        reactor.run().unwrap();
    });
    assert_eq!(diary.take(), "before during after");
    assert_eq!(errors.len(), 2, "{errors:#?}");
});

// 17
on_every_driver!(a_trigger_runs_for_the_first_firing_only, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    diary.follow(&reactor, LUNCH);
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "before during after");
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "");
    diary.follow(&reactor, Event::Startup);
    for expected in ["before during after", ""] {
        reactor.call_soon(stop);
        reactor.run().unwrap();
        assert_eq!(diary.take(), expected);
    }
});

// 18
on_every_driver!(a_trigger_can_be_removed_once_and_is_dropped_at_once, |ground| {
    let reactor = reactor(ground);
    let witness = Witness::default();
    for phase in [Phase::Before, Phase::During, Phase::After] {
        let id = reactor.add_trigger(phase, LUNCH, witness.call());
        assert_eq!(witness.kept(), 1);
        assert_eq!(reactor.remove_trigger(id), Ok(()));
        assert_eq!(witness.kept(), 0);
        assert_eq!(reactor.remove_trigger(id), Err(UnknownTrigger));
    }
    reactor.fire_event(LUNCH);
});

// 18: the types leave no wrong phase, but another reactor's id.
on_every_driver!(a_trigger_of_another_reactor_is_unknown, |ground| {
    let (one, other) = (reactor(ground), reactor(ground));
    one.add_trigger(Phase::Before, LUNCH, |_| {});
    let id = one.add_trigger(Phase::Before, LUNCH, |_| {});
    other.add_trigger(Phase::Before, LUNCH, |_| {});
    assert_eq!(other.remove_trigger(id), Err(UnknownTrigger));
    assert_eq!(one.remove_trigger(id), Ok(()));
});

// 18
on_every_driver!(removal_while_firing_prevents_what_has_not_run, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let doomed = Rc::new(RefCell::new(Vec::<TriggerId>::new()));
    reactor.add_trigger(Phase::Before, LUNCH, {
        let doomed = Rc::clone(&doomed);
        move |reactor| {
            for id in doomed.take() {
                reactor.remove_trigger(id).unwrap();
            }
        }
    });
    diary.follow(&reactor, LUNCH);
    for phase in [Phase::Before, Phase::During, Phase::After] {
        doomed.borrow_mut().push(reactor.add_trigger(phase, LUNCH, diary.noting("doomed")));
    }
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "before during after");
});

// 18
on_every_driver!(removal_while_the_event_waits_prevents_what_has_not_run, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let latch = Latch::before(&reactor, Event::Shutdown);
    diary.follow(&reactor, Event::Shutdown);
    let doomed = [Phase::During, Phase::After]
        .map(|phase| reactor.add_trigger(phase, Event::Shutdown, diary.noting("doomed")));
    reactor.call_soon(stop);
    reactor.call_later(Duration::from_millis(1), move |reactor| {
        for id in doomed {
            reactor.remove_trigger(id).unwrap();
        }
        latch.fire();
    });
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
});

// 19; decided differently: an error that says so, not a warning.
on_every_driver!(removal_of_a_trigger_that_ran_in_this_firing_is_an_error, |ground| {
    let reactor = reactor(ground);
    let first = reactor.add_trigger(Phase::Before, LUNCH, |_| {});
    let own = Rc::new(Cell::new(None));
    let checked = Rc::new(Cell::new(false));
    own.set(Some(reactor.add_trigger(Phase::Before, LUNCH, {
        let (own, checked) = (Rc::clone(&own), Rc::clone(&checked));
        move |reactor| {
            assert_eq!(reactor.remove_trigger(first), Err(UnknownTrigger));
            assert_eq!(reactor.remove_trigger(own.get().unwrap()), Err(UnknownTrigger));
            checked.set(true);
        }
    })));
    reactor.fire_event(LUNCH);
    assert!(checked.get());
});

// 20
on_every_driver!(two_events_may_be_in_progress_at_once, |ground| {
    let reactor = reactor(ground);
    let (lunch, dinner) = (Diary::default(), Diary::default());
    let latch = Latch::before(&reactor, LUNCH);
    lunch.follow(&reactor, LUNCH);
    dinner.follow(&reactor, Event::Custom("dinner"));
    reactor.fire_event(LUNCH);
    assert_eq!(lunch.take(), "before");
    reactor.fire_event(Event::Custom("dinner"));
    assert_eq!(dinner.take(), "before during after");
    assert_eq!(lunch.take(), "");
    latch.fire();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(lunch.take(), "during after");
});

on_every_driver!(an_event_in_progress_is_not_fired_again, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let latch = Latch::before(&reactor, LUNCH);
    diary.follow(&reactor, LUNCH);
    reactor.fire_event(LUNCH);
    // While it waits, from outside and from inside a callback.
    reactor.add_trigger(Phase::Before, LUNCH, diary.noting("late"));
    reactor.fire_event(LUNCH);
    reactor.call_soon(|reactor| reactor.fire_event(LUNCH));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(diary.take(), "before");
    latch.fire();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // The one that came too late waits for the next firing.
    assert_eq!(diary.take(), "during after");
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "late");
});

on_every_driver!(an_event_fired_by_its_own_trigger_is_not_fired_again, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.add_trigger(Phase::During, LUNCH, {
        let diary = diary.clone();
        move |reactor| {
            reactor.add_trigger(Phase::Before, LUNCH, diary.noting("again"));
            reactor.fire_event(LUNCH);
            diary.note("during");
        }
    });
    reactor.call_soon(|reactor| reactor.fire_event(LUNCH));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(diary.take(), "during");
});

on_every_driver!(a_trigger_added_by_a_trigger_to_a_later_phase_runs_in_this_firing, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.add_trigger(Phase::Before, LUNCH, {
        let diary = diary.clone();
        move |reactor| {
            reactor.add_trigger(Phase::After, LUNCH, diary.noting("after"));
            reactor.add_trigger(Phase::During, LUNCH, diary.noting("during"));
            diary.note("before");
        }
    });
    reactor.fire_event(LUNCH);
    assert_eq!(diary.take(), "before during after");
});
