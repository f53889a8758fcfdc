//! Timers and the clock. The order in which timers run is checked in `order.rs`, timers among traffic in `traffic.rs`.

mod order;
mod traffic;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use marline_conformance::on_every_driver;
use marline_core::{DelayedCall, NotPending, Reactor, Time};

use crate::life_cycle::{Diary, Witness, bare, host, reactor, stop, turn_until};

const MILLI: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// One turn that does not wait.
fn turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

/// Turns until the call was made, and says when that was.
fn until_called(reactor: &Reactor, call: &DelayedCall) -> Time {
    turn_until(reactor, "the call", || !call.is_active());
    reactor.now()
}

// 23
on_every_driver!(the_loop_can_be_stopped_from_a_timer, |ground| {
    let reactor = reactor(ground);
    let begin = reactor.now();
    reactor.call_later(3 * MILLI, stop);
    reactor.run().unwrap();
    assert!(reactor.now().since(begin) >= 3 * MILLI);
    if ground.is_simulated() {
        assert_eq!(reactor.now().since(begin), 3 * MILLI);
    }
});

// 24
on_every_driver!(a_timer_centuries_away_neither_breaks_nor_spins_the_loop, |ground| {
    let reactor = bare(ground);
    let far: Vec<DelayedCall> = [YEAR, 100 * YEAR, 500 * YEAR, 10_000 * YEAR, Duration::MAX]
        .into_iter()
        .map(|delay| reactor.call_later(delay, |_| panic!("centuries have passed")))
        .collect();
    let last = reactor.call_at(Time::MAX, |_| panic!("the end of time has come"));
    assert_eq!(last.deadline(), Some(Time::MAX));
    assert_eq!(far[4].deadline(), Some(Time::MAX));
    let near = reactor.call_later(20 * MILLI, |_| {});
    turn(&reactor);
    // One turn that waits all the time, one that makes the call.
    reactor.turn(None).unwrap();
    assert!(reactor.now() >= near.deadline().unwrap());
    turn(&reactor);
    assert!(!near.is_active());
    assert!(far.iter().all(DelayedCall::is_active) && last.is_active());
    // Put off beyond the end of time, and brought near.
    far[1].delay(Duration::MAX).unwrap();
    assert_eq!(far[1].deadline(), Some(Time::MAX));
    let called = Rc::new(Cell::new(false));
    let seen = Rc::clone(&called);
    let brought = reactor.call_later(300 * YEAR, move |_| seen.set(true));
    brought.reset(MILLI).unwrap();
    until_called(&reactor, &brought);
    assert!(called.get());
});

// 25
on_every_driver!(next_wakeup_is_the_earliest_deadline_or_never, |ground| {
    let reactor = bare(ground);
    reactor.start().unwrap();
    assert_eq!(reactor.next_wakeup(), None);
    let begin = reactor.now();
    let late = reactor.call_later(5000 * MILLI, |_| {});
    assert!(late.deadline() >= Some(begin + 5000 * MILLI));
    assert_eq!(reactor.next_wakeup(), late.deadline());
    let _later = reactor.call_later(9000 * MILLI, |_| {});
    assert_eq!(reactor.next_wakeup(), late.deadline());
    let early = reactor.call_later(2 * MILLI, |_| {});
    assert_eq!(reactor.next_wakeup(), early.deadline());
    // The moment stays, the time left shrinks.
    let now = until_called(&reactor, &early);
    assert!(now >= begin + 2 * MILLI);
    assert_eq!(reactor.next_wakeup(), late.deadline());
    // What is overdue is due at its moment, not now.
    let _past = reactor.call_at(begin, |_| {});
    assert_eq!(reactor.next_wakeup(), Some(begin));
});

