//! Descriptors that ride on bytes.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::flow::Producer;
use marline_core::protocol::from_fn;
use marline_core::testing::{CapturedLog, Level};
use marline_core::transport::{DescriptorCause, DescriptorOverrun};
use marline_core::{CloseReason, Protocol, Transport};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::sockopt;

use super::{Folder, Pair, Porter, followed, is_closed, raw};
use crate::faults::in_child;
use crate::layers::Clear;
use crate::streams::kit::{Ends, Probe, idle, started, turn_until};

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[track_caller]
fn overrun(reason: &CloseReason) {
    match reason {
        CloseReason::Failed(failure) => assert!(failure.check::<DescriptorOverrun>().is_some()),
        other => panic!("{other:?}"),
    }
}

// 95
on_every_driver!(
    a_descriptor_arrives_as_a_usable_copy_before_the_bytes_written_with_it,
    |ground| {
        let pair = Pair::join(ground);
        let (mut reader, writer) = followed();
        pair.sender().write(b"before ");
        pair.sender().send_descriptor(writer).unwrap();
        pair.sender().write(b"with");
        pair.until("the bytes", |pair| pair.server.bytes.get() == 11);
        let script = pair.server.script();
        assert_eq!(script.replace('d', ""), "before with");
        assert!(script.find('d').unwrap() <= 7, "{script}");
        let copy = pair.server.descriptors.borrow_mut().pop().unwrap();
        // In a simulated world it is the very same, as it was opened.
        let flags = fcntl_getfd(&copy).unwrap();
        assert!(ground.is_simulated() || flags.contains(FdFlags::CLOEXEC));
        // Ours was closed once it had left: this copy is the last.
        let mut text = [0; 5];
        File::from(copy).write_all(b"alive").unwrap();
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"alive");
        assert!(is_closed(&mut reader));
    }
);

// 96
on_every_driver!(several_descriptors_arrive_in_their_order_each_with_its_bytes, |ground| {
    let pair = Pair::join(ground);
    let pipes: Vec<_> = (0..5).map(|_| followed()).collect();
    let (mut readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    let mut writers = writers.into_iter();
    let sender = pair.sender();
    let mut next = || sender.send_descriptor(writers.next().unwrap()).unwrap();
    next();
    next();
    sender.write(b"ab");
    next();
    sender.write(b"c");
    next();
    next();
    sender.write(b"xyz");
    pair.until("the bytes", |pair| pair.server.bytes.get() == 6);
    assert_eq!(pair.server.script().replace('d', ""), "abcxyz");
    let places = pair.server.places.borrow().clone();
    for (place, at_most) in places.iter().zip([0, 0, 2, 3, 3]) {
        assert!(*place <= at_most, "{places:?}");
    }
    let copies = pair.server.descriptors.take();
    assert_eq!(copies.len(), 5);
    for (number, (copy, reader)) in copies.into_iter().zip(&mut readers).enumerate() {
        File::from(copy).write_all(&[number as u8]).unwrap();
        let mut byte = [9];
        reader.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number as u8]);
    }
});

on_every_driver!(any_number_of_descriptors_can_be_passed_at_once, |ground| {
    for count in [1, 2, 64, 65, 253, 254, 600] {
        let pair = Pair::join(ground);
        for _ in 0..count {
            pair.sender().send_descriptor(null()).unwrap();
        }
        pair.sender().write(&vec![b'x'; count]);
        pair.until("all", |pair| pair.server.bytes.get() == count);
        assert_eq!(pair.server.count(), count);
        assert!(!pair.server.is_lost() && !pair.client.is_lost());
    }
});

on_every_driver!(a_descriptor_keeps_its_place_behind_bytes_that_wait, |ground| {
    const MANY: usize = 2 << 20;
    let pair = Pair::join(ground);
    pair.sender().write(&vec![0; MANY]);
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().write(&vec![1; MANY]);
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().write(b"x");
    pair.until("all", |pair| pair.server.bytes.get() == 2 * MANY + 1);
    let places = pair.server.places.borrow().clone();
    assert_eq!(places.len(), 2);
    // Early by no more than what one receive joins.
    assert!((MANY - 65_536..=MANY).contains(&places[0]), "{places:?}");
    assert!((2 * MANY - 65_536..=2 * MANY).contains(&places[1]), "{places:?}");
});

