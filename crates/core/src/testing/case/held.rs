//! How long turns took in real time, where the reactor's own is virtual: a callback that blocks or computes for long would hold the loop on a kernel.

use std::fs;
use std::time::{Duration, Instant};

/// Measures from turn to turn. Reads the machine's clock, as nothing that a program can see does.
#[derive(Debug)]
pub(super) struct Held {
    threshold: Duration,
    last: Instant,
    /// When it was last asked how long this thread had waited for a processor, and the answer.
    waited: (Instant, Duration),
    /// How many turns were too long, and the longest.
    stalls: u32,
    longest: Duration,
}

impl Held {
    pub(super) fn new(threshold: Duration) -> Self {
        let now = Instant::now();
        let waited = (now, waited());
        Self { threshold, last: now, waited, stalls: 0, longest: Duration::ZERO }
    }

    /// A turn is over.
    pub(super) fn turned(&mut self) {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        let is_long = took >= self.threshold;
        // Asking costs some microseconds: often enough to tell this turn's wait from those before, seldom enough not to matter.
        if !is_long && now - self.waited.0 < self.threshold / 4 {
            return;
        }
        let before = std::mem::replace(&mut self.waited, (now, waited()));
        let took = took.saturating_sub(self.waited.1.saturating_sub(before.1));
        if is_long && took >= self.threshold {
            self.stalls += 1;
            self.longest = self.longest.max(took);
        }
    }

    pub(super) fn complaint(&self) -> Option<String> {
        (self.stalls > 0).then(|| {
            let (stalls, longest, most) = (self.stalls, self.longest, self.threshold);
            format!(
                "{stalls} turns took longer than {most:?}, the longest {longest:?}: a callback held the loop"
            )
        })
    }
}

/// How long this thread was ready to run while others ran, where the system tells: the second number of `proc_pid_schedstat(5)`, in nanoseconds.
fn waited() -> Duration {
    let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
