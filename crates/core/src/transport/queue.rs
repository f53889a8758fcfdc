//! What one connection has to send and could not yet, in order: bytes, and what leaves between them in a way of its own. When it leaves is
//! decided in `output.rs`.

use std::collections::VecDeque;

use crate::descriptor::Descriptor;

/// One piece of a connection's output.
#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes, never none.
    Bytes(Vec<u8>),
    /// A descriptor, which leaves with the next byte behind it.
    Descriptor(Descriptor),
}

/// Segments in the order written. As long as they are bytes and nothing else they lie in one buffer, and there is no list.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What leaves before `tail`.
    before: VecDeque<Segment>,
    /// The bytes written last.
    tail: Vec<u8>,
    /// Bytes in all segments together.
    bytes: usize,
    /// Descriptors among them.
    descriptors: usize,
}

impl Queue {
    /// Puts bytes behind all there is. `buffer` makes a buffer where one has to be begun.
    pub(super) fn write(&mut self, bytes: &[u8], buffer: impl FnOnce() -> Vec<u8>) {
        if self.tail.capacity() == 0 {
            self.tail = buffer();
        }
        self.tail.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// Puts a segment behind all there is.
    pub(super) fn push(&mut self, segment: Segment) {
        self.count(&segment);
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.before.push_back(Segment::Bytes(tail));
        }
        self.before.push_back(segment);
    }

    /// Puts a segment in front of all there is.
    pub(super) fn push_front(&mut self, segment: Segment) {
        self.count(&segment);
        self.before.push_front(segment);
    }

    /// Takes the segment that leaves next.
    pub(super) fn pop(&mut self) -> Option<Segment> {
        let segment = match self.before.pop_front() {
            Some(segment) => segment,
            None if self.tail.is_empty() => return None,
            None => Segment::Bytes(std::mem::take(&mut self.tail)),
        };
        match &segment {
            Segment::Bytes(bytes) => self.bytes -= bytes.len(),
            Segment::Descriptor(_) => self.descriptors -= 1,
        }
        Some(segment)
    }

    /// Takes the first byte there is, past the descriptors in front of it.
    pub(super) fn pop_byte(&mut self) -> Option<u8> {
        let mut segments = self.before.iter_mut();
        let place = segments.position(|segment| matches!(segment, Segment::Bytes(_)));
        let byte = match place.and_then(|place| self.before.get_mut(place).map(|s| (place, s))) {
            Some((place, Segment::Bytes(bytes))) => {
                let byte = bytes.remove(0);
                if bytes.is_empty() {
                    self.before.remove(place);
                }
                byte
            }
            _ if self.tail.is_empty() => return None,
            _ => self.tail.remove(0),
        };
        self.bytes -= 1;
        Some(byte)
    }

    /// Whether nothing is left to send.
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.tail.is_empty()
    }

    /// Bytes that are left to send.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Descriptors that are left to send.
    pub(super) fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// Whether some descriptor has no byte of its own behind it.
    pub(super) fn overruns(&self) -> bool {
        if self.descriptors == 0 {
            return false;
        }
        let (mut bytes, mut descriptors) = (self.tail.len(), 0);
        self.before.iter().rev().any(|segment| {
            match segment {
                Segment::Bytes(more) => bytes += more.len(),
                Segment::Descriptor(_) => descriptors += 1,
            }
            descriptors > bytes
        })
    }

    fn count(&mut self, segment: &Segment) {
        match segment {
            Segment::Bytes(bytes) => self.bytes += bytes.len(),
            Segment::Descriptor(_) => self.descriptors += 1,
        }
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "helpers of tests")]
mod tests {
    use super::*;

    fn descriptor() -> Segment {
        Segment::Descriptor(std::fs::File::open("/dev/null").unwrap().into())
    }

    /// `d` is a descriptor, all else are bytes.
    fn queue(script: &str) -> Queue {
        let mut queue = Queue::default();
        for c in script.chars() {
            match c {
                'd' => queue.push(descriptor()),
                c => queue.write(c.to_string().as_bytes(), Vec::new),
            }
        }
        queue
    }

    fn drain(mut queue: Queue) -> String {
        let mut script = String::new();
        while let Some(segment) = queue.pop() {
            match segment {
                Segment::Bytes(bytes) => script.push_str(&String::from_utf8(bytes).unwrap()),
                Segment::Descriptor(_) => script.push('d'),
            }
        }
        assert_eq!((queue.len(), queue.descriptors()), (0, 0));
        assert!(queue.is_empty());
        script
    }

    #[test]
    fn segments_leave_in_the_order_written() {
        for script in ["", "ab", "d", "abdcd", "ddab", "adbdcd"] {
            assert_eq!(drain(queue(script)), script);
        }
    }

    #[test]
    fn what_is_put_in_front_leaves_first() {
        let mut queue = queue("bdc");
        queue.push_front(Segment::Bytes(b"a".to_vec()));
        assert_eq!((queue.len(), queue.descriptors()), (3, 1));
        assert_eq!(drain(queue), "abdc");
    }

    #[test]
    fn bytes_alone_lie_in_one_buffer() {
        let mut queue = queue("abc");
        assert!(matches!(queue.pop(), Some(Segment::Bytes(bytes)) if bytes == b"abc"));
        assert!(queue.is_empty());
    }

    #[test]
    fn the_first_byte_is_taken_past_the_descriptors_before_it() {
        let mut queue = queue("ddadbc");
        assert_eq!((queue.pop_byte(), queue.pop_byte()), (Some(b'a'), Some(b'b')));
        assert_eq!(drain(queue), "dddc");
    }

    #[test]
    fn each_descriptor_needs_a_byte_of_its_own_behind_it() {
        for script in ["", "a", "da", "ddab", "ddadbc", "abda", "dada"] {
            assert!(!queue(script).overruns(), "{script}");
        }
        for script in ["d", "ad", "dda", "dad", "dabd", "dabdd"] {
            assert!(queue(script).overruns(), "{script}");
        }
    }
}
