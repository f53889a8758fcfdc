//! Jobs on worker threads: their answers, their order, how many run at once, and when the workers end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::deferred::Interrupt;
use marline_core::{BlockingError, Event, Phase, Reactor};

use super::turn_for_threads;
use crate::life_cycle::panics::errors_of;
use crate::life_cycle::{Diary, Witness, bare, patient, reactor, stop};
use crate::streams::kit::Outcome;

/// Has workers wait until it is opened. A simulated reactor's jobs run inline, where waiting would be for ever: there it is open from the start.
#[derive(Clone)]
struct Gate(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Gate {
    fn new(open: bool) -> Self {
        Self(Arc::new((Mutex::new(open), std::sync::Condvar::new())))
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(closed, |open| !*open).unwrap());
    }
}

on_every_driver!(a_job_runs_on_a_worker_and_its_answer_comes_back, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let here = thread::current().id();
    let answer =
        Outcome::of(reactor.defer_to_thread(|| (thread::current().id(), String::from("done"))));
    assert!(!answer.is_there());
    turn_for_threads(&reactor, || answer.is_there());
    let (worker, text) = answer.take().unwrap();
    assert_eq!(text, "done");
    // Section 4 of the design: in a simulation the job runs inline.
    assert_eq!(worker == here, ground.is_simulated());
});

on_every_driver!(the_answer_of_a_job_never_comes_inside_defer_to_thread, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_soon({
        let diary = diary.clone();
        move |reactor| {
            let (answered, handle) = (diary.clone(), reactor.clone());
            reactor.defer_to_thread(|| ()).done(move |_| {
                answered.note("answer");
                stop(&handle);
            });
            diary.note("begun");
        }
    });
    reactor.run().unwrap();
    assert_eq!(diary.take(), "begun answer");
});

on_every_driver!(a_panic_in_a_job_is_the_failure_of_its_deferred, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let errors = errors_of(|| {
        let answer = Outcome::of(reactor.defer_to_thread(|| -> u8 { panic!("no such file") }));
        turn_for_threads(&reactor, || answer.is_there());
        let failure = answer.take().unwrap_err();
        assert!(failure.to_string().contains("no such file"), "{failure}");
    });
    assert!(errors.is_empty(), "{errors:#?}");
});

// Section 4.5 of the reference.
on_every_driver!(a_cancelled_job_still_runs_to_its_end, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    reactor.set_workers(1);
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let deferred = reactor.defer_to_thread(move || flag.store(true, Ordering::Release));
    deferred.cancel();
    let answer = Outcome::of(deferred);
    // At once, whatever the job does.
    let failure = answer.take().unwrap_err();
    assert_eq!(failure.check::<Interrupt>(), Some(&Interrupt::Cancelled));
    let next = Outcome::of(reactor.defer_to_thread(|| ()));
    turn_for_threads(&reactor, || next.is_there());
    assert!(ran.load(Ordering::Acquire));
    assert!(!answer.is_there(), "answered twice");
});

on_every_driver!(the_answer_of_a_cancelled_job_is_dropped_and_keeps_nothing, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    reactor.set_workers(1);
    let kept = Arc::new(());
    let answer = Arc::clone(&kept);
    let job = reactor.defer_to_thread(move || answer);
    job.cancel();
    job.ignore();
    let next = Outcome::of(reactor.defer_to_thread(|| ()));
    turn_for_threads(&reactor, || next.is_there());
    turn_for_threads(&reactor, || Arc::strong_count(&kept) == 1);
});

on_every_driver!(one_worker_runs_jobs_in_the_order_they_were_given, |ground| {
    let reactor = patient(ground);
    reactor.set_workers(1);
    let order: Arc<Mutex<Vec<usize>>> = Arc::default();
    let answers: Rc<RefCell<Vec<usize>>> = Rc::default();
    let give = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let (order, answers) = (Arc::clone(&order), Rc::clone(&answers));
            let job = reactor.defer_to_thread(move || order.lock().unwrap().push(number));
            job.done(move |_| answers.borrow_mut().push(number));
        }
    };
    give(0..50);
    reactor.start().unwrap();
    give(50..100);
    turn_for_threads(&reactor, || answers.borrow().len() == 100);
    assert!(order.lock().unwrap().iter().copied().eq(0..100));
    assert!(answers.borrow().iter().copied().eq(0..100));
});

// 34
on_every_driver!(a_job_given_before_the_run_waits_for_it, |ground| {
    let reactor = patient(ground);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let ran = Arc::clone(&ran);
        reactor.call_in_thread(move || _ = ran.fetch_add(1, Ordering::Release));
    }
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!((ran.load(Ordering::Acquire), reactor.workers()), (0, (0, 3)));
    reactor.start().unwrap();
    let last = Outcome::of(reactor.defer_to_thread(|| ()));
    turn_for_threads(&reactor, || last.is_there() && ran.load(Ordering::Acquire) == 3);
});

