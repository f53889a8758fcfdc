//! Tasks: order, cancellation both ways, panics, wakers, and the share of a turn.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::SHARE;
use crate::Reactor;
use crate::deferred::{CancelHandle, Deferred, Interrupt};
use crate::failure::Failure;
use crate::log;
use crate::testing::{CapturedLog, TestReactor};

type Diary = Rc<RefCell<Vec<&'static str>>>;

/// Notes something when it is dropped.
struct Guard(Diary, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

/// Wakes itself once.
fn pause() -> impl Future<Output = ()> {
    let mut paused = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The interrupt that a Deferred, which has its result, has failed with.
fn interrupt<T>(deferred: Deferred<T>) -> Interrupt {
    let failure = deferred.try_take().unwrap().err().unwrap();
    failure.check::<Interrupt>().unwrap().clone()
}

#[test]
fn tasks_are_polled_after_the_present_callback_first_in_first_out() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let notes = Rc::clone(&diary);
    let spawn = move |reactor: &Reactor, first: &'static str, second: &'static str| {
        let notes = Rc::clone(&notes);
        let task = reactor.spawn(async move {
            notes.borrow_mut().push(first);
            pause().await;
            notes.borrow_mut().push(second);
        });
        task.ignore();
    };
    let notes = Rc::clone(&diary);
    reactor.call_soon(move |reactor| {
        spawn(reactor, "a1", "a2");
        spawn(reactor, "b1", "b2");
        notes.borrow_mut().push("call");
    });
    let notes = Rc::clone(&diary);
    reactor.call_soon(move |_| notes.borrow_mut().push("next"));
    reactor.turn_until_idle();
    assert_eq!(*diary.borrow(), ["call", "a1", "b1", "a2", "b2", "next"]);
}

#[test]
fn a_task_that_waits_has_the_reactor_do_nothing() {
    let reactor = TestReactor::new();
    let task = reactor.spawn(pending::<()>());
    reactor.turn_until_idle();
    assert_eq!(reactor.next_wakeup(), None);
    task.cancel();
    task.ignore();
}

// ---- cancellation

#[test]
fn cancel_drops_the_future_at_once_and_fails_with_cancelled() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    for begun in [false, true] {
        let guard = Guard(Rc::clone(&diary), "cleaned up");
        let task = reactor.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        if begun {
            reactor.turn_until_idle();
        }
        task.cancel();
        assert_eq!(diary.take(), ["cleaned up"]);
        assert_eq!(interrupt(task), Interrupt::Cancelled);
        reactor.turn_until_idle();
    }
}

#[test]
fn a_task_that_cancels_itself_is_dropped_after_the_poll() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    for ready in [false, true] {
        let own = Rc::<Cell<Option<CancelHandle>>>::default();
        let (guard, handle) = (Guard(Rc::clone(&diary), "dropped"), Rc::clone(&own));
        let notes = Rc::clone(&diary);
        let task = reactor.spawn(async move {
            let _guard = guard;
            handle.take().unwrap_or_default().cancel();
            notes.borrow_mut().push("goes on");
            if !ready {
                pending::<()>().await;
            }
        });
        own.set(Some(task.cancel_handle()));
        reactor.turn_until_idle();
        assert_eq!(diary.take(), ["goes on", "dropped"]);
        assert_eq!(interrupt(task), Interrupt::Cancelled);
    }
}

#[test]
fn dropping_a_task_cancels_what_it_awaits() {
    let reactor = TestReactor::new();
    let cancelled = Rc::new(Cell::new(false));
    let seen = Rc::clone(&cancelled);
    let (inner, resolver) = Deferred::<u8>::with_canceller(move || seen.set(true));
    let task = reactor.spawn(inner);
    reactor.turn_until_idle();
    task.cancel();
    assert!(cancelled.get() && resolver.is_cancelled());
    assert_eq!(interrupt(task), Interrupt::Cancelled);
}

#[test]
fn a_body_that_wants_to_hear_of_a_cancel_is_cancelled_through_what_it_awaits() {
    let reactor = TestReactor::new();
    let (first, _first) = Deferred::<u8>::new();
    let (second, _second) = Deferred::<u8>::new();
    let (end_first, end_second) = (first.cancel_handle(), second.cancel_handle());
    let task = reactor.spawn(async move {
        let mut heard = 0;
        for deferred in [first, second] {
            let failure = deferred.await.unwrap_err();
            heard += u8::from(failure.check() == Some(&Interrupt::Cancelled));
        }
        heard
    });
    reactor.turn_until_idle();
    end_first.cancel();
    reactor.turn_until_idle();
    assert!(!task.is_ready(), "it waits again");
    end_second.cancel();
    assert_eq!(reactor.result_of(task).unwrap(), 2);
}

