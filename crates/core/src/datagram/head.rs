//! A socket's state whatever the type of its protocol, and everything a handle can do that calls nobody.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::batch::{Batch, Fault, may_be_anothers};
use super::transport::Endpoint;
use super::{DatagramError, SendFailed};
use crate::deferred::{Deferred, Resolver};
use crate::driver::{Close, Datagram, Handle, OsError};
use crate::reactor::after::After;
use crate::reactor::inner::Inner;
use crate::reactor::source::Entry;
use crate::{Addr, CloseReason, Destination};

/// What there is of a socket beside its protocol.
pub(super) struct Head {
    pub(super) inner: Rc<Inner>,
    pub(super) handle: Handle,
    pub(super) site: &'static Location<'static>,
    me: Weak<dyn Endpoint>,
    /// Whether an IPv6 socket takes IPv4 as well.
    takes_both: bool,
    usual: Cell<Usual>,
    local: RefCell<Addr>,
    peer: RefCell<Option<Addr>>,
    batch: RefCell<Option<Batch>>,
    held: RefCell<VecDeque<(Vec<u8>, Addr)>>,
    paused: Cell<bool>,
    closed: Cell<bool>,
    /// Whether the reactor will flush it when the turn ends.
    listed: Cell<bool>,
    reason: RefCell<Option<CloseReason>>,
    stopping: Cell<Vec<Resolver<()>>>,
}

/// Which addresses can be sent to without a closer look, as nearly all can: those of the family of a socket that is open and not connected.
#[derive(Clone, Copy)]
enum Usual {
    None,
    V4,
    V6,
}

/// Something that the protocol is told beside datagrams.
pub(super) enum Told {
    Started,
    Refused(OsError),
    SendFailed(SendFailed),
    Stopped(CloseReason),
}

impl Head {
    pub(super) fn new(
        inner: Rc<Inner>,
        handle: Handle,
        local: Addr,
        takes_both: bool,
        site: &'static Location<'static>,
        me: Weak<dyn Endpoint>,
    ) -> Self {
        let usual = match local {
            Addr::Ip(SocketAddr::V4(_)) => Usual::V4,
            Addr::Ip(SocketAddr::V6(_)) => Usual::V6,
            _ => Usual::None,
        };
        Self {
            inner,
            handle,
            site,
            me,
            takes_both,
            usual: Cell::new(usual),
            local: RefCell::new(local),
            peer: RefCell::new(None),
            batch: RefCell::new(None),
            held: RefCell::default(),
            paused: Cell::new(false),
            closed: Cell::new(false),
            listed: Cell::new(false),
            reason: RefCell::new(None),
            stopping: Cell::default(),
        }
    }

    // ---- sending

    /// Sends a datagram to a numeric address.
    #[inline(never)]
    pub(super) fn send_ip(&self, data: &[u8], to: &SocketAddr) -> Result<(), DatagramError> {
        let fits = match (self.usual.get(), to) {
            (Usual::V4, SocketAddr::V4(_)) => data.len() <= LONGEST_V4,
            (Usual::V6, SocketAddr::V6(_)) => data.len() <= LONGEST_V6,
            _ => false,
        };
        if !fits || to.port() == 0 {
            return self.send(data, Some((*to).into()));
        }
        if let Some(batch) = &mut *self.batch.borrow_mut()
            && !batch.is_full_for(data.len())
        {
            batch.push_ip(to, data);
            return Ok(());
        }
        self.enqueue(data, Some(Addr::Ip(*to)));
        Ok(())
    }

    #[inline(never)]
    pub(super) fn send(&self, data: &[u8], to: Option<Destination>) -> Result<(), DatagramError> {
        let to = self.checked(data.len(), to)?;
        self.enqueue(data, to);
        Ok(())
    }

    /// Has a datagram sent with the others, or with the next ones if there are enough of them.
    #[inline(never)]
    fn enqueue(&self, data: &[u8], to: Option<Addr>) {
        if self.batch.borrow().as_ref().is_some_and(|batch| batch.is_full_for(data.len())) {
            self.flush();
        }
        let mut slot = self.batch.borrow_mut();
        let batch = match &mut *slot {
            Some(batch) => batch,
            none => {
                if !self.listed.replace(true) {
                    self.inner.dirty(self.handle);
                }
                none.insert(self.inner.take_batch())
            }
        };
        batch.push(to, data);
    }

