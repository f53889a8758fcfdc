//! Hyper's timer keeps the reactor's time, and leaves nothing behind.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use hyper::rt::{Executor, Timer};

use super::attempt;
use crate::Reactor;
use crate::stream::{ReactorExecutor, ReactorTimer};
use crate::testing::TestReactor;

fn timers(reactor: &Reactor) -> usize {
    reactor.open().iter().filter(|open| open.kind == "timer").count()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_sleep_ends_at_its_moment_of_virtual_time() {
    let reactor = TestReactor::new();
    let timer = ReactorTimer::new(&reactor);
    let begin = timer.now();
    let (sleep, until) = (timer.sleep(SECOND * 3600), timer.sleep_until(begin + SECOND * 1800));
    let clock = timer.clone();
    let slept = reactor.spawn(async move {
        until.await;
        let half = clock.now() - begin;
        sleep.await;
        (half, clock.now() - begin)
    });
    assert_eq!(reactor.result_of(slept).unwrap(), (SECOND * 1800, SECOND * 3600));
    assert_eq!(timers(&reactor), 0);
    let past = timer.sleep_until(begin);
    assert_eq!(attempt(past), Some(()), "what has passed needs no timer");
}

#[test]
fn a_sleep_that_is_put_off_moves_its_one_timer_and_a_dropped_one_takes_it_back() {
    let reactor = TestReactor::new();
    let timer = ReactorTimer::new(&reactor);
    let line = line!() - 1;
    let woken = Rc::new(Cell::new(0));
    let (counter, clock, begin) = (Rc::clone(&woken), timer.clone(), timer.now());
    let task = reactor.spawn(async move {
        let mut sleep = clock.sleep(SECOND * 5);
        let mut step = 0;
        std::future::poll_fn(move |context| {
            counter.set(counter.get() + 1);
            if step == 0 {
                assert!(sleep.as_mut().poll(context).is_pending());
                clock.reset(&mut sleep, begin + SECOND * 50);
                clock.reset(&mut sleep, begin + SECOND * 20);
            }
            step += 1;
            sleep.as_mut().poll(context)
        })
        .await;
    });
    reactor.turn_until_idle();
    let open = reactor.open();
    let sites: Vec<_> = open.iter().filter(|open| open.kind == "timer").collect();
    assert_eq!(sites.len(), 1);
    assert!(format!("{:?}", sites[0]).contains(&format!("{}:{line}", file!())), "{sites:?}");
    reactor.advance(SECOND * 19);
    assert_eq!(woken.get(), 1, "not at the first moment");
    reactor.advance(SECOND);
    assert_eq!(woken.get(), 2);
    assert!(task.is_ready());
    assert_eq!(timers(&reactor), 0);

    // Earlier works as well, and one that has come can be set anew.
    let clock = timer.clone();
    let task = reactor.spawn(async move {
        let begin = clock.now();
        let mut sleep = clock.sleep(SECOND * 100);
        assert!(attempt(sleep.as_mut()).is_none());
        clock.reset(&mut sleep, begin + SECOND);
        sleep.as_mut().await;
        clock.reset(&mut sleep, begin + SECOND * 2);
        sleep.as_mut().await;
        clock.now() - begin
    });
    assert_eq!(reactor.result_of(task).unwrap(), SECOND * 2);

    // Dropped outside every callback, and with its task.
    let mut sleep = timer.sleep(SECOND);
    assert!(attempt(sleep.as_mut()).is_none());
    assert_eq!(timers(&reactor), 1);
    drop(sleep);
    assert_eq!(timers(&reactor), 0);
    let task = reactor.spawn(timer.sleep(SECOND));
    reactor.turn_until_idle();
    assert_eq!(timers(&reactor), 1);
    task.cancel();
    task.ignore();
    reactor.check_leaks();
}

#[test]
fn each_reactor_of_a_thread_has_its_own_clock() {
    let (one, other) = (TestReactor::new(), TestReactor::new());
    let clocks = [ReactorTimer::new(&one), ReactorTimer::new(&other), ReactorTimer::new(&one)];
    let begin = clocks.each_ref().map(|clock| clock.now());
    one.advance(SECOND);
    let passed: Vec<_> = clocks.iter().zip(begin).map(|(clock, then)| clock.now() - then).collect();
    assert_eq!(passed, [SECOND, Duration::ZERO, SECOND]);
    let mut sleep = clocks[1].sleep(SECOND);
    assert!(attempt(sleep.as_mut()).is_none());
    assert_eq!((timers(&one), timers(&other)), (0, 1));
}

#[test]
fn a_sleep_of_another_thread_or_without_its_reactor_never_comes_and_breaks_nothing() {
    let reactor = TestReactor::new();
    let timer = ReactorTimer::new(&reactor);
    let (mine, sent) = (timer.clone(), timer.sleep(SECOND));
    let there = thread::spawn(move || {
        let mut sleep = sent;
        assert!(attempt(sleep.as_mut()).is_none());
        timer.reset(&mut sleep, timer.now() + SECOND);
    });
    there.join().unwrap();
    assert_eq!(timers(&reactor), 0);
    let mut orphan = mine.sleep(SECOND);
    assert!(attempt(orphan.as_mut()).is_none());
    drop(reactor);
    assert!(attempt(orphan.as_mut()).is_none());
    let _ = mine.now();
    drop(orphan);
}

#[test]
fn the_executor_runs_what_it_is_given_on_the_reactor_and_keeps_it_alive_no_longer() {
    let reactor = TestReactor::new();
    let executor = ReactorExecutor::new(&reactor);
    let ran = Rc::new(Cell::new(0));
    let (counter, again) = (Rc::clone(&ran), executor.clone());
    executor.execute(async move {
        counter.set(counter.get() + 1);
        // From inside a task, with what is not `Send`.
        again.execute(async move { counter.set(counter.get() + 1) });
    });
    assert_eq!(ran.get(), 0, "never inside the call");
    reactor.turn_until_idle();
    assert_eq!(ran.get(), 2);
    let kept = Rc::clone(&ran);
    let inside = executor.clone();
    executor.execute(async move {
        let _both = (kept, inside);
        std::future::pending::<()>().await;
    });
    reactor.turn_until_idle();
    assert_eq!(Rc::strong_count(&ran), 2);
    drop(reactor);
    assert_eq!(Rc::strong_count(&ran), 1, "the task went with the reactor");
    let late = Rc::clone(&ran);
    executor.execute(async move { late.set(0) });
    assert_eq!((ran.get(), Rc::strong_count(&ran)), (2, 1));
}
