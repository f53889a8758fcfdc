//! Reading: pause and resume in any order, bytes held and given back, and ends of the peer noticed while paused.

use std::cell::Cell;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::Transport;

use super::kit::{Ends, Probe, assert_same, pattern};

/// Pauses at the start, and leaves the rest to the check.
fn paused() -> Probe {
    Probe::new().on_made(|transport| transport.pause_reading())
}

// 70
on_every_driver!(the_last_of_many_pauses_and_resumes_counts, |ground| {
    // Every order of up to four, true for a pause.
    for length in 1..=4 {
        for bits in 0..1_u32 << length {
            let calls: Vec<bool> = (0..length).map(|at| bits >> at & 1 == 1).collect();
            let last = calls.last() == Some(&true);
            let server = Probe::new().on_made(move |transport| {
                for pause in &calls {
                    if *pause { transport.pause_reading() } else { transport.resume_reading() }
                }
            });
            let client = Probe::new().on_made(|transport| transport.write(b"x"));
            let ends = Ends::join(ground, client, server);
            if last {
                ends.idle();
                assert_eq!(ends.server.story(), "made");
                ends.server.transport().resume_reading();
            }
            ends.until("the byte", |ends| ends.server.received() == 1);
            assert_eq!(ends.server.story(), "made data");
        }
    }
});

on_every_driver!(a_pause_in_connection_made_holds_everything_until_it_resumes, |ground| {
    let sent = pattern(200_000);
    let bytes = sent.clone();
    let ends = Ends::join(ground, Probe::new().on_made(move |t| t.write(&bytes)), paused());
    ends.idle();
    assert_eq!(ends.server.story(), "made");
    ends.server.transport().resume_reading();
    ends.until("all of it", |ends| ends.server.received() == sent.len());
    assert_same(&ends.server.bytes(), &sent);
});

on_every_driver!(a_pause_inside_data_received_is_the_last_of_the_data, |ground| {
    let sent = pattern(3_000_000);
    let bytes = sent.clone();
    let calls = Rc::new(Cell::new(0));
    let count = Rc::clone(&calls);
    let server = Probe::new().on_data(move |transport, _| {
        transport.pause_reading();
        count.set(count.get() + 1);
    });
    let ends = Ends::join(ground, Probe::new().on_made(move |t| t.write(&bytes)), server);
    let mut before = 0;
    while ends.server.received() < sent.len() {
        ends.until("a piece", |_| calls.get() > before);
        for _ in 0..3 {
            ends.reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
        }
        assert_eq!(calls.get(), before + 1, "data although it is paused");
        before += 1;
        ends.server.transport().resume_reading();
    }
    assert_same(&ends.server.bytes(), &sent);
});

on_every_driver!(bytes_given_back_come_first_on_resume, |ground| {
    let server = Probe::new().on_data({
        let mut first = true;
        move |transport, data| {
            if std::mem::take(&mut first) {
                assert_eq!(data, b"abc");
                transport.pause_reading();
                transport.unread(&data[1..]);
            }
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"abc")), server);
    ends.until("the first piece", |ends| ends.server.has("data"));
    ends.client.transport().write(b"def");
    ends.idle();
    assert_eq!(ends.server.bytes(), b"abc");
    ends.server.transport().resume_reading();
    ends.until("the rest", |ends| ends.server.received() == 8);
    assert_eq!(ends.server.bytes(), b"abcbcdef");
});

on_every_driver!(bytes_given_back_without_a_pause_come_joined_with_the_next, |ground| {
    let pieces: Rc<std::cell::RefCell<Vec<Vec<u8>>>> = Rc::default();
    let list = Rc::clone(&pieces);
    let server = Probe::new().on_data(move |transport, data| {
        list.borrow_mut().push(data.to_vec());
        if data == b"ab" {
            transport.unread(b"b");
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"ab")), server);
    ends.until("the first piece", |ends| ends.server.received() == 2);
    ends.idle();
    assert_eq!(ends.server.bytes(), b"ab", "nothing new has arrived");
    ends.client.transport().write(b"cd");
    ends.until("the second", |ends| ends.server.received() >= 5);
    assert_eq!(*pieces.borrow(), [b"ab".to_vec(), b"bcd".to_vec()]);
});

on_every_driver!(what_is_given_back_last_comes_before_what_was_given_back_earlier, |ground| {
    let server = Probe::new().on_data({
        let mut first = true;
        move |transport, data| {
            if std::mem::take(&mut first) {
                assert_eq!(data, b"abc");
                transport.pause_reading();
                transport.unread(b"c");
                transport.unread(b"b");
                transport.unread(b"");
            }
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"abc")), server);
    ends.until("the first piece", |ends| ends.server.has("data"));
    ends.server.transport().resume_reading();
    ends.until("the rest", |ends| ends.server.received() == 5);
    assert_eq!(ends.server.bytes(), b"abcbc");
});

on_every_driver!(a_resume_inside_the_same_callback_delivers_after_it, |ground| {
    let server = Probe::new().on_data({
        let mut times = 3;
        move |transport, _| {
            if times > 0 {
                times -= 1;
                transport.pause_reading();
                transport.unread(b"again");
                // Not from inside this callback: the tape would know.
                transport.resume_reading();
            }
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"once ")), server);
    ends.until("the repeats", |ends| ends.server.received() == 20);
    ends.idle();
    assert_eq!(ends.server.bytes(), b"once againagainagain");
    ends.server.assert_in_order();
});

