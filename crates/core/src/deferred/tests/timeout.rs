//! Time-outs.

use std::cell::Cell;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use super::{CANCELLED, Number, Oops, slot, taken, unhandled};
use crate::deferred::{Deferred, Interrupt, Resolver};
use crate::failure::Failure;
use crate::testing::TestReactor;

const SECOND: Duration = Duration::from_secs(1);
const TIMED_OUT: Oops = Oops::Interrupted(Interrupt::TimedOut);

fn timers(reactor: &TestReactor) -> Vec<u32> {
    let open = reactor.open().into_iter().filter(|open| open.kind == "timer");
    open.map(|open| open.site.line()).collect()
}

#[test]
fn after_the_time_the_canceller_is_called_and_the_error_says_so() {
    let reactor = TestReactor::new();
    let called = Rc::new(Cell::new(0));
    let count = Rc::clone(&called);
    let (deferred, resolver) = Number::with_canceller(move || count.set(count.get() + 1));
    let end = deferred.timeout(&reactor, SECOND);
    assert_eq!(timers(&reactor), [line!() - 1], "the timer is the caller's");
    reactor.advance(SECOND - Duration::from_nanos(1));
    assert!(!end.is_ready() && called.get() == 0);
    reactor.advance(Duration::from_nanos(1));
    assert_eq!((taken(end), called.get()), (Err(TIMED_OUT), 1));
    assert_eq!(timers(&reactor), []);
    // The late result is swallowed as after every cancel.
    assert!(resolver.is_cancelled());
    assert_eq!(unhandled(|| resolver.fail(Oops::Own(1))), []);
}

#[test]
fn the_timer_goes_as_soon_as_a_result_passes() {
    for result in [Ok(1), Err(Oops::Own(1))] {
        let reactor = TestReactor::new();
        let (deferred, resolver) = Number::new();
        let end = deferred.timeout(&reactor, SECOND);
        resolver.finish(result.clone());
        assert_eq!(timers(&reactor), []);
        reactor.advance(SECOND * 2);
        assert_eq!(taken(end), result);
    }
}

#[test]
fn a_result_that_is_there_needs_no_timer() {
    let reactor = TestReactor::new();
    let end = Number::ready(1).timeout(&reactor, SECOND);
    assert_eq!(timers(&reactor), []);
    assert_eq!(taken(end), Ok(1));
}

