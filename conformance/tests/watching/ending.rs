//! How watches end: stopped, all at once, failed, panicked, with their reactor; the list of those there are.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::driver::Interest;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::{Spy, sleeps, spy_on, turn, watching};
use crate::life_cycle::run_until;
use crate::streams::kit::{Ends, Probe};

// 44
on_every_driver!(a_stopped_watch_is_called_no_more_and_hears_its_end_once, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (mut one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let (watch, tape) = spy_on(&reactor, &one, Interest::BOTH);
    let handle = watch.clone();
    watch.stop();
    handle.stop();
    // Not from inside the call.
    assert_eq!(tape.story(), "");
    assert!(!watch.is_active());
    // Also the selector has forgotten it, although its owner's descriptor is open and ready.
    assert!(sleeps(&reactor));
    assert_eq!((tape.story(), tape.reason()), ("lost".into(), Some("Done".into())));
    assert!(tape.is_dropped());
    // The owner's own descriptor is as it was.
    one.read_exact(&mut [0; 1]).unwrap();
    one.write_all(b"y").unwrap();
    watch.set_interest(Interest::BOTH);
    assert!(sleeps(&reactor));
    assert_eq!((tape.story(), watch.interest()), (String::new(), Interest::NONE));
});

// 44
on_every_driver!(a_watch_stopped_after_it_was_found_ready_is_not_called, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    // Found readable and writable together: the first callback stops it.
    let spy = Spy::new().on_readable(|watch| {
        watch.stop();
        Ok(())
    });
    let tape = spy.tape();
    reactor.watch(&one, Interest::BOTH, spy).unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "readable lost");
});

// 45
on_every_driver!(the_list_of_watches_mirrors_what_is_watched, |ground| {
    let Some(reactor) = watching(ground) else { return };
    assert!(reactor.watches().is_empty());
    let (reader, writer) = io::pipe().unwrap();
    let (first, _) = spy_on(&reactor, &reader, Interest::READ);
    let (second, _) = spy_on(&reactor, &writer, Interest::NONE);
    let mut watches = reactor.watches();
    watches.retain(|watch| *watch != first && *watch != second);
    assert_eq!((reactor.watches().len(), watches.len()), (2, 0));
    let readers = || reactor.watches().iter().filter(|watch| watch.interest().read).count();
    assert_eq!(readers(), 1);
    second.set_interest(Interest::BOTH);
    assert_eq!(readers(), 2);
    first.stop();
    assert!(matches!(&reactor.watches()[..], [only] if *only == second));
    let open = reactor.open();
    assert_eq!((open.len(), open[0].kind), (1, "watch"));
    assert!(open[0].site.file().ends_with("watching/ending.rs"), "{}", open[0]);
    // A handle is not the watch.
    drop(second);
    assert_eq!(reactor.watches().len(), 1);
});

// 46
on_every_driver!(stopping_all_returns_all_and_leaves_waker_connections_and_timers, |ground| {
    if watching(ground).is_none() {
        return;
    }
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let reactor = &ends.reactor;
    let timer = reactor.call_later(std::time::Duration::from_secs(60), |_| {});
    let (reader, writer) = io::pipe().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let mut tapes = Vec::new();
    for descriptor in [reader.as_fd(), writer.as_fd(), file.as_fd()] {
        tapes.push(spy_on(reactor, &descriptor, Interest::READ).1);
    }
    let stopped = reactor.stop_watching_all();
    assert_eq!(stopped.len(), 3);
    assert!(stopped.iter().all(|watch| !watch.is_active()));
    assert!(reactor.watches().is_empty() && reactor.stop_watching_all().is_empty());
    turn(reactor);
    for tape in tapes {
        assert_eq!((tape.story(), tape.reason()), ("lost".into(), Some("Done".into())));
    }
    // Another thread still wakes it, which would else sleep for a minute.
    let remote = reactor.remote();
    let called = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&called);
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(10));
        remote.call(move |_| flag.store(true, std::sync::atomic::Ordering::SeqCst));
    });
    reactor.turn(None).unwrap();
    turn(reactor);
    assert!(called.load(std::sync::atomic::Ordering::SeqCst));
    ends.client.transport().write(b"still there");
    ends.until("the bytes", |ends| ends.server.received() == 11);
    assert!(timer.is_active());
});

// 47
on_every_driver!(what_cannot_be_watched_is_an_error_at_once, |ground| {
    let Some(reactor) = watching(ground) else { return };
    // Opened as a place in the file system only: as little use to a selector as a number that is not open.
    let path = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let spy = Spy::new();
    let tape = spy.tape();
    let error = reactor.watch(&path, Interest::READ, spy).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
    assert!(tape.is_dropped() && reactor.watches().is_empty());
    // Its own waiting cannot be waited for.
    let own = reactor.descriptor().unwrap().unwrap();
    assert!(reactor.watch(&own, Interest::READ, Spy::new()).is_err());
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
    // Nothing is left of it: the place is used again.
    let (reader, _writer) = io::pipe().unwrap();
    let (_watch, tape) = spy_on(&reactor, &reader, Interest::READ);
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
});

