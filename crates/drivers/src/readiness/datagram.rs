//! Datagram sockets: received many a call into chunks that all sockets share, sent many a call, and dropped rather than queued.
//!
//! What one call has received is reported message by message, in order, before any other event. If receiving is switched off meanwhile, the rest
//! is copied and comes first when it is switched on again.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use marline_core::Addr;
use marline_core::driver::{
    Completion, Datagram, DatagramOptions, Handle, Mail, Membership, OsError, Parcel,
};
use rustix::io::Errno;

use super::Readiness;
use super::selector::{Interest, Ready, Selector};
use super::table::{Kind, Marks};
use crate::datagram::{connect, datagrams, set_membership};
use crate::socket::{Waiting, fault, take_any_error};
use crate::sys::datagram::{CHUNK, Inbox, Left, Message, Outbox, receive_together};

/// What the datagram sockets of a driver share.
#[derive(Debug)]
pub(super) struct Datagrams {
    inbox: Inbox,
    outbox: Outbox,
    /// Whose messages lie in the inbox, which comes next and how many there are.
    of: Handle,
    at: usize,
    count: usize,
    /// How many messages the next call may bring.
    ask: usize,
    /// Where what was reported last came from, if it was held.
    held_from: Option<(Handle, Option<Addr>)>,
    /// Room to move messages out in.
    parcels: Vec<Parcel>,
    /// What sockets have received and could not be told.
    held: Vec<Held>,
    /// The message of those that was reported last.
    held_chunk: Vec<u8>,
}

/// What was received for a socket before receiving was switched off.
#[derive(Debug)]
struct Held {
    socket: Handle,
    messages: VecDeque<HeldMessage>,
}

#[derive(Debug)]
struct HeldMessage {
    /// Nothing for one that was too long.
    bytes: Option<Vec<u8>>,
    segment: usize,
    from: Option<Addr>,
}

impl Datagrams {
    pub(super) const fn new() -> Self {
        Self {
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            of: NOBODY,
            at: 0,
            count: 0,
            ask: FIRST_ASK,
            held_from: None,
            parcels: Vec::new(),
            held: Vec::new(),
            held_chunk: Vec::new(),
        }
    }

    /// Whether there is something to do when receiving is switched on or off.
    pub(super) fn minds(&self, socket: Handle, on: bool) -> bool {
        if on { self.holds(socket) } else { self.is_begun(socket) }
    }

    /// Whether messages of this socket lie in the inbox that were not reported.
    fn is_begun(&self, socket: Handle) -> bool {
        self.of == socket && self.at < self.count
    }

    /// Whether something waits for receiving to be switched on again.
    fn holds(&self, socket: Handle) -> bool {
        self.held.iter().any(|held| held.socket == socket)
    }

    /// The bytes of the message that was reported last, in a buffer of their own: the way for who takes them one by one.
    pub(super) fn take(&mut self, chunk: u32) -> Vec<u8> {
        match chunk {
            HELD => std::mem::take(&mut self.held_chunk),
            slot => self.inbox.bytes(slot as usize).to_vec(),
        }
    }

    /// Moves out the message that was reported last, and all behind it.
    pub(super) fn take_rest(&mut self, socket: Handle) -> Option<Mail> {
        let first = self.at.checked_sub(1).filter(|_| self.of == socket)?;
        if self.held_from.is_some() || !self.inbox.is_whole(first) {
            return None;
        }
        let mut mail = Mail { bytes: Vec::new(), parcels: std::mem::take(&mut self.parcels) };
        self.inbox.take_all(first, &mut mail);
        (self.of, self.at, self.count) = (NOBODY, 0, 0);
        Some(mail)
    }

    pub(super) fn give_back(&mut self, mail: Mail) {
        self.inbox.give_back(mail.bytes);
        self.parcels = mail.parcels;
    }

    #[inline]
    pub(super) fn source(&self, socket: Handle) -> Option<Addr> {
        match &self.held_from {
            Some((of, from)) if *of == socket => from.clone(),
            // The one before the next.
            _ if self.of == socket => self.inbox.source(self.at.checked_sub(1)?),
            _ => None,
        }
    }

    /// The socket is closed.
    pub(super) fn forget(&mut self, socket: Handle) {
        if self.of == socket {
            (self.of, self.at, self.count) = (NOBODY, 0, 0);
        }
        self.held_from.take_if(|(of, _)| *of == socket);
        self.held.retain(|held| held.socket != socket);
    }

    /// The next message of the inbox, reported.
    #[inline]
    fn report(&mut self) -> Option<Completion> {
        let (socket, slot) = (self.of, self.at);
        if slot >= self.count {
            return None;
        }
        let Message { len, segment, truncated } = self.inbox.message(slot)?;
        self.at += 1;
        if truncated {
            return Some(too_long(socket));
        }
        let more = self.at < self.count;
        Some(Completion::Datagrams { socket, chunk: slot as u32, len, segment, more })
    }

