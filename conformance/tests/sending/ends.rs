//! What cuts a file short: its own end, truncation while it is sent, the end of the connection.

use std::cell::RefCell;
use std::rc::Rc;

use marline_conformance::on_every_driver;

use super::{Lock, Sent, file, sent, sparse, word};
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(a_file_shorter_than_asked_for_is_an_error_and_the_connection_stands, |ground| {
    for size in [0, 1, 65_536, 300_000] {
        let ends = Ends::join(ground, Probe::new(), Probe::new());
        let transport = ends.client.transport();
        let outcome = sent(transport.send_file(file(size), 0, size as u64 + 1));
        transport.write(b"after");
        ends.until("all", |ends| ends.server.received() == size + 5 && outcome.is_there());
        let error = outcome.take().unwrap_err();
        assert_eq!((error.sent, word(&error.cause)), (size as u64, "File(UnexpectedEof)".into()));
        assert_same(&ends.server.bytes(), &[&pattern(size)[..], b"after"].concat());
        assert!(transport.is_open());
        assert_eq!(transport.pending(), 0);
    }
});

on_every_driver!(a_file_cut_off_while_it_is_sent_fails_with_what_had_left, |ground| {
    let size = 20_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    ends.server.transport().pause_reading();
    let file = sparse(size);
    let lock = Lock::on(&file);
    let handle = file.try_clone().unwrap();
    let outcome = sent(transport.send_file(file, 0, size));
    transport.write(b"after");
    ends.idle();
    assert!(!outcome.is_there());
    handle.set_len(10).unwrap();
    drop(handle);
    ends.server.transport().resume_reading();
    ends.until("the failure", |_| outcome.is_there());
    let error = outcome.take().unwrap_err();
    assert_eq!(word(&error.cause), "File(UnexpectedEof)");
    assert!(error.sent > 0 && error.sent < size);
    ends.until("the rest", |ends| ends.server.received() as u64 == error.sent + 5);
    assert!(ends.server.bytes().ends_with(b"\0after"));
    assert!(transport.is_open() && !lock.is_held());
    transport.write(b"more");
    ends.until("more", |ends| ends.server.bytes().ends_with(b"more"));
});

on_every_driver!(a_close_and_a_half_close_wait_for_a_file, |ground| {
    for half in [false, true] {
        let size = 12_000_000;
        let ends = Ends::join(ground, Probe::half_close(), Probe::half_close());
        let transport = ends.client.transport();
        ends.server.transport().pause_reading();
        let outcome = sent(transport.send_file(file(size), 0, size as u64));
        if half {
            transport.lose_write_connection();
        } else {
            transport.lose_connection();
        }
        // Too late.
        let late = sent(transport.send_file(file(10), 0, 10));
        transport.write(b"too late");
        ends.idle();
        assert_eq!(word(&late.take().unwrap_err().cause), "Closed");
        assert!(!ends.client.is_lost() && !ends.client.has("write_lost"));
        ends.server.transport().resume_reading();
        ends.until("the end", |ends| ends.server.has("read_lost"));
        assert_eq!(outcome.take().unwrap(), size as u64);
        assert_same(&ends.server.bytes(), &pattern(size));
    }
});

on_every_driver!(an_abort_drops_files_that_wait_and_says_so, |ground| {
    let size = 20_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    let transport = ends.client.transport();
    ends.server.transport().pause_reading();
    let (first, second) = (file(size), file(10));
    let locks = [Lock::on(&first), Lock::on(&second)];
    let outcomes = [
        sent(transport.send_file(first, 0, size as u64)),
        sent(transport.send_file(second, 0, 10)),
    ];
    ends.idle();
    transport.abort_connection();
    // Not from inside the call.
    assert!(!outcomes[0].is_there());
    ends.until("the failures", |_| outcomes.iter().all(Sent::is_there));
    let [first, second] = outcomes.map(|outcome| outcome.take().unwrap_err());
    assert!(first.sent > 0 && first.sent < size as u64);
    assert_eq!(second.sent, 0);
    for error in [first, second] {
        assert_eq!(word(&error.cause), "Connection(aborted by this side)");
    }
    // A worker may be reading still.
    ends.until("the files to be closed", |_| locks.iter().all(|lock| !lock.is_held()));
    let late = sent(transport.send_file(file(10), 0, 10));
    ends.idle();
    assert_eq!(word(&late.take().unwrap_err().cause), "Closed");
});

on_every_driver!(an_abort_in_the_same_callback_sends_nothing_of_a_file, |ground| {
    let outcome = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&outcome);
    let client = Probe::new().on_made(move |transport| {
        transport.write(b"x");
        transport.write_owned(vec![1; 5000]);
        *kept.borrow_mut() = Some(sent(transport.send_file(file(10), 0, 10)));
        transport.abort_connection();
    });
    let ends = Ends::begin(ground, client, Probe::new());
    ends.until("the end", |ends| ends.client.is_lost());
    ends.idle();
    assert_eq!(ends.server.received(), 0);
    let error = outcome.take().unwrap().take().unwrap_err();
    assert_eq!((error.sent, word(&error.cause)), (0, "Connection(aborted by this side)".into()));
});

on_every_driver!(a_reset_by_the_peer_fails_the_file_with_the_reason, |ground| {
    let size = 20_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.server.transport().pause_reading();
    let outcome = sent(ends.client.transport().send_file(file(size), 0, size as u64));
    ends.idle();
    ends.server.transport().abort_connection();
    ends.until("the failure", |_| outcome.is_there());
    let error = outcome.take().unwrap_err();
    assert!(word(&error.cause).starts_with("Connection(connection lost"), "{error}");
    assert!(error.sent > 0 && error.sent < size as u64);
    ends.until("the end", |ends| ends.client.is_lost());
});

on_every_driver!(a_stopped_reactor_fails_the_files_it_was_sending, |ground| {
    let size = 20_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.server.transport().pause_reading();
    let outcome = sent(ends.client.transport().send_file(file(size), 0, size as u64));
    ends.idle();
    ends.reactor.stop().unwrap();
    ends.reactor.turn(None).unwrap();
    let error = outcome.take().unwrap_err();
    assert_eq!(word(&error.cause), "Connection(the reactor stopped)");
});

on_every_driver!(a_dropped_reactor_fails_the_files_it_was_sending, |ground| {
    let size = 20_000_000;
    let ends = Ends::join(ground, Probe::new(), Probe::new());
    ends.server.transport().pause_reading();
    let file = file(size);
    let lock = Lock::on(&file);
    let outcome = sent(ends.client.transport().send_file(file, 0, size as u64));
    ends.idle();
    let Ends { reactor, port, client, server, connected } = ends;
    drop((port, client, server, connected, reactor));
    assert_eq!(word(&outcome.take().unwrap_err().cause), "Connection(the reactor stopped)");
    assert!(!lock.is_held());
});
