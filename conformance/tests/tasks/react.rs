//! Programs of one task: exit statuses, and what ends them. (As processes of their own: the example `react` and its tests.)

use std::time::Duration;

use marline_conformance::on_every_driver;
use marline_core::deferred::Deferred;
use marline_core::failure::Failure;
use marline_core::task::{Exit, react};
use marline_core::testing::CapturedLog;

use crate::life_cycle::{Witness, bare, reactor, stop};

const MILLI: Duration = Duration::from_millis(1);

// 130
on_every_driver!(success_is_zero_a_failure_one_and_a_status_of_ones_own_itself, |ground| {
    let log = CapturedLog::start();
    let reactor = reactor(ground);
    assert_eq!(react(&reactor, |reactor| reactor.sleep(MILLI)), Exit::SUCCESS);
    let fails =
        react(&reactor, |reactor| reactor.defer_later(MILLI, |_| Err::<(), _>(Failure::msg("no"))));
    assert_eq!(fails, Exit::FAILURE);
    assert_eq!(log.take_errors()[0].message, "the main task failed: no");
    let own = react(&reactor, |reactor| async move {
        reactor.sleep(MILLI).await?;
        Err::<(), Failure>(Exit(3).into())
    });
    assert_eq!(own, Exit(3));
    assert!(!reactor.is_running());
});

// 130
on_every_driver!(a_stop_from_outside_ends_it_and_leaves_nothing, |ground| {
    let _log = CapturedLog::start();
    let reactor = bare(ground);
    let witness = Witness::default();
    let kept = witness.clone();
    reactor.call_later(2 * MILLI, stop);
    let exit = react(&reactor, move |reactor| async move {
        let _kept = kept;
        let (never, _resolver) = Deferred::<()>::new();
        never.await?;
        reactor.sleep(MILLI).await
    });
    assert_eq!((exit, witness.kept()), (Exit::SUCCESS, 0));
    assert!(reactor.open().is_empty() && !reactor.is_running());
});

// 130: another thread's stop.
on_every_driver!(a_stop_from_another_thread_ends_it, |ground| {
    let reactor = bare(ground);
    let remote = reactor.remote();
    let exit = react(&reactor, move |reactor| async move {
        let stopper = std::thread::spawn(move || remote.stop());
        let (never, _resolver) = Deferred::<()>::new();
        let ended = never.await;
        drop((stopper, reactor));
        ended
    });
    assert_eq!(exit, Exit::SUCCESS);
});
