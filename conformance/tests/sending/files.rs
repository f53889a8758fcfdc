//! Files: every byte, in order with what is written before and after; who is told, and when.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::flow::Producer;

use super::{Lock, Sent, file, sent, sparse, word};
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(files_of_every_size_arrive_whole_and_in_order_with_writes, |ground| {
    let sizes =
        [0, 1, 4095, 4096, 65_535, 65_536, 65_537, 131_072, 262_143, 262_144, 262_145, 1_000_003];
    for size in sizes {
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        let transport = ends.client.transport();
        transport.write(b"before");
        let outcome = sent(transport.send_file(file(size), 0, size as u64));
        transport.write(b"after");
        ends.until("all", |ends| ends.server.received() == size + 11 && outcome.is_there());
        assert_eq!(outcome.take().unwrap(), size as u64);
        let expected = [b"before", &pattern(size)[..], b"after"].concat();
        assert_same(&ends.server.bytes(), &expected);
        assert_eq!(transport.pending(), 0);
    }
});

on_every_driver!(a_part_of_a_file_is_sent_from_where_it_begins, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    let (whole, mut expected) = (pattern(300_000), Vec::new());
    let mut outcomes = Vec::new();
    for (offset, len) in [(0, 10), (299_990, 10), (65_530, 100_000), (300_000, 0), (1, 1)] {
        outcomes.push((len, sent(transport.send_file(file(300_000), offset, len))));
        expected.extend_from_slice(&whole[offset as usize..(offset + len) as usize]);
    }
    ends.until("all", |ends| ends.server.received() == expected.len());
    ends.idle();
    for (len, outcome) in outcomes {
        assert_eq!(outcome.take().unwrap(), len);
    }
    assert_same(&ends.server.bytes(), &expected);
});

on_every_driver!(several_files_and_writes_of_a_callback_keep_their_order, |ground| {
    let outcomes = Rc::new(RefCell::new(Vec::<Sent>::new()));
    let kept = Rc::clone(&outcomes);
    // Also of the bytes lent to the callback.
    let server = Probe::new().on_data(move |transport, data| {
        transport.write(data);
        for size in [70_000, 3, 200_000] {
            kept.borrow_mut().push(sent(transport.send_file(file(size), 0, size as u64)));
            transport.write(data);
            transport.write_owned(vec![7; 5000]);
        }
    });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(b"ask");
    let mut expected = b"ask".to_vec();
    for size in [70_000, 3, 200_000] {
        expected.extend_from_slice(&pattern(size));
        expected.extend_from_slice(b"ask");
        expected.extend_from_slice(&[7; 5000]);
    }
    ends.until("all", |ends| ends.client.received() == expected.len());
    assert_same(&ends.client.bytes(), &expected);
    ends.until("the answers", |_| outcomes.borrow().iter().all(Sent::is_there));
});

on_every_driver!(a_slow_reader_gets_it_all_and_the_answer_waits_for_that, |ground| {
    let size = 12_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let (transport, server) = (ends.client.transport(), ends.server.transport());
    server.pause_reading();
    let outcome = sent(transport.send_file(file(size), 0, size as u64));
    ends.idle();
    // More than any system takes in.
    assert!(!outcome.is_there() && transport.pending() > 0);
    while ends.server.received() < size {
        server.resume_reading();
        ends.reactor.turn(Some(std::time::Duration::from_millis(5))).unwrap();
        server.pause_reading();
    }
    ends.until("the answer", |_| outcome.is_there());
    assert_same(&ends.server.bytes(), &pattern(size));
});

on_every_driver!(a_file_is_open_until_it_has_left_and_no_longer, |ground| {
    let size = 12_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.server.transport().pause_reading();
    let file = file(size);
    let lock = Lock::on(&file);
    let outcome = sent(ends.client.transport().send_file(file, 0, size as u64));
    ends.idle();
    assert!(lock.is_held() && !outcome.is_there());
    ends.server.transport().resume_reading();
    ends.until("the answer", |_| outcome.is_there());
    assert!(!lock.is_held());
});

on_every_driver!(a_file_sent_from_outside_a_callback_or_before_the_reactor_runs_leaves, |ground| {
    let outcome = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&outcome);
    let client = Probe::new().on_made(move |transport| {
        *kept.borrow_mut() = Some(sent(transport.send_file(file(100_000), 0, 100_000)));
        transport.lose_connection();
    });
    let ends = Ends::begin(ground, client, Probe::new());
    ends.until_lost();
    assert_same(&ends.server.bytes(), &pattern(100_000));
    assert_eq!(outcome.take().unwrap().take().unwrap(), 100_000);
});

