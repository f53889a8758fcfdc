//! Cooperators and their tasks, a row of the reference after the other.

use std::iter;

use super::*;
use crate::deferred::{Interrupt, Resolver};
use crate::failure::Failure;
use crate::sim::SimDriver;
use crate::task::{CooperativeTask, Cooperator, Slice, TaskEnd, TaskError};
use crate::testing::{CapturedLog, failure_result_of, success_result_of};
use crate::{Protocol, Transport};

/// A task of so many steps that notes each as its name.
fn steps(diary: &Diary, name: &'static str, count: usize) -> impl Iterator<Item = ()> + use<> {
    let diary = diary.clone();
    (0..count).map(move |_| diary.note(name))
}

/// A task whose steps return Deferreds that the test fires.
fn waiting(diary: &Diary) -> (impl Iterator<Item = Deferred<()>> + use<>, Resolvers) {
    let resolvers = Resolvers::default();
    let (diary, made) = (diary.clone(), Rc::clone(&resolvers));
    let steps = iter::repeat_with(move || {
        diary.note("waits");
        let cancelled = diary.clone();
        let (deferred, resolver) = Deferred::with_canceller(move || cancelled.note("cancelled"));
        made.borrow_mut().push(resolver);
        deferred
    });
    (steps, resolvers)
}

type Resolvers = Rc<RefCell<Vec<Resolver<()>>>>;

fn fire(resolvers: &Resolvers) {
    let resolver = resolvers.borrow_mut().remove(0);
    resolver.resolve(());
}

/// Whatever is asked of a task that has ended is refused for this reason.
#[track_caller]
fn refuses(task: &CooperativeTask, reason: TaskError) {
    assert_eq!(task.pause(), Err(reason));
    assert_eq!(task.resume(), Err(reason));
    assert_eq!(task.stop(), Err(reason));
}

#[test]
fn tasks_take_steps_in_turn() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    diary.follow("a ends", cooperator.coiterate(steps(&diary, "a", 3)));
    diary.follow("b ends", cooperator.coiterate(steps(&diary, "b", 1)));
    diary.follow("c ends", cooperator.coiterate(steps(&diary, "c", 2)));
    assert_eq!((diary.take().as_str(), cooperator.len()), ("", 3));
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "a, b, c, a, b ends: done, c, a, c ends: done, a ends: done");
    assert!(cooperator.is_empty());
    reactor.check_leaks();
}

#[test]
fn a_slice_ends_after_so_many_steps_and_the_next_goes_on_with_the_next_task() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    cooperator.set_slice(Slice::new(SECOND, 4));
    for name in ["a", "b", "c"] {
        cooperator.coiterate(steps(&diary, name, 100)).ignore();
    }
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "a, b, c, a");
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "b, c, a, b");
    cooperator.set_slice(Slice::new(SECOND, 0));
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "c", "one step at least");
}

#[test]
fn a_slice_ends_after_so_much_time() {
    let late = Late::new();
    let (cooperator, diary) = (Cooperator::new(&late.reactor), Diary::default());
    // A step that takes four milliseconds: the clock goes on while it is done.
    let (world, noted) = (late.clock.world().clone(), diary.clone());
    let busy = iter::repeat_with(move || {
        noted.note("step");
        world.run_for(4 * MILLI);
    });
    let task = cooperator.cooperate(busy);
    late.turn_once();
    assert_eq!(diary.take(), "step, step, step", "ten milliseconds are over in the third");
    late.turn_once();
    assert_eq!(diary.take(), "step, step, step", "at once where time goes on");
    task.stop().unwrap();
}

#[test]
fn a_function_of_ones_own_ends_slices() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    cooperator.set_predicate(|| {
        let mut left = 2;
        move || {
            left -= 1;
            left == 0
        }
    });
    let task = cooperator.cooperate(steps(&diary, "a", 100));
    for _ in 0..2 {
        reactor.advance(MILLI);
        diary.note("turn");
    }
    assert_eq!(diary.take(), "a, a, a, a, turn, a, a, turn");
    cooperator.set_predicate(|| || panic!("no"));
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "a", "a panic ends the slice");
    cooperator.set_slice(Slice::new(SECOND, 3));
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "a, a, a");
    task.stop().unwrap();
}

