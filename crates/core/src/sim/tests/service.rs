//! Names, jobs, signals, clocks and waking.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::*;
use crate::driver::{Answer, Capability, JobId};

fn answer(node: &mut Node, id: u64) -> Answer {
    assert_eq!(node.next(), Some(Completion::Answered { id: JobId(id) }));
    let answer = node.driver.take_answer(JobId(id)).unwrap();
    assert!(node.driver.take_answer(JobId(id)).is_none(), "an answer is taken once");
    answer
}

fn addrs(answer: Answer) -> Result<Vec<IpAddr>, ErrorKind> {
    match answer {
        Answer::Resolved(addrs) => addrs.map_err(OsError::kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_of_the_world_resolve_after_a_while() {
    let (world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[0]);
    world.fail_name("broken", ErrorKind::TimedOut.into());
    world.set_name("alias", [ip("10.0.0.7")]);
    let start = world.now();
    let mut look_up = |name: &str| {
        node.driver.resolve(JobId(1), name).unwrap();
        addrs(answer(&mut node, 1))
    };
    assert_eq!(look_up("Server."), Ok(vec![ip("10.0.0.2"), ip("fd00::2")]));
    assert!(world.now() - start >= Duration::from_micros(200));
    assert_eq!(look_up("localhost"), Ok(vec![ip("127.0.0.1"), ip("::1")]));
    assert_eq!(look_up("192.0.2.1"), Ok(vec![ip("192.0.2.1")]));
    assert_eq!(look_up("alias"), Ok(vec![ip("10.0.0.7")]));
    assert_eq!(look_up("nowhere"), Err(ErrorKind::NotFound));
    assert_eq!(look_up("broken"), Err(ErrorKind::TimedOut));
}

#[test]
fn a_job_runs_when_it_is_begun_and_is_answered_later() {
    let (world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[0]);
    let start = world.now();
    node.driver.work(JobId(3), Box::new(|| Box::new(6 * 7))).unwrap();
    assert!(node.driver.take_answer(JobId(3)).is_none());
    let Answer::Worked(result) = answer(&mut node, 3) else { panic!() };
    assert_eq!(*result.downcast::<i32>().unwrap(), 42);
    assert!(world.now() > start);
    node.driver.work(JobId(4), Box::new(|| panic!("no {}", "way"))).unwrap();
    assert!(matches!(answer(&mut node, 4), Answer::Panicked(text) if text == "no way"));
}

#[test]
fn jobs_wait_for_a_worker_and_those_that_still_wait_are_dropped_with_them() {
    let (world, hosts) = two_hosts(1);
    world.set_job_time(millis(10), millis(10));
    let mut node = Node::new(&hosts[0]);
    node.driver.set_workers(2);
    let start = world.now();
    let begin = |node: &mut Node| {
        (0..5).for_each(|id| node.driver.work(JobId(id), Box::new(|| Box::new(()))).unwrap());
    };
    begin(&mut node);
    assert_eq!(node.driver.workers(), (2, 3));
    (0..5).for_each(|id| drop(answer(&mut node, id)));
    assert_eq!(world.now() - start, millis(30));
    begin(&mut node);
    node.driver.stop_workers();
    assert_eq!(node.driver.workers(), (0, 0));
    (0..2).for_each(|id| drop(answer(&mut node, id)));
    assert_eq!(node.next(), None);
}

#[test]
fn a_signal_reaches_who_watches_it_once() {
    let (_world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[0]);
    assert_eq!(hosts[0].signal(15), 0);
    node.driver.watch_signal(15, true).unwrap();
    assert_eq!(hosts[0].signal(15), 1);
    assert_eq!(hosts[0].signal(15), 1);
    assert_eq!(hosts[1].signal(15), 0);
    assert_eq!(node.next(), Some(Completion::Signal { number: 15 }));
    assert_eq!(node.next(), None);
    hosts[0].signal(15);
    node.driver.watch_signal(15, false).unwrap();
    assert_eq!(node.next(), None);
}

#[test]
fn clocks_are_virtual_and_the_wall_clock_can_be_set() {
    let (world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[0]);
    let (start, wall, real) = (node.driver.now(), node.driver.wall_clock(), Instant::now());
    let day = Duration::from_secs(86_400);
    node.driver.wait(Some(start + day)).unwrap();
    assert_eq!(node.driver.now(), start + day);
    assert_eq!(node.driver.wall_clock(), wall + day);
    assert!(real.elapsed() < Duration::from_secs(10));
    hosts[0].set_wall_clock(SystemTime::UNIX_EPOCH);
    assert_eq!(node.driver.wall_clock(), SystemTime::UNIX_EPOCH);
    assert_eq!(world.now(), start + day);
    node.driver.wait(Some(Time::ZERO)).unwrap();
    assert_eq!(world.now(), start + day, "a moment in the past is no wait");
}

#[test]
fn a_waker_ends_a_wait_that_has_not_begun_and_one_that_sleeps() {
    let mut driver = SimDriver::alone(1);
    let (start, waker) = (driver.now(), driver.waker());
    waker();
    waker();
    driver.wait(Some(start + millis(5))).unwrap();
    assert_eq!(driver.now(), start);
    let sleeper = std::thread::spawn(move || {
        std::thread::sleep(millis(20));
        waker();
    });
    driver.wait(None).unwrap();
    sleeper.join().unwrap();
    assert_eq!(driver.now(), start, "waiting for a thread takes no virtual time");
}

#[test]
fn a_wait_that_nothing_can_end_is_an_error_that_says_who_waits_for_what() {
    let (world, hosts) = two_hosts(1);
    let mut node = Node::new(&hosts[1]);
    node.listen("10.0.0.2:80").unwrap();
    let error = node.driver.wait(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    assert!(error.to_string().contains("port 10.0.0.2:80 waits for connections"), "{error}");
    world.set_patience(millis(5));
    let waker: crate::driver::Waker = Arc::clone(&node.driver.waker());
    assert_eq!(node.driver.wait(None).unwrap_err().kind(), ErrorKind::Deadlock);
    drop(waker);
}

#[test]
fn capabilities_are_as_announced_and_seeds_differ_by_driver_and_world() {
    let (_world, hosts) = two_hosts(1);
    let (mut one, mut two) = (hosts[0].driver(), hosts[0].driver());
    assert!(one.supports(Capability::Datagrams) && !one.supports(Capability::Files));
    assert_eq!(one.seed(), one.seed());
    assert_ne!(one.seed(), two.seed());
    assert_ne!(one.seed(), two_hosts(2).1[0].driver().seed());
    assert_eq!(one.seed(), two_hosts(1).1[0].driver().seed());
}
