//! Run, stop, crash, run again: the numbers are those of the conformance list.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::{Event, NotRunning, Phase, RunError, Turn};

use super::{Diary, Latch, reactor, run_until, stop, turn_until};
use crate::streams::kit::{Ends, Probe, listen_once, open_kinds, started};

// 1
on_every_driver!(stop_before_the_first_run_is_an_error, |ground| {
    let reactor = reactor(ground);
    assert_eq!(reactor.stop(), Err(NotRunning));
    // And it is not remembered.
    let diary = Diary::default();
    reactor.call_soon(diary.noting("first"));
    reactor.call_later(Duration::from_millis(2), {
        let diary = diary.clone();
        move |reactor| {
            diary.note("second");
            stop(reactor);
        }
    });
    reactor.run().unwrap();
    assert_eq!(diary.take(), "first second");
});

// 2
on_every_driver!(stop_is_an_error_when_asked_twice_while_stopping_and_after, |ground| {
    let reactor = reactor(ground);
    let refused = Rc::new(Cell::new(0));
    for phase in [Phase::Before, Phase::During, Phase::After] {
        let refused = Rc::clone(&refused);
        reactor.add_trigger(phase, Event::Shutdown, move |reactor| {
            assert_eq!(reactor.stop(), Err(NotRunning));
            refused.set(refused.get() + 1);
        });
    }
    reactor.call_soon(|reactor| {
        stop(reactor);
        assert_eq!(reactor.stop(), Err(NotRunning));
    });
    reactor.run().unwrap();
    assert_eq!(refused.get(), 3);
    assert_eq!(reactor.stop(), Err(NotRunning));
});

// 3
on_every_driver!(calls_for_when_it_runs_are_made_in_the_order_given, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_when_running(diary.noting("first"));
    reactor.add_trigger(Phase::After, Event::Startup, diary.noting("trigger"));
    reactor.call_when_running({
        let diary = diary.clone();
        move |reactor| {
            // It runs: the call is made at once, but not inside this one.
            reactor.call_when_running(diary.noting("inner"));
            diary.note("second");
        }
    });
    reactor.call_when_running(diary.noting("third"));
    reactor.call_when_running(stop);
    assert_eq!(diary.take(), "");
    reactor.run().unwrap();
    assert_eq!(diary.take(), "first trigger second third inner");
});

// 3
on_every_driver!(a_call_for_when_it_runs_is_made_right_after_the_callback_if_it_does, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            reactor.call_when_running(diary.noting("when-running"));
            diary.note("first");
        }
    });
    reactor.call_soon(diary.noting("second"));
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "first when-running second");
});

// 4, and the other half: until when it is true.
on_every_driver!(it_runs_from_during_startup_until_during_shutdown, |ground| {
    let reactor = reactor(ground);
    let seen = Diary::default();
    for event in [Event::Startup, Event::Shutdown] {
        for phase in [Phase::Before, Phase::During, Phase::After] {
            let seen = seen.clone();
            reactor.add_trigger(phase, event, move |reactor| {
                seen.note(format!("{phase:?}:{}", reactor.is_running()));
            });
        }
    }
    reactor.call_soon(|reactor| {
        assert!(reactor.is_running());
        stop(reactor);
        assert!(reactor.is_running());
    });
    assert!(!reactor.is_running());
    reactor.run().unwrap();
    assert!(!reactor.is_running());
    let startup = "Before:false During:true After:true";
    let shutdown = "Before:true During:false After:false";
    assert_eq!(seen.take(), format!("{startup} {shutdown}"));
});

// 6
on_every_driver!(stop_fires_the_phases_of_shutdown_in_order_and_then_run_returns, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            stop(reactor);
            diary.note("stopped");
        }
    });
    // The turn's calls and timers still come before.
    reactor.call_soon(diary.noting("call"));
    reactor.call_later(Duration::ZERO, diary.noting("timer"));
    reactor.run().unwrap();
    diary.note("returned");
    assert_eq!(diary.take(), "stopped call timer before during after returned");
});

