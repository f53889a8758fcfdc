//! The far part of the queue: entries in slots that get wider with distance, unsorted. Each level
//! has 64 slots; one slot of a level is as wide as all of the level below. What is nearer than the
//! wheel's limit, and all sorting, is in `mod.rs`.

/// Stands for a timer in the queue. The order is that of firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) deadline: u64,
    /// Also names the entry: no two have the same.
    pub(super) seq: u64,
    pub(super) index: u32,
}

/// The slot of an entry is given by its deadline and the limit alone: the level by the highest
/// digit (of six bits) in which they differ, the slot by the deadline's digit there. So the lowest
/// slot of the lowest level occupied holds the earliest entries, and a cancelled timer's entry can
/// be counted where it is without looking for it.
pub(super) struct Wheel {
    /// Everything in the wheel is later than this. Its low `TICK` bits are ones.
    limit: u64,
    occupied: [u64; LEVELS],
    slots: Box<[Slot]>,
    len: usize,
    stale: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(LEVELS * SLOTS).collect();
        Self { limit: LOW, occupied: [0; LEVELS], slots, len: 0, stale: 0 }
    }

    /// Adds an entry that the wheel covers.
    pub(super) fn push(&mut self, entry: Entry) {
        let at = self.place(entry.deadline);
        self.occupied[at / SLOTS] |= 1 << (at % SLOTS);
        self.slots[at].entries.push(entry);
        self.len += 1;
    }

    /// Notes that an entry with this deadline is stale. Drops the stale ones of a slot, or of all,
    /// once they are the greater part; `owns` tells which are not. Returns how many entries it
    /// looked at.
    pub(super) fn note_stale(&mut self, deadline: u64, owns: impl Fn(&Entry) -> bool) -> usize {
        let at = self.place(deadline);
        self.stale += 1;
        let slot = &mut self.slots[at];
        slot.stale += 1;
        if slot.stale >= LITTLE && slot.stale > slot.entries.len() / 2 {
            return self.sweep(at, &owns);
        }
        if self.stale < SLOTS * LITTLE || self.stale <= self.len / 2 {
            return 0;
        }
        (0..self.slots.len()).map(|at| self.sweep(at, &owns)).sum()
    }

    /// Moves the limit beyond the earliest entries, if those may be due at `until`, and hands them
    /// over in no order: they are put into `into`, which must be empty, less those that `owns`
    /// denies. `into` may stay empty. Returns how many entries it looked at, or `None` if there is
    /// none as early as that.
    pub(super) fn pull(
        &mut self,
        until: u64,
        into: &mut Vec<Entry>,
        owns: impl Fn(&Entry) -> bool,
    ) -> Option<usize> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        let shift = TICK + BITS * level as u32;
        // Above the level, the digits are the limit's.
        let above = self.limit.checked_shr(shift + BITS).unwrap_or(0);
        let start = above.checked_shl(shift + BITS).unwrap_or(0) | (digit as u64) << shift;
        if start > until {
            return None;
        }
        let at = level * SLOTS + digit;
        let slot = &mut self.slots[at];
        let count = slot.entries.len();
        self.occupied[level] &= !(1 << digit);
        self.len -= count;
        let stale = std::mem::take(&mut slot.stale);
        if level == 0 || count <= FEW {
            std::mem::swap(&mut slot.entries, into);
            slot.give_back();
            into.retain(owns);
            self.stale -= count - into.len();
            self.limit = start | ((1 << shift) - 1);
            return Some(count);
        }
        self.limit = start | LOW;
        let entries = std::mem::take(&mut slot.entries);
        // Looking at each timer is worth its price only where many are gone.
        let filter = stale > count / 8;
        for entry in entries {
            if filter && !owns(&entry) {
                self.stale -= 1;
            } else if self.covers(entry.deadline) {
                self.push(entry);
            } else if owns(&entry) {
                into.push(entry);
            } else {
                self.stale -= 1;
            }
        }
        Some(count)
    }

    /// Moves the limit back to `to`, which is earlier, unless that would move more than `most`
    /// entries. Returns how many it moved.
    pub(super) fn rewind(&mut self, to: u64, most: usize) -> Option<usize> {
        let to = to | LOW;
        // Those of the level of the first difference, and above, stay where they are.
        let keep = Self::level(self.limit, to) * SLOTS;
        let count = self.slots[..keep].iter().map(|slot| slot.entries.len()).sum();
        if count > most {
            return None;
        }
        self.limit = to;
        self.len -= count;
        for at in 0..keep {
            let slot = std::mem::take(&mut self.slots[at]);
            self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
            for entry in slot.entries {
                self.push(entry);
            }
        }
        Some(count)
    }

    /// Moves the limit up to `now` if nothing is in the way.
    pub(super) fn skip(&mut self, now: u64) {
        if self.len == 0 {
            self.limit = self.limit.max(now | LOW);
        }
    }

    /// True if an entry with this deadline belongs here.
    pub(super) const fn covers(&self, deadline: u64) -> bool {
        deadline > self.limit
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Entries, stale ones included.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Entries there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.iter().map(|slot| slot.entries.capacity()).sum()
    }

    fn place(&self, deadline: u64) -> usize {
        let level = Self::level(deadline, self.limit);
        level * SLOTS + (deadline >> (TICK + BITS * level as u32)) as usize % SLOTS
    }

    const fn level(a: u64, b: u64) -> usize {
        // The lowest bit makes no difference: the level of no difference is the lowest.
        let differing = (a ^ b) >> TICK | 1;
        ((63 - differing.leading_zeros()) / BITS) as usize
    }

    fn sweep(&mut self, at: usize, owns: &impl Fn(&Entry) -> bool) -> usize {
        let slot = &mut self.slots[at];
        let before = slot.entries.len();
        slot.entries.retain(owns);
        slot.stale = 0;
        let after = slot.entries.len();
        self.len -= before - after;
        self.stale -= before - after;
        if after == 0 {
            self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
        }
        slot.give_back();
        before
    }
}

#[derive(Default)]
struct Slot {
    entries: Vec<Entry>,
    /// How many of them are known to be stale. Those that a wider slot passed on are not.
    stale: usize,
}

impl Slot {
    fn give_back(&mut self) {
        if self.entries.capacity() > FEW && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

/// Deadlines that differ only in so many low bits share a slot of the lowest level: 65.5 µs.
const TICK: u32 = 16;
const LOW: u64 = (1 << TICK) - 1;
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Enough for any deadline: 16 + 8 * 6 = 64.
const LEVELS: usize = 8;
/// So many entries are sorted as they are, however wide their slot.
const FEW: usize = 64;
/// Fewer stale entries than this are not worth a sweep.
const LITTLE: usize = 32;