// 26
on_every_driver!(reset_delay_and_cancel_move_the_next_wakeup, |ground| {
    let reactor = bare(ground);
    reactor.start().unwrap();
    let begin = reactor.now();
    let call = reactor.call_later(Duration::from_secs(100), |_| {});
    // Measured from a moment between `begin` and now.
    let is_due_after = |call: &DelayedCall, seconds| {
        let delay = Duration::from_secs(seconds);
        let deadline = call.deadline().unwrap();
        assert!((begin + delay..=reactor.now() + delay).contains(&deadline), "{deadline}");
    };
    for after in [200, 50] {
        call.reset(Duration::from_secs(after)).unwrap();
        is_due_after(&call, after);
        assert_eq!(reactor.next_wakeup(), call.deadline());
    }
    let before = call.deadline().unwrap();
    call.delay(Duration::from_secs(7)).unwrap();
    assert_eq!(call.deadline(), Some(before + Duration::from_secs(7)));
    assert_eq!(reactor.next_wakeup(), call.deadline());
    let third = Some(begin + Duration::from_secs(3));
    call.set_deadline(begin + Duration::from_secs(3)).unwrap();
    assert_eq!((reactor.next_wakeup(), call.deadline()), (third, third));
    let other = reactor.call_later(Duration::from_secs(1), |_| {});
    other.reset(Duration::from_secs(500)).unwrap();
    assert_eq!(reactor.next_wakeup(), third);
    call.cancel().unwrap();
    is_due_after(&other, 500);
    assert_eq!((reactor.next_wakeup(), call.deadline()), (other.deadline(), None));
    other.cancel().unwrap();
    assert_eq!(reactor.next_wakeup(), None);
});

// 27
on_every_driver!(a_reset_to_earlier_and_one_to_later_take_effect, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let begin = reactor.now();
    let earlier = reactor.call_later(Duration::from_secs(20), diary.noting("earlier"));
    let later = reactor.call_later(2 * MILLI, diary.noting("later"));
    let _between = reactor.call_later(4 * MILLI, diary.noting("between"));
    earlier.reset(3 * MILLI).unwrap();
    later.reset(6 * MILLI).unwrap();
    let now = until_called(&reactor, &later);
    assert_eq!(diary.take(), "earlier between later");
    assert!(now >= begin + 6 * MILLI);
});

// 27: from inside a timer's own turn.
on_every_driver!(a_timer_that_is_due_can_be_put_off_and_cancelled_by_another, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let due: Rc<RefCell<Vec<DelayedCall>>> = Rc::default();
    let others = Rc::clone(&due);
    let first = diary.clone();
    let at = reactor.now() + MILLI;
    reactor.call_at(at, move |_| {
        first.note("first");
        let others = others.borrow();
        others[0].reset(2 * MILLI).unwrap();
        others[1].cancel().unwrap();
        others[2].delay(Duration::ZERO).unwrap();
    });
    for name in ["put-off", "cancelled", "delayed-by-nothing", "last"] {
        due.borrow_mut().push(reactor.call_at(at, diary.noting(name)));
    }
    let last = due.borrow()[3].clone();
    until_called(&reactor, &last);
    assert_eq!(diary.take(), "first last");
    turn(&reactor);
    assert_eq!(diary.take(), "delayed-by-nothing");
    let put_off = due.borrow()[0].clone();
    until_called(&reactor, &put_off);
    assert_eq!(diary.take(), "put-off");
});

// 28; there is a third answer, for a handle so old that it is no longer known how its call ended.
on_every_driver!(a_call_that_is_over_says_how_it_ended, |ground| {
    let reactor = reactor(ground);
    let cancelled = reactor.call_later(MILLI, |_| panic!("cancelled"));
    let own = Rc::new(RefCell::new(None::<DelayedCall>));
    let handle = Rc::clone(&own);
    let called = reactor.call_later(2 * MILLI, move |_| {
        // From inside itself it has been called.
        all_are(handle.borrow().as_ref().unwrap(), NotPending::Called);
        handle.borrow_mut().take();
    });
    *own.borrow_mut() = Some(called.clone());
    cancelled.cancel().unwrap();
    until_called(&reactor, &called);
    assert!(own.borrow().is_none(), "it panicked");
    all_are(&called, NotPending::Called);
    all_are(&cancelled, NotPending::Cancelled);
    // As long as it is known.
    for _ in 0..1000 {
        reactor.call_later(Duration::ZERO, |_| {});
        turn(&reactor);
    }
    assert!(matches!(called.cancel(), Err(NotPending::Called | NotPending::Over)));
    assert!(matches!(cancelled.cancel(), Err(NotPending::Cancelled | NotPending::Over)));
});