#[test]
fn a_task_that_waits_lets_the_others_go_on() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let (waits, resolvers) = waiting(&diary);
    let task = cooperator.cooperate(waits);
    cooperator.coiterate(steps(&diary, "a", 2)).ignore();
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "waits, a, a");
    reactor.check_leaks();
    fire(&resolvers);
    reactor.advance(MILLI);
    assert_eq!(diary.take(), "waits");
    assert!(task.result().is_none());
}

#[test]
fn a_deferred_that_has_fired_is_not_waited_for() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let ready = steps(&diary, "ready", 3).map(|()| Deferred::<_, Interrupt>::ready(5));
    success_of(&reactor, cooperator.coiterate(ready));
    assert_eq!(diary.take(), "ready, ready, ready");
}

fn success_of(reactor: &TestReactor, deferred: Deferred<(), TaskEnd>) {
    reactor.turn_until_idle();
    success_result_of(deferred);
}

#[test]
fn a_failure_ends_the_task_and_everybody_who_waits_is_told() {
    let reactor = TestReactor::new();
    let cooperator = Cooperator::new(&reactor);
    let (waits, resolvers) = waiting(&Diary::default());
    let later = cooperator.cooperate(waits);
    let at_once = cooperator.cooperate([Ok(1), "many".parse::<u16>()]);
    let panics = cooperator.cooperate(iter::from_fn(|| -> Option<()> { panic!("oh") }));
    let told: Vec<_> = [&later, &later, &at_once, &panics].map(CooperativeTask::when_done).into();
    reactor.turn_until_idle();
    resolvers.borrow_mut().remove(0).fail(Failure::msg("no"));
    let texts: Vec<_> = told.into_iter().map(|told| failure_result_of(told).to_string()).collect();
    let expected = [
        "the task failed: no",
        "the task failed: no",
        "the task failed: invalid digit found in string",
        "the task failed: panicked: oh",
    ];
    assert_eq!(texts, expected);
    for task in [later, at_once, panics] {
        refuses(&task, TaskError::Failed);
        let Err(TaskEnd::Failed(_)) = task.result().unwrap() else { panic!("{task:?}") };
        assert!(matches!(failure_result_of(task.when_done()), TaskEnd::Failed(_)));
    }
    assert!(cooperator.is_empty());
}

#[test]
fn a_failure_that_nobody_asked_for_is_logged_when_the_task_is_dropped() {
    let log = CapturedLog::start();
    let reactor = TestReactor::new();
    let cooperator = Cooperator::new(&reactor);
    let looked_at = cooperator.cooperate([Err::<(), _>(Failure::msg("known"))]);
    let _ = cooperator.cooperate([Err::<(), _>(Failure::msg("unknown"))]);
    reactor.turn_until_idle();
    assert!(looked_at.result().is_some());
    drop((looked_at, cooperator));
    let logged: Vec<_> = log.take_errors().into_iter().map(|event| event.message).collect();
    assert_eq!(logged, ["a cooperative task failed: unknown"]);
}

#[test]
fn pauses_are_counted() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let task = cooperator.cooperate(steps(&diary, "a", 1));
    assert_eq!(task.resume(), Err(TaskError::NotPaused));
    task.pause().unwrap();
    task.pause().unwrap();
    reactor.turn_until_idle();
    task.resume().unwrap();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "");
    task.resume().unwrap();
    assert_eq!(task.resume(), Err(TaskError::NotPaused));
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "a");
    refuses(&task, TaskError::Done);
    success_result_of(task.when_done());
}

#[test]
fn a_pause_while_it_waits_holds_it_back_when_that_is_there() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let (waits, resolvers) = waiting(&diary);
    let task = cooperator.cooperate(waits);
    reactor.turn_until_idle();
    task.pause().unwrap();
    fire(&resolvers);
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "waits");
    task.resume().unwrap();
    task.pause().unwrap();
    task.resume().unwrap();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "waits", "once, however often it was asked to go on");
    // A resume while it waits does not make it go on either.
    task.pause().unwrap();
    task.resume().unwrap();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "");
}

