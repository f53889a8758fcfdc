//! Who is told what, and when: level-triggered, each direction that is wanted and ready, once a turn; hang-ups; nothing else.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::Reactor;
use marline_core::driver::Interest;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::{Spy, sleeps, spy_on, turn, watching};
use crate::streams::kit::{Ends, Probe, turn_until};

// 43
on_every_driver!(a_reader_is_called_in_each_turn_until_it_has_read, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (mut reader, mut writer) = io::pipe().unwrap();
    let (_watch, tape) = spy_on(&reactor, &reader, Interest::READ);
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
    writer.write_all(b"one").unwrap();
    turn(&reactor);
    turn(&reactor);
    assert_eq!(tape.story(), "readable readable");
    reader.read_exact(&mut [0; 3]).unwrap();
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
    writer.write_all(b"two").unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "readable");
});

// 43
on_every_driver!(a_writer_is_called_in_each_turn_while_there_is_room, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (mut one, mut other) = UnixStream::pair().unwrap();
    for end in [&one, &other] {
        end.set_nonblocking(true).unwrap();
    }
    let (_watch, tape) = spy_on(&reactor, &one, Interest::WRITE);
    turn(&reactor);
    turn(&reactor);
    assert_eq!(tape.story(), "writable writable");
    while one.write(&[0; 65_536]).is_ok() {}
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
    while other.read(&mut [0; 65_536]).is_ok() {}
    turn(&reactor);
    assert_eq!(tape.story(), "writable");
});

// 43
on_every_driver!(both_directions_of_an_eventfd_are_told_reading_first, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let (watch, tape) = spy_on(&reactor, &event, Interest::BOTH);
    turn(&reactor);
    assert_eq!(tape.story(), "writable");
    write(&event, &1_u64.to_ne_bytes()).unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "readable writable");
    // Full: no room for another.
    write(&event, &(u64::MAX - 2).to_ne_bytes()).unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "readable");
    read(&event, &mut [0; 8]).unwrap();
    watch.set_interest(Interest::READ);
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
});

// 43
on_every_driver!(a_socket_of_another_library_is_served_beside_connections, |ground| {
    if watching(ground).is_none() {
        return;
    }
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let descriptor = socket.try_clone().unwrap();
    let got = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&got);
    let spy = Spy::new().on_readable(move |watch| {
        let mut bytes = [0; 4];
        let len = socket.read(&mut bytes)?;
        kept.borrow_mut().extend_from_slice(&bytes[..len]);
        if len == 0 {
            watch.stop();
        }
        Ok(())
    });
    let tape = spy.tape();
    ends.reactor.watch(&descriptor, Interest::READ, spy).unwrap();
    peer.write_all(b"a message in pieces").unwrap();
    ends.client.transport().write(b"meanwhile");
    ends.until("the bytes", |ends| got.borrow().len() == 19 && ends.server.received() == 9);
    assert_eq!(*got.borrow(), b"a message in pieces");
    drop(peer);
    ends.until("the end", |_| tape.reason().is_some());
    assert_eq!(tape.reason().as_deref(), Some("Done"));
});

// 44
on_every_driver!(what_is_not_wanted_any_more_is_not_told_although_it_was_found_ready, |ground| {
    let Some(reactor) = watching(ground) else { return };
    // Whichever of the two is called first puts an end to the other.
    let watches = Rc::new(RefCell::new(Vec::new()));
    let mut told = Vec::new();
    let mut pipes = Vec::new();
    for at in 0..2 {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let others = Rc::clone(&watches);
        let spy = Spy::new().on_readable(move |_| {
            let others: std::cell::Ref<'_, Vec<marline_core::Watch>> = others.borrow();
            others[1 - at].set_interest(Interest::NONE);
            Ok(())
        });
        told.push(spy.tape());
        let watch = reactor.watch(&reader, Interest::READ, spy).unwrap();
        watches.borrow_mut().push(watch);
        pipes.push((reader, writer));
    }
    turn(&reactor);
    let stories = (told[0].story(), told[1].story());
    assert!(
        stories == ("readable".into(), String::new())
            || stories == (String::new(), "readable".into()),
        "{stories:?}"
    );
    // Wanted again: told again.
    for watch in watches.borrow().iter() {
        assert!(watch.is_active());
        watch.set_interest(Interest::NONE);
    }
    assert!(sleeps(&reactor));
    assert_eq!((told[0].story(), told[1].story()), (String::new(), String::new()));
    watches.borrow()[1].set_interest(Interest::READ);
    turn(&reactor);
    assert_eq!((told[0].story(), told[1].story()), (String::new(), "readable".into()));
});

on_every_driver!(by_default_a_direction_is_not_wanted_after_it_was_told, |ground| {
    struct Mute;
    impl marline_core::Watcher for Mute {}
    let Some(reactor) = watching(ground) else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    other.write_all(b"x").unwrap();
    let watch = reactor.watch(&one, Interest::BOTH, Mute).unwrap();
    turn(&reactor);
    assert_eq!(watch.interest(), Interest::NONE);
    assert!(watch.is_active() && sleeps(&reactor));
});

on_every_driver!(
    a_hang_up_is_readable_for_who_wants_to_read_and_no_writer_hears_it_too,
    |ground| {
        let Some(reactor) = watching(ground) else { return };
        let (mut reader, writer) = io::pipe().unwrap();
        let (watch, tape) = spy_on(&reactor, &reader, Interest::READ);
        drop(writer);
        turn(&reactor);
        assert_eq!(tape.story(), "readable");
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        watch.set_interest(Interest::BOTH);
        turn(&reactor);
        assert_eq!(tape.story(), "readable");
    }
);

