//! What the two halves of a byte stream share with the protocol that feeds it: bytes on their way to the reader, who waits, how it ended.

use std::cell::{Cell, OnceCell};
use std::io::{self, ErrorKind};
use std::task::{Context, Waker};

use crate::transport::HIGH_WATER;
use crate::{CloseReason, Transport};

/// The part of a stream that both halves and its protocol hold. Nothing in it is borrowed while a waker is cloned, called or dropped.
pub(super) struct Joint {
    /// Set before anybody but the protocol sees the stream.
    transport: OnceCell<Transport>,
    /// Received, and not yet with the reader.
    incoming: Cell<Vec<u8>>,
    /// How many more bytes the reader has taken over and not used.
    with_reader: Cell<usize>,
    /// How many the byte budget was last told.
    counted: Cell<usize>,
    limit: Cell<usize>,
    flags: Cell<u8>,
    /// How the connection ended; `None` in it if the protocol was never told.
    ending: OnceCell<Option<CloseReason>>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

pub(super) mod flag {
    /// Reading is paused, for the buffer was full.
    pub(in crate::stream) const FULL: u8 = 1;
    /// The peer has ended its stream.
    pub(in crate::stream) const READ_ENDED: u8 = 1 << 1;
    /// Everything written has left, and the peer was told that there is no more.
    pub(in crate::stream) const WRITE_ENDED: u8 = 1 << 2;
    /// Nothing more will be written.
    pub(in crate::stream) const SHUT: u8 = 1 << 3;
    /// The reading half was dropped.
    pub(in crate::stream) const NO_READER: u8 = 1 << 4;
    /// The writing half was dropped.
    pub(in crate::stream) const NO_WRITER: u8 = 1 << 5;
    /// The connection is another protocol's, or will be after this callback.
    pub(in crate::stream) const HANDED_ON: u8 = 1 << 6;
}

/// Reading is paused when more bytes wait for the reader, unless it is told otherwise: as many as one receive brings at most.
pub(super) const READ_LIMIT: usize = 65_536;
/// A reader that takes less than this since the budget was told need not tell it again.
const WORTH_TELLING: usize = 4096;

impl Joint {
    pub(super) fn new() -> Self {
        Self {
            transport: OnceCell::new(),
            incoming: Cell::default(),
            with_reader: Cell::new(0),
            counted: Cell::new(0),
            limit: Cell::new(READ_LIMIT),
            flags: Cell::new(0),
            ending: OnceCell::new(),
            reader: Cell::new(None),
            writer: Cell::new(None),
        }
    }

    pub(super) fn made(&self, transport: &Transport) {
        // A stream that took over was given it before.
        let _ = self.transport.set(transport.clone());
    }

    /// The connection, which a stream that somebody holds has.
    pub(super) fn transport(&self) -> &Transport {
        let Some(transport) = self.transport.get() else {
            unreachable!("a stream was handed out before its connection was made")
        };
        transport
    }

    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags.get() & flags != 0
    }

    pub(super) fn set(&self, flags: u8) {
        self.flags.set(self.flags.get() | flags);
    }

    fn unset(&self, flags: u8) {
        self.flags.set(self.flags.get() & !flags);
    }

    // ---- the protocol's side

    /// Keeps the bytes for the reader, and pauses reading once they are too many. (They are kept whole: what is given back to the engine is copied
    /// anew each time that it comes.)
    pub(super) fn received(&self, transport: &Transport, bytes: &[u8]) {
        if self.has(flag::HANDED_ON) {
            return transport.unread(bytes);
        }
        if self.has(flag::NO_READER) {
            return;
        }
        self.keep(transport, bytes);
        if self.held() > self.bound(transport) && !self.has(flag::FULL) {
            self.set(flag::FULL);
            transport.pause_reading();
        }
        self.count(transport);
        wake(&self.reader);
    }

    /// Puts bytes behind those that wait for the reader.
    fn keep(&self, transport: &Transport, bytes: &[u8]) {
        let mut incoming = self.incoming.take();
        if incoming.capacity() == 0 {
            incoming = buffer_for(transport);
        }
        let len = incoming.len() + bytes.len();
        if len > incoming.capacity() {
            let size = len.max(incoming.capacity().saturating_mul(2).min(self.limit.get()));
            incoming.reserve_exact(size - incoming.len());
        }
        incoming.extend_from_slice(bytes);
        self.incoming.set(incoming);
    }

