//! The dense table of what a driver holds: sixteen bytes each, looked up by handle. What only some need is beside it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use marline_core::driver::Handle;

use super::file::FileOutput;
use super::selector::Interest;

/// Everything a driver holds, by index.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// The first free place; the next is in its `side`.
    free: u32,
}

/// One place of the table.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` only in a free place.
    fd: Option<OwnedFd>,
    version: u32,
    /// A stream's output, by its place in [`Outputs`]; how many bytes a lingering one may still discard; the next free place.
    pub(super) side: u32,
    pub(super) kind: Kind,
    /// What the reactor (reading) and the driver (writing) would like to be told.
    pub(super) want: Interest,
    /// What the selector was told last.
    pub(super) armed: Armed,
    pub(super) marks: Marks,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Free,
    Port,
    Connecting,
    Stream,
    /// A UNIX stream: what comes and goes on it may carry descriptors.
    Unix,
    Datagram,
    /// A stream that the reactor has closed and whose last bytes are still on their way.
    Lingering,
    /// A duplicate of a descriptor that somebody else uses.
    Watch,
    /// The same, of one that the selector refuses, for it is always ready.
    AlwaysReady,
}

/// What the selector was told, in a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed(u8);

impl Armed {
    /// The selector does not know the descriptor.
    pub(super) const NO: Self = Self(u8::MAX);

    pub(super) const fn with(interest: Interest) -> Self {
        Self(interest.bits() as u8)
    }

    /// What it was told to wait for, if it knows the descriptor.
    pub(super) const fn interest(self) -> Option<Interest> {
        if self.0 == u8::MAX { None } else { Some(Interest::from_bits(self.0)) }
    }
}

