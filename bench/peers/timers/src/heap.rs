//! std's `BinaryHeap` of (deadline, id); a cancelled or pushed timer leaves a stale entry behind, skipped when met.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use measure::timers::Queue;

pub(crate) struct Heap {
    queue: BinaryHeap<Reverse<(u64, u32)>>,
    /// When each timer is due; [`GONE`] once cancelled or fired.
    due: Vec<u64>,
    fired: usize,
}

const GONE: u64 = u64::MAX;

impl Heap {
    pub(crate) fn new() -> Self {
        Self { queue: BinaryHeap::new(), due: Vec::new(), fired: 0 }
    }
}

impl Queue for Heap {
    type Key = u32;

    fn insert(&mut self, at: u64) -> u32 {
        let id = self.due.len() as u32;
        self.due.push(at);
        self.queue.push(Reverse((at, id)));
        id
    }

    fn cancel(&mut self, id: &u32) {
        self.due[*id as usize] = GONE;
    }

    fn push(&mut self, id: &mut u32, at: u64) {
        self.due[*id as usize] = at;
    }

    fn advance(&mut self, now: u64) {
        while let Some(&Reverse((at, id))) = self.queue.peek() {
            if at > now {
                return;
            }
            self.queue.pop();
            let due = &mut self.due[id as usize];
            if *due == at {
                *due = GONE;
                self.fired += 1;
            } else if *due != GONE {
                self.queue.push(Reverse((*due, id)));
            }
        }
    }

    fn fired(&self) -> usize {
        self.fired
    }
}
