//! Chains of a million links in a small stack, and steps that act on their own chain.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

use super::{CANCELLED, Number, NumberResolver, Oops, taken};
use crate::deferred::{Deferred, Interrupt, capture_unhandled};

const MILLION: usize = 1_000_000;

/// Runs `f` with a stack of which a million frames of a word each would need a hundred times as much.
fn in_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(64 << 10).spawn(f).unwrap();
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn long_chain() -> (Number, NumberResolver) {
    let (mut deferred, resolver) = Number::new();
    for _ in 0..MILLION {
        deferred = deferred.map(|value| value + 1);
    }
    (deferred, resolver)
}

#[test]
fn a_million_links_are_fired_from_the_head() {
    in_small_stack(|| {
        let (end, resolver) = long_chain();
        resolver.resolve(0);
        assert_eq!(taken(end), Ok(MILLION as i64));
    });
}

#[test]
fn a_failure_passes_a_million_links_by() {
    in_small_stack(|| {
        let (end, resolver) = long_chain();
        let ((), reports) = capture_unhandled(|| {
            drop(end);
            resolver.fail(Oops::Own(1));
        });
        assert_eq!(reports[0].hop_count, MILLION);
    });
}

#[test]
fn a_million_links_are_dropped_unfired_from_the_head_and_from_the_end() {
    in_small_stack(|| {
        let ((), reports) = capture_unhandled(|| {
            let (end, resolver) = long_chain();
            drop(resolver);
            drop(end);
            let (end, resolver) = long_chain();
            drop(end);
            drop(resolver);
        });
        assert_eq!(reports.len(), 2);
    });
}

#[test]
fn a_million_links_are_cancelled_from_the_end() {
    in_small_stack(|| {
        let (end, resolver) = long_chain();
        end.cancel();
        assert!(resolver.is_cancelled());
        assert_eq!(taken(end), Err(CANCELLED));
    });
}

/// A deferred that waits for one that waits for one ... a million deep, and the resolver of the innermost.
fn nested() -> (Number, NumberResolver) {
    let (mut deferred, innermost) = Number::new();
    for _ in 0..MILLION {
        let (outer, resolver) = Number::new();
        let inner = deferred;
        deferred = outer.then(move |_| inner);
        resolver.resolve(0);
    }
    (deferred, innermost)
}

#[test]
fn a_million_deferreds_that_wait_for_each_other_are_fired() {
    in_small_stack(|| {
        let (end, innermost) = nested();
        assert!(!end.is_ready());
        innermost.resolve(7);
        assert_eq!(taken(end), Ok(7));
    });
}

#[test]
fn a_million_deferreds_that_wait_for_each_other_are_dropped_and_cancelled() {
    in_small_stack(|| {
        let (end, innermost) = nested();
        drop(innermost);
        assert_eq!(taken(end), Err(Oops::Interrupted(Interrupt::Abandoned)));
        let (end, innermost) = nested();
        end.cancel();
        assert!(innermost.is_cancelled());
        assert_eq!(taken(end), Err(CANCELLED));
        let (end, innermost) = nested();
        drop(end);
        innermost.resolve(7);
    });
}

#[test]
fn a_million_resolvers_follow_each_other() {
    in_small_stack(|| {
        let (end, mut resolver) = Number::new();
        for _ in 0..MILLION {
            let (next, next_resolver) = Number::new();
            resolver.follow(next);
            resolver = next_resolver;
        }
        resolver.resolve(7);
        assert_eq!(taken(end), Ok(7));
    });
}

/// Counts down, a round each time `ticks` has a resolver fired, by returning the next round.
fn rounds(left: usize, ticks: Rc<Cell<Option<NumberResolver>>>) -> Number {
    let (tick, resolver) = Number::new();
    ticks.set(Some(resolver));
    tick.then(move |_| if left == 0 { Number::ready(7) } else { rounds(left - 1, ticks) })
}

#[test]
fn a_loop_that_returns_its_next_round_a_million_times_fires_and_cancels() {
    in_small_stack(|| {
        let ticks = Rc::default();
        let end = rounds(MILLION, Rc::clone(&ticks)).map(|value| value + 1);
        while let Some(tick) = ticks.take() {
            tick.resolve(0);
        }
        assert_eq!(taken(end), Ok(8));
        let end = rounds(MILLION, Rc::clone(&ticks)).map(|value| value + 1);
        for _ in 0..MILLION / 2 {
            ticks.take().unwrap().resolve(0);
        }
        end.cancel();
        assert!(ticks.take().unwrap().is_cancelled());
        assert_eq!(taken(end), Err(CANCELLED));
    });
}

#[test]
fn a_loop_that_returns_its_next_round_does_not_grow() {
    let ticks = Rc::default();
    let end = rounds(1000, Rc::clone(&ticks)).map(|value| value + 1);
    for _ in 0..1000 {
        ticks.take().unwrap().resolve(0);
    }
    ticks.take().unwrap().fail(Oops::Own(1));
    let ((), reports) = capture_unhandled(|| drop(end));
    // The step of the last round and the map: the rounds before are not among what it went through.
    assert_eq!(reports[0].hop_count, 2);
}