    pub(super) fn read_ended(&self) {
        self.set(flag::READ_ENDED);
        wake(&self.reader);
    }

    pub(super) fn write_ended(&self) {
        self.set(flag::WRITE_ENDED | flag::SHUT);
        wake(&self.writer);
    }

    pub(super) fn all_has_left(&self) {
        wake(&self.writer);
    }

    /// The connection has ended, or will never be this stream's.
    pub(super) fn ended(&self, reason: Option<CloseReason>) {
        if self.ending.set(reason).is_ok() {
            wake(&self.reader);
            wake(&self.writer);
        }
    }

    // ---- the reader's side

    /// Bytes held for the reader.
    pub(super) fn held(&self) -> usize {
        self.with_reader.get() + self.waiting()
    }

    /// Bytes received that the reader has not taken over.
    pub(super) fn waiting(&self) -> usize {
        let incoming = self.incoming.take();
        let len = incoming.len();
        self.incoming.set(incoming);
        len
    }

    /// All that was received and not taken over yet: the reader's from now on.
    pub(super) fn take_over_incoming(&self) -> Vec<u8> {
        let incoming = self.incoming.take();
        self.with_reader.set(self.with_reader.get() + incoming.len());
        incoming
    }

    /// The reader has used some.
    pub(super) fn used(&self, len: usize) {
        self.with_reader.set(self.with_reader.get() - len);
        let (held, transport) = (self.held(), self.transport());
        if held == 0 || self.counted.get().saturating_sub(held) >= WORTH_TELLING {
            self.count(transport);
        }
        self.go_on_if_room();
    }

    /// The reader did not use some after all.
    pub(super) fn not_used(&self, len: usize) {
        self.with_reader.set(self.with_reader.get() + len);
        self.count(self.transport());
    }