/// Whatever is asked of a call that is over is refused for this reason.
#[track_caller]
fn all_are(call: &DelayedCall, reason: NotPending) {
    assert_eq!(call.cancel(), Err(reason));
    assert_eq!(call.reset(MILLI), Err(reason));
    assert_eq!(call.delay(MILLI), Err(reason));
    assert_eq!(call.set_deadline(Time::MAX), Err(reason));
    assert_eq!(call.deadline(), None);
}

// 28
on_every_driver!(a_handle_of_a_call_that_is_over_never_touches_another, |ground| {
    let reactor = reactor(ground);
    let mut old = Vec::new();
    for round in 0..300 {
        let call =
            reactor.call_later(if round % 2 == 0 { 30 * MILLI } else { Duration::ZERO }, |_| {});
        if round % 2 == 0 {
            call.cancel().unwrap();
        } else {
            turn(&reactor);
        }
        old.push(call);
        let live = reactor.call_later(Duration::from_secs(9), |_| {});
        let deadline = live.deadline();
        for call in &old {
            assert!(call.cancel().is_err() && call.reset(MILLI).is_err() && !call.is_active());
        }
        assert_eq!((live.is_active(), live.deadline()), (true, deadline));
        live.cancel().unwrap();
        old.push(live);
    }
});

// 29
on_every_driver!(a_call_is_active_until_its_function_begins, |ground| {
    let reactor = reactor(ground);
    let own = Rc::new(RefCell::new(None::<DelayedCall>));
    let active = Rc::new(Cell::new(None));
    let (handle, inside) = (Rc::clone(&own), Rc::clone(&active));
    let call = reactor.call_later(MILLI, move |_| {
        inside.set(Some(handle.borrow_mut().take().unwrap().is_active()));
    });
    *own.borrow_mut() = Some(call.clone());
    assert!(call.is_active());
    turn_until(&reactor, "the call", || active.get().is_some());
    assert_eq!((active.get(), call.is_active()), (Some(false), false));
});

