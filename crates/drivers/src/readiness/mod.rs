//! Turns readiness into completions with non-blocking calls, for every driver that is told what is ready: the [`Driver`] itself and the
//! walk through the events of a wait.
//!
//! `stream.rs` receives, sends and connects; `file.rs` sends files; `linger.rs` closes; `port.rs` accepts; `unix.rs` passes descriptors;
//! `adopt.rs` takes sockets over; `datagram.rs` is what it says; `watch.rs` watches what is somebody else's; `table.rs` holds sixteen bytes a
//! connection; `selector.rs` is what differs between such drivers.

mod adopt;
mod datagram;
mod file;
mod linger;
mod port;
mod selector;
mod stream;
mod table;
mod unix;
mod watch;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::SystemTime;

use marline_core::driver::{
    Adopt, Answer, Capability, Close, Completion, ConnectFault, ConnectOptions, Datagram,
    DatagramOptions, Driver, Handle, Job, JobId, ListenOptions, Mail, Membership, OsError,
    Outgoing, Sent, SocketOption, StallWatch, Waker, Woken,
};
use marline_core::{Addr, Time};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::background::Background;
use crate::socket::{fault, local_addr, monotonic, option, peer_addr, set_option};
use crate::watchdog::Watchdog;

#[cfg(test)]
pub(crate) use linger::MOST_LINGERING;
pub(crate) use selector::{Interest, Ready, Selector};

use datagram::Datagrams;
use linger::Lingering;
use port::Resting;
use selector::token;
use table::{Armed, Kind, Marks, Outputs, Table};
use unix::Beside;

/// A driver over a [`Selector`].
pub(crate) struct Readiness<S> {
    selector: S,
    table: Table,
    outputs: Outputs,
    /// Which event of the last wait is looked at.
    at: usize,
    /// Whether what can be read has been read for that event; what can be written comes next.
    read_done: bool,
    /// How many connections may still be accepted for that event.
    share: u32,
    /// Indices whose interest may differ from what the selector knows.
    dirty: Vec<u32>,
    /// Reports that no event brings.
    notices: VecDeque<Completion>,
    lingering: Lingering,
    resting: Resting,
    /// Given up for a moment to accept, and turn away, a client for which there is no descriptor.
    reserve: Option<OwnedFd>,
    /// The peer of the connection accepted last: saves a system call.
    accepted_from: Option<(Handle, SocketAddr)>,
    datagrams: Datagrams,
    unix: Beside,
    background: Background,
    watchdog: Option<Watchdog>,
}

impl<S: Selector> Readiness<S> {
    /// Makes a driver, which takes four descriptors. There may be any number of them in a process and in a thread.
    pub(crate) fn new() -> io::Result<Self> {
        // The entropy is not used, but `seed` has no way to say later that there is none.
        getrandom(&mut [0_u8; 1], GetRandomFlags::empty())?;
        let mut selector = S::new()?;
        let background = Background::new()?;
        selector.add(background.wake().descriptor(), token(WAKE), Interest::READ)?;
        Ok(Self {
            selector,
            table: Table::new(),
            outputs: Outputs::default(),
            at: 0,
            read_done: false,
            share: port::SHARE,
            dirty: Vec::new(),
            notices: VecDeque::new(),
            lingering: Lingering::default(),
            resting: Resting::default(),
            reserve: Some(port::reserve()?),
            accepted_from: None,
            datagrams: Datagrams::new(),
            unix: Beside::default(),
            background,
            watchdog: None,
        })
    }

