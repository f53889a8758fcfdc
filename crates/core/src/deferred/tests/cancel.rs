//! Cancelling, holding back, and whoever was to fire being gone.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::rc::Rc;

use super::{CANCELLED, Number, NumberResolver, Oops, slot, taken, unhandled};
use crate::deferred::Interrupt;

#[test]
fn a_held_result_waits_until_every_hold_is_dropped() {
    let (mut deferred, resolver) = Number::new();
    let (first, second) = (deferred.hold(), deferred.hold());
    let (seen, see) = slot();
    let end = deferred.map(see);
    resolver.resolve(1);
    assert!(seen.borrow().is_empty());
    first.release();
    assert!(seen.borrow().is_empty());
    drop(second);
    assert_eq!(*seen.borrow(), [1]);
    assert_eq!(taken(end), Ok(()));
}

#[test]
fn a_hold_dropped_before_the_result_changes_nothing() {
    let (mut deferred, resolver) = Number::new();
    deferred.hold().release();
    let end = deferred.map(|value| value + 1);
    assert!(!end.is_ready());
    resolver.resolve(1);
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn a_result_that_is_there_can_be_held_back_too() {
    let mut deferred = Number::ready(1);
    let hold = deferred.hold();
    assert!(!deferred.is_ready());
    let deferred = deferred.try_take().unwrap_err();
    let end = deferred.map(|value| value + 1);
    assert!(!end.is_ready());
    hold.release();
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn a_chain_that_waits_for_a_held_deferred_waits_for_its_release() {
    let mut inner = Number::ready(1);
    let hold = inner.hold();
    let end = Number::ready(0).then(move |_| inner);
    assert!(!end.is_ready());
    hold.release();
    assert_eq!(taken(end), Ok(1));
}

#[test]
fn a_hold_on_a_chain_that_then_waits_for_another_still_holds() {
    let (outer, outer_resolver) = Number::new();
    let (inner, inner_resolver) = Number::new();
    let mut middle = outer.then(move |_| inner);
    let hold = middle.hold();
    let end = middle.map(|value| value + 1);
    outer_resolver.resolve(0);
    inner_resolver.resolve(1);
    assert!(!end.is_ready());
    hold.release();
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn dropping_the_resolver_unfired_abandons_the_chain() {
    let (deferred, resolver) = Number::new();
    drop(resolver);
    assert_eq!(taken(deferred), Err(Oops::Interrupted(Interrupt::Abandoned)));
}

#[test]
fn cancel_without_a_canceller_fails_it_and_swallows_the_late_result() {
    for late in [Ok(1), Err(Oops::Own(1))] {
        let reports = unhandled(|| {
            let (deferred, resolver) = Number::new();
            assert!(!resolver.is_cancelled());
            deferred.cancel();
            assert!(resolver.is_cancelled());
            assert_eq!(taken(deferred), Err(CANCELLED));
            resolver.finish(late);
        });
        assert_eq!(reports, []);
    }
}

#[test]
fn a_canceller_is_called_once_and_cancelled_follows_if_it_does_not_fire() {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let (deferred, resolver) = Number::with_canceller(move || counted.set(counted.get() + 1));
    deferred.cancel();
    deferred.cancel();
    assert_eq!(calls.get(), 1);
    assert_eq!(taken(deferred), Err(CANCELLED));
    resolver.resolve(1);
}

#[test]
fn a_canceller_may_fire_either_way() {
    for result in [Ok(1), Err(Oops::Own(1))] {
        let resolver = Rc::new(Cell::new(None::<NumberResolver>));
        let (to_canceller, fired) = (Rc::clone(&resolver), result.clone());
        let (deferred, end) = Number::with_canceller(move || {
            if let Some(resolver) = to_canceller.take() {
                resolver.finish(fired);
            }
        });
        resolver.set(Some(end));
        deferred.cancel();
        assert_eq!(taken(deferred), result);
    }
}

#[test]
fn a_canceller_may_leave_it_to_another_deferred() {
    let resolver = Rc::new(Cell::new(None::<NumberResolver>));
    let to_canceller = Rc::clone(&resolver);
    let (other, other_resolver) = Number::new();
    let (deferred, end) = Number::with_canceller(move || {
        if let Some(resolver) = to_canceller.take() {
            resolver.follow(other);
        }
    });
    resolver.set(Some(end));
    deferred.cancel();
    assert!(!deferred.is_ready());
    other_resolver.resolve(5);
    assert_eq!(taken(deferred), Ok(5));
}

#[test]
fn a_canceller_that_panics_becomes_the_error() {
    let (deferred, _resolver) = Number::with_canceller(|| resume_unwind(Box::new("boom")));
    deferred.cancel();
    assert_eq!(taken(deferred), Err(Oops::Interrupted(Interrupt::Panicked("boom".into()))));
}

#[test]
fn a_canceller_that_lets_go_of_the_resolver_cancels() {
    let place = Rc::new(Cell::new(None::<NumberResolver>));
    let to_canceller = Rc::clone(&place);
    let (deferred, resolver) = Number::with_canceller(move || drop(to_canceller.take()));
    place.set(Some(resolver));
    deferred.cancel();
    assert_eq!(taken(deferred), Err(CANCELLED));
}

#[test]
fn firing_lets_go_of_the_canceller() {
    let kept = Rc::new(());
    let captured = Rc::clone(&kept);
    let (deferred, resolver) = Number::with_canceller(move || drop(captured));
    resolver.resolve(1);
    assert_eq!(Rc::strong_count(&kept), 1);
    assert_eq!(taken(deferred), Ok(1));
}

#[test]
fn cancelling_a_result_that_is_there_does_nothing() {
    let (deferred, resolver) = Number::with_canceller(|| panic!("there is a result"));
    resolver.resolve(1);
    deferred.cancel();
    let handle = deferred.cancel_handle();
    handle.cancel();
    assert_eq!(taken(deferred), Ok(1));
    let ready = Number::ready(2);
    ready.cancel();
    ready.cancel_handle().cancel();
    assert_eq!(taken(ready), Ok(2));
}

#[test]
fn cancelling_a_result_that_is_held_back_does_nothing() {
    let (mut deferred, resolver) = Number::new();
    let hold = deferred.hold();
    let end = deferred.map(|value| value + 1);
    resolver.resolve(1);
    end.cancel();
    hold.release();
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn cancel_reaches_the_innermost_deferred_and_its_outcome_counts() {
    let (outer, outer_resolver) = Number::with_canceller(|| panic!("not waited for any more"));
    let (middle, middle_resolver) = Number::with_canceller(|| panic!("nor this"));
    let cancelled = Rc::new(Cell::new(false));
    let set = Rc::clone(&cancelled);
    let (inner, _inner_resolver) = Number::with_canceller(move || set.set(true));
    let end =
        outer.then(move |_| middle.then(move |_| inner.recover(|_| 9))).map(|value| value + 1);
    outer_resolver.resolve(0);
    middle_resolver.resolve(0);
    end.cancel();
    assert!(cancelled.get());
    assert_eq!(taken(end), Ok(10));
}

#[test]
fn a_handle_cancels_after_the_deferred_has_moved_on_and_keeps_nothing_alive() {
    let (deferred, resolver) = Number::new();
    let handle = deferred.cancel_handle();
    let end = deferred.map(|value| value + 1);
    handle.clone().cancel();
    assert_eq!(taken(end), Err(CANCELLED));
    let kept = Rc::new(());
    let captured = Rc::clone(&kept);
    let (deferred, second) = Number::new();
    let handle = deferred.map(move |_| drop(captured)).cancel_handle();
    second.resolve(1);
    assert_eq!(Rc::strong_count(&kept), 1);
    handle.cancel();
    drop(resolver);
}

#[test]
fn a_handle_from_the_middle_still_cancels_when_the_chain_there_waits_for_another() {
    let (outer, outer_resolver) = Number::new();
    let (inner, inner_resolver) = Number::new();
    let middle = outer.then(move |_| inner);
    let handle = middle.cancel_handle();
    let end = middle.map(|value| value + 1);
    outer_resolver.resolve(0);
    handle.cancel();
    assert!(inner_resolver.is_cancelled());
    assert_eq!(taken(end), Err(CANCELLED));
}

#[test]
fn cancelling_what_a_resolver_follows_goes_to_what_is_followed() {
    let (front, front_resolver) = Number::with_canceller(|| panic!("it follows another"));
    let (back, back_resolver) = Number::new();
    front_resolver.follow(back);
    front.cancel();
    assert!(back_resolver.is_cancelled());
    assert_eq!(taken(front), Err(CANCELLED));
}

#[test]
fn a_canceller_can_leave_it_to_another_deferred_whatever_comes_after() {
    for steps in 0..3 {
        let (inner, inner_resolver) = Number::new();
        let parts = Rc::new(Cell::new(None::<(NumberResolver, Number)>));
        let its = Rc::clone(&parts);
        let (mut end, resolver) = Number::with_canceller(move || {
            let (resolver, inner) = its.take().unwrap();
            resolver.follow(inner);
        });
        parts.set(Some((resolver, inner)));
        for _ in 0..steps {
            end = end.map(|value| value + 1);
        }
        assert_eq!(unhandled(|| end.cancel()), []);
        assert!(!end.is_ready());
        inner_resolver.resolve(1);
        assert_eq!(taken(end), Ok(1 + steps));
    }
}