/// What has happened to an entry: a set of the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    pub(super) const NONE: Self = Self(0);
    /// It is in the list of those whose interest may have changed.
    pub(super) const DIRTY: Self = Self(1);
    /// The peer's end of the stream was seen.
    pub(super) const ENDED: Self = Self(2);
    /// A datagram socket whose batches leave one by one, for the kernel does not cut one message into several. Streams' mark is the same.
    pub(super) const ONE_BY_ONE: Self = Self::SHUT;
    /// Our side of the stream was shut.
    pub(super) const SHUT: Self = Self(4);
    /// It failed; the reactor knows.
    pub(super) const BROKEN: Self = Self(8);
    /// It hung up while nothing was wanted of it: out of the selector, or every wait would return at once.
    pub(super) const HUNG_UP: Self = Self(16);
    /// A port that could not accept; the reactor knows. Until it can again.
    pub(super) const REFUSING: Self = Self(32);
    /// A port, an attempt to connect, or output, that will be tried again after a while.
    pub(super) const RESTING: Self = Self(64);
    /// A socket that was taken over: others may hold it, too, so that closing it does not take it out of the selector.
    pub(super) const ADOPTED: Self = Self(128);

    pub(super) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) const fn both(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) fn unset(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { entries: Vec::with_capacity(FIRST), free: NONE }
    }

    /// Takes a descriptor in, at the index that was freed last.
    pub(super) fn insert(&mut self, fd: OwnedFd, kind: Kind, want: Interest) -> Handle {
        if self.free == NONE {
            let index = self.entries.len() as u32;
            self.entries.push(Entry::new(fd, 0, kind, want));
            return Handle { index, version: 0 };
        }
        let index = self.free;
        let place = &mut self.entries[index as usize];
        self.free = place.side;
        let version = place.version;
        *place = Entry::new(fd, version, kind, want);
        Handle { index, version }
    }

    /// Frees a place and closes what was there. The index will be used again under another version.
    pub(super) fn remove(&mut self, handle: Handle) {
        let free = self.free;
        let Some(entry) = self.get_mut(handle) else { return };
        entry.version = entry.version.wrapping_add(1);
        entry.kind = Kind::Free;
        entry.marks = Marks::NONE;
        entry.armed = Armed::NO;
        // Closed only when the entry is in order again.
        let _closed = entry.fd.take();
        entry.side = free;
        self.free = handle.index;
    }

    /// The entry of a handle, whatever it is by now, unless it was freed.
    #[inline]
    pub(super) fn get(&self, handle: Handle) -> Option<&Entry> {
        match self.entries.get(handle.index as usize) {
            Some(entry) if entry.version == handle.version => Some(entry),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Entry> {
        match self.entries.get_mut(handle.index as usize) {
            Some(entry) if entry.version == handle.version => Some(entry),
            _ => None,
        }
    }

    /// The entry of a handle that is the reactor's: neither free nor lingering.
    pub(super) fn live(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.get_mut(handle).filter(|entry| !matches!(entry.kind, Kind::Free | Kind::Lingering))
    }

    /// The entry of a TCP connection that stands.
    #[inline]
    pub(super) fn stream(&mut self, handle: Handle) -> Option<&mut Entry> {
        match self.get_mut(handle) {
            Some(entry) if entry.kind == Kind::Stream => Some(entry),
            _ => None,
        }
    }

    /// The entry of a connection that stands, of whatever kind.
    pub(super) fn conn(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.get_mut(handle).filter(|entry| matches!(entry.kind, Kind::Stream | Kind::Unix))
    }

    /// The entry of a watched descriptor.
    pub(super) fn watch(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.get_mut(handle).filter(|entry| matches!(entry.kind, Kind::Watch | Kind::AlwaysReady))
    }

    /// What is at an index now.
    pub(super) fn at(&mut self, index: u32) -> Option<(Handle, &mut Entry)> {
        let entry = self.entries.get_mut(index as usize)?;
        Some((Handle { index, version: entry.version }, entry))
    }
}

impl Entry {
    fn new(fd: OwnedFd, version: u32, kind: Kind, want: Interest) -> Self {
        Self { fd: Some(fd), version, side: NONE, kind, want, armed: Armed::NO, marks: Marks::NONE }
    }

    #[inline]
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether bytes may be reported.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        self.want.has(Interest::READ) && !self.marks.any(Marks::ENDED.both(Marks::BROKEN))
    }

    /// Whether it is a stream that waits for bytes and for nothing else, and that nothing has happened to: what nearly all events need to know,
    /// in one comparison. Others may take bytes, too: see [`reads`](Self::reads).
    #[inline]
    pub(super) fn only_reads(&self) -> bool {
        let read = Interest::READ.bits() as u8;
        let state = [self.want.bits() as u8, self.armed.0, self.marks.0, self.kind as u8];
        u32::from_le_bytes(state) == u32::from_le_bytes([read, read, 0, Kind::Stream as u8])
    }

    /// What the selector should be told.
    pub(super) fn wanted(&self) -> Armed {
        let marks = self.marks;
        if marks.any(Marks::BROKEN.both(Marks::HUNG_UP)) {
            return Armed::NO;
        }
        match self.kind {
            Kind::Free => Armed::NO,
            Kind::Port | Kind::Connecting if marks.any(Marks::RESTING) => Armed::NO,
            Kind::Connecting => Armed::with(Interest::WRITE),
            Kind::Lingering => Armed::with(Interest::READ),
            // Out of the selector while nothing is wanted: it would report a hang-up all the same, and every wait would return at once.
            Kind::Watch | Kind::AlwaysReady if self.want == Interest::NONE => Armed::NO,
            Kind::Port | Kind::Datagram | Kind::Watch | Kind::AlwaysReady => Armed::with(self.want),
            Kind::Stream | Kind::Unix => {
                let ended = if marks.any(Marks::ENDED) { Interest::READ } else { Interest::NONE };
                let rests =
                    if marks.any(Marks::RESTING) { Interest::WRITE } else { Interest::NONE };
                Armed::with(self.want.without(ended).without(rests))
            }
        }
    }
}