on_every_driver!(a_file_counts_by_its_length_as_output_that_waits, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::half_close());
    let transport = ends.client.transport();
    ends.server.transport().pause_reading();
    transport.write(b"abc");
    transport.send_file(sparse(10 << 30), 0, 10 << 30).ignore();
    assert_eq!(transport.pending() as u64, (10 << 30) + 3);
    ends.idle();
    let pending = transport.pending() as u64;
    assert!(pending < 10 << 30 && pending > 9 << 30, "{pending}");
    transport.abort_connection();
    assert_eq!(transport.pending(), 0);
});

on_every_driver!(a_push_producer_is_paused_by_a_file_and_resumed_when_it_has_left, |ground| {
    #[derive(Default)]
    struct Notes(RefCell<Vec<&'static str>>);
    impl Producer for Notes {
        fn resume_producing(&self) {
            self.0.borrow_mut().push("resume");
        }
        fn pause_producing(&self) {
            self.0.borrow_mut().push("pause");
        }
        fn stop_producing(&self) {
            self.0.borrow_mut().push("stop");
        }
    }
    let size = 12_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.server.transport().pause_reading();
    let transport = ends.client.transport();
    let notes = Rc::new(Notes::default());
    transport.register_producer(Rc::clone(&notes) as Rc<dyn Producer>, true).unwrap();
    let outcome = sent(transport.send_file(sparse(size), 0, size));
    transport.write(b"behind it");
    ends.idle();
    assert_eq!(*notes.0.borrow(), ["pause"]);
    assert!(!outcome.is_there());
    ends.server.transport().resume_reading();
    ends.until("the resume", |_| notes.0.borrow().len() == 2);
    assert_eq!(*notes.0.borrow(), ["pause", "resume"]);
    assert!(outcome.is_there());
    transport.unregister_producer();
});

on_every_driver!(writable_is_told_when_a_file_has_left_and_not_before, |ground| {
    let size = 12_000_000;
    let outcome = Rc::new(RefCell::new(None::<Sent>));
    let before = Rc::new(Cell::new(false));
    let (kept, flag) = (Rc::clone(&outcome), Rc::clone(&before));
    let client = Probe::new()
        .on_made(move |transport| {
            *kept.borrow_mut() = Some(sent(transport.send_file(sparse(size), 0, size)));
            transport.notify_writable();
        })
        .on_writable(move |transport| flag.set(transport.pending() > 0));
    let ends = Ends::join(ground, client, Probe::new());
    ends.server.transport().pause_reading();
    ends.idle();
    assert!(!ends.client.has("writable"));
    ends.server.transport().resume_reading();
    ends.until("writable", |ends| ends.client.has("writable"));
    assert!(!before.get());
    ends.until("the answer", |_| outcome.borrow().as_ref().unwrap().is_there());
});

// The kernel sends what it can map into its page cache: not this one, which therefore is read.
on_every_driver!(a_file_that_the_system_does_not_send_is_read_instead, |ground| {
    let text = std::fs::read("/proc/version").unwrap();
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    transport.write(b"<");
    let opened = File::open("/proc/version").unwrap();
    let outcome = sent(transport.send_file(opened, 0, text.len() as u64));
    transport.write(b">");
    ends.until("all", |ends| ends.server.received() == text.len() + 2 && outcome.is_there());
    assert_eq!(outcome.take().unwrap(), text.len() as u64);
    assert_same(&ends.server.bytes(), &[b"<", &text[..], b">"].concat());
});

on_every_driver!(what_is_no_file_is_an_error_and_the_connection_stands, |ground| {
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    let (reader, _writer) = io::pipe().unwrap();
    let pipe = sent(transport.send_file(reader, 0, 10));
    let directory = sent(transport.send_file(File::open("/").unwrap(), 0, 10));
    let beyond = sent(transport.send_file(file(10), u64::MAX, 10));
    let too_long = sent(transport.send_file(file(10), 0, u64::MAX));
    transport.write(b"still here");
    ends.until("the bytes", |ends| ends.server.received() == 10);
    for (outcome, cause) in [
        (pipe, "File(NotSeekable)"),
        (directory, "File(IsADirectory)"),
        (beyond, "File(InvalidInput)"),
        (too_long, "File(InvalidInput)"),
    ] {
        let error = outcome.take().unwrap_err();
        assert_eq!((error.sent, word(&error.cause)), (0, cause.into()));
    }
});

on_every_driver!(a_cancelled_answer_takes_nothing_back, |ground| {
    let size = 3_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    let sending = transport.send_file(file(size), 0, size as u64);
    transport.write(b"after");
    sending.cancel();
    let outcome = sent(sending);
    assert_eq!(word(&outcome.take().unwrap_err().cause), "Interrupted(Cancelled)");
    ends.until("all", |ends| ends.server.received() == size + 5);
    assert_same(&ends.server.bytes(), &[&pattern(size)[..], b"after"].concat());
});
