//! How many bytes a second. Which bytes pass when is seen by a policy on the wire's side of the throttle, and, for reading, by the protocol.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::rate::BadRate;
use marline_core::{Connection, Reactor, Rng, Time, Transport, sim::SimDriver};
use marline_protocols::policy::{Rate, Throttle};

use super::Witness;
use crate::streams::kit::{Ends, Outcome, Probe, assert_same, listen_once, pattern, turn_until};

type Moments = Vec<(Time, u64)>;

/// Fails if more than `burst + rate × t` passed in any span.
#[track_caller]
fn assert_within(moments: &Moments, rate: u64, burst: u64) {
    for from in 0..moments.len() {
        let mut sum: u128 = 0;
        for &(at, bytes) in &moments[from..] {
            sum += u128::from(bytes) * 1_000_000_000;
            let span = at.since(moments[from].0).as_nanos();
            let most = u128::from(burst) * 1_000_000_000 + span * u128::from(rate);
            assert!(sum <= most, "{rate} B/s, burst {burst}: too much from {from} to {at}");
        }
    }
}

/// Fails if it took longer than the rate allows for, by more than a hundredth.
#[track_caller]
fn assert_reached(moments: &Moments, rate: u64, burst: u64) {
    let all: u64 = moments.iter().map(|(_, bytes)| bytes).sum();
    let took = moments.last().unwrap().0.since(moments[0].0).as_secs_f64();
    let least = all.saturating_sub(burst) as f64 / rate as f64;
    assert!(
        took <= least * 1.01 + 1e-6,
        "{all} B at {rate} B/s took {took} s instead of {least} s"
    );
}

/// A reactor in a world of its own, where moments are exact.
fn exact() -> Reactor {
    let reactor = Reactor::new(SimDriver::alone(3));
    reactor.leave_signals_alone();
    reactor.start().unwrap();
    reactor
}

/// Turns from one event to the next, so that no moment is passed over.
#[track_caller]
fn play(reactor: &Reactor, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000_000 {
        if done() {
            return;
        }
        reactor.turn(Some(Duration::from_secs(1))).unwrap();
    }
    panic!("never came to an end");
}

fn join(reactor: &Reactor, client: Probe, server: Probe) -> Connection<Probe> {
    let port = listen_once(reactor, server);
    let connected = Outcome::of(reactor.connect_tcp(port.local_addr(), client));
    play(reactor, || connected.is_there());
    connected.take().unwrap()
}

/// Rates and bursts of all sizes, and how much is sent: a few seconds' worth, in writes that may be larger than the burst.
fn cases() -> Vec<(u64, u64, usize)> {
    let mut rng = Rng::from_number(11);
    let mut cases = vec![(1, 1, 5), (10, 1, 40), (1_000_000, 1, 3_000), (500, 100_000, 200_000)];
    for _ in 0..12 {
        let rate = 1 << rng.below(22);
        let burst = 1 << rng.below(18);
        cases.push((rate, burst, (burst + 4 * rate).min(400_000) as usize + 1));
    }
    cases
}

#[test]
fn no_span_sees_more_written_than_the_burst_and_the_rate_and_the_rate_is_reached() {
    for (rate, burst, len) in cases() {
        let reactor = exact();
        let witness = Witness::default();
        let below = witness.clone();
        let own = Rate::new(rate, burst).unwrap();
        let bytes = pattern(len);
        let server = Probe::new().on_made(move |transport| {
            transport.start_policy(below.clone());
            transport.start_policy(Throttle::new().writing(&own));
            for piece in bytes.chunks(bytes.len() / 3 + 1) {
                transport.write(piece);
            }
            transport.lose_connection();
        });
        let client = Probe::new();
        let tape = client.tape();
        join(&reactor, client, server);
        play(&reactor, || tape.is_lost());
        // The close has waited for all of it.
        assert_same(&tape.bytes(), &pattern(len));
        let seen = witness.0.borrow();
        assert_within(&seen.moments, rate, burst);
        assert_reached(&seen.moments, rate, burst);
    }
}

