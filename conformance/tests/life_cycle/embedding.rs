//! A reactor inside a foreign loop, and one that has nothing to do.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{Event, Reactor, Time, Turn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Diary, bare, stop};
use crate::streams::kit::{Ends, Outcome, Probe, listen_once, open_kinds, started};

/// A foreign loop: it waits for the descriptor and for the moment the reactor asks for, and has the reactor turned without waiting. A
/// simulated reactor has no descriptor: the foreign loop has nothing but the moment.
fn foreign_loop(ground: Ground, reactor: &Reactor, mut until: impl FnMut() -> bool) {
    let descriptor = reactor.descriptor().map(Result::unwrap);
    assert_eq!(descriptor.is_none(), ground.is_simulated());
    for _ in 0..100_000 {
        if until() {
            return;
        }
        let limit = Duration::from_secs(10);
        let wait =
            reactor.next_wakeup().map_or(limit, |wakeup| wakeup.since(reactor.now()).min(limit));
        let turn = match &descriptor {
            Some(descriptor) => {
                let time = Timespec {
                    tv_sec: wait.as_secs() as i64,
                    tv_nsec: i64::from(wait.subsec_nanos()),
                };
                let ready = poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&time));
                assert!(ready.unwrap() > 0 || wait < limit, "the foreign loop was never woken");
                reactor.turn(Some(Duration::ZERO)).unwrap()
            }
            None => reactor.turn(Some(wait)).unwrap(),
        };
        if turn == Turn::Stopped {
            return;
        }
    }
    panic!("the foreign loop was woken again and again for nothing");
}

on_every_driver!(a_foreign_loop_runs_it_by_descriptor_and_next_wakeup, |ground| {
    let reactor = started(ground);
    // A conversation in which either side waits for the other, and both for a timer in the middle.
    let server = Probe::new().on_data(|transport, data| transport.write(data));
    let port = listen_once(&reactor, server);
    let client =
        Probe::new().on_made(|transport| transport.write(b"x")).on_data(|transport, data| {
            let (transport, data) = (transport.clone(), data.to_vec());
            transport
                .reactor()
                .unwrap()
                .call_later(Duration::from_micros(100), move |_| transport.write(&data));
        });
    let tape = client.tape();
    let connected = Outcome::of(reactor.connect_tcp(port.local_addr(), client));
    foreign_loop(ground, &reactor, || tape.received() >= 20);
    assert!(connected.take().is_ok());
    let diary = Diary::default();
    diary.follow(&reactor, Event::Shutdown);
    stop(&reactor);
    foreign_loop(ground, &reactor, || false);
    assert_eq!((diary.take().as_str(), tape.reason().as_str()), ("before during after", "Stopped"));
});

on_every_driver!(a_foreign_loop_hears_of_what_is_asked_for_between_turns, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    for round in 1..=3 {
        transport.pause_reading();
        ends.idle();
        ends.server.transport().write(b"x");
        ends.idle();
        transport.resume_reading();
        foreign_loop(ground, &ends.reactor, || ends.client.received() == round);
    }
    // More than the buffers between them hold: to be written as the peer reads.
    let len = 8 << 20;
    transport.write(&vec![7; len]);
    foreign_loop(ground, &ends.reactor, || ends.server.received() == len);
    let again = Ends::begin_on(ends.reactor.clone(), Probe::new(), Probe::new());
    foreign_loop(ground, &ends.reactor, || again.client.is_made() && again.server.is_made());
});

on_every_driver!(a_foreign_loop_hears_of_jobs_and_of_calls_from_threads, |ground| {
    let reactor = started(ground);
    let job = Outcome::of(reactor.defer_to_thread(|| 7));
    foreign_loop(ground, &reactor, || job.is_there());
    assert_eq!(job.take().unwrap(), 7);
    // A simulated reactor has nothing that could wake a foreign loop; it is asked what comes next.
    let (sender, receiver) = std::sync::mpsc::channel();
    let remote = reactor.remote();
    let thread = std::thread::spawn(move || remote.call(move |_| sender.send(()).unwrap()));
    if ground.is_simulated() {
        thread.join().unwrap();
        assert_eq!(reactor.next_wakeup(), Some(Time::ZERO));
    }
    foreign_loop(ground, &reactor, || receiver.try_recv().is_ok());
});

// 25 is in `time/`.
on_every_driver!(next_wakeup_is_now_while_there_is_work_and_never_without, |ground| {
    let reactor = bare(ground);
    let check = |what: &str| {
        assert_eq!(reactor.next_wakeup(), Some(Time::ZERO), "{what}");
        reactor.turn(Some(Duration::ZERO)).unwrap();
    };
    assert_eq!(reactor.next_wakeup(), None);
    reactor.start().unwrap();
    assert_eq!(reactor.next_wakeup(), None);
    reactor.call_soon(|_| {});
    check("a call");
    assert_eq!(reactor.next_wakeup(), None);
    reactor.remote().call(|_| {});
    check("a call from a thread");
    // The thread's wake-up itself may still be on its way.
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.call_when_running(|_| {});
    check("a call now that it runs");
    reactor.spawn(async {}).ignore();
    check("a task");
    assert_eq!(reactor.next_wakeup(), None);
    reactor.call_soon(|reactor| reactor.call_soon(|_| {}));
    check("a call");
    check("a call by a call");
    assert_eq!(reactor.next_wakeup(), None);
    stop(&reactor);
    check("a stop");
    assert_eq!(reactor.next_wakeup(), None);
});

on_every_driver!(an_idle_reactor_makes_no_turn, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.client.transport().write(b"x");
    ends.until("the byte", |ends| ends.server.received() == 1);
    ends.idle();
    // A port, an idle connection, a paused one, a timer far away and one put off again and again: nothing that is to be done.
    ends.server.transport().pause_reading();
    let reactor = &ends.reactor;
    let _far = reactor.call_later(Duration::from_secs(3600), |_| {});
    let put_off = reactor.call_later(Duration::from_millis(10), |_| panic!("put off"));
    put_off.reset(Duration::from_secs(3600)).unwrap();
    assert_eq!(open_kinds(reactor).len(), 3);
    let over = Rc::new(Cell::new(false));
    let flag = Rc::clone(&over);
    let end = reactor.call_later(Duration::from_millis(50), move |_| flag.set(true));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // One that waits, one that runs the timer.
    let deadline = end.deadline();
    assert_eq!(reactor.next_wakeup(), deadline);
    reactor.turn(None).unwrap();
    assert!(reactor.now() >= deadline.unwrap(), "it was woken for nothing");
    assert!(!over.get());
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(over.get());
});