// 49
on_every_driver!(every_watch_hears_its_end_when_the_reactor_stops, |ground| {
    let Some(reactor) = watching(ground) else { return };
    reactor.stop().unwrap();
    turn(&reactor);
    let (reader, writer) = io::pipe().unwrap();
    let (file, null) = (tempfile(), std::fs::File::open("/dev/null").unwrap());
    let mut tapes = Vec::new();
    for descriptor in [reader.as_fd(), writer.as_fd(), file.as_fd(), null.as_fd()] {
        tapes.push(spy_on(&reactor, &descriptor, Interest::NONE).1);
    }
    let stop = Rc::new(Cell::new(true));
    run_until(&reactor, move || stop.get());
    for tape in &tapes {
        assert_eq!((tape.story(), tape.reason()), ("lost".into(), Some("Stopped".into())));
        assert!(tape.is_dropped());
    }
    assert!(reactor.watches().is_empty());
});

// 49
on_every_driver!(every_watch_hears_its_end_when_its_reactor_is_dropped, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, writer) = io::pipe().unwrap();
    let (watch, tape) = spy_on(&reactor, &reader, Interest::BOTH);
    drop(reactor);
    assert_eq!((tape.story(), tape.reason()), ("lost".into(), Some("Stopped".into())));
    assert!(tape.is_dropped() && !watch.is_active());
    watch.set_interest(Interest::READ);
    watch.stop();
    // Nor does anything of the driver's hold the pipe.
    drop((reader, watch));
    assert_eq!((&writer).write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
});

// 49
on_every_driver!(a_watch_made_in_a_farewell_is_told_its_own, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, _writer) = io::pipe().unwrap();
    let again = reactor.clone();
    let late = Spy::new();
    let (late_tape, late) = (late.tape(), RefCell::new(Some(late)));
    let descriptor = reader.try_clone().unwrap();
    let spy = Spy::new().on_lost(move |_| {
        drop(again.watch(&descriptor, Interest::READ, late.take().unwrap()).unwrap());
    });
    let tape = spy.tape();
    reactor.watch(&reader, Interest::READ, spy).unwrap();
    reactor.stop().unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "lost");
    assert_eq!((late_tape.story(), late_tape.reason()), ("lost".into(), Some("Stopped".into())));
});

// 52
on_every_driver!(an_error_of_a_callback_ends_that_watch_alone, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a frame");
    let reader = Spy::new().on_readable(move |_| Err(broken()));
    let writer = Spy::new().on_writable(move |_| Err(broken()));
    let tapes = [reader.tape(), writer.tape()];
    reactor.watch(&one, Interest::READ, reader).unwrap();
    reactor.watch(&one, Interest::WRITE, writer).unwrap();
    let (stays, stays_tape) = spy_on(&reactor, &one, Interest::READ);
    turn(&reactor);
    for (tape, story) in tapes.iter().zip(["readable lost", "writable lost"]) {
        assert_eq!(tape.story(), story);
        assert_eq!(tape.reason().as_deref(), Some("Failed(not a frame)"));
        assert!(tape.is_dropped());
    }
    assert!(stays.is_active());
    assert_eq!(stays_tape.story(), "readable");
});

on_every_driver!(a_panic_of_a_callback_ends_that_watch_alone, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let panics = Spy::new().on_readable(|_| panic!("too much"));
    let stops_and_panics = Spy::new().on_readable(|watch| {
        watch.stop();
        panic!("too much");
    });
    let in_farewell = Spy::new()
        .on_readable(|watch| {
            watch.stop();
            Ok(())
        })
        .on_lost(|_| panic!("at the end"));
    let tapes = [panics.tape(), stops_and_panics.tape(), in_farewell.tape()];
    for spy in [panics, stops_and_panics, in_farewell] {
        reactor.watch(&reader, Interest::READ, spy).unwrap();
    }
    let (stays, stays_tape) = spy_on(&reactor, &reader, Interest::READ);
    turn(&reactor);
    for (tape, reason) in tapes.iter().zip(["Panicked(too much)", "Panicked(too much)", "Done"]) {
        assert_eq!(tape.story(), "readable lost");
        assert_eq!(tape.reason().as_deref(), Some(reason));
        assert!(tape.is_dropped());
    }
    assert!(stays.is_active());
    assert_eq!(stays_tape.story(), "readable");
});

/// An empty file without a name.
fn tempfile() -> std::fs::File {
    let dir = std::env::temp_dir();
    open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .unwrap()
        .into()
}
