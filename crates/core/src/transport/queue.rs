//! What one connection has to send and could not yet, in order: bytes, and what leaves between them in a way of its own. When it leaves is
//! decided in `output.rs`.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::Sending;
use crate::descriptor::Descriptor;

/// One piece of a connection's output.
#[derive(Debug)]
pub(super) enum Segment {
    /// Bytes, never none.
    Bytes(Vec<u8>),
    /// A descriptor, which leaves with the next byte behind it.
    Descriptor(Descriptor),
    /// A file, or the rest of it.
    File(Box<Sending>),
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
    /// Bytes of the files among them.
    files: u64,
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

    /// The same for bytes that may wait for long: in no more memory than that, and in pieces of few sizes, so that their memory can be used again. (A
    /// buffer that grows to many megabytes is copied again and again, and needs twice its size for that.)
    pub(super) fn write_thriftily(&mut self, bytes: &[u8]) {
        if !self.tail.is_empty() && self.tail.len() + bytes.len() > CHUNK {
            let tail = std::mem::take(&mut self.tail);
            self.before.push_back(Segment::Bytes(tail));
        }
        if bytes.len() > self.tail.capacity() - self.tail.len() {
            let size = if self.tail.capacity() == 0 { PIECE } else { CHUNK };
            self.tail.reserve_exact(bytes.len().max(size - self.tail.len().min(size)));
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
            Segment::File(file) => self.files = self.files.saturating_sub(file.left()),
        }
        Some(segment)
    }

    /// The bytes that leave next, as they lie: nothing if that is not bytes in at least two pieces, at most `most` pieces.
    pub(super) fn pieces(&self, most: usize) -> Vec<IoSlice<'_>> {
        let bytes = |segment: &Segment| matches!(segment, Segment::Bytes(_));
        let run = self.before.iter().take(most).take_while(|segment| bytes(segment)).count();
        let tail = run == self.before.len() && run < most && !self.tail.is_empty();
        if run + usize::from(tail) < 2 {
            return Vec::new();
        }
        let run = self.before.iter().take(run).filter_map(|segment| match segment {
            Segment::Bytes(bytes) => Some(IoSlice::new(bytes)),
            _ => None,
        });
        run.chain(tail.then(|| IoSlice::new(&self.tail))).collect()
    }

    /// Takes so many bytes from the front, which have left: `spent` gets the buffers that have left whole. Answers one that has not, and where its
    /// rest begins.
    pub(super) fn advance(
        &mut self,
        mut sent: usize,
        mut spent: impl FnMut(Vec<u8>),
    ) -> Option<(Vec<u8>, usize)> {
        while sent > 0 {
            match self.pop() {
                Some(Segment::Bytes(bytes)) if bytes.len() > sent => return Some((bytes, sent)),
                Some(Segment::Bytes(bytes)) => {
                    sent -= bytes.len();
                    spent(bytes);
                }
                // Only bytes are counted.
                Some(other) => {
                    self.push_front(other);
                    break;
                }
                None => break,
            }
        }
        None
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

    /// The memory of those bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes - self.tail.len() + self.tail.capacity()
    }

    /// Bytes of files that are left to send.
    pub(super) fn files(&self) -> u64 {
        self.files
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
                // The system sends those, and no descriptor with them: what is before a file needs its bytes there.
                Segment::File(_) => (bytes, descriptors) = (0, 0),
            }
            descriptors > bytes
        })
    }

    fn count(&mut self, segment: &Segment) {
        match segment {
            Segment::Bytes(bytes) => self.bytes += bytes.len(),
            Segment::Descriptor(_) => self.descriptors += 1,
            Segment::File(file) => self.files = self.files.saturating_add(file.left()),
        }
    }
}

/// A buffer of more bytes than this is followed by another.
const CHUNK: usize = 16_384;
/// How large a buffer is at first.
const PIECE: usize = 4096;

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
                Segment::File(_) => script.push('f'),
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
    fn bytes_that_wait_lie_in_pieces_without_much_spare_memory() {
        let mut queue = Queue::default();
        for number in 0..3000_u32 {
            queue.write_thriftily(&[number as u8; 100]);
            assert!(queue.memory() <= queue.len() + CHUNK, "{} of {}", queue.memory(), queue.len());
        }
        queue.write_thriftily(&[7; 100_000]);
        assert!(queue.memory() <= 400_000 + CHUNK);
        let (mut pieces, mut bytes) = (0, Vec::new());
        while let Some(Segment::Bytes(piece)) = queue.pop() {
            pieces += 1;
            bytes.extend(piece);
        }
        assert_eq!((bytes.len(), pieces, queue.memory()), (400_000, 20, 0));
        assert!(bytes[..300_000].chunks(100).zip(0..3000_u32).all(|(b, n)| b == [n as u8; 100]));
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
