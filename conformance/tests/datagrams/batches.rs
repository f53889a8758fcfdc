//! What is sent and received together arrives as it would one by one.

use std::cell::Cell;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::Rng;

use super::kit::{Ear, ear, until_count};
use crate::streams::kit::{idle, pattern, started, turn_until};

on_every_driver!(datagrams_of_every_kind_of_length_arrive_whole_and_in_order, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(&reactor, Ear::new());
    let (from, _) = ear(&reactor, Ear::new());
    let mut lengths = vec![0, 1, 2, 63, 64, 65, 1199, 1200, 1201, 1472, 1473, 8192, 0, 0];
    lengths.extend([9000, 16_384, 32_768, 32_769, 65_506, 65_507]);
    for (number, len) in lengths.iter().enumerate() {
        from.send_to(&pattern(*len), to.local_addr()).unwrap();
        // Not more at a time than a receive buffer holds.
        if number % 4 == 3 {
            until_count(&reactor, &tape, number + 1);
        }
    }
    until_count(&reactor, &tape, lengths.len());
    assert_eq!(tape.lengths(), lengths);
    for (bytes, source) in tape.received() {
        assert!(bytes == pattern(bytes.len()), "{} bytes", bytes.len());
        assert_eq!(source, from.local_addr());
    }
});

on_every_driver!(runs_of_any_length_and_number_are_cut_where_they_were_joined, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(&reactor, Ear::new());
    let (from, _) = ear(&reactor, Ear::new());
    // Runs that the kernel may send as one message, and their neighbours: other lengths before, behind and between, empty ones, one that is
    // shorter and ends the run, more than 64 and more than 65,507 bytes.
    let runs: [&[(usize, usize)]; 12] = [
        &[(100, 1)],
        &[(100, 2)],
        &[(100, 63), (99, 1)],
        &[(100, 64)],
        &[(100, 65)],
        &[(100, 130), (1, 3)],
        &[(100, 5), (101, 5), (100, 5)],
        &[(100, 5), (0, 2), (100, 5)],
        &[(100, 5), (50, 1), (100, 5)],
        &[(1, 70)],
        &[(1200, 54), (1200, 2)],
        &[(21_835, 3), (21_836, 3)],
    ];
    for run in runs {
        let before = tape.count();
        let mut sent = Vec::new();
        for (len, count) in run {
            for _ in 0..*count {
                let mut bytes = pattern(*len);
                if let Some(first) = bytes.first_mut() {
                    *first = sent.len() as u8;
                }
                from.send_to(&bytes, to.local_addr()).unwrap();
                sent.push(bytes);
            }
        }
        until_count(&reactor, &tape, before + sent.len());
        idle(&reactor);
        let got = tape.bytes().split_off(before);
        assert!(got == sent, "{run:?}: {:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
    }
});

on_every_driver!(random_batches_to_several_sockets_arrive_in_order_at_each, |ground| {
    let reactor = started(ground);
    let ears: Vec<_> = (0..3).map(|_| ear(&reactor, Ear::new())).collect();
    let (from, _) = ear(&reactor, Ear::new());
    let mut rng = Rng::from_seed([3; 32]);
    let mut expected = vec![Vec::new(); 3];
    for _ in 0..60 {
        for _ in 0..rng.below(40) {
            let which = rng.below(3) as usize;
            let len = if rng.chance(0.7) { 200 } else { rng.below(400) as usize };
            let bytes: Vec<u8> = (0..len).map(|_| rng.below(256) as u8).collect();
            from.send_to(&bytes, ears[which].0.local_addr()).unwrap();
            expected[which].push(bytes);
        }
        for ((_, tape), expected) in ears.iter().zip(&expected) {
            until_count(&reactor, tape, expected.len());
        }
    }
    for ((_, tape), expected) in ears.iter().zip(&expected) {
        assert!(tape.bytes() == *expected);
    }
});

on_every_driver!(many_senders_are_all_answered_each_with_its_own, |ground| {
    let reactor = started(ground);
    let (echo, heard) = ear(&reactor, Ear::echo());
    let senders: Vec<_> = (0..100).map(|_| ear(&reactor, Ear::new())).collect();
    for (number, (sender, _)) in senders.iter().enumerate() {
        for round in 0..3 {
            sender.send_to(&[number as u8, round], echo.local_addr()).unwrap();
        }
    }
    for (number, (_, tape)) in senders.iter().enumerate() {
        until_count(&reactor, tape, 3);
        let expected: Vec<_> =
            (0..3).map(|round| (vec![number as u8, round], echo.local_addr())).collect();
        assert_eq!(tape.received(), expected);
    }
    assert_eq!(heard.count(), 300);
});

on_every_driver!(
    what_is_sent_outside_a_callback_leaves_when_the_turn_ends_and_try_send_at_once,
    |ground| {
        let reactor = started(ground);
        let (to, tape) = ear(&reactor, Ear::new());
        let (from, _) = ear(&reactor, Ear::new());
        from.send_to(b"first", to.local_addr()).unwrap();
        from.try_send_to(b"second", to.local_addr()).unwrap();
        from.send_to(b"third", to.local_addr()).unwrap();
        until_count(&reactor, &tape, 3);
        assert_eq!(tape.bytes(), [&b"first"[..], b"second", b"third"]);
    }
);

