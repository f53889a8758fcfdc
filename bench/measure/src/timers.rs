//! The timer workload: one million timers; the odd ones are cancelled, the even ones fire; then a million again, each pushed further.
//! A candidate implements [`Queue`] and is given to [`run`]; one that cannot (tokio needs its own loop) takes [`deadline`] and [`Report`].

use crate::{Random, processor_time, resident};

/// How many timers are pending at the peak.
pub const COUNT: usize = 1_000_000;
/// Before this many milliseconds nothing is due.
pub const EARLIEST: u64 = 3_000;
/// All timers that fire are due within this many milliseconds after [`EARLIEST`].
pub const SPAN: u64 = 1_000;

/// When timer `index` is due, in milliseconds: an even one within [`SPAN`], an odd one, to be cancelled, within a minute.
pub fn deadline(index: usize, random: &mut Random) -> u64 {
    EARLIEST + random.below(if index.is_multiple_of(2) { SPAN } else { 60_000 })
}

/// A queue of timers, as the workload sees it. Times are in milliseconds since its creation.
pub trait Queue {
    /// What names a pending timer.
    type Key;

    /// Adds a timer that will count itself when it fires.
    fn insert(&mut self, at: u64) -> Self::Key;
    /// Takes a pending timer out.
    fn cancel(&mut self, key: &Self::Key);
    /// Pushes a pending timer to a later time.
    fn push(&mut self, key: &mut Self::Key, at: u64);
    /// Lets time pass to `now`, firing all that is due.
    fn advance(&mut self, now: u64);
    /// How many have fired so far.
    fn fired(&self) -> usize;
}

/// Runs the workload over queues made by `make` and prints the report.
///
/// # Panics
/// If a queue fires too many or too few.
pub fn run<Q: Queue>(make: impl Fn() -> Q) {
    let mut random = Random::new();
    let memory = resident();
    let mut clock = Lap::start();
    let mut queue = make();
    let mut keys = Vec::with_capacity(COUNT);
    for i in 0..COUNT {
        keys.push(queue.insert(deadline(i, &mut random)));
    }
    let insert = clock.lap(COUNT);
    let keys_held = (COUNT * size_of::<Q::Key>()) as u64;
    let bytes = resident().saturating_sub(memory + keys_held) as f64 / COUNT as f64;
    clock.lap(1);
    for key in keys.iter().skip(1).step_by(2) {
        queue.cancel(key);
    }
    let cancel = clock.lap(COUNT / 2);
    for now in 1..=EARLIEST + SPAN {
        queue.advance(now);
    }
    let fire = clock.lap(COUNT / 2);
    assert_eq!(queue.fired(), COUNT / 2, "every even timer fires, once, and nothing else");
    drop(queue);

    let mut queue = make();
    for (i, key) in keys.iter_mut().enumerate() {
        *key = queue.insert(deadline(i, &mut random));
    }
    clock.lap(1);
    for (i, key) in keys.iter_mut().enumerate() {
        queue.push(key, EARLIEST + 60_000 + i as u64 % 1_000);
    }
    let push = clock.lap(COUNT);
    queue.advance(EARLIEST + SPAN);
    let repay = clock.lap(COUNT);
    assert_eq!(queue.fired(), 0, "a timer that was pushed further does not fire at its old time");
    Report { insert, cancel, fire, push: Some(push), repay: Some(repay), bytes }.print();
}

/// A stopwatch of processor time.
#[derive(Debug)]
pub struct Lap(u64);

impl Lap {
    /// Starts it.
    pub fn start() -> Self {
        Self(processor_time())
    }

    /// Nanoseconds since the last lap, divided by `count`; starts the next lap.
    pub fn lap(&mut self, count: usize) -> f64 {
        let now = processor_time();
        let spent = now - std::mem::replace(&mut self.0, now);
        spent as f64 / count as f64
    }
}

/// What one run measured: nanoseconds of processor time for each timer, and resident bytes for each at the peak.
#[derive(Debug)]
pub struct Report {
    /// Adding one.
    pub insert: f64,
    /// Cancelling one of the half that is cancelled.
    pub cancel: f64,
    /// Firing one of the other half, the passing of time included.
    pub fire: f64,
    /// Pushing one further; `None` if the candidate cannot.
    pub push: Option<f64>,
    /// Letting the old time of one that was pushed pass: where a queue that only notes the new time pays for it.
    pub repay: Option<f64>,
    /// Resident memory, without the names that the caller keeps where those are apart.
    pub bytes: f64,
}

impl Report {
    /// Prints one line of JSON.
    pub fn print(&self) {
        let Self { insert, cancel, fire, push, repay, bytes } = self;
        let optional = |v: &Option<f64>| v.map_or_else(|| "null".to_owned(), |v| format!("{v:.1}"));
        println!(
            r#"{{"insert":{insert:.1},"cancel":{cancel:.1},"fire":{fire:.1},"push":{},"repay":{},"bytes":{bytes:.1}}}"#,
            optional(push),
            optional(repay),
        );
    }
}
