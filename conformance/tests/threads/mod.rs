//! Other threads: calls from them into the reactor. Jobs that a reactor gives to threads are in `jobs.rs`, what they take along in
//! `lines.rs`.

mod jobs;
mod lines;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use marline_conformance::on_every_driver;
use marline_core::{BlockingError, Reactor, Remote, Reply, Time};

use crate::life_cycle::{Diary, bare, patient, reactor, stop};
use crate::streams::kit::{Ends, Probe};

/// Turns until something is so that other threads bring about, which takes real time also where the reactor's is virtual.
#[track_caller]
pub(crate) fn turn_for_threads(reactor: &Reactor, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        thread::yield_now();
        assert!(begin.elapsed() < Duration::from_secs(20), "the other threads do not get on");
    }
}

// 36
on_every_driver!(a_call_made_inside_a_timer_runs_in_the_very_next_turn, |ground| {
    let reactor = bare(ground);
    let (sender, receiver) = mpsc::channel();
    let remote = reactor.remote();
    reactor.call_later(Duration::ZERO, move |_| remote.call(move |_| sender.send(()).unwrap()));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(receiver.try_recv().is_err());
    assert_eq!(reactor.next_wakeup(), Some(Time::ZERO));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(receiver.try_recv().is_ok());
});

// 37, 42
on_every_driver!(a_call_from_another_thread_runs_in_the_reactors, |ground| {
    let reactor = patient(ground);
    let remote = reactor.remote();
    assert!(remote.is_reactor_thread());
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        assert!(!remote.is_reactor_thread());
        remote.call(move |reactor| {
            sender.send((thread::current().id(), reactor.remote().is_reactor_thread())).unwrap();
            stop(reactor);
        });
    });
    reactor.run().unwrap();
    thread.join().unwrap();
    assert_eq!(receiver.recv().unwrap(), (thread::current().id(), true));
});

// 38
on_every_driver!(thousands_of_calls_from_threads_all_run_each_threads_in_order, |ground| {
    const EACH: usize = 2500;
    let reactor = patient(ground);
    let heard: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (remote, heard) = (reactor.remote(), Arc::clone(&heard));
            thread::spawn(move || {
                for number in 0..EACH {
                    let heard = Arc::clone(&heard);
                    remote.call(move |_| heard.lock().unwrap().push((thread, number)));
                }
            })
        })
        .collect();
    reactor.start().unwrap();
    turn_for_threads(&reactor, || heard.lock().unwrap().len() == 4 * EACH);
    for thread in threads {
        thread.join().unwrap();
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 4 * EACH);
    for thread in 0..4 {
        let own = heard.iter().filter(|(of, _)| *of == thread).map(|(_, number)| *number);
        assert!(own.eq(0..EACH), "thread {thread}");
    }
});

// 38
on_every_driver!(no_call_from_a_thread_runs_before_the_loop_starts, |ground| {
    let reactor = reactor(ground);
    let count = Arc::new(AtomicUsize::new(0));
    let (remote, counter) = (reactor.remote(), Arc::clone(&count));
    thread::spawn(move || {
        for _ in 0..1000 {
            let counter = Arc::clone(&counter);
            remote.call(move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
        }
        remote.stop();
    })
    .join()
    .unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    let diary = Diary::default();
    let (seen, startup) = (Arc::clone(&count), diary.clone());
    reactor.call_when_running(move |_| startup.note(format!("{}", seen.load(Ordering::Relaxed))));
    reactor.run().unwrap();
    assert_eq!((diary.take().as_str(), count.load(Ordering::Relaxed)), ("0", 1000));
});

// 38: with those of the reactor's own thread.
on_every_driver!(calls_of_all_threads_come_before_the_turns_timers, |ground| {
    let reactor = bare(ground);
    let heard: Arc<Mutex<Vec<&str>>> = Arc::default();
    let hear = |what: &'static str| {
        let heard = Arc::clone(&heard);
        move |_: &Reactor| heard.lock().unwrap().push(what)
    };
    drop(reactor.call_later(Duration::ZERO, hear("timer")));
    reactor.remote().call(hear("remote"));
    reactor.call_soon(hear("call"));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!((heard.len(), heard[2]), (3, "timer"));
});

