//! Hand-over of a connection from one protocol to another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::{Connection, Transport};

use super::kit::{
    Ends, Outcome, Probe, assert_same, connect, listen_once, pattern, started, turn_until,
};

/// A protocol that hands over to the ones in line, one with each piece of data.
fn handing_over(mut next: Vec<Probe>, rest: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Probe {
    next.reverse();
    Probe::new().on_data(move |transport, data| {
        if let Some(next) = next.pop() {
            transport.upgrade(next, &rest(data));
        }
    })
}

on_every_driver!(the_next_protocol_hears_connection_made_and_then_the_bytes_left_over, |ground| {
    let next = Probe::new().on_data(|transport, data| transport.write(data));
    let tape = next.tape();
    let server = handing_over(vec![next], |data| data[6..].to_vec());
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"switchleft over")), server);
    ends.until("the echo", |ends| ends.client.received() == 9);
    assert_eq!(ends.client.bytes(), b"left over");
    assert_eq!(ends.server.story(), "made data lost");
    assert_eq!(ends.server.reason(), "Upgraded");
    assert!(ends.server.is_dropped());
    assert_eq!(tape.story(), "made data");
    assert!(tape.transport().same(&ends.server.transport()));
    ends.client.transport().write(b", and more");
    ends.until("more", |ends| ends.client.received() == 19);
    ends.client.transport().lose_connection();
    ends.until("the end", |_| tape.is_lost());
    assert_eq!(
        (tape.story().as_str(), tape.reason().as_str()),
        ("made data read_lost lost", "Done")
    );
    assert_eq!(ends.server.story(), "made data lost");
});