    /// Copies the rest of the inbox, for receiving was switched off.
    #[cold]
    fn hold(&mut self) {
        let mut messages = VecDeque::new();
        for slot in self.at..self.count {
            let Some(message) = self.inbox.message(slot) else { break };
            messages.push_back(HeldMessage {
                bytes: (!message.truncated).then(|| self.inbox.bytes(slot).to_vec()),
                segment: message.segment,
                from: self.inbox.source(slot),
            });
        }
        self.at = self.count;
        match self.held.iter_mut().find(|held| held.socket == self.of) {
            Some(held) => held.messages.append(&mut messages),
            None if messages.is_empty() => {}
            None => self.held.push(Held { socket: self.of, messages }),
        }
    }

    /// The first message held for a socket, reported.
    #[cold]
    fn report_held(&mut self, socket: Handle) -> Option<Completion> {
        let place = self.held.iter().position(|held| held.socket == socket)?;
        let message = self.held[place].messages.pop_front();
        let more = !self.held[place].messages.is_empty();
        if !more {
            self.held.swap_remove(place);
        }
        let HeldMessage { bytes, segment, from } = message?;
        let Some(bytes) = bytes else { return Some(too_long(socket)) };
        let len = bytes.len();
        self.held_chunk = bytes;
        self.held_from = Some((socket, from));
        Some(Completion::Datagrams { socket, chunk: HELD, len, segment, more })
    }

    /// Has the next call bring more if this one brought all it could, and fewer if that was too much at a time.
    fn adapt(&mut self, brought: usize, bytes: usize) {
        if bytes > MUCH {
            self.ask = (self.ask / 2).max(LEAST_ASK);
        } else if brought == self.ask && bytes <= MUCH / 2 {
            self.ask = (self.ask * 2).min(MOST_ASK);
        }
    }
}

impl<S: Selector> Readiness<S> {
    pub(super) fn open_datagrams(
        &mut self,
        addr: &Addr,
        options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        let (fd, bound, file) = datagrams(addr, options)?;
        // Not asked for on a socket that was taken over, whose other holders would get several datagrams as one.
        let together = bound.ip().is_some() && receive_together(fd.as_fd());
        let socket = self.place_datagrams(fd, &bound);
        if !together && let Some(entry) = self.table.get_mut(socket) {
            // A kernel that does not join them may be one that does not cut them either.
            entry.marks.set(Marks::ONE_BY_ONE);
        }
        if let Some(file) = file {
            self.unix.keep_file(socket, file);
        }
        Ok((socket, bound))
    }

    /// Takes in a socket that is bound.
    pub(super) fn place_datagrams(&mut self, fd: OwnedFd, bound: &Addr) -> Handle {
        let socket = self.table.insert(fd, Kind::Datagram, Interest::READ);
        if bound.ip().is_none()
            && let Some(entry) = self.table.get_mut(socket)
        {
            entry.marks.set(Marks::ONE_BY_ONE);
        }
        self.touch(socket);
        socket
    }

    /// Looks at a socket that is ready, again and again until what one call brings is reported.
    pub(super) fn datagram_ready(&mut self, socket: Handle, ready: Ready) -> Option<Completion> {
        let entry = self.table.get(socket)?;
        let reads = entry.reads();
        let shared = &mut self.datagrams;
        let is_begun = shared.is_begun(socket);
        if !reads {
            self.advance();
            return self.deaf_ready(socket, ready);
        }
        match is_begun {
            true => {}
            false if shared.holds(socket) => return shared.report_held(socket),
            false => {
                if shared.at < shared.count {
                    // Of another socket, if somebody waits without having asked for everything.
                    shared.hold();
                    self.notices.push_back(held_notice(shared.of));
                }
                (shared.of, shared.at, shared.count) = (socket, 0, 0);
                shared.held_from = None;
                match shared.inbox.receive(entry.fd()?, shared.ask) {
                    Ok((count, bytes)) => {
                        shared.count = count;
                        shared.adapt(count, bytes);
                    }
                    Err(errno) => return self.not_received(socket, ready, errno),
                }
            }
        }
        let reported = shared.report();
        if shared.at == shared.count {
            // One call for each event: the others have their turn before the next.
            self.advance();
        }
        reported
    }

    #[cold]
    fn not_received(&mut self, socket: Handle, ready: Ready, errno: Errno) -> Option<Completion> {
        self.advance();
        match errno {
            Errno::AGAIN | Errno::INTR => {
                if ready.failed() || ready.hung_up() {
                    self.deaf_ready(socket, ready)
                } else {
                    None
                }
            }
            Errno::BADF | Errno::NOTSOCK | Errno::INVAL | Errno::FAULT => {
                self.failed(socket, fault(errno))
            }
            _ => Some(Completion::DatagramFailed { socket, error: fault(errno) }),
        }
    }

    /// What the last call brought is moved out at once.
    pub(super) fn take_received(&mut self, socket: Handle) -> Option<Mail> {
        let is_begun = self.datagrams.is_begun(socket);
        let mail = self.datagrams.take_rest(socket)?;
        if is_begun {
            // Else the last of them has done that.
            self.advance();
        }
        Some(mail)
    }

