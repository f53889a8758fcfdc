//! Log events of one thread, captured for a test: errors that nobody asked for fail it.

use std::any::type_name;
use std::error::Error;
use std::fmt::{self, Debug, Write};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, Subscriber, set_default};
use tracing::{Dispatch, Level, Metadata};

use crate::log::Event;

/// Captures the log events of this thread, of all levels, as long as it lives. What other threads log, tests that run beside this one included,
/// goes its usual way.
///
/// When it is dropped, an error that was captured and not taken fails the test: an engine that catches panics and failures tells of
/// them by log alone.
///
/// ```
/// use marline_core::testing::{CapturedLog, MemoryTransport};
/// use marline_core::{Protocol, Transport};
///
/// struct Picky;
///
/// impl Protocol for Picky {
///     fn data_received(&mut self, _: &Transport, data: &[u8]) {
///         assert_eq!(data, b"please", "not polite");
///     }
/// }
///
/// let log = CapturedLog::start();
/// let peer = MemoryTransport::connect(Picky);
/// peer.receive(b"now!");
/// let errors = log.take_errors();
/// assert_eq!(errors.len(), 1);
/// assert!(errors[0].message.contains("not polite"));
/// assert_eq!(errors[0].field("callback").as_deref(), Some("data_received"));
/// # let _ = peer.reason();
/// ```
#[doc(alias = "EventLoggingObserver")]
pub struct CapturedLog {
    events: Arc<Mutex<Vec<Event>>>,
    /// Set for this thread, which this object therefore must not leave.
    _guard: DefaultGuard,
    _here: PhantomData<Rc<()>>,
}

impl CapturedLog {
    /// Captures from now on.
    #[must_use]
    pub fn start() -> Self {
        // Whoever meets a place that logs for the first time asks the subscribers there are then; with this one there is always one that will not
        // have "never" for an answer, whatever threads do at the same time.
        static KEEN: OnceLock<Dispatch> = OnceLock::new();
        KEEN.get_or_init(|| Dispatch::new(Capture::new(Arc::default())));
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let capture = Capture::new(Arc::clone(&events));
        Self { events, _guard: set_default(capture), _here: PhantomData }
    }

    /// All that was captured and not taken.
    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// The errors among them.
    pub fn errors(&self) -> Vec<Event> {
        self.lock().iter().filter(|event| event.level == Level::ERROR).cloned().collect()
    }

    /// Takes the events of a level.
    pub fn take(&self, level: Level) -> Vec<Event> {
        self.take_where(|event| event.level == level)
    }

    /// Takes the errors: the test has expected them.
    #[doc(alias = "flushLoggedErrors")]
    pub fn take_errors(&self) -> Vec<Event> {
        self.take(Level::ERROR)
    }

    /// Takes the errors that tell of a [`Failure`](crate::failure::Failure) of this type: failures nobody looked at, and those given to
    /// [`log::failure`](crate::log::failure).
    ///
    /// ```
    /// use marline_core::deferred::Deferred;
    /// use marline_core::failure::Failure;
    /// use marline_core::testing::CapturedLog;
    ///
    /// let log = CapturedLog::start();
    /// drop(Deferred::<()>::failed(Failure::from(std::io::Error::other("disk"))));
    /// assert_eq!(log.flush_errors::<std::fmt::Error>(), []);
    /// assert_eq!(log.flush_errors::<std::io::Error>().len(), 1); // else the test would fail
    /// ```
    #[doc(alias = "flushLoggedErrors")]
    pub fn flush_errors<E: Error + 'static>(&self) -> Vec<Event> {
        let kind = type_name::<E>();
        self.take_where(|event| {
            event.level == Level::ERROR && event.field("kind").as_deref() == Some(kind)
        })
    }

    /// Takes the events that `wanted` says yes to.
    pub fn take_where(&self, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
        // The user's function is called outside the lock: it may log.
        let all = std::mem::take(&mut *self.lock());
        let (taken, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|event| wanted(event));
        self.lock().splice(0..0, kept);
        taken
    }

    /// Checks that there are no errors now, instead of at the end.
    ///
    /// # Panics
    ///
    /// If there are; they count as taken.
    #[track_caller]
    pub fn assert_no_errors(&self) {
        if let Some(complaint) = self.complaint() {
            panic!("{complaint}");
        }
    }

    /// What errors there are, a line each, which count as taken; `None` if there are none.
    pub(super) fn complaint(&self) -> Option<String> {
        let errors = self.take_errors();
        if errors.is_empty() {
            return None;
        }
        let mut text = format!("{} logged and not expected:", errors.len());
        for error in errors {
            // OK: writing to a string cannot fail.
            let _ = write!(text, "\n  {error}");
        }
        Some(text)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        lock(&self.events)
    }
}

