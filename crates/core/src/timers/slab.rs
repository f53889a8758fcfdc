//! Where timers live: a node each, found by [`Key`], with the way its last life ended; and the
//! lists they are chained in. Which list means what is for `wheel.rs` to know, order in time for
//! `mod.rs`.

use std::mem;

use super::{Entry, wheel};

/// Names one timer, and no other one ever: a node's version rises with each life, and a node that
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
    /// Its node has begun and ended another life since, or the key is another queue's.
    Unknown,
}

/// How a life ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    Called = 0,
    Cancelled = 1,
}

/// What a queue entry is worth when it is met.
pub(super) enum Standing {
    /// Its timer is due when it says.
    Current,
    /// Its timer was put off, to what is said here.
    Moved(Entry),
    /// Its timer is gone, or something else stands for it.
    Stale,
}

/// The nodes, and the heads of the lists. A live node is in one of the wheel's lists, or an entry
/// stands for it in the near part; a dead one is still in the wheel's list it was cancelled in; a
/// vacant one is in a list of those.
pub(super) struct Slab<T> {
    nodes: Vec<Node<T>>,
    heads: Box<[u32; LISTS]>,
    /// The versions of the nodes cut off the end, the nearest one last.
    graves: Vec<u32>,
    live: usize,
    dead: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        let heads = Box::new([NIL; LISTS]);
        Self { nodes: Vec::new(), heads, graves: Vec::new(), live: 0, dead: 0 }
    }

    /// Adds a timer to a slot of the wheel, or, without one, lets the entry with this `seq` stand
    /// for it.
    ///
    /// Panics if all indices are taken.
    #[inline]
    pub(super) fn insert(&mut self, deadline: u64, seq: u64, value: T, slot: Option<usize>) -> Key {
        self.live += 1;
        let vacant = self.heads[VACANT];
        let (index, version) = if vacant == NIL { self.grow() } else { self.reuse(vacant) };
        let place = match slot {
            Some(slot) => {
                let (prev, next) = self.chain(wheel::list(slot, index), index);
                Place::Listed { prev, next }
            }
            None => Place::queued(seq),
        };
        let node = Node { deadline, seq, value: Some(value), version, place };
        if vacant == NIL {
            self.nodes.push(node);
        } else {
            self.nodes[index as usize] = node;
        }
        Key { index, version }
    }

    /// Ends the life named by `key`. Returns its value, and whether an entry stood for it, which is
    /// stale now; otherwise the node is dead.
    pub(super) fn cancel(&mut self, key: Key) -> Option<(T, bool)> {
        let node = self.nodes.get_mut(key.index as usize)?;
        if node.version != key.version {
            return None;
        }
        let value = node.end(End::Cancelled)?;
        self.live -= 1;
        if let Place::Listed { prev, next } = node.place {
            node.place = Place::Dead { prev, next };
            self.dead += 1;
            return Some((value, false));
        }
        self.vacate(key.index);
        Some((value, true))
    }

    /// Ends whatever life is in a node, wherever that is.
    pub(super) fn evict(&mut self, index: u32, end: End) -> Option<(Key, T)> {
        let node = self.nodes.get_mut(index as usize)?;
        let key = Key { index, version: node.version };
        let value = node.end(end)?;
        self.live -= 1;
        self.unlink(index);
        self.vacate(index);
        Some((key, value))
    }

    pub(super) fn get(&self, key: Key) -> Option<&Node<T>> {
        let node = self.nodes.get(key.index as usize)?;
        (node.version == key.version && node.value.is_some()).then_some(node)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Node<T>> {
        let node = self.nodes.get_mut(key.index as usize)?;
        (node.version == key.version && node.value.is_some()).then_some(node)
    }

    pub(super) fn state(&self, key: Key) -> State {
        if self.get(key).is_some() {
            return State::Pending;
        }
        let index = key.index as usize;
        let version = match self.nodes.get(index) {
            Some(node) => node.version,
            None => match (self.nodes.len() + self.graves.len()).checked_sub(index + 1) {
                Some(at) => self.graves[at],
                None => return State::Unknown,
            },
        };
        match version {
            v if v == next_version(key.version, End::Called) => State::Called,
            v if v == next_version(key.version, End::Cancelled) => State::Cancelled,
            _ => State::Unknown,
        }
    }

    /// True if `entry` stands for a timer.
    pub(super) fn owns(&self, entry: &Entry) -> bool {
        let node = self.nodes.get(entry.index as usize);
        node.is_some_and(|node| node.place == Place::queued(entry.seq))
    }

    /// Tells what `entry` is worth.
    pub(super) fn meet(&self, entry: &Entry) -> Standing {
        if !self.owns(entry) {
            return Standing::Stale;
        }
        let now = self.entry(entry.index);
        if now.seq == entry.seq { Standing::Current } else { Standing::Moved(now) }
    }

    /// The entry of a live node, as of now.
    #[inline]
    pub(super) fn entry(&self, index: u32) -> Entry {
        let Node { deadline, seq, .. } = self.nodes[index as usize];
        Entry { deadline, seq, index }
    }

    /// Lets the entry with this `seq` stand for a live node that is in no list.
    pub(super) fn enter(&mut self, index: u32, seq: u64) {
        self.nodes[index as usize].place = Place::queued(seq);
    }

    /// Lets nothing stand for a node that is in no list.
    pub(super) fn leave(&mut self, index: u32) {
        self.nodes[index as usize].place = Place::NOWHERE;
    }

    /// Puts a node that is in no list into one. No entry stands for it any more.
    pub(super) fn link(&mut self, list: usize, index: u32) {
        let (prev, next) = self.chain(list, index);
        self.nodes[index as usize].place = Place::Listed { prev, next };
    }

    /// Takes a node out of its list, or returns false if it is in none.
    pub(super) fn unlink(&mut self, index: u32) -> bool {
        let (prev, next) = match self.nodes[index as usize].place {
            Place::Listed { prev, next }
            | Place::Dead { prev, next }
            | Place::Vacant { prev, next } => (prev, next),
            Place::Queued { .. } => return false,
        };
        match prev.checked_sub(HEAD) {
            Some(list) => self.heads[list as usize] = next,
            None => self.nodes[prev as usize].place.set_next(next),
        }
        if next != NIL {
            self.nodes[next as usize].place.set_prev(prev);
        }
        true
    }

    /// Empties a list, handing over what was its first node. The nodes still hang together: each is
    /// to be buried, linked or entered, after asking for the [`next`](Self::next).
    pub(super) fn detach(&mut self, list: usize) -> Option<u32> {
        some(mem::replace(&mut self.heads[list], NIL))
    }

    pub(super) fn first(&self, list: usize) -> Option<u32> {
        some(self.heads[list])
    }

    #[inline]
    pub(super) fn next(&self, index: u32) -> Option<u32> {
        match self.nodes[index as usize].place {
            Place::Listed { next, .. } | Place::Dead { next, .. } | Place::Vacant { next, .. } => {
                some(next)
            }
            Place::Queued { .. } => None,
        }
    }

    /// Empties the lists of the wheel; their nodes are told by [`is_listed`](Self::is_listed).
    pub(super) fn detach_all(&mut self) {
        self.heads[..wheel::LISTS].fill(NIL);
    }

    /// Makes a dead node that has been detached vacant, or returns false if it is live.
    #[inline]
    pub(super) fn bury(&mut self, index: u32) -> bool {
        let dead = matches!(self.nodes[index as usize].place, Place::Dead { .. });
        if dead {
            self.dead -= 1;
            self.vacate(index);
        }
        dead
    }

    /// True of a node of the wheel, live or dead.
    pub(super) fn is_listed(&self, index: u32) -> bool {
        let place = self.nodes[index as usize].place;
        matches!(place, Place::Listed { .. } | Place::Dead { .. })
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// True if the dead are the greater part, and enough to pay for a look at every node.
    #[inline]
    pub(super) const fn is_littered(&self) -> bool {
        self.dead >= LITTER && self.dead > self.live && self.dead > self.nodes.len() / 8
    }

    /// Nodes in use or vacant: one more than the highest index.
    pub(super) const fn extent(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, u64, &T)> {
        self.nodes.iter().zip(0..).filter_map(|(node, index)| {
            Some((Key { index, version: node.version }, node.deadline, node.value.as_ref()?))
        })
    }

    /// Cuts up to `most` vacant nodes off the end while the greater part is vacant, so that memory
    /// is given back without ever stopping for long.
    pub(super) fn trim(&mut self, most: usize) {
        for _ in 0..most {
            if self.nodes.len() <= KEEP || self.live >= self.nodes.len() / 8 {
                return;
            }
            let Some(Node { version, value: None, place, .. }) = self.nodes.last() else { return };
            self.graves.push(*version);
            self.dead -= usize::from(matches!(place, Place::Dead { .. }));
            self.unlink((self.nodes.len() - 1) as u32);
            self.nodes.pop();
            if self.nodes.len() < self.nodes.capacity() / 4 {
                self.nodes.shrink_to(self.nodes.capacity() / 2);
            }
        }
    }

    /// Puts a node that has no life, and is in no list, into that of the vacant ones.
    fn vacate(&mut self, index: u32) {
        let place = if self.nodes[index as usize].version < RETIRED {
            let (prev, next) = self.chain(VACANT, index);
            Place::Vacant { prev, next }
        } else {
            Place::NOWHERE
        };
        self.nodes[index as usize].place = place;
    }

    /// Makes a node the first of a list, but for its own part.
    #[inline]
    fn chain(&mut self, list: usize, index: u32) -> (u32, u32) {
        let next = mem::replace(&mut self.heads[list], index);
        if next != NIL {
            self.nodes[next as usize].place.set_prev(index);
        }
        (HEAD + list as u32, next)
    }

    /// Takes a node out of the list of vacant ones.
    fn reuse(&mut self, index: u32) -> (u32, u32) {
        self.unlink(index);
        (index, self.nodes[index as usize].version)
    }

    /// The index and version of a node to be added at the end.
    #[inline]
    fn grow(&mut self) -> (u32, u32) {
        let index = self.nodes.len();
        if self.graves.is_empty() && index < HEAD as usize {
            return (index as u32, 0);
        }
        self.dig()
    }

    /// The same where it may have been cut off.
    #[cold]
    fn dig(&mut self) -> (u32, u32) {
        loop {
            let index = match u32::try_from(self.nodes.len()) {
                Ok(index) if index < HEAD => index,
                _ => panic!("too many timers are pending"),
            };
            let version = self.graves.pop().unwrap_or(0);
            if version < RETIRED {
                return (index, version);
            }
            let place = Place::NOWHERE;
            self.nodes.push(Node { deadline: 0, seq: 0, value: None, version, place });
        }
    }
}

/// A timer, or room for one. What is read of it while lists are followed lies side by side.
#[repr(C)]
pub(super) struct Node<T> {
    place: Place,
    /// Two for each life so far, and one if the last was cancelled.
    version: u32,
    /// When it is due, and its place among those due at the same time. What stands for it in the
    /// queue may be earlier: a timer put off leaves that alone, and it is corrected when it is met.
    pub(super) deadline: u64,
    pub(super) seq: u64,
    pub(super) value: Option<T>,
}

impl<T> Node<T> {
    /// Ends its life, if it has one.
    fn end(&mut self, end: End) -> Option<T> {
        let value = self.value.take()?;
        self.version = next_version(self.version, end);
        Some(value)
    }
}

/// Where a node is. All lists are chained the same way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a list of the wheel. The first one's `prev` is the list, counted from `HEAD`.
    Listed { prev: u32, next: u32 },
    /// Cancelled, and still in the list.
    Dead { prev: u32, next: u32 },
    /// Among the vacant ones, likewise.
    Vacant { prev: u32, next: u32 },
    /// In no list: the entry with this `seq` stands for it.
    Queued { high: u32, low: u32 },
}

