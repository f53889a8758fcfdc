//! What goes on beside the loop: the waker, signals, jobs and names.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use marline_core::driver::{Answer, Capability, Completion, Job, JobId};
use rustix::process::{Signal, getpid, kill_process};

use super::{Bench, PATIENCE, each};

#[test]
fn a_call_before_the_wait_ends_it_and_counts_once() {
    each(|mut bench| {
        let waker = bench.driver.waker();
        for _ in 0..3 {
            waker();
            waker();
            // For ever, if the call did not count.
            bench.driver.wait(None).unwrap();
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
            bench.assert_idle();
        }
    });
}

#[test]
fn a_call_from_another_thread_ends_a_wait_that_goes_on() {
    each(|mut bench| {
        let waker = bench.driver.waker();
        let caller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            waker();
        });
        bench.driver.wait(None).unwrap();
        caller.join().unwrap();
    });
}

#[test]
fn no_call_is_lost_however_they_meet_the_wait() {
    each(|mut bench| {
        let waker = bench.driver.waker();
        let (request, requests) = channel();
        let (grant, grants) = channel();
        let caller = thread::spawn(move || {
            for number in 0..20_000_u32 {
                request.send(number).unwrap();
                waker();
                grants.recv().unwrap();
            }
        });
        for expected in 0..20_000 {
            let number = loop {
                if let Ok(number) = requests.try_recv() {
                    break number;
                }
                bench.driver.wait(None).unwrap();
                assert_eq!(bench.driver.next(&mut bench.scratch), None);
            };
            assert_eq!(number, expected);
            grant.send(()).unwrap();
        }
        caller.join().unwrap();
    });
}

#[test]
fn a_waker_outlives_its_driver() {
    each(|bench| {
        let waker = bench.driver.waker();
        drop(bench);
        waker();
    });
}

#[test]
fn a_signal_reaches_every_driver_that_watches_it_and_no_other() {
    each(|mut one| {
        assert!(one.driver.supports(Capability::Signals));
        let number = Signal::USR1.as_raw();
        let mut two = one.another();
        one.driver.watch_signal(number, true).unwrap();
        one.driver.watch_signal(number, true).unwrap();
        two.driver.watch_signal(number, true).unwrap();
        kill_process(getpid(), Signal::USR1).unwrap();
        assert_eq!(one.next(), Completion::Signal { number });
        assert_eq!(two.next(), Completion::Signal { number });
        one.driver.watch_signal(number, false).unwrap();
        one.driver.watch_signal(number, false).unwrap();
        kill_process(getpid(), Signal::USR1).unwrap();
        assert_eq!(two.next(), Completion::Signal { number });
        one.assert_idle();
        drop(two);
        // Nobody watches any more, and the process lives on.
        kill_process(getpid(), Signal::USR1).unwrap();
        one.assert_idle();
    });
}

#[test]
fn a_signal_watched_anew_is_reported_again_but_not_what_came_before() {
    each(|mut bench| {
        let number = Signal::USR2.as_raw();
        bench.driver.watch_signal(number, true).unwrap();
        kill_process(getpid(), Signal::USR2).unwrap();
        bench.settle();
        bench.driver.watch_signal(number, false).unwrap();
        bench.quiet(Duration::from_millis(10));
        bench.driver.watch_signal(number, true).unwrap();
        bench.assert_idle();
        kill_process(getpid(), Signal::USR2).unwrap();
        assert_eq!(bench.next(), Completion::Signal { number });
    });
}

#[test]
fn signals_that_nobody_can_catch_are_refused() {
    each(|mut bench| {
        for number in [Signal::KILL.as_raw(), Signal::STOP.as_raw(), 0, -1, 65, i32::MAX] {
            let error = bench.driver.watch_signal(number, true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
            assert!(bench.driver.watch_signal(number, false).is_ok());
        }
    });
}

#[test]
fn a_job_runs_on_a_worker_and_its_answer_is_fetched_once() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::Work));
        bench.driver.work(JobId(7), job(|| thread::current().name().map(str::to_owned))).unwrap();
        assert_eq!(bench.next(), Completion::Answered { id: JobId(7) });
        let name: Option<String> = answer(&mut bench, 7);
        assert_eq!(name.as_deref(), Some("marline-worker-1"));
        assert!(bench.driver.take_answer(JobId(7)).is_none());
        assert_eq!(bench.driver.workers(), (1, 0));
    });
}