impl Drop for CapturedLog {
    fn drop(&mut self) {
        let complaint = self.complaint();
        if let Some(complaint) = complaint.filter(|_| !std::thread::panicking()) {
            panic!("{complaint}");
        }
    }
}

impl Debug for CapturedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}

fn lock(events: &Mutex<Vec<Event>>) -> MutexGuard<'_, Vec<Event>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is set as the thread's subscriber.
struct Capture {
    events: Arc<Mutex<Vec<Event>>>,
    spans: AtomicU64,
}

impl Capture {
    fn new(events: Arc<Mutex<Vec<Event>>>) -> Self {
        Self { events, spans: AtomicU64::new(1) }
    }
}

impl Subscriber for Capture {
    /// Other threads have other subscribers, or none: the answer must be asked for each time.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // Runs the formatting of the user's values: before the lock.
        let captured = Event::capture(event);
        lock(&self.events).push(captured);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::deferred::Deferred;
    use crate::failure::Failure;
    use crate::log::{self, Value};

    #[test]
    fn level_target_message_and_fields_are_kept() {
        let log = CapturedLog::start();
        let (peer, count) = ("192.0.2.1", 3);
        tracing::warn!(target: "elsewhere", peer, count, who = ?Some(1), "watch {}", "out");
        let events = log.take(Level::WARN);
        assert_eq!(
            events[0].to_string(),
            "WARN elsewhere: watch out peer=192.0.2.1 count=3 who=Some(1)"
        );
        assert_eq!(events[0].value("count"), Some(&Value::Int(3)));
        assert_eq!(events[0].field("missing"), None);
        assert!(log.events().is_empty());
    }

    #[test]
    fn taking_one_level_leaves_the_others_in_their_order() {
        let log = CapturedLog::start();
        tracing::info!("one");
        tracing::error!("two");
        tracing::debug!("three");
        assert_eq!(log.errors().len(), 1);
        assert_eq!(log.take_errors()[0].message, "two");
        let left: Vec<_> = log.events().into_iter().map(|event| event.message).collect();
        assert_eq!(left, ["one", "three"]);
        log.assert_no_errors();
    }

    #[test]
    #[should_panic(expected = "1 logged and not expected:\n  ERROR here: broken id=7")]
    fn an_error_nobody_expected_fails_the_test_at_its_end() {
        let _log = CapturedLog::start();
        tracing::error!(target: "here", id = 7, "broken");
    }

    #[test]
    #[should_panic(expected = "the first panic")]
    fn a_test_that_fails_already_is_left_alone() {
        let _log = CapturedLog::start();
        tracing::error!("broken");
        panic!("the first panic");
    }

    #[test]
    fn other_threads_are_not_captured_and_capture_their_own() {
        /// One place in the source, reached first by a thread that captures nothing.
        fn report(text: &'static str) {
            tracing::error!("{text}");
        }
        thread::spawn(|| report("to nobody")).join().unwrap();
        let log = CapturedLog::start();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    let log = CapturedLog::start();
                    (0..50).for_each(|_| report("theirs"));
                    log.take_errors().len()
                })
            })
            .collect();
        report("mine");
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 50);
        }
        report("mine again");
        assert_eq!(log.take_errors().len(), 2);
    }

    #[test]
    fn one_inside_another_captures_alone_until_it_ends() {
        let outer = CapturedLog::start();
        {
            let inner = CapturedLog::start();
            tracing::error!("inside");
            assert_eq!(inner.take_errors().len(), 1);
        }
        tracing::error!("outside");
        assert_eq!(outer.take_errors()[0].message, "outside");
    }

    #[test]
    fn errors_are_flushed_by_the_type_of_what_failed() {
        let log = CapturedLog::start();
        log::failure(&Failure::new(fmt::Error), "cannot write");
        drop(Deferred::<()>::failed(std::io::Error::other("disk").into()));
        drop(Deferred::<()>::failed(Failure::new(fmt::Error)));
        tracing::info!(kind = type_name::<fmt::Error>(), "no error");
        assert_eq!(log.flush_errors::<std::str::Utf8Error>(), []);
        assert_eq!(log.flush_errors::<fmt::Error>().len(), 2);
        assert_eq!(
            log.take_errors()[0].field("kind").as_deref(),
            Some(type_name::<std::io::Error>())
        );
        assert_eq!(log.events().len(), 1);
    }

    #[test]
    fn spans_do_no_harm() {
        let log = CapturedLog::start();
        let span = tracing::info_span!("work", step = 1);
        span.in_scope(|| tracing::info!("inside"));
        assert_eq!(log.take(Level::INFO)[0].message, "inside");
    }
}
