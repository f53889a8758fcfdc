//! A plain hierarchical wheel: four levels of 256 slots of one millisecond and up, doubly linked through the indices of a slab. No values, no
//! versions, no order among the timers of a slot: the limit to compare with, not a queue to use.

use measure::timers::Queue;

pub(crate) struct Wheel {
    nodes: Vec<Node>,
    free: Vec<u32>,
    heads: Vec<u32>,
    now: u64,
    fired: usize,
}

#[derive(Clone, Copy)]
struct Node {
    at: u64,
    prev: u32,
    next: u32,
    slot: u32,
}

const NIL: u32 = u32::MAX;

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), heads: vec![NIL; 4 * 256], now: 0, fired: 0 }
    }

    fn link(&mut self, i: u32) {
        let at = self.nodes[i as usize].at;
        let level = ((63 - ((at ^ self.now) | 1).leading_zeros()) / 8).min(3);
        let slot = level * 256 + (at >> (8 * level)) as u32 % 256;
        let head = std::mem::replace(&mut self.heads[slot as usize], i);
        let node = &mut self.nodes[i as usize];
        (node.prev, node.next, node.slot) = (NIL, head, slot);
        if head != NIL {
            self.nodes[head as usize].prev = i;
        }
    }

    fn unlink(&mut self, i: u32) {
        let node = self.nodes[i as usize];
        if node.prev == NIL {
            self.heads[node.slot as usize] = node.next;
        } else {
            self.nodes[node.prev as usize].next = node.next;
        }
        if node.next != NIL {
            self.nodes[node.next as usize].prev = node.prev;
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        for level in (1..4).rev() {
            if self.now.is_multiple_of(1 << (8 * level)) {
                let slot = level * 256 + (self.now >> (8 * level)) as u32 % 256;
                let mut i = std::mem::replace(&mut self.heads[slot as usize], NIL);
                while i != NIL {
                    let next = self.nodes[i as usize].next;
                    self.link(i);
                    i = next;
                }
            }
        }
        let mut i = std::mem::replace(&mut self.heads[(self.now % 256) as usize], NIL);
        while i != NIL {
            let node = self.nodes[i as usize];
            debug_assert_eq!(node.at, self.now);
            self.fired += 1;
            self.free.push(i);
            i = node.next;
        }
    }
}

impl Queue for Wheel {
    type Key = u32;

    fn insert(&mut self, at: u64) -> u32 {
        let node = Node { at, prev: NIL, next: NIL, slot: 0 };
        let i = match self.free.pop() {
            Some(i) => {
                self.nodes[i as usize] = node;
                i
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        self.link(i);
        i
    }

    fn cancel(&mut self, i: &u32) {
        self.unlink(*i);
        self.free.push(*i);
    }

    fn push(&mut self, i: &mut u32, at: u64) {
        self.unlink(*i);
        self.nodes[*i as usize].at = at;
        self.link(*i);
    }

    fn advance(&mut self, now: u64) {
        while self.now < now {
            self.tick();
        }
    }

    fn fired(&self) -> usize {
        self.fired
    }
}
