//! What locks, semaphores and queues promise, one by one. `model.rs`: random use against plain models.

use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::deferred::{Deferred, Interrupt, capture_unhandled, gather};
use crate::failure::Failure;
use crate::testing::{TestReactor, failure_result_of, success_result_of};

mod model;

/// Why a deferred was interrupted.
#[track_caller]
fn interrupted<T: 'static>(deferred: Deferred<T>) -> Interrupt {
    failure_result_of(deferred).trap().unwrap()
}

/// A place for what is seen in callbacks.
type Seen<T> = Rc<RefCell<Vec<T>>>;

#[test]
fn a_semaphore_needs_a_permit() {
    assert_eq!(Semaphore::new(0).unwrap_err(), NoPermits);
    assert_eq!(Semaphore::new(1).unwrap().permits(), 1);
}

#[test]
fn so_many_acquire_at_once_and_the_others_in_their_order() {
    let semaphore = Semaphore::new(2).unwrap();
    let first = success_result_of(semaphore.acquire());
    let second = success_result_of(semaphore.acquire());
    let third = semaphore.acquire();
    let fourth = semaphore.acquire();
    assert_eq!((semaphore.available(), semaphore.waiting()), (0, 2));
    assert!(semaphore.try_acquire().is_none());
    drop(second);
    assert!(third.is_ready() && !fourth.is_ready());
    first.release();
    let (third, fourth) = (success_result_of(third), success_result_of(fourth));
    drop((third, fourth));
    assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
}

#[test]
fn a_lock_is_held_until_its_permit_is_dropped() {
    let lock = Lock::new();
    assert!(!lock.is_locked());
    let held = lock.try_acquire().unwrap();
    assert!(lock.is_locked() && lock.try_acquire().is_none());
    let next = lock.clone().acquire();
    assert_eq!(lock.waiting(), 1);
    drop(held);
    assert!(lock.is_locked());
    drop(success_result_of(next));
    assert!(!lock.is_locked());
}

#[test]
fn a_cancelled_waiter_leaves_the_line_and_takes_nothing() {
    let lock = Lock::new();
    let held = lock.try_acquire();
    let (first, second) = (lock.acquire(), lock.acquire());
    first.cancel();
    assert_eq!(lock.waiting(), 1);
    assert_eq!(interrupted(first), Interrupt::Cancelled);
    drop(held);
    drop(success_result_of(second));
    assert!(!lock.is_locked());
}

#[test]
fn a_waiter_cancelled_by_the_one_before_it_in_the_same_moment_takes_nothing() {
    let lock = Lock::new();
    let held = lock.try_acquire();
    let (first, second, third) = (lock.acquire(), lock.acquire(), lock.acquire());
    let handle = second.cancel_handle();
    first.done(move |permit| {
        drop(permit); // the second is next ...
        handle.cancel(); // ... but has not had it yet
    });
    drop(held);
    assert_eq!(interrupted(second), Interrupt::Cancelled);
    assert!(third.is_ready());
}

#[test]
fn a_deferred_that_is_dropped_leaves_the_line_or_gives_its_permit_to_the_next() {
    let lock = Lock::new();
    let held = lock.try_acquire();
    let (first, second, third) = (lock.acquire(), lock.acquire(), lock.acquire());
    drop(first);
    assert_eq!(lock.waiting(), 2);
    drop(held);
    assert!(second.is_ready() && !third.is_ready());
    drop(second);
    assert!(third.is_ready());
    drop(third);
    assert!(!lock.is_locked());
    drop(lock.acquire());
    assert!(!lock.is_locked());
}

