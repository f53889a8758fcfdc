//! Sending files: by the driver, without a copy through the process, where it can; else in chunks that a worker reads, one at a time. They wait in the
//! queue of `output.rs`, or before the layers, in the order of writes; here is what becomes of one whose turn has come.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::Transport;
use super::head::{Head, flag};
use super::layered::Pending;
use super::output::{Flushed, Output};
use super::queue::Segment;
#[cfg(unix)]
use crate::deferred::Deferred;
use crate::deferred::{Interrupt, Resolver};
use crate::descriptor::{self, Descriptor};
use crate::driver::{Capability, OsError, Sent};
use crate::reactor::after::After;
use crate::{CloseReason, Reactor};

#[cfg(unix)]
impl Transport {
    /// Sends `length` bytes of a file from `offset` on, in the order of writes before and after. The Deferred fires with `length` when all have
    /// left; until then the file is kept open. (Its own position means nothing and does not move.)
    ///
    /// On a plain connection the system sends them (`sendfile(2)`), and they never pass through this process. With layers (TLS) or policies that
    /// see or limit what is written, with a driver that cannot (the simulated network), or of a file that the system does not send so, a worker reads
    /// them, at most 64 KiB at a time, each when the one before has left. In either case a file takes no memory worth counting, however long it is.
    ///
    /// A file counts by its length as output that waits: in [`pending`](Self::pending), and for a push producer, which is paused while more than
    /// 64 KiB wait, and resumed when all has left, the file included. [`lose_connection`](Self::lose_connection) waits for it,
    /// [`abort_connection`](Self::abort_connection) drops it.
    ///
    /// Cancelling the Deferred gives up the answer and no more: what was written behind the file would have nothing to follow. A file whose bytes
    /// the system has to fetch from a slow disk holds up the reactor as long as that takes.
    ///
    /// ```no_run
    /// # use marline_core::Transport;
    /// # fn serve(transport: &Transport, file: std::fs::File) -> std::io::Result<()> {
    /// let length = file.metadata()?.len();
    /// transport.write(format!("Content-Length: {length}\r\n\r\n").as_bytes());
    /// let failing = transport.clone();
    /// transport.send_file(file, 0, length).done(move |sent| {
    ///     if sent.is_err() {
    ///         failing.abort_connection(); // the peer waits for bytes that are not there
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendFileError`] says how many bytes had left. If the file has fewer than asked for, also because it was cut off meanwhile, or can no
    /// longer be read, what follows it leaves all the same: the connection stands. If the connection ends first, it says why.
    #[track_caller]
    #[doc(alias = "FileSender")]
    #[doc(alias = "sendfile")]
    pub fn send_file(
        &self,
        file: impl Into<std::os::fd::OwnedFd>,
        offset: u64,
        length: u64,
    ) -> Deferred<u64, SendFileError> {
        let (deferred, resolver) = Deferred::new();
        self.raw().send_file(Sending::new(file.into(), offset, length, resolver));
        deferred
    }
}

/// A file was not sent, or not all of it.
#[derive(Clone, Debug)]
pub struct SendFileError {
    /// How many of its bytes had left: were taken by the system, or by the connection's layers.
    pub sent: u64,
    /// Why not all.
    pub cause: SendFileCause,
}

/// Why a file was not sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendFileCause {
    /// It cannot be read: `UnexpectedEof` if it ends before the bytes asked for. The connection stands.
    File(OsError),
    /// The connection ended first, for this reason.
    Connection(CloseReason),
    /// The connection, or its write side, was closing or closed already.
    Closed,
    /// The transport is of a kind that sends no files.
    Unsupported,
    /// Nobody waits for the answer any more: the Deferred was cancelled or timed out. The file may be on its way still.
    Interrupted(Interrupt),
}

impl fmt::Display for SendFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file not sent after {} bytes: ", self.sent)?;
        match &self.cause {
            SendFileCause::File(error) => error.fmt(f),
            SendFileCause::Connection(reason) => reason.fmt(f),
            SendFileCause::Closed => f.write_str("the connection is closed for writing"),
            SendFileCause::Unsupported => f.write_str("a transport that sends no files"),
            SendFileCause::Interrupted(interrupt) => interrupt.fmt(f),
        }
    }
}

impl Error for SendFileError {}

impl From<Interrupt> for SendFileError {
    fn from(interrupt: Interrupt) -> Self {
        Self { sent: 0, cause: SendFileCause::Interrupted(interrupt) }
    }
}

/// A file that is to be sent, or what is left of it; and who waits for that.
#[derive(Debug)]
pub struct Sending {
    source: Source,
    offset: u64,
    left: u64,
    sent: u64,
    /// A worker reads the next chunk.
    reading: bool,
    answer: Resolver<u64, SendFileError>,
}

/// Where a file is.
#[derive(Debug)]
enum Source {
    /// Not begun.
    Here(Descriptor),
    /// The driver sends it.
    Driver,
    /// Read in chunks, by workers.
    Chunks(Arc<File>),
}

impl Sending {
    fn new(
        file: Descriptor,
        offset: u64,
        length: u64,
        answer: Resolver<u64, SendFileError>,
    ) -> Box<Self> {
        let source = Source::Here(file);
        Box::new(Self { source, offset, left: length, sent: 0, reading: false, answer })
    }

    /// How many bytes have not left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn is_with_driver(&self) -> bool {
        matches!(self.source, Source::Driver)
    }

    /// So many bytes more have left.
    pub(super) fn advance(&mut self, len: usize) {
        let len = (len as u64).min(self.left);
        self.offset += len;
        self.left -= len;
        self.sent += len;
    }

    /// Gives it up. Calls whoever waits, so only from the loop.
    pub(super) fn fail(self, cause: SendFileCause) {
        self.answer.fail(SendFileError { sent: self.sent, cause });
    }

    /// Its last chunk has not left whole.
    pub(super) fn take_back(&mut self, len: usize) {
        self.sent = self.sent.saturating_sub(len as u64);
    }

    fn chunks(&mut self) -> Option<Arc<File>> {
        match std::mem::replace(&mut self.source, Source::Driver) {
            Source::Here(file) => self.source = Source::Chunks(Arc::new(file.into())),
            other => self.source = other,
        }
        match &self.source {
            Source::Chunks(file) => Some(Arc::clone(file)),
            _ => None,
        }
    }
}

impl Head {
    pub(super) fn send_file(&self, file: Box<Sending>) {
        let too_far = file.offset.checked_add(file.left).is_none_or(|end| end > i64::MAX as u64);
        if !self.takes_writes() {
            self.end_file(file, Err(SendFileCause::Closed));
        } else if too_far {
            let error = OsError::new(io::ErrorKind::InvalidInput);
            self.end_file(file, Err(SendFileCause::File(error)));
        } else {
            if self.has(flag::BEHIND) {
                self.queue_file_for_layers(file);
            } else {
                self.stamp();
                self.with_output(|output| output.queue.push(Segment::File(file)));
                self.flush_after();
            }
            self.check_high_water();
        }
    }

    /// Who waits for a file is told, from the loop.
    pub(super) fn end_file(&self, file: Box<Sending>, result: Result<(), SendFileCause>) {
        self.after(After::Call(Box::new(move || match result {
            Ok(()) => file.answer.resolve(file.sent),
            Err(cause) => file.fail(cause),
        })));
    }

    /// The turn of a file has come. Answers what that comes to, or `None` if it is done with already.
    pub(super) fn begin_file(
        &self,
        output: &mut Output,
        mut file: Box<Sending>,
    ) -> Option<Flushed> {
        if file.left == 0 {
            self.end_file(file, Ok(()));
            return None;
        }
        if let Source::Here(_) = file.source
            && self.reactor.driver().supports(Capability::SendFile)
            && let Source::Here(fd) = std::mem::replace(&mut file.source, Source::Driver)
        {
            let sent = {
                let mut driver = self.reactor.driver();
                descriptor::send_file(&mut **driver, self.handle, fd, file.offset, file.left)
            };
            match sent {
                Ok(Sent::Now(len)) => {
                    file.advance(len);
                    self.end_file(file, Ok(()));
                    return None;
                }
                Ok(Sent::InFlight(len)) => {
                    file.advance(len);
                    output.file = Some(file);
                    return Some(Flushed::Waits);
                }
                Ok(Sent::Failed(error)) => {
                    output.file = Some(file);
                    return Some(Flushed::Lost(CloseReason::Lost(error)));
                }
                // Refused, not failed: it can be read.
                Err((_, fd)) => file.source = Source::Here(fd),
            }
        }
        self.read_chunk(&mut file);
        output.file = Some(file);
        Some(Flushed::Waits)
    }

    /// Has a worker read the next chunk; [`chunk_read`](Self::chunk_read) follows.
    fn read_chunk(&self, file: &mut Sending) {
        let Some(source) = file.chunks() else { return };
        file.reading = true;
        let (offset, len) = (file.offset, file.left.min(CHUNK as u64) as usize);
        let buffer = self.reactor.take_buffer();
        let read = move || read_at(&source, buffer, offset, len);
        let (inner, handle) = (Rc::downgrade(&self.reactor), self.handle);
        let then = move |chunk| {
            let transport = inner.upgrade().and_then(|inner| inner.stream(handle));
            if let Some(transport) = transport {
                transport.engine(|stream| stream.head().chunk_read(chunk));
            }
        };
        if self.reactor.driver().supports(Capability::Work) {
            Reactor::from_inner(&self.reactor).defer_to_thread(read).done(move |chunk| {
                then(chunk.unwrap_or(Err(OsError::new(io::ErrorKind::Other))));
            });
        } else {
            // Where there are no workers there is no loop to hold up either: one in memory, turned by a test.
            self.after(After::Call(Box::new(move || then(read()))));
        }
    }

    /// A worker has read a chunk, of the file in front: there is only one at a time.
    fn chunk_read(&self, chunk: Result<Vec<u8>, OsError>) {
        if self.is_sending(|file| file.reading) {
            return self.rework_output(|output| {
                let Some(mut file) = output.file.take() else { return };
                match got(chunk) {
                    Ok(chunk) => {
                        file.reading = false;
                        file.advance(chunk.len());
                        output.queue.push_front(Segment::File(file));
                        output.queue.push_front(Segment::Bytes(chunk));
                    }
                    Err(error) => self.end_file(file, Err(SendFileCause::File(error))),
                }
            });
        }
        let Some(mut file) = self.take_waiting_file(|file| file.reading) else { return };
        match got(chunk) {
            Ok(chunk) => {
                file.reading = false;
                file.advance(chunk.len());
                self.put_before_layers(Pending::File(file));
                self.put_before_layers(Pending::Plain(chunk));
            }
            Err(error) => {
                self.end_file(file, Err(SendFileCause::File(error)));
                self.unset(flag::FILE_WAITS);
                if !self.has(flag::HAS_OUTPUT) && !self.waits_before_layers() {
                    self.drained();
                }
            }
        }
        self.pump_soon();
    }

    /// The turn of a file has come to pass the layers, which hold nothing back and neither does the wire, if `free`. Gives it back unless it is
    /// done with.
    pub(super) fn pump_file(&self, mut file: Box<Sending>, free: bool) -> Option<Box<Sending>> {
        if file.left == 0 {
            self.unset(flag::FILE_WAITS);
            self.end_file(file, Ok(()));
            return None;
        }
        self.set(flag::FILE_WAITS);
        if free && !file.reading {
            self.read_chunk(&mut file);
        }
        Some(file)
    }

    /// The driver cannot send the rest of the file it holds.
    pub(super) fn file_failed(&self, error: OsError) {
        if self.is_sending(Sending::is_with_driver) {
            self.rework_output(|output| {
                let Some(file) = output.file.take() else { return };
                self.end_file(file, Err(SendFileCause::File(error)));
            });
        }
    }

    /// Whether a file of this kind has its turn on the wire.
    fn is_sending(&self, kind: impl Fn(&Sending) -> bool) -> bool {
        let output = self.output.take();
        let file = output.as_ref().and_then(|output| output.file.as_deref());
        let is_sending = file.is_some_and(kind);
        self.output.set(output);
        is_sending
    }

    /// The connection has ended, and with it the sending of files.
    pub(super) fn end_files(&self, reason: &CloseReason) {
        let mut files = Vec::new();
        if let Some(mut output) = self.output.take() {
            let in_flight = output.in_flight();
            files.extend(output.file.take());
            while let Some(segment) = output.queue.pop() {
                if let Segment::File(file) = segment {
                    files.push(file);
                }
            }
            // A buffer in flight is its last chunk, if any of it has left.
            if let Some(first) = files.first_mut() {
                first.take_back(in_flight);
            }
            self.output.set(Some(output));
        }
        if self.has(flag::LAYERED | flag::STACKED) {
            while let Some(file) = self.take_waiting_file(|_| true) {
                files.push(file);
            }
        }
        for file in files {
            self.end_file(file, Err(SendFileCause::Connection(reason.clone())));
        }
    }
}

/// Reads what there is of `len` bytes. On a worker: may block.
fn read_at(file: &File, mut buffer: Vec<u8>, offset: u64, len: usize) -> Result<Vec<u8>, OsError> {
    buffer.clear();
    buffer.resize(len, 0);
    let mut at = 0;
    while at < len {
        match descriptor::read_at(file, &mut buffer[at..], offset + at as u64) {
            Ok(0) => break,
            Ok(more) => at += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What was read before leaves first.
            Err(_) if at > 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    buffer.truncate(at);
    Ok(buffer)
}

/// No bytes are the end of the file, which comes too early.
fn got(chunk: Result<Vec<u8>, OsError>) -> Result<Vec<u8>, OsError> {
    match chunk {
        Ok(chunk) if chunk.is_empty() => Err(OsError::new(io::ErrorKind::UnexpectedEof)),
        other => other,
    }
}

/// Bytes of a file in memory at a time.
const CHUNK: usize = 65_536;