    /// A socket that does not receive, or for which there is nothing, is ready all the same.
    #[cold]
    fn deaf_ready(&mut self, socket: Handle, ready: Ready) -> Option<Completion> {
        let entry = self.table.get(socket)?;
        let (fd, reads) = (entry.fd()?, entry.reads());
        // An error is taken also while nothing is received, or it would end every wait.
        match if ready.failed() { take_any_error(fd) } else { Waiting::Nothing } {
            Waiting::Error(error) => return Some(Completion::DatagramFailed { socket, error }),
            Waiting::Reports => {}
            // A send may have taken the error meanwhile, which is no reason to be deaf.
            Waiting::Nothing if ready.hung_up() || (ready.failed() && !reads) => {
                self.hung_up(socket);
            }
            Waiting::Nothing => {}
        }
        None
    }

    /// Receiving is switched on or off. What the last call brought and was not reported is kept until then, and comes without any event.
    #[cold]
    pub(super) fn hold_or_resume(&mut self, socket: Handle, on: bool) {
        if !on {
            return self.datagrams.hold();
        }
        let notice = held_notice(socket);
        if !self.notices.contains(&notice) {
            self.notices.push_back(notice);
        }
    }

    /// The notice that something is held for a socket: reports one message of it, and is put back for the next.
    #[cold]
    pub(super) fn held_again(&mut self, socket: Handle) -> Option<Completion> {
        if !self.table.get(socket)?.reads() {
            return None;
        }
        let reported = self.datagrams.report_held(socket)?;
        if self.datagrams.holds(socket) {
            self.notices.push_front(held_notice(socket));
        }
        Some(reported)
    }

    pub(super) fn connect_datagrams(&mut self, socket: Handle, to: &Addr) -> Result<(), OsError> {
        let entry = self.table.live(socket).filter(|entry| entry.kind == Kind::Datagram);
        connect(entry.and_then(|entry| entry.fd()).ok_or(OsError::STALE)?, to)
    }

    pub(super) fn set_group(
        &mut self,
        socket: Handle,
        membership: &Membership,
        joined: bool,
    ) -> Result<(), OsError> {
        let entry = self.table.live(socket).filter(|entry| entry.kind == Kind::Datagram);
        set_membership(
            entry.and_then(|entry| entry.fd()).ok_or(OsError::STALE)?,
            membership,
            joined,
        )
    }

    pub(super) fn send_one(
        &mut self,
        socket: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        let sent = match parts {
            [part] => self.send_many(socket, &[Datagram { to, bytes: part }]),
            parts => {
                let joined =
                    parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
                self.send_many(socket, &[Datagram { to, bytes: &joined }])
            }
        };
        sent.map(drop)
    }

    pub(super) fn send_many(
        &mut self,
        socket: Handle,
        batch: &[Datagram<'_>],
    ) -> Result<usize, OsError> {
        let entry = self
            .table
            .live(socket)
            .filter(|entry| entry.kind == Kind::Datagram && !entry.marks.any(Marks::BROKEN))
            .ok_or(OsError::STALE)?;
        let mut segmented = !entry.marks.any(Marks::ONE_BY_ONE);
        let mut sent = 0;
        while let Some(rest) = batch.get(sent..).filter(|rest| !rest.is_empty()) {
            let fd = entry.fd().ok_or(OsError::STALE)?;
            match self.datagrams.outbox.send(fd, rest, segmented) {
                Left::Some(count) => sent += count,
                Left::None { errno, segmented: true } if refuses_segments(errno) => {
                    segmented = false;
                    // Too long for the way to that address, which older kernels call invalid, is no reason to give up the others.
                    if !matches!(errno, Errno::MSGSIZE | Errno::INVAL) {
                        entry.marks.set(Marks::ONE_BY_ONE);
                    }
                }
                Left::None { errno, .. } => {
                    return if sent == 0 { Err(fault(errno)) } else { Ok(sent) };
                }
            }
        }
        Ok(sent)
    }
}

/// Whether the kernel, or the device on the way, would not cut.
fn refuses_segments(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::IO | Errno::OPNOTSUPP | Errno::MSGSIZE)
}

/// What the queue of notices holds for a socket that has messages held.
const fn held_notice(socket: Handle) -> Completion {
    Completion::Datagrams { socket, chunk: HELD, len: 0, segment: 0, more: true }
}

fn too_long(socket: Handle) -> Completion {
    Completion::DatagramFailed { socket, error: fault(Errno::MSGSIZE) }
}

/// The chunk of a message that was held, which is none of the inbox.
const HELD: u32 = u32::MAX;
/// No socket has this handle.
const NOBODY: Handle = Handle { index: u32::MAX, version: u32::MAX };
/// How many messages a call may bring: to begin with, at least and at most.
const FIRST_ASK: usize = 8;
const LEAST_ASK: usize = 4;
const MOST_ASK: usize = 64;
/// A call that brings more bytes than this takes too long: the others wait.
const MUCH: usize = 4 * CHUNK;
