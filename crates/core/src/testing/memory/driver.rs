//! The driver below in-memory transports: the ends of connections as plain buffers, and a clock that others set. It never waits,
//! listens or connects, and has none of the optional capabilities.

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::driver::{
    Capability, Close, Completion, ConnectFault, ConnectOptions, Driver, Handle, ListenOptions,
    OsError, Outgoing, Sent, SocketOption, Waker, Woken,
};
use crate::{Addr, Time};

/// What lies on the other side of in-memory transports: shared by the driver, which reads and writes it for the reactor, and by
/// the test, which plays the peer. Borrowed for one step at a time and never across user code.
#[derive(Clone)]
pub(in crate::testing) struct Wire(Rc<RefCell<Ends>>);

/// The state of a wire.
pub(in crate::testing) struct Ends {
    pub(in crate::testing) now: Time,
    /// The window of ends to come.
    window: usize,
    ends: Vec<End>,
}

/// One end of a connection, as the system would keep it.
pub(in crate::testing) struct End {
    local: Addr,
    peer: Addr,
    receiving: bool,
    no_delay: bool,
    keep_alive: bool,
    /// What the peer has sent, not reported yet.
    incoming: VecDeque<Incoming>,
    /// The peer has ended its stream: nothing follows what is in `incoming`.
    peer_ended: bool,
    broken: Option<OsError>,
    /// What this end has sent, not taken by the peer yet.
    pub(in crate::testing) written: Vec<u8>,
    /// How many bytes `written` may hold.
    pub(in crate::testing) window: usize,
    pub(in crate::testing) in_flight: Option<(Vec<u8>, usize)>,
    spent: Vec<u8>,
    /// How often this end was asked to send.
    #[cfg(test)]
    pub(in crate::testing) sends: usize,
    pub(in crate::testing) write_ended: bool,
    pub(in crate::testing) closed: Option<Close>,
    /// Bytes were reported in this round, or sent: the next wait for the others.
    served: bool,
}

enum Incoming {
    Bytes(Vec<u8>),
    End,
}

impl Wire {
    /// A wire without ends; of what each sends, so many bytes may wait for its peer.
    pub(in crate::testing) fn new(window: usize) -> Self {
        Self(Rc::new(RefCell::new(Ends { now: START, window, ends: Vec::new() })))
    }

    /// For one step; no user code may run while it is held.
    pub(in crate::testing) fn borrow(&self) -> RefMut<'_, Ends> {
        self.0.borrow_mut()
    }

    pub(in crate::testing) fn driver(&self) -> MemoryDriver {
        MemoryDriver { wire: self.clone() }
    }

    /// Adds one end of a connection.
    pub(in crate::testing) fn open(&self, local: Addr, peer: Addr) -> Handle {
        let mut wire = self.borrow();
        let window = wire.window;
        wire.ends.push(End {
            local,
            peer,
            receiving: false,
            no_delay: true,
            keep_alive: false,
            incoming: VecDeque::new(),
            peer_ended: false,
            broken: None,
            written: Vec::new(),
            window,
            in_flight: None,
            spent: Vec::new(),
            #[cfg(test)]
            sends: 0,
            write_ended: false,
            closed: None,
            served: false,
        });
        Handle { index: wire.ends.len() as u32 - 1, version: 0 }
    }

    /// Whether a turn would have something to report.
    pub(in crate::testing) fn has_report(&self) -> bool {
        self.borrow().ends.iter().any(End::has_report)
    }
}

impl Ends {
    pub(in crate::testing) fn end(&mut self, handle: Handle) -> &mut End {
        &mut self.ends[handle.index as usize]
    }

    /// How many ends there are, or were.
    pub(in crate::testing) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Both ends of a connection, the one opened first before the other.
    pub(in crate::testing) fn pair(&mut self, one: Handle, other: Handle) -> (&mut End, &mut End) {
        let (first, second) = self.ends.split_at_mut(other.index as usize);
        (&mut first[one.index as usize], &mut second[0])
    }