// 30, 32; the place is always kept.
on_every_driver!(what_is_open_lists_exactly_the_pending_timers_with_their_sites, |ground| {
    let reactor = bare(ground);
    let timers = || {
        let open = reactor.open();
        let mut lines: Vec<u32> = open
            .iter()
            .filter(|open| open.kind == "timer")
            .inspect(|open| assert_eq!(open.site.file(), file!()))
            .map(|open| open.site.line())
            .collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(timers(), []);
    let line = line!() + 1;
    let first = reactor.call_later(MILLI, |_| {});
    let second = reactor.call_later(Duration::from_secs(5), |_| {});
    let third = reactor.call_at(reactor.now() + Duration::from_secs(9), |_| {});
    assert_eq!(timers(), [line, line + 1, line + 2]);
    second.cancel().unwrap();
    assert_eq!(timers(), [line, line + 2]);
    third.reset(Duration::from_secs(7)).unwrap();
    let open = reactor.open();
    let what = format!("due at {}", third.deadline().unwrap());
    assert!(open.iter().any(|open| open.what == what), "{open:?}");
    until_called(&reactor, &first);
    assert_eq!(timers(), [line + 2]);
    // One that runs is no longer pending.
    let seen = Rc::new(Cell::new(9));
    let inside = Rc::clone(&seen);
    reactor.call_later(Duration::ZERO, move |reactor| inside.set(reactor.open().len()));
    turn(&reactor);
    assert_eq!(seen.get(), 1);
});

// 31
on_every_driver!(a_timer_goes_by_the_reactors_clock_and_no_other, |ground| {
    let reactor = reactor(ground);
    let begin = reactor.now();
    let call = reactor.call_later(5 * MILLI, |_| {});
    let due = call.deadline().unwrap();
    assert!((begin + 5 * MILLI..=reactor.now() + 5 * MILLI).contains(&due));
    if ground.is_simulated() {
        // The wall clock is put back by a year; nobody notices.
        host(&reactor).set_wall_clock(SystemTime::UNIX_EPOCH + YEAR);
        assert_eq!(reactor.wall_clock(), SystemTime::UNIX_EPOCH + YEAR);
    }
    let now = until_called(&reactor, &call);
    assert!(now >= begin + 5 * MILLI);
    if ground.is_simulated() {
        assert_eq!(now, begin + 5 * MILLI);
        assert_eq!(reactor.wall_clock(), SystemTime::UNIX_EPOCH + YEAR + 5 * MILLI);
    }
});

on_every_driver!(time_stands_still_during_a_turn, |ground| {
    let reactor = reactor(ground);
    let times = Rc::new(RefCell::new(Vec::new()));
    for delay in [0, 0, 1, 1] {
        let times = Rc::clone(&times);
        reactor.call_later(Duration::from_micros(delay), move |reactor| {
            let busy = std::time::Instant::now();
            while busy.elapsed() < Duration::from_micros(50) {
                std::hint::spin_loop();
            }
            times.borrow_mut().push(reactor.now());
        });
    }
    turn_until(&reactor, "four calls", || times.borrow().len() == 4);
    let times = times.borrow();
    assert!(times[0] == times[1] && times[2] == times[3] && times[1] <= times[2], "{times:?}");
});

// Whoever turns the reactor may let any time pass in between, and what is set then counts from then.
on_every_driver!(time_does_not_stand_still_between_turns, |ground| {
    let reactor = reactor(ground);
    turn(&reactor);
    let before = reactor.now();
    if !ground.is_simulated() {
        std::thread::sleep(5 * MILLI);
        assert!(reactor.now() >= before + 5 * MILLI);
    }
    let call = reactor.call_later(2 * MILLI, |_| {});
    assert!(call.deadline() >= Some(before + if ground.is_simulated() { 2 } else { 7 } * MILLI));
    // And the turn that comes then knows what is due.
    if !ground.is_simulated() {
        std::thread::sleep(3 * MILLI);
        turn(&reactor);
        assert!(!call.is_active());
    }
});

on_every_driver!(time_never_goes_back, |ground| {
    let reactor = reactor(ground);
    let mut last = reactor.now();
    let call = reactor.call_later(3 * MILLI, |_| {});
    while call.is_active() {
        reactor.turn(Some(Duration::from_micros(100))).unwrap();
        assert!(reactor.now() >= last);
        last = reactor.now();
    }
});

on_every_driver!(a_timer_is_never_early, |ground| {
    let reactor = reactor(ground);
    let left = Rc::new(Cell::new(0));
    for micros in [0, 1, 10, 100, 500, 999, 1000, 1001, 1500, 2999, 3001, 10_000] {
        let delay = Duration::from_micros(micros);
        let due = reactor.now() + delay;
        left.set(left.get() + 1);
        let left = Rc::clone(&left);
        reactor.call_later(delay, move |reactor| {
            if reactor.now() >= due {
                left.set(left.get() - 1);
            }
        });
    }
    turn_until(&reactor, "all, none of them early", || left.get() == 0);
});

// Section 5 of the design.
on_every_driver!(a_timer_set_by_a_timer_runs_in_the_next_turn, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let inner = diary.clone();
    reactor.call_later(Duration::ZERO, move |reactor| {
        inner.note("timer");
        reactor.call_later(Duration::ZERO, inner.noting("zero"));
        reactor.call_at(Time::ZERO, inner.noting("past"));
    });
    reactor.call_later(Duration::ZERO, diary.noting("second"));
    turn(&reactor);
    assert_eq!(diary.take(), "timer second");
    turn(&reactor);
    assert_eq!(diary.take(), "past zero");
});

