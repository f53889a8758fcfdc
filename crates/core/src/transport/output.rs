//! Output of streams: what a callback writes to its connection goes into the reactor's one cork (`cork.rs`), and all the rest is queued on its
//! connection, and leaves at the end of the turn.

use super::Sending;
use super::cork::Quick;
use super::descriptors::{DescriptorOverrun, MOST_QUEUED};
use super::head::{HIGH_WATER, Head, flag};
use super::queue::{Queue, Segment};
use crate::CloseReason;
use crate::descriptor;
use crate::driver::{Close, Outgoing, Sent};
use crate::failure::Failure;
use crate::reactor::after::{After, Ask};
use crate::reactor::inner::Inner;

/// A smaller buffer is cheaper to copy than to send as a piece of its own.
const WORTH_MOVING: usize = 2048;
/// Pieces sent in one call: as many as systems take.
const MOST_VECTORED: usize = 1024;
/// Descriptors that leave with one byte; fewer than any system takes.
const MOST_A_BYTE: usize = 64;

/// Output of one connection that could not leave at once.
#[derive(Default)]
pub(crate) struct Output {
    /// Not given to the driver yet.
    pub(super) queue: Queue,
    /// Bytes of the buffer that the driver holds.
    in_flight: usize,
    /// How large that buffer is.
    lent_out: usize,
    /// The file that the driver sends, or of which a worker reads a chunk: all else waits behind it.
    pub(super) file: Option<Box<Sending>>,
    /// What the reactor has counted of it against its byte budget.
    pub(super) counted: usize,
}

impl Output {
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether something is on its way, behind which the queue waits.
    fn is_busy(&self) -> bool {
        self.in_flight > 0 || self.file.is_some()
    }

    fn has_more(&self) -> bool {
        self.is_busy() || !self.queue.is_empty()
    }

    /// Bytes of files that have not left.
    fn files(&self) -> u64 {
        self.queue.files().saturating_add(self.file.as_ref().map_or(0, |file| file.left()))
    }

    /// Bytes that count against a byte budget: once the system has refused some. What is queued before that is flushed at the end of the turn. (Bytes
    /// of files are in no memory.)
    pub(super) fn waiting(&self) -> usize {
        if self.is_busy() { self.in_flight + self.queue.len() } else { 0 }
    }

    /// The memory of that.
    pub(super) fn memory(&self) -> usize {
        if self.is_busy() { self.lent_out + self.queue.memory() } else { 0 }
    }
}

/// What became of an attempt to send what is queued.
pub(super) enum Flushed {
    /// All has left.
    All,
    /// Something is on its way.
    Waits,
    /// The connection has come to its end.
    Lost(CloseReason),
}

