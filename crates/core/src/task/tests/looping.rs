//! Looping calls, a row of the reference after the other.

use super::*;
use crate::deferred::{CancelHandle, Interrupt, Resolver, capture_unhandled};
use crate::failure::Failure;
use crate::sim::SimDriver;
use crate::task::{AlreadyLooping, LoopingCall, NotLooping};
use crate::testing::{CapturedLog, assert_no_result, failure_result_of, success_result_of};

/// A loop that notes when it is called, in milliseconds from now on.
fn noting(reactor: &Reactor, diary: &Diary) -> LoopingCall {
    let (diary, begin) = (diary.clone(), reactor.now());
    LoopingCall::new(reactor, move |looping| {
        diary.note(millis_since(begin, &looping.reactor().unwrap()).to_string());
    })
}

/// A loop whose calls return Deferreds that the test fires.
fn waiting(reactor: &Reactor, diary: &Diary) -> (LoopingCall, Rc<RefCell<Vec<Resolver<()>>>>) {
    let resolvers = Rc::<RefCell<Vec<Resolver<()>>>>::default();
    let (diary, made) = (diary.clone(), Rc::clone(&resolvers));
    let looping = LoopingCall::new(reactor, move |_| {
        diary.note("called");
        let (deferred, resolver) = Deferred::<()>::new();
        made.borrow_mut().push(resolver);
        deferred
    });
    (looping, resolvers)
}

fn fire(resolvers: &RefCell<Vec<Resolver<()>>>) {
    let resolver = resolvers.borrow_mut().remove(0);
    resolver.resolve(());
}

#[test]
fn it_is_called_at_once_and_then_at_each_interval() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let looping = noting(&reactor, &diary);
    let done = looping.start(2 * SECOND).unwrap();
    assert_eq!(diary.take(), "", "never from inside start");
    reactor.advance(7 * SECOND);
    assert_eq!(diary.take(), "0, 2000, 4000, 6000");
    assert_eq!(looping.interval(), Some(2 * SECOND));
    looping.stop().unwrap();
    success_result_of(done);
    reactor.advance(7 * SECOND);
    assert_eq!(diary.take(), "");
    reactor.check_leaks();
}

#[test]
fn it_is_called_first_after_the_interval_if_started_later() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let looping = noting(&reactor, &diary);
    let _done = looping.start_later(2 * SECOND).unwrap();
    reactor.advance(5 * SECOND);
    assert_eq!(diary.take(), "2000, 4000");
}

#[test]
fn late_calls_skip_what_they_missed_and_stay_on_the_grid() {
    let late = Late::new();
    let diary = Diary::default();
    let looping = noting(&late.reactor, &diary);
    let _done = looping.start(2 * SECOND).unwrap();
    for tenths in [0, 20, 67, 90] {
        late.turn_at(tenths);
    }
    assert_eq!(diary.take(), "0, 2000, 6700, 9000");
    assert_eq!(looping.deadline(), Some(late.begin + 10 * SECOND));
    late.turn_at(99);
    assert_eq!(diary.take(), "");
    late.turn_at(100);
    assert_eq!(diary.take(), "10000");
}

#[test]
fn a_call_that_counts_is_told_of_the_steps_it_missed() {
    let late = Late::new();
    let diary = Diary::default();
    let counts = diary.clone();
    let looping = LoopingCall::with_count(&late.reactor, move |_, count| {
        counts.note(count.to_string());
    });
    let _done = looping.start(2 * SECOND).unwrap();
    for tenths in [0, 20, 67, 90, 100, 160] {
        late.turn_at(tenths);
    }
    assert_eq!(diary.take(), "1, 1, 2, 1, 1, 3");
}

#[test]
fn without_an_interval_a_call_always_counts_one() {
    let late = Late::new();
    let diary = Diary::default();
    let counts = diary.clone();
    let looping =
        LoopingCall::with_count(&late.reactor, move |_, count| counts.note(count.to_string()));
    let _done = looping.start(Duration::ZERO).unwrap();
    for tenths in [0, 20, 67] {
        late.turn_at(tenths);
    }
    assert_eq!(diary.take(), "1, 1, 1");
}

#[test]
fn without_an_interval_the_clock_of_a_simulation_goes_on() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let looping = noting(&reactor, &diary);
    let done = looping.start(Duration::ZERO).unwrap();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "0", "one a step of the clock");
    reactor.advance(3 * MILLI);
    assert_eq!(diary.take(), "1, 2, 3");
    looping.stop().unwrap();
    success_result_of(done);
    // Also where nobody moves the clock step by step.
    let reactor = Reactor::new(SimDriver::alone(1));
    let looping = LoopingCall::new(&reactor, |_| {});
    looping.start(Duration::ZERO).unwrap().ignore();
    reactor.call_later(SECOND, |reactor| reactor.stop().unwrap());
    reactor.run().unwrap();
}