    /// An end that the reactor has not closed.
    fn open(&mut self, handle: Handle) -> Option<&mut End> {
        self.ends.get_mut(handle.index as usize).filter(|end| end.closed.is_none())
    }
}

impl End {
    /// The peer sends bytes. To an end that is closed they go nowhere.
    ///
    /// # Panics
    ///
    /// If the peer has ended its stream.
    #[track_caller]
    pub(in crate::testing) fn push(&mut self, bytes: &[u8]) {
        assert!(!self.peer_ended, "the peer cannot send after the end of its stream");
        if self.closed.is_none() && !bytes.is_empty() {
            self.incoming.push_back(Incoming::Bytes(bytes.to_vec()));
        }
    }

    /// The peer sends no more.
    pub(in crate::testing) fn push_end(&mut self) {
        if !std::mem::replace(&mut self.peer_ended, true) && self.closed.is_none() {
            self.incoming.push_back(Incoming::End);
        }
    }

    /// The connection breaks, unless it is closed: this is the last thing reported. Answers whether that was so.
    pub(in crate::testing) fn break_with(&mut self, error: OsError) -> bool {
        let open = self.closed.is_none();
        if open {
            self.peer_ended = true;
            self.broken = Some(error);
        }
        open
    }

    /// Whether the reactor has taken all that the peer sent.
    pub(in crate::testing) fn has_read_all(&self) -> bool {
        self.incoming.is_empty()
    }

    /// Whether everything it will ever send was taken.
    pub(in crate::testing) fn has_written_all(&self) -> bool {
        self.written.is_empty() && (self.write_ended || self.closed.is_some())
    }

    fn room(&self) -> usize {
        self.window.saturating_sub(self.written.len())
    }

    fn has_report(&self) -> bool {
        self.closed.is_none()
            && (self.broken.is_some()
                || (self.in_flight.is_some() && self.room() > 0)
                || (self.receiving && !self.incoming.is_empty()))
    }

    /// The next thing to report, if there is one in this round.
    fn next(&mut self, conn: Handle, scratch: &mut [u8]) -> Option<Completion> {
        if self.closed.is_some() {
            return None;
        }
        if let Some(error) = self.broken.take() {
            return Some(Completion::Failed { handle: conn, error });
        }
        if let Some((len, done)) = self.go_on_sending() {
            return Some(Completion::Sent { conn, len, done });
        }
        if !self.receiving || self.served {
            return None;
        }
        match self.incoming.front_mut()? {
            Incoming::Bytes(bytes) => {
                self.served = true;
                let len = bytes.len().min(scratch.len());
                scratch[..len].copy_from_slice(&bytes[..len]);
                bytes.drain(..len);
                if bytes.is_empty() {
                    self.incoming.pop_front();
                }
                Some(Completion::Received { conn, len })
            }
            Incoming::End => {
                self.incoming.pop_front();
                Some(Completion::ReadClosed { conn })
            }
        }
    }

    fn go_on_sending(&mut self) -> Option<(usize, bool)> {
        let room = self.room();
        let (buffer, at) = self.in_flight.as_mut().filter(|_| room > 0)?;
        let len = (buffer.len() - *at).min(room);
        self.written.extend_from_slice(&buffer[*at..*at + len]);
        *at += len;
        let done = *at == buffer.len();
        if done {
            self.spent = self.in_flight.take().map(|(buffer, _)| buffer).unwrap_or_default();
        }
        Some((len, done))
    }

    /// Takes what there is room for.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.room());
        self.written.extend_from_slice(&bytes[..len]);
        len
    }
}

/// The reactor's side of a wire.
pub(in crate::testing) struct MemoryDriver {
    wire: Wire,
}

impl Driver for MemoryDriver {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn supports(&self, _capability: Capability) -> bool {
        false
    }

    fn now(&mut self) -> Time {
        self.wire.borrow().now
    }