// 34
on_every_driver!(a_job_given_while_it_starts_waits_for_the_run_and_its_turn, |ground| {
    let reactor = patient(ground);
    reactor.set_workers(1);
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let job = |what: &'static str| {
        let order = Arc::clone(&order);
        move || order.lock().unwrap().push(what)
    };
    reactor.call_in_thread(job("before"));
    let starting = job("while it starts");
    reactor.add_trigger(Phase::Before, Event::Startup, move |reactor| {
        reactor.call_in_thread(starting)
    });
    reactor.call_when_running(|reactor| {
        let handle = reactor.clone();
        reactor.defer_to_thread(|| ()).done(move |_| stop(&handle));
    });
    reactor.run().unwrap();
    assert_eq!(*order.lock().unwrap(), ["before", "while it starts"]);
});

// 35
on_every_driver!(the_suggested_size_becomes_the_maximum, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    reactor.set_workers(3);
    let gate = Gate::new(ground.is_simulated());
    let jobs: Vec<_> = (0..20)
        .map(|_| {
            let gate = gate.clone();
            Outcome::of(reactor.defer_to_thread(move || gate.pass()))
        })
        .collect();
    // Three have begun; in a simulation by the clock of the workers.
    while reactor.workers() != (3, 17) {
        assert!(reactor.workers().0 <= 3);
        thread::yield_now();
    }
    gate.open();
    turn_for_threads(&reactor, || jobs.iter().all(Outcome::is_there));
    assert_eq!(reactor.workers(), (3, 0));
});

// 35
on_every_driver!(as_many_jobs_run_at_once_as_there_are_workers, |ground| {
    if ground.is_simulated() {
        // Jobs run inline, one after the other; only their answers overlap.
        return;
    }
    let reactor = patient(ground);
    reactor.start().unwrap();
    reactor.set_workers(4);
    let together = Arc::new(std::sync::Barrier::new(4));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let jobs: Vec<_> = (0..16)
        .map(|_| {
            let (together, running, most) =
                (Arc::clone(&together), Arc::clone(&running), Arc::clone(&most));
            Outcome::of(reactor.defer_to_thread(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // None gets on before four have come.
                together.wait();
                running.fetch_sub(1, Ordering::SeqCst);
            }))
        })
        .collect();
    turn_for_threads(&reactor, || jobs.iter().all(Outcome::is_there));
    assert_eq!(most.load(Ordering::SeqCst), 4);
});

// 34, 40
on_every_driver!(workers_have_ended_when_run_returns, |ground| {
    for before_the_run in [true, false] {
        let reactor = patient(ground);
        let finished = Arc::new(AtomicBool::new(false));
        let gate = Gate::new(ground.is_simulated());
        let job = {
            let (finished, gate) = (Arc::clone(&finished), gate.clone());
            move || {
                gate.pass();
                // So that whoever does not wait is likely to be too early.
                for _ in 0..1000 {
                    thread::yield_now();
                }
                finished.store(true, Ordering::Release);
            }
        };
        if before_the_run {
            reactor.call_in_thread(job);
            reactor.call_when_running(stop);
        } else {
            reactor.call_when_running(move |reactor| {
                reactor.call_in_thread(job);
                stop(reactor);
            });
        }
        // Taken up, so that it is waited for, and then let go.
        let busy = gate.clone();
        reactor.add_trigger(Phase::Before, Event::Shutdown, move |reactor| {
            while reactor.workers() != (1, 0) {
                thread::yield_now();
            }
            busy.open();
        });
        let ended = Rc::new(RefCell::new(Vec::new()));
        for phase in [Phase::Before, Phase::During, Phase::After] {
            let ended = Rc::clone(&ended);
            reactor.add_trigger(phase, Event::Shutdown, move |reactor| {
                ended.borrow_mut().push(reactor.workers().0);
            });
        }
        reactor.run().unwrap();
        assert!(finished.load(Ordering::Acquire), "before the run: {before_the_run}");
        assert_eq!((ended.take(), reactor.workers()), (vec![1, 0, 0], (0, 0)));
    }
});

// 40: they come back when they are needed.
on_every_driver!(workers_work_again_in_the_next_run, |ground| {
    let reactor = patient(ground);
    for round in 0..3 {
        let answer: Rc<RefCell<Option<i32>>> = Rc::default();
        let slot = Rc::clone(&answer);
        reactor.call_when_running(move |reactor| {
            let handle = reactor.clone();
            reactor.defer_to_thread(move || round).done(move |result| {
                *slot.borrow_mut() = Some(result.unwrap());
                stop(&handle);
            });
        });
        reactor.run().unwrap();
        assert_eq!((answer.take(), reactor.workers()), (Some(round), (0, 0)));
    }
});