#[test]
fn the_next_call_waits_for_the_deferred_of_the_one_before() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let begin = reactor.now();
    let (looping, resolvers) = waiting(&reactor, &diary);
    let done = looping.start(2 * SECOND).unwrap();
    reactor.advance(5 * SECOND);
    assert_eq!(diary.take(), "called");
    assert_eq!((looping.deadline(), looping.is_running()), (None, true));
    fire(&resolvers);
    assert_eq!(looping.deadline(), Some(begin + 6 * SECOND));
    reactor.advance(SECOND);
    assert_eq!(diary.take(), "called");
    assert_no_result(&done);
}

#[test]
fn stop_during_a_call_fires_after_the_call_and_its_deferred() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let (looping, resolvers) = waiting(&reactor, &diary);
    let done = looping.start(2 * SECOND).unwrap();
    reactor.advance(SECOND);
    looping.stop().unwrap();
    assert!(!looping.is_running());
    assert_no_result(&done);
    reactor.advance(5 * SECOND);
    fire(&resolvers);
    success_result_of(done);
    reactor.advance(5 * SECOND);
    assert_eq!(diary.take(), "called");
    reactor.check_leaks();
}

#[test]
fn it_can_be_stopped_from_inside_its_call() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let inside = diary.clone();
    let looping = LoopingCall::new(&reactor, move |looping| {
        looping.stop().unwrap();
        inside.note(format!("running: {}", looping.is_running()));
    });
    diary.follow("loop", looping.start(SECOND).unwrap());
    reactor.advance(5 * SECOND);
    assert_eq!(diary.take(), "running: false, loop: done");
    reactor.check_leaks();
}

#[test]
fn it_can_be_stopped_and_started_again_from_inside_its_call() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let (inside, begin) = (diary.clone(), reactor.now());
    let looping = LoopingCall::new(&reactor, move |looping| {
        let now = millis_since(begin, &looping.reactor().unwrap());
        inside.note(now.to_string());
        if now == 2000 {
            looping.stop().unwrap();
            inside.follow("second", looping.start_later(5 * SECOND).unwrap());
        }
    });
    diary.follow("first", looping.start(2 * SECOND).unwrap());
    reactor.advance(13 * SECOND);
    assert_eq!(diary.take(), "0, 2000, first: done, 7000, 12000");
    looping.stop().unwrap();
    assert_eq!(diary.take(), "second: done");
}

#[test]
fn a_loop_started_anew_while_a_call_is_under_way_does_not_overlap_it() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let (looping, resolvers) = waiting(&reactor, &diary);
    diary.follow("first", looping.start(SECOND).unwrap());
    reactor.advance(SECOND);
    looping.stop().unwrap();
    diary.follow("second", looping.start(SECOND).unwrap());
    reactor.advance(3 * SECOND);
    looping.stop().unwrap();
    diary.follow("third", looping.start(SECOND).unwrap());
    reactor.advance(500 * MILLI);
    assert_eq!(diary.take(), "called");
    fire(&resolvers);
    assert_eq!(diary.take(), "first: done, second: done");
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "called", "its first, which is late");
    fire(&resolvers);
    reactor.advance(500 * MILLI);
    assert_eq!(diary.take(), "called", "on its grid");
}

#[test]
fn a_failure_stops_the_loop_and_is_what_its_deferred_fails_with() {
    let reactor = TestReactor::new();
    let looping = LoopingCall::new(&reactor, |_| "many".parse::<u16>());
    let done = looping.start(SECOND).unwrap();
    let running = Rc::new(Cell::new(None));
    let (seen, handle) = (Rc::clone(&running), looping.clone());
    let done = done.map_err(move |failure| {
        seen.set(Some(handle.is_running()));
        failure
    });
    reactor.advance(5 * SECOND);
    assert_eq!(running.get(), Some(false), "it had stopped when the failure was told");
    assert!(failure_result_of(done).check::<std::num::ParseIntError>().is_some());
    reactor.check_leaks();
}

#[test]
fn a_deferred_that_fails_stops_the_loop() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let (looping, resolvers) = waiting(&reactor, &diary);
    let done = looping.start(SECOND).unwrap();
    reactor.advance(SECOND);
    resolvers.borrow_mut().remove(0).fail(Failure::msg("no"));
    assert_eq!(failure_result_of(done).to_string(), "no");
    assert!(!looping.is_running());
}

