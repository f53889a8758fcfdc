//! The measured span: wall time, own and the server's processor time at its two ends, and the line of JSON that comes of it.

use std::fs;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::Options;
use crate::histogram::Histogram;

/// Runs through the warm-up and then the measured span.
pub(crate) struct Meter<'a> {
    options: &'a Options,
    began: Instant,
    first: Option<Sample>,
    latencies: Histogram,
    /// Replies on each connection within the measured span.
    each: Vec<u64>,
    done: u64,
    pub(crate) errors: u64,
}

/// Counters at one instant.
struct Sample {
    at: Instant,
    own: u64,
    server: Server,
    done: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self {
            options,
            began: Instant::now(),
            first: None,
            latencies: Histogram::new(),
            each: vec![0; options.conns],
            done: 0,
            errors: 0,
        }
    }

    /// Whether replies are still compared.
    pub(crate) fn warming(&self) -> bool {
        self.first.is_none()
    }

    /// One reply has come on that connection, `nanos` after its request.
    pub(crate) fn reply(&mut self, index: usize, nanos: u64) {
        self.done += 1;
        self.each[index] += 1;
        self.latencies.add(nanos);
    }

    /// Looks at the clock; true once the span is over and the report printed.
    pub(crate) fn over(&mut self, now: Instant) -> bool {
        let elapsed = (now - self.began).as_secs_f64();
        if self.first.is_none() && elapsed >= self.options.warm {
            self.first = Some(self.sample());
            self.latencies = Histogram::new();
            self.each.fill(0);
        }
        if elapsed < self.options.warm + self.options.secs && self.errors <= 1000 {
            return false;
        }
        let last = self.sample();
        self.print(self.first.as_ref().unwrap_or(&last), &last);
        true
    }

    fn sample(&self) -> Sample {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Sample {
            at: Instant::now(),
            own: own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64,
            server: Server::sample(&self.options.pids),
            done: self.done,
        }
    }

    fn print(&self, a: &Sample, b: &Sample) {
        let secs = (b.at - a.at).as_secs_f64().max(1e-9);
        let done = (b.done - a.done).max(1) as f64;
        let server = |part: fn(&Server) -> u64| part(&b.server).saturating_sub(part(&a.server));
        let [p50, p99] = [0.5, 0.99].map(|q| self.latencies.quantile(q) / 1e3);
        let worst = self.each.iter().min().copied().unwrap_or(0) * self.each.len() as u64;
        println!(
            r#"{{"done":{},"total":{},"errors":{},"rps":{:.1},"p50_us":{p50:.1},"p99_us":{p99:.1},"load_util":{:.4},"server_us":{:.4},"server_util":{:.4},"wait":{:.4},"wakes":{:.4},"worst":{:.4}}}"#,
            b.done - a.done,
            self.done,
            self.errors,
            done / secs,
            (b.own - a.own) as f64 / 1e9 / secs,
            server(|s| s.on) as f64 / 1e3 / done,
            server(|s| s.on) as f64 / 1e9 / secs,
            server(|s| s.waiting) as f64 / 1e9 / secs,
            server(|s| s.slept) as f64 / done,
            worst as f64 / done,
        );
    }
}

/// Of some processes, all threads, so far: nanoseconds on a processor, nanoseconds runnable but waiting for one, and how often they went to sleep
/// of their own accord.
#[derive(Default)]
struct Server {
    on: u64,
    waiting: u64,
    slept: u64,
}

impl Server {
    fn sample(pids: &[u32]) -> Self {
        let mut sum = Self::default();
        for pid in pids {
            for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten()
            {
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap_or(0));
                sum.on += numbers.next().unwrap_or(0);
                sum.waiting += numbers.next().unwrap_or(0);
                let text = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                let line = text.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
                sum.slept += line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sum
    }
}