// 41
on_every_driver!(firing_shutdown_ends_the_workers_of_a_reactor_that_does_not_run, |ground| {
    let never = patient(ground);
    never.fire_event(Event::Shutdown);
    assert_eq!(never.workers(), (0, 0));
    // One that crashed still has them.
    let crashed = patient(ground);
    crashed.call_when_running(|reactor| {
        let handle = reactor.clone();
        reactor.defer_to_thread(|| ()).done(move |_| handle.crash());
    });
    crashed.run().unwrap();
    assert_eq!(crashed.workers(), (1, 0));
    crashed.fire_event(Event::Shutdown);
    assert_eq!(crashed.workers(), (0, 0));
});

on_every_driver!(a_job_that_shutdown_drops_fails_its_deferred, |ground| {
    let reactor = patient(ground);
    reactor.set_workers(1);
    let gate = Gate::new(ground.is_simulated());
    let witness = Witness::default();
    let outcomes: Rc<RefCell<Vec<Outcome<(), _>>>> = Rc::default();
    let (jobs, busy, kept) = (Rc::clone(&outcomes), gate.clone(), witness.clone());
    reactor.call_when_running(move |reactor| {
        for _ in 0..5 {
            let (busy, kept) = (busy.clone(), kept.clone());
            let job = reactor.defer_to_thread(move || busy.pass());
            jobs.borrow_mut().push(Outcome::of(job.finally(move || drop(kept))));
        }
        drop(kept);
        stop(reactor);
    });
    reactor.add_trigger(Phase::Before, Event::Shutdown, move |reactor| {
        while reactor.workers() != (1, 4) {
            thread::yield_now();
        }
        // Only after shutdown has begun to end the workers; those that wait are dropped.
        let remote = reactor.remote();
        thread::spawn(move || {
            drop(remote);
            gate.open();
        });
    });
    reactor.run().unwrap();
    let told = outcomes.borrow().iter().filter(|outcome| outcome.is_there()).count();
    assert_eq!(
        (told, witness.kept()),
        (5, 0),
        "whoever waits for one of the others waits for ever"
    );
});

on_every_driver!(a_blocking_call_of_a_job_is_answered, |ground| {
    let reactor = patient(ground);
    reactor.start().unwrap();
    let remote = reactor.remote();
    let answer = Outcome::of(reactor.defer_to_thread(move || {
        remote.blocking_call(|reactor, reply| reply.send(reactor.is_running()))
    }));
    turn_for_threads(&reactor, || answer.is_there());
    // In a simulation the job runs in the reactor's thread, and must not wait for it.
    let expected = if ground.is_simulated() { Err(BlockingError::ReactorThread) } else { Ok(true) };
    assert_eq!(answer.take().unwrap(), expected);
});

on_every_driver!(a_job_that_waits_for_a_reactor_which_waits_for_it_gets_an_error, |ground| {
    if ground.is_simulated() {
        // Its jobs are over when they have begun.
        return;
    }
    // A call that nobody will take, for the loop is over; and one that was taken, but whose answer would come later.
    for taken in [false, true] {
        let (finished, finish) = mpsc::channel();
        thread::spawn(move || finished.send(call_at_the_end(ground, taken)).unwrap());
        let answer = finish.recv_timeout(Duration::from_secs(20));
        let answer = answer.expect("the reactor and its job wait for each other");
        assert_eq!(answer, Err(BlockingError::Dropped), "taken: {taken}");
    }
});

/// Stops a reactor while a job waits for it; answers what the job got.
fn call_at_the_end(ground: Ground, taken: bool) -> Result<(), BlockingError> {
    let reactor = bare(ground);
    let (go, gone) = mpsc::channel();
    let (answers, answered) = mpsc::channel();
    let remote = reactor.remote();
    reactor.call_when_running(move |reactor| {
        reactor.call_in_thread(move || {
            gone.recv().unwrap();
            let answer = remote.blocking_call(|reactor, reply| {
                reactor.call_later(Duration::from_secs(3600), move |_| reply.send(()));
                // Harmless where it stops already.
                let _ = reactor.stop();
            });
            answers.send(answer).unwrap();
        });
        if taken {
            go.send(()).unwrap();
            return;
        }
        stop(reactor);
        reactor.add_trigger(Phase::Before, Event::Shutdown, move |reactor| {
            while reactor.workers() != (1, 0) {
                thread::yield_now();
            }
            go.send(()).unwrap();
        });
    });
    reactor.run().unwrap();
    answered.recv().unwrap()
}

on_every_driver!(a_job_keeps_nothing_once_it_is_over, |ground| {
    let reactor: Reactor = patient(ground);
    reactor.start().unwrap();
    let kept = Arc::new(());
    let job = Arc::clone(&kept);
    let answer = Outcome::of(reactor.defer_to_thread(move || job));
    turn_for_threads(&reactor, || answer.is_there());
    drop(answer.take().unwrap());
    // The worker may still be at dropping the empty closure.
    while Arc::strong_count(&kept) > 1 {
        thread::yield_now();
    }
});