#[test]
fn a_job_that_panics_is_an_answer_and_the_worker_goes_on() {
    each(|mut bench| {
        bench.driver.set_workers(1);
        bench.driver.work(JobId(1), job(|| panic!("on purpose: {}", 1))).unwrap();
        bench.driver.work(JobId(2), job(|| panic!("in words"))).unwrap();
        bench.driver.work(JobId(3), job(|| std::panic::panic_any(DropBomb))).unwrap();
        bench.driver.work(JobId(4), job(|| 4)).unwrap();
        for (id, message) in [(1, "on purpose: 1"), (2, "in words"), (3, "no message")] {
            assert_eq!(bench.next(), Completion::Answered { id: JobId(id) });
            match bench.driver.take_answer(JobId(id)) {
                Some(Answer::Panicked(said)) => assert_eq!(said, message),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bench.next(), Completion::Answered { id: JobId(4) });
        assert_eq!(answer::<i32>(&mut bench, 4), 4);
        assert_eq!(bench.driver.workers(), (1, 0));
    });
}

#[test]
fn jobs_run_side_by_side_up_to_the_bound_and_in_order_beyond() {
    each(|mut bench| {
        bench.driver.set_workers(3);
        // Each of the first three waits for the others: three threads or nothing.
        let meeting = Arc::new(Barrier::new(3));
        for id in 0..3 {
            let meeting = Arc::clone(&meeting);
            let wait = job(move || meeting.wait().is_leader());
            bench.driver.work(JobId(id), wait).unwrap();
        }
        let met: BTreeSet<_> = (0..3).map(|_| answered(&mut bench)).collect();
        assert_eq!(met, BTreeSet::from([0, 1, 2]));
        assert_eq!(bench.driver.workers().0, 3);

        let mut bench = bench.another();
        bench.driver.set_workers(1);
        for id in 0..50 {
            bench.driver.work(JobId(id), job(|| ())).unwrap();
        }
        let order: Vec<u64> = (0..50).map(|_| answered(&mut bench)).collect();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
        assert_eq!(bench.driver.workers(), (1, 0));
    });
}

#[test]
fn stopping_the_workers_drops_what_has_not_begun_and_joins_the_rest() {
    each(|mut bench| {
        bench.driver.set_workers(1);
        let (begin, begun) = channel();
        let (release, hold) = channel();
        bench
            .driver
            .work(
                JobId(1),
                job(move || {
                    begin.send(()).unwrap();
                    hold.recv().unwrap();
                }),
            )
            .unwrap();
        let (witness, dropped) = channel();
        let witness = Witness(witness);
        bench.driver.work(JobId(2), job(move || drop(witness))).unwrap();
        begun.recv().unwrap();
        assert_eq!(bench.driver.workers(), (1, 1));
        let releaser = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            release.send(()).unwrap();
        });
        bench.driver.stop_workers();
        releaser.join().unwrap();
        assert_eq!(bench.driver.workers(), (0, 0));
        // Where the user's code belongs: not on the loop, which is inside the driver just now.
        assert_eq!(dropped.recv().unwrap().as_deref(), Some("marline-worker-1"));
        // What was running is answered all the same; what had not begun is not.
        assert_eq!(answered(&mut bench), 1);
        bench.assert_idle();
        bench.driver.work(JobId(3), job(|| ())).unwrap();
        assert_eq!(answered(&mut bench), 3);
        assert_eq!(bench.driver.workers(), (1, 0));
    });
}

#[test]
fn dropping_a_driver_does_not_wait_for_its_jobs() {
    each(|mut bench| {
        let (release, hold) = channel::<()>();
        let (report, reports) = channel();
        let forever = job(move || {
            report.send("begun").unwrap();
            let _ = hold.recv();
            report.send("finished").unwrap();
        });
        bench.driver.work(JobId(1), forever).unwrap();
        assert_eq!(reports.recv().unwrap(), "begun");
        drop(bench);
        drop(release);
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), "finished");
    });
}

#[test]
fn localhost_is_this_machine() {
    each(|mut bench| {
        assert!(bench.driver.supports(Capability::Resolve));
        bench.driver.resolve(JobId(1), "localhost").unwrap();
        assert_eq!(answered(&mut bench), 1);
        let Some(Answer::Resolved(Ok(addrs))) = bench.driver.take_answer(JobId(1)) else {
            panic!("not resolved")
        };
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        assert!(!addrs.is_empty() && addrs.iter().all(|addr| loopback.contains(addr)), "{addrs:?}");
        // Names have threads of their own.
        assert_eq!(bench.driver.workers(), (0, 0));
    });
}

#[test]
fn a_name_that_cannot_be_is_an_answer_too() {
    each(|mut bench| {
        bench.driver.resolve(JobId(1), "no such name").unwrap();
        assert_eq!(answered(&mut bench), 1);
        match bench.driver.take_answer(JobId(1)) {
            Some(Answer::Resolved(Err(error))) => assert_eq!(error.kind(), ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
    });
}

/// Tells on which thread it was dropped.
struct Witness(Sender<Option<String>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.send(thread::current().name().map(str::to_owned)).unwrap();
    }
}

/// A payload that panics when dropped.
struct DropBomb;

impl Drop for DropBomb {
    fn drop(&mut self) {
        panic!("the payload of a panic panics");
    }
}

fn job<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Job {
    Box::new(move || Box::new(job()))
}

fn answered(bench: &mut Bench) -> u64 {
    match bench.next() {
        Completion::Answered { id } => id.0,
        other => panic!("not an answer: {other:?}"),
    }
}

fn answer<T: 'static>(bench: &mut Bench, id: u64) -> T {
    match bench.driver.take_answer(JobId(id)) {
        Some(Answer::Worked(value)) => *value.downcast().expect("a value of another type"),
        other => panic!("{other:?}"),
    }
}
