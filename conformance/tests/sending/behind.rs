//! What is written while a file waits to pass policies or layers leaves behind it, from wherever and in whatever way it is written.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::Transport;
use marline_protocols::policy::{Deadline, IdleTimeout};

use super::{Sent, file, sent};
use crate::policies::Witness;
use crate::streams::kit::{Ends, Probe, assert_same, pattern};

on_every_driver!(nothing_overtakes_a_file_behind_policies_that_see_no_writes, |ground| {
    // The second asks for nothing but its deadline.
    for way in WAYS {
        queue_behind_a_file(ground, way, |transport| {
            transport.start_policy(IdleTimeout::default())
        });
        queue_behind_a_file(ground, way, |transport| {
            transport.start_policy(Deadline::after(Duration::from_secs(3600)));
        });
    }
});

on_every_driver!(nothing_overtakes_a_file_behind_policies_that_see_all_writes, |ground| {
    for way in WAYS {
        let witness = Witness::default();
        let policy = witness.clone();
        let place = move |transport: &Transport| transport.start_policy(policy.clone());
        let written = queue_behind_a_file(ground, way, place);
        assert_same(&witness.0.borrow().written, &written);
    }
});

/// Where a file is in the output, and whether its reader takes all at once or is asked to take something only in the end.
#[derive(Clone, Copy)]
struct Way {
    is_first: bool,
    is_quick: bool,
}

const WAYS: [Way; 4] = [
    Way { is_first: true, is_quick: false },
    Way { is_first: false, is_quick: false },
    Way { is_first: true, is_quick: true },
    Way { is_first: false, is_quick: true },
];

/// Writes in every way, from inside and outside callbacks, while a file is on its way. Answers what arrived.
fn queue_behind_a_file(
    ground: Ground,
    way: Way,
    mut place: impl FnMut(&Transport) + 'static,
) -> Vec<u8> {
    // More than the system takes in from a writer whose peer does not read.
    let size = if ground.is_simulated() { 2_000_000 } else { 12_000_000 };
    let log = Rc::new(RefCell::new((Vec::new(), Vec::<Sent>::new())));
    let (first, more) = (Rc::clone(&log), Rc::clone(&log));
    let server = Probe::new()
        .on_made(move |transport| {
            place(transport);
            let (bytes, files) = &mut *first.borrow_mut();
            if !way.is_first {
                transport.write(b"first");
                bytes.extend_from_slice(b"first");
            }
            files.push(sent(transport.send_file(file(size), 0, size as u64)));
            transport.write(b"made");
            bytes.extend_from_slice(&[&pattern(size)[..], b"made"].concat());
        })
        .on_data(move |transport, data| {
            let (bytes, files) = &mut *more.borrow_mut();
            transport.write(data);
            transport.write_owned(vec![7; 3000]);
            files.push(sent(transport.send_file(file(1000), 0, 1000)));
            transport.write(b"callback");
            bytes.extend_from_slice(&[data, &[7; 3000], &pattern(1000), b"callback"].concat());
        });
    let asked = Rc::new(Cell::new(0));
    let asking = Rc::clone(&asked);
    let client = Probe::new()
        .on_made(move |transport| {
            if !way.is_quick {
                transport.pause_reading();
            }
        })
        .on_data(move |transport, _| {
            // In the midst of the file.
            if asking.get() < 60 {
                asking.set(asking.get() + 3);
                transport.write(b"ask");
            }
        });
    let ends = Ends::join(ground, client, server);
    let (client, server) = (ends.client.transport(), ends.server.transport());
    if !way.is_quick {
        ends.idle();
        for word in [b"one", b"two"] {
            client.write(word);
            ends.until("the word", |ends| ends.server.bytes().ends_with(word));
            server.write(b"outside");
            server.write_owned(vec![8; 3000]);
            log.borrow_mut().0.extend_from_slice(&[&b"outside"[..], &[8; 3000]].concat());
            ends.idle();
        }
        assert!(!log.borrow().1[0].is_there(), "all of that while the file waits");
        asked.set(60);
        client.resume_reading();
    }
    let questions = if way.is_quick { 60 } else { 6 };
    ends.until("all", |ends| {
        ends.server.received() == questions && ends.client.received() >= log.borrow().0.len()
    });
    ends.until("the answers", |_| log.borrow().1.iter().all(Sent::is_there));
    assert_same(&ends.client.bytes(), &log.borrow().0);
    log.take().0
}