#[test]
fn a_failure_after_a_stop_is_told_all_the_same() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let (looping, resolvers) = waiting(&reactor, &diary);
    let done = looping.start(SECOND).unwrap();
    reactor.advance(SECOND);
    looping.stop().unwrap();
    let second = looping.start(SECOND).unwrap();
    resolvers.borrow_mut().remove(0).fail(Failure::msg("no"));
    assert_eq!(failure_result_of(done).to_string(), "no");
    assert!(looping.is_running(), "the failure is the first run's");
    assert_no_result(&second);
}

#[test]
fn a_panic_is_a_failure_and_the_loop_can_be_started_again() {
    let reactor = TestReactor::new();
    let (count, counted) = counter();
    let looping = LoopingCall::new(&reactor, move |_| {
        counted.set(counted.get() + 1);
        assert_ne!(counted.get(), 1, "the first");
    });
    let done = looping.start(SECOND).unwrap();
    reactor.advance(SECOND);
    let failure = failure_result_of(done);
    assert!(matches!(failure.check(), Some(Interrupt::Panicked(text)) if text.contains("first")));
    let _done = looping.start(SECOND).unwrap();
    reactor.advance(3 * SECOND);
    assert_eq!(count.get(), 1 + 4);
}

#[test]
fn a_failure_that_nobody_looks_at_is_logged_with_the_place_of_the_start() {
    let reactor = TestReactor::new();
    let looping = LoopingCall::new(&reactor, |_| Err::<(), _>(Failure::msg("no")));
    let log = CapturedLog::start();
    let ((), unhandled) = capture_unhandled(|| {
        drop(looping.start(SECOND).unwrap());
        reactor.advance(SECOND);
    });
    assert_eq!((unhandled.len(), unhandled[0].created.file()), (1, file!()));
    log.take_errors();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let reactor = TestReactor::new();
    let looping = LoopingCall::new(&reactor, |_| {});
    assert_eq!((looping.stop(), looping.reset()), (Err(NotLooping), Err(NotLooping)));
    let done = looping.start(SECOND).unwrap();
    assert_eq!(looping.start(SECOND).err(), Some(AlreadyLooping));
    assert_eq!(looping.start_later(SECOND).err(), Some(AlreadyLooping));
    looping.stop().unwrap();
    assert_eq!((looping.stop(), looping.reset()), (Err(NotLooping), Err(NotLooping)));
    success_result_of(done);
}

#[test]
fn a_reset_begins_the_grid_anew() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let looping = noting(&reactor, &diary);
    let _done = looping.start_later(2 * SECOND).unwrap();
    for _ in 0..5 {
        // Something happens: no call as long as that goes on.
        reactor.advance(1900 * MILLI);
        looping.reset().unwrap();
    }
    assert_eq!(diary.take(), "");
    reactor.advance(4 * SECOND);
    assert_eq!(diary.take(), "11500, 13500");
    assert_eq!(reactor.open().len(), 1, "one timer, however often it was put off");
}

#[test]
fn a_reset_during_a_call_counts_from_the_reset() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let begin = reactor.now();
    let (looping, resolvers) = waiting(&reactor, &diary);
    let _done = looping.start(2 * SECOND).unwrap();
    reactor.advance(3 * SECOND);
    looping.reset().unwrap();
    reactor.advance(3 * SECOND);
    fire(&resolvers);
    assert_eq!(looping.deadline(), Some(begin + 7 * SECOND));
}

#[test]
fn a_reset_leaves_a_first_call_that_is_to_be_made_at_once() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let looping = noting(&reactor, &diary);
    let _done = looping.start(2 * SECOND).unwrap();
    looping.reset().unwrap();
    reactor.advance(3 * SECOND);
    assert_eq!(diary.take(), "0, 2000");
}

#[test]
fn cancelling_stops_the_loop() {
    let reactor = TestReactor::new();
    let looping = LoopingCall::new(&reactor, |_| {});
    let done = looping.start(SECOND).unwrap();
    reactor.advance(SECOND);
    done.cancel();
    assert_eq!(failure_result_of(done).check(), Some(&Interrupt::Cancelled));
    assert!(!looping.is_running());
    reactor.check_leaks();
}