    pub(super) fn try_send(
        &self,
        data: &[u8],
        to: Option<Destination>,
    ) -> Result<(), DatagramError> {
        let to = self.checked(data.len(), to)?;
        // What was sent before leaves before.
        self.flush();
        let datagram = [Datagram { to: to.as_ref(), bytes: data }];
        let mut sent = self.inner.driver().send_datagrams(self.handle, &datagram);
        if let Err(error) = sent
            && may_be_anothers(error)
        {
            sent = self.inner.driver().send_datagrams(self.handle, &datagram);
            if to.is_none() && sent != Err(error) {
                // It was about an earlier one.
                self.tell_soon(Told::Refused(error));
            }
        }
        sent.map(drop).map_err(DatagramError::Os)
    }

    /// Sends what waits.
    pub(super) fn flush(&self) {
        let Some(mut batch) = self.batch.borrow_mut().take() else { return };
        let mut faults = Vec::new();
        batch.send(&mut **self.inner.driver(), self.handle, |fault| faults.push(fault));
        self.inner.give_batch(batch);
        for fault in faults {
            self.tell_soon(match fault {
                Fault::Refused(error) => Told::Refused(error),
                Fault::Dropped { to, error, count } => {
                    Told::SendFailed(SendFailed { to, error, dropped: count })
                }
            });
        }
    }

    /// The turn has ended.
    pub(super) fn flush_dirty(&self) {
        self.listed.set(false);
        self.flush();
    }

    /// Where a datagram is to go: nowhere in particular for the peer of a connected socket.
    fn checked(&self, len: usize, to: Option<Destination>) -> Result<Option<Addr>, DatagramError> {
        if self.closed.get() {
            return Err(DatagramError::Closed);
        }
        let limit = match &*self.local.borrow() {
            Addr::Ip(SocketAddr::V4(_)) => LONGEST_V4,
            Addr::Ip(SocketAddr::V6(_)) => LONGEST_V6,
            _ => usize::MAX,
        };
        if len > limit {
            return Err(DatagramError::TooLong { limit });
        }
        let to = match to {
            None => None,
            Some(to) => Some(self.reachable(to)?),
        };
        match (&*self.peer.borrow(), to) {
            (None, None) => {
                Err(invalid("", "there is no address, and the socket is not connected"))
            }
            (None, to) => Ok(to),
            (Some(_), None) => Ok(None),
            (Some(peer), Some(to)) if *peer == to => Ok(None),
            (Some(_), Some(to)) => {
                Err(invalid(&to.to_string(), "the socket is connected to another address"))
            }
        }
    }

    /// The address as this socket's family has it.
    fn reachable(&self, to: Destination) -> Result<Addr, DatagramError> {
        let to =
            to.into_addr().map_err(|other| invalid(&other.to_string(), "not a numeric address"))?;
        match (&*self.local.borrow(), &to) {
            (Addr::Ip(_), Addr::Ip(addr)) if addr.port() == 0 => {
                Err(invalid(&to.to_string(), "port zero"))
            }
            (Addr::Ip(SocketAddr::V4(_)), Addr::Ip(SocketAddr::V4(_)))
            | (Addr::Ip(SocketAddr::V6(_)), Addr::Ip(SocketAddr::V6(_))) => Ok(to),
            (Addr::Ip(SocketAddr::V6(_)), Addr::Ip(SocketAddr::V4(addr))) if self.takes_both => {
                let mapped = IpAddr::V6(addr.ip().to_ipv6_mapped());
                Ok(Addr::Ip(SocketAddr::new(mapped, addr.port())))
            }
            (Addr::Unix(_), Addr::Unix(path)) if !path.as_os_str().is_empty() => Ok(to),
            (Addr::Unix(_), Addr::Unix(_)) => {
                Err(invalid("", "an unnamed socket cannot be sent to"))
            }
            _ => Err(invalid(&to.to_string(), "the socket is of another family")),
        }
    }

