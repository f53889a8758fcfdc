//! The far part of the queue: lists of timers for stretches of time that get wider with distance,
//! unsorted. Each level has 64 slots; one slot of a level is as wide as all of the level below.
//! What is nearer than the wheel's limit, and all sorting, is in `mod.rs`; the lists are those of
//! `slab.rs`.

use super::{Entry, slab::Slab};

/// The slot of a deadline is given by it and the limit alone: the level by the highest digit (of
/// six bits) in which they differ, the slot by the deadline's digit there. So the lowest slot of
/// the lowest level occupied holds the earliest timers. A timer put off stays in its slot until
/// that is pulled, and so does one that was cancelled, unless a sweep comes first.
pub(super) struct Wheel {
    /// Everything in the wheel is later than this. Its low `TICK` bits are ones.
    limit: u64,
    /// Slots that have been filled; they may be empty again.
    occupied: [u64; LEVELS],
}

impl Wheel {
    pub(super) const fn new() -> Self {
        Self { limit: LOW, occupied: [0; LEVELS] }
    }

    /// Notes that a timer with this deadline, which the wheel covers, comes in. Returns its slot:
    /// it is to be put into the [`list`] of that.
    #[inline]
    pub(super) const fn open(&mut self, deadline: u64) -> usize {
        let at = self.place(deadline);
        self.occupied[at / SLOTS] |= 1 << (at % SLOTS);
        at
    }

    /// Puts a timer in that the wheel covers.
    #[inline]
    pub(super) fn push<T>(&mut self, deadline: u64, index: u32, slab: &mut Slab<T>) {
        slab.link(list(self.open(deadline), index), index);
    }

    /// Takes all lists apart: the dead are vacant then, those that entries stand for are in no list,
    /// and all others where they belong by now. Returns how many nodes it looked at: all there are,
    /// in the order of memory, for following lists is slow.
    #[cold]
    pub(super) fn sweep<T>(&mut self, slab: &mut Slab<T>) -> usize {
        slab.detach_first(LISTS);
        self.occupied = [0; LEVELS];
        for index in (0..slab.extent() as u32).rev() {
            if slab.is_listed(index) && slab.unlink(index) {
                self.push(slab.entry(index).deadline, index, slab);
            }
        }
        slab.extent()
    }

    /// Moves the limit beyond the earliest timers, if those may be due at `until`, and hands them
    /// over in no order: entries that stand for them are put into `into`. It may stay empty.
    /// Returns how many timers it looked at, or `None` if there is none as early as that.
    pub(super) fn pull<T>(
        &mut self,
        until: u64,
        into: &mut Vec<Entry>,
        slab: &mut Slab<T>,
    ) -> Option<usize> {
        let (level, digit) = self.earliest(slab)?;
        let shift = TICK + BITS * level as u32;
        // Above the level, the digits are the limit's.
        let above = self.limit.checked_shr(shift + BITS).unwrap_or(0);
        let start = above.checked_shl(shift + BITS).unwrap_or(0) | (digit as u64) << shift;
        if start > until {
            return None;
        }
        let at = level * SLOTS + digit;
        let whole = level == 0 || Self::count(at, slab, FEW + 1) <= FEW;
        self.limit = start | if whole { (1 << shift) - 1 } else { LOW };
        self.occupied[level] &= !(1 << digit);
        let mut count = 0;
        let mut nodes: [Option<u32>; WAYS] =
            std::array::from_fn(|way| slab.detach(at * WAYS + way));
        // Side by side, so that waiting for one node does not hold up the others.
        while nodes != [None; WAYS] {
            for node in &mut nodes {
                let Some(index) = *node else { continue };
                *node = slab.next(index);
                count += 1;
                if !slab.unlink(index) {
                    continue;
                }
                let entry = slab.entry(index);
                if self.covers(entry.deadline) {
                    self.push(entry.deadline, index, slab);
                } else {
                    into.push(entry);
                }
            }
        }
        Some(count)
    }

    /// Moves the limit back to `to`, which is earlier, unless that would move more than `most`
    /// timers. Returns how many it moved.
    pub(super) fn rewind<T>(&mut self, to: u64, most: usize, slab: &mut Slab<T>) -> Option<usize> {
        let to = to | LOW;
        // Those of the level of the first difference, and above, stay where they are.
        let keep = Self::level(self.limit, to);
        let mut moved = Vec::new();
        for list in 0..keep * SLOTS * WAYS {
            let mut node = slab.first(list);
            while let Some(index) = node {
                if moved.len() == most {
                    return None;
                }
                moved.push(index);
                node = slab.next(index);
            }
        }
        self.limit = to;
        self.occupied[..keep].fill(0);
        slab.detach_first(keep * SLOTS * WAYS);
        for &index in &moved {
            if slab.unlink(index) {
                self.push(slab.entry(index).deadline, index, slab);
            }
        }
        Some(moved.len())
    }