on_every_driver!(a_timer_that_sets_itself_anew_without_delay_starves_nobody, |ground| {
    fn again(reactor: &Reactor, turns: &Rc<Cell<u32>>) {
        turns.set(turns.get() + 1);
        let turns = Rc::clone(turns);
        reactor.call_later(Duration::ZERO, move |reactor| again(reactor, &turns));
    }
    let reactor = bare(ground);
    let turns = Rc::new(Cell::new(0));
    again(&reactor, &turns);
    let diary = Diary::default();
    reactor.call_soon(diary.noting("call"));
    for done in 1..=10 {
        assert_eq!(turns.get(), done);
        turn(&reactor);
    }
    assert_eq!(diary.take(), "call");
});

on_every_driver!(a_call_never_runs_inside_call_later_or_call_soon, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_later(Duration::ZERO, diary.noting("timer"));
    reactor.call_soon(diary.noting("call"));
    assert_eq!(diary.take(), "");
    // Calls come before timers.
    turn(&reactor);
    assert_eq!(diary.take(), "call timer");
    // A call's timer can be due in this turn, a timer's call is for the next; and so is a call's call.
    let inner = diary.clone();
    reactor.call_soon(move |reactor| {
        reactor.call_soon(inner.noting("calls-call"));
        let timers = inner.clone();
        reactor.call_later(Duration::ZERO, move |reactor| {
            timers.note("calls-timer");
            reactor.call_soon(timers.noting("timers-call"));
        });
    });
    turn(&reactor);
    assert_eq!(diary.take(), "calls-timer");
    turn(&reactor);
    assert_eq!(diary.take(), "calls-call timers-call");
});

on_every_driver!(calls_are_made_first_in_first_out, |ground| {
    let reactor = reactor(ground);
    let numbers: Rc<RefCell<Vec<u32>>> = Rc::default();
    for number in 0..1000 {
        let numbers = Rc::clone(&numbers);
        reactor.call_soon(move |_| numbers.borrow_mut().push(number));
    }
    turn(&reactor);
    assert!(numbers.borrow().iter().copied().eq(0..1000));
});

// 33; the rest of it is in `life_cycle/endings.rs`.
on_every_driver!(a_call_that_is_over_is_dropped_though_its_handle_is_kept, |ground| {
    let reactor = reactor(ground);
    let witness = Witness::default();
    let called = reactor.call_later(Duration::ZERO, witness.call());
    let cancelled = reactor.call_later(Duration::ZERO, witness.call());
    let kept = witness.clone();
    let panicked = reactor.call_later(Duration::ZERO, move |_| {
        let _kept = kept;
        panic!("a timer panics");
    });
    assert_eq!(witness.kept(), 3);
    cancelled.cancel().unwrap();
    assert_eq!(witness.kept(), 2);
    turn(&reactor);
    assert_eq!(witness.kept(), 0);
    assert!(!called.is_active() && !panicked.is_active());
});

// 33
on_every_driver!(a_timer_that_was_reset_often_keeps_one_function, |ground| {
    let reactor = reactor(ground);
    let witness = Witness::default();
    let call = reactor.call_later(Duration::from_secs(1), witness.call());
    for round in 0..2000 {
        call.reset(Duration::from_micros(1_000_000 + (round * 7919) % 5000)).unwrap();
    }
    assert_eq!(witness.kept(), 1);
    call.reset(Duration::ZERO).unwrap();
    turn(&reactor);
    assert_eq!((witness.kept(), call.cancel()), (0, Err(NotPending::Called)));
});
