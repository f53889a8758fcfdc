//! The engine's own events: their level, name, fields and text are fixed here.

use std::fmt::Write;

use tracing::{Level, error};

use super::Event;
use super::event::show;
use crate::deferred::Unhandled;
use crate::failure::Failure;

/// Logs a failure as an error: the text, then the error with what caused it; as fields the type of the error, the place where the failure was made,
/// and the links of a deferred chain that it went through.
///
/// ```
/// use marline_core::failure::Failure;
/// use marline_core::log;
/// use marline_core::testing::CapturedLog;
///
/// let captured = CapturedLog::start();
/// let error = "many".parse::<u16>().unwrap_err();
/// log::failure(&Failure::new(error), "cannot read the port");
/// let logged = captured.flush_errors::<std::num::ParseIntError>();
/// assert_eq!(logged[0].message, "cannot read the port: invalid digit found in string");
/// ```
#[doc(alias = "err")]
pub fn failure(failure: &Failure, text: &str) {
    let shown = show(|out| write!(out, "{failure:#}"));
    let (kind, made) = (failure.type_name(), failure.site());
    let through = (!failure.trail().is_empty()).then(|| failure.trail().to_string());
    error!(name: "failure", target: "marline", kind, %made, through, "{text}: {shown}");
}

/// A failure was dropped with its deferred before anything looked at it. (The report's text has its places.)
pub(crate) fn unhandled_failure(report: &Unhandled, kind: &str) {
    error!(
        name: "unhandled_failure", target: "marline::deferred", kind,
        "unhandled failure: {report}"
    );
}

// ---- the log itself, whose events do not go through `tracing`: it would bring them back here, or lose them

pub(super) fn observer_panicked(observer: u64, message: &str) -> Event {
    let text = format!("an observer of the log panicked: {message}");
    own(Level::ERROR, "observer_panicked", text).with("observer", observer)
}

pub(super) fn observer_drop_panicked(message: &str) -> Event {
    let text = format!("an observer of the log panicked when it was dropped: {message}");
    own(Level::ERROR, "observer_drop_panicked", text)
}

pub(super) fn early_events_dropped(count: u64) -> Event {
    own(Level::WARN, "early_events_dropped", "too much was logged before the log was begun".into())
        .with("count", count)
}

fn own(level: Level, name: &'static str, text: String) -> Event {
    let mut event = Event::new(level, "marline::log", text);
    event.name = name;
    event
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::testing::CapturedLog;

    #[test]
    fn a_failure_is_logged_with_its_causes_its_type_and_its_places() {
        let log = CapturedLog::start();
        let line = line!() + 1;
        let mut made = Failure::from(std::io::Error::other("disk"));
        made.trail_mut().push(Location::caller());
        failure(&made, "cannot save");
        let logged = log.flush_errors::<std::io::Error>();
        assert_eq!(logged[0].message, "cannot save: disk");
        assert!(logged[0].field("made").unwrap().contains(&format!("engine.rs:{line}:")));
        let through = format!("engine.rs:{}:", line + 1);
        assert!(logged[0].field("through").unwrap().contains(&through), "{logged:?}");
    }
}
