//! Waiting and clocks.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use marline_core::Time;
use marline_core::driver::{Capability, Completion};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Bench, each};

#[test]
fn a_wait_is_never_shorter_than_it_was_asked_to_be() {
    each(|mut bench| {
        for micros in [1, 300, 999, 1000, 1300, 2999, 7500] {
            let until = bench.driver.now() + Duration::from_micros(micros);
            bench.driver.wait(Some(until)).unwrap();
            let now = bench.driver.now();
            assert!(now >= until, "{micros} us: {:?} too early", until - now);
        }
    });
}

#[test]
fn a_moment_in_the_past_is_no_wait() {
    each(|mut bench| {
        // Would never end if it were taken for "for ever".
        bench.driver.wait(Some(Time::ZERO)).unwrap();
        let now = bench.driver.now();
        bench.driver.wait(Some(now)).unwrap();
        assert_eq!(bench.driver.next(&mut bench.scratch), None);
    });
}

#[test]
fn a_moment_centuries_away_is_no_error() {
    each(|mut bench| {
        let waker = bench.driver.waker();
        let caller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            waker();
        });
        bench.driver.wait(Some(Time::MAX)).unwrap();
        caller.join().unwrap();
    });
}

#[test]
fn clocks_tell_the_time_and_seeds_differ() {
    each(|mut bench| {
        let before = bench.driver.now();
        let real = Instant::now();
        thread::sleep(Duration::from_millis(5));
        assert!(bench.driver.now() - before >= Duration::from_millis(5));
        assert!(bench.driver.now() - before <= real.elapsed() + Duration::from_millis(1));
        let off = bench.driver.wall_clock().duration_since(SystemTime::now());
        assert!(off.unwrap_or_else(|error| error.duration()) < Duration::from_secs(60));
        assert_ne!(bench.driver.seed(), bench.driver.seed());
        assert_ne!(bench.driver.seed(), bench.another().driver.seed());
    });
}

#[test]
fn drivers_live_side_by_side_in_a_thread() {
    each(|mut one| {
        let mut two = one.another();
        let (a, mut to_a) = one.pair();
        let (b, mut to_b) = two.pair();
        assert_eq!(a, b);
        one.driver.receive(a, true);
        two.driver.receive(b, true);
        to_b.write_all(b"two").unwrap();
        one.assert_idle();
        assert_eq!(two.bytes(b), b"two");
        to_a.write_all(b"one").unwrap();
        assert_eq!(one.bytes(a), b"one");
    });
}

#[test]
fn the_descriptor_is_readable_when_there_is_something_to_report() {
    each(|mut bench| {
        let (port, addr) = bench.listen();
        bench.quiet(Duration::from_millis(1));
        let readable = |bench: &Bench| {
            let descriptor = bench.driver.descriptor().unwrap();
            let none = Timespec::default();
            poll(&mut [PollFd::new(&descriptor.as_fd(), PollFlags::IN)], Some(&none)).unwrap() == 1
        };
        assert!(!readable(&bench));
        let _peer = TcpStream::connect(addr).unwrap();
        bench.settle();
        assert!(readable(&bench));
        assert!(matches!(bench.next(), Completion::Accepted { port: of, .. } if of == port));
        bench.quiet(Duration::from_millis(1));
        assert!(!readable(&bench));
        bench.driver.waker()();
        assert!(readable(&bench));
    });
}

#[test]
fn a_capability_that_is_not_there_is_not_claimed() {
    each(|bench| {
        let there: Vec<_> =
            Capability::ALL.into_iter().filter(|&one| bench.driver.supports(one)).collect();
        let expected = [
            Capability::Datagrams,
            Capability::Multicast,
            Capability::Unix,
            Capability::Adopt,
            Capability::Resolve,
            Capability::Work,
            Capability::Signals,
            Capability::Watch,
            Capability::PassDescriptors,
            Capability::SendFile,
            Capability::Stalls,
        ];
        assert_eq!(there, expected);
    });
}
