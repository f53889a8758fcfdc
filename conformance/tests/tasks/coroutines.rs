//! Futures on the reactor, as Twisted's inline coroutines: what awaiting a Deferred does to it and to them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::deferred::{CancelHandle, Deferred, Interrupt, Resolver};
use marline_core::failure::Failure;
use marline_core::{Protocol, Reactor, Transport};

use crate::life_cycle::{Diary, Witness, bare, reactor, turn_until};

/// A Deferred that notes that it was cancelled, and its resolver.
fn awaited(diary: &Diary) -> (Deferred<u32>, Resolver<u32>) {
    let diary = diary.clone();
    Deferred::with_canceller(move || diary.note("cancelled"))
}

/// Lets the tasks that were spawned or woken run.
fn settle(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

// 131
on_every_driver!(cancelling_a_task_passes_to_what_it_awaits, |ground| {
    let reactor = bare(ground);
    let (diary, witness) = (Diary::default(), Witness::default());
    let ((inner, _resolver), kept) = (awaited(&diary), witness.clone());
    let outer = reactor.clone();
    // Through a task that awaits another.
    let task = reactor.spawn(async move {
        let _kept = kept;
        outer.spawn(inner).await.unwrap().unwrap()
    });
    settle(&reactor);
    settle(&reactor);
    task.cancel();
    settle(&reactor);
    assert_eq!(diary.take(), "cancelled");
    assert_eq!(witness.kept(), 0, "its body is dropped");
    assert!(task.try_take().unwrap().is_err());
});

// 131; here the body hears of a cancel that goes to what it awaits, by a handle on that.
on_every_driver!(a_body_may_catch_the_cancelling_of_what_it_awaits, |ground| {
    let reactor = bare(ground);
    let diary = Diary::default();
    let (inner, _resolver) = awaited(&diary);
    let cancel = inner.cancel_handle();
    let noted = diary.clone();
    let task = reactor.spawn(async move {
        match inner.await {
            Err(failure) if failure.check() == Some(&Interrupt::Cancelled) => noted.note("caught"),
            other => panic!("{other:?}"),
        }
        // It may wait again, and be cancelled again.
        let (second, _resolver) = awaited(&noted);
        second.cancel_handle().cancel();
        second.await.unwrap_or(7)
    });
    settle(&reactor);
    cancel.cancel();
    turn_until(&reactor, "the end of the task", || task.is_ready());
    assert_eq!(diary.take(), "cancelled caught cancelled");
    assert_eq!(task.try_take().unwrap().unwrap(), 7);
});

// 131
on_every_driver!(values_that_are_there_are_awaited_in_one_go_and_without_stack, |ground| {
    let reactor = bare(ground);
    let clock = reactor.clone();
    let task = reactor.spawn(async move {
        let begin = clock.now();
        let mut sum = 0_u64;
        for number in 0..1_000_000_u64 {
            sum += Deferred::<_, Failure>::ready(number).await.unwrap();
        }
        assert_eq!(clock.now(), begin, "in one turn");
        sum
    });
    settle(&reactor);
    assert_eq!(task.try_take().unwrap().unwrap(), 499_999_500_000);
});

// 131: of those that fire while others wait for them.
on_every_driver!(tasks_that_wait_for_each_other_use_no_stack, |ground| {
    let reactor = bare(ground);
    let (first, resolver) = Deferred::<u32>::new();
    let mut last = first;
    for _ in 0..10_000 {
        let before = last;
        last = reactor.spawn(before).and_then(|result| Ok(result? + 1));
    }
    settle(&reactor);
    resolver.resolve(0);
    turn_until(&reactor, "the last", || last.is_ready());
    assert_eq!(last.try_take().unwrap().unwrap(), 10_000);
});

// 131
on_every_driver!(a_body_lets_go_of_what_it_held_however_it_ends, |ground| {
    let reactor = bare(ground);
    let witness = Witness::default();
    let (diary, cancel) = (Diary::default(), Rc::new(Cell::new(CancelHandle::default())));
    let held = || witness.clone();
    // Done, failed, cancelled, never fired.
    let (done, failed, cancelled, never) = (held(), held(), held(), held());
    let done = reactor.spawn(async move { drop(done) });
    let failed = reactor.spawn(async move {
        let _failed = failed;
        Deferred::<(), _>::failed(Failure::msg("no")).await
    });
    let (inner, _resolver) = awaited(&diary);
    let cancelled = reactor.spawn(async move {
        let _cancelled = cancelled;
        inner.await.is_ok()
    });
    cancel.set(cancelled.cancel_handle());
    let never = reactor.spawn(async move {
        let _never = never;
        let (deferred, resolver) = Deferred::<()>::new();
        let kept = Rc::new(RefCell::new(Some(resolver)));
        // A cycle through the body itself.
        let cycle = Rc::clone(&kept);
        let result = deferred.finally(move || drop(cycle)).await;
        drop(kept);
        result.is_ok()
    });
    settle(&reactor);
    assert!(done.is_ready());
    assert!(failed.try_take().unwrap().unwrap().is_err());
    assert_eq!(witness.kept(), 2);
    cancel.take().cancel();
    settle(&reactor);
    assert_eq!((diary.take().as_str(), witness.kept()), ("cancelled", 1));
    drop((done, reactor));
    assert_eq!(witness.kept(), 0);
    assert!(cancelled.try_take().unwrap().is_err() && never.try_take().unwrap().is_err());
});

// 131: and what comes over a real connection.
on_every_driver!(a_task_awaits_connections_and_timers_as_anything_else, |ground| {
    let reactor = reactor(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", || Quiet).unwrap();
    let (clock, to) = (reactor.clone(), port.local_addr());
    let task = reactor.spawn(async move {
        let client = clock.connect_tcp(&to, Quiet).await?;
        clock.sleep(Duration::from_millis(2)).await?;
        client.transport().lose_connection();
        Ok::<_, Failure>(port.stop_listening().await.is_ok())
    });
    turn_until(&reactor, "the end of the task", || task.is_ready());
    assert!(task.try_take().unwrap().unwrap().unwrap());
    nothing_is_left(ground, &reactor);
});

fn nothing_is_left(ground: Ground, reactor: &Reactor) {
    // The ground's own timer, which fails a check that hangs.
    let what = format!("the end of all connections on {}", ground.driver);
    turn_until(reactor, &what, || reactor.open().len() == 1);
}

struct Quiet;

impl Protocol for Quiet {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}
