//! What the measuring programs of this folder share: processor time, resident memory, random numbers, and the workload of the timer suite with
//! its report, and that of the spawn suite. No benchmark of its own.

#![forbid(unsafe_code)]

use std::fs;

use rustix::time::{ClockId, clock_gettime};

pub mod spawn;
pub mod timers;

/// Processor time of this process so far, all threads, in nanoseconds.
pub fn processor_time() -> u64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Resident memory of this process in bytes, counted page by page (the kernel's quick counters lag); 0 where there is no
/// `/proc/self/smaps_rollup`.
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Rss:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Marsaglia's xorshift64: the same numbers in every run and for every candidate.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that every run of the suites uses.
    pub fn new() -> Self {
        Self(88_172_645_463_325_252)
    }

    /// The next number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
