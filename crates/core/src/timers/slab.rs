//! Where timers live: one slot each, found by [`Key`], with the way its last life ended. Order in
//! time is not known here; see `wheel.rs` and `mod.rs`.

use super::wheel::Entry;

/// Names one timer, and no other one ever: a slot's version rises with each life, and a slot that
/// has used up its versions is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(super) index: u32,
    pub(super) version: u32,
}

/// What became of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits.
    Pending,
    /// It was handed out by `pop_due`.
    Called,
    /// It was taken back by `cancel` or `drain`.
    Cancelled,
    /// Its slot has begun and ended another life since, or the key is another queue's.
    Unknown,
}

/// A waiting timer.
pub(super) struct Live<T> {
    /// When it is due, and its place among those due at the same time.
    pub(super) deadline: u64,
    pub(super) seq: u64,
    /// That of the entry that stands for it in the queue. It is never later than `deadline`; a
    /// timer put off leaves its entry alone, and that is corrected when it is met.
    pub(super) entry_deadline: u64,
    pub(super) value: T,
}

/// What a queue entry is worth when it is met.
pub(super) enum Standing {
    /// Its timer is due when it says.
    Current,
    /// Its timer was put off: this entry takes its place.
    Moved(Entry),
    /// Its timer is gone, or another entry stands for it.
    Stale,
}

pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// For each slot, the `seq` of the entry that stands for its timer, or `NO_ENTRY`. Apart from
    /// the slots as it is all that need be read of most of them when stale entries are looked for.
    entries: Vec<u64>,
    /// What is remembered of the slots cut off the end, the nearest one last.
    graves: Vec<Grave>,
    /// First of the vacant slots, or `NIL`.
    vacant: u32,
    live: usize,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), entries: Vec::new(), graves: Vec::new(), vacant: NIL, live: 0 }
    }

    /// Panics if 2^32 - 1 slots are taken.
    pub(super) fn insert(&mut self, deadline: u64, seq: u64, value: T) -> Key {
        let live = Live { deadline, seq, entry_deadline: deadline, value };
        self.live += 1;
        if self.vacant == NIL {
            return self.grow(live, seq);
        }
        let index = self.vacant;
        self.unlink(index);
        let slot = &mut self.slots[index as usize];
        slot.body = Body::Live(live);
        self.entries[index as usize] = seq;
        Key { index, version: slot.version }
    }

    /// Ends the life named by `key`.
    pub(super) fn remove(&mut self, key: Key, end: End) -> Option<Live<T>> {
        self.get(key)?;
        self.remove_at(key.index, end).map(|(_, live)| live)
    }

    /// Ends whatever life is in slot `index`.
    pub(super) fn remove_at(&mut self, index: u32, end: End) -> Option<(Key, Live<T>)> {
        let slot = self.slots.get_mut(index as usize)?;
        if matches!(slot.body, Body::Vacant { .. }) {
            return None;
        }
        let next = self.vacant;
        let body = std::mem::replace(&mut slot.body, Body::Vacant { prev: NIL, next });
        let key = Key { index, version: slot.version };
        slot.version += 1;
        slot.last = Some(end);
        self.entries[index as usize] = NO_ENTRY;
        self.live -= 1;
        if slot.version != RETIRED {
            if let Some(Slot { body: Body::Vacant { prev, .. }, .. }) =
                self.slots.get_mut(next as usize)
            {
                *prev = index;
            }
            self.vacant = index;
        }
        match body {
            Body::Live(live) => Some((key, live)),
            Body::Vacant { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Live<T>> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { version, body: Body::Live(live), .. }) if *version == key.version => {
                Some(live)
            }
            _ => None,
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Live<T>> {
        match self.slots.get(key.index as usize) {
            Some(Slot { version, body: Body::Live(live), .. }) if *version == key.version => {
                Some(live)
            }
            _ => None,
        }
    }

    pub(super) fn state(&self, key: Key) -> State {
        let index = key.index as usize;
        let (version, last) = match self.slots.get(index) {
            Some(slot) if slot.version == key.version && matches!(slot.body, Body::Live(_)) => {
                return State::Pending;
            }
            Some(slot) => (slot.version, slot.last),
            None => match (self.slots.len() + self.graves.len()).checked_sub(index + 1) {
                Some(at) => (self.graves[at].version, self.graves[at].last),
                None => return State::Unknown,
            },
        };
        match last {
            Some(end) if version == key.version.wrapping_add(1) => match end {
                End::Called => State::Called,
                End::Cancelled => State::Cancelled,
            },
            _ => State::Unknown,
        }
    }

    /// True if `entry` stands for a timer.
    pub(super) fn owns(&self, entry: &Entry) -> bool {
        self.entries.get(entry.index as usize) == Some(&entry.seq)
    }

    /// As [`owns`](Self::owns), of an entry that is soon due. Reading the timer itself, too, brings
    /// many into the cache side by side, where handing them out would wait for each.
    pub(super) fn awaits(&self, entry: &Entry) -> bool {
        let Some(Slot { body: Body::Live(live), .. }) = self.slots.get(entry.index as usize) else {
            return false;
        };
        self.owns(entry) && live.seq >= entry.seq
    }

    /// Lets another entry stand for a live timer.
    pub(super) fn represent(&mut self, index: u32, seq: u64) {
        self.entries[index as usize] = seq;
    }

    /// Tells what `entry` is worth. One that has moved is, from now on, represented by the entry
    /// returned.
    pub(super) fn meet(&mut self, entry: &Entry) -> Standing {
        if !self.owns(entry) {
            return Standing::Stale;
        }
        let index = entry.index;
        match &mut self.slots[index as usize].body {
            Body::Live(live) if live.seq == entry.seq => Standing::Current,
            Body::Live(live) => {
                live.entry_deadline = live.deadline;
                let moved = Entry { deadline: live.deadline, seq: live.seq, index };
                self.entries[index as usize] = moved.seq;
                Standing::Moved(moved)
            }
            Body::Vacant { .. } => Standing::Stale,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// Slots in use or vacant: one more than the highest index.
    pub(super) const fn extent(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Live<T>)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match &slot.body {
            Body::Live(live) => Some((Key { index, version: slot.version }, live)),
            Body::Vacant { .. } => None,
        })
    }

    #[cold]
    fn exhausted() -> ! {
        panic!("2^32 - 1 timers are pending")
    }

    /// Adds a slot at the end, or digs one up that was cut off.
    fn grow(&mut self, live: Live<T>, entry: u64) -> Key {
        loop {
            let index = match u32::try_from(self.slots.len()) {
                Ok(index) if index != NIL => index,
                _ => Self::exhausted(),
            };
            let Grave { version, last } =
                self.graves.pop().unwrap_or(Grave { version: 0, last: None });
            if version != RETIRED {
                self.slots.push(Slot { version, last, body: Body::Live(live) });
                self.entries.push(entry);
                return Key { index, version };
            }
            self.slots.push(Slot { version, last, body: Body::Vacant { prev: NIL, next: NIL } });
            self.entries.push(NO_ENTRY);
        }
    }

    /// Cuts up to `most` vacant slots off the end while the greater part is vacant, so that memory
    /// is given back without ever stopping for long.
    pub(super) fn trim(&mut self, most: usize) {
        for _ in 0..most {
            if self.slots.len() <= KEEP || self.live >= self.slots.len() / 8 {
                return;
            }
            let Some(Slot { version, last, body: Body::Vacant { .. } }) = self.slots.last() else {
                return;
            };
            let grave = Grave { version: *version, last: *last };
            if grave.version != RETIRED {
                self.unlink((self.slots.len() - 1) as u32);
            }
            self.slots.pop();
            self.entries.pop();
            self.graves.push(grave);
            if self.slots.len() < self.slots.capacity() / 4 {
                self.slots.shrink_to(self.slots.capacity() / 2);
                self.entries.shrink_to(self.slots.capacity());
            }
        }
    }

    /// Takes a vacant slot that is not retired out of the list of vacant ones.
    fn unlink(&mut self, index: u32) {
        let Body::Vacant { prev, next } = self.slots[index as usize].body else { return };
        match self.slots.get_mut(prev as usize) {
            Some(Slot { body: Body::Vacant { next: link, .. }, .. }) => *link = next,
            _ => self.vacant = next,
        }
        if let Some(Slot { body: Body::Vacant { prev: link, .. }, .. }) =
            self.slots.get_mut(next as usize)
        {
            *link = prev;
        }
    }
}

/// How a life ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Called,
    Cancelled,
}

