//! Sleeping, calls that are put off, yielding, slices of futures.

use super::*;
use crate::deferred::{Interrupt, Resolver};
use crate::failure::Failure;
use crate::sim::SimDriver;
use crate::task::{Slice, Slices};
use crate::testing::{assert_no_result, failure_result_of, success_result_of};

#[test]
fn a_sleep_fires_at_its_time_and_leaves_nothing() {
    let reactor = TestReactor::new();
    let slept = reactor.sleep(2 * SECOND);
    reactor.advance(1999 * MILLI);
    assert_no_result(&slept);
    reactor.advance(MILLI);
    success_result_of(slept);
    let until = reactor.sleep_until(reactor.now() + SECOND);
    let past = reactor.sleep_until(Time::ZERO);
    assert_no_result(&past);
    reactor.turn_until_idle();
    success_result_of(past);
    reactor.advance(SECOND);
    success_result_of(until);
    reactor.check_leaks();
}

#[test]
fn a_sleep_that_is_cancelled_leaves_no_timer() {
    let reactor = TestReactor::new();
    let slept = reactor.sleep(SECOND);
    assert_eq!((reactor.open()[0].kind, reactor.open()[0].site.file()), ("timer", file!()));
    slept.cancel();
    reactor.check_leaks();
    assert_eq!(failure_result_of(slept).check(), Some(&Interrupt::Cancelled));
}

#[test]
fn a_sleep_that_a_future_awaits_is_cancelled_with_it() {
    let reactor = TestReactor::new();
    let (clock, diary) = ((*reactor).clone(), Diary::default());
    let (begin, inside) = (reactor.now(), diary.clone());
    let task = reactor.spawn(async move {
        clock.sleep(SECOND).await.unwrap();
        inside.note(millis_since(begin, &clock).to_string());
        clock.sleep(3600 * SECOND).await.unwrap();
        inside.note("never");
    });
    reactor.advance(5 * SECOND);
    assert_eq!((diary.take().as_str(), reactor.open().len()), ("1000", 1));
    task.cancel();
    reactor.turn_until_idle();
    reactor.check_leaks();
    task.ignore();
}

#[test]
fn a_sleep_is_abandoned_by_a_reactor_that_closes() {
    let reactor = Reactor::new(SimDriver::alone(1));
    let (slept, later) = (reactor.sleep(SECOND), reactor.defer_later(SECOND, |_| {}));
    drop(reactor);
    assert_eq!(failure_result_of(slept).check(), Some(&Interrupt::Abandoned));
    assert_eq!(failure_result_of(later).check(), Some(&Interrupt::Abandoned));
}

#[test]
fn a_call_put_off_gives_what_it_returns() {
    let reactor = TestReactor::new();
    let begin = reactor.now();
    let later =
        reactor.defer_later(SECOND, move |reactor| Ok::<_, Failure>(millis_since(begin, reactor)));
    let nothing = reactor.defer_later(SECOND, |_| {});
    let fails = reactor.defer_later(SECOND, |_| "many".parse::<u16>());
    let panics = reactor.defer_later(SECOND, |_| -> Deferred<()> { panic!("oh") });
    reactor.advance(SECOND);
    assert_eq!(success_result_of(later), 1000);
    success_result_of(nothing);
    assert!(failure_result_of(fails).check::<std::num::ParseIntError>().is_some());
    assert_eq!(failure_result_of(panics).check(), Some(&Interrupt::Panicked("oh".into())));
}

#[test]
fn a_call_put_off_is_waited_for_and_cancelled_wherever_it_is() {
    let reactor = TestReactor::new();
    let kept = Rc::new(RefCell::new(Vec::<Resolver<u32>>::new()));
    let (diary, keeps) = (Diary::default(), Rc::clone(&kept));
    let noted = diary.clone();
    let later = || {
        let (keeps, noted) = (Rc::clone(&keeps), noted.clone());
        reactor.defer_later(SECOND, move |_| {
            let (deferred, resolver) = Deferred::<u32>::with_canceller(move || noted.note("inner"));
            keeps.borrow_mut().push(resolver);
            deferred
        })
    };
    let (waited, inner, outer) = (later(), later(), later());
    outer.cancel();
    assert_eq!(reactor.open().len(), 2, "its timer is gone");
    reactor.advance(SECOND);
    assert_eq!(kept.borrow().len(), 2, "and was not called");
    assert_no_result(&waited);
    let resolver = kept.borrow_mut().remove(0);
    resolver.resolve(7);
    assert_eq!(success_result_of(waited), 7);
    inner.cancel();
    assert_eq!(diary.take(), "inner");
    for cancelled in [inner, outer] {
        assert_eq!(failure_result_of(cancelled).check(), Some(&Interrupt::Cancelled));
    }
    reactor.check_leaks();
}

#[test]
fn a_future_that_yields_lets_timers_in_between() {
    let reactor = TestReactor::new();
    let (clock, diary) = ((*reactor).clone(), Diary::default());
    let inside = diary.clone();
    let task = reactor.spawn(async move {
        for step in 0..3 {
            inside.note(step.to_string());
            clock.yield_now().await?;
        }
        Ok::<_, Failure>(())
    });
    let timed = diary.clone();
    reactor.call_later(MILLI, move |_| timed.note("timer"));
    reactor.result_of(task).unwrap().unwrap();
    assert_eq!(diary.take(), "0, timer, 1, 2");
}

#[test]
fn slices_wait_for_the_next_turn_after_so_many_steps() {
    let reactor = TestReactor::new();
    let mut slices = Slices::with_slice(&reactor, Slice::new(SECOND, 3));
    for _ in 0..2 {
        for _ in 0..2 {
            success_result_of(slices.step());
        }
        let third = slices.step();
        assert_no_result(&third);
        reactor.advance(MILLI);
        success_result_of(third);
    }
    reactor.check_leaks();
}

#[test]
fn slices_wait_for_the_next_turn_after_so_much_time() {
    let late = Late::new();
    let mut slices = Slices::with_slice(&late.reactor, Slice::new(10 * MILLI, u32::MAX));
    success_result_of(slices.step());
    late.hold(9 * MILLI);
    success_result_of(slices.step());
    late.hold(MILLI);
    let last = slices.step();
    assert_no_result(&last);
    late.hold(MILLI);
    late.turn();
    success_result_of(last);
    success_result_of(slices.step());
}

#[test]
fn slices_of_a_reactor_that_is_gone_fail() {
    let reactor = Reactor::new(SimDriver::alone(1));
    let mut slices = Slices::new(&reactor);
    drop(reactor);
    assert_eq!(failure_result_of(slices.step()).check(), Some(&Interrupt::Abandoned));
}
