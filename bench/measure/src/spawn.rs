//! The workload of the spawn suite: batches of a thousand tasks, each run to its end. A candidate gives a way to spawn; what is done with the
//! handles is the case.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Tasks spawned before any of them runs.
pub const BATCH: usize = 1_000;

/// What a task does, and what becomes of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// It is ready at once; the handle is dropped.
    Dropped,
    /// It is ready at once; the handle is awaited.
    Awaited,
    /// It wakes itself once; the handle is awaited.
    Yields,
}

impl Case {
    /// The case of this name: `dropped`, `awaited` or `yields`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "dropped" => Some(Self::Dropped),
            "awaited" => Some(Self::Awaited),
            "yields" => Some(Self::Yields),
            _ => None,
        }
    }

    /// Whether every handle is awaited; else only the last of a batch is, which ends last.
    pub fn awaits_all(self) -> bool {
        self != Self::Dropped
    }
}

/// The case and the number of batches, from the arguments `CASE BATCHES`.
///
/// # Errors
///
/// What the arguments should be.
pub fn arguments(mut words: impl Iterator<Item = String>) -> Result<(Case, usize), &'static str> {
    let case = words.next().and_then(|name| Case::named(&name));
    let batches = words.next().and_then(|number| number.parse().ok());
    case.zip(batches).ok_or("usage: dropped|awaited|yields BATCHES")
}

/// Spawns and waits, batch after batch. Answers the sum of what the tasks that were awaited came to.
pub async fn run<H, T>(
    case: Case,
    batches: usize,
    spawn: impl Fn(Work) -> H,
    value: impl Fn(T) -> u64,
) -> u64
where
    H: Future<Output = T>,
{
    let mut sum = 0;
    let mut handles = Vec::with_capacity(BATCH);
    for _ in 0..batches {
        for number in 0..BATCH {
            let handle = spawn(Work { yields: case == Case::Yields, number: number as u64 });
            if case.awaits_all() || number + 1 == BATCH {
                handles.push(handle);
            }
        }
        for handle in handles.drain(..) {
            sum += value(handle.await);
        }
    }
    sum
}

/// What [`run`] answers.
pub fn expected(case: Case, batches: usize) -> u64 {
    let batch = BATCH as u64;
    batches as u64 * if case.awaits_all() { batch * (batch - 1) / 2 } else { batch - 1 }
}

/// What each task does.
#[derive(Debug)]
pub struct Work {
    yields: bool,
    number: u64,
}

impl Future for Work {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if !std::mem::replace(&mut self.yields, false) {
            return Poll::Ready(self.number);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