#[test]
fn a_task_that_is_stopped_ends_at_once_and_cancels_what_it_waits_for() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let witness = Witness::default();
    let kept = witness.clone();
    let idle = cooperator.cooperate(iter::repeat_with(move || _ = &kept));
    let (waits, _resolvers) = waiting(&diary);
    let waits = cooperator.cooperate(waits);
    reactor.turn_until_idle();
    diary.take();
    diary.follow("ended", idle.when_done());
    idle.stop().unwrap();
    assert_eq!((diary.take().as_str(), witness.kept()), ("ended: the task was stopped", 0));
    refuses(&idle, TaskError::Stopped);
    waits.stop().unwrap();
    assert_eq!(diary.take(), "cancelled");
    refuses(&waits, TaskError::Stopped);
    reactor.advance(SECOND);
    reactor.check_leaks();
}

#[test]
fn a_task_may_pause_and_stop_itself_and_others_and_add_more() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let handles = Rc::<RefCell<Vec<CooperativeTask>>>::default();
    let (inside, all, noted) = (cooperator.clone(), Rc::clone(&handles), diary.clone());
    let mut step = 0;
    let meddler = cooperator.cooperate(iter::repeat_with(move || {
        step += 1;
        noted.note(format!("step {step}"));
        let tasks = all.borrow().clone();
        match step {
            1 => _ = inside.cooperate(steps(&noted, "new", 1)),
            2 => tasks[0].pause().unwrap(),
            3 => tasks[1].stop().unwrap(),
            _ => tasks[0].stop().unwrap(),
        }
    }));
    let victim = cooperator.cooperate(steps(&diary, "victim", 100));
    handles.borrow_mut().extend([meddler.clone(), victim.clone()]);
    reactor.turn_until_idle();
    // The others go on alone.
    let held = diary.take();
    assert!(held.starts_with("step 1, victim, new, step 2, victim, victim"), "{held}");
    assert_eq!(held.matches("victim").count(), 100);
    let again = cooperator.cooperate(steps(&diary, "again", 100));
    handles.borrow_mut()[1] = again.clone();
    meddler.resume().unwrap();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "again, step 3, step 4");
    refuses(&meddler, TaskError::Stopped);
    refuses(&again, TaskError::Stopped);
    refuses(&victim, TaskError::Done);
}

#[test]
fn a_step_that_stops_its_task_and_returns_a_deferred_leaves_none_behind() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let own = Rc::new(RefCell::new(None::<CooperativeTask>));
    let (handle, clock, noted) = (Rc::clone(&own), (*reactor).clone(), diary.clone());
    let task = cooperator.cooperate(iter::repeat_with(move || {
        noted.note("step");
        handle.borrow().clone().unwrap().stop().unwrap();
        clock.sleep(SECOND)
    }));
    *own.borrow_mut() = Some(task);
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "step");
    reactor.check_leaks();
    own.take();
}

#[test]
fn cancelling_the_end_stops_a_task_that_nobody_else_has_but_not_another() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let alone = cooperator.coiterate(steps(&diary, "alone", 5));
    let task = cooperator.cooperate(steps(&diary, "task", 2));
    let told = task.when_done();
    told.cancel();
    alone.cancel();
    let ends = [told, alone].map(failure_result_of);
    assert!(ends.iter().all(|end| matches!(end, TaskEnd::Interrupted(Interrupt::Cancelled))));
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "task, task");
}

#[test]
fn tasks_wait_until_the_cooperator_is_started() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::waiting(&reactor), Diary::default());
    let task = cooperator.cooperate(steps(&diary, "a", 2));
    reactor.advance(SECOND);
    assert_eq!((diary.take().as_str(), cooperator.is_running()), ("", false));
    cooperator.start();
    cooperator.start();
    reactor.turn_until_idle();
    assert_eq!((diary.take().as_str(), cooperator.is_running()), ("a, a", true));
    success_result_of(task.when_done());
}

