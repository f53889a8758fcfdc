//! [`Publisher`]: takes what `tracing` is given and hands it to observers, for programs that bring no subscriber of their own.

mod delivery;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::panic::Location;
use std::sync::{Arc, RwLock};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, Subscriber, set_default, set_global_default};

use super::levels::Levels;
use super::{Event, Observer};
use delivery::Delivery;

/// Hands what is logged to observers, in the order they were added: a small subscriber of `tracing`, for programs that bring none.
///
/// - *From the first moment.* Until [`begin`](Self::begin) the last 200 events are kept, and errors are written to standard error; then the
///   observers get them as if they had been there.
/// - *Levels* are set a namespace ([`set_level`](Self::set_level)), `INFO` for all at first. What is not wanted costs a load or two and a branch where
///   it would be logged; nothing is shown as text, and no observer asked.
/// - *From any thread.* Observers are called one at a time, and see the same order. An observer that logs is not called inside itself: the others
///   get its event after the present one, and it does not get its own.
/// - *An observer that panics* does so to the others' knowledge, by an error event, not to that of whoever logs. It stays.
/// - Spans are not kept; what a line belongs to is in its [`Context`](super::Context).
///
/// Clones are handles of the same one.
///
/// ```no_run
/// use std::io::stderr;
/// use marline_core::log::{LevelFilter, Publisher, TextObserver};
///
/// let publisher = Publisher::new();
/// publisher.install()?; // first of all: from now on nothing is missed
/// publisher.set_level("shop::till", LevelFilter::DEBUG);
/// // ... read the configuration, which says where the log goes ...
/// publisher.begin(vec![Box::new(TextObserver::new(stderr()))])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "LogPublisher")]
#[doc(alias = "LogBeginner")]
#[doc(alias = "globalLogPublisher")]
#[derive(Clone)]
pub struct Publisher {
    levels: Arc<RwLock<Levels>>,
    delivery: Arc<Delivery>,
}

/// Names an observer of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverId(u64);

/// As long as it lives, a publisher gets what its thread logs.
#[derive(Debug)]
#[must_use = "what the thread logs goes elsewhere again when this is dropped"]
pub struct Installed {
    _guard: DefaultGuard,
}

/// The process has a subscriber of `tracing` already, which cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled;

/// The log was begun before.
pub struct AlreadyBegun {
    /// Where.
    pub at: &'static Location<'static>,
    /// The observers that were to be added.
    pub observers: Vec<Box<dyn Observer>>,
}

impl Publisher {
    /// A publisher without observers.
    pub fn new() -> Self {
        Self::with_early_errors_to(Box::new(io::stderr()))
    }

    fn with_early_errors_to(stderr: Box<dyn Write + Send>) -> Self {
        let levels = Levels::new(LevelFilter::INFO);
        Self { levels: Arc::new(RwLock::new(levels)), delivery: Arc::new(Delivery::new(stderr)) }
    }

    /// Gets what every thread of the process logs from now on, for good.
    ///
    /// # Errors
    ///
    /// [`AlreadyInstalled`] if the process has a subscriber.
    #[doc(alias = "startLogging")]
    pub fn install(&self) -> Result<(), AlreadyInstalled> {
        set_global_default(self.clone()).map_err(|_| AlreadyInstalled)
    }

    /// Gets what this thread logs, instead of whoever got it before, until what this returns is dropped.
    ///
    /// What an observer logs by `tracing`'s macros goes nowhere then: `tracing` gives a thread's own subscriber nothing from inside it. By
    /// [`publish`](Self::publish) it does.
    pub fn install_for_thread(&self) -> Installed {
        Installed { _guard: set_default(self.clone()) }
    }

    /// Adds these observers, gives them what was logged so far, as far as it was kept, and ends the keeping.
    ///
    /// # Errors
    ///
    /// [`AlreadyBegun`] from the second time on: it says where the first was.
    #[track_caller]
    #[doc(alias = "beginLoggingTo")]
    pub fn begin(
        &self,
        observers: Vec<Box<dyn Observer>>,
    ) -> Result<Vec<ObserverId>, AlreadyBegun> {
        self.delivery.begin(observers, Location::caller())
    }

    /// Adds an observer, which gets what is logged from now on.
    #[doc(alias = "addObserver")]
    pub fn add(&self, observer: impl Observer) -> ObserverId {
        self.delivery.add(Box::new(observer))
    }

    /// Removes an observer, also from inside one, itself included: it gets no further event. Answers whether it was there.
    #[doc(alias = "removeObserver")]
    pub fn remove(&self, id: ObserverId) -> bool {
        self.delivery.remove(id)
    }

    /// Sets the level of a namespace and of what lies inside it (`shop` is around `shop::till` and `shop.till`), as far as that has none of its own. The
    /// empty namespace is around all. Takes effect at once, for places that have logged before, too.
    #[doc(alias = "LogLevelFilterPredicate")]
    #[doc(alias = "setLogLevelForNamespace")]
    pub fn set_level(&self, namespace: &str, level: LevelFilter) {
        // The engine's own code is all that runs under this lock: it cannot be poisoned.
        if let Ok(mut levels) = self.levels.write() {
            levels.set(namespace, level);
        }
        // Each place that logs remembers whether it is wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// The level of a namespace.
    pub fn level(&self, namespace: &str) -> LevelFilter {
        self.read(|levels| levels.of(namespace))
    }

    /// Gives observers an event, whatever its level: one that comes from elsewhere than `tracing`.
    pub fn publish(&self, event: Event) {
        self.delivery.publish(event);
    }

    fn read(&self, f: impl FnOnce(&Levels) -> LevelFilter) -> LevelFilter {
        self.levels.read().map_or(LevelFilter::INFO, |levels| f(&levels))
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("levels", &self.levels).finish_non_exhaustive()
    }
}

impl Subscriber for Publisher {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.read(Levels::most))
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level(metadata.target())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.publish(Event::capture(event));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has a subscriber of tracing already")
    }
}

impl Error for AlreadyInstalled {}

impl fmt::Display for AlreadyBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log was begun before, at {}", self.at)
    }
}

impl fmt::Debug for AlreadyBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Error for AlreadyBegun {}