/// Buffers in flight, only for those connections that have one.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    slots: Vec<Output>,
    free: Vec<u32>,
}

/// A buffer of which the bytes before `sent` have left, or a file.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) buffer: Vec<u8>,
    pub(super) sent: usize,
    pub(super) file: Option<Box<FileOutput>>,
}

impl Outputs {
    /// Puts a buffer in the slot, or in a new one for [`NONE`].
    pub(super) fn put(&mut self, slot: u32, output: Output) -> u32 {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = output;
            return slot;
        }
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = output;
            return slot;
        }
        self.slots.push(output);
        self.slots.len() as u32 - 1
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Output> {
        self.slots.get_mut(slot as usize)
    }

    /// Empties a slot; nothing for [`NONE`].
    pub(super) fn take(&mut self, slot: u32) -> Vec<u8> {
        let Some(place) = self.slots.get_mut(slot as usize) else { return Vec::new() };
        self.free.push(slot);
        std::mem::take(place).buffer
    }
}

/// Room for so many entries at first: 128 KiB of address space, of which only what is used becomes memory. From this size on an allocator
/// maps whole pages and grows by remapping them, so that growing leaves no copies behind; with small beginnings 10,000 idle
/// connections cost almost twice as much.
const FIRST: usize = 8192;
/// No place.
pub(super) const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn an_idle_connection_costs_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn the_index_freed_last_is_used_first_and_under_another_version() {
        let mut table = Table::new();
        let first = table.insert(fd(), Kind::Stream, Interest::NONE);
        let second = table.insert(fd(), Kind::Stream, Interest::NONE);
        assert_eq!((first.index, second.index), (0, 1));
        table.remove(first);
        table.remove(second);
        let again = table.insert(fd(), Kind::Port, Interest::READ);
        assert_eq!((again.index, again.version), (1, 1));
        assert!(table.get(second).is_none() && table.live(again).is_some());
        assert_eq!(table.insert(fd(), Kind::Port, Interest::READ).index, 0);
    }

    #[test]
    fn only_a_stream_that_bytes_may_be_reported_for_takes_the_short_way() {
        let mut table = Table::new();
        let handle = table.insert(fd(), Kind::Stream, Interest::READ);
        let entry = table.get_mut(handle).unwrap();
        assert!(!entry.only_reads(), "the selector was not told yet");
        let kinds = [
            Kind::Free,
            Kind::Port,
            Kind::Connecting,
            Kind::Stream,
            Kind::Unix,
            Kind::Datagram,
            Kind::Watch,
            Kind::AlwaysReady,
            Kind::Lingering,
        ];
        let mut short = 0;
        for kind in kinds {
            for bits in 0..=u16::MAX {
                let [marks, interests] = bits.to_le_bytes();
                entry.kind = kind;
                entry.marks = Marks(marks);
                entry.want = Interest::from_bits(interests & 0xF);
                entry.armed = Armed(interests >> 4);
                if entry.only_reads() {
                    short += 1;
                    assert!(kind == Kind::Stream && entry.reads());
                    assert_eq!(entry.wanted(), entry.armed);
                }
            }
        }
        assert_eq!(short, 1);
    }

    #[test]
    fn a_stale_handle_removes_nothing() {
        let mut table = Table::new();
        let old = table.insert(fd(), Kind::Stream, Interest::NONE);
        table.remove(old);
        table.remove(old);
        let new = table.insert(fd(), Kind::Stream, Interest::NONE);
        table.remove(old);
        assert!(table.get(new).is_some());
        assert_eq!(table.insert(fd(), Kind::Stream, Interest::NONE).index, 1);
    }

    #[test]
    fn slots_for_output_are_used_again() {
        let mut outputs = Outputs::default();
        let slot = outputs.put(NONE, Output { buffer: vec![1], ..Output::default() });
        assert_eq!(outputs.take(slot), [1]);
        assert_eq!(outputs.put(NONE, Output::default()), slot);
        assert!(outputs.take(NONE).is_empty());
    }
}