struct Slot<T> {
    version: u32,
    /// How the life before `version` ended.
    last: Option<End>,
    body: Body<T>,
}

enum Body<T> {
    Live(Live<T>),
    Vacant { prev: u32, next: u32 },
}

struct Grave {
    version: u32,
    last: Option<End>,
}

const NIL: u32 = u32::MAX;
/// No entry has this `seq`.
const NO_ENTRY: u64 = u64::MAX;
/// No life has this version.
const RETIRED: u32 = u32::MAX;
/// Slots that are never cut off.
const KEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{End, RETIRED, Slab, State};

    #[test]
    fn a_slot_whose_versions_are_used_up_is_never_used_again() {
        let mut slab = Slab::new();
        slab.insert(0, 0, 'a');
        slab.slots[0].version = RETIRED - 1;
        let last = slab.remove_at(0, End::Called).map(|(key, _)| key);
        assert_eq!(last.map(|key| slab.state(key)), Some(State::Called));
        let next = slab.insert(0, 1, 'b');
        assert_eq!((next.index, next.version), (1, 0));
        // Nor when it is cut off the end and dug up.
        for seq in 2..5000 {
            slab.insert(0, seq, 'c');
        }
        assert!((1..5000).all(|index| slab.remove_at(index, End::Cancelled).is_some()));
        slab.trim(5000);
        assert_eq!(slab.extent(), super::KEEP);
        assert_eq!(last.map(|key| slab.state(key)), Some(State::Called));
        assert!((0..5000).all(|seq| slab.insert(0, seq, 'd').index != 0));
    }
}