#[test]
fn a_cooperator_that_is_stopped_ends_all_its_tasks_and_those_added_until_it_is_started_again() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let ready = cooperator.cooperate(iter::repeat(()));
    let paused = cooperator.cooperate(iter::repeat(()));
    paused.pause().unwrap();
    let (waits, _resolvers) = waiting(&diary);
    let waits = cooperator.cooperate(waits);
    reactor.turn_until_idle();
    diary.take();
    diary.follow("ready", ready.when_done());
    cooperator.stop();
    assert_eq!(diary.take(), "ready: the task's cooperator was stopped, cancelled");
    let late = cooperator.cooperate(steps(&diary, "late", 1));
    for task in [ready, paused, waits, late] {
        refuses(&task, TaskError::CooperatorStopped);
        assert!(matches!(task.result(), Some(Err(TaskEnd::CooperatorStopped))));
    }
    reactor.advance(SECOND);
    reactor.check_leaks();
    assert!(!cooperator.is_running() && cooperator.is_empty());
    cooperator.start();
    success_of(&reactor, cooperator.coiterate(steps(&diary, "again", 1)));
    assert_eq!(diary.take(), "again");
}

#[test]
fn a_cooperator_may_be_stopped_from_inside_a_step() {
    let reactor = TestReactor::new();
    let (cooperator, diary) = (Cooperator::new(&reactor), Diary::default());
    let inside = cooperator.clone();
    let one = cooperator.cooperate(iter::repeat_with(move || inside.stop()));
    let other = cooperator.cooperate(steps(&diary, "other", 3));
    reactor.advance(SECOND);
    assert_eq!(diary.take(), "");
    refuses(&one, TaskError::CooperatorStopped);
    refuses(&other, TaskError::CooperatorStopped);
    reactor.check_leaks();
}

#[test]
fn a_reactor_that_closes_ends_the_tasks() {
    let reactor = Reactor::new(SimDriver::alone(1));
    let cooperator = Cooperator::new(&reactor);
    let witness = Witness::default();
    let kept = witness.clone();
    let task = cooperator.cooperate(iter::repeat_with(move || _ = &kept));
    let told = task.when_done();
    drop(reactor);
    assert!(matches!(failure_result_of(told), TaskEnd::CooperatorStopped));
    assert_eq!(witness.kept(), 0);
    cooperator.start();
    let late = cooperator.cooperate(iter::repeat(()));
    refuses(&late, TaskError::CooperatorStopped);
}

#[test]
fn tasks_go_on_without_handles_and_are_dropped_if_they_never_can() {
    let reactor = TestReactor::new();
    let diary = Diary::default();
    Cooperator::new(&reactor).coiterate(steps(&diary, "a", 2)).ignore();
    reactor.turn_until_idle();
    assert_eq!(diary.take(), "a, a");
    let witness = Witness::default();
    let kept = witness.clone();
    let never = Cooperator::waiting(&reactor).coiterate(iter::repeat_with(move || _ = &kept));
    assert_eq!(witness.kept(), 0);
    assert!(matches!(failure_result_of(never), TaskEnd::Interrupted(Interrupt::Abandoned)));
}

#[test]
fn a_long_computation_leaves_connections_their_turns() {
    struct Counts(Rc<Cell<u32>>);

    impl Protocol for Counts {
        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.0.set(self.0.get() + 1);
            transport.write(data);
        }
    }

    let reactor = TestReactor::new();
    let (count, counted) = counter();
    let (client, _server) = reactor.connect_pair(Counts(Rc::clone(&counted)), Counts(counted));
    client.transport().write(b"x");
    let cooperator = Cooperator::new(&reactor);
    let endless = cooperator.cooperate(iter::repeat(()));
    reactor.advance(SECOND);
    assert!(count.get() > 100, "{} echoes in a second", count.get());
    endless.stop().unwrap();
}

#[test]
fn a_million_steps_and_listeners_use_no_stack() {
    let reactor = TestReactor::new();
    let cooperator = Cooperator::new(&reactor);
    let (count, counted) = counter();
    let task = cooperator.cooperate((0..1_000_000).map(|_| Deferred::<()>::ready(())));
    for _ in 0..10_000 {
        let counted = Rc::clone(&counted);
        task.when_done().done(move |_| counted.set(counted.get() + 1));
        task.when_done().cancel();
    }
    reactor.advance(2 * SECOND);
    refuses(&task, TaskError::Done);
    assert_eq!(count.get(), 10_000);
}