on_every_driver!(the_hand_over_happens_after_the_callback_and_keeps_the_order_of_bytes, |ground| {
    let next = Probe::new().on_made(|transport| transport.write(b"3"));
    let tape = next.tape();
    let seen = tape.clone();
    let next = Cell::new(Some(next));
    let server = Probe::new().on_data(move |transport, _| {
        if let Some(next) = next.take() {
            transport.write(b"1");
            transport.upgrade(next, b"");
            assert!(!seen.is_made(), "from inside the call");
            transport.write(b"2");
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until("the bytes", |ends| ends.client.received() == 3);
    assert_eq!(ends.client.bytes(), b"123");
    assert_eq!(tape.story(), "made");
});

on_every_driver!(handing_over_twice_in_one_callback_makes_both_hear_it_in_order, |ground| {
    let (second, third) = (Probe::new(), Probe::new());
    let (second_tape, third_tape) = (second.tape(), third.tape());
    let next = Cell::new(Some((second, third)));
    let server = Probe::new().on_data(move |transport, _| {
        if let Some((second, third)) = next.take() {
            transport.upgrade(second, b"");
            transport.upgrade(third, b"rest");
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until("the third", |_| third_tape.has("data"));
    assert_eq!(
        (ends.server.story().as_str(), ends.server.reason().as_str()),
        ("made data lost", "Upgraded")
    );
    assert_eq!(second_tape.reason(), "Upgraded");
    assert_eq!(third_tape.bytes(), b"rest");
    assert_eq!(third_tape.story(), "made data");
    second_tape.assert_in_order();
});

on_every_driver!(a_protocol_may_hand_over_at_once_and_its_successor_too, |ground| {
    let last = Probe::new().on_data(|transport, data| transport.write(data));
    let tape = last.tape();
    let last = Cell::new(Some(last));
    let middle = Probe::new().on_made(move |transport| {
        if let Some(last) = last.take() {
            transport.upgrade(last, b"");
        }
    });
    let middle_tape = middle.tape();
    let middle = Cell::new(Some(middle));
    let server = Probe::new().on_made(move |transport| {
        if let Some(middle) = middle.take() {
            transport.upgrade(middle, b"early ");
        }
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"late")), server);
    ends.until("the echo", |ends| ends.client.received() == 10);
    assert_eq!(ends.client.bytes(), b"early late");
    assert_eq!(ends.server.story(), "made lost");
    assert_eq!(tape.story(), "made data");
    assert_eq!(middle_tape.reason(), "Upgraded");
});

on_every_driver!(a_close_in_the_same_callback_ends_it_with_what_was_written, |ground| {
    let next = Probe::new();
    let tape = next.tape();
    let next = Cell::new(Some(next));
    let server = Probe::new().on_data(move |transport, _| {
        transport.write(b"bye");
        if let Some(next) = next.take() {
            transport.upgrade(next, b"unheard");
        }
        transport.lose_connection();
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until("the end", |ends| ends.client.is_lost() && ends.server.is_lost());
    ends.idle();
    assert_eq!(ends.client.bytes(), b"bye");
    ends.server.assert_in_order();
    // Whichever of both was in charge at the end, each that was made hears one end, and no data any more.
    assert!(!tape.has("data"));
    assert_eq!(tape.is_made(), tape.is_lost());
    assert!(tape.is_dropped());
    tape.assert_in_order();
});

on_every_driver!(an_abort_in_the_same_callback_drops_the_next_protocol_unheard, |ground| {
    for abort_first in [true, false] {
        let next = Probe::new();
        let tape = next.tape();
        let next = Cell::new(Some(next));
        let server = Probe::new().on_data(move |transport, _| {
            if abort_first {
                transport.abort_connection();
            }
            if let Some(next) = next.take() {
                transport.upgrade(next, b"unheard");
            }
            transport.abort_connection();
        });
        let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
        ends.until_lost();
        assert_eq!(
            (ends.server.story().as_str(), ends.server.reason().as_str()),
            ("made data lost", "Aborted")
        );
        assert_eq!(tape.story(), "");
        assert!(tape.is_dropped());
        assert_eq!(ends.client.reason(), "Lost(ConnectionReset)");
    }
});

on_every_driver!(a_panic_after_the_hand_over_drops_the_next_protocol_unheard, |ground| {
    let next = Probe::new();
    let tape = next.tape();
    let next = Cell::new(Some(next));
    let server = Probe::new().on_data(move |transport, _| {
        if let Some(next) = next.take() {
            transport.upgrade(next, b"unheard");
        }
        panic!("changed its mind");
    });
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.write(b"x")), server);
    ends.until_lost();
    assert_eq!(ends.server.reason(), "Panicked(changed its mind)");
    assert_eq!(tape.story(), "");
    assert!(tape.is_dropped());
});

on_every_driver!(bytes_held_while_paused_go_to_the_protocol_then_in_charge, |ground| {
    let sent = pattern(100_000);
    let bytes = sent.clone();
    let server = Probe::new().on_made(|transport| transport.pause_reading());
    let ends = Ends::join(ground, Probe::new().on_made(move |t| t.write(&bytes)), server);
    ends.idle();
    let next = Probe::new().on_data(|_, _| {});
    let tape = next.tape();
    // From outside: by a handle.
    ends.server.transport().upgrade(next, b"<");
    ends.until("the hand-over", |_| tape.is_made());
    ends.idle();
    assert_eq!(tape.story(), "made", "it is still paused");
    ends.server.transport().resume_reading();
    ends.until("all of it", |_| tape.received() == sent.len() + 1);
    assert_same(&tape.bytes(), &[b"<".to_vec(), sent].concat());
    assert_eq!(ends.server.story(), "made lost");
});

on_every_driver!(a_piece_that_arrives_whole_is_handed_on_byte_by_byte, |ground| {
    // Each protocol takes one byte of its piece and hands the rest on.
    let ends_at = Rc::new(RefCell::new(Vec::new()));
    fn taker(left: u32, seen: Rc<RefCell<Vec<u8>>>) -> Probe {
        Probe::new().on_data(move |transport, data| {
            seen.borrow_mut().push(data[0]);
            if left > 0 {
                transport.upgrade(taker(left - 1, Rc::clone(&seen)), &data[1..]);
            }
        })
    }
    let server = taker(99, Rc::clone(&ends_at));
    let sent = pattern(100);
    let bytes = sent.clone();
    let ends = Ends::join(ground, Probe::new().on_made(move |t| t.write(&bytes)), server);
    ends.until("the last byte", |_| ends_at.borrow().len() == 100);
    assert_eq!(*ends_at.borrow(), sent);
});

on_every_driver!(
    the_end_of_the_stream_is_told_to_the_one_in_charge_after_what_was_left_over,
    |ground| {
        let next = Probe::new();
        let tape = next.tape();
        let server = handing_over(vec![next], <[u8]>::to_vec)
            .on_made(|transport| transport.pause_reading())
            .on_read_lost(|_| panic!("not in charge any more"));
        let client = Probe::new().on_made(|transport| {
            transport.write(b"all");
            transport.lose_connection();
        });
        let ends = Ends::join(ground, client, server);
        ends.idle();
        ends.server.transport().resume_reading();
        ends.until("the end", |_| tape.is_lost());
        assert_eq!(
            (tape.story().as_str(), tape.bytes()),
            ("made data read_lost lost", b"all".to_vec())
        );
        assert_eq!(ends.server.story(), "made data lost");
    }
);

on_every_driver!(a_hand_over_after_the_end_of_the_stream_tells_the_next_of_it, |ground| {
    let next = Probe::half_close().on_made(|transport| transport.write(b"farewell"));
    let next = next.on_read_lost(|transport| transport.lose_connection());
    let tape = next.tape();
    let next = Cell::new(Some(next));
    let server = Probe::new().on_read_lost(move |transport| {
        if let Some(next) = next.take() {
            transport.upgrade(next, b"");
        }
    });
    let ends =
        Ends::join(ground, Probe::half_close().on_made(|t| t.lose_write_connection()), server);
    ends.until("the farewell", |ends| ends.client.has("read_lost"));
    ends.until_lost();
    assert_eq!(ends.client.bytes(), b"farewell");
    assert_eq!((tape.story().as_str(), tape.reason().as_str()), ("made read_lost lost", "Done"));
});

on_every_driver!(a_hand_over_after_the_loss_drops_the_next_protocol_unheard, |ground| {
    let ends = Ends::join(ground, Probe::new().on_made(|t| t.lose_connection()), Probe::new());
    ends.until_lost();
    let next = Probe::new();
    let tape = next.tape();
    let connection = ends.client.transport().upgrade(next, b"x");
    ends.idle();
    assert_eq!(tape.story(), "");
    assert!(tape.is_dropped());
    assert!(connection.try_with(|_, _| ()).is_err());
});

on_every_driver!(typed_handles_follow_the_protocol_in_charge, |ground| {
    struct Other(u32);
    impl marline_core::Protocol for Other {
        fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
            assert!(transport.connection::<Probe>().is_none());
            assert!(transport.connection::<Self>().is_some());
            self.0 += 1;
        }
    }
    let kept: Rc<RefCell<Option<Connection<Other>>>> = Rc::default();
    let slot = Rc::clone(&kept);
    let server = Probe::new().on_data(move |transport, _| {
        assert!(transport.connection::<Probe>().is_some());
        *slot.borrow_mut() = Some(transport.upgrade(Other(40), b"one"));
        assert!(transport.connection::<Probe>().is_some(), "until the end of this callback");
    });
    let tape = server.tape();
    let reactor = started(ground);
    let port = listen_once(&reactor, server);
    let client = connect(&reactor, &port.local_addr(), Probe::new());
    client.transport().write(b"go");
    turn_until(&reactor, "the hand-over", || tape.is_lost());
    let other = kept.borrow().clone().unwrap();
    client.transport().write(b"two");
    let number = || other.try_with(|other, _| other.0).unwrap();
    turn_until(&reactor, "the bytes", || number() == 42);
    let old = Connection::<Probe>::clone(&client);
    assert_eq!(old.try_with(|probe, _| probe.number).unwrap(), 0);
    assert!(tape.transport().connection::<Probe>().is_none());
    assert!(tape.transport().connection::<Other>().is_some());
    let outcome = Outcome::of(other.with(|other, _| other.0));
    assert_eq!(outcome.take().unwrap(), 42);
});
