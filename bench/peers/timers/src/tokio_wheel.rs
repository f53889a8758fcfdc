//! tokio's timers: a million `Sleep`s in one vector, each polled once (which registers it), dropped to cancel, reset to push; fired in real time,
//! counted in processor time. The workload is that of `measure::timers::run`, written out, for tokio has a loop and a clock of its own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use measure::timers::{COUNT, EARLIEST, Lap, Report, SPAN, deadline};
use measure::{Random, resident};
use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    match runtime.map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(workload())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("timers: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn workload() -> Result<(), String> {
    let mut random = Random::new();
    let memory = resident();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut clock = Lap::start();
    let mut sleeps = Sleeps(Vec::with_capacity(COUNT));
    for i in 0..COUNT {
        sleeps.0.push(Some(sleep_until(at(deadline(i, &mut random)))));
    }
    sleeps.register().await;
    let insert = clock.lap(COUNT);
    let bytes = resident().saturating_sub(memory) as f64 / COUNT as f64;
    clock.lap(1);
    for i in (1..COUNT).step_by(2) {
        sleeps.0[i] = None;
    }
    let cancel = clock.lap(COUNT / 2);
    if Instant::now() >= at(EARLIEST) {
        return Err("the machine was too slow: timers were due before all were in".to_owned());
    }
    sleep_until(at(EARLIEST + SPAN + 100)).await;
    let fire = clock.lap(COUNT / 2);
    if !sleeps.0.iter().flatten().all(Sleep::is_elapsed) {
        return Err("a timer did not fire".to_owned());
    }

    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    for (i, sleep) in sleeps.0.iter_mut().enumerate() {
        *sleep = Some(sleep_until(at(10_000 + deadline(i, &mut random))));
    }
    sleeps.register().await;
    clock.lap(1);
    for (i, sleep) in sleeps.pinned().enumerate() {
        sleep.reset(at(100_000 + i as u64 % 1_000));
    }
    let push = clock.lap(COUNT);
    Report { insert, cancel, fire, push: Some(push), repay: None, bytes }.print();
    Ok(())
}

/// Futures that stay where they are from the first poll on: the vector is filled once and never grows; an element is replaced (dropped in place) only.
struct Sleeps(Vec<Option<Sleep>>);

impl Sleeps {
    fn pinned(&mut self) -> impl Iterator<Item = Pin<&mut Sleep>> {
        // SAFETY: the vector has its full capacity from the start, so no element is ever moved; it is dropped, or overwritten, where it lies.
        self.0.iter_mut().flatten().map(|sleep| unsafe { Pin::new_unchecked(sleep) })
    }

    /// Polls each once: only then does tokio know of it.
    async fn register(&mut self) {
        poll_fn(|context| {
            let early =
                self.pinned().filter_map(|s| s.poll(context).is_ready().then_some(())).count();
            assert_eq!(early, 0, "no timer is due before all are in");
            Poll::Ready(())
        })
        .await;
    }
}
