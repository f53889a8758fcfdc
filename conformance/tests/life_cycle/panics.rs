//! Panics in what users hang on a reactor: each is logged, and the reactor and all others go on. (Those of protocols are in `faults/`.)

use std::panic::panic_any;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::signal::HUP;
use marline_core::testing::CapturedLog;
use marline_core::{Event, Phase, Reactor};

use super::{Diary, host, reactor, run_until, stop};

/// Arranges a panic with the words `boom`, and that `next` is called after it.
type Arrange = fn(&Reactor, next: Diary);

/// Runs a reactor in which something panics. Exactly one error must be logged, which has the words; it is answered.
#[track_caller]
fn survives(ground: Ground, arrange: Arrange) -> String {
    let diary = Diary::default();
    let mut errors = errors_of(|| {
        let reactor = reactor(ground);
        arrange(&reactor, diary.clone());
        let next = diary.clone();
        run_until(&reactor, move || !next.is_empty());
    });
    assert_eq!(diary.take(), "next");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("boom"), "{errors:#?}");
    errors.remove(0)
}

// 16 is in `triggers.rs`.
on_every_driver!(a_panic_in_a_timer_is_logged_with_its_site_and_the_rest_go_on, |ground| {
    let error = survives(ground, |reactor, next| {
        reactor.call_later(Duration::from_millis(1), |_| panic!("boom"));
        reactor.call_later(Duration::from_millis(1), next.noting("next"));
    });
    assert!(error.contains("panics.rs"), "{error}");
});

on_every_driver!(a_panic_in_a_call_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        reactor.call_soon(|_| panic!("boom"));
        reactor.call_soon(next.noting("next"));
    });
});

on_every_driver!(a_panic_in_a_call_for_when_it_runs_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        reactor.call_when_running(|_| panic!("boom"));
        reactor.call_when_running(next.noting("next"));
    });
    survives(ground, |reactor, next| {
        reactor.call_soon(move |reactor| {
            reactor.call_when_running(|_| panic!("boom"));
            reactor.call_when_running(next.noting("next"));
        });
    });
});

on_every_driver!(a_panic_in_a_call_from_a_thread_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        let remote = reactor.remote();
        remote.call(|_| panic!("boom"));
        reactor.call_later(Duration::from_millis(1), next.noting("next"));
    });
});

on_every_driver!(a_panic_in_a_trigger_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        reactor.add_trigger(Phase::During, Event::Startup, |_| -> () { panic!("boom") });
        reactor.add_trigger(Phase::During, Event::Startup, next.noting("next"));
    });
});

on_every_driver!(a_panic_in_a_job_fails_its_deferred_and_the_worker_goes_on, |ground| {
    survives(ground, |reactor, next| {
        reactor.set_workers(1);
        reactor.call_in_thread(|| panic!("boom"));
        reactor.defer_to_thread(|| ()).done(move |_| next.note("next"));
    });
});

on_every_driver!(a_panic_in_what_hears_a_jobs_answer_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        reactor.set_workers(1);
        reactor.defer_to_thread(|| ()).map(|()| panic!("boom")).done(|result: Result<(), _>| {
            tracing::error!(target: "marline", "{}", result.unwrap_err());
        });
        reactor.defer_to_thread(|| ()).done(move |_| next.note("next"));
    });
});

on_every_driver!(a_panic_in_a_task_is_logged_and_the_rest_go_on, |ground| {
    survives(ground, |reactor, next| {
        reactor
            .spawn(async { panic!("boom") })
            .done(|result: Result<(), _>| drop(result.unwrap_err()));
        reactor.spawn(async move { next.note("next") }).ignore();
    });
});

// Simulated signals only: real ones are the whole process's, see `signals.rs`.
on_every_driver!(a_panic_in_a_signal_handler_is_logged_and_the_rest_go_on, |ground| {
    if !ground.is_simulated() {
        return;
    }
    survives(ground, |reactor, next| {
        let first = reactor.on_signal(HUP, |_, _| panic!("boom")).unwrap();
        let second = reactor.on_signal(HUP, move |_, _| next.note("next")).unwrap();
        reactor.call_later(Duration::from_millis(1), |reactor| _ = host(reactor).signal(HUP));
        reactor.call_later(Duration::from_secs(20), move |_| drop((first, second)));
    });
});

on_every_driver!(a_panic_without_a_text_is_logged_too, |ground| {
    let errors = errors_of(|| {
        let reactor = reactor(ground);
        reactor.call_soon(|_| panic_any(7));
        reactor.call_later(Duration::ZERO, |_| panic_any(7));
        reactor.call_soon(stop);
        reactor.run().unwrap();
    });
    assert_eq!(errors.len(), 2, "{errors:#?}");
});

on_every_driver!(a_panic_whose_payload_panics_in_turn_does_not_get_through, |ground| {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let diary = Diary::default();
    let errors = errors_of(|| {
        let reactor = reactor(ground);
        reactor.call_soon(|_| panic_any(Bomb));
        reactor.call_soon(diary.noting("next"));
        reactor.call_soon(stop);
        reactor.run().unwrap();
    });
    assert_eq!((diary.take().as_str(), errors.len()), ("next", 1), "{errors:#?}");
});

/// What this thread logs as an error of the engine while `f` runs.
pub(crate) fn errors_of(f: impl FnOnce()) -> Vec<String> {
    let log = CapturedLog::start();
    f();
    let errors = log.take_errors();
    let engine = errors.into_iter().filter(|error| error.target == "marline");
    engine.map(|error| format!("{} {:?}", error.message, error.fields)).collect()
}