// What the callback wrote before is in the cork, what comes after is queued: they leave in order.
on_every_driver!(a_callback_may_write_before_and_after_it_passes_one, |ground| {
    let echo = Porter::default();
    let heard = Rc::clone(&echo.heard);
    let pair = Pair::join_with(
        ground,
        echo,
        Porter {
            data: Some(Box::new(|transport| {
                transport.write(b"one ");
                transport.send_descriptor(null()).unwrap();
                transport.write(b"two ");
                transport.send_descriptor(null()).unwrap();
                transport.write(b"three");
            })),
            ..Porter::default()
        },
    );
    pair.sender().write(b"?");
    pair.until("the answer", |_| heard.bytes.get() == 13);
    assert_eq!(heard.script().replace('d', ""), "one two three");
    let places = heard.places.borrow().clone();
    assert!(places[0] <= 4 && places[1] <= 8, "{places:?}");
});

// 97
on_every_driver!(more_descriptors_than_bytes_end_the_connection_with_an_error, |ground| {
    for (descriptors, bytes) in [(1, 0), (2, 1), (70, 69)] {
        let pair = Pair::join(ground);
        let pipes: Vec<_> = (0..descriptors).map(|_| followed()).collect();
        let mut readers = Vec::new();
        for (reader, writer) in pipes {
            readers.push(reader);
            pair.sender().send_descriptor(writer).unwrap();
        }
        pair.sender().write(&vec![b'x'; bytes]);
        pair.until("both ends", |pair| pair.client.is_lost() && pair.server.is_lost());
        overrun(&pair.client.reason());
        assert_eq!((pair.server.count(), pair.server.bytes.get()), (0, 0));
        assert!(readers.iter_mut().all(is_closed));
    }
});

on_every_driver!(a_close_with_a_descriptor_that_has_no_byte_is_the_same_error, |ground| {
    for close in [Transport::lose_connection, Transport::lose_write_connection] {
        let pair = Pair::join(ground);
        let (mut reader, writer) = followed();
        pair.sender().write(b"said before");
        pair.sender().send_descriptor(writer).unwrap();
        close(&pair.sender());
        pair.until("its end", |pair| pair.client.is_lost());
        overrun(&pair.client.reason());
        assert!(is_closed(&mut reader));
    }
});

on_every_driver!(a_close_after_the_byte_delivers_the_descriptor, |ground| {
    let pair = Pair::join(ground);
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().write(b"x");
    pair.sender().lose_connection();
    pair.until("both ends", |pair| pair.client.is_lost() && pair.server.is_lost());
    assert!(pair.client.reason().is_clean());
    assert_eq!(pair.server.script(), "dx");
});

on_every_driver!(an_abort_closes_the_descriptors_that_wait, |ground| {
    let pair = Pair::join(ground);
    // Nothing leaves any more.
    pair.server.transport().pause_reading();
    pair.sender().write(&vec![0; 4 << 20]);
    let pipes: Vec<_> = (0..10).map(|_| followed()).collect();
    let mut readers = Vec::new();
    for (reader, writer) in pipes {
        readers.push(reader);
        pair.sender().send_descriptor(writer).unwrap();
    }
    pair.sender().write(&[b'x'; 10]);
    idle(&pair.reactor);
    assert!(!readers.iter_mut().any(is_closed));
    pair.sender().abort_connection();
    pair.until("its end", |pair| pair.client.is_lost());
    assert!(readers.iter_mut().all(is_closed));
});

// 98
on_every_driver!(queued_descriptors_count_as_a_full_buffer, |ground| {
    struct Noted(RefCell<Vec<&'static str>>);
    impl Producer for Noted {
        fn resume_producing(&self) {
            self.0.borrow_mut().push("resume");
        }
        fn pause_producing(&self) {
            self.0.borrow_mut().push("pause");
        }
        fn stop_producing(&self) {}
    }
    for (count, notes) in [(64, &[][..]), (65, &["pause", "resume"][..])] {
        let pair = Pair::join(ground);
        let producer = Rc::new(Noted(RefCell::default()));
        pair.sender().register_producer(Rc::clone(&producer) as Rc<dyn Producer>, true).unwrap();
        for _ in 0..count {
            pair.sender().send_descriptor(null()).unwrap();
        }
        pair.sender().write(&vec![b'x'; count]);
        pair.until("all", |pair| pair.server.count() == count);
        pair.until("the notes", |_| producer.0.borrow().len() == notes.len());
        idle(&pair.reactor);
        assert_eq!(*producer.0.borrow(), notes);
    }
});

// 99
on_every_driver!(a_receiver_that_takes_none_closes_them_and_a_warning_is_logged, |ground| {
    struct Deaf(Rc<Cell<usize>>);
    impl Protocol for Deaf {
        fn data_received(&mut self, _: &Transport, data: &[u8]) {
            self.0.set(self.0.get() + data.len());
        }
    }
    let folder = Folder::new();
    let reactor = started(ground);
    let received = Rc::new(Cell::new(0));
    let mut deaf = Some(Deaf(Rc::clone(&received)));
    reactor.listen_unix(folder.file("s"), from_fn(move |_| deaf.take())).unwrap();
    let client = Probe::new();
    let tape = client.tape();
    let connected =
        crate::streams::kit::Outcome::of(reactor.connect_unix(folder.file("s"), client));
    turn_until(&reactor, "the connection", || connected.is_there());
    connected.take().unwrap();
    let (mut reader, writer) = followed();
    let log = CapturedLog::start();
    tape.transport().send_descriptor(writer).unwrap();
    tape.transport().write(b"x");
    turn_until(&reactor, "the byte", || received.get() == 1);
    let warnings = log.take(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].field("protocol").unwrap().contains("Deaf"));
    assert!(warnings[0].field("peer").is_some());
    assert!(is_closed(&mut reader));
    assert!(tape.transport().is_open());
});

