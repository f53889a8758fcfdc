//! The moment until which a wait lasts: that it is kept whatever was asked for before, and what a wait says of it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use marline_core::driver::{Interest, Woken};
use marline_core::{Rng, Time};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{Bench, each};

const MILLI: Duration = Duration::from_millis(1);

impl Bench {
    /// A wait that the waker ends at once.
    fn woken_wait(&mut self, until: Time) -> Woken {
        self.driver.waker()();
        let woken = self.driver.wait(Some(until)).unwrap();
        assert_eq!(self.driver.next(&mut self.scratch), None);
        woken
    }

    fn is_readable(&self) -> bool {
        let descriptor = self.driver.descriptor().unwrap();
        let none = Timespec::default();
        poll(&mut [PollFd::new(&descriptor.as_fd(), PollFlags::IN)], Some(&none)).unwrap() == 1
    }
}

#[test]
fn a_wait_says_whether_its_moment_may_have_come() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        let far = bench.driver.now() + 3600 * 1000 * MILLI;
        // Put off again and again.
        for round in 0..5 {
            peer.write_all(b"x").unwrap();
            assert_eq!(bench.driver.wait(Some(far + round * MILLI)).unwrap(), Woken::Before);
            assert_eq!(bench.bytes(conn), b"x");
        }
        let near = bench.driver.now() + 2 * MILLI;
        assert_eq!(bench.driver.wait(Some(near)).unwrap(), Woken::Perhaps);
        assert!(bench.driver.now() >= near);
        // It has come, whether it is said to be in the past or not.
        assert_eq!(bench.driver.wait(Some(near)).unwrap(), Woken::Perhaps);
        assert_eq!(bench.driver.wait(Some(Time::ZERO)).unwrap(), Woken::Perhaps);
    });
}

#[test]
fn an_earlier_moment_than_before_is_kept_and_a_later_one_not_cut_short() {
    each(|mut bench| {
        let now = bench.driver.now();
        assert_eq!(bench.woken_wait(now + 3600 * 1000 * MILLI), Woken::Before);
        let earlier = now + 10 * MILLI;
        assert_eq!(bench.woken_wait(earlier), Woken::Before);
        let later = now + 40 * MILLI;
        assert_eq!(bench.driver.wait(Some(later)).unwrap(), Woken::Perhaps);
        assert!(bench.driver.now() >= later, "ended by the moment of an earlier wait");
    });
}

#[test]
fn a_wait_for_ever_is_not_ended_by_the_moment_of_an_earlier_one() {
    each(|mut bench| {
        let moment = bench.driver.now() + 5 * MILLI;
        assert_eq!(bench.woken_wait(moment), Woken::Before);
        let waker = bench.driver.waker();
        let late = bench.driver.now() + 50 * MILLI;
        let caller = thread::spawn(move || {
            thread::sleep(50 * MILLI);
            waker();
        });
        bench.driver.wait(None).unwrap();
        assert!(bench.driver.now() >= late);
        caller.join().unwrap();
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        // And the next moment is kept all the same.
        let moment = bench.driver.now() + 5 * MILLI;
        assert_eq!(bench.driver.wait(Some(moment)).unwrap(), Woken::Perhaps);
        assert!(bench.driver.now() >= moment);
    });
}

#[test]
fn a_moment_that_came_between_two_waits_is_told_by_the_next_which_does_not_last() {
    each(|mut bench| {
        let (conn, mut peer) = bench.pair();
        bench.driver.receive(conn, true);
        for polled in [false, true] {
            let moment = bench.driver.now() + 20 * MILLI;
            assert_eq!(bench.woken_wait(moment), Woken::Before);
            thread::sleep(25 * MILLI);
            peer.write_all(b"x").unwrap();
            bench.settle();
            if polled {
                // A wait that does not last hears it too; nothing is lost by that.
                assert_eq!(bench.driver.wait(Some(Time::ZERO)).unwrap(), Woken::Perhaps);
                assert_eq!(bench.driver.wait(Some(moment)).unwrap(), Woken::Perhaps);
            } else {
                assert_eq!(bench.driver.wait(Some(moment)).unwrap(), Woken::Perhaps);
            }
            // What else there is, is reported beside it.
            let received = bench.driver.next(&mut bench.scratch);
            assert!(received.is_some(), "the bytes were forgotten");
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
        }
    });
}

#[test]
fn a_moment_is_told_of_though_more_is_ready_than_one_wait_brings() {
    each(|mut bench| {
        let ready: OwnedFd = eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        for _ in 0..2100 {
            bench.driver.watch(ready.try_clone().unwrap(), Interest::READ).unwrap();
        }
        // All are known by now, and wait in line before the moment does.
        let moment = bench.driver.now() + 30 * MILLI;
        bench.driver.wait(Some(moment)).unwrap();
        while bench.driver.now() < moment {}
        let told = (0..2).map(|_| bench.driver.wait(Some(moment)).unwrap());
        assert!(told.into_iter().all(|woken| woken == Woken::Perhaps));
    });
}

#[test]
fn any_sequence_of_moments_is_kept_and_none_is_early() {
    each(|mut bench| {
        let mut rng = Rng::from_number(17);
        let waker = bench.driver.waker();
        let (mut ended, mut came) = (0, 0);
        for round in 0..4000 {
            let from_now = Duration::from_nanos(rng.below(200_000));
            let until = bench.driver.now() + from_now;
            let wake = rng.chance(0.4);
            if wake {
                waker();
            }
            let woken = bench.driver.wait(Some(until)).unwrap();
            let now = bench.driver.now();
            if now < until {
                assert!(wake, "round {round}: {:?} early", until - now);
                ended += 1;
            } else if !wake {
                assert_eq!(woken, Woken::Perhaps, "round {round}");
                came += 1;
            }
            assert_eq!(bench.driver.next(&mut bench.scratch), None);
        }
        assert!(ended > 100 && came > 2000, "{ended} ended before their time, {came} came");
    });
}

#[test]
fn the_descriptor_is_readable_when_the_moment_of_the_last_wait_has_come() {
    each(|mut bench| {
        let moment = bench.driver.now() + 20 * MILLI;
        assert_eq!(bench.woken_wait(moment), Woken::Before);
        while bench.driver.now() < moment + MILLI {}
        assert!(bench.is_readable());
        assert_eq!(bench.driver.wait(Some(Time::ZERO)).unwrap(), Woken::Perhaps);
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
        assert!(!bench.is_readable(), "it would wake a foreign loop again and again");
    });
}
