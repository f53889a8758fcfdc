//! Futures on the reactor: beside everything else it does, and woken by other threads. Their own rules are tested in the core.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::{Deferred, Interrupt};
use marline_core::{Reactor, Time};

use crate::life_cycle::{Diary, Latch, bare, patient, stop};
use crate::streams::kit::{Ends, Outcome, Probe};
use crate::threads::turn_for_threads;

/// A task that is ready again and again, without end.
fn spin(reactor: &Reactor, polls: &Rc<Cell<usize>>) -> Deferred<()> {
    let polls = Rc::clone(polls);
    reactor.spawn(poll_fn(move |context| {
        polls.set(polls.get() + 1);
        context.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// Two tasks that wake each other without end, by wakers they have kept.
fn play(reactor: &Reactor, polls: &Rc<Cell<usize>>) {
    let wakers: Rc<[Cell<Option<Waker>>; 2]> = Rc::default();
    for own in 0..2 {
        let (wakers, polls) = (Rc::clone(&wakers), Rc::clone(polls));
        let task = reactor.spawn(poll_fn(move |context| {
            polls.set(polls.get() + 1);
            wakers[own].set(Some(context.waker().clone()));
            if let Some(other) = wakers[1 - own].take() {
                other.wake();
            }
            Poll::<()>::Pending
        }));
        task.ignore();
    }
}

on_every_driver!(tasks_that_wake_themselves_or_each_other_starve_nobody, |ground| {
    for together in [false, true] {
        let server = Probe::new().on_data(|transport, data| transport.write(data));
        let ends = Ends::join(ground, Probe::new(), server);
        let (polls, diary) = (Rc::new(Cell::new(0)), Diary::default());
        if together {
            play(&ends.reactor, &polls);
        } else {
            spin(&ends.reactor, &polls).ignore();
        }
        ends.reactor.call_later(Duration::ZERO, diary.noting("timer"));
        ends.reactor.call_soon(diary.noting("call"));
        let remote = ends.reactor.remote();
        let (sender, heard) = std::sync::mpsc::channel();
        thread::spawn(move || remote.call(move |_| sender.send(()).unwrap())).join().unwrap();
        let mut before = 0;
        for _ in 0..10 {
            ends.reactor.turn(Some(Duration::ZERO)).unwrap();
            assert!(polls.get() > before, "the tasks go on, too");
            before = polls.get();
        }
        assert_eq!(diary.take(), "call timer");
        heard.try_recv().unwrap();
        // In a simulation work takes no time, so that nothing can arrive as long as there is some.
        if !ground.is_simulated() {
            ends.client.transport().write(b"x");
            ends.until("the echo", |ends| ends.client.received() == 1);
        }
        ends.reactor.close_all();
    }
});

on_every_driver!(a_reactor_whose_tasks_all_wait_makes_no_turn, |ground| {
    let reactor = bare(ground);
    reactor.start().unwrap();
    let (_kept, bell) = Latch::new();
    let task = reactor.spawn(bell);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_wakeup(), None);
    let polls = Rc::new(Cell::new(0));
    let spinning = spin(&reactor, &polls);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_wakeup(), Some(Time::ZERO), "one that was put off");
    spinning.cancel();
    spinning.ignore();
    task.cancel();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_wakeup(), None);
    let failure = Outcome::of(task).take().unwrap_err();
    assert_eq!(failure.check::<Interrupt>(), Some(&Interrupt::Cancelled));
});

on_every_driver!(a_wait_that_has_begun_is_ended_by_a_thread_that_wakes_a_task, |ground| {
    let reactor = patient(ground);
    for _ in 0..100 {
        let shared: Arc<Mutex<(bool, Option<Waker>)>> = Arc::default();
        let theirs = Arc::clone(&shared);
        // Before the first poll, while the task is polled, or after.
        let thread = thread::spawn(move || {
            let mut state = theirs.lock().unwrap();
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        let task = reactor.spawn(poll_fn(move |context| {
            let mut state = shared.lock().unwrap();
            state.1 = Some(context.waker().clone());
            if state.0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let handle = reactor.clone();
        task.done(move |_| stop(&handle));
        // Nothing else could end its wait.
        reactor.run().unwrap();
        thread.join().unwrap();
    }
});

on_every_driver!(no_wake_of_many_threads_for_many_tasks_is_lost, |ground| {
    const TASKS: usize = 20;
    const ROUNDS: usize = 2_000;
    let reactor = patient(ground);
    reactor.start().unwrap();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let given = Arc::new(AtomicUsize::new(0));
    let ended = Rc::new(Cell::new(0));
    for _ in 0..TASKS {
        let (wakers, given, ended) = (Arc::clone(&wakers), Arc::clone(&given), Rc::clone(&ended));
        let mut known = false;
        let task = reactor.spawn(poll_fn(move |context| {
            if !std::mem::replace(&mut known, true) {
                wakers.lock().unwrap().push(context.waker().clone());
            }
            if given.load(Ordering::Acquire) < 4 * ROUNDS { Poll::Pending } else { Poll::Ready(()) }
        }));
        let count = Rc::clone(&ended);
        task.done(move |result| count.set(count.get() + usize::from(result.is_ok())));
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (given, wakers) = (Arc::clone(&given), wakers.lock().unwrap().clone());
            thread::spawn(move || {
                for round in 0..ROUNDS {
                    given.fetch_add(1, Ordering::AcqRel);
                    wakers[round % TASKS].wake_by_ref();
                }
                // The last of all the threads finds the number reached.
                wakers.iter().for_each(Waker::wake_by_ref);
            })
        })
        .collect();
    turn_for_threads(&reactor, || ended.get() == TASKS);
    for thread in threads {
        thread.join().unwrap();
    }
});

on_every_driver!(a_waker_outlives_its_task_and_its_reactor, |ground| {
    let reactor = bare(ground);
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let task = reactor.spawn(poll_fn(move |context| {
        *keeper.lock().unwrap() = Some(context.waker().clone());
        Poll::<()>::Pending
    }));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let waker = kept.lock().unwrap().clone().unwrap();
    task.cancel();
    task.ignore();
    waker.wake_by_ref();
    let elsewhere = waker.clone();
    thread::spawn(move || elsewhere.wake()).join().unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().unwrap();
});
