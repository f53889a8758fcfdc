//! Every event that the engine itself logs: its level, name, fields and text are fixed here and nowhere else. `docs/design/logging.md` lists them,
//! and a test compares the two.

use std::fmt::{Debug, Display, Write};
use std::panic::Location;

use tracing::{Level, debug, error, field, info, warn};

use super::Event;
use super::event::show;
use crate::Addr;
use crate::deferred::Unhandled;
use crate::driver::Handle;
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
    let made_in = report.made_in.as_ref();
    let conn = made_in.and_then(|context| context.connection).map(field::debug);
    let protocol = made_in.and_then(|context| context.protocol);
    let peer = made_in.and_then(|context| context.peer.as_ref()).map(field::display);
    error!(
        name: "unhandled_failure", target: "marline::deferred", kind, conn, protocol, peer,
        "unhandled failure: {report}"
    );
}

// ---- the reactor

pub(crate) fn reactor_runs(driver: &str) {
    debug!(name: "reactor_runs", target: "marline", driver, "the reactor runs");
}

pub(crate) fn stopped_by_signal(number: i32) {
    info!(name: "stopped_by_signal", target: "marline", number, "stopped by a signal");
}

pub(crate) fn signal_refused(number: i32, error: &dyn Display) {
    warn!(name: "signal_refused", target: "marline", number, "cannot watch a signal: {error}");
}

pub(crate) fn trigger_failed(error: &dyn Display) {
    let error = show(|out| write!(out, "{error}"));
    error!(name: "trigger_failed", target: "marline", "a trigger's Deferred failed: {error}");
}

// ---- ports

pub(crate) fn port_opened(addr: &Addr, factory: &str) {
    info!(name: "port_opened", target: "marline", %addr, factory, "port opened");
}

pub(crate) fn port_closed(addr: &Addr, factory: &str) {
    info!(name: "port_closed", target: "marline", %addr, factory, "port closed");
}

pub(crate) fn port_lost(addr: &Addr, error: &dyn Display) {
    error!(name: "port_lost", target: "marline", %addr, "port lost: {error}");
}

pub(crate) fn accept_failed(addr: &Addr, error: &dyn Display) {
    warn!(name: "accept_failed", target: "marline", %addr, "cannot accept: {error}");
}

// ---- descriptors

pub(crate) fn descriptor_unwanted(protocol: &str, peer: &Addr) {
    warn!(
        name: "descriptor_unwanted", target: "marline", protocol, %peer,
        "a descriptor came that the protocol does not take: closed"
    );
}

pub(crate) fn descriptors_lost(protocol: &str, peer: &Addr) {
    warn!(
        name: "descriptors_lost", target: "marline", protocol, %peer,
        "descriptors came that this process has no room for: lost"
    );
}

pub(crate) fn descriptors_refused(protocol: &str, peer: &Addr, count: usize) {
    warn!(
        name: "descriptors_refused", target: "marline", protocol, %peer, count,
        "descriptors came that no layer vouches for: closed"
    );
}

// ---- callbacks that hold the loop

pub(crate) fn stalls(conn: Option<Handle>, stall: &dyn Display) {
    warn!(name: "stalls", target: "marline", ?conn, "the loop stalls: {stall} so far");
}

pub(crate) fn stalled(conn: Option<Handle>, stall: &dyn Display) {
    warn!(name: "stalled", target: "marline", ?conn, "{stall}");
}

// ---- datagram sockets

pub(crate) fn socket_opened(addr: &Addr, protocol: &str) {
    info!(name: "socket_opened", target: "marline", %addr, protocol, "datagram socket opened");
}

pub(crate) fn socket_closed(addr: &Addr, protocol: &str) {
    info!(name: "socket_closed", target: "marline", %addr, protocol, "datagram socket closed");
}

pub(crate) fn socket_lost(addr: &Addr, error: &dyn Display) {
    error!(name: "socket_lost", target: "marline", %addr, "datagram socket lost: {error}");
}

pub(crate) fn datagram_lost(addr: &Addr, error: &dyn Display) {
    warn!(name: "datagram_lost", target: "marline", %addr, "a datagram was lost: {error}");
}

// ---- panics

pub(crate) fn callback_panicked(protocol: &str, peer: &Addr, callback: &str, message: &str) {
    error!(
        name: "callback_panicked", target: "marline", protocol, %peer, callback,
        "callback panicked: {message}"
    );
}