on_every_driver!(bytes_given_back_before_the_end_of_the_stream_come_before_it, |ground| {
    let server = Probe::new().on_data({
        let mut first = true;
        move |transport, data| {
            if std::mem::take(&mut first) {
                transport.pause_reading();
                transport.unread(data);
            }
        }
    });
    let client = Probe::new().on_made(|transport| {
        transport.write(b"last words");
        transport.lose_connection();
    });
    let ends = Ends::join(ground, client, server);
    ends.until("the words", |ends| ends.server.has("data"));
    ends.idle();
    assert_eq!(ends.server.story(), "made data");
    ends.server.transport().resume_reading();
    ends.until_lost();
    assert_eq!(ends.server.bytes(), b"last wordslast words");
    assert_eq!(ends.server.story(), "made data read_lost lost");
});

on_every_driver!(a_resume_without_a_pause_changes_nothing, |ground| {
    let server = Probe::new().on_made(|t| t.resume_reading()).on_data(|t, _| t.resume_reading());
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until("the byte", |ends| ends.server.received() == 1);
    ends.idle();
    assert_eq!(ends.server.bytes(), b"x");
});

// 71
on_every_driver!(a_resume_while_closing_or_closed_lets_nothing_in, |ground| {
    let resume = |transport: &Transport| transport.resume_reading();
    let server = Probe::new()
        .on_made(|transport| {
            transport.pause_reading();
            // Much enough that the close takes a while.
            transport.write(&pattern(12_000_000));
            transport.lose_connection();
            transport.resume_reading();
        })
        .on_lost(resume);
    let client = Probe::half_close().on_made(|transport| {
        transport.pause_reading();
        transport.write(b"too late");
    });
    let ends = Ends::join(ground, client, server);
    ends.server.transport().resume_reading();
    ends.idle();
    assert_eq!(ends.server.story(), "made", "it closes, and hears nothing meanwhile");
    ends.client.transport().resume_reading();
    ends.until("the end of the stream", |ends| ends.client.has("read_lost"));
    ends.client.transport().lose_connection();
    ends.until_lost();
    ends.server.transport().resume_reading();
    ends.idle();
    assert_eq!(ends.server.story(), "made lost");
    assert_eq!(ends.client.received(), 12_000_000);
});

// 72
on_every_driver!(
    the_end_of_the_peers_stream_is_told_after_the_resume_and_the_data_before_it,
    |ground| {
        let sent = pattern(100_000);
        let bytes = sent.clone();
        let client = Probe::new().on_made(move |transport| {
            transport.write(&bytes);
            transport.lose_connection();
        });
        let ends = Ends::join(ground, client, paused());
        ends.idle();
        assert_eq!(ends.server.story(), "made");
        ends.server.transport().resume_reading();
        ends.until_lost();
        assert_same(&ends.server.bytes(), &sent);
        assert_eq!(ends.server.story(), "made data read_lost lost");
        assert_eq!(ends.server.reason(), "Done");
    }
);

// 72; section 13: in Twisted neither is noticed.
on_every_driver!(a_reset_is_noticed_at_once_although_reading_is_paused, |ground| {
    let ends = Ends::join(ground, Probe::new(), paused());
    ends.client.transport().write(b"never read");
    ends.idle();
    ends.client.transport().abort_connection();
    ends.until_lost();
    assert_eq!(ends.server.story(), "made lost");
    assert_eq!(ends.server.reason(), "Lost(ConnectionReset)");
});

on_every_driver!(a_paused_connection_whose_peer_has_closed_can_still_be_closed, |ground| {
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.lose_connection()), paused());
    ends.idle();
    assert_eq!(ends.server.story(), "made");
    ends.server.transport().lose_connection();
    ends.until_lost();
    assert_eq!(
        (ends.server.story().as_str(), ends.server.reason().as_str()),
        ("made lost", "Done")
    );
});

on_every_driver!(a_paused_connection_whose_peer_has_closed_makes_no_turns, |ground| {
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.lose_connection()), paused());
    ends.idle();
    let (turns, over) = (Cell::new(0), Rc::new(Cell::new(false)));
    let flag = Rc::clone(&over);
    ends.reactor.call_later(std::time::Duration::from_millis(100), move |_| flag.set(true));
    ends.until("the pause to be over", |_| {
        turns.set(turns.get() + 1);
        over.get()
    });
    assert!(turns.get() < 100, "{} turns in a tenth of a second of nothing", turns.get());
    assert_eq!(ends.server.story(), "made");
});

on_every_driver!(a_reader_that_pauses_stops_the_sender, |ground| {
    let sent = pattern(16_000_000);
    let bytes = sent.clone();
    let ends = Ends::join(ground, Probe::new().on_made(move |t| t.write(&bytes)), paused());
    ends.idle();
    let stuck = ends.client.transport().pending();
    assert!(stuck > 0);
    ends.idle();
    assert_eq!(ends.server.received(), 0);
    ends.server.transport().resume_reading();
    ends.until("all of it", |ends| ends.server.received() == sent.len());
    assert_same(&ends.server.bytes(), &sent);
});