#[test]
fn a_task_whose_deferred_is_dropped_goes_on() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let notes = Rc::clone(&diary);
    drop(reactor.spawn(async move {
        pause().await;
        notes.borrow_mut().push("went on");
    }));
    reactor.turn_until_idle();
    assert_eq!(*diary.borrow(), ["went on"]);
}

#[test]
fn a_task_cancelled_while_it_is_ready_does_not_make_its_successor_go_first() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let note = |what| {
        let notes = Rc::clone(&diary);
        reactor.spawn(async move { notes.borrow_mut().push(what) })
    };
    let (gone, second) = (note("first"), note("second"));
    gone.cancel();
    gone.ignore();
    // In the place of the first.
    let third = note("third");
    reactor.turn_until_idle();
    assert_eq!(*diary.borrow(), ["second", "third"]);
    assert!(second.is_ready() && third.is_ready());
}

#[test]
fn closing_the_reactor_drops_its_futures_and_tells() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    let guard = Guard(Rc::clone(&diary), "dropped");
    let task = reactor.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let notes = Rc::clone(&diary);
    let told = task.map_err(move |failure: Failure| {
        notes.borrow_mut().push("told");
        failure
    });
    reactor.turn_until_idle();
    reactor.close_all();
    assert_eq!(*diary.borrow(), ["dropped", "told"]);
    assert_eq!(interrupt(told), Interrupt::Abandoned);
}

// ---- panics

#[test]
fn a_panic_ends_its_task_alone_and_is_its_result() {
    let reactor = TestReactor::new();
    let log = CapturedLog::start();
    let diary = Diary::default();
    let guard = Guard(Rc::clone(&diary), "dropped");
    let here = Location::caller();
    let task: Deferred<()> = reactor.spawn(async move {
        let _guard = guard;
        pause().await;
        panic!("no luck")
    });
    let other = reactor.spawn(async {
        pause().await;
        pause().await;
        7
    });
    reactor.turn_until_idle();
    assert_eq!(*diary.borrow(), ["dropped"]);
    assert_eq!(interrupt(task), Interrupt::Panicked("no luck".into()));
    assert_eq!(other.try_take().unwrap().unwrap(), 7);
    let errors = log.take_errors();
    assert_eq!(errors.len(), 1);
    let context = errors[0].context.as_ref().unwrap().to_string();
    assert!(context.contains(&format!("tests.rs:{}:", here.line() + 1)), "{context}");
}

#[test]
fn a_future_that_panics_when_it_is_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let reactor = TestReactor::new();
    let log = CapturedLog::start();
    let task = |waits: bool| {
        let bomb = Bomb;
        reactor.spawn(async move {
            if waits {
                pending::<()>().await;
            }
            std::mem::forget(bomb);
        })
    };
    let cancelled = task(true);
    cancelled.cancel();
    assert_eq!(interrupt(cancelled), Interrupt::Panicked("boom".into()));
    let own = Rc::<Cell<Option<CancelHandle>>>::default();
    let (handle, bomb) = (Rc::clone(&own), Bomb);
    let polled = reactor.spawn(async move {
        handle.take().unwrap_or_default().cancel();
        pending::<()>().await;
        drop(bomb);
    });
    own.set(Some(polled.cancel_handle()));
    let left = task(true);
    let ready = task(false);
    reactor.turn_until_idle();
    reactor.close_all();
    assert_eq!(interrupt(polled), Interrupt::Cancelled);
    assert_eq!(interrupt(left), Interrupt::Abandoned);
    ready.try_take().unwrap().unwrap();
    let errors = log.take_errors();
    assert!(errors.len() == 2 && errors.iter().all(|error| error.message.contains("boom")));
}

// ---- wakers

#[test]
fn a_waker_kept_from_a_task_that_is_over_wakes_no_other() {
    let reactor = TestReactor::new();
    let kept = Rc::new(RefCell::new(Vec::<Waker>::new()));
    let keeper = Rc::clone(&kept);
    let first = reactor.spawn(poll_fn(move |context| {
        keeper.borrow_mut().push(context.waker().clone());
        Poll::Ready(())
    }));
    reactor.turn_until_idle();
    first.try_take().unwrap().unwrap();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let second = reactor.spawn(poll_fn(move |_| {
        count.set(count.get() + 1);
        Poll::<()>::Pending
    }));
    reactor.turn_until_idle();
    kept.borrow()[0].wake_by_ref();
    let waker = kept.borrow_mut().remove(0);
    reactor.call_soon(move |_| waker.wake());
    reactor.turn_until_idle();
    assert_eq!(polls.get(), 1);
    second.cancel();
    second.ignore();
}