pub(crate) fn watcher_panicked(watcher: &str, descriptor: i32, callback: &str, message: &str) {
    error!(
        name: "watcher_panicked", target: "marline", watcher, descriptor, callback,
        "callback panicked: {message}"
    );
}

pub(crate) fn datagram_panicked(protocol: &str, addr: &Addr, callback: &str, message: &str) {
    error!(
        name: "datagram_panicked", target: "marline", protocol, %addr, callback,
        "callback panicked: {message}"
    );
}

pub(crate) fn call_panicked(callback: &str, message: &str) {
    error!(name: "call_panicked", target: "marline", callback, "callback panicked: {message}");
}

pub(crate) fn timer_panicked(site: &Location<'_>, message: &str) {
    error!(name: "timer_panicked", target: "marline", %site, "timer panicked: {message}");
}

pub(crate) fn task_panicked(message: &str) {
    error!(name: "task_panicked", target: "marline", "task panicked: {message}");
}

pub(crate) fn trigger_panicked(event: &dyn Debug, phase: &dyn Debug, message: &str) {
    error!(name: "trigger_panicked", target: "marline", ?event, ?phase, "trigger panicked: {message}");
}

pub(crate) fn factory_panicked(peer: &Addr, message: &str) {
    error!(name: "factory_panicked", target: "marline", %peer, "the factory panicked: {message}");
}

pub(crate) fn factory_stop_panicked(factory: &str, message: &str) {
    error!(
        name: "factory_stop_panicked", target: "marline", factory,
        "the factory panicked in stop: {message}"
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
    use super::*;
    use crate::log::Context;
    use crate::testing::CapturedLog;

    /// One of each.
    fn all() -> Vec<Event> {
        let log = CapturedLog::start();
        let addr = Addr::Named("here".into());
        let site = Location::caller();
        let mut passed = Failure::msg("no");
        passed.trail_mut().push(site);
        failure(&passed, "text");
        let unhandled = Unhandled {
            error: String::new(),
            created: site,
            made_in: Some(Context {
                protocol: Some("P"),
                callback: "data_received",
                connection: Some(Handle { index: 1, version: 0 }),
                peer: Some(addr.clone()),
                site: None,
            }),
            failed: site,
            hops: Vec::new(),
            hop_count: 0,
        };
        unhandled_failure(&unhandled, "kind");
        reactor_runs("sim");
        stopped_by_signal(2);
        signal_refused(2, &"why");
        trigger_failed(&"why");
        port_opened(&addr, "F");
        port_closed(&addr, "F");
        port_lost(&addr, &"why");
        accept_failed(&addr, &"why");
        descriptor_unwanted("P", &addr);
        descriptors_lost("P", &addr);
        descriptors_refused("P", &addr, 1);
        stalls(None, &"why");
        stalled(None, &"why");
        socket_opened(&addr, "P");
        socket_closed(&addr, "P");
        socket_lost(&addr, &"why");
        datagram_lost(&addr, &"why");
        callback_panicked("P", &addr, "data_received", "why");
        watcher_panicked("W", 3, "readable", "why");
        datagram_panicked("P", &addr, "datagram_received", "why");
        call_panicked("call", "why");
        timer_panicked(site, "why");
        task_panicked("why");
        trigger_panicked(&1, &2, "why");
        factory_panicked(&addr, "why");
        factory_stop_panicked("F", "why");
        let mut events = log.take_where(|_| true);
        events.extend([
            observer_panicked(1, "why"),
            observer_drop_panicked("why"),
            early_events_dropped(1),
        ]);
        events
    }

    #[test]
    fn the_page_on_logging_lists_exactly_these_events() {
        let row = |event: &Event| {
            let fields: Vec<_> = event.fields.iter().map(|(name, _)| format!("`{name}`")).collect();
            let cells = [
                format!("`{}`", event.name),
                event.level.to_string(),
                format!("`{}`", event.target),
                fields.join(", "),
            ];
            format!("| {} |", cells.join(" | "))
        };
        let expected: Vec<_> = all().iter().map(row).collect();
        let page = include_str!("../../../../docs/design/logging.md");
        let listed: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter_map(|line| line.match_indices('|').nth(4).map(|(end, _)| &line[..=end]))
            .map(|line| line.replace("|  |", "| |"))
            .collect();
        let expected: Vec<_> = expected.iter().map(|row| row.replace("|  |", "| |")).collect();
        assert_eq!(listed, expected);
    }

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
