//! Where timers live: a node each, found by [`Key`], with the way its last life ended; and the
//! lists they are chained in. What a node consists of is in `node.rs`; which list means what is for
//! `wheel.rs` to know, order in time for `mod.rs`.

use std::mem;

use super::{
    Entry,
    node::{Aside, Asides, End, NIL, Node, Place, RETIRED, next_version, order, tag},
    wheel::{self, LISTS},
};

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
/// stands for it in the near part, or both, if it was set earlier: the lists are chained one way,
/// so a node leaves its list only when that is taken apart. For the same reason a dead one is still
/// in the list it ended in; a vacant one is in a list of those, which is chained both ways.
pub(super) struct Slab<T> {
    nodes: Vec<Node<T>>,
    /// The first nodes of the wheel's lists.
    heads: Box<[u32; LISTS]>,
    /// The first vacant node.
    vacant: u32,
    asides: Asides,
    /// The versions of the nodes cut off the end, the nearest one last.
    graves: Vec<u32>,
    live: usize,
    dead: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            heads: Box::new([NIL; LISTS]),
            vacant: NIL,
            asides: Asides::new(),
            graves: Vec::new(),
            live: 0,
            dead: 0,
        }
    }

    /// Adds a timer to a slot of the wheel, or, without one, lets the entry with this `seq` stand
    /// for it.
    ///
    /// Panics if all indices are taken.
    #[inline]
    pub(super) fn insert(&mut self, deadline: u64, seq: u64, value: T, slot: Option<usize>) -> Key {
        self.live += 1;
        let vacant = self.vacant;
        let (index, version) = if vacant == NIL { self.grow() } else { self.reuse(vacant) };
        let (place, link) = match slot {
            Some(slot) => (Place::Listed, self.chain(wheel::list(slot, index), index)),
            None => (Place::Queued, tag(seq)),
        };
        let node = Node { link, version, deadline, order: order(seq, place), value: Some(value) };
        if vacant == NIL {
            self.nodes.push(node);
        } else {
            self.nodes[index as usize] = node;
        }
        Key { index, version }
    }

    /// Ends the life named by `key`. Returns its value, and whether an entry stood for it, which is
    /// stale now.
    pub(super) fn cancel(&mut self, key: Key) -> Option<(T, bool)> {
        let node = self.nodes.get_mut(key.index as usize)?;
        if node.version != key.version {
            return None;
        }
        let value = node.end(End::Cancelled)?;
        self.live -= 1;
        Some((value, self.lay_down(key.index)))
    }

    /// Ends whatever life is in a node, wherever that is.
    pub(super) fn evict(&mut self, index: u32, end: End) -> Option<(Key, T)> {
        let node = self.nodes.get_mut(index as usize)?;
        let key = Key { index, version: node.version };
        let value = node.end(end)?;
        self.live -= 1;
        self.lay_down(index);
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
    ///
    /// A stale one could be taken for the one that stands if both are of the same node, and 2^32
    /// times scheduling lie between them. That does no harm: it is met as one that has moved, and so
    /// becomes what the timer is by now, a second time. One of the two is stale when it is met.
    pub(super) fn owns(&self, entry: &Entry) -> bool {
        self.nodes.get(entry.index as usize).is_some_and(|node| match node.place() {
            Place::Queued => node.link == tag(entry.seq),
            Place::Both => self.asides.get(node.link).seq == entry.seq,
            Place::Listed | Place::Dead | Place::Vacant => false,
        })
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
        let node = &self.nodes[index as usize];
        Entry { deadline: node.deadline, seq: node.seq(), index }
    }

    /// Lets the entry with this `seq` stand for a live node, and no other one. If the node is in a
    /// list, it stays there.
    pub(super) fn enter(&mut self, index: u32, seq: u64) {
        let node = &mut self.nodes[index as usize];
        match node.place() {
            Place::Both => self.asides.get_mut(node.link).seq = seq,
            Place::Listed => {
                node.link = self.asides.add(Aside { next: node.link, seq });
                node.set_place(Place::Both);
            }
            Place::Dead | Place::Vacant | Place::Queued => {
                node.link = tag(seq);
                node.set_place(Place::Queued);
            }
        }
    }

    /// Puts a node that is in no list into one. No entry stands for it any more.
    #[inline]
    pub(super) fn link(&mut self, list: usize, index: u32) {
        let next = self.chain(list, index);
        let node = &mut self.nodes[index as usize];
        node.link = next;
        node.set_place(Place::Listed);
    }

    /// Notes that a node is no longer in a list, which has been taken apart. Returns true if it is
    /// to be put somewhere: the entry that stands for it is that of now, and is yet to be made.
    #[inline]
    pub(super) fn unlink(&mut self, index: u32) -> bool {
        let node = &mut self.nodes[index as usize];
        match node.place() {
            Place::Listed => {
                node.link = tag(node.seq());
                node.set_place(Place::Queued);
                true
            }
            Place::Dead => {
                self.dead -= 1;
                self.vacate(index);
                false
            }
            Place::Both => {
                node.link = tag(self.asides.take(node.link).seq);
                node.set_place(Place::Queued);
                false
            }
            Place::Vacant | Place::Queued => false,
        }
    }

    /// Empties a list, handing over what was its first node. The nodes still hang together: each is
    /// to be unlinked, after asking for the [`next`](Self::next).
    pub(super) fn detach(&mut self, list: usize) -> Option<u32> {
        some(mem::replace(&mut self.heads[list], NIL))
    }

    /// Empties the first so many lists. Each of their nodes is to be unlinked.
    pub(super) fn detach_first(&mut self, lists: usize) {
        self.heads[..lists].fill(NIL);
    }

    pub(super) fn first(&self, list: usize) -> Option<u32> {
        some(self.heads[list])
    }

    #[inline]
    pub(super) fn next(&self, index: u32) -> Option<u32> {
        let node = &self.nodes[index as usize];
        match node.place() {
            Place::Listed | Place::Dead | Place::Vacant => some(node.link),
            Place::Both => some(self.asides.get(node.link).next),
            Place::Queued => None,
        }
    }

    /// True of a node of the wheel, live or dead.
    pub(super) fn is_listed(&self, index: u32) -> bool {
        let place = self.nodes[index as usize].place();
        matches!(place, Place::Listed | Place::Dead | Place::Both)
    }

    /// True if an entry stands for a node.
    pub(super) fn is_entered(&self, index: u32) -> bool {
        matches!(self.nodes[index as usize].place(), Place::Queued | Place::Both)
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

    /// True if [`trim`](Self::trim) has something to do, or is kept from it by a dead node.
    #[inline]
    pub(super) fn is_loose(&self) -> bool {
        self.nodes.len() > KEEP
            && self.live < self.nodes.len() / 8
            && self
                .nodes
                .last()
                .is_some_and(|last| matches!(last.place(), Place::Vacant | Place::Dead))
    }

    /// Cuts up to `most` vacant nodes off the end while the greater part is vacant, so that memory
    /// is given back without ever stopping for long. Returns true if a dead node is in the way.
    pub(super) fn trim(&mut self, most: usize) -> bool {
        for _ in 0..most {
            if self.nodes.len() <= KEEP || self.live >= self.nodes.len() / 8 {
                return false;
            }
            let Some(last) = self.nodes.last() else { return false };
            if last.place() != Place::Vacant {
                return last.place() == Place::Dead;
            }
            self.graves.push(last.version);
            if last.version < RETIRED {
                self.occupy((self.nodes.len() - 1) as u32);
            }
            self.nodes.pop();
            if self.nodes.len() < self.nodes.capacity() / 4 {
                self.nodes.shrink_to(self.nodes.capacity() / 2);
            }
        }
        false
    }

    /// Counts what is counted as it goes.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let count = |place| self.nodes.iter().filter(|node| node.place() == place).count();
        assert_eq!((count(Place::Dead), count(Place::Both)), (self.dead, self.asides.len()));
        let live = count(Place::Listed) + count(Place::Queued) + count(Place::Both);
        assert_eq!((live, self.iter().count()), (self.live, self.live));
    }

    /// Puts a node whose life has ended among the vacant ones, or the dead if it is in a list.
    /// Returns true if an entry stood for it.
    #[inline]
    fn lay_down(&mut self, index: u32) -> bool {
        let node = &mut self.nodes[index as usize];
        let place = node.place();
        match place {
            Place::Listed => {}
            Place::Both => node.link = self.asides.take(node.link).next,
            Place::Dead | Place::Vacant | Place::Queued => {
                self.vacate(index);
                return true;
            }
        }
        node.set_place(Place::Dead);
        self.dead += 1;
        place == Place::Both
    }

    /// Puts a node that has no life, and is in no list, among the vacant ones.
    fn vacate(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.set_place(Place::Vacant);
        node.set_previous(NIL);
        if node.version >= RETIRED {
            node.link = NIL;
            return;
        }
        node.link = mem::replace(&mut self.vacant, index);
        let next = node.link;
        if next != NIL {
            self.nodes[next as usize].set_previous(index);
        }
    }

    /// Takes a node out of the list of vacant ones.
    fn occupy(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (previous, next) = (node.previous(), node.link);
        match some(previous) {
            Some(previous) => self.nodes[previous as usize].link = next,
            None => self.vacant = next,
        }
        if next != NIL {
            self.nodes[next as usize].set_previous(previous);
        }
    }

    /// Makes a node the first of a list of the wheel. Returns what it is to be linked to.
    #[inline]
    fn chain(&mut self, list: usize, index: u32) -> u32 {
        mem::replace(&mut self.heads[list], index)
    }

    /// The index and version of a vacant node that is so no more.
    fn reuse(&mut self, index: u32) -> (u32, u32) {
        self.occupy(index);
        (index, self.nodes[index as usize].version)
    }

    /// The index and version of a node to be added at the end.
    #[inline]
    fn grow(&mut self) -> (u32, u32) {
        let index = self.nodes.len();
        if self.graves.is_empty() && index < NIL as usize {
            return (index as u32, 0);
        }
        self.dig()
    }

    /// The same where it may have been cut off.
    #[cold]
    fn dig(&mut self) -> (u32, u32) {
        loop {
            let index = match u32::try_from(self.nodes.len()) {
                Ok(index) if index < NIL => index,
                _ => panic!("too many timers are pending"),
            };
            let version = self.graves.pop().unwrap_or(0);
            if version < RETIRED {
                return (index, version);
            }
            let order = order(0, Place::Vacant);
            self.nodes.push(Node { link: NIL, version, deadline: 0, order, value: None });
        }
    }
}