#[test]
fn no_span_sees_more_received_than_the_burst_and_the_rate_and_the_rate_is_reached() {
    for (rate, burst, len) in cases() {
        let reactor = exact();
        let moments = Rc::<RefCell<Moments>>::default();
        let heard = Rc::clone(&moments);
        let own = Rate::new(rate, burst).unwrap();
        let server = Probe::new()
            .on_made(move |transport| transport.start_policy(Throttle::new().reading(&own)))
            .on_data(move |transport, data| {
                let now = transport.reactor().unwrap().now();
                heard.borrow_mut().push((now, data.len() as u64));
            });
        let tape = server.tape();
        let client = Probe::new().on_made(move |transport| {
            transport.write(&pattern(len));
            transport.lose_connection();
        });
        join(&reactor, client, server);
        play(&reactor, || tape.is_lost());
        // The end of the stream has waited for all of it.
        assert_same(&tape.bytes(), &pattern(len));
        assert_eq!(tape.story(), "made data read_lost lost");
        assert_within(&moments.borrow(), rate, burst);
        assert_reached(&moments.borrow(), rate, burst);
    }
}

#[test]
fn a_group_shares_its_rate_evenly_and_each_keeps_its_own() {
    let (rate, burst) = (100_000, 8_000);
    let reactor = exact();
    let together = Rate::new(rate, burst).unwrap();
    // One of them has less of its own than its share.
    let limits = [1_000_000, 1_000_000, 1_000_000, 10_000];
    let witnesses: Vec<_> = limits.iter().map(|_| Witness::default()).collect();
    for (limit, witness) in limits.into_iter().zip(&witnesses) {
        let own = Rate::new(limit, 4_000).unwrap();
        let (together, below) = (together.clone(), witness.clone());
        let server = Probe::new().on_made(move |transport| {
            transport.start_policy(below.clone());
            transport.start_policy(Throttle::new().writing(&own).writing(&together));
            transport.write(&pattern(2_000_000));
        });
        join(&reactor, Probe::new(), server);
    }
    let end = reactor.now() + Duration::from_secs(10);
    play(&reactor, || reactor.now() >= end);
    let mut all = Moments::new();
    let mut shares = Vec::new();
    for (limit, witness) in limits.into_iter().zip(&witnesses) {
        let seen = witness.0.borrow();
        assert_within(&seen.moments, limit, 4_000);
        shares.push(seen.written.len());
        all.extend(&seen.moments);
    }
    all.sort();
    assert_within(&all, rate, burst);
    let sum: usize = shares.iter().sum();
    assert!((990_000..=1_008_000).contains(&sum), "{shares:?}");
    // Three share what the fourth cannot use.
    assert!((99_000..=104_000).contains(&shares[3]), "{shares:?}");
    let (least, most) = (shares[..3].iter().min().unwrap(), shares[..3].iter().max().unwrap());
    assert!(most - least <= 10_000, "{shares:?}");
}

/// Writes a little every eleven milliseconds: nine tenths of what there is.
fn drip(transport: &Transport) {
    transport.write(&[0; 100]);
    let (transport, reactor) = (transport.clone(), transport.reactor().unwrap());
    reactor.call_later(Duration::from_millis(11), move |_| drip(&transport));
}

#[test]
fn one_that_wants_little_at_a_time_does_not_overtake_those_who_wait_for_more() {
    let reactor = exact();
    let together = Rate::new(10_000, 2_000).unwrap();
    let received: Vec<_> = [false, true]
        .into_iter()
        .map(|drips| {
            let own = together.clone();
            let server = Probe::new().on_made(move |transport| {
                transport.start_policy(Throttle::new().writing(&own));
                match drips {
                    true => drip(transport),
                    false => transport.write(&pattern(1_000_000)),
                }
            });
            let client = Probe::new();
            let tape = client.tape();
            join(&reactor, client, server);
            tape
        })
        .collect();
    let end = reactor.now() + Duration::from_secs(20);
    play(&reactor, || reactor.now() >= end);
    let shares = [received[0].received(), received[1].received()];
    assert!(shares.iter().all(|share| (90_000..=110_000).contains(share)), "{shares:?}");
}