on_every_driver!(a_pause_holds_the_descriptors_that_follow_and_the_bytes, |ground| {
    let server = Porter::default().on_descriptor(Transport::pause_reading);
    let pair = Pair::join_with(ground, Porter::default(), server);
    for _ in 0..3 {
        pair.sender().send_descriptor(null()).unwrap();
    }
    pair.sender().write(b"xyz");
    for taken in 1..=3 {
        pair.until("one more", |pair| pair.server.count() == taken);
        idle(&pair.reactor);
        assert_eq!(pair.server.script(), "d".repeat(taken));
        pair.server.transport().resume_reading();
    }
    pair.until("the bytes", |pair| pair.server.bytes.get() == 3);
    assert_eq!(pair.server.script(), "dddxyz");
});

on_every_driver!(an_end_upon_a_descriptor_lets_nothing_more_in_and_closes_the_rest, |ground| {
    for end in [Transport::lose_connection, Transport::abort_connection] {
        let server = Porter::default().on_descriptor(end);
        let pair = Pair::join_with(ground, Porter::default(), server);
        let pipes: Vec<_> = (0..3).map(|_| followed()).collect();
        let mut readers = Vec::new();
        for (reader, writer) in pipes {
            readers.push(reader);
            pair.sender().send_descriptor(writer).unwrap();
        }
        pair.sender().write(b"xyz");
        pair.until("both ends", |pair| pair.client.is_lost() && pair.server.is_lost());
        assert_eq!(pair.server.script(), "d");
        drop(pair.server.descriptors.take());
        turn_until(&pair.reactor, "the rest to be closed", || readers.iter_mut().all(is_closed));
    }
});

on_every_driver!(a_panic_upon_a_descriptor_ends_that_connection_alone, |ground| {
    let log = CapturedLog::start();
    let server = Porter::default().on_descriptor(|_| panic!("what is this"));
    let pair = Pair::join_with(ground, Porter::default(), server);
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().write(b"x");
    pair.until("both ends", |pair| pair.client.is_lost() && pair.server.is_lost());
    assert!(matches!(pair.server.reason(), CloseReason::Panicked(_)));
    let errors = log.take_errors();
    assert_eq!(errors[0].field("callback"), Some("descriptor_received".into()));
});

on_every_driver!(what_is_held_goes_to_the_protocol_that_takes_over, |ground| {
    let next = Porter::default();
    let heard = Rc::clone(&next.heard);
    let mut next = Some(next);
    let server = Porter::default().on_descriptor(move |transport| {
        transport.upgrade(next.take().unwrap(), b"");
    });
    let pair = Pair::join_with(ground, Porter::default(), server);
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().send_descriptor(null()).unwrap();
    pair.sender().write(b"xy");
    pair.until("the bytes", |_| heard.bytes.get() == 2);
    assert_eq!(pair.server.script(), "d");
    assert_eq!(heard.script(), "dxy");
});

on_every_driver!(where_none_can_be_passed_the_descriptor_comes_back, |ground| {
    #[track_caller]
    fn refused(transport: &Transport) -> DescriptorCause {
        let error = transport.send_descriptor(null()).unwrap_err();
        fcntl_getfd(&error.descriptor).unwrap();
        error.cause
    }
    let tcp = Ends::join(ground, Probe::new(), Probe::new());
    assert_eq!(refused(&tcp.client.transport()), DescriptorCause::Unsupported);
    tcp.client.transport().write(b"goes on");
    tcp.until("the bytes", |ends| ends.server.received() == 7);

    let pair = Pair::join(ground);
    pair.server.transport().start_layer(Clear, b"");
    assert_eq!(refused(&pair.server.transport()), DescriptorCause::Layered);
    // What comes to a layered connection is closed: no layer vouches for it.
    let (mut reader, writer) = followed();
    pair.sender().send_descriptor(writer).unwrap();
    pair.sender().write(b"x");
    pair.until("the byte", |pair| pair.server.bytes.get() == 1);
    assert!(is_closed(&mut reader));
    assert_eq!(pair.server.count(), 0);

    pair.sender().lose_connection();
    assert_eq!(refused(&pair.sender()), DescriptorCause::Closed);
    pair.until("its end", |pair| pair.client.is_lost());
    assert_eq!(refused(&pair.sender()), DescriptorCause::Closed);
});

