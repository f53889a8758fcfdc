//! A run on a reactor of a real driver, in real time.

use std::rc::Rc;
use std::time::Duration;

use super::stage::Stage;
use super::verdict::{Verdict, left_open};
use super::{Begin, Case};
use crate::testing::{CapturedLog, Stalls};
use crate::{Reactor, Turn};

/// How often, and for how long at most, it is waited for what the test has begun to close.
const CLOSING: (u32, Duration) = (50, Duration::from_millis(10));

pub(super) fn run(case: &Case, reactor: &Reactor, begin: &Begin) -> Rc<Verdict> {
    let log = CapturedLog::start();
    let verdict = Rc::<Verdict>::default();
    // A driver that cannot watch for stalls has none to tell of.
    let stalls = Stalls::watch(reactor, case.stall).ok();
    let stage = Stage::real(reactor);
    let (begin, begun) = (Rc::clone(begin), Rc::clone(&verdict));
    reactor.call_soon(move |_| stage.begin(&begin, &begun));
    let (late, timeout) = (Rc::clone(&verdict), case.timeout);
    let timer = reactor.call_later(timeout, move |reactor| {
        late.fail(&format!("not over after {timeout:?}"));
        // This turn is not to wait before the loop below looks.
        reactor.call_soon(|_| {});
    });
    if let Err(error) = reactor.start() {
        verdict.fail(&error.to_string());
    }
    while !verdict.has_result() {
        match reactor.turn(None) {
            Ok(Turn::Continue) => {}
            Ok(Turn::Stopped) => {
                verdict.fail("the reactor was stopped before the test had its result");
            }
            Err(error) => verdict.fail(&error.to_string()),
        }
    }
    // It has run if the test was too late.
    let _ = timer.cancel();
    if verdict.is_passed() {
        let (times, pause) = CLOSING;
        for _ in 0..times {
            if left_open(reactor).is_none() || reactor.turn(Some(pause)).is_err() {
                break;
            }
        }
    }
    verdict.look_around(Some(reactor), &log);
    if let Some(complaint) = stalls.and_then(Stalls::into_complaint) {
        verdict.complain(&complaint);
    }
    reactor.close_all();
    // What is told of the end is no longer the test's.
    log.take_errors();
    verdict
}
