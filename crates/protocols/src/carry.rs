//! What a codec keeps of a frame that was cut in two, where in the stream it stands, and looking at kept and new bytes as one. The one
//! home for the memory of partly received frames.

use std::mem;

/// The beginning of an unfinished frame, and where in the stream that is.
#[derive(Debug)]
pub(crate) struct Carry {
    /// The beginning of an unfinished frame; empty, and without memory, if there is none.
    pub(crate) bytes: Vec<u8>,
    /// Where in the stream `bytes` begins; where new input begins if it is empty.
    pub(crate) position: u64,
}

impl Carry {
    /// At byte 0 of a stream, with nothing kept.
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), position: 0 }
    }

    /// Keeps `input` for later. Owned memory grows with what was received, at most twofold, and never beyond the `at_most` bytes that a
    /// frame can have.
    pub(crate) fn keep(&mut self, input: &[u8], at_most: usize) {
        let needed = self.bytes.len() + input.len();
        if needed > self.bytes.capacity() {
            let room = needed.max(2 * self.bytes.capacity()).min(at_most).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        looked_at(input.len());
        self.bytes.extend_from_slice(input);
    }

    /// Drops the first `count` bytes kept, and the memory with the last of them.
    pub(crate) fn forget(&mut self, count: usize) {
        self.position += count as u64;
        if count == self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..count);
        }
    }

    /// Takes out what is kept, as if it had been read.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.position += self.bytes.len() as u64;
        mem::take(&mut self.bytes)
    }

    /// Bytes of memory owned.
    pub(crate) const fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The byte at `index` of `carried` followed by `input`.
pub(crate) fn byte_at(carried: &[u8], input: &[u8], index: usize) -> u8 {
    if index < carried.len() { carried[index] } else { input[index - carried.len()] }
}

/// Counts work in tests, which check that reading takes linear time without a clock.
#[inline]
pub(crate) fn looked_at(bytes: usize) {
    #[cfg(test)]
    work::DONE.set(work::DONE.get() + bytes);
    let _ = bytes;
}

/// The work counted.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        /// Bytes looked at or copied by this thread.
        pub(crate) static DONE: Cell<usize> = const { Cell::new(0) };
    }

    /// The work that `f` does.
    pub(crate) fn of(f: impl FnOnce()) -> usize {
        DONE.set(0);
        f();
        DONE.get()
    }
}