on_every_driver!(a_pause_in_the_middle_of_a_batch_holds_the_rest_until_resumed, |ground| {
    let reactor = started(ground);
    // Every third datagram pauses; a timer resumes.
    let seen = Rc::new(Cell::new(0));
    let count = Rc::clone(&seen);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(move |transport, _, _| {
            count.set(count.get() + 1);
            if count.get() % 3 == 0 {
                transport.pause_reading();
            }
        }),
    );
    let (from, _) = ear(&reactor, Ear::new());
    for number in 0..50_u8 {
        // Mostly runs that come as one message.
        from.send_to(&vec![number; if number % 9 == 0 { 7 } else { 30 }], to.local_addr()).unwrap();
    }
    for round in 1..=16 {
        until_count(&reactor, &tape, 3 * round);
        idle(&reactor);
        assert_eq!(tape.count(), 3 * round, "nothing comes while paused");
        assert!(to.is_paused());
        to.resume_reading();
    }
    until_count(&reactor, &tape, 50);
    let firsts: Vec<u8> = tape.bytes().iter().map(|bytes| bytes[0]).collect();
    assert_eq!(firsts, (0..50).collect::<Vec<u8>>());
});

on_every_driver!(pause_and_resume_in_one_callback_change_nothing, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(|transport, _, _| {
            transport.pause_reading();
            transport.resume_reading();
        }),
    );
    let (from, _) = ear(&reactor, Ear::new());
    (0..40_u8).for_each(|number| from.send_to(&[number], to.local_addr()).unwrap());
    until_count(&reactor, &tape, 40);
    idle(&reactor);
    assert_eq!(tape.bytes(), (0..40_u8).map(|number| vec![number]).collect::<Vec<_>>());
});

on_every_driver!(what_is_resumed_comes_before_what_arrives_meanwhile, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(|transport, data, _| {
            if data == [0] {
                transport.pause_reading();
            }
        }),
    );
    let (from, _) = ear(&reactor, Ear::new());
    (0..10_u8).for_each(|number| from.send_to(&[number], to.local_addr()).unwrap());
    until_count(&reactor, &tape, 1);
    (10..20_u8).for_each(|number| from.send_to(&[number], to.local_addr()).unwrap());
    idle(&reactor);
    assert_eq!(tape.count(), 1);
    to.resume_reading();
    until_count(&reactor, &tape, 20);
    assert_eq!(tape.bytes(), (0..20_u8).map(|number| vec![number]).collect::<Vec<_>>());
});

on_every_driver!(a_panic_in_the_middle_of_a_batch_costs_that_datagram_alone, |ground| {
    let reactor = started(ground);
    let (to, tape) =
        ear(&reactor, Ear::new().on_datagram(|_, data, _| assert_ne!(data[0], 7, "a bad one")));
    let (from, _) = ear(&reactor, Ear::new());
    (0..20_u8).for_each(|number| from.send_to(&[number; 10], to.local_addr()).unwrap());
    until_count(&reactor, &tape, 20);
    assert!(to.is_open());
    let firsts: Vec<u8> = tape.bytes().iter().map(|bytes| bytes[0]).collect();
    assert_eq!(firsts, (0..20).collect::<Vec<u8>>());
});

on_every_driver!(with_reaches_the_protocol_and_waits_while_a_callback_is_on_the_stack, |ground| {
    let reactor = started(ground);
    let (to, tape) = ear(
        &reactor,
        Ear::new().on_datagram(|transport, _, _| {
            // From inside: after this callback.
            transport.with::<Ear, _>(|ear, _| ear.number += 10).done(|_| {});
        }),
    );
    assert_eq!(to.with::<Ear, _>(|ear, _| ear.number).take_now(), Some(0));
    to.send_to(b"x", to.local_addr()).unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(to.with::<Ear, _>(|ear, _| ear.number).take_now(), Some(10));
    let other = to.with::<Stranger, _>(|_, _| ()).failed_now();
    assert_eq!(other, Some("the connection is lost, or belongs to another protocol".into()));
    turn_until(&reactor, "nothing", || true);
});

struct Stranger;

impl marline_core::datagram::DatagramProtocol for Stranger {
    fn datagram_received(
        &mut self,
        _: &marline_core::datagram::DatagramTransport,
        _: &[u8],
        _: &marline_core::Addr,
    ) {
    }
}

/// What a Deferred has come to by now.
trait Now<T> {
    fn take_now(self) -> Option<T>;
    fn failed_now(self) -> Option<String>;
}

impl<T: 'static> Now<T> for marline_core::deferred::Deferred<T> {
    fn take_now(self) -> Option<T> {
        let outcome = crate::streams::kit::Outcome::of(self);
        outcome.is_there().then(|| outcome.take().ok()).flatten()
    }

    fn failed_now(self) -> Option<String> {
        let outcome = crate::streams::kit::Outcome::of(self);
        let error = outcome.is_there().then(|| outcome.take().err()).flatten();
        error.map(|failure| failure.to_string())
    }
}