    /// Names the one peer.
    pub(super) fn connect(&self, to: Destination) -> Result<(), DatagramError> {
        if self.closed.get() {
            return Err(DatagramError::Closed);
        }
        if self.peer.borrow().is_some() {
            return Err(DatagramError::AlreadyConnected);
        }
        let to = self.reachable(to)?;
        // What was sent before goes where it was sent.
        self.flush();
        let mut driver = self.inner.driver();
        driver.connect_datagram(self.handle, &to).map_err(DatagramError::Os)?;
        if let Some(local) = driver.local_addr(self.handle) {
            *self.local.borrow_mut() = local;
        }
        *self.peer.borrow_mut() = Some(to);
        self.usual.set(Usual::None);
        Ok(())
    }

    // ---- receiving

    pub(super) fn set_paused(&self, paused: bool) {
        if self.closed.get() || self.paused.replace(paused) == paused {
            return;
        }
        self.inner.driver().receive(self.handle, !paused);
        if !paused && !self.held.borrow().is_empty() {
            self.deliver_held_soon();
        }
    }

    /// Keeps datagrams that were received and may not be told now.
    pub(super) fn hold<'a>(&self, datagrams: impl Iterator<Item = &'a [u8]>, from: &Addr) {
        let mut held = self.held.borrow_mut();
        held.extend(datagrams.map(|datagram| (datagram.to_vec(), from.clone())));
    }

    /// The first of those, if they may be told now.
    pub(super) fn take_held(&self) -> Option<(Vec<u8>, Addr)> {
        if self.paused.get() || self.closed.get() {
            return None;
        }
        self.held.borrow_mut().pop_front()
    }

    #[inline]
    pub(super) fn holds(&self) -> bool {
        !self.held.borrow().is_empty()
    }

    pub(super) fn deliver_held_soon(&self) {
        let me = Weak::clone(&self.me);
        self.inner.after(After::Call(Box::new(move || {
            if let Some(me) = me.upgrade() {
                me.deliver_held();
            }
        })));
    }

    // ---- the end

    pub(super) fn end(&self, reason: CloseReason) {
        if self.closed.get() {
            return;
        }
        // What was sent before it is sent.
        self.flush();
        self.closed.set(true);
        self.usual.set(Usual::None);
        *self.reason.borrow_mut() = Some(reason);
        self.held.borrow_mut().clear();
        let entry = self.inner.remove(self.handle);
        self.inner.driver().close(self.handle, Close::Graceful);
        if matches!(entry, Entry::Other(_)) {
            self.inner.after(After::Lost(entry));
        }
    }

    pub(super) fn stop_listening(&self) -> Deferred<()> {
        if self.closed.get() && self.reason.borrow().is_none() {
            return Deferred::ready(());
        }
        let (deferred, resolver) = Deferred::new();
        let mut waiting = self.stopping.take();
        waiting.push(resolver);
        self.stopping.set(waiting);
        self.end(CloseReason::Done);
        deferred
    }

    /// Why it ended, once, and who waits to hear that.
    pub(super) fn take_ending(&self) -> (CloseReason, Vec<Resolver<()>>) {
        let reason = self.reason.borrow_mut().take().unwrap_or(CloseReason::Done);
        (reason, self.stopping.take())
    }

    // ---- small things

    /// Tells the protocol after the callback on the stack.
    pub(super) fn tell_soon(&self, told: Told) {
        let me = Weak::clone(&self.me);
        self.inner.after(After::Call(Box::new(move || {
            if let Some(me) = me.upgrade() {
                me.tell(&told);
            }
        })));
    }

    pub(super) fn local_addr(&self) -> Addr {
        self.local.borrow().clone()
    }

    pub(super) fn peer_addr(&self) -> Option<Addr> {
        self.peer.borrow().clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.peer.borrow().is_some()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// Whether the protocol may be told of a datagram now: receiving is not paused, nothing waits since it was, and the socket is open.
    #[inline]
    pub(super) fn may_be_told(&self) -> bool {
        !self.closed.get() && !self.paused.get() && !self.holds()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// An error for what cannot be done with a closed socket.
    pub(super) fn check_open(&self) -> io::Result<()> {
        if self.closed.get() { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

#[cold]
fn invalid(address: &str, why: &'static str) -> DatagramError {
    DatagramError::InvalidAddress { address: address.into(), why }
}

/// What fits behind the headers of IPv4, and of IPv6 without its jumbo option.
const LONGEST_V4: usize = 65_507;
const LONGEST_V6: usize = 65_527;
