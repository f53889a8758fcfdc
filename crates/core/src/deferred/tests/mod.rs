//! What a deferred promises, one by one: steps, waiting, awaiting. The rest by subject: `cancel.rs`, `report.rs`, `whose.rs`, `depth.rs` (long chains,
//! steps that act on their own chain), `model.rs` (random chains against plain results).

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{Deferred, Fault, Interrupt, Resolver, Unhandled, capture_unhandled};

mod cancel;
mod depth;
mod model;
mod report;
mod same;
mod timeout;
mod whose;

/// An error type as a user would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Oops {
    Own(i64),
    Interrupted(Interrupt),
}

impl fmt::Display for Oops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(number) => write!(f, "oops {number}"),
            Self::Interrupted(interrupt) => interrupt.fmt(f),
        }
    }
}

impl From<Interrupt> for Oops {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}

pub(super) type Number = Deferred<i64, Oops>;
pub(super) type NumberResolver = Resolver<i64, Oops>;

pub(super) const CANCELLED: Oops = Oops::Interrupted(Interrupt::Cancelled);

pub(super) fn taken<T, E: Fault>(deferred: Deferred<T, E>) -> Result<T, E> {
    deferred.try_take().expect("the result should be there")
}

/// A place for results of steps.
pub(super) fn slot<T>() -> (Rc<RefCell<Vec<T>>>, impl Fn(T) + Clone) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let inner = Rc::clone(&seen);
    (seen, move |value| inner.borrow_mut().push(value))
}

pub(super) fn unhandled(f: impl FnOnce()) -> Vec<Unhandled> {
    capture_unhandled(f).1
}

#[test]
fn steps_added_before_the_result_run_when_it_arrives_in_order() {
    let (seen, see) = slot();
    let (first, second) = (see.clone(), see);
    let (deferred, resolver) = Number::new();
    let end = deferred
        .map(move |value| {
            first(value);
            value + 1
        })
        .map(move |value| {
            second(value);
            value + 1
        });
    assert!(seen.borrow().is_empty());
    assert!(!end.is_ready());
    resolver.resolve(1);
    assert_eq!(*seen.borrow(), [1, 2]);
    assert_eq!(taken(end), Ok(3));
}

#[test]
fn steps_added_after_the_result_run_at_once() {
    let (deferred, resolver) = Number::new();
    resolver.resolve(1);
    assert!(deferred.is_ready());
    let (seen, see) = slot();
    let end = deferred.map(see);
    assert_eq!(*seen.borrow(), [1]);
    assert_eq!(taken(end), Ok(()));
}

#[test]
fn a_value_passes_steps_for_errors_by_and_an_error_those_for_values() {
    let end = Number::ready(1)
        .map_err(|_| -> Oops { panic!("not an error") })
        .or_else(|_| -> Result<i64, Oops> { panic!("not an error") })
        .or_then(|_| -> Number { panic!("not an error") })
        .recover(|_| panic!("not an error"));
    assert_eq!(taken(end), Ok(1));
    let end = Number::failed(Oops::Own(1))
        .map(|_| -> i64 { panic!("not a value") })
        .and_then(|_| -> Result<i64, Oops> { panic!("not a value") })
        .then(|_| -> Number { panic!("not a value") });
    assert_eq!(taken(end), Err(Oops::Own(1)));
}

#[test]
fn each_step_does_what_its_name_says() {
    let fail = || Number::failed(Oops::Own(1));
    assert_eq!(taken(Number::ready(1).map(|value| value.to_string())), Ok("1".to_owned()));
    assert_eq!(taken(Number::ready(1).and_then(|v| Err::<(), _>(Oops::Own(v)))), Err(Oops::Own(1)));
    assert_eq!(taken(Number::ready(1).then(|v| Deferred::ready(v + 1))), Ok(2));
    assert_eq!(taken(fail().map_err(|_| Oops::Own(2))), Err(Oops::Own(2)));
    assert_eq!(taken(fail().recover(|_| 7)), Ok(7));
    assert_eq!(taken(fail().or_else(|_| Err(Oops::Own(3)))), Err(Oops::Own(3)));
    assert_eq!(taken(fail().or_then(|_| Number::ready(4))), Ok(4));
    assert_eq!(taken(fail().both(|r| Ok::<_, Oops>(r.is_err()))), Ok(true));
    assert_eq!(taken(fail().both_then(|r| Deferred::<_, Oops>::ready(r.is_err()))), Ok(true));
    assert_eq!(taken(fail().either_then(Number::ready, |_| Number::ready(5))), Ok(5));
}

