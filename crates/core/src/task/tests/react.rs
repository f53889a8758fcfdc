//! `react`: exit statuses, stops from outside, what is left behind.

use std::io;

use super::*;
use crate::deferred::Interrupt;
use crate::failure::Failure;
use crate::sim::SimDriver;
use crate::task::{Exit, react};
use crate::testing::CapturedLog;
use crate::{Event, Phase};

fn reactor() -> Reactor {
    Reactor::new(SimDriver::alone(1))
}

#[test]
fn success_is_zero_whether_it_comes_at_once_or_later() {
    let reactor = reactor();
    assert_eq!(react(&reactor, |_| async {}), Exit::SUCCESS);
    let begin = reactor.now();
    let exit = react(&reactor, |reactor| async move {
        assert!(reactor.is_running());
        reactor.sleep(SECOND).await
    });
    assert_eq!((exit, millis_since(begin, &reactor)), (Exit::SUCCESS, 1000));
    assert!(!reactor.is_running());
}

#[test]
fn main_may_return_a_deferred() {
    let reactor = reactor();
    assert_eq!(react(&reactor, |reactor| reactor.sleep(SECOND)), Exit::SUCCESS);
    assert_eq!(react(&reactor, |_| Deferred::<_, Failure>::ready(Exit(3))), Exit(3));
}

#[test]
fn a_failure_is_logged_and_one() {
    let log = CapturedLog::start();
    let reactor = reactor();
    let exit = react(&reactor, |reactor| async move {
        reactor.sleep(SECOND).await?;
        Err::<(), Failure>(io::Error::other("disk").into())
    });
    assert_eq!(exit, Exit::FAILURE);
    let logged = log.flush_errors::<io::Error>();
    assert_eq!(logged[0].message, "the main task failed: disk");
    assert!(!reactor.is_running());
}

#[test]
fn a_panic_is_a_failure_wherever_it_is() {
    let log = CapturedLog::start();
    let reactor = reactor();
    let exit = react(&reactor, |_| -> Deferred<()> { panic!("at once") });
    assert_eq!(exit, Exit::FAILURE);
    let exit = react(&reactor, |reactor| async move {
        let slept = reactor.sleep(SECOND).await;
        assert!(slept.is_err(), "later");
    });
    assert_eq!(exit, Exit::FAILURE);
    let logged = log.take_errors();
    let of_main = logged.iter().filter(|event| event.message.starts_with("the main task failed"));
    assert_eq!(of_main.count(), 2);
}

#[test]
fn a_status_of_ones_own_is_passed_through_as_value_or_error() {
    let _log = CapturedLog::start();
    let reactor = reactor();
    assert_eq!(react(&reactor, |_| async { Exit(7) }), Exit(7));
    assert_eq!(react(&reactor, |_| async { Ok::<_, Failure>(Exit(8)) }), Exit(8));
    let exit = react(&reactor, |_| async {
        Err(Exit(9))?;
        Ok::<_, Failure>(())
    });
    assert_eq!(exit, Exit(9));
    assert_eq!(react(&reactor, |_| async { Err::<(), _>(Exit(0)) }), Exit::SUCCESS);
}

#[test]
fn a_stop_from_outside_ends_it_without_error_and_drops_main() {
    let _log = CapturedLog::start();
    let reactor = reactor();
    let witness = Witness::default();
    let kept = witness.clone();
    reactor.call_later(SECOND, |reactor| reactor.stop().unwrap());
    let exit = react(&reactor, move |reactor| async move {
        let _kept = kept;
        reactor.sleep(3600 * SECOND).await
    });
    assert_eq!((exit, witness.kept()), (Exit::SUCCESS, 0));
    assert!(reactor.open().is_empty(), "{:?}", reactor.open());
    // A crash likewise.
    reactor.call_later(SECOND, Reactor::crash);
    assert_eq!(react(&reactor, |reactor| reactor.sleep(3600 * SECOND)), Exit::SUCCESS);
}

#[test]
fn what_main_comes_to_while_the_reactor_stops_does_not_count_but_for_a_status() {
    let _log = CapturedLog::start();
    let reactor = reactor();
    for (own, expected) in [(None, Exit::SUCCESS), (Some(Exit(4)), Exit(4))] {
        // The shutdown takes its time, and main ends within it.
        reactor.add_trigger(Phase::Before, Event::Shutdown, |reactor| reactor.sleep(5 * SECOND));
        reactor.call_later(SECOND, |reactor| reactor.stop().unwrap());
        let exit = react(&reactor, move |reactor| async move {
            reactor.sleep(3 * SECOND).await?;
            Err::<(), Failure>(own.map_or_else(|| Interrupt::TimedOut.into(), Into::into))
        });
        assert_eq!(exit, expected);
    }
}

#[test]
fn a_shutdown_is_waited_for_after_main_has_ended() {
    let reactor = reactor();
    let begin = reactor.now();
    reactor.add_trigger(Phase::Before, Event::Shutdown, |reactor| reactor.sleep(5 * SECOND));
    assert_eq!(react(&reactor, |_| async { Exit(2) }), Exit(2));
    assert_eq!(millis_since(begin, &reactor), 5000);
}

#[test]
fn main_may_stop_the_reactor_itself() {
    let reactor = reactor();
    let exit = react(&reactor, |reactor| async move {
        reactor.stop().unwrap();
        Exit(5)
    });
    assert_eq!(exit, Exit(5));
}

#[test]
fn a_reactor_that_runs_already_is_a_failure_and_main_is_not_called() {
    let log = CapturedLog::start();
    let reactor = reactor();
    let inner = Rc::new(Cell::new(None));
    let seen = Rc::clone(&inner);
    let exit = react(&reactor, move |reactor| async move {
        seen.set(Some(react(&reactor, |_| -> Deferred<()> { unreachable!("it runs already") })));
    });
    assert_eq!((exit, inner.get()), (Exit::SUCCESS, Some(Exit::FAILURE)));
    let logged = log.take_errors();
    assert_eq!(logged[0].message, "the main task failed: the reactor is running already");
    // Nor was it left for the next run.
    assert_eq!(react(&reactor, |_| async {}), Exit::SUCCESS);
}

#[test]
fn a_startup_that_is_cut_short_never_calls_main() {
    let reactor = reactor();
    reactor.add_trigger(Phase::Before, Event::Startup, |reactor| {
        reactor.stop().unwrap();
        reactor.sleep(SECOND)
    });
    let exit = react(&reactor, |_| -> Deferred<()> { unreachable!("it never started") });
    assert_eq!(exit, Exit::SUCCESS);
    assert_eq!(react(&reactor, |_| async { Exit(6) }), Exit(6));
}
