//! The queue of timers: values that come due, in order. It has no clock and calls nobody: time
//! comes in as a number of nanoseconds, values go out one at a time. `slab.rs` keeps the timers, in
//! the nodes of `node.rs`; `wheel.rs` lists those of the far part of the queue; here are the near
//! part, which is in order, and the rules.

mod node;
mod slab;
#[cfg(test)]
mod tests;
mod wheel;

use std::{cmp::Reverse, collections::BinaryHeap, fmt, mem};

use self::node::End;
pub(crate) use self::slab::{Key, State};
use self::slab::{Slab, Standing};
use self::wheel::Wheel;

/// Timers with a value each.
///
/// They come due in the order of a list sorted by (deadline, order of scheduling), and setting a
/// deadline anew is scheduling anew: ties run first in, first out. Deadlines are nanoseconds of
/// whatever clock the caller goes by; any `u64` is one.
///
/// Values are handed back, never dropped here (but with the queue itself), so that the caller can
/// let go of them outside its borrows.
///
/// # Cost
///
/// Adding, cancelling, and setting a deadline are amortised O(1), or O(log n) where the deadline is
/// nearer than the next slot of the wheel, or earlier than it was; putting off a timer writes two
/// words. A far timer is a node in a list, and nothing else is written for it: bytes, by way of page
/// faults, are what adding costs most of all. Each timer is sorted once, among its slot, shortly
/// before it is due. A cancelled one leaves its node in the list, or its entry in the near part,
/// until that is met, or until such are the greater part; so does one set earlier, and an entry in a
/// heap stands for it, unless such are many. After a burst, memory is given back: at once in the
/// near part; of the nodes a little at the end of each turn, when `pop_due` has no more to give,
/// down to the highest one in use, and but for four bytes each, which remember how they ended.
pub(crate) struct Timers<T> {
    slab: Slab<T>,
    wheel: Wheel,
    /// Entries not later than the wheel's limit: sorted, the earliest last ...
    near: Vec<Entry>,
    /// ... come in since `near` was sorted ...
    early: BinaryHeap<Reverse<Entry>>,
    /// ... and due, but too young for the bound last given to `pop_due`.
    held: BinaryHeap<Reverse<Entry>>,
    /// No entry in `held` is older.
    held_from: u64,
    /// Entries later than the wheel's limit, of timers that were set earlier: those are in lists.
    ahead: BinaryHeap<Reverse<Entry>>,
    /// How many of the entries in those four are stale, but for chance: see [`Slab::owns`].
    stale: usize,
    /// The next timer scheduled gets this.
    seq: u64,
    /// The latest time heard of.
    now: u64,
    /// At this length of `early` it is time to see if the wheel can take it.
    crowd: usize,
    /// Turns in which a dead node was in the way of giving memory back.
    stuck: usize,
    work: Work,
}

impl<T> Timers<T> {
    /// Makes an empty queue.
    pub(crate) fn new() -> Self {
        Self {
            slab: Slab::new(),
            wheel: Wheel::new(),
            near: Vec::new(),
            early: BinaryHeap::new(),
            held: BinaryHeap::new(),
            held_from: u64::MAX,
            ahead: BinaryHeap::new(),
            stale: 0,
            seq: 0,
            now: 0,
            crowd: CROWD,
            stuck: 0,
            work: Work::default(),
        }
    }

