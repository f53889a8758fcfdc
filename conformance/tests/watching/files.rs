//! What no selector takes: regular files, directories, /dev/null. Always ready, served by waits that do not block, for as long as wanted.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::Time;
use marline_core::driver::Interest;

use super::{Spy, sleeps, spy_on, turn, watching};
use crate::streams::kit::{Ends, Probe};

// 50
on_every_driver!(regular_files_directories_and_dev_null_are_always_ready, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (file, dir, null) = (this_file(), open("/"), open("/dev/null"));
    let mut tapes = Vec::new();
    for descriptor in [file.as_fd(), dir.as_fd(), null.as_fd()] {
        tapes.push(spy_on(&reactor, &descriptor, Interest::BOTH));
    }
    // Once a turn each, never oftener.
    for _ in 0..3 {
        turn(&reactor);
        for (_, tape) in &tapes {
            assert_eq!(tape.story(), "readable writable");
        }
    }
    tapes[0].0.set_interest(Interest::READ);
    tapes[1].0.set_interest(Interest::NONE);
    turn(&reactor);
    let stories: Vec<_> = tapes.iter().map(|(_, tape)| tape.story()).collect();
    assert_eq!(stories, ["readable", "", "readable writable"]);
});

// 50
on_every_driver!(a_watched_file_can_be_read_to_its_end, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let mut file = this_file();
    let descriptor = file.try_clone().unwrap();
    let read = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&read);
    let spy = Spy::new().on_readable(move |watch| {
        let mut bytes = [0; 512];
        let len = file.read(&mut bytes)?;
        kept.borrow_mut().extend_from_slice(&bytes[..len]);
        if len == 0 {
            watch.stop();
        }
        Ok(())
    });
    let tape = spy.tape();
    reactor.watch(&descriptor, Interest::READ, spy).unwrap();
    while tape.reason().is_none() {
        turn(&reactor);
    }
    assert_eq!(*read.borrow(), include_bytes!("files.rs"));
    assert!(sleeps(&reactor));
});

// 50
on_every_driver!(files_are_in_the_list_and_stopped_with_all, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (file, (reader, _writer)) = (this_file(), io::pipe().unwrap());
    let (watch, tape) = spy_on(&reactor, &file, Interest::READ);
    let _pipe = spy_on(&reactor, &reader, Interest::READ);
    assert!(reactor.watches().contains(&watch));
    assert_eq!(reactor.watches().len(), 2);
    turn(&reactor);
    assert_eq!(tape.story(), "readable");
    let stopped = reactor.stop_watching_all();
    assert!(stopped.contains(&watch) && stopped.len() == 2);
    assert!(sleeps(&reactor));
    assert_eq!((tape.story(), tape.reason()), ("lost".into(), Some("Done".into())));
});

// 51
on_every_driver!(
    waits_that_do_not_block_begin_with_the_first_file_and_end_with_the_last,
    |ground| {
        let Some(reactor) = watching(ground) else { return };
        let (file, null) = (this_file(), open("/dev/null"));
        assert!(sleeps(&reactor));
        assert_eq!(reactor.next_wakeup(), None);
        let (first, first_tape) = spy_on(&reactor, &file, Interest::READ);
        // A foreign loop is told not to sleep either.
        assert_eq!(reactor.next_wakeup(), Some(Time::ZERO));
        assert!(!sleeps(&reactor));
        assert_eq!(reactor.next_wakeup(), Some(Time::ZERO));
        let (second, second_tape) = spy_on(&reactor, &null, Interest::WRITE);
        assert!(!sleeps(&reactor));
        first.stop();
        assert!(!sleeps(&reactor));
        second.set_interest(Interest::NONE);
        first_tape.story();
        second_tape.story();
        assert!(sleeps(&reactor));
        assert_eq!((first_tape.story(), second_tape.story()), (String::new(), String::new()));
        assert_eq!(reactor.next_wakeup(), None);
        second.set_interest(Interest::READ);
        assert!(!sleeps(&reactor));
        second.stop();
        assert!(sleeps(&reactor));
        // Silent, and once more.
        second.stop();
        second.set_interest(Interest::READ);
        assert!(sleeps(&reactor));
    }
);

on_every_driver!(a_file_that_is_wanted_for_ever_holds_up_nobody, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (_watch, tape) = spy_on(&reactor, &this_file(), Interest::BOTH);
    let echo = Probe::new().on_data(|transport, data| transport.write(data));
    let ends = Ends::begin_on(reactor.clone(), Probe::new(), echo);
    ends.until("both ends were made", |ends| ends.client.is_made() && ends.server.is_made());
    for round in 1..=20 {
        ends.client.transport().write(b"ping");
        ends.until("the echo", |ends| ends.client.received() == 4 * round);
    }
    assert!(!tape.story().is_empty());
});

on_every_driver!(a_file_not_wanted_from_its_own_callback_on_is_told_no_more, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let spy = Spy::new().on_readable(|watch| {
        watch.set_interest(Interest::NONE);
        Ok(())
    });
    let tape = spy.tape();
    let watch = reactor.watch(&this_file(), Interest::BOTH, spy).unwrap();
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "readable");
    watch.stop();
    turn(&reactor);
    assert_eq!(tape.story(), "lost");
});

fn this_file() -> File {
    open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/watching/files.rs"))
}

fn open(path: &str) -> File {
    File::open(path).unwrap()
}