// 39
on_every_driver!(a_call_that_queues_itself_again_does_not_starve_the_loop, |ground| {
    fn again(remote: &Remote, turns: Arc<AtomicUsize>) {
        turns.fetch_add(1, Ordering::Relaxed);
        remote.call(move |reactor| again(&reactor.remote(), turns));
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let ends = Ends::join(ground, Probe::new(), server);
    let diary = Diary::default();
    again(&ends.reactor.remote(), Arc::clone(&turns));
    ends.reactor.call_soon(diary.noting("call"));
    ends.reactor.call_later(Duration::ZERO, diary.noting("timer"));
    for done in 1..=10 {
        assert_eq!(turns.load(Ordering::Relaxed), done);
        ends.reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(diary.take(), "call timer");
    // In a simulation work takes no time, so that nothing can arrive as long as there is some.
    if !ground.is_simulated() {
        ends.client.transport().write(b"x");
        ends.until("the echo", |ends| ends.client.received() == 1);
        assert!(turns.load(Ordering::Relaxed) > 10);
    }
});

on_every_driver!(a_thread_can_stop_the_reactor, |ground| {
    let reactor = patient(ground);
    let (sender, receiver) = mpsc::channel();
    let remote = reactor.remote();
    reactor.call_when_running(move |_| sender.send(()).unwrap());
    let thread = thread::spawn(move || {
        receiver.recv().unwrap();
        remote.stop();
        // Once more does nothing.
        remote.stop();
    });
    reactor.run().unwrap();
    thread.join().unwrap();
});

on_every_driver!(a_wait_that_has_begun_is_ended_by_a_call_from_a_thread, |ground| {
    let reactor = patient(ground);
    for _ in 0..100 {
        let remote = reactor.remote();
        let (sender, receiver) = mpsc::channel();
        reactor.call_when_running(move |_| sender.send(()).unwrap());
        let thread = thread::spawn(move || {
            receiver.recv().unwrap();
            remote.call(stop);
        });
        // Nothing else could end its wait.
        reactor.run().unwrap();
        thread.join().unwrap();
    }
});

on_every_driver!(a_blocking_call_answers_at_once_or_later, |ground| {
    let reactor = patient(ground);
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let at_once = remote.blocking_call(|reactor, reply| {
            assert!(reactor.is_running());
            reply.send("at once".to_string());
        });
        let later = remote.blocking_call(|reactor, reply| {
            reactor.call_later(Duration::from_millis(1), move |_| reply.send(7));
        });
        remote.stop();
        (at_once.unwrap(), later.unwrap())
    });
    reactor.run().unwrap();
    assert_eq!(thread.join().unwrap(), ("at once".to_string(), 7));
});

on_every_driver!(a_blocking_call_waits_for_a_deferred_and_gets_its_error, |ground| {
    let reactor = patient(ground);
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let ask = |text: &'static str| {
            remote.blocking_call(move |reactor, reply| {
                let parsed = reactor.spawn(async move { text.parse::<u16>() });
                parsed.done(move |result| reply.send(result.unwrap()));
            })
        };
        let answers = (ask("7").unwrap(), ask("seven").unwrap().map_err(|error| error.to_string()));
        remote.stop();
        answers
    });
    reactor.run().unwrap();
    let (value, error) = thread.join().unwrap();
    assert_eq!((value, error), (Ok(7), Err("invalid digit found in string".to_owned())));
});

on_every_driver!(a_blocking_call_whose_reply_is_dropped_fails, |ground| {
    let reactor = patient(ground);
    let remote = reactor.remote();
    let thread = thread::spawn(move || {
        let dropped = remote.blocking_call(|_, reply: Reply<()>| drop(reply));
        let panicked = remote.blocking_call(|_, reply: Reply<()>| {
            let _reply = reply;
            panic!("before it replies");
        });
        remote.stop();
        (dropped, panicked)
    });
    reactor.run().unwrap();
    let dropped = Err(BlockingError::Dropped);
    assert_eq!(thread.join().unwrap(), (dropped, dropped));
});

on_every_driver!(a_blocking_call_fails_when_its_reactor_goes_away, |ground| {
    let reactor = bare(ground);
    let remote = reactor.remote();
    let queued = remote.clone();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        sender.send(()).unwrap();
        queued.blocking_call(|_, reply| reply.send(()))
    });
    receiver.recv().unwrap();
    // Whether the call has come in by now or not.
    drop(reactor);
    assert_eq!(thread.join().unwrap(), Err(BlockingError::Dropped));
    let thread = thread::spawn(move || remote.blocking_call(|_, reply| reply.send(())));
    assert_eq!(thread.join().unwrap(), Err(BlockingError::Dropped));
});

on_every_driver!(a_blocking_call_is_refused_in_the_reactors_thread, |ground| {
    let reactor = reactor(ground);
    let remote = reactor.remote();
    assert_eq!(remote.blocking_call(|_, reply| reply.send(())), Err(BlockingError::ReactorThread));
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    reactor.call_soon(move |reactor| {
        let answer = reactor.remote().blocking_call(|_, reply| reply.send(()));
        seen.set(answer == Err(BlockingError::ReactorThread));
        stop(reactor);
    });
    reactor.run().unwrap();
    assert!(refused.get());
});

// Each drop races with a call: whoever comes first, the thread gets its answer.
on_every_driver!(a_blocking_call_that_races_with_the_end_of_its_reactor_does_not_hang, |ground| {
    let (remotes, incoming) = mpsc::channel::<Remote>();
    let (answers, answered) = mpsc::channel();
    let thread = thread::spawn(move || {
        for remote in incoming {
            answers.send(remote.blocking_call(|_, reply| reply.send(()))).unwrap();
        }
    });
    for round in 0..500 {
        let reactor = bare(ground);
        remotes.send(reactor.remote()).unwrap();
        for _ in 0..round % 50 {
            std::hint::spin_loop();
        }
        drop(reactor);
        let answer = answered.recv_timeout(Duration::from_secs(20));
        assert_eq!(answer.expect("the thread hangs"), Err(BlockingError::Dropped));
    }
    drop(remotes);
    thread.join().unwrap();
});