// ---- messages made by hand

/// A porter on one end of a pair of sockets whose other end is the check's. Epoll alone: there are no such sockets in a simulated world.
fn adopted(
    ground: marline_conformance::Ground,
) -> (marline_core::Reactor, Rc<super::Heard>, OwnedFd, OwnedFd) {
    let reactor = started(ground);
    let (own, peer) = raw::two();
    let spare = own.try_clone().unwrap();
    let porter = Porter::default();
    let heard = Rc::clone(&porter.heard);
    let mut porter = Some(porter);
    reactor.adopt_connection(own, from_fn(move |_| porter.take())).unwrap();
    turn_until(&reactor, "the adoption", || heard.transport.borrow().is_some());
    (reactor, heard, spare, peer)
}

// 96
on_every_driver!(descriptors_in_two_control_blocks_all_arrive, |ground| {
    if ground.is_simulated() {
        return;
    }
    let (reactor, heard, _own, peer) = adopted(ground);
    let pipes: Vec<_> = (0..5).map(|_| followed()).collect();
    let (mut readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    raw::send(&peer, b"x", &[&writers[..2], &writers[2..]]);
    drop(writers);
    turn_until(&reactor, "all", || heard.bytes.get() == 1);
    assert_eq!(heard.script(), "dddddx");
    for (number, copy) in heard.descriptors.take().into_iter().enumerate() {
        File::from(copy).write_all(&[number as u8]).unwrap();
        let mut byte = [9];
        readers[number].read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number as u8]);
        assert!(is_closed(&mut readers[number]));
    }
});

// 96: without a log, for nobody has asked for them.
on_every_driver!(control_blocks_of_other_kinds_are_skipped, |ground| {
    if ground.is_simulated() {
        return;
    }
    let (reactor, heard, own, peer) = adopted(ground);
    sockopt::set_socket_passcred(&own, true).unwrap();
    raw::send(&peer, b"a", &[]);
    raw::send(&peer, b"b", &[&[null(), null()]]);
    raw::send(&peer, b"c", &[]);
    turn_until(&reactor, "all", || heard.bytes.get() == 3);
    assert_eq!(heard.script().replace('d', ""), "abc");
    assert_eq!(heard.count(), 2);
});

on_every_driver!(descriptors_that_this_process_has_no_room_for_are_lost_with_a_warning, |ground| {
    if ground.is_simulated() {
        return;
    }
    in_child(module_path!(), "on_epoll", Some(40), || {
        let (reactor, heard, _own, peer) = adopted(ground);
        let all: Vec<_> = (0..8).map(|_| null()).collect();
        raw::send(&peer, b"some", &[&all]);
        drop(all);
        // Room for three.
        let mut full: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        full.truncate(full.len() - 3);
        let log = CapturedLog::start();
        turn_until(&reactor, "the bytes", || heard.bytes.get() == 4);
        assert_eq!(heard.script(), "dddsome");
        let warnings = log.take(Level::WARN);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].message.contains("no room"));
        // The connection goes on, and so do descriptors once there is room.
        drop((full, heard.descriptors.take()));
        raw::send(&peer, b"more", &[&[null(), null()]]);
        turn_until(&reactor, "the bytes", || heard.bytes.get() == 8);
        assert_eq!(heard.count(), 2);
    });
});

on_every_driver!(nothing_is_left_open_in_the_end, |ground| {
    if ground.is_simulated() {
        return;
    }
    // Descriptors are the process's: counted in a child that runs nothing else.
    in_child(module_path!(), "on_epoll", None, || {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for end in [Transport::lose_connection, Transport::abort_connection] {
            let pair = Pair::join(ground);
            for _ in 0..100 {
                pair.sender().send_descriptor(null()).unwrap();
            }
            pair.sender().write(&[b'x'; 100]);
            end(&pair.server.transport());
            pair.until("both ends", |pair| pair.client.is_lost() && pair.server.is_lost());
        }
        let pair = Pair::join(ground);
        pair.sender().send_descriptor(null()).unwrap();
        drop(pair);
        assert_eq!(open(), before);
    });
});