#[test]
fn cancelling_cancels_what_a_call_waits_for() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let kept = Rc::new(RefCell::new(None));
    let (keeps, told) = (Rc::clone(&kept), diary.clone());
    let looping = LoopingCall::new(&reactor, move |_| {
        let told = told.clone();
        let (deferred, resolver) =
            Deferred::<()>::with_canceller(move || told.note("the call was cancelled"));
        *keeps.borrow_mut() = Some(resolver);
        deferred
    });
    let done = looping.start(SECOND).unwrap();
    reactor.advance(SECOND);
    done.cancel();
    assert_eq!(diary.take(), "the call was cancelled");
    assert_eq!(failure_result_of(done).check(), Some(&Interrupt::Cancelled));
    assert!(!looping.is_running());
    drop(kept);
}

#[test]
fn cancelling_from_inside_the_call_ends_the_loop_after_it() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let cancel = Rc::new(Cell::new(CancelHandle::default()));
    let (handle, inside) = (Rc::clone(&cancel), diary.clone());
    let looping = LoopingCall::new(&reactor, move |_| {
        handle.take().cancel();
        inside.note("called");
        Err::<(), _>(Failure::msg("unheard"))
    });
    let done = looping.start(SECOND).unwrap();
    cancel.set(done.cancel_handle());
    diary.follow("loop", done);
    reactor.advance(5 * SECOND);
    assert_eq!(diary.take(), "loop: cancelled, called");
    // What the call returns is cancelled, too.
    let handle = Rc::clone(&cancel);
    let waits = LoopingCall::new(&reactor, move |looping| {
        handle.take().cancel();
        looping.reactor().unwrap().sleep(3600 * SECOND)
    });
    let done = waits.start(SECOND).unwrap();
    cancel.set(done.cancel_handle());
    diary.follow("loop", done);
    reactor.advance(SECOND);
    assert_eq!((diary.take().as_str(), waits.is_running()), ("loop: cancelled", false));
    reactor.check_leaks();
}

#[test]
fn it_goes_on_without_its_handle_and_lets_go_of_its_function_at_the_end() {
    let reactor = TestReactor::new();
    let witness = Witness::default();
    let (count, counted) = counter();
    let kept = witness.clone();
    let looping = LoopingCall::new(&reactor, move |looping| {
        let _kept = &kept;
        counted.set(counted.get() + 1);
        if counted.get() == 3 {
            looping.stop().unwrap();
        }
    });
    looping.start(SECOND).unwrap().ignore();
    drop(looping);
    assert_eq!(witness.kept(), 1);
    reactor.advance(5 * SECOND);
    assert_eq!((count.get(), witness.kept()), (3, 0));
}

#[test]
fn a_reactor_that_closes_ends_the_loop() {
    let reactor = Reactor::new(SimDriver::alone(1));
    let witness = Witness::default();
    let kept = witness.clone();
    let looping = LoopingCall::new(&reactor, move |_| {
        let _kept = &kept;
    });
    let done = looping.start(SECOND).unwrap();
    reactor.close_all();
    assert_eq!(failure_result_of(done).check(), Some(&Interrupt::Abandoned));
    assert!(!looping.is_running());
    // It can be started again as long as there is a reactor.
    let done = looping.start(SECOND).unwrap();
    drop(reactor);
    assert_eq!(failure_result_of(done).check(), Some(&Interrupt::Abandoned));
    assert_eq!((looping.is_running(), looping.deadline()), (false, None));
    let gone = looping.start(SECOND).unwrap();
    assert_eq!(failure_result_of(gone).check(), Some(&Interrupt::Abandoned));
    drop(looping);
    assert_eq!(witness.kept(), 0);
}

#[test]
fn its_timer_is_known_by_the_place_of_the_start() {
    let reactor = TestReactor::new();
    let looping = LoopingCall::new(&reactor, |_| {});
    let line = line!() + 1;
    let _done = looping.start(SECOND).unwrap();
    for _ in 0..2 {
        let open = reactor.open();
        assert_eq!(
            (open[0].kind, open[0].site.file(), open[0].site.line()),
            ("timer", file!(), line)
        );
        reactor.advance(SECOND);
    }
}

#[test]
fn a_million_calls_that_return_fired_deferreds_use_no_stack() {
    let reactor = TestReactor::new();
    let (count, counted) = counter();
    let looping = LoopingCall::new(&reactor, move |looping| {
        counted.set(counted.get() + 1);
        if counted.get() == 1_000_000 {
            looping.stop().unwrap();
        }
        Deferred::<()>::ready(())
    });
    let done = looping.start(Duration::from_nanos(1)).unwrap();
    reactor.advance(2 * MILLI);
    success_result_of(done);
    assert_eq!(count.get(), 1_000_000);
}