#[test]
fn a_million_links_left_over_by_a_panicking_conversion_are_dropped() {
    /// Breaks the rule that the conversion does not panic.
    #[derive(Debug)]
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }
    impl From<Interrupt> for Broken {
        fn from(_: Interrupt) -> Self {
            resume_unwind(Box::new("broken"))
        }
    }
    in_small_stack(|| {
        let left = Rc::new(());
        let last = Rc::clone(&left);
        let (mut deferred, resolver) = Deferred::<(), Broken>::new();
        for _ in 0..MILLION {
            deferred = deferred.map(|()| ());
        }
        deferred.done(move |_| drop(last));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(resolver))).is_err());
        assert_eq!(Rc::strong_count(&left), 1);
    });
}

type Place = Rc<RefCell<Option<Number>>>;

/// A place from which a step can take what was made after it.
fn later() -> (Place, Place) {
    let place = Place::default();
    (Rc::clone(&place), place)
}

#[test]
fn steps_added_by_a_running_step_run_after_it_at_the_end_of_the_chain() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let (to_step, end) = later();
    let (in_step, in_added) = (Rc::clone(&log), Rc::clone(&log));
    let (deferred, resolver) = Number::new();
    *end.borrow_mut() = Some(
        deferred
            .map(move |value| {
                let tail = to_step.take().unwrap();
                assert!(!tail.is_ready());
                tail.done(move |result| in_added.borrow_mut().push(format!("added {result:?}")));
                in_step.borrow_mut().push("step".to_owned());
                value + 1
            })
            .map(|value| value + 1),
    );
    resolver.resolve(1);
    assert_eq!(*log.borrow(), ["step", "added Ok(3)"]);
}

#[test]
fn a_step_may_cancel_its_own_chain_which_does_nothing() {
    let (to_step, end) = later();
    let (deferred, resolver) = Number::new();
    *end.borrow_mut() = Some(deferred.map(move |value| {
        to_step.borrow().as_ref().unwrap().cancel();
        value + 1
    }));
    resolver.resolve(1);
    assert_eq!(taken(end.take().unwrap()), Ok(2));
}

#[test]
fn a_step_may_drop_the_end_of_its_own_chain() {
    let ((), reports) = capture_unhandled(|| {
        let (to_step, end) = later();
        let (deferred, resolver) = Number::new();
        *end.borrow_mut() = Some(deferred.and_then(move |_| {
            drop(to_step.take());
            Err(Oops::Own(1))
        }));
        resolver.resolve(1);
        assert!(end.borrow().is_none());
    });
    assert_eq!(reports.len(), 1);
}

#[test]
fn a_step_may_fire_what_it_then_waits_for() {
    let (inner, inner_resolver) = Number::new();
    let (deferred, resolver) = Number::new();
    let end = deferred.then(move |value| {
        inner_resolver.resolve(value + 1);
        inner
    });
    resolver.resolve(1);
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn a_step_may_hold_the_end_of_its_own_chain_back() {
    let (to_step, end) = later();
    let holds = Rc::new(RefCell::new(Vec::new()));
    let to_holds = Rc::clone(&holds);
    let (deferred, resolver) = Number::new();
    *end.borrow_mut() = Some(deferred.map(move |value| {
        to_holds.borrow_mut().push(to_step.borrow_mut().as_mut().unwrap().hold());
        value
    }));
    resolver.resolve(1);
    assert!(!end.borrow().as_ref().unwrap().is_ready());
    holds.borrow_mut().clear();
    assert_eq!(taken(end.take().unwrap()), Ok(1));
}

#[test]
fn a_canceller_may_cancel_again_and_drop_the_deferred() {
    let (to_canceller, place) = later();
    let (deferred, resolver) = Number::with_canceller(move || {
        let deferred = to_canceller.take().unwrap();
        deferred.cancel();
        deferred.ignore();
    });
    let handle = deferred.cancel_handle();
    *place.borrow_mut() = Some(deferred);
    handle.cancel();
    assert!(resolver.is_cancelled());
}

#[test]
fn what_is_dropped_with_a_result_may_act_on_the_chain() {
    /// Fires its resolver when dropped.
    struct Last(Option<NumberResolver>);
    impl Drop for Last {
        fn drop(&mut self) {
            if let Some(resolver) = self.0.take() {
                resolver.resolve(3);
            }
        }
    }
    let (second, second_resolver) = Number::new();
    let (first, first_resolver) = Deferred::<Last, Oops>::new();
    let end = first.then(move |_last| second);
    first_resolver.resolve(Last(Some(second_resolver)));
    assert_eq!(taken(end), Ok(3));
    // The same with a result that nobody takes, and one that is swallowed.
    for cancel in [false, true] {
        let (second, second_resolver) = Number::new();
        let (first, first_resolver) = Deferred::<Last, Oops>::new();
        if cancel {
            first.cancel();
        }
        first.ignore();
        first_resolver.resolve(Last(Some(second_resolver)));
        assert_eq!(taken(second), Ok(3));
    }
}

#[test]
fn a_chain_that_waits_for_itself_can_be_cancelled_without_end() {
    let (to_step, place) = later();
    let (deferred, resolver) = Number::new();
    let middle = deferred.then(move |_| to_step.take().unwrap());
    let handle = middle.cancel_handle();
    *place.borrow_mut() = Some(middle.map(|value| value + 1));
    resolver.resolve(1);
    handle.cancel(); // returns
    assert!(place.borrow().is_none());
}