    /// Adds a timer due at `deadline`, which may be past.
    ///
    /// # Panics
    ///
    /// If nearly 2^32 timers are pending.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let seq = self.next_seq();
        self.work.add(1);
        let slot = self.wheel.covers(deadline).then(|| self.wheel.open(deadline));
        let key = self.slab.insert(deadline, seq, value, slot);
        if slot.is_none() {
            self.come_early(Entry { deadline, seq, index: key.index });
        }
        key
    }

    /// Takes a timer back, with its value, or returns `None` if it is not pending.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<T> {
        let (value, queued) = self.slab.cancel(key)?;
        if queued {
            self.note_stale();
        }
        if self.slab.is_littered() {
            self.sweep();
        }
        Some(value)
    }

    /// Schedules a timer anew, at an earlier or later time, or returns false if it is not pending.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64) -> bool {
        let seq = self.seq;
        let Some(node) = self.slab.get_mut(key) else { return false };
        self.seq += 1;
        if deadline < node.schedule(deadline, seq) {
            let entered = self.slab.is_entered(key.index);
            self.enqueue(Entry { deadline, seq, index: key.index });
            if entered {
                self.note_stale();
            }
            self.look_at_crowd();
        }
        true
    }

    /// Returns the earliest deadline of all, exactly.
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        loop {
            self.settle();
            self.settle_held();
            let first = self.first().into_iter().chain(self.held.peek().map(|held| held.0)).min();
            if let Some(entry) = first {
                return Some(entry.deadline);
            }
            self.pull(u64::MAX)?;
        }
    }

    /// Hands out the first of the timers that are due at `now` and were scheduled before `before`,
    /// which is an earlier answer of [`mark`](Self::mark), or `u64::MAX`.
    ///
    /// Timers scheduled since keep their place, and [`next_deadline`](Self::next_deadline) reports
    /// them. Passing over them is paid once for each of them and bound: give the same bound for a
    /// whole turn.
    pub(crate) fn pop_due(&mut self, now: u64, before: u64) -> Option<(Key, T)> {
        self.now = self.now.max(now);
        if before > self.held_from {
            self.release();
        }
        loop {
            self.settle();
            let Some(entry) = self.first() else {
                if self.pull(now).is_none() {
                    if self.ahead.is_empty() {
                        self.wheel.skip(self.now, &self.slab);
                    }
                    self.tidy();
                    return None;
                }
                continue;
            };
            if entry.deadline > now {
                self.tidy();
                return None;
            }
            self.drop_first();
            if entry.seq < before {
                return self.slab.evict(entry.index, End::Called);
            }
            self.held_from = self.held_from.min(entry.seq);
            self.held.push(Reverse(entry));
        }
    }

    /// Cancels all, and hands back their values in no order.
    pub(crate) fn drain(&mut self) -> Vec<(Key, T)> {
        let indices = (0..self.slab.extent() as u32).rev();
        let drained = indices.filter_map(|index| self.slab.evict(index, End::Cancelled)).collect();
        self.work.add(self.wheel.sweep(&mut self.slab));
        self.near = Vec::new();
        self.early = BinaryHeap::new();
        self.held = BinaryHeap::new();
        self.held_from = u64::MAX;
        self.ahead = BinaryHeap::new();
        self.stale = 0;
        self.crowd = CROWD;
        self.wheel = Wheel::new();
        self.wheel.skip(self.now, &self.slab);
        drained
    }

    /// Returns a bound between the timers scheduled so far and those to come, for
    /// [`pop_due`](Self::pop_due).
    pub(crate) const fn mark(&self) -> u64 {
        self.seq
    }

    /// Returns when a timer is due, if it is pending.
    pub(crate) fn deadline(&self, key: Key) -> Option<u64> {
        Some(self.slab.get(key)?.deadline)
    }

    /// Returns the value of a timer, if it is pending.
    #[cfg(test)]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slab.get(key)?.value.as_ref()
    }

    /// Returns the value of a timer, if it is pending.
    #[cfg(test)]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key)?.value.as_mut()
    }

    /// Tells if a timer waits, or how it ended.
    pub(crate) fn state(&self, key: Key) -> State {
        self.slab.state(key)
    }

    /// Returns how many timers are pending.
    pub(crate) const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns true if no timer is pending.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the pending timers, with their deadlines, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, u64, &T)> {
        self.slab.iter()
    }

    /// Returns true if [`pop_due`](Self::pop_due) has memory to give back, when it has no more timers to give.
    #[inline]
    pub(crate) fn is_untidy(&self) -> bool {
        self.slab.is_loose()
    }

    const fn next_seq(&mut self) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        seq
    }

    /// Lets `entry` stand for its timer: as an entry in a heap, or a place in one of the wheel's
    /// lists, if it is not in one already.
    fn enqueue(&mut self, entry: Entry) {
        self.work.add(1);
        if !self.wheel.covers(entry.deadline) {
            self.slab.enter(entry.index, entry.seq);
            self.early.push(Reverse(entry));
        } else if self.slab.is_listed(entry.index) {
            self.slab.enter(entry.index, entry.seq);
            self.ahead.push(Reverse(entry));
        } else {
            self.wheel.push(entry.deadline, entry.index, &mut self.slab);
        }
    }

    /// Apart, to keep `insert` short.
    #[inline(never)]
    fn come_early(&mut self, entry: Entry) {
        self.early.push(Reverse(entry));
        self.look_at_crowd();
    }

    fn look_at_crowd(&mut self) {
        if self.early.len() >= self.crowd {
            self.rewind();
        }
        if self.ahead.len() >= CROWD && self.ahead.len() > self.slab.extent() / 4 {
            self.sweep();
        }
    }

    /// Takes the dead out of the wheel, and all in where they belong that were set earlier.
    #[cold]
    fn sweep(&mut self) {
        self.work.add(self.wheel.sweep(&mut self.slab));
        for Reverse(entry) in mem::take(&mut self.ahead) {
            match self.slab.meet(&entry) {
                Standing::Current => self.enqueue(entry),
                standing => self.correct(standing),
            }
        }
    }

    /// Looks after memory at the end of a turn.
    fn tidy(&mut self) {
        if self.slab.trim(TRIM) {
            self.stuck += 1;
        }
        // By now there have been turns enough to pay for a look at every node.
        let stuck = self.stuck > self.slab.extent() / TRIM;
        if stuck || self.slab.is_littered() {
            self.stuck = 0;
            self.sweep();
        }
    }

    /// Counts one more stale entry in the near part.
    fn note_stale(&mut self) {
        self.stale += 1;
        let slab = &self.slab;
        let len = self.near.len() + self.early.len() + self.held.len() + self.ahead.len();
        if self.stale >= GARBAGE && self.stale > len / 2 {
            self.work.add(len);
            self.near.retain(|entry| slab.owns(entry));
            self.early.retain(|entry| slab.owns(&entry.0));
            self.held.retain(|entry| slab.owns(&entry.0));
            self.ahead.retain(|entry| slab.owns(&entry.0));
            self.stale = 0;
            self.near.shrink_to(2 * self.near.len());
            self.early.shrink_to(2 * self.early.len());
            self.held.shrink_to(2 * self.held.len());
            self.ahead.shrink_to(2 * self.ahead.len());
        }
    }

    /// The earliest entry of `near` and `early`, which are settled.
    fn first(&self) -> Option<Entry> {
        let early = self.early.peek().map(|early| early.0);
        self.near.last().copied().into_iter().chain(early).min()
    }

    fn drop_first(&mut self) {
        self.work.add(1);
        match (self.near.last(), self.early.peek()) {
            (Some(near), Some(early)) if early.0 < *near => drop(self.early.pop()),
            (Some(_), _) => drop(self.near.pop()),
            (None, _) => drop(self.early.pop()),
        }
    }

    /// Corrects the entries in front until those of `near` and `early` are what they say.
    fn settle(&mut self) {
        loop {
            while let Some(entry) = self.near.last() {
                let standing = self.slab.meet(entry);
                if matches!(standing, Standing::Current) {
                    break;
                }
                self.near.pop();
                self.correct(standing);
            }
            if !self.near.is_empty() || self.early.len() <= FEW {
                break;
            }
            self.sort_early();
        }
        while let Some(Reverse(entry)) = self.early.peek() {
            let standing = self.slab.meet(entry);
            if matches!(standing, Standing::Current) {
                break;
            }
            self.early.pop();
            self.correct(standing);
        }
        if self.early.is_empty() && self.early.capacity() > GARBAGE {
            self.early = BinaryHeap::new();
        }
    }

    /// The same for `held`. What has moved is no longer due, or goes to where `settle` left off.
    fn settle_held(&mut self) {
        while let Some(Reverse(entry)) = self.held.peek() {
            let standing = self.slab.meet(entry);
            if matches!(standing, Standing::Current) {
                break;
            }
            self.held.pop();
            self.correct(standing);
        }
    }

    /// Sees to an entry that was not what it said, and has been taken out.
    fn correct(&mut self, standing: Standing) {
        self.work.add(1);
        match standing {
            Standing::Current => {}
            Standing::Moved(entry) => self.enqueue(entry),
            Standing::Stale => self.stale = self.stale.saturating_sub(1),
        }
    }

    /// Takes a crowd in the heap over into `near`, which is empty: one sort is cheaper than as many
    /// pops.
    fn sort_early(&mut self) {
        self.near =
            mem::take(&mut self.early).into_vec().into_iter().map(|entry| entry.0).collect();
        self.work.add(self.near.len());
        self.crowd = CROWD;
        self.order_near();
    }

    fn order_near(&mut self) {
        // Nearly always in order already: a slot is filled in the order of scheduling, and ties
        // abound.
        self.near.sort_unstable();
        self.near.reverse();
    }

    /// Takes the wheel's earliest slot over into `near`, which is empty, if any of it may be due at
    /// `until`.
    fn pull(&mut self, until: u64) -> Option<()> {
        let ahead = self.ahead.peek().map_or(u64::MAX, |entry| entry.0.deadline);
        match self.wheel.pull(until.min(ahead), &mut self.near, &mut self.slab) {
            Some(count) => self.work.add(count),
            None if ahead <= until && !self.ahead.is_empty() => self.wheel.pass(ahead),
            None => return None,
        }
        while let Some(Reverse(entry)) = self.ahead.peek() {
            if self.wheel.covers(entry.deadline) {
                break;
            }
            self.work.add(1);
            self.near.push(*entry);
            self.ahead.pop();
        }
        if self.near.len() < self.near.capacity() / 4 {
            self.near.shrink_to(GARBAGE.max(2 * self.near.len()));
        }
        self.order_near();
        Some(())
    }

    /// Lets the entries in `held` line up again.
    fn release(&mut self) {
        self.held_from = u64::MAX;
        self.work.add(self.held.len());
        if self.early.is_empty() {
            mem::swap(&mut self.early, &mut self.held);
        } else {
            self.early.append(&mut self.held);
        }
        self.held.shrink_to(GARBAGE);
    }

    /// Hands the near part back to the wheel. Its limit has run ahead, to the earliest timer there
    /// was, and many earlier ones have come in since: at least as many as there are entries to
    /// move, so each pays for one.
    #[cold]
    fn rewind(&mut self) {
        self.crowd = 2 * self.early.len();
        let most = self.early.len();
        if self.now >= self.wheel.limit() || self.near.len() > most {
            return;
        }
        let Some(count) = self.wheel.rewind(self.now, most, &mut self.slab) else { return };
        self.work.add(count + most + self.near.len());
        let near = mem::take(&mut self.near).into_iter();
        let early = mem::take(&mut self.early).into_vec().into_iter().map(|entry| entry.0);
        for entry in near.chain(early) {
            match self.slab.meet(&entry) {
                Standing::Current => self.enqueue(entry),
                standing => self.correct(standing),
            }
        }
        self.crowd = CROWD.max(2 * self.early.len());
    }
}

/// Stands for a timer in the near part. The order is that of firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: u64,
    /// Also names the entry: no two have the same.
    seq: u64,
    index: u32,
}

impl<T> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Entries handled, for tests that count: nothing outside of them.
#[derive(Default)]
struct Work {
    #[cfg(test)]
    done: usize,
}

impl Work {
    #[cfg(test)]
    const fn add(&mut self, entries: usize) {
        self.done += entries;
    }

    #[cfg(not(test))]
    const fn add(&mut self, _entries: usize) {}
}

/// A heap this small is not worth sorting.
const FEW: usize = 16;
/// A heap this large may be better off in the wheel.
const CROWD: usize = 1024;
/// So many vacant slots at most are given back at the end of a turn.
const TRIM: usize = 1024;
/// So many stale entries do not matter.
const GARBAGE: usize = 256;
