//! Failures that nobody looked at, and what a failure knows of its way.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

use super::{Number, Oops, slot, taken, unhandled};
use crate::deferred::{Deferred, Interrupt};
use crate::failure::Failure;

#[test]
fn a_dropped_deferred_goes_on() {
    let (seen, see) = slot();
    let (deferred, resolver) = Number::new();
    drop(deferred.map(see));
    resolver.resolve(1);
    assert_eq!(*seen.borrow(), [1]);
}

#[test]
fn an_unhandled_failure_is_reported_once_with_its_way() {
    let (deferred, resolver) = Number::new();
    let made = line!() - 1;
    let end = deferred.and_then(|_| Err::<i64, _>(Oops::Own(1)));
    let failed = line!() - 1;
    let end = end.map(|value| value + 1);
    let hop = line!() - 1;
    let reports = unhandled(|| {
        drop(end);
        resolver.resolve(1);
    });
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(report.error, "oops 1");
    assert_eq!((report.created.line(), report.failed.line()), (made, failed));
    assert_eq!(report.hops.iter().map(|site| site.line()).collect::<Vec<_>>(), [hop]);
    assert_eq!(report.hop_count, 1);
    let file = file!();
    let text = report.to_string();
    assert!(text.contains(&format!("made at {file}:{made}:")), "{text}");
    assert!(text.contains(&format!("failed at {file}:{failed}:")), "{text}");
    assert!(text.contains(&format!("went through {file}:{hop}:")), "{text}");
}

#[test]
fn a_failure_that_is_ready_is_reported_when_dropped() {
    let reports = unhandled(|| drop(Number::failed(Oops::Own(1)).map(|value| value + 1)));
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].hop_count, 1);
}

#[test]
fn failures_that_were_looked_at_are_not_reported() {
    let reports = unhandled(|| {
        Number::failed(Oops::Own(1)).ignore();
        Number::failed(Oops::Own(1)).done(drop);
        assert!(taken(Number::failed(Oops::Own(1))).is_err());
        assert_eq!(taken(Number::failed(Oops::Own(1)).recover(|_| 1)), Ok(1));
        let (deferred, resolver) = Number::new();
        deferred.ignore();
        resolver.fail(Oops::Own(1));
    });
    assert_eq!(reports, []);
}

#[test]
fn a_panic_at_the_end_of_a_chain_is_reported() {
    let reports = unhandled(|| Number::ready(1).done(|_| resume_unwind(Box::new("boom"))));
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].error, "panicked: boom");
}

#[test]
fn an_error_that_cannot_be_shown_is_reported_nevertheless() {
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            resume_unwind(Box::new("no words"))
        }
    }
    impl From<Interrupt> for Mute {
        fn from(_: Interrupt) -> Self {
            Self
        }
    }
    let reports = unhandled(|| drop(Deferred::<(), Mute>::failed(Mute)));
    assert_eq!(reports[0].error, "(an error that cannot be shown: no words)");
}

#[test]
fn reports_go_to_the_log_as_errors() {
    /// Keeps target and level of every event.
    struct Log(std::sync::Mutex<Vec<(String, tracing::Level)>>);
    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let metadata = event.metadata();
            self.0.lock().unwrap().push((metadata.target().to_owned(), *metadata.level()));
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    let log = Arc::new(Log(std::sync::Mutex::default()));
    tracing::subscriber::with_default(Arc::clone(&log), || drop(Number::failed(Oops::Own(1))));
    let events = log.0.lock().unwrap();
    assert_eq!(*events, [("marline::deferred".to_owned(), tracing::Level::ERROR)]);
}

#[test]
fn a_failure_remembers_the_links_it_went_through() {
    let end = Deferred::<()>::failed(Failure::msg("no")).map(|()| 1).map(|value| value + 1);
    let line = line!() - 1;
    let failure = taken(end).unwrap_err();
    assert_eq!(failure.hops().map(|site| site.line()).collect::<Vec<_>>(), [line, line]);
    let reports = unhandled(|| drop(Deferred::<()>::failed(failure)));
    assert_eq!(reports[0].hop_count, 2);
}

#[test]
fn interrupts_reach_a_failure_as_what_they_are() {
    let (deferred, resolver) = Deferred::<()>::new();
    drop(resolver);
    let failure = taken(deferred).unwrap_err();
    assert_eq!(failure.check::<Interrupt>(), Some(&Interrupt::Abandoned));
}