    /// Has the selector told about an entry before the next wait, if there is something to tell.
    fn touch(&mut self, handle: Handle) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.wanted() != entry.armed && !entry.marks.any(Marks::DIRTY) {
            entry.marks.set(Marks::DIRTY);
            self.dirty.push(handle.index);
        }
    }

    /// Tells the selector what has changed since the last wait.
    fn settle(&mut self) {
        while let Some(index) = self.dirty.pop() {
            // The place may have been used again since: then this is about the new entry, and right too.
            let Some((handle, entry)) = self.table.at(index) else { continue };
            entry.marks.unset(Marks::DIRTY);
            if entry.kind == Kind::AlwaysReady {
                let want = entry.want;
                self.report_always_ready(handle, want);
                continue;
            }
            let (armed, wanted) = (entry.armed, entry.wanted());
            let Some(fd) = entry.fd().filter(|_| armed != wanted) else { continue };
            let told = match (armed.interest(), wanted.interest()) {
                (None, Some(interest)) => self.selector.add(fd, token(handle), interest),
                (Some(_), Some(interest)) => self.selector.modify(fd, token(handle), interest),
                (_, None) => self.selector.remove(fd),
            };
            entry.armed = wanted;
            if let Err(errno) = told {
                // Out of memory, or of watches: nothing would ever be heard of it.
                entry.armed = Armed::NO;
                self.deaf(handle, fault(errno));
            }
        }
    }

    /// The selector does not take an entry.
    #[cold]
    fn deaf(&mut self, handle: Handle, error: OsError) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        if entry.kind == Kind::Lingering {
            self.forget(handle);
        } else if !entry.marks.any(Marks::BROKEN) {
            entry.marks.set(Marks::BROKEN);
            self.notices.push_back(Completion::Failed { handle, error });
        }
    }

    /// Looks at the next event.
    fn advance(&mut self) {
        self.at += 1;
        self.read_done = false;
        self.share = port::SHARE;
    }

    /// A receive brought no bytes: says so if that is the end, or goes on.
    #[cold]
    #[inline(never)]
    fn ended_or_next(&mut self, errno: Option<Errno>, scratch: &mut [u8]) -> Option<Completion> {
        let conn = self.selector.ready(self.at)?.handle();
        self.advance();
        let ended = self.read_ended(conn, errno.map_or(Ok(()), Err));
        if ended.is_some() { ended } else { self.next_of_any(scratch) }
    }

    /// The next completion, of whatever kind.
    #[inline(never)]
    fn next_of_any(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        while let Some(ready) = self.selector.ready(self.at) {
            let completion = self.dispatch(ready, scratch);
            if completion.is_some() {
                return completion;
            }
        }
        if self.has_nothing_more() { None } else { self.beside_events() }
    }

    /// Whether all that the last wait collected has been reported.
    #[inline]
    fn has_nothing_more(&self) -> bool {
        self.selector.ready(self.at).is_none() && self.notices.is_empty() && !self.background.any()
    }

    /// Everything but bytes that arrive.
    #[cold]
    #[inline(never)]
    fn dispatch(&mut self, ready: Ready, scratch: &mut [u8]) -> Option<Completion> {
        let handle = ready.handle();
        if handle == WAKE {
            self.advance();
            self.background.collect();
            return None;
        }
        // An event from before its handle was closed: the version tells.
        let kind = self.table.get(handle).map_or(Kind::Free, |entry| entry.kind);
        match kind {
            Kind::Stream | Kind::Unix => return self.stream_ready(handle, ready, scratch),
            // Comes back until its share is used up.
            Kind::Port => return self.accept(handle),
            Kind::Watch => return self.watch_ready(handle, ready),
            // Comes back until all that one call has brought is reported.
            Kind::Datagram => return self.datagram_ready(handle, ready),
            _ => self.advance(),
        }
        match kind {
            Kind::Connecting => self.connected(handle),
            Kind::Lingering => {
                self.discard(handle, scratch);
                None
            }
            Kind::Free
            | Kind::Stream
            | Kind::Unix
            | Kind::Port
            | Kind::Datagram
            | Kind::Watch
            | Kind::AlwaysReady => None,
        }
    }

    /// What no event brings: failures of the selector, signals, answers.
    #[cold]
    fn beside_events(&mut self) -> Option<Completion> {
        while let Some(notice) = self.notices.pop_front() {
            let stands = match notice {
                Completion::Failed { handle, .. } => self.table.live(handle).is_some(),
                Completion::Readable { watch } => self.is_still_wanted(watch, Interest::READ),
                Completion::Writable { watch } => self.is_still_wanted(watch, Interest::WRITE),
                _ => true,
            };
            if let Completion::Datagrams { socket, .. } = notice {
                match self.held_again(socket) {
                    None => continue,
                    held => return held,
                }
            }
            if stands {
                return Some(notice);
            }
        }
        self.background.next()
    }

    /// Whether there is nothing but the selector to wait for, nor anything to tell it.
    #[inline]
    fn has_nothing_else(&self) -> bool {
        self.watchdog.is_none()
            && self.dirty.is_empty()
            && self.notices.is_empty()
            && !self.background.any()
            && self.errands().is_none()
    }

    /// Waits when there is more to it than that.
    #[inline(never)]
    fn wait_with_errands(&mut self, until: Option<Time>) -> io::Result<Woken> {
        self.settle();
        let errand = self.errands();
        let until = match (until, errand) {
            _ if !self.notices.is_empty() || self.background.any() => Some(Time::ZERO),
            (Some(until), Some(errand)) => Some(until.min(errand)),
            (until, errand) => until.or(errand),
        };
        if let Some(watchdog) = &self.watchdog {
            watchdog.waits();
        }
        let waited = self.selector.wait(until);
        if let Some(watchdog) = &self.watchdog {
            watchdog.goes_on();
        }
        let woken = waited?;
        if errand.is_some() && woken == Woken::Perhaps {
            let now = monotonic();
            self.end_lingering(now);
            self.wake_resting(now);
        }
        Ok(woken)
    }

    /// Whether the driver has something to do by itself at some moment.
    fn errands(&self) -> Option<Time> {
        match (self.lingering.first(), self.resting.first()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Marks an entry as failed and says so, once.
    #[cold]
    fn failed(&mut self, handle: Handle, error: OsError) -> Option<Completion> {
        let entry = self.table.get_mut(handle)?;
        if entry.marks.any(Marks::BROKEN) {
            return None;
        }
        entry.marks.set(Marks::BROKEN);
        self.touch(handle);
        Some(Completion::Failed { handle, error })
    }

    /// Takes an entry that hung up while nothing was wanted of it out of the selector, or every wait would return at once.
    fn hung_up(&mut self, handle: Handle) {
        if let Some(entry) = self.table.get_mut(handle) {
            entry.marks.set(Marks::HUNG_UP);
            self.touch(handle);
        }
    }

    /// Closes what a handle stands for and frees its index.
    fn forget(&mut self, handle: Handle) {
        let Some(entry) = self.table.get_mut(handle) else { return };
        let is_shared = entry.kind == Kind::Watch || entry.marks.any(Marks::ADOPTED);
        match entry.kind {
            Kind::Stream => {
                self.outputs.take(entry.side);
            }
            Kind::Unix => {
                self.outputs.take(entry.side);
                self.unix.forget(handle);
            }
            Kind::Lingering => self.lingering.one_less(),
            Kind::Datagram => {
                self.datagrams.forget(handle);
                self.unix.forget(handle);
            }
            _ => self.unix.forget(handle),
        }
        if is_shared {
            self.leave_selector(handle);
        }
        self.table.remove(handle);
    }
}

impl<S: Selector> Driver for Readiness<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn supports(&self, capability: Capability) -> bool {
        use Capability::{
            Adopt, Datagrams, Multicast, PassDescriptors, Resolve, SendFile, Signals, Stalls, Unix,
            Watch, Work,
        };
        matches!(
            capability,
            Adopt
                | Datagrams
                | Multicast
                | PassDescriptors
                | Resolve
                | SendFile
                | Signals
                | Stalls
                | Unix
                | Watch
                | Work
        )
    }

    fn now(&mut self) -> Time {
        monotonic()
    }

    fn wall_clock(&mut self) -> SystemTime {
        SystemTime::now()
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        // Up to 256 bytes come whole or not at all, and not at all only while the system starts.
        while getrandom(&mut seed, GetRandomFlags::empty()).is_err() {
            std::thread::yield_now();
        }
        seed
    }

    fn waker(&self) -> Waker {
        self.background.waker()
    }

    fn wait(&mut self, until: Option<Time>) -> io::Result<Woken> {
        self.at = 0;
        self.read_done = false;
        self.share = port::SHARE;
        if self.has_nothing_else() {
            Ok(self.selector.wait(until)?)
        } else {
            self.wait_with_errands(until)
        }
    }

    /// Bytes that arrive: nearly all events there are. Whatever else it may be is out of line, for this would pay for the registers it needs.
    #[inline]
    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        if let Some(ready) = self.selector.ready(self.at)
            && ready.only_readable()
            && let conn = ready.handle()
            && let Some(entry) = self.table.get(conn)
            && entry.only_reads()
            && let Some(fd) = entry.fd()
        {
            // Not `read`: it would spare registers, but the kernel takes a tenth longer for it.
            let received = recv(fd, &mut *scratch, RecvFlags::empty());
            if let Ok((_, len)) = received
                && len > 0
            {
                self.at += 1;
                return Some(Completion::Received { conn, len });
            }
            return self.ended_or_next(received.err(), scratch);
        }
        if self.has_nothing_more() { None } else { self.next_of_any(scratch) }
    }

    fn listen(&mut self, addr: &Addr, options: &ListenOptions) -> Result<(Handle, Addr), OsError> {
        self.open_port(addr, options)
    }

    fn connect(&mut self, to: &Addr, options: &ConnectOptions) -> Result<Handle, ConnectFault> {
        self.open_stream(to, options)
    }

    fn receive(&mut self, handle: Handle, on: bool) {
        let Some(entry) = self.table.live(handle) else { return };
        entry.want = match on {
            true => entry.want.and(Interest::READ),
            false => entry.want.without(Interest::READ),
        };
        if on {
            entry.marks.unset(Marks::HUNG_UP);
        }
        if entry.wanted() != entry.armed {
            self.touch(handle);
        }
        if self.datagrams.minds(handle, on) {
            self.hold_or_resume(handle, on);
        }
    }

    #[inline]
    fn send_now(&mut self, conn: Handle, bytes: &[u8]) -> Option<usize> {
        self.send_at_once(conn, bytes)
    }

    #[inline]
    fn send(&mut self, conn: Handle, out: Outgoing<'_>) -> Sent {
        match out {
            Outgoing::Lent(bytes) => self.send_lent(conn, bytes),
            Outgoing::Vectored(pieces) => self.send_vectored(conn, pieces),
            Outgoing::Buffer(buffer, from) => self.send_buffer(conn, buffer, from),
        }
    }

    fn reclaim(&mut self, conn: Handle) -> Vec<u8> {
        self.take_output(conn)
    }

    fn shutdown(&mut self, conn: Handle) -> Result<(), OsError> {
        self.shut(conn)
    }

    fn close(&mut self, handle: Handle, how: Close) {
        self.end(handle, how);
    }

    fn local_addr(&mut self, handle: Handle) -> Option<Addr> {
        local_addr(self.table.live(handle)?.fd()?)
    }

    fn peer_addr(&mut self, handle: Handle) -> Option<Addr> {
        let entry = self.table.live(handle)?;
        match self.accepted_from {
            Some((accepted, addr)) if accepted == handle => Some(Addr::Ip(addr)),
            _ => peer_addr(entry.fd()?),
        }
    }

    fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<(), OsError> {
        let entry = self.table.live(handle).ok_or(OsError::STALE)?;
        set_option(entry.fd().ok_or(OsError::STALE)?, option)
    }

    fn option(&mut self, handle: Handle, which: SocketOption) -> Result<SocketOption, OsError> {
        let entry = self.table.live(handle).ok_or(OsError::STALE)?;
        option(entry.fd().ok_or(OsError::STALE)?, which)
    }

    fn bind_datagram(
        &mut self,
        addr: &Addr,
        options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        self.open_datagrams(addr, options)
    }

    fn send_datagram(
        &mut self,
        socket: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        self.send_one(socket, to, parts)
    }

    fn send_datagrams(&mut self, socket: Handle, batch: &[Datagram<'_>]) -> Result<usize, OsError> {
        self.send_many(socket, batch)
    }

    fn connect_datagram(&mut self, socket: Handle, to: &Addr) -> Result<(), OsError> {
        self.connect_datagrams(socket, to)
    }

    fn set_membership(
        &mut self,
        socket: Handle,
        membership: &Membership,
        joined: bool,
    ) -> Result<(), OsError> {
        self.set_group(socket, membership, joined)
    }

    fn take_chunk(&mut self, chunk: u32) -> Vec<u8> {
        self.datagrams.take(chunk)
    }

    fn take_datagrams(&mut self, socket: Handle) -> Option<Mail> {
        self.take_received(socket)
    }

    fn give_back_datagrams(&mut self, _socket: Handle, mail: Mail) {
        self.datagrams.give_back(mail);
    }

    fn datagram_source(&mut self, socket: Handle) -> Option<Addr> {
        self.datagrams.source(socket)
    }

    fn resolve(&mut self, id: JobId, name: &str) -> Result<(), OsError> {
        self.background.resolve(id, name)
    }

    fn work(&mut self, id: JobId, job: Job) -> Result<(), OsError> {
        self.background.work(id, job)
    }

    fn set_workers(&mut self, most: usize) {
        self.background.set_workers(most);
    }

    fn workers(&self) -> (usize, usize) {
        self.background.workers()
    }

    fn stop_workers(&mut self) {
        self.background.stop_workers();
    }

    fn take_answer(&mut self, id: JobId) -> Option<Answer> {
        self.background.take_answer(id)
    }

    fn watch_signal(&mut self, number: i32, on: bool) -> Result<(), OsError> {
        self.background.watch_signal(number, on)
    }

    fn adopt(
        &mut self,
        descriptor: OwnedFd,
        what: Adopt,
    ) -> Result<(Handle, Addr), (OsError, OwnedFd)> {
        self.take_over(descriptor, what)
    }

    fn send_descriptor(&mut self, conn: Handle, descriptor: OwnedFd) -> Result<(), OsError> {
        self.pass(conn, descriptor)
    }

    fn take_descriptor(&mut self, conn: Handle) -> Option<OwnedFd> {
        self.take_passed(conn)
    }

    fn send_file(
        &mut self,
        conn: Handle,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<Sent, (OsError, OwnedFd)> {
        self.begin_file(conn, file, offset, length)
    }

    fn watch(
        &mut self,
        descriptor: OwnedFd,
        interest: marline_core::driver::Interest,
    ) -> Result<Handle, OsError> {
        self.open_watch(descriptor, interest)
    }

    fn set_interest(&mut self, watch: Handle, interest: marline_core::driver::Interest) {
        self.change_interest(watch, interest);
    }

    fn watch_stalls(&mut self, watch: Option<StallWatch>) -> Result<(), OsError> {
        // The one before has ended before another begins.
        self.watchdog = None;
        self.watchdog = watch.map(Watchdog::start).transpose()?;
        Ok(())
    }

    fn deadline(&self) -> Option<Time> {
        // What the selector has not been told yet it would not report.
        if self.dirty.is_empty() { self.errands() } else { Some(Time::ZERO) }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.selector.descriptor()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl<S: Selector> fmt::Debug for Readiness<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("name", &S::NAME).finish_non_exhaustive()
    }
}

/// The handle under which the selector knows the waker.
const WAKE: Handle = Handle { index: u32::MAX, version: 0 };
