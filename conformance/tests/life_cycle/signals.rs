//! Signals. Real ones are the whole process's, and the tests share theirs: on a kernel each check runs in a child process of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::signal::{HUP, INT, TERM};
use marline_core::{Event, Phase, Reactor};

use super::{Diary, Latch, host, reactor, stop};

/// Runs a check in a process of its own where signals are real; `check` is the module that the macro made.
#[track_caller]
fn alone(ground: Ground, check: &str, run: impl FnOnce()) {
    if ground.is_simulated() || std::env::var_os(CHILD).is_some() {
        return run();
    }
    let output = child(check);
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(log.contains("1 passed"), "the child ran no test: {log}");
}

/// The test binary again, to run that one test.
fn child(check: &str) -> Output {
    let path = check.split_once("::").map_or(check, |(_, path)| path);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{path}::on_epoll"), "--test-threads=1", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap()
}

/// Set in a child.
const CHILD: &str = "MARLINE_CONFORMANCE_SIGNALS";

/// Sends a signal to the process that the reactor is in.
fn raise(reactor: &Reactor, number: i32) {
    if reactor.driver_name() == "sim" {
        host(reactor).signal(number);
    } else {
        let signal = rustix::process::Signal::from_named_raw(number).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
    }
}

/// Whether a signal would be heard by the reactor, which is the only one.
fn is_caught(reactor: &Reactor, number: i32) -> bool {
    if reactor.driver_name() == "sim" {
        return host(reactor).signal(number) > 0;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (number - 1)) != 0
}

// 5
on_every_driver!(signals_are_caught_from_during_startup, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        let check = |phase, event, numbers: [i32; 2], expected: bool| {
            let diary = diary.clone();
            reactor.add_trigger(phase, event, move |reactor| {
                for number in numbers {
                    diary.note(if is_caught(reactor, number) == expected {
                        "right"
                    } else {
                        "wrong"
                    });
                }
            });
        };
        assert!(!is_caught(&reactor, TERM) && !is_caught(&reactor, INT));
        check(Phase::Before, Event::Startup, [INT, TERM], false);
        // Looking raises a simulated one: then it stops.
        check(Phase::During, Event::Startup, [INT, TERM], true);
        reactor.call_later(Duration::from_millis(1), |reactor| _ = reactor.stop());
        reactor.run().unwrap();
        assert_eq!(diary.take(), "right right right right");
        if ground.is_simulated() {
            // A kernel's stays with the process, and does nothing: see the drivers' page.
            assert!(!is_caught(&reactor, TERM) && !is_caught(&reactor, INT));
        }
    });
});

// 21
on_every_driver!(a_signal_stops_the_reactor_and_its_number_is_remembered, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        assert_eq!(reactor.exit_signal(), None);
        for number in [INT, TERM] {
            diary.follow(&reactor, Event::Shutdown);
            reactor.call_when_running(move |reactor| raise(reactor, number));
            reactor.run().unwrap();
            assert_eq!(diary.take(), "before during after");
            assert_eq!(reactor.exit_signal(), Some(number));
        }
        // None is remembered of a run that was stopped otherwise.
        reactor.call_soon(stop);
        reactor.run().unwrap();
        assert_eq!(reactor.exit_signal(), None);
    });
});

on_every_driver!(a_second_signal_changes_nothing_about_a_stop, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        let latch = Latch::before(&reactor, Event::Shutdown);
        diary.follow(&reactor, Event::Shutdown);
        reactor.call_when_running(|reactor| raise(reactor, INT));
        reactor.add_trigger(Phase::Before, Event::Shutdown, |reactor| {
            raise(reactor, INT);
            reactor.call_later(Duration::from_millis(5), move |_| latch.fire());
        });
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after");
    });
});