#[test]
fn a_task_that_keeps_its_waker_gets_the_same_again_and_is_polled_once_for_many_wakes() {
    let reactor = TestReactor::new();
    let kept = Rc::new(RefCell::new(Vec::<Waker>::new()));
    let keeper = Rc::clone(&kept);
    let task = reactor.spawn(poll_fn(move |context| {
        keeper.borrow_mut().push(context.waker().clone());
        Poll::<()>::Pending
    }));
    reactor.turn_until_idle();
    let wakers = Rc::clone(&kept);
    // Inside the reactor's turn, then outside.
    reactor.call_soon(move |_| {
        let waker = wakers.borrow()[0].clone();
        (0..5).for_each(|_| waker.wake_by_ref());
    });
    reactor.turn_until_idle();
    let waker = kept.borrow()[0].clone();
    (0..5).for_each(|_| waker.wake_by_ref());
    reactor.turn_until_idle();
    let wakers = kept.take();
    assert_eq!(wakers.len(), 3);
    assert!(wakers.iter().all(|other| other.will_wake(&waker)));
    task.cancel();
    task.ignore();
}

#[test]
fn a_task_is_woken_from_inside_another_reactors_turn() {
    let (outer, inner) = (TestReactor::new(), TestReactor::new());
    let (bell, resolver) = Deferred::<u8>::new();
    let task = outer.spawn(bell);
    outer.turn_until_idle();
    let seen = Rc::new(Cell::new((false, false, false)));
    let same = |one: &Reactor, other: &Reactor| Rc::ptr_eq(one.inner(), other.inner());
    let (notes, ours) = (Rc::clone(&seen), outer.clone());
    outer.call_soon(move |_| {
        let (notes, notes_inside) = (Rc::clone(&notes), Rc::clone(&notes));
        let theirs = inner.clone();
        inner.call_soon(move |_| {
            let current = Reactor::current().unwrap();
            notes_inside.set((same(&current, &theirs), false, false));
            resolver.resolve(3);
        });
        inner.turn_until_idle();
        let current = Reactor::current().unwrap();
        notes.set((notes.get().0, same(&current, &ours), !same(&current, &inner)));
    });
    outer.turn_until_idle();
    assert_eq!(task.try_take().unwrap().unwrap().unwrap(), 3);
    assert_eq!(seen.get(), (true, true, true));
    assert!(Reactor::current().is_none());
}

// ---- the share of a turn

#[test]
fn tasks_that_wake_themselves_get_their_share_of_a_turn_and_the_rest_goes_on() {
    let reactor = TestReactor::new();
    let polls = Rc::new(Cell::new(0));
    for _ in 0..2 {
        let count = Rc::clone(&polls);
        let task = reactor.spawn(poll_fn(move |context| {
            count.set(count.get() + 1);
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        task.ignore();
    }
    let fired = Rc::new(Cell::new(0));
    let count = Rc::clone(&fired);
    reactor.call_later(Duration::ZERO, move |_| count.set(1));
    let count = Rc::clone(&fired);
    let before = Rc::clone(&polls);
    reactor.call_soon(move |_| {
        count.set(before.get());
    });
    for turn in 1..=10 {
        Reactor::turn(&reactor, Some(Duration::ZERO)).unwrap();
        assert_eq!(polls.get(), turn * (SHARE + 2), "turn {turn}");
        assert_eq!(fired.get(), 1, "the timer of the first turn");
    }
    // What comes from outside is not counted among it.
    let diary = Diary::default();
    let notes = Rc::clone(&diary);
    reactor.call_soon(move |reactor| {
        let task = reactor.spawn(async move { notes.borrow_mut().push("spawned by a call") });
        task.ignore();
    });
    Reactor::turn(&reactor, Some(Duration::ZERO)).unwrap();
    assert_eq!(*diary.borrow(), ["spawned by a call"]);
    reactor.close_all();
}

#[test]
fn a_thousand_tasks_of_one_callback_are_all_polled_after_it() {
    let reactor = TestReactor::new();
    let count = Rc::new(Cell::new(0));
    let counted = Rc::clone(&count);
    reactor.call_soon(move |reactor| {
        for _ in 0..1000 {
            let count = Rc::clone(&counted);
            reactor.spawn(async move { count.set(count.get() + 1) }).ignore();
        }
    });
    let seen = Rc::new(Cell::new(0));
    let (now, counted) = (Rc::clone(&seen), Rc::clone(&count));
    reactor.call_soon(move |_| now.set(counted.get()));
    Reactor::turn(&reactor, Some(Duration::ZERO)).unwrap();
    assert_eq!(seen.get(), 1000);
}

// ---- whose line it is

#[test]
fn the_log_names_the_task_by_its_place() {
    let reactor = TestReactor::new();
    let here = Location::caller();
    let seen = reactor.spawn(async { log::context() });
    let context = reactor.result_of(seen).unwrap().unwrap();
    let site = context.site.unwrap();
    assert_eq!((context.callback, context.protocol), ("task", None));
    assert_eq!((site.file(), site.line()), (here.file(), here.line() + 1));
    assert_eq!(context.to_string(), format!("task {site}"));
}