impl Place {
    /// No entry has this `seq`.
    const NOWHERE: Self = Self::queued(u64::MAX);

    const fn queued(seq: u64) -> Self {
        Self::Queued { high: (seq >> 32) as u32, low: seq as u32 }
    }

    const fn set_prev(&mut self, to: u32) {
        match self {
            Self::Listed { prev, .. } | Self::Dead { prev, .. } | Self::Vacant { prev, .. } => {
                *prev = to;
            }
            Self::Queued { .. } => {}
        }
    }

    const fn set_next(&mut self, to: u32) {
        match self {
            Self::Listed { next, .. } | Self::Dead { next, .. } | Self::Vacant { next, .. } => {
                *next = to;
            }
            Self::Queued { .. } => {}
        }
    }
}

/// The version after a life of this version that ended so.
const fn next_version(version: u32, end: End) -> u32 {
    ((version | 1).wrapping_add(1)) | end as u32
}

const fn some(index: u32) -> Option<u32> {
    if index == NIL { None } else { Some(index) }
}

/// Those of the wheel, and the vacant nodes.
const LISTS: usize = wheel::LISTS + 1;
const VACANT: usize = wheel::LISTS;
const NIL: u32 = u32::MAX;
/// Indices are below this.
const HEAD: u32 = NIL - LISTS as u32;
/// No life has this version or a higher one.
const RETIRED: u32 = u32::MAX - 1;
/// So many dead nodes do not matter.
const LITTER: usize = 2048;
/// Nodes that are never cut off.
const KEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::{End, KEEP, Node, RETIRED, Slab, State};

    #[test]
    fn a_node_with_a_boxed_call_takes_56_bytes() {
        type Call = (Box<dyn FnOnce()>, &'static Location<'static>);
        assert_eq!(size_of::<Node<Call>>(), 56);
    }

    #[test]
    fn a_node_whose_versions_are_used_up_is_never_used_again() {
        let mut slab = Slab::new();
        slab.insert(0, 0, 'a', None);
        slab.nodes[0].version = RETIRED - 2;
        let last = slab.evict(0, End::Called).map(|(key, _)| key);
        assert_eq!(last.map(|key| slab.state(key)), Some(State::Called));
        let next = slab.insert(0, 1, 'b', None);
        assert_eq!((next.index, next.version), (1, 0));
        // Nor when it is cut off the end and dug up.
        for seq in 2..5000 {
            slab.insert(0, seq, 'c', None);
        }
        assert!((1..5000).all(|index| slab.evict(index, End::Cancelled).is_some()));
        slab.trim(5000);
        assert_eq!(slab.extent(), KEEP);
        assert_eq!(last.map(|key| slab.state(key)), Some(State::Called));
        assert!((0..5000).all(|seq| slab.insert(0, seq, 'd', None).index != 0));
    }

    #[test]
    fn dead_nodes_at_the_end_are_cut_off() {
        let mut slab = Slab::new();
        for seq in 0..2000 {
            let key = slab.insert(0, seq, 'a', Some(0));
            assert!(slab.cancel(key).is_some());
        }
        slab.trim(5000);
        assert_eq!((slab.extent(), slab.dead), (KEEP, KEEP));
        let listed = (0..8).filter_map(|list| slab.first(list));
        assert!(listed.clone().count() > 0 && listed.max() < Some(KEEP as u32));
    }
}
