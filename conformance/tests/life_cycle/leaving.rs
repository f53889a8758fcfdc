//! Stop and crash from inside every kind of callback.

use marline_conformance::on_every_driver;
use marline_core::{Event, NotRunning, Turn};

use super::places::{RUNNING, STARTING, STOPPING, counted};
use super::{Diary, Latch, reactor, stop};
use crate::streams::kit::open_kinds;

on_every_driver!(stop_works_from_inside_every_callback, |ground| {
    for place in RUNNING.iter().chain(STARTING) {
        let reactor = reactor(ground);
        let diary = Diary::default();
        diary.follow(&reactor, Event::Shutdown);
        let (action, count) = counted(stop);
        (place.arrange)(&reactor, action);
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after", "{}", place.name);
        assert_eq!(count.get(), 1, "{}", place.name);
        assert!(!reactor.is_running(), "{}", place.name);
        assert!(open_kinds(&reactor).is_empty(), "{}: {:?}", place.name, reactor.open());
    }
});

on_every_driver!(crash_works_from_inside_every_callback_of_a_running_reactor, |ground| {
    for place in RUNNING {
        let reactor = reactor(ground);
        let diary = Diary::default();
        diary.follow(&reactor, Event::Shutdown);
        let (action, count) = counted(|reactor| reactor.crash());
        (place.arrange)(&reactor, action);
        reactor.run().unwrap();
        assert_eq!((diary.take().as_str(), count.get()), ("", 1), "{}", place.name);
        assert!(!reactor.is_running(), "{}", place.name);
        // It is none the worse for it.
        reactor.call_when_running(stop);
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after", "{}", place.name);
        assert!(open_kinds(&reactor).is_empty(), "{}: {:?}", place.name, reactor.open());
    }
});

on_every_driver!(a_crash_before_startup_is_over_means_that_it_never_ran, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    reactor.call_when_running(diary.noting("running"));
    let (action, count) = counted(|reactor| reactor.crash());
    (STARTING[0].arrange)(&reactor, action);
    reactor.run().unwrap();
    assert_eq!((diary.take().as_str(), count.get()), ("", 1));
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "running");
});

on_every_driver!(stop_is_refused_inside_every_callback_of_a_shutdown, |ground| {
    for place in STOPPING {
        let reactor = reactor(ground);
        let diary = Diary::default();
        diary.follow(&reactor, Event::Shutdown);
        let (action, count) = counted(|reactor| assert_eq!(reactor.stop(), Err(NotRunning)));
        (place.arrange)(&reactor, action);
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after", "{}", place.name);
        assert_eq!(count.get(), 1, "{}", place.name);
        // And not kept for the next run.
        let (action, count) = counted(stop);
        reactor.call_later(std::time::Duration::from_millis(1), move |reactor| action(reactor));
        reactor.run().unwrap();
        assert_eq!(count.get(), 1, "{}", place.name);
    }
});

on_every_driver!(crash_does_not_keep_a_shutdown_that_has_begun_from_its_end, |ground| {
    // From during on there is nothing left that a crash could spare.
    for place in &STOPPING[1..] {
        let reactor = reactor(ground);
        let diary = Diary::default();
        diary.follow(&reactor, Event::Shutdown);
        let (action, count) = counted(|reactor| reactor.crash());
        (place.arrange)(&reactor, action);
        reactor.run().unwrap();
        assert_eq!(diary.take(), "before during after", "{}", place.name);
        assert_eq!(count.get(), 1, "{}", place.name);
    }
});

on_every_driver!(a_crash_before_shutdown_leaves_the_rest_of_it_undone, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let (action, _) = counted(|reactor| reactor.crash());
    (STOPPING[0].arrange)(&reactor, action);
    diary.follow(&reactor, Event::Shutdown);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "");
    // It is left for the next.
    reactor.call_soon(stop);
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before during after");
});

on_every_driver!(a_crash_while_shutdown_waits_leaves_the_rest_of_it_undone, |ground| {
    let reactor = reactor(ground);
    let diary = Diary::default();
    let latch = Latch::before(&reactor, Event::Shutdown);
    diary.follow(&reactor, Event::Shutdown);
    reactor.call_soon(stop);
    reactor.call_later(std::time::Duration::from_millis(1), |reactor| reactor.crash());
    reactor.run().unwrap();
    assert_eq!(diary.take(), "before");
    latch.fire();
    reactor.start().unwrap();
    assert_eq!(reactor.turn(Some(std::time::Duration::ZERO)).unwrap(), Turn::Continue);
    assert!(reactor.is_running());
    assert_eq!(diary.take(), "");
});