#[test]
fn nobody_overtakes_those_who_wait_not_even_while_they_are_served() {
    let semaphore = Semaphore::new(1).unwrap();
    let held = semaphore.try_acquire();
    let seen = Seen::default();
    for n in 0..2 {
        let (semaphore, seen) = (semaphore.clone(), Rc::clone(&seen));
        let (again, too) = (semaphore.clone(), Rc::clone(&seen));
        semaphore.acquire().done(move |permit| {
            seen.borrow_mut().push(n);
            drop(permit);
            assert!(again.try_acquire().is_none());
            again.acquire().done(move |_| too.borrow_mut().push(10 + n));
        });
    }
    drop(held);
    assert_eq!(*seen.borrow(), [0, 1, 10, 11]);
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn releasing_inside_the_callback_of_an_acquire_does_not_nest() {
    let lock = Lock::new();
    let held = lock.try_acquire();
    let (depth, deepest) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    for _ in 0..10 {
        let (depth, deepest) = (Rc::clone(&depth), Rc::clone(&deepest));
        lock.acquire().done(move |permit| {
            depth.set(depth.get() + 1);
            deepest.set(deepest.get().max(depth.get()));
            drop(permit);
            depth.set(depth.get() - 1);
        });
    }
    drop(held);
    assert_eq!((deepest.get(), lock.waiting(), lock.is_locked()), (1, 0, false));
}

#[test]
fn a_million_waiters_that_release_in_their_callbacks_need_no_more_stack_than_one() {
    const MILLION: usize = 1_000_000;
    let work = || {
        let lock = Lock::new();
        let held = lock.try_acquire();
        let count = Rc::new(Cell::new(0));
        for n in 0..MILLION {
            let count = Rc::clone(&count);
            if n % 2 == 0 {
                lock.acquire().done(move |permit| {
                    count.set(count.get() + 1);
                    drop(permit);
                });
            } else {
                let work = move || {
                    count.set(count.get() + 1);
                    Deferred::<()>::ready(())
                };
                lock.run(work).ignore();
            }
        }
        drop(held);
        assert_eq!((count.get(), lock.is_locked()), (MILLION, false));
    };
    thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn run_holds_the_permit_until_its_deferred_has_fired_and_no_longer() {
    let lock = Lock::new();
    let (inner, resolver) = Deferred::<i32>::new();
    let its = lock.clone();
    let end = lock.run(move || inner).map(move |value| (value, its.is_locked()));
    let begun = Rc::new(Cell::new(false));
    let mine = Rc::clone(&begun);
    let next = lock.run(move || {
        mine.set(true);
        Deferred::<()>::failed(Failure::msg("no"))
    });
    assert!(lock.is_locked() && !begun.get());
    resolver.resolve(1);
    assert_eq!(success_result_of(end), (1, false));
    assert!(begun.get() && !lock.is_locked());
    assert_eq!(failure_result_of(next).to_string(), "no");
}

#[test]
fn run_is_cancelled_in_the_line_or_in_what_it_runs() {
    let lock = Lock::new();
    let (inner, resolver) = Deferred::<()>::new();
    let running = lock.run(move || inner);
    let waiting = lock.run(|| -> Deferred<()> { panic!("is never called") });
    waiting.cancel();
    assert_eq!(interrupted(waiting), Interrupt::Cancelled);
    running.cancel();
    assert!(resolver.is_cancelled());
    assert_eq!(interrupted(running), Interrupt::Cancelled);
    assert!(!lock.is_locked());
}

#[test]
fn run_gives_back_when_its_function_panics() {
    let lock = Lock::new();
    let boom = || -> Deferred<()> { resume_unwind(Box::new("boom")) };
    let (first, held) = (lock.run(boom), lock.try_acquire());
    assert!(held.is_some());
    let second = lock.run(boom);
    drop(held);
    for end in [first, second] {
        assert_eq!(interrupted(end), Interrupt::Panicked("boom".into()));
    }
    assert!(!lock.is_locked());
}

#[test]
fn closing_a_semaphore_fails_who_waits_and_who_comes_but_permits_stay_good() {
    let semaphore = Semaphore::new(1).unwrap();
    let held = semaphore.try_acquire();
    let waiting = semaphore.acquire();
    semaphore.close();
    assert!(semaphore.is_closed());
    assert_eq!(interrupted(waiting), Interrupt::Abandoned);
    assert_eq!(interrupted(semaphore.acquire()), Interrupt::Abandoned);
    let never = || -> Deferred<()> { panic!("is never called") };
    assert_eq!(interrupted(semaphore.run(never)), Interrupt::Abandoned);
    drop(held);
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.try_acquire().is_none());
}

#[test]
fn closing_inside_a_callback_fails_the_rest_when_it_returns() {
    let lock = Lock::new();
    let held = lock.try_acquire();
    let its = lock.clone();
    let (first, second) = (lock.acquire(), lock.acquire());
    first.done(move |permit| {
        its.close();
        drop(permit);
    });
    drop(held);
    assert_eq!(interrupted(second), Interrupt::Abandoned);
}

#[test]
fn values_go_to_those_who_wait_first_then_to_the_queue() {
    let queue = Queue::new();
    let (first, second) = (queue.get(), queue.get());
    for n in 1..=4 {
        queue.put(n).unwrap();
    }
    assert_eq!((queue.len(), queue.waiting(), queue.is_empty()), (2, 0, false));
    let third = queue.get();
    let got = [first, second, third].map(success_result_of);
    assert_eq!(got, [1, 2, 3]);
    assert_eq!((queue.try_get(), queue.try_get()), (Some(4), None));
}

#[test]
fn beyond_its_size_a_queue_hands_the_value_back() {
    let queue = Queue::new().with_size(1);
    let waiting = queue.get();
    queue.put("a").unwrap();
    queue.put("b").unwrap();
    let error = queue.put("c").unwrap_err();
    assert_eq!(error, PutError::Overflow("c"));
    assert_eq!(error.to_string(), "the queue is full");
    assert_eq!(error.into_value(), "c");
    assert_eq!(success_result_of(waiting), "a");
    assert_eq!(Queue::new().with_size(0).put(1), Err(PutError::Overflow(1)));
}

#[test]
fn beyond_its_backlog_a_queue_lets_nobody_wait() {
    let queue = Queue::<i32>::new().with_backlog(1);
    let waiting = queue.get();
    let failure = failure_result_of(queue.get());
    assert_eq!(failure.check(), Some(&QueueUnderflow { backlog: 1 }));
    waiting.cancel();
    let waiting = (interrupted(waiting), queue.get());
    queue.put(1).unwrap();
    assert_eq!((waiting.0, success_result_of(waiting.1)), (Interrupt::Cancelled, 1));
    let none = Queue::<i32>::new().with_backlog(0);
    assert!(failure_result_of(none.get()).check::<QueueUnderflow>().is_some());
    none.put(2).unwrap();
    assert_eq!(success_result_of(none.get()), 2);
}

#[test]
fn a_value_nobody_looked_at_goes_back_to_where_it_was() {
    let queue = Queue::new();
    let (first, second) = (queue.get(), queue.get());
    for n in 1..=3 {
        queue.put(n).unwrap();
    }
    drop(first);
    drop(second);
    assert_eq!(queue.len(), 3);
    assert_eq!(success_result_of(queue.get()), 1);
    // Also one that was there at once.
    drop(queue.get());
    let waiting = [queue.get(), queue.get(), queue.get()];
    let [second, third, fourth] = waiting;
    drop(second);
    assert_eq!(success_result_of(fourth), 2);
    assert_eq!(success_result_of(third), 3);
}

#[test]
fn a_task_that_is_dropped_when_its_value_has_come_leaves_it_to_the_next() {
    let reactor = TestReactor::new();
    let queue = Queue::new();
    let its = queue.clone();
    let first = reactor.spawn(async move { its.get().await });
    reactor.turn_until_idle();
    let second = queue.get();
    assert_eq!(queue.waiting(), 2);
    queue.put(1).unwrap(); // wakes the task, which does not run before it is cancelled
    first.cancel();
    reactor.turn_until_idle();
    assert_eq!(success_result_of(second), 1);
    first.ignore();
}

#[test]
fn a_task_that_is_dropped_while_it_waits_leaves_the_line() {
    let reactor = TestReactor::new();
    let (queue, lock) = (Queue::new(), Lock::new());
    let held = lock.try_acquire();
    let (its, its_lock) = (queue.clone(), lock.clone());
    let tasks = [
        reactor.spawn(async move { its.get().await.map(drop) }),
        reactor.spawn(async move { its_lock.acquire().await.map(drop) }),
    ];
    reactor.turn_until_idle();
    assert_eq!((queue.waiting(), lock.waiting()), (1, 1));
    for task in tasks {
        task.cancel();
        task.ignore();
    }
    reactor.turn_until_idle();
    assert_eq!((queue.waiting(), lock.waiting()), (0, 0));
    queue.put(1).unwrap();
    drop(held);
    assert_eq!((queue.len(), lock.is_locked()), (1, false));
}

#[test]
fn putting_and_getting_inside_a_callback_keep_the_order_and_the_limits() {
    let queue = Queue::new().with_size(1);
    let seen = Seen::default();
    let (its, see) = (queue.clone(), Rc::clone(&seen));
    queue.get().done(move |value| {
        see.borrow_mut().push(value.unwrap());
        let too = Rc::clone(&see);
        its.get().done(move |value| too.borrow_mut().push(value.unwrap()));
        // One for the one who waits, one for the queue.
        its.put(2).unwrap();
        its.put(3).unwrap();
        assert_eq!(its.put(4), Err(PutError::Overflow(4)));
    });
    queue.put(1).unwrap();
    assert_eq!(*seen.borrow(), [1, 2]);
    assert_eq!((queue.try_get(), queue.len()), (Some(3), 0));
}

#[test]
fn a_closed_queue_gives_what_it_has_and_then_abandons() {
    let queue = Queue::new();
    queue.put(1).unwrap();
    queue.close();
    assert_eq!(queue.put(2), Err(PutError::Closed(2)));
    assert_eq!(success_result_of(queue.get()), 1);
    assert_eq!(interrupted(queue.get()), Interrupt::Abandoned);
    let queue = Queue::<i32>::new();
    let waiting = queue.get();
    queue.close();
    assert_eq!(interrupted(waiting), Interrupt::Abandoned);
}

#[test]
fn dropping_the_last_handle_abandons_who_waits() {
    let queue = Queue::<i32>::new();
    let (first, second) = (queue.get(), queue.get());
    drop(queue.clone());
    assert!(!first.is_ready());
    drop(queue);
    for waiting in [first, second] {
        assert_eq!(interrupted(waiting), Interrupt::Abandoned);
    }
}

#[test]
fn what_is_dropped_unheard_is_not_logged() {
    let ((), reports) = capture_unhandled(|| {
        let (queue, lock) = (Queue::<i32>::new(), Lock::new());
        let held = lock.try_acquire();
        drop((queue.get(), lock.acquire()));
        queue.put(1).unwrap();
        drop(queue.get());
        drop((held, queue, lock));
    });
    assert_eq!(reports, []);
}

#[test]
fn consumers_in_tasks_share_a_queue_until_it_is_closed() {
    let reactor = TestReactor::new();
    let queue = Queue::new();
    let seen = Seen::default();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (queue, seen, clock) = (queue.clone(), Rc::clone(&seen), reactor.clone());
            reactor.spawn(async move {
                while let Ok(job) = queue.get().await {
                    let (wait, resolver) = Deferred::<()>::new();
                    clock.call_later(Duration::from_secs(1), |_| resolver.resolve(()));
                    wait.await?;
                    seen.borrow_mut().push(job);
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for job in 0..7 {
        queue.put(job).unwrap();
    }
    queue.close();
    let begun = reactor.now();
    let ends = reactor.result_of(gather(workers)).unwrap();
    assert_eq!((ends.len(), ends.iter().all(Result::is_ok)), (3, true));
    assert_eq!(reactor.now() - begun, Duration::from_secs(3));
    let mut seen = seen.take();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
}