const fn some(index: u32) -> Option<u32> {
    if index == NIL { None } else { Some(index) }
}

/// So many dead nodes do not matter.
const LITTER: usize = 2048;
/// Nodes that are never cut off.
const KEEP: usize = 1024;

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::{
        super::{TRIM, Timers},
        End, KEEP, Key, LISTS, Node, RETIRED, Slab, State,
    };

    #[test]
    fn a_node_with_a_boxed_call_takes_48_bytes() {
        type Call = (Box<dyn FnOnce()>, &'static Location<'static>);
        assert_eq!(size_of::<Node<Call>>(), 48);
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
            slab.insert(7, seq, 'c', None);
        }
        slab.nodes[KEEP].version = RETIRED - 2;
        assert!((1..5000).all(|index| slab.evict(index, End::Cancelled).is_some()));
        slab.check();
        slab.trim(5000);
        assert_eq!(slab.extent(), KEEP);
        assert_eq!(last.map(|key| slab.state(key)), Some(State::Called));
        let mut again = (0..5000).map(|seq| slab.insert(0, seq, 'd', None).index as usize);
        assert!(again.all(|index| index != 0 && index != KEEP));
        assert_eq!(slab.extent(), 5002);
    }

    #[test]
    fn a_dead_node_at_the_end_is_cut_off_once_it_is_in_no_list() {
        let mut slab = Slab::new();
        let slot = |seq| (seq == 1900).then_some(0);
        let keys: Vec<Key> = (0..2000).map(|seq| slab.insert(0, seq, 'a', slot(seq))).collect();
        assert!(keys.iter().all(|&key| slab.cancel(key).is_some()));
        assert!(slab.trim(5000), "it is in the way");
        assert_eq!((slab.extent(), slab.dead), (1901, 1));
        slab.detach_first(LISTS);
        assert!(!slab.unlink(1900), "it is to be put nowhere");
        assert!(!slab.trim(5000));
        assert_eq!((slab.extent(), slab.dead), (KEEP, 0));
    }

    #[test]
    fn cancelled_timers_far_away_do_not_keep_memory_for_long() {
        let mut timers = Timers::new();
        assert!((0..100_000).all(|_| timers.insert(1, 0).version == 0));
        let far: Vec<Key> = (0..1000).map(|_| timers.insert(1 << 48, 0)).collect();
        while timers.pop_due(1, u64::MAX).is_some() {}
        assert!(far.iter().all(|&key| timers.cancel(key).is_some()));
        assert!(timers.is_untidy());
        for _ in 0..=3 * 101_000 / TRIM {
            assert!(timers.pop_due(1, u64::MAX).is_none());
        }
        assert!(timers.slab.extent() <= KEEP, "{}", timers.slab.extent());
        assert!(!timers.is_untidy());
        assert!(far.iter().all(|&key| timers.state(key) == State::Cancelled));
    }

    #[test]
    fn a_stale_entry_that_looks_like_the_one_that_stands_does_no_harm() {
        let mut timers = Timers::new();
        let key = timers.insert(0, 'a');
        for round in 1..600 {
            // The entries of before are stale; the one made now has the same tag.
            assert!(timers.set_deadline(key, 5));
            timers.seq = round << 32;
            assert!(timers.set_deadline(key, 0));
            if round % 200 == 0 {
                timers.insert(0, 'b');
            }
        }
        timers.insert(0, 'b');
        assert_eq!(timers.next_deadline(), Some(0));
        let popped = std::iter::from_fn(|| timers.pop_due(9, u64::MAX)).map(|(_, value)| value);
        assert!(popped.eq(['b', 'b', 'a', 'b']));
        assert!(timers.is_empty() && timers.near.is_empty() && timers.early.is_empty());
    }
}