#[test]
fn only_what_is_before_it_is_covered() {
    let reactor = TestReactor::new();
    let (before, before_resolver) = Number::new();
    let (after, after_resolver) = Number::new();
    let end = before.timeout(&reactor, SECOND).then(move |_| after);
    before_resolver.resolve(1);
    reactor.advance(SECOND * 10);
    assert!(!after_resolver.is_cancelled());
    after_resolver.resolve(2);
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn what_is_waited_for_before_it_is_covered() {
    let reactor = TestReactor::new();
    let (outer, outer_resolver) = Number::new();
    let (inner, inner_resolver) = Number::new();
    let end = outer.then(move |_| inner).map(|value| value + 1).timeout(&reactor, SECOND);
    outer_resolver.resolve(1);
    reactor.advance(SECOND);
    assert!(inner_resolver.is_cancelled());
    assert_eq!(taken(end), Err(TIMED_OUT));
}

#[test]
fn steps_before_it_see_the_cancel_and_those_after_it_the_time_out() {
    let reactor = TestReactor::new();
    let (seen, see) = slot();
    let (first, last) = (see.clone(), see);
    let (deferred, _resolver) = Number::new();
    let end = deferred
        .map_err(move |error| {
            first(error.to_string());
            error
        })
        .timeout(&reactor, SECOND)
        .map_err(move |error| {
            last(error.to_string());
            error
        });
    reactor.advance(SECOND);
    assert_eq!(*seen.borrow(), ["cancelled", "timed out"]);
    assert_eq!(taken(end), Err(TIMED_OUT));
}

#[test]
fn what_the_steps_before_it_make_of_the_cancel_stands() {
    let reactor = TestReactor::new();
    let (recovered, _first) = Number::new();
    let recovered = recovered.recover(|_| 7).timeout(&reactor, SECOND);
    let (replaced, _second) = Number::new();
    let replaced = replaced.or_else(|_| Err(Oops::Own(8))).timeout(&reactor, SECOND);
    reactor.advance(SECOND);
    assert_eq!(taken(recovered), Ok(7));
    assert_eq!(taken(replaced), Err(Oops::Own(8)));
}

#[test]
fn a_cancel_of_the_users_stays_one() {
    let reactor = TestReactor::new();
    let (deferred, _resolver) = Number::new();
    let end = deferred.timeout(&reactor, SECOND);
    end.cancel();
    assert_eq!(timers(&reactor), []);
    assert_eq!(taken(end), Err(CANCELLED));
    // Also one that comes later than a time-out that was survived.
    let (first, _first) = Number::new();
    let (second, _second) = Number::new();
    let end = first.timeout(&reactor, SECOND).or_then(move |_| second);
    reactor.advance(SECOND);
    end.cancel();
    assert_eq!(taken(end), Err(CANCELLED));
}

#[test]
fn of_two_time_outs_the_earlier_counts_once() {
    let reactor = TestReactor::new();
    for (inner, outer) in [(1, 2), (2, 1)] {
        let (deferred, _resolver) = Number::new();
        let end = deferred
            .timeout(&reactor, SECOND * inner)
            .map_err(|error| if error == TIMED_OUT { Oops::Own(1) } else { error })
            .timeout(&reactor, SECOND * outer);
        reactor.advance(SECOND);
        let expected = if inner < outer { Oops::Own(1) } else { TIMED_OUT };
        assert_eq!(taken(end), Err(expected));
        assert_eq!(timers(&reactor), []);
    }
}

#[test]
fn a_failure_is_told_to_be_a_cancel_however_it_came() {
    let reactor = TestReactor::new();
    let (inner, _inner_resolver) = Deferred::<()>::new();
    let handle = inner.cancel_handle();
    let (outer, outer_resolver) = Deferred::<()>::with_canceller(move || handle.cancel());
    // By hand, as a combinator would.
    inner.done(move |result| outer_resolver.finish(result));
    let end = outer.map(|()| 1).timeout(&reactor, SECOND).map(|value| value + 1);
    let line = line!() - 1;
    reactor.advance(SECOND);
    let failure = taken(end).unwrap_err();
    assert_eq!(failure.check(), Some(&Interrupt::TimedOut));
    assert_eq!(failure.site().line(), line, "made by the time-out");
    assert_eq!(failure.hops().map(|site| site.line()).collect::<Vec<_>>(), [line; 3]);
}

#[test]
fn an_error_that_wraps_an_interrupt_is_told_by_the_way_it_came() {
    /// Does not show what it was made of.
    #[derive(Debug, PartialEq)]
    struct Opaque(String);
    impl fmt::Display for Opaque {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("opaque")
        }
    }
    impl From<Interrupt> for Opaque {
        fn from(interrupt: Interrupt) -> Self {
            Self(interrupt.to_string())
        }
    }
    let reactor = TestReactor::new();
    let (deferred, _resolver) = Deferred::<(), Oops>::new();
    let (front, front_resolver) = Deferred::<(), Oops>::new();
    front_resolver.follow(deferred);
    let end = front.map_err(|error| Opaque(error.to_string())).timeout(&reactor, SECOND);
    reactor.advance(SECOND);
    assert_eq!(taken(end), Err(Opaque("timed out".into())));
    // One of its own that is fired at that moment is not taken for the cancel.
    let place = Rc::new(Cell::new(None));
    let to_canceller = Rc::clone(&place);
    let (deferred, resolver) = Deferred::<(), Opaque>::with_canceller(move || {
        let resolver: Option<Resolver<(), Opaque>> = to_canceller.take();
        resolver.unwrap().fail(Opaque("own".into()));
    });
    place.set(Some(resolver));
    let end = deferred.timeout(&reactor, SECOND);
    reactor.advance(SECOND);
    assert_eq!(taken(end), Err(Opaque("own".into())));
}

