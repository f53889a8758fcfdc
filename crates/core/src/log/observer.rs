//! Those who get events: what they are, and two that are often wanted.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Event;

/// Gets every event that is wanted, one at a time, in one order for all observers. A function of an event is one.
///
/// It runs on the thread that logs, inside whatever callback that is, and holds up every thread that logs meanwhile; so it should be quick, and must
/// not wait for another thread that may log. It may log: see [`Publisher`](super::Publisher) for who hears of it.
#[doc(alias = "ILogObserver")]
pub trait Observer: Send + 'static {
    /// Something was logged.
    fn event(&mut self, event: &Event);
}

impl<F: FnMut(&Event) + Send + 'static> Observer for F {
    fn event(&mut self, event: &Event) {
        self(event);
    }
}

/// Writes each event as its [text](Event::to_text), a line or more, in one write, and flushes.
///
/// What cannot be written (a full disk, a closed pipe) is counted; when writing works again, a line says how many events are missing.
///
/// ```
/// use marline_core::log::{Event, Level, Observer, TextObserver};
///
/// let mut observer = TextObserver::new(Vec::new());
/// observer.event(&Event::new(Level::WARN, "shop", "first line\nsecond").with("from", "a\nb"));
/// let text = String::from_utf8(observer.into_inner()).unwrap();
/// assert!(text.ends_with("+00:00 WARN shop: first line\n\tsecond from=\"a\\nb\"\n"));
/// ```
#[doc(alias = "FileLogObserver")]
#[doc(alias = "textFileLogObserver")]
#[derive(Debug)]
pub struct TextObserver<W> {
    out: W,
    missing: u64,
}

impl<W: Write> TextObserver<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, missing: 0 }
    }

    /// Gives back what it writes to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut text = String::new();
        if self.missing > 0 {
            text = format!("({} events before this could not be written)\n", self.missing);
        }
        text.push_str(&event.to_text());
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + Send + 'static> Observer for TextObserver<W> {
    fn event(&mut self, event: &Event) {
        match self.write(event) {
            Ok(()) => self.missing = 0,
            Err(_) => self.missing += 1,
        }
    }
}

/// Keeps the last events, for a look at them later. Clones share what is kept: one is added to a publisher, another asked.
///
/// ```
/// use marline_core::log::{Event, History, Level, Publisher};
///
/// let (publisher, history) = (Publisher::new(), History::new(2));
/// publisher.add(history.clone());
/// for what in ["one", "two", "three"] {
///     publisher.publish(Event::new(Level::INFO, "shop", what));
/// }
/// let messages: Vec<_> = history.events().into_iter().map(|event| event.message).collect();
/// assert_eq!(messages, ["two", "three"]);
/// ```
#[doc(alias = "LimitedHistoryLogObserver")]
#[derive(Clone)]
pub struct History {
    kept: Arc<Mutex<VecDeque<Event>>>,
    most: usize,
}

impl History {
    /// Keeps at most so many events.
    pub fn new(most: usize) -> Self {
        Self { kept: Arc::default(), most }
    }

    /// What is kept, the oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.lock().iter().cloned().collect()
    }

    /// Gives what is kept to an observer, the oldest first. What comes in meanwhile is not given.
    #[doc(alias = "replayTo")]
    pub fn replay(&self, observer: &mut dyn Observer) {
        for event in self.events() {
            observer.event(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for History {
    fn event(&mut self, event: &Event) {
        let mut kept = self.lock();
        if kept.len() == self.most {
            kept.pop_front();
        }
        if kept.len() < self.most {
            kept.push_back(event.clone());
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("events", &self.events()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Fails as often as it is told to, then writes.
    struct Flaky {
        failures: u32,
        written: Vec<u8>,
    }

    impl Write for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_written_is_told_of_when_it_can_again() {
        let mut observer = TextObserver::new(Flaky { failures: 2, written: Vec::new() });
        for what in ["one", "two", "three", "four"] {
            observer.event(&Event::new(Level::INFO, "shop", what));
        }
        let text = String::from_utf8(observer.into_inner().written).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "(2 events before this could not be written)");
        assert!(lines[1].ends_with(" INFO shop: three") && lines[2].ends_with(" INFO shop: four"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_history_of_nothing_keeps_nothing() {
        let mut history = History::new(0);
        history.event(&Event::new(Level::INFO, "shop", "sold"));
        assert_eq!(history.events(), []);
    }

    #[test]
    fn a_history_is_replayed_oldest_first() {
        let mut history = History::new(2);
        for what in ["one", "two", "three"] {
            history.event(&Event::new(Level::INFO, "shop", what));
        }
        let mut observer = TextObserver::new(Vec::new());
        history.replay(&mut observer);
        let text = String::from_utf8(observer.into_inner()).unwrap();
        let seen: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(seen, ["two", "three"]);
    }
}