    fn wall_clock(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.now().as_nanos())
    }

    fn log_clock(&mut self) -> SystemTime {
        self.wall_clock()
    }

    fn seed(&mut self) -> [u8; 32] {
        [7; 32]
    }

    /// Nothing waits here, so there is nothing to wake.
    fn waker(&self) -> Waker {
        Arc::new(|| {})
    }

    fn wait(&mut self, _until: Option<Time>) -> io::Result<Woken> {
        self.wire.borrow().ends.iter_mut().for_each(|end| end.served = false);
        Ok(Woken::Perhaps)
    }

    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        let mut wire = self.wire.borrow();
        (0..)
            .zip(&mut wire.ends)
            .find_map(|(index, end)| end.next(Handle { index, version: 0 }, scratch))
    }

    fn listen(&mut self, _: &Addr, _: &ListenOptions) -> Result<(Handle, Addr), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    fn connect(&mut self, _: &Addr, _: &ConnectOptions) -> Result<Handle, ConnectFault> {
        Err(ConnectFault::Connect(OsError::UNSUPPORTED))
    }

    fn receive(&mut self, handle: Handle, on: bool) {
        if let Some(end) = self.wire.borrow().open(handle) {
            end.receiving = on;
        }
    }

    fn send(&mut self, conn: Handle, out: Outgoing<'_>) -> Sent {
        let mut wire = self.wire.borrow();
        let Some(end) = wire.open(conn) else { return Sent::Failed(OsError::STALE) };
        #[cfg(test)]
        {
            end.sends += 1;
        }
        match out {
            Outgoing::Lent(bytes) => Sent::Now(end.take(bytes)),
            Outgoing::Vectored(pieces) => {
                Sent::Now(pieces.iter().map(|piece| end.take(piece)).sum())
            }
            Outgoing::Buffer(buffer, from) => {
                let len = end.take(&buffer[from..]);
                if from + len == buffer.len() {
                    return Sent::Now(len);
                }
                end.in_flight = Some((std::mem::take(buffer), from + len));
                Sent::InFlight(len)
            }
        }
    }

    fn reclaim(&mut self, conn: Handle) -> Vec<u8> {
        let mut wire = self.wire.borrow();
        wire.open(conn).map(|end| std::mem::take(&mut end.spent)).unwrap_or_default()
    }

    fn shutdown(&mut self, conn: Handle) -> Result<(), OsError> {
        self.wire.borrow().open(conn).ok_or(OsError::STALE)?.write_ended = true;
        Ok(())
    }

    fn close(&mut self, handle: Handle, how: Close) {
        if let Some(end) = self.wire.borrow().open(handle) {
            end.closed = Some(how);
        }
    }

    fn local_addr(&mut self, handle: Handle) -> Option<Addr> {
        self.wire.borrow().open(handle).map(|end| end.local.clone())
    }

    fn peer_addr(&mut self, handle: Handle) -> Option<Addr> {
        self.wire.borrow().open(handle).map(|end| end.peer.clone())
    }

    fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<(), OsError> {
        let mut wire = self.wire.borrow();
        let end = wire.open(handle).ok_or(OsError::STALE)?;
        match option {
            SocketOption::NoDelay(on) => end.no_delay = on,
            SocketOption::KeepAlive(on) => end.keep_alive = on,
            _ => return Err(OsError::UNSUPPORTED),
        }
        Ok(())
    }

    fn option(&mut self, handle: Handle, option: SocketOption) -> Result<SocketOption, OsError> {
        let mut wire = self.wire.borrow();
        let end = wire.open(handle).ok_or(OsError::STALE)?;
        Ok(match option {
            SocketOption::NoDelay(_) => SocketOption::NoDelay(end.no_delay),
            SocketOption::KeepAlive(_) => SocketOption::KeepAlive(end.keep_alive),
            _ => return Err(OsError::UNSUPPORTED),
        })
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Where the clock starts: not at zero, so that "a moment ago" exists from the beginning.
const START: Time = Time::from_nanos(1_000_000_000_000);