impl Head {
    pub(super) fn sent_short(&self, bytes: &[u8], sent: Sent) {
        match sent {
            Sent::Now(n) => {
                // In front of what the same callback queued since: it was written before.
                let mut rest = self.reactor.take_buffer();
                rest.extend_from_slice(bytes.get(n..).unwrap_or_default());
                self.with_output(|output| output.queue.push_front(Segment::Bytes(rest)));
                self.flush();
            }
            Sent::InFlight(n) => {
                let in_flight = bytes.len().saturating_sub(n);
                let before = self.charged();
                let mut output = self.output.take().unwrap_or_default();
                (output.in_flight, output.lent_out) = (in_flight, in_flight);
                self.put_output(output);
                self.refused_some(before);
            }
            Sent::Failed(error) => self.lost(CloseReason::Lost(error), Close::Reset),
        }
        self.check_high_water();
    }

    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) {
        let reactor = &*self.reactor;
        let (base, lent) = reactor.lent.get();
        let start = bytes.as_ptr().addr().wrapping_sub(base);
        let todo = reactor.todo.get();
        // The short way: the first write of a callback, of bytes that were lent to it.
        if self.flags.get() & flag::SLOW_WRITE == 0
            && start < lent
            && todo & (Inner::QUICK | Inner::CORKED) == 0
            && !bytes.is_empty()
        {
            reactor.quick.set(Quick { owner: self.handle, start, len: bytes.len() });
            reactor.todo.set(todo | Inner::QUICK);
            return;
        }
        self.write_long(bytes);
    }

    #[inline(never)]
    fn write_long(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let slow = self.flags.get() & flag::SLOW_WRITE;
        // (A policy that is to be put in place and looks at no writes is not passed by any.)
        let unseen = slow & !(flag::POLICED | flag::PUMPING) == 0;
        let short = slow == 0 || (unseen && self.stamp_write());
        if short && self.reactor.cork(self.handle, bytes) {
            return;
        }
        self.write_slow(bytes);
    }

    /// Whether what is written now will leave.
    pub(super) fn takes_writes(&self) -> bool {
        // A close that waits for a producer waits for what it writes.
        !self.has(match self.has(flag::PRODUCER) {
            true => flag::WRITE_CLOSED | flag::LOST,
            false => flag::NO_WRITE,
        })
    }

    /// A buffer of the caller's: moved where it can be, unless it is too small to be worth it.
    pub(crate) fn write_owned(&self, bytes: Vec<u8>) {
        if bytes.len() <= WORTH_MOVING {
            return self.write(&bytes);
        }
        if !self.takes_writes() {
            return;
        }
        if self.has(flag::BEHIND) {
            self.queue_owned_for_layers(bytes);
        } else {
            self.stamp();
            // What the callback wrote before leaves together with it, or else right before it.
            let first = !self.has(flag::HAS_OUTPUT);
            let before = first.then(|| self.reactor.take_copied(self.handle)).flatten();
            self.with_output(|output| {
                if let Some(before) = before {
                    output.queue.push(Segment::Bytes(before));
                }
                output.queue.push(Segment::Bytes(bytes));
            });
            self.flush_after();
        }
        self.check_high_water();
    }

    fn write_slow(&self, bytes: &[u8]) {
        if !self.takes_writes() {
            return;
        }
        if self.has(flag::BEHIND) {
            self.queue_for_layers(bytes);
        } else if !self.has(flag::HAS_OUTPUT)
            && self.reactor.corked(self.handle) > 0
            && self.reactor.cork(self.handle, bytes)
        {
            // The callback wrote before it closed or registered a pull producer: these bytes leave after those.
        } else {
            self.stamp();
            self.queue(bytes);
            self.flush_soon();
        }
        self.check_high_water();
    }

    /// Puts bytes behind what is queued.
    fn queue(&self, bytes: &[u8]) {
        let before = self.charged();
        self.put(bytes);
        self.changed(before);
    }

    /// The same for somebody who judges what waits afterwards.
    pub(super) fn put(&self, bytes: &[u8]) {
        self.change_output(|output| {
            // What waits may wait for long.
            match output.is_busy() {
                true => output.queue.write_thriftily(bytes),
                false => output.queue.write(bytes, || self.reactor.take_buffer()),
            }
        });
    }

    /// Works on what is queued, which there is from now on.
    pub(super) fn with_output(&self, f: impl FnOnce(&mut Output)) {
        let before = self.charged();
        self.change_output(f);
        self.changed(before);
    }

    /// Works on what is queued and sends what then can leave: what waits is judged after that alone, so that nobody is let go or held for what is so for a
    /// moment.
    pub(super) fn rework_output(&self, f: impl FnOnce(&mut Output)) {
        let before = self.tally();
        self.change_output(f);
        self.leave();
        self.judge(before);
    }

    fn change_output(&self, f: impl FnOnce(&mut Output)) {
        let mut output = self.output.take().unwrap_or_default();
        f(&mut output);
        self.put_output(output);
    }

    /// Flushes at the end of the turn.
    pub(super) fn flush_soon(&self) {
        if !self.has(flag::DIRTY) {
            self.set(flag::DIRTY);
            self.reactor.dirty(self.handle);
        }
    }

    /// Sends what was written now, inside the callback that wrote it, for who waits until it has left. What passes layers, or was lent to the
    /// callback, leaves after it as always.
    pub(crate) fn flush_now(&self) {
        if self.has(flag::LOST) {
            return;
        }
        self.reactor.flush_own(self.handle);
        if self.has(flag::HAS_OUTPUT) {
            self.flush();
        }
    }

    /// Flushes after the callback on the stack.
    pub(super) fn flush_after(&self) {
        if !self.has(flag::DIRTY) {
            self.set(flag::DIRTY);
            self.after(After::Flush(self.handle));
        }
    }

    /// Gives the driver what is queued, as far as it takes it.
    pub(crate) fn flush(&self) {
        // Nothing of the output is charged until the system refuses some.
        let before = self.charged();
        if self.leave() {
            self.refused_some(before);
        }
    }

    /// The same, segment by segment, for somebody who judges what waits afterwards. Answers whether some of it has come to wait.
    pub(super) fn leave(&self) -> bool {
        self.unset(flag::DIRTY);
        let Some(mut output) = self.output.take() else { return false };
        if output.is_busy() {
            self.output.set(Some(output));
            return false;
        }
        self.stamp();
        match self.send_queued(&mut output) {
            Flushed::All => {
                self.drop_output(Some(output));
                self.drained();
            }
            Flushed::Waits => {
                self.put_output(output);
                return true;
            }
            Flushed::Lost(reason) => {
                self.output.set(Some(output));
                self.lost(reason, Close::Reset);
            }
        }
        false
    }

    fn send_queued(&self, output: &mut Output) -> Flushed {
        if output.queue.overruns() {
            return Flushed::Lost(CloseReason::Failed(Failure::new(DescriptorOverrun).into()));
        }
        // Descriptors that the driver holds, for the next byte.
        let mut passed = 0;
        loop {
            let mut begun = None;
            if passed == 0 {
                match self.send_pieces(output) {
                    Ok(rest) => begun = rest,
                    Err(flushed) => return flushed,
                }
            }
            let mut from = 0;
            let segment = begun.map(|(buffer, at)| {
                from = at;
                Segment::Bytes(buffer)
            });
            let Some(segment) = segment.or_else(|| output.queue.pop()) else {
                return Flushed::All;
            };
            let mut buffer = match segment {
                Segment::Bytes(buffer) => buffer,
                Segment::File(file) => match self.begin_file(output, file) {
                    Some(flushed) => return flushed,
                    None => continue,
                },
                Segment::Descriptor(descriptor) if passed < MOST_A_BYTE => {
                    let sent =
                        descriptor::send(&mut **self.reactor.driver(), self.handle, descriptor);
                    if let Err(error) = sent {
                        return Flushed::Lost(CloseReason::Lost(error));
                    }
                    passed += 1;
                    continue;
                }
                more => {
                    output.queue.push_front(more);
                    output.queue.pop_byte().into_iter().collect()
                }
            };
            passed = 0;
            let (all, size) = (buffer.len() - from, buffer.capacity());
            let sent = self.reactor.driver().send(self.handle, Outgoing::Buffer(&mut buffer, from));
            match sent {
                Sent::Now(_) => self.reactor.give_buffer(buffer),
                Sent::InFlight(n) => {
                    (output.in_flight, output.lent_out) = (all.saturating_sub(n), size);
                    return Flushed::Waits;
                }
                Sent::Failed(error) => {
                    // For who waits for the file that these are a chunk of.
                    output.in_flight = all;
                    return Flushed::Lost(CloseReason::Lost(error));
                }
            }
        }
    }

    /// Sends bytes that lie in several buffers in one call, as they lie. Answers the buffer that has left in part, and from where on it has not.
    fn send_pieces(&self, output: &mut Output) -> Result<Option<(Vec<u8>, usize)>, Flushed> {
        loop {
            let pieces = output.queue.pieces(MOST_VECTORED);
            if pieces.is_empty() {
                return Ok(None);
            }
            let all: usize = pieces.iter().map(|piece| piece.len()).sum();
            let sent = self.reactor.driver().send(self.handle, Outgoing::Vectored(&pieces));
            let spent = |buffer| self.reactor.give_buffer(buffer);
            match sent {
                Sent::Now(len) => {
                    let rest = output.queue.advance(len, spent);
                    if len < all {
                        return Ok(rest);
                    }
                }
                Sent::InFlight(len) => {
                    output.queue.advance(all, spent);
                    (output.in_flight, output.lent_out) = (all.saturating_sub(len), all);
                    return Err(Flushed::Waits);
                }
                Sent::Failed(error) => return Err(Flushed::Lost(CloseReason::Lost(error))),
            }
        }
    }

    /// The driver has sent some of what it holds.
    pub(crate) fn sent(&self, len: usize, done: bool) {
        let before = self.tally();
        let Some(mut output) = self.output.take() else { return };
        self.stamp();
        if let Some(mut file) = output.file.take_if(|file| file.is_with_driver()) {
            file.advance(len);
            if done {
                self.end_file(file, Ok(()));
            } else {
                output.file = Some(file);
            }
        } else {
            self.sent_of_buffer(&mut output, len, done);
        }
        let more = output.has_more();
        if more {
            self.put_output(output);
        } else {
            self.drop_output(Some(output));
        }
        if done && more {
            self.leave();
        } else if done {
            self.drained();
        }
        self.judge(before);
    }

    fn sent_of_buffer(&self, output: &mut Output, len: usize, done: bool) {
        output.in_flight = if done { 0 } else { output.in_flight.saturating_sub(len) };
        if done {
            output.lent_out = 0;
            let buffer = self.reactor.driver().reclaim(self.handle);
            self.reactor.give_buffer(buffer);
        }
    }

    /// Everything written has left, unless a file waits before the layers for just that.
    pub(super) fn drained(&self) {
        self.unset(flag::HAS_OUTPUT);
        if self.has(flag::FILE_WAITS) {
            return self.pump_soon();
        }
        if self.has(flag::LOOK_WRITTEN) && self.queued_in_layers() > 0 {
            // A policy holds more, which will drain in its turn.
            return;
        }
        if self.has(flag::CLOSING | flag::WRITE_CLOSING) {
            self.after(After::Finish(self.handle));
        }
        if self.has(flag::WANT_WRITABLE) {
            self.after(After::Writable(self.handle));
        }
        if !self.has(flag::SPENT) {
            self.ask_producer();
        }
    }

    /// Asks the producer for more, if it waits to be asked.
    pub(super) fn ask_producer(&self) {
        if self.has(flag::PULL | flag::PRODUCER_PAUSED) {
            self.unset(flag::PRODUCER_PAUSED);
            self.after(After::Producer(self.handle, Ask::Resume));
        }
    }

    pub(super) fn check_high_water(&self) {
        let flags = flag::PRODUCER | flag::PULL | flag::PRODUCER_PAUSED;
        if self.flags.get() & flags == flag::PRODUCER
            && (self.waiting() > HIGH_WATER || self.queued_descriptors() > MOST_QUEUED)
        {
            self.set(flag::PRODUCER_PAUSED);
            self.after(After::Producer(self.handle, Ask::Pause));
        }
    }

    pub(crate) fn notify_writable(&self) {
        if self.has(flag::LOST | flag::WANT_WRITABLE) {
            return;
        }
        self.set(flag::WANT_WRITABLE);
        if self.waiting() == 0 {
            self.after(After::Writable(self.handle));
        }
    }

    /// Whether the protocol is to hear now that all has left.
    pub(super) fn wants_writable(&self) -> bool {
        self.has(flag::WANT_WRITABLE) && self.waiting() == 0
    }

    /// Bytes written that the system has not taken, the cork's and those of files included.
    pub(crate) fn pending(&self) -> usize {
        self.reactor.corked(self.handle).saturating_add(self.waiting())
    }

    /// Bytes queued on this connection or in flight, those of files included.
    pub(super) fn waiting(&self) -> usize {
        let mut files = 0_u64;
        if self.has(flag::HAS_OUTPUT)
            && let Some(output) = self.output.take()
        {
            files = output.files();
            self.output.set(Some(output));
        }
        if self.has(flag::LAYERED | flag::STACKED) {
            files = files.saturating_add(self.files_before_layers());
        }
        self.queued().saturating_add(usize::try_from(files).unwrap_or(usize::MAX))
    }

    /// Bytes in memory, queued on this connection or in flight.
    pub(super) fn queued(&self) -> usize {
        let mut queued = 0;
        if self.has(flag::HAS_OUTPUT)
            && let Some(output) = self.output.take()
        {
            queued += output.queue.len() + output.in_flight;
            self.output.set(Some(output));
        }
        if self.has(flag::LAYERED | flag::STACKED) {
            queued += self.queued_in_layers();
        }
        queued
    }

    /// Descriptors queued on this connection.
    fn queued_descriptors(&self) -> usize {
        let mut queued = 0;
        if self.has(flag::HAS_OUTPUT)
            && let Some(output) = self.output.take()
        {
            queued = output.queue.descriptors();
            self.output.set(Some(output));
        }
        queued
    }

    /// Goes on closing, as far as it can be done now. Returns whether the write side has ended just now.
    pub(super) fn finish(&self) -> bool {
        self.tell_closing();
        let blocked = flag::LOST | flag::PRODUCER | flag::PUMPING;
        if !self.has(flag::CLOSING | flag::WRITE_CLOSING) || self.has(blocked) {
            return false;
        }
        if self.has(flag::LAYERED | flag::STACKED) {
            if !self.has(flag::LAYERS_CLOSED) {
                if self.queued_in_layers() > 0 || self.has(flag::FILE_WAITS) {
                    return false;
                }
                self.set(flag::LAYERS_CLOSED);
                self.with_layers(|layers, passed| layers.closing(self, passed));
            }
            // Policies may hold back the last words of a layer, and let them go in several pieces.
            if self.held_by_policies() > 0 {
                return false;
            }
        }
        if self.has(flag::HAS_OUTPUT) {
            self.flush();
        }
        if self.has(flag::HAS_OUTPUT | flag::LOST) {
            return false;
        }
        if self.has(flag::CLOSING) {
            self.lost(self.close_reason(), Close::Graceful);
            return false;
        }
        self.unset(flag::WRITE_CLOSING);
        self.set(flag::WRITE_CLOSED);
        let shut = self.reactor.driver().shutdown(self.handle);
        if let Err(error) = shut {
            self.lost(CloseReason::Lost(error), Close::Reset);
        }
        !self.has(flag::LOST)
    }
}