on_every_driver!(a_subscriber_is_told_each_time_and_the_reactor_goes_on, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        let subscribe = |name: &'static str, number| {
            let diary = diary.clone();
            let subscribed =
                reactor.on_signal(number, move |_, number| diary.note(format!("{name}{number}")));
            subscribed.unwrap()
        };
        let handles = [subscribe("a", HUP), subscribe("b", HUP), subscribe("c", TERM)];
        for (turn, number) in [HUP, TERM, HUP].into_iter().enumerate() {
            let at = Duration::from_millis(10 * turn as u64 + 1);
            reactor.call_later(at, move |reactor| raise(reactor, number));
        }
        reactor.call_later(Duration::from_millis(50), stop);
        reactor.run().unwrap();
        assert_eq!(diary.take(), "a1 b1 c15 a1 b1");
        assert_eq!(reactor.exit_signal(), None);
        // With the subscription its effect ends: the signal stops the reactor again.
        drop(handles);
        reactor.call_when_running(|reactor| raise(reactor, TERM));
        reactor.run().unwrap();
        assert_eq!((diary.take().as_str(), reactor.exit_signal()), ("", Some(TERM)));
    });
});

on_every_driver!(a_subscriber_may_stop_subscribe_and_unsubscribe, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        let handles = Rc::new(std::cell::RefCell::new(Vec::new()));
        let handle = reactor.on_signal(HUP, {
            let (diary, handles) = (diary.clone(), Rc::clone(&handles));
            move |reactor, _| {
                diary.note("first");
                drop(handles.take());
                let diary = diary.clone();
                let handle = reactor.on_signal(HUP, move |reactor, _| {
                    diary.note("second");
                    stop(reactor);
                });
                handles.borrow_mut().push(handle.unwrap());
            }
        });
        handles.borrow_mut().push(handle.unwrap());
        reactor.call_later(Duration::from_millis(1), |reactor| raise(reactor, HUP));
        reactor.call_later(Duration::from_millis(20), |reactor| raise(reactor, HUP));
        reactor.run().unwrap();
        assert_eq!(diary.take(), "first second");
    });
});

on_every_driver!(a_subscription_that_another_subscriber_ends_is_not_told, |ground| {
    alone(ground, module_path!(), || {
        let reactor = ground.reactor();
        let diary = Diary::default();
        let second = Rc::new(std::cell::RefCell::new(None));
        let first = reactor.on_signal(HUP, {
            let second = Rc::clone(&second);
            move |_, _| drop(second.borrow_mut().take())
        });
        let doomed = diary.clone();
        *second.borrow_mut() =
            Some(reactor.on_signal(HUP, move |_, _| doomed.note("ended")).unwrap());
        reactor.call_later(Duration::from_millis(1), |reactor| raise(reactor, HUP));
        reactor.call_later(Duration::from_millis(20), stop);
        reactor.run().unwrap();
        drop(first);
        assert_eq!(diary.take(), "");
    });
});

on_every_driver!(every_reactor_of_a_process_hears_a_signal, |ground| {
    if ground.is_simulated() {
        // Reactors of one simulated process: one driver each, so there is one.
        return;
    }
    alone(ground, module_path!(), || {
        let (one, other) = (ground.reactor(), ground.reactor());
        one.start().unwrap();
        other.call_when_running(|reactor| raise(reactor, TERM));
        other.run().unwrap();
        while one.turn(None).unwrap() == marline_core::Turn::Continue {}
        assert_eq!((one.exit_signal(), other.exit_signal()), (Some(TERM), Some(TERM)));
    });
});

on_every_driver!(a_reactor_that_leaves_signals_alone_is_not_stopped_by_them, |ground| {
    if ground.is_simulated() {
        let reactor = reactor(ground);
        let diary = Diary::default();
        reactor.call_when_running(|reactor| assert_eq!(host(reactor).signal(TERM), 0));
        reactor.call_later(Duration::from_millis(5), diary.noting("still runs"));
        reactor.call_later(Duration::from_millis(10), stop);
        reactor.run().unwrap();
        assert_eq!((diary.take().as_str(), reactor.exit_signal()), ("still runs", None));
        return;
    }
    // What the signal does without us: it ends the process.
    if std::env::var_os(CHILD).is_none() {
        assert_eq!(child(module_path!()).status.signal(), Some(TERM));
        return;
    }
    let reactor = reactor(ground);
    reactor.call_when_running(|reactor| raise(reactor, TERM));
    reactor.run().unwrap();
});

on_every_driver!(a_signal_that_cannot_be_caught_is_an_error, |ground| {
    if ground.is_simulated() {
        // There is no such signal in a simulation.
        return;
    }
    let reactor = ground.reactor();
    for number in [9, 19, 0, 65, -1] {
        assert!(reactor.on_signal(number, |_, _| {}).is_err(), "{number}");
    }
});