// 7
on_every_driver!(before_shutdown_never_runs_inside_stop, |ground| {
    let reactor = reactor(ground);
    let inside = Rc::new(Cell::new(false));
    let ran = Rc::new(Cell::new(false));
    reactor.add_trigger(Phase::Before, Event::Shutdown, {
        let (inside, ran) = (Rc::clone(&inside), Rc::clone(&ran));
        move |_| {
            assert!(!inside.get());
            ran.set(true);
        }
    });
    // Also from between two turns, where no callback is on the stack.
    reactor.start().unwrap();
    inside.set(true);
    stop(&reactor);
    inside.set(false);
    assert!(!ran.get());
    while reactor.turn(None).unwrap() == Turn::Continue {}
    assert!(ran.get());
});

// 8
on_every_driver!(a_farewell_that_panics_does_not_keep_others_from_theirs, |ground| {
    let reactor = started(ground);
    let panics = || Probe::new().on_lost(|_| panic!("no farewell from me"));
    let ends: Vec<Ends> =
        (0..4).map(|_| Ends::begin_on(reactor.clone(), panics(), panics())).collect();
    turn_until(&reactor, "the connections", || {
        ends.iter().all(|ends| ends.client.is_made() && ends.server.is_made())
    });
    stop(&reactor);
    while reactor.turn(None).unwrap() == Turn::Continue {}
    for end in ends.iter().flat_map(|ends| [&ends.client, &ends.server]) {
        assert_eq!((end.story().as_str(), end.reason().as_str()), ("made lost", "Stopped"));
        assert!(end.is_dropped());
    }
    assert!(open_kinds(&reactor).is_empty());
});

// 10
on_every_driver!(an_unfinished_startup_still_enters_the_loop_and_ends_with_stop, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let _never = Latch::before(&reactor, Event::Startup);
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_when_running(diary.noting("ran"));
    reactor.call_later(Duration::from_millis(1), {
        let diary = diary.clone();
        move |reactor| {
            assert!(!reactor.is_running());
            diary.note("timer");
            stop(reactor);
        }
    });
    reactor.run().unwrap();
    assert_eq!(diary.take(), "timer before during after");
});

// 10
on_every_driver!(it_runs_once_the_startup_has_finished, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let latch = Latch::before(&reactor, Event::Startup);
    diary.follow(&reactor, Event::Startup);
    reactor.call_later(Duration::from_millis(1), {
        let diary = diary.clone();
        move |reactor| {
            latch.fire();
            // Not from inside whoever fired it.
            diary.note("fired");
            assert!(!reactor.is_running());
        }
    });
    reactor.call_when_running(|reactor| {
        assert!(reactor.is_running());
        stop(reactor);
    });
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before fired during after");
});

// 11
on_every_driver!(a_turn_without_time_does_not_wait, |ground| {
    let reactor = started(ground);
    let begin = reactor.now();
    let late = reactor.call_later(Duration::from_secs(25), |_| {});
    for _ in 0..10 {
        assert_eq!(reactor.turn(Some(Duration::ZERO)).unwrap(), Turn::Continue);
    }
    assert!(late.is_active());
    if ground.is_simulated() {
        assert_eq!(reactor.now(), begin);
    }
});

// 12
on_every_driver!(crash_leaves_the_loop_and_nothing_of_shutdown_is_done, |ground| {
    let diary = Diary::default();
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = ends.reactor.clone();
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            reactor.crash();
            assert!(!reactor.is_running());
            diary.note("crashed");
        }
    });
    // At the end of this turn, not in the middle of it.
    reactor.call_soon(diary.noting("call"));
    while reactor.turn(None).unwrap() == Turn::Continue {}
    assert_eq!(diary.take(), "crashed call");
    assert_eq!((ends.client.story(), ends.server.story()), ("made".into(), "made".into()));
    assert_eq!(open_kinds(&reactor).len(), 3);
});

// 13; decided differently: also after stop.
on_every_driver!(it_runs_again_after_a_crash_with_its_connections_as_they_were, |ground| {
    let diary = Diary::default();
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = ends.reactor.clone();
    diary.follow(&reactor, Event::Shutdown);
    reactor.crash();
    assert_eq!(reactor.turn(None).unwrap(), Turn::Stopped);
    ends.client.transport().write(b"written in between");
    let server = ends.server.clone();
    run_until(&reactor, move || server.received() == 18);
    assert_eq!(diary.take(), "before during after");
    assert_eq!(ends.server.story(), "made data lost");
});