on_every_driver!(a_broken_pipe_is_writable_for_who_only_wants_to_write, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, mut writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[0; 4096]).is_ok() {}
    let (_watch, tape) = spy_on(&reactor, &writer, Interest::WRITE);
    assert!(sleeps(&reactor));
    drop(reader);
    turn(&reactor);
    assert_eq!(tape.story(), "writable");
    assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
});

on_every_driver!(a_hang_up_ends_no_wait_while_nothing_is_wanted, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, writer) = io::pipe().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let (broken_reader, broken) = io::pipe().unwrap();
    let (first, first_tape) = spy_on(&reactor, &reader, Interest::NONE);
    let (second, second_tape) = spy_on(&reactor, &one, Interest::BOTH);
    let (third, third_tape) = spy_on(&reactor, &broken, Interest::WRITE);
    drop((writer, other, broken_reader));
    turn(&reactor);
    assert_eq!(first_tape.story(), "");
    assert_eq!(
        (second_tape.story(), third_tape.story()),
        ("readable writable".into(), "writable".into())
    );
    second.set_interest(Interest::NONE);
    third.set_interest(Interest::NONE);
    assert!(sleeps(&reactor) && sleeps(&reactor));
    assert_eq!((second_tape.story(), third_tape.story()), (String::new(), String::new()));
    for watch in [&first, &second, &third] {
        assert!(watch.is_active());
    }
    first.set_interest(Interest::READ);
    turn(&reactor);
    assert_eq!(first_tape.story(), "readable");
});

on_every_driver!(the_same_descriptor_can_be_watched_twice, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (one, mut other) = UnixStream::pair().unwrap();
    let (first, first_tape) = spy_on(&reactor, &one, Interest::READ);
    let (second, second_tape) = spy_on(&reactor, &one, Interest::READ);
    assert_ne!(first, second);
    other.write_all(b"x").unwrap();
    turn(&reactor);
    assert_eq!((first_tape.story(), second_tape.story()), ("readable".into(), "readable".into()));
    first.stop();
    turn(&reactor);
    assert_eq!((first_tape.story(), second_tape.story()), ("lost".into(), "readable".into()));
});

// 48
on_every_driver!(a_number_used_again_never_reaches_the_watcher_of_the_old_one, |ground| {
    use std::os::fd::AsRawFd;
    let Some(reactor) = watching(ground) else { return };
    let (reader, mut writer) = io::pipe().unwrap();
    let (watch, tape) = spy_on(&reactor, &reader, Interest::READ);
    // The old one is closed and another gets its number; tests run beside each other, so that it is put there by hand.
    let (new_reader, mut new_writer) = io::pipe().unwrap();
    let mut place: std::os::fd::OwnedFd = reader.into();
    let number = place.as_raw_fd();
    rustix::io::dup2(&new_reader, &mut place).unwrap();
    assert_eq!(place.as_raw_fd(), number);
    new_writer.write_all(b"for the new one").unwrap();
    assert!(sleeps(&reactor));
    assert_eq!(tape.story(), "");
    // The watch goes on with what the number stood for, which therefore is open still.
    writer.write_all(b"for the old one").unwrap();
    turn(&reactor);
    assert_eq!(tape.story(), "readable");
    watch.stop();
    turn(&reactor);
    assert_eq!(tape.story(), "lost");
    assert_eq!(writer.write(b"to nobody").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
});

on_every_driver!(a_watcher_may_call_anything_and_is_not_called_inside_that, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, mut writer) = io::pipe().unwrap();
    let (other_reader, mut other_writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    other_writer.write_all(b"x").unwrap();
    let again = reactor.clone();
    let inner = Spy::new();
    let (inner_tape, mut inner) = (inner.tape(), Some(inner));
    let spy = Spy::new().on_readable(move |watch| {
        assert!(again.turn(None).is_err());
        let new = again.watch(&other_reader, Interest::READ, inner.take().unwrap()).unwrap();
        assert_eq!(again.watches().len(), 2);
        assert_eq!(again.open().len(), 2);
        watch.set_interest(Interest::NONE);
        watch.set_interest(Interest::READ);
        assert_eq!(again.stop_watching_all().len(), 2);
        assert!(!watch.is_active() && !new.is_active());
        // Does nothing any more.
        watch.set_interest(Interest::BOTH);
        watch.stop();
        assert_eq!(watch.interest(), Interest::NONE);
        Ok(())
    });
    let tape = spy.tape();
    reactor.watch(&reader, Interest::READ, spy).unwrap();
    turn(&reactor);
    assert_eq!((tape.story(), inner_tape.story()), ("readable lost".into(), "lost".into()));
    assert!(tape.is_dropped() && inner_tape.is_dropped());
    assert!(reactor.open().is_empty());
});

// A watched descriptor takes its turn like everybody else.
on_every_driver!(a_watcher_that_never_reads_holds_up_nobody, |ground| {
    let Some(reactor) = watching(ground) else { return };
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let (_watch, tape) = spy_on(&reactor, &reader, Interest::READ);
    let echo = Probe::new().on_data(|transport, data| transport.write(data));
    let ends = Ends::begin_on(reactor.clone(), Probe::new(), echo);
    ends.until("both ends were made", |ends| ends.client.is_made() && ends.server.is_made());
    for round in 1..=20 {
        ends.client.transport().write(b"ping");
        ends.until("the echo", |ends| ends.client.received() == 4 * round);
    }
    let called = Rc::new(std::cell::Cell::new(false));
    let flag = Rc::clone(&called);
    reactor.call_later(std::time::Duration::from_millis(1), move |_: &Reactor| flag.set(true));
    turn_until(&reactor, "the timer", || called.get());
    assert!(tape.story().len() > 20);
});
