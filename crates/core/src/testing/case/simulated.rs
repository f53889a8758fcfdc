//! A run in a simulated network of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use super::held::Held;
use super::stage::Stage;
use super::verdict::{Verdict, left_open};
use super::{Begin, Case};
use crate::sim::{Halt, World};
use crate::testing::CapturedLog;

/// How long what the test has begun to close may take.
const CLOSING: Duration = Duration::from_secs(1);

pub(super) fn run(case: &Case, seed: u64, begin: &Begin) -> Rc<Verdict> {
    let log = CapturedLog::start();
    let verdict = Rc::<Verdict>::default();
    let world = World::new(seed);
    let host = world.host("test", ADDRS);
    let program = world.spawn(&host, |reactor| {
        let stage = Stage::simulated(reactor, &world, &host, seed);
        let (begin, verdict) = (Rc::clone(begin), Rc::clone(&verdict));
        reactor.call_soon(move |_| stage.begin(&begin, &verdict));
    });
    let mut held = Held::new(case.stall);
    let halt = world.run_to(world.now() + case.timeout, &mut || {
        held.turned();
        program.is_running() && !verdict.has_result()
    });
    if !verdict.has_result() {
        match halt {
            Halt::Time => {
                verdict.fail(&format!("not over after {:?} of simulated time", case.timeout))
            }
            Halt::Idle => verdict.fail("not over, and nothing will ever happen any more"),
            Halt::Condition => {
                verdict.fail("the reactor was stopped before the test had its result")
            }
        }
    }
    if let Some(error) = program.take_error() {
        verdict.complain(&error.to_string());
    }
    let reactor = program.reactor();
    if let Some(reactor) = reactor.as_ref().filter(|_| verdict.is_passed()) {
        world.run_to(world.now() + CLOSING, &mut || {
            held.turned();
            left_open(reactor).is_some()
        });
    }
    verdict.look_around(reactor.as_ref(), &log);
    if let Some(stalls) = held.complaint() {
        verdict.complain(&stalls);
    }
    if let Some(reactor) = reactor {
        reactor.close_all();
    }
    program.kill();
    // What is told of the end is no longer the test's.
    log.take_errors();
    verdict
}

/// Of the test's host: from the ranges kept for private networks.
const ADDRS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
];