// 13; decided differently
on_every_driver!(it_runs_again_after_a_stop, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    for _ in 0..3 {
        // One-shot, as all triggers: hung on anew for each run.
        diary.follow(&reactor, Event::Startup);
        diary.follow(&reactor, Event::Shutdown);
        let server = Probe::new().on_data(|transport, data| transport.write(data));
        let port = listen_once(&reactor, server);
        let client = Probe::new()
            .on_made(|transport| transport.write(b"x"))
            .on_data(|transport, _| stop(&transport.reactor().unwrap()));
        let client_tape = client.tape();
        reactor.connect_tcp(port.local_addr(), client).ignore();
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after before during after");
        assert_eq!(client_tape.reason(), "Stopped");
        assert!(open_kinds(&reactor).is_empty());
    }
});

on_every_driver!(timers_and_calls_outlive_a_stop, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_later(Duration::from_millis(2), diary.noting("timer"));
    reactor.call_later(Duration::from_millis(3), stop);
    reactor.call_when_running(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "");
    reactor.call_soon(diary.noting("call"));
    reactor.run().unwrap();
    assert_eq!(diary.take(), "call timer");
});

on_every_driver!(a_startup_that_stop_cut_short_does_not_hold_the_next_run, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let never = Latch::before(&reactor, Event::Startup);
    reactor.call_soon(stop);
    reactor.run().unwrap();
    // The next run has a startup of its own.
    diary.follow(&reactor, Event::Startup);
    reactor.call_later(Duration::from_millis(1), |reactor| {
        assert!(reactor.is_running());
        stop(reactor);
    });
    reactor.call_later(Duration::from_millis(2), |reactor| reactor.crash());
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
    never.fire();
    assert!(!reactor.is_running());
});

on_every_driver!(a_shutdown_that_crash_cut_short_does_not_hold_the_next, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let never = Latch::before(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    reactor.call_later(Duration::from_millis(1), |reactor| {
        assert!(reactor.is_running());
        reactor.crash();
    });
    reactor.run().unwrap();
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    // Or it would wait for ever.
    reactor.call_later(Duration::from_millis(5), |reactor| reactor.crash());
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
    never.fire();
});

on_every_driver!(a_shutdown_that_crash_cut_short_does_not_go_on_in_the_next_run, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = ends.reactor.clone();
    let late = Latch::before(&reactor, Event::Shutdown);
    stop(&reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.crash();
    while reactor.turn(None).unwrap() == Turn::Continue {}
    reactor.start().unwrap();
    reactor.call_soon(move |_| late.fire());
    ends.idle();
    assert!(reactor.is_running());
    assert_eq!((ends.client.story(), ends.server.story()), ("made".into(), "made".into()));
});

on_every_driver!(a_crash_wins_over_a_stop_in_the_same_turn, |ground| {
    for crash_first in [false, true] {
        let reactor = reactor(ground);
        let diary = Diary::default();
        diary.follow(&reactor, Event::Shutdown);
        reactor.call_soon(move |reactor| {
            if crash_first {
                reactor.crash();
                assert_eq!(reactor.stop(), Err(NotRunning));
            } else {
                stop(reactor);
                reactor.crash();
            }
        });
        reactor.run().unwrap();
        assert_eq!(diary.take(), "", "crash first: {crash_first}");
        // Nothing is left of the stop either.
        let second = diary.clone();
        reactor.call_later(Duration::from_millis(1), move |reactor| {
            second.note("second");
            stop(reactor);
        });
        reactor.run().unwrap();
        assert_eq!(diary.take(), "second before during after");
    }
});

on_every_driver!(a_reactor_that_does_not_run_cannot_crash, |ground| {
    let reactor = reactor(ground);
    reactor.crash();
    let diary = Diary::default();
    reactor.call_when_running(diary.noting("runs"));
    reactor.call_later(Duration::from_millis(1), stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "runs");
});

// 9; the rest of it is in `nesting.rs`.
on_every_driver!(a_reactor_that_was_started_cannot_be_started, |ground| {
    let reactor = reactor(ground);
    reactor.start().unwrap();
    assert!(matches!(reactor.start(), Err(RunError::AlreadyRunning)));
    assert!(matches!(reactor.run(), Err(RunError::AlreadyRunning)));
    assert!(reactor.is_running());
});
