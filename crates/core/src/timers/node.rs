//! What a timer is kept in: a node, of few bytes, for those are what adding a timer costs; and an
//! aside for one that has more to remember. What becomes of them is for `slab.rs` to say.

use std::mem;

/// How a life ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Called = 0,
    Cancelled = 1,
}

/// A timer, or room for one. What is read of it while lists are followed lies side by side.
#[repr(C)]
pub(super) struct Node<T> {
    /// What its place needs, see there.
    pub(super) link: u32,
    /// Two for each life so far, and one if the last was cancelled.
    pub(super) version: u32,
    /// When it is due. What stands for it in the queue may be earlier: a timer put off leaves that
    /// alone, and it is corrected when it is met. Of a vacant node: the one before it.
    pub(super) deadline: u64,
    /// When it was scheduled, and its place: see [`order`].
    pub(super) order: u64,
    pub(super) value: Option<T>,
}

impl<T> Node<T> {
    /// Schedules it anew. Returns the old deadline.
    #[inline]
    pub(super) const fn schedule(&mut self, deadline: u64, seq: u64) -> u64 {
        self.order = order(seq, self.place());
        mem::replace(&mut self.deadline, deadline)
    }

    /// Its place among those due at the same time.
    pub(super) const fn seq(&self) -> u64 {
        self.order >> PLACE_BITS
    }

    pub(super) const fn place(&self) -> Place {
        match self.order % (1 << PLACE_BITS) {
            0 => Place::Listed,
            1 => Place::Dead,
            2 => Place::Vacant,
            3 => Place::Queued,
            _ => Place::Both,
        }
    }

    pub(super) const fn set_place(&mut self, place: Place) {
        self.order = order(self.seq(), place);
    }

    pub(super) const fn previous(&self) -> u32 {
        self.deadline as u32
    }

    pub(super) const fn set_previous(&mut self, index: u32) {
        self.deadline = index as u64;
    }

    /// Ends its life, if it has one.
    pub(super) fn end(&mut self, end: End) -> Option<T> {
        let value = self.value.take()?;
        self.version = next_version(self.version, end);
        Some(value)
    }
}

/// Where a node is, and what it links to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a list of the wheel: to the next one there.
    Listed = 0,
    /// Ended, and still in the list: likewise.
    Dead = 1,
    /// Among the vacant ones: to the next one there. A retired one is alone.
    Vacant = 2,
    /// In no list, an entry stands for it: the [`tag`] of that.
    Queued = 3,
    /// In a list, but an entry stands for it: to an [`Aside`], which knows both.
    Both = 4,
}

/// The other bits of an order are enough for 2^61 times scheduling: centuries of them.
const PLACE_BITS: u32 = 3;

/// Keeps both in one word. No two nodes with a place in the queue have the same `seq`.
pub(super) const fn order(seq: u64, place: Place) -> u64 {
    seq << PLACE_BITS | place as u64
}

/// What a node knows of the entry that stands for it.
pub(super) const fn tag(seq: u64) -> u32 {
    seq as u32
}

/// What a node has no room for while it is in a list although an entry stands for it.
pub(super) struct Aside {
    /// The next node in the list.
    pub(super) next: u32,
    /// Of the entry.
    pub(super) seq: u64,
}

/// The asides in use, and vacant ones, chained by `next`.
pub(super) struct Asides {
    all: Vec<Aside>,
    /// The first vacant one.
    vacant: u32,
    used: usize,
}

impl Asides {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), vacant: NIL, used: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let next = |&at: &u32| Some(self.get(at).next).filter(|&at| at != NIL);
        let vacant = std::iter::successors(Some(self.vacant).filter(|&at| at != NIL), next);
        assert_eq!(self.all.len() - vacant.count(), self.used);
        self.used
    }

    pub(super) fn get(&self, at: u32) -> &Aside {
        &self.all[at as usize]
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Aside {
        &mut self.all[at as usize]
    }

    pub(super) fn add(&mut self, aside: Aside) -> u32 {
        self.used += 1;
        let at = self.vacant;
        if at == NIL {
            self.all.push(aside);
            return (self.all.len() - 1) as u32;
        }
        self.vacant = mem::replace(self.get_mut(at), aside).next;
        at
    }

    pub(super) fn take(&mut self, at: u32) -> Aside {
        let vacant = Aside { next: self.vacant, seq: 0 };
        let aside = mem::replace(self.get_mut(at), vacant);
        self.vacant = at;
        self.used -= 1;
        if self.used == 0 && self.all.capacity() > SPARE {
            *self = Self::new();
        }
        aside
    }
}

/// Room for so many asides is never given back.
const SPARE: usize = 64;

/// The version after a life of this version that ended so.
pub(super) const fn next_version(version: u32, end: End) -> u32 {
    ((version | 1).wrapping_add(1)) | end as u32
}

/// Indices are below this.
pub(super) const NIL: u32 = u32::MAX;
/// No life has this version or a higher one.
pub(super) const RETIRED: u32 = u32::MAX - 1;