    /// Moves the limit up to `now` if nothing is in the way.
    pub(super) fn skip<T>(&mut self, now: u64, slab: &Slab<T>) {
        if self.earliest(slab).is_none() {
            self.pass(now);
        }
    }

    /// Moves the limit up to `to`, which no slot is as early as.
    pub(super) fn pass(&mut self, to: u64) {
        self.limit = self.limit.max(to | LOW);
    }

    /// True if a timer with this deadline belongs here.
    pub(super) const fn covers(&self, deadline: u64) -> bool {
        deadline > self.limit
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Nodes in the lists, dead ones included.
    #[cfg(test)]
    pub(super) fn len<T>(slab: &Slab<T>) -> usize {
        (0..LEVELS * SLOTS).map(|at| Self::count(at, slab, usize::MAX)).sum()
    }

    /// The level and digit of the earliest slot that is not empty.
    fn earliest<T>(&mut self, slab: &Slab<T>) -> Option<(usize, usize)> {
        for (level, bits) in self.occupied.iter_mut().enumerate() {
            while *bits != 0 {
                let digit = bits.trailing_zeros() as usize;
                let mut lists = (level * SLOTS + digit) * WAYS..;
                if lists.by_ref().take(WAYS).any(|list| slab.first(list).is_some()) {
                    return Some((level, digit));
                }
                *bits &= *bits - 1;
            }
        }
        None
    }

    /// The nodes of a slot; it does not count further than `most`.
    fn count<T>(at: usize, slab: &Slab<T>, most: usize) -> usize {
        let lists = (at * WAYS..).take(WAYS);
        let nodes = lists
            .flat_map(|list| std::iter::successors(slab.first(list), |&index| slab.next(index)));
        nodes.take(most).count()
    }

    const fn place(&self, deadline: u64) -> usize {
        let level = Self::level(deadline, self.limit);
        level * SLOTS + (deadline >> (TICK + BITS * level as u32)) as usize % SLOTS
    }

    const fn level(a: u64, b: u64) -> usize {
        // The lowest bit makes no difference: the level of no difference is the lowest.
        let differing = (a ^ b) >> TICK | 1;
        ((63 - differing.leading_zeros()) / BITS) as usize
    }
}

/// The list of a slot that a node belongs to.
#[inline]
pub(super) const fn list(at: usize, index: u32) -> usize {
    at * WAYS + (index.wrapping_mul(0x9e37_79b9) >> (32 - WAYS.trailing_zeros())) as usize
}

/// Deadlines that differ only in so many low bits share a slot of the lowest level: 65.5 µs.
const TICK: u32 = 16;
const LOW: u64 = (1 << TICK) - 1;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Enough for any deadline: 16 + 8 * 6 = 64.
const LEVELS: usize = 8;
/// A slot has so many lists: in one, each node must be there before the next can be fetched.
const WAYS: usize = 8;
pub(super) const LISTS: usize = LEVELS * SLOTS * WAYS;
/// So many timers are sorted as they are, however wide their slot.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::{
        super::{GARBAGE, Key, Timers, tests::check},
        Wheel,
    };

    #[test]
    fn entries_of_timers_set_earlier_go_when_those_are_cancelled() {
        let mut timers = Timers::new();
        let keys: Vec<Key> = (0..1000).map(|i| timers.insert(1 << 41, i)).collect();
        assert!(keys.iter().all(|&key| timers.set_deadline(key, 1 << 36)));
        assert_eq!(timers.ahead.len(), 1000);
        assert!(keys[100..].iter().all(|&key| timers.cancel(key).is_some()));
        check(&timers);
        assert!(timers.ahead.len() <= 2 * 100 + GARBAGE, "{}", timers.ahead.len());
        assert_eq!(timers.drain().len(), 100);
        check(&timers);
        assert_eq!((timers.ahead.len(), Wheel::len(&timers.slab)), (0, 0));
    }

    #[test]
    fn the_limit_never_passes_a_timer_that_was_set_earlier() {
        let mut timers = Timers::new();
        // More than are sorted as they are, so that their slot goes to the level below.
        let keys: Vec<Key> = (0..100).map(|i| timers.insert(0x57_0000, i)).collect();
        assert!(timers.set_deadline(keys[0], 0x53_8000));
        assert!(keys[1..].iter().all(|&key| timers.cancel(key).is_some()));
        assert!(timers.pop_due(0x53_7000, u64::MAX).is_none());
        check(&timers);
        timers.insert(0x53_9000, 100);
        let popped = std::iter::from_fn(|| timers.pop_due(0x53_9000, u64::MAX));
        assert!(popped.map(|(_, value)| value).eq([0, 100]));
    }
}
