//! What passes, and each way to fail.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::failure::Failure;
use crate::sim::{Host, SimDriver, World};
use crate::testing::CapturedLog;
use crate::{Connection, Protocol, Reactor, Transport};

const SECOND: Duration = Duration::from_secs(1);

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

struct Idle;

impl Protocol for Idle {
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
}

/// A case as the tests here want it, whatever the environment asks for.
fn case() -> Case {
    Case::new("case")
}

fn dial(reactor: &Reactor) -> Deferred<Connection<Idle>> {
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    reactor.connect_tcp(port.local_addr(), Idle).map_err(Failure::from)
}

/// What a case that must fail has failed with.
fn failure(run: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_function_that_returns_nothing_passes() {
    case().run(|| {});
}

#[test]
fn an_async_function_is_run_to_its_end_in_virtual_time() {
    let ran = Rc::new(Cell::new(false));
    let told = Rc::clone(&ran);
    case().run_async(move |reactor: Reactor| {
        let told = Rc::clone(&told);
        async move {
            let (done, resolver) = Deferred::<()>::new();
            reactor.call_later(SECOND * 59, |_| resolver.resolve(()));
            done.await?;
            told.set(true);
            Ok::<_, Failure>(())
        }
    });
    assert!(ran.get());
}

#[test]
fn a_deferred_is_waited_for_and_what_it_has_left_to_close_may_take_its_time() {
    case().run(|reactor: Reactor| {
        dial(&reactor).map(|connection| connection.transport().lose_connection())
    });
}

#[test]
fn world_host_and_seed_can_be_asked_for() {
    case().seed(9).run(|world: World, host: Host, Seed(seed): Seed| {
        assert_eq!((host.name().as_str(), seed), ("test", 9));
        // A second program, on a host of its own.
        let other = world.host("other", [[10, 0, 0, 2].into()]);
        world.spawn(&other, |reactor| drop(reactor.listen_tcp("10.0.0.2:80", || Echo).unwrap()));
    });
}

#[test]
fn every_seed_asked_for_is_run_in_order_until_one_fails() {
    let seen = Rc::<RefCell<Vec<u64>>>::default();
    let told = Rc::clone(&seen);
    let text = failure(|| {
        case().seed(5).seeds(10).run(move |Seed(seed): Seed| {
            told.borrow_mut().push(seed);
            if seed == 7 { Err("seven") } else { Ok(()) }
        });
    });
    assert_eq!(*seen.borrow(), [5, 6, 7]);
    assert!(text.starts_with("case failed with seed 7 ("), "{text}");
    assert!(text.contains("\n  \"seven\""), "{text}");
}

#[test]
fn a_panic_is_a_failure_with_its_text() {
    fn panics() {
        panic!("no such luck");
    }
    for text in [failure(|| case().run(panics)), failure(|| case().run_async(async || panics()))] {
        assert!(text.contains("\n  panicked: no such luck"), "{text}");
    }
}

#[test]
fn a_timer_left_behind_is_a_failure_with_its_place() {
    let text = failure(|| {
        case().run(|reactor: Reactor| drop(reactor.call_later(SECOND * 5, |_| {})));
    });
    assert!(
        text.contains("\n  1 left open:\n    timer due at 1005.000000000s, made at "),
        "{text}"
    );
    assert!(text.contains(file!()), "{text}");
}

#[test]
fn a_connection_left_behind_is_a_failure_and_a_port_is_not() {
    let text = failure(|| case().run(|reactor: Reactor| dial(&reactor).map(drop)));
    // Both ends of it.
    assert!(text.contains("\n  2 left open:\n    connection "), "{text}");
}

#[test]
fn a_failure_nobody_looked_at_fails_the_test_unless_it_is_expected() {
    let leave = || drop(Deferred::<()>::failed(Failure::msg("unheard")));
    let text = failure(|| case().run(leave));
    assert!(text.contains("\n  1 logged and not expected:\n"), "{text}");
    assert!(text.contains("unheard"), "{text}");
    case().run(move || {
        let log = CapturedLog::start();
        leave();
        assert_eq!(log.take_errors().len(), 1);
    });
}

#[test]
fn a_test_that_waits_for_ever_is_told_so_at_once() {
    let text = failure(|| {
        case().run(waits_for_ever);
    });
    assert!(text.contains("nothing will ever happen any more"), "{text}");
}

#[test]
fn a_test_that_takes_too_long_is_stopped() {
    async fn for_ever(reactor: Reactor) {
        loop {
            let (tick, resolver) = Deferred::<()>::new();
            reactor.call_later(SECOND, |_| resolver.resolve(()));
            tick.await.unwrap();
        }
    }
    let text = failure(|| case().timeout(SECOND * 90).run_async(for_ever));
    assert!(text.contains("\n  not over after 90s of simulated time"), "{text}");
    let text = failure(|| case().timeout(SECOND * 90).driver("sim", simulated).run_async(for_ever));
    assert!(text.starts_with("case failed on sim ("), "{text}");
    assert!(text.contains("\n  not over after 90s"), "{text}");
}

#[test]
fn a_reactor_that_the_test_stops_is_a_failure() {
    let body = |reactor: Reactor| {
        reactor.stop().unwrap();
        waits_for_ever()
    };
    let text = failure(|| case().run(body));
    assert!(text.contains("the reactor was stopped before"), "{text}");
    let text = failure(|| case().driver("sim", simulated).run(body));
    assert!(text.contains("the reactor was stopped before"), "{text}");
}

#[test]
fn a_callback_that_holds_the_loop_is_a_failure() {
    let text = failure(|| {
        case().stall(Duration::from_millis(5)).run(|| std::thread::sleep(SECOND / 20));
    });
    assert!(text.contains("turns took longer than 5ms"), "{text}");
}

#[test]
fn a_driver_has_no_world_and_its_failures_are_the_same() {
    case().driver("sim", simulated).run_async(async |reactor: Reactor| {
        dial(&reactor).await.unwrap().transport().lose_connection();
    });
    let text = failure(|| case().driver("sim", simulated).run(|_: World| {}));
    assert!(text.contains("asks for a World"), "{text}");
    let text = failure(|| {
        case().driver("sim", simulated).run(|reactor: Reactor| {
            drop(reactor.call_later(SECOND * 5, |_| {}));
            drop(Deferred::<()>::failed(Failure::msg("unheard")));
        });
    });
    assert!(text.contains("1 left open") && text.contains("unheard"), "{text}");
    let text = failure(|| case().driver("dream", |name| Err(format!("no {name}"))).run(|| {}));
    assert_eq!(text, "case: no dream");
}

/// A driver that is not run by a world of the case's own.
fn simulated(_: &str) -> Result<Reactor, String> {
    Ok(Reactor::new(SimDriver::alone(1)))
}

/// Its resolver is held by its own chain, as it is by a protocol that waits for its peer.
fn waits_for_ever() -> Deferred<()> {
    let (deferred, resolver) = Deferred::<()>::new();
    deferred.finally(move || drop(resolver))
}