#[test]
fn on_one_level_the_error_side_does_not_see_the_error_of_the_value_side() {
    let end = Number::ready(1)
        .either(|value| Err::<i64, _>(Oops::Own(value)), |_| panic!("its neighbour's error"));
    assert_eq!(taken(end), Err(Oops::Own(1)));
    let end = Number::failed(Oops::Own(1)).either(Ok, |_| Ok::<_, Oops>(2));
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn finally_runs_for_both_sides_and_changes_neither() {
    let (seen, see) = slot();
    let (first, second) = (see.clone(), see);
    assert_eq!(taken(Number::ready(1).finally(move || first("value"))), Ok(1));
    let failed = Number::failed(Oops::Own(2)).finally(move || second("error"));
    assert_eq!(taken(failed), Err(Oops::Own(2)));
    assert_eq!(*seen.borrow(), ["value", "error"]);
}

#[test]
fn a_panic_in_a_step_is_an_error_for_the_next() {
    for late in [false, true] {
        let (deferred, resolver) = Number::new();
        let mut resolver = Some(resolver);
        if !late {
            resolver.take().unwrap().resolve(1);
        }
        let end = deferred.map(|_| -> i64 { resume_unwind(Box::new("boom")) }).map_err(|error| {
            assert_eq!(error, Oops::Interrupted(Interrupt::Panicked("boom".into())));
            Oops::Own(2)
        });
        if let Some(resolver) = resolver {
            resolver.resolve(1);
        }
        assert_eq!(taken(end), Err(Oops::Own(2)));
    }
}

#[test]
fn a_returned_deferred_is_waited_for_and_gives_its_result() {
    let (outer, resolver) = Number::new();
    let (inner, inner_resolver) = Number::new();
    let (seen, see) = slot();
    let end = outer.then(move |_| inner).map(move |value| {
        see(value);
        value
    });
    resolver.resolve(1);
    assert!(seen.borrow().is_empty());
    inner_resolver.resolve(2);
    assert_eq!(*seen.borrow(), [2]);
    assert_eq!(taken(end), Ok(2));
}

#[test]
fn a_returned_deferred_that_fails_fails_the_chain() {
    let (inner, inner_resolver) = Number::new();
    let end = Number::ready(1).then(move |_| inner).recover(|error| {
        assert_eq!(error, Oops::Own(2));
        3
    });
    inner_resolver.fail(Oops::Own(2));
    assert_eq!(taken(end), Ok(3));
}

#[test]
fn the_result_of_a_deferred_waited_for_is_not_reported_twice() {
    let (inner, inner_resolver) = Number::new();
    let reports = unhandled(|| {
        let (outer, resolver) = Number::new();
        let end = outer.then(move |_| inner);
        resolver.resolve(1);
        inner_resolver.fail(Oops::Own(2));
        drop(end);
    });
    assert_eq!(reports.len(), 1, "{reports:?}");
}

#[test]
fn following_gives_the_other_deferreds_result_to_this_one() {
    let (front, front_resolver) = Number::new();
    let (back, back_resolver) = Number::new();
    front_resolver.follow(back);
    assert!(!front.is_ready());
    back_resolver.resolve(1);
    assert_eq!(taken(front), Ok(1));
    let (front, resolver) = Number::new();
    resolver.follow(Number::ready(2));
    assert_eq!(taken(front), Ok(2));
}

#[test]
fn following_after_a_cancel_cancels_what_is_followed_and_reports_nothing() {
    let reports = unhandled(|| {
        let (front, front_resolver) = Number::new();
        let (back, back_resolver) = Number::new();
        front.cancel();
        front_resolver.follow(back);
        assert!(back_resolver.is_cancelled());
        assert_eq!(taken(front), Err(CANCELLED));
    });
    assert_eq!(reports, []);
}

#[test]
fn a_step_that_returns_its_own_end_is_refused() {
    let (deferred, resolver) = Number::new();
    let own: Rc<RefCell<Option<Number>>> = Rc::default();
    let to_step = Rc::clone(&own);
    *own.borrow_mut() = Some(deferred.then(move |_| to_step.take().unwrap()));
    let reports = unhandled(|| resolver.resolve(1));
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].error, Interrupt::Abandoned.to_string());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> (Poll<F::Output>, Arc<Count>) {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    (future.poll(&mut Context::from_waker(&waker)), count)
}

#[test]
fn awaiting_what_is_there_does_not_yield() {
    assert_eq!(poll(pin!(Number::ready(1))).0, Poll::Ready(Ok(1)));
    let (deferred, resolver) = Number::new();
    resolver.fail(Oops::Own(2));
    assert_eq!(
        unhandled(|| assert_eq!(poll(pin!(deferred)).0, Poll::Ready(Err(Oops::Own(2))))),
        []
    );
}

#[test]
fn awaiting_wakes_the_task_that_asked_last_when_the_result_arrives() {
    let (deferred, resolver) = Number::new();
    let mut task = pin!(async move { deferred.map(|value| value + 1).await });
    let (pending, first) = poll(task.as_mut());
    assert_eq!(pending, Poll::Pending);
    let (pending, last) = poll(task.as_mut());
    assert_eq!(pending, Poll::Pending);
    resolver.resolve(1);
    assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
    assert_eq!(poll(task).0, Poll::Ready(Ok(2)));
}

#[test]
fn a_held_result_does_not_wake_before_its_release() {
    let (mut deferred, resolver) = Number::new();
    let hold = deferred.hold();
    let mut deferred = pin!(deferred);
    let (_, count) = poll(deferred.as_mut());
    resolver.resolve(1);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    assert_eq!(poll(deferred.as_mut()).0, Poll::Pending);
    let (_, count) = poll(deferred.as_mut());
    hold.release();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(deferred).0, Poll::Ready(Ok(1)));
}

#[test]
fn dropping_an_awaited_deferred_cancels_what_it_waits_for_and_reports_nothing() {
    let reports = unhandled(|| {
        let (outer, outer_resolver) = Number::new();
        let (inner, inner_resolver) = Number::new();
        let mut task = Box::pin(outer.then(move |_| inner));
        assert_eq!(poll(task.as_mut()).0, Poll::Pending);
        outer_resolver.resolve(1);
        drop(task);
        assert!(inner_resolver.is_cancelled());
    });
    assert_eq!(reports, []);
}

#[test]
fn dropping_a_deferred_never_polled_does_not_cancel() {
    let (deferred, resolver) = Number::new();
    drop(deferred);
    assert!(!resolver.is_cancelled());
}