    /// Gives an empty buffer back.
    pub(super) fn spent(&self, buffer: Vec<u8>) {
        if buffer.capacity() > 0 {
            self.transport().engine(|stream| stream.head().reactor().give_buffer(buffer));
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.get()
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.set(bytes.max(1));
        self.go_on_if_room();
    }

    /// Reading is paused when more bytes are held: a byte budget that is small lowers it.
    pub(super) fn bound(&self, transport: &Transport) -> usize {
        self.limit.get().min(budget_of(transport) / 4).max(1)
    }

    /// How reading ends once nothing is held: at the end of the peer's stream or of the connection.
    pub(super) fn reading_ended(&self) -> Option<io::Result<()>> {
        if self.has(flag::READ_ENDED) {
            return Some(Ok(()));
        }
        self.error().map(|error| error.map_or(Ok(()), Err))
    }

    /// Has the reader woken when there is more. It has looked at all that is held and needs more than that: there is no waiting for room.
    pub(super) fn reader_waits(&self, context: &Context<'_>) {
        register(&self.reader, context);
        if self.has(flag::FULL) {
            self.unset(flag::FULL);
            self.transport().resume_reading();
        }
    }

    /// There is no reader any more: what it had not used is gone, and nothing more is read.
    pub(super) fn stop_reading(&self) {
        self.set(flag::NO_READER);
        self.forget();
        let transport = self.transport();
        if !self.has(flag::HANDED_ON | flag::READ_ENDED) {
            transport.pause_reading();
        }
    }

    /// Holds nothing any more.
    pub(super) fn forget(&self) {
        self.incoming.take();
        self.with_reader.set(0);
        self.count(self.transport());
    }

    /// Lets the next protocol have what was paused for the reader.
    pub(super) fn hand_on(&self) {
        self.set(flag::HANDED_ON);
        if self.has(flag::FULL) {
            self.transport().resume_reading();
        }
    }

    fn go_on_if_room(&self) {
        let transport = self.transport();
        if self.has(flag::FULL) && self.held() <= self.bound(transport) / 2 {
            self.unset(flag::FULL);
            transport.resume_reading();
        }
    }

    /// Tells the byte budget how much is held. Never more than half of it, so that with what waits to leave it is not spent by the stream alone,
    /// which ends connections.
    fn count(&self, transport: &Transport) {
        let held = self.held().min(budget_of(transport) / 2);
        if self.counted.replace(held) != held {
            transport.account_held(held);
        }
    }

    // ---- the writer's side

    /// How many bytes may be written now. Has the writer woken when it is none.
    pub(super) fn room_to_write(&self, context: &Context<'_>) -> Option<io::Result<usize>> {
        if let Some(error) = self.error() {
            return Some(Err(error.unwrap_or_else(closed)));
        }
        let transport = self.transport();
        if self.has(flag::SHUT) || !transport.is_open() {
            return Some(Err(closed()));
        }
        match HIGH_WATER.saturating_sub(transport.pending()) {
            0 => {
                register(&self.writer, context);
                transport.notify_writable();
                None
            }
            room => Some(Ok(room)),
        }
    }

    /// Whether everything written has left. Has the writer woken when it has.
    pub(super) fn flushed(&self, context: &Context<'_>) -> Option<io::Result<()>> {
        if let Some(error) = self.error() {
            return Some(error.map_or(Ok(()), Err));
        }
        let transport = self.transport();
        if transport.pending() > 0 {
            transport.engine(|stream| stream.head().flush_now());
        }
        // One that is lost has nothing pending, but what became of that is not known yet.
        if transport.pending() == 0 && transport.is_open() {
            return Some(Ok(()));
        }
        register(&self.writer, context);
        transport.notify_writable();
        None
    }

    /// Whether the write side has ended. Has the writer woken when it has.
    pub(super) fn shut_down(&self, context: &Context<'_>) -> Option<io::Result<()>> {
        if let Some(error) = self.error() {
            return Some(error.map_or(Ok(()), Err));
        }
        if !self.has(flag::SHUT) {
            self.set(flag::SHUT);
            self.transport().lose_write_connection();
        }
        if self.has(flag::WRITE_ENDED) {
            return Some(Ok(()));
        }
        register(&self.writer, context);
        None
    }

    /// How the connection ended, once it has: with no error if it did so cleanly.
    fn error(&self) -> Option<Option<io::Error>> {
        self.ending.get().map(|reason| match reason {
            Some(CloseReason::Done) => None,
            Some(reason) => Some(error_of(reason)),
            None => Some(io::Error::new(
                ErrorKind::NotConnected,
                "the connection had ended before the stream took it over",
            )),
        })
    }

    // ---- the end

    /// A half was dropped: with the second the connection closes, and with the writing one its write side does.
    pub(super) fn dropped(&self, half: u8) {
        self.set(half);
        if self.has(flag::HANDED_ON) {
            return;
        }
        let transport = self.transport();
        if std::thread::panicking() {
            // What was to follow never will: the peer must not take it for the whole.
            return transport.abort_connection();
        }
        if self.has(flag::NO_READER) && self.has(flag::NO_WRITER) {
            transport.lose_connection();
        } else if half == flag::NO_WRITER && !self.has(flag::SHUT) {
            self.set(flag::SHUT);
            transport.lose_write_connection();
        }
    }
}

/// What an `io::Error` can tell of the way a connection ended: its kind, and its words.
fn error_of(reason: &CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::Lost(error) => return (*error).into(),
        CloseReason::TimedOut => ErrorKind::TimedOut,
        CloseReason::Upgraded => ErrorKind::NotConnected,
        CloseReason::BudgetSpent => ErrorKind::QuotaExceeded,
        CloseReason::Failed(failure) => {
            failure.check::<io::Error>().map_or(ErrorKind::Other, io::Error::kind)
        }
        _ => ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, reason.to_string())
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, "the write side of the connection is closed")
}

fn budget_of(transport: &Transport) -> usize {
    let mut budget = usize::MAX;
    transport.engine(|stream| budget = stream.head().budget());
    budget
}

fn buffer_for(transport: &Transport) -> Vec<u8> {
    let mut buffer = Vec::new();
    transport.engine(|stream| buffer = stream.head().reactor().take_buffer());
    buffer
}

fn register(place: &Cell<Option<Waker>>, context: &Context<'_>) {
    let waker = match place.take() {
        Some(waker) if waker.will_wake(context.waker()) => waker,
        _ => context.waker().clone(),
    };
    place.set(Some(waker));
}

fn wake(place: &Cell<Option<Waker>>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}