#[test]
fn one_that_ends_while_it_waits_leaves_its_share_to_the_others() {
    let reactor = exact();
    let together = Rate::new(10_000, 1_000).unwrap();
    let tapes: Vec<_> = (0..2)
        .map(|_| {
            let own = together.clone();
            let server = Probe::new().on_made(move |transport| {
                transport.start_policy(Throttle::new().writing(&own));
                transport.write(&pattern(1_000_000));
            });
            let tape = server.tape();
            let client = Probe::new();
            let received = client.tape();
            join(&reactor, client, server);
            (tape, received)
        })
        .collect();
    let end = reactor.now() + Duration::from_secs(3);
    play(&reactor, || reactor.now() >= end);
    tapes[0].0.transport().abort_connection();
    let (before, begin) = (tapes[1].1.received(), reactor.now());
    play(&reactor, || reactor.now() >= begin + Duration::from_secs(10));
    let gained = tapes[1].1.received() - before;
    assert!((98_000..=101_100).contains(&gained), "{gained}");
}

on_every_driver!(an_upgrade_goes_on_at_the_rate, |ground| {
    let own = Rate::new(1_000_000, 1_000).unwrap();
    let next = Probe::new().on_made(|transport| transport.write(&[2; 50_000]));
    let mut next = Some(next);
    let server = Probe::new().on_made(move |transport| {
        transport.start_policy(Throttle::new().writing(&own));
        transport.write(&[1; 50_000]);
        transport.upgrade(next.take().unwrap(), b"");
    });
    let begin = std::time::Instant::now();
    let ends = Ends::begin(ground, Probe::new(), server);
    let started = ends.reactor.now();
    ends.until("all of it", |ends| ends.client.received() == 100_000);
    assert_same(&ends.client.bytes(), &[vec![1; 50_000], vec![2; 50_000]].concat());
    let took = ends.reactor.now().since(started);
    assert!(took >= Duration::from_millis(99), "{took:?} ({:?})", begin.elapsed());
});

on_every_driver!(a_throttled_reader_slows_its_peer_and_both_pauses_count, |ground| {
    let own = Rate::new(2_000_000, 10_000).unwrap();
    let server = Probe::new().on_made(move |t| t.start_policy(Throttle::new().reading(&own)));
    let client = Probe::new().on_made(|transport| transport.write(&pattern(20_000_000)));
    let ends = Ends::join(ground, client, server);
    ends.until("some bytes", |ends| ends.server.received() > 100_000);
    // The peer's output waits: this end reads no faster than it delivers.
    assert!(ends.client.transport().pending() > 1_000_000);
    ends.server.transport().pause_reading();
    let before = ends.server.received();
    ends.idle();
    assert_eq!(ends.server.received(), before);
    ends.server.transport().resume_reading();
    ends.until("more", |ends| ends.server.received() > before + 100_000);
    ends.server.transport().lose_connection();
    ends.until("its end", |ends| ends.server.is_lost());
});

on_every_driver!(a_rate_may_be_changed_and_never_be_zero, |ground| {
    assert_eq!(Rate::new(0, 1).unwrap_err(), BadRate::Rate);
    assert_eq!(Rate::new(1, 0).unwrap_err(), BadRate::Burst);
    let own = Rate::new(1_000, 1_000).unwrap();
    let policy = own.clone();
    let server = Probe::new().on_made(move |transport| {
        transport.start_policy(Throttle::new().writing(&policy));
        transport.write(&[0; 1_000_000]);
    });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.idle();
    let now = ends.reactor.now();
    assert_eq!(own.set(0, 1, now), Err(BadRate::Rate));
    own.set(100_000_000, 1_000_000, now).unwrap();
    turn_until(&ends.reactor, "the rest", || ends.client.received() == 1_000_000);
});