#[test]
fn a_function_may_decide_what_comes_of_a_time_out_and_of_nothing_else() {
    let reactor = TestReactor::new();
    let (late, _resolver) = Number::new();
    let late = late.timeout_with(&reactor, SECOND, |result| {
        assert_eq!(result, Err(CANCELLED));
        Ok(5)
    });
    let (recovered, _recovered) = Number::new();
    let recovered = recovered.recover(|_| 7).timeout_with(&reactor, SECOND, |result| {
        assert_eq!(result, Ok(7));
        Err(Oops::Own(6))
    });
    let (panics, _panics) = Number::new();
    let panics =
        panics.timeout_with(&reactor, SECOND, |_| resume_unwind(Box::new("in the function")));
    let (early, resolver) = Number::new();
    let early = early.timeout_with(&reactor, SECOND, |_| panic!("it came in time"));
    resolver.resolve(1);
    reactor.advance(SECOND);
    assert_eq!(taken(late), Ok(5));
    assert_eq!(taken(recovered), Err(Oops::Own(6)));
    let panicked = Interrupt::Panicked("in the function".into());
    assert_eq!(taken(panics), Err(Oops::Interrupted(panicked)));
    assert_eq!(taken(early), Ok(1));
}

#[test]
fn a_result_that_is_held_back_beyond_the_time_is_not_cancelled() {
    let reactor = TestReactor::new();
    let (mut deferred, resolver) = Number::new();
    let hold = deferred.hold();
    let end = deferred.timeout(&reactor, SECOND);
    resolver.resolve(1);
    reactor.advance(SECOND * 2);
    assert!(!end.is_ready());
    hold.release();
    assert_eq!(taken(end), Ok(1));
}

#[test]
fn a_reactor_that_is_gone_times_nothing_out() {
    let reactor = TestReactor::new();
    let (deferred, resolver) = Number::new();
    let end = deferred.timeout(&reactor, SECOND);
    drop(reactor);
    assert!(!end.is_ready() && !resolver.is_cancelled());
    resolver.resolve(1);
    assert_eq!(taken(end), Ok(1));
    let reactor = TestReactor::new();
    let (deferred, resolver) = Number::new();
    let end = deferred.timeout(&reactor, SECOND);
    reactor.close_all();
    reactor.advance(SECOND * 2);
    assert!(!resolver.is_cancelled());
    end.cancel();
    assert_eq!(taken(end), Err(CANCELLED));
}

#[test]
fn the_time_out_of_a_deferred_that_was_dropped_stands() {
    let reactor = TestReactor::new();
    let (deferred, resolver) = Deferred::<()>::new();
    let reports = unhandled(|| {
        drop(deferred.timeout(&reactor, SECOND));
        reactor.advance(SECOND);
    });
    assert!(resolver.is_cancelled());
    assert_eq!(reports[0].error, "timed out");
}

#[test]
fn a_task_is_cancelled_by_a_time_out_and_what_it_held_is_dropped() {
    let reactor = TestReactor::new();
    let held = Rc::new(());
    let in_task = Rc::clone(&held);
    let end = reactor
        .spawn(async move {
            std::future::pending::<()>().await;
            drop(in_task);
        })
        .timeout(&reactor, SECOND);
    reactor.advance(SECOND);
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(taken(end).unwrap_err().check(), Some(&Interrupt::TimedOut));
}

#[test]
fn interrupts_inside_a_failure_are_made_where_the_deferred_was() {
    let (deferred, resolver) = Deferred::<()>::new();
    let line = line!() - 1;
    deferred.cancel();
    drop(resolver);
    assert_eq!(taken(deferred).unwrap_err().site().line(), line);
    let end = Deferred::<()>::ready(()).map(|()| -> u8 { resume_unwind(Box::new("boom")) });
    let line = line!() - 1;
    let failure: Failure = taken(end).unwrap_err();
    assert_eq!(failure.site().line(), line);
    assert_eq!(failure.check(), Some(&Interrupt::Panicked("boom".into())));
}
