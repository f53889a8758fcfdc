//! What every engine-owned stream has, whatever its protocol type: state, addresses, closing, reading, producers. Not generic, so
//! that it is compiled once. Output is in `output.rs`.
//!
//! Small on purpose: each idle connection pays for one. What few connections need lies in a box made on demand.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use super::account::Account;
use super::layered::Pending;
use super::output::Output;
use super::{AlreadyRegistered, AnyProtocol};
use crate::addr::CompactAddr;
use crate::descriptor::Descriptor;
use crate::driver::{Close, Handle, OsError, SocketOption};
use crate::flow::Producer;
use crate::layer::Layers;
use crate::panic::guard_quietly;
use crate::policy::Watch;
use crate::reactor::after::{After, Ask};
use crate::reactor::inner::Inner;
use crate::reactor::source::Entry;
use crate::timers::Key;
use crate::{Addr, CloseReason, Time};

/// State bits of a stream.
pub(crate) mod flag {
    /// `pause_reading` is in force.
    pub(crate) const PAUSED: u32 = 1;
    /// `lose_connection` was called.
    pub(crate) const CLOSING: u32 = 1 << 1;
    /// `lose_write_connection` was called, and has not happened yet.
    pub(crate) const WRITE_CLOSING: u32 = 1 << 2;
    /// The write side has ended.
    pub(crate) const WRITE_CLOSED: u32 = 1 << 3;
    /// The peer's stream has ended.
    pub(crate) const READ_CLOSED: u32 = 1 << 4;
    /// The driver's handle is closed; `connection_lost` follows.
    pub(crate) const LOST: u32 = 1 << 5;
    /// There is an `Output`: bytes are queued or in flight.
    pub(crate) const HAS_OUTPUT: u32 = 1 << 6;
    /// On the reactor's list of those to flush at the end of the turn.
    pub(crate) const DIRTY: u32 = 1 << 7;
    /// Bytes, or descriptors, are held on the protocol's side.
    pub(crate) const HELD: u32 = 1 << 8;
    /// There are layers, or will be after this callback.
    pub(crate) const LAYERED: u32 = 1 << 9;
    /// A producer is registered.
    pub(crate) const PRODUCER: u32 = 1 << 10;
    /// It is a pull producer.
    pub(crate) const PULL: u32 = 1 << 11;
    /// The push producer is to pause.
    pub(crate) const PRODUCER_PAUSED: u32 = 1 << 12;
    /// `notify_writable` was called.
    pub(crate) const WANT_WRITABLE: u32 = 1 << 13;
    /// A pump of the layers' output is queued.
    pub(crate) const PUMPING: u32 = 1 << 14;
    /// The layers have said goodbye.
    pub(crate) const LAYERS_CLOSED: u32 = 1 << 15;
    /// The stream has ended above the layers, but what came before the end is still held.
    pub(crate) const END_HELD: u32 = 1 << 16;
    /// The push producer was told to pause, and not yet to resume.
    pub(crate) const PAUSE_TOLD: u32 = 1 << 17;
    /// A byte budget is spent, and not yet half free.
    pub(crate) const SPENT: u32 = 1 << 18;
    /// The protocol has accounted for input that it holds.
    pub(crate) const ACCOUNTED: u32 = 1 << 19;
    /// Nothing is read until half of the budget that is spent is free.
    pub(crate) const HELD_UP: u32 = 1 << 21;
    /// A file is the next to pass layers or policies: all that is written waits behind it.
    pub(crate) const FILE_WAITS: u32 = 1 << 20;
    /// What was given back is delivered again after the callback that did so.
    pub(crate) const COMES_AGAIN: u32 = 1 << 22;
    /// Another protocol takes over after this callback.
    pub(crate) const CHANGES_HANDS: u32 = 1 << 23;
    /// There are policies that want to know when bytes move, or more. Not set in a callback whose bytes have a short way past them.
    pub(crate) const POLICED: u32 = 1 << 24;
    /// Policies want to see or limit what is received.
    pub(crate) const LOOK_RECEIVED: u32 = 1 << 25;
    /// Policies want to see or limit what is written, or will after this callback. Stays: no policy is ever taken away.
    pub(crate) const LOOK_WRITTEN: u32 = 1 << 26;
    /// Policies hold received bytes, and nothing is read.
    pub(crate) const READ_HELD: u32 = 1 << 27;
    /// Policies know that the connection closes.
    pub(crate) const CLOSE_TOLD: u32 = 1 << 28;
    /// There are policies, or will be after this callback.
    pub(crate) const STACKED: u32 = 1 << 29;
    /// Policies may want something new.
    pub(crate) const HEED: u32 = 1 << 30;
    /// Policies want more than to know when bytes move.
    pub(crate) const LOOK: u32 = LOOK_RECEIVED | LOOK_WRITTEN;

    /// What is written passes layers or policies, behind all that waits before those.
    pub(crate) const BEHIND: u32 = LAYERED | LOOK_WRITTEN;
    /// What takes a write off the short way through the cork.
    pub(crate) const SLOW_WRITE: u32 = CLOSING
        | WRITE_CLOSING
        | WRITE_CLOSED
        | LOST
        | HAS_OUTPUT
        | LAYERED
        | PULL
        | PUMPING
        | FILE_WAITS
        | POLICED;
    /// What makes a write do nothing, unless a producer is registered that the close waits for.
    pub(crate) const NO_WRITE: u32 = CLOSING | WRITE_CLOSING | WRITE_CLOSED | LOST;
    /// What takes received bytes off the short way to the protocol.
    pub(crate) const SLOW_READ: u32 =
        NOT_READING | CLOSING | READ_CLOSED | LOST | HELD | LAYERED | POLICED;
    /// What makes received bytes wait.
    pub(crate) const NOT_READING: u32 = PAUSED | HELD_UP;
    /// What makes received bytes go nowhere.
    pub(crate) const NO_READ: u32 = CLOSING | READ_CLOSED | LOST;
}

/// A push producer is paused when more than so many bytes wait to leave.
pub(crate) const HIGH_WATER: usize = 65_536;

/// The part of a stream that does not depend on its protocol's type.
#[doc(hidden)]
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "named in a public trait, but not for users"
)]
pub struct Head {
    pub(super) reactor: Rc<Inner>,
    pub(super) handle: Handle,
    pub(super) flags: Cell<u32>,
    peer: CompactAddr,
    site: &'static Location<'static>,
    pub(super) output: Cell<Option<Box<Output>>>,
    pub(super) extra: Cell<Option<Box<Extra>>>,
}

/// What few streams need.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) reason: Option<CloseReason>,
    /// Bytes for the protocol: given back by it, or held while it was paused.
    pub(super) held: Vec<u8>,
    /// Descriptors for the protocol, which come before those bytes.
    pub(super) descriptors: VecDeque<Descriptor>,
    producer: Option<Rc<dyn Producer>>,
    pub(super) layers: Layers,
    /// What waits to go down through the layers, in order.
    pub(super) pending: VecDeque<Pending>,
    pub(super) pending_bytes: usize,
    /// When bytes last moved, if a policy wants to know.
    pub(super) active: Time,
    /// What the policies want to be told or asked.
    pub(super) watch: Watch,
    /// The policies' timer, and when it comes.
    pub(super) timer: Option<(Key, Time)>,
    /// The reason a policy closes for.
    pub(super) planned: Option<CloseReason>,
    /// The type of the protocol that took over from the first, and its name.
    successor: Option<(TypeId, &'static str)>,
    pub(super) account: Account,
    /// Told after the protocol that the connection has ended.
    on_lost: Option<OnLost>,
}

pub(crate) type OnLost = Box<dyn FnOnce(CloseReason)>;

impl Head {
    pub(crate) fn new(
        reactor: Rc<Inner>,
        handle: Handle,
        peer: Addr,
        site: &'static Location<'static>,
    ) -> Self {
        Self {
            reactor,
            handle,
            flags: Cell::new(0),
            peer: peer.into(),
            site,
            output: Cell::new(None),
            extra: Cell::new(None),
        }
    }

    pub(crate) fn reactor(&self) -> &Rc<Inner> {
        &self.reactor
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.site
    }

    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags.get() & flags != 0
    }

    pub(crate) fn set(&self, flags: u32) {
        self.flags.set(self.flags.get() | flags);
    }

    pub(super) fn unset(&self, flags: u32) {
        self.flags.set(self.flags.get() & !flags);
    }

    /// Works on the box of what few streams need. No user code may run inside `f`.
    pub(super) fn extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        let result = f(&mut extra);
        self.extra.set(Some(extra));
        result
    }

    /// Looks into it, if there is one.
    pub(super) fn peek<R>(&self, f: impl FnOnce(&Extra) -> R) -> Option<R> {
        let extra = self.extra.take();
        let result = extra.as_deref().map(f);
        self.extra.set(extra);
        result
    }

    pub(super) fn after(&self, after: After) {
        self.reactor.after(after);
    }

    // ---- the end

    pub(crate) fn lose_connection(&self) {
        if self.has(flag::CLOSING | flag::LOST) {
            return;
        }
        self.set(flag::CLOSING);
        self.reactor.driver().receive(self.handle, false);
        self.after(After::Finish(self.handle));
    }

    pub(crate) fn lose_write_connection(&self) {
        if self.has(flag::NO_WRITE) {
            return;
        }
        self.set(flag::WRITE_CLOSING);
        self.after(After::Finish(self.handle));
    }

    pub(crate) fn abort_connection(&self) {
        self.lost(CloseReason::Aborted, Close::Reset);
    }

    /// The connection has come to its end: closes the driver's handle and lets `connection_lost` follow, once.
    pub(crate) fn lost(&self, reason: CloseReason, how: Close) {
        if self.has(flag::LOST) {
            return;
        }
        self.set(flag::LOST);
        self.cancel_timer();
        self.reactor.uncork(self.handle);
        if self.has(flag::HAS_OUTPUT | flag::LAYERED | flag::STACKED) {
            self.end_files(&reason);
        }
        self.unset(flag::HAS_OUTPUT | flag::FILE_WAITS);
        self.close_account();
        self.extra(|extra| extra.reason = Some(reason));
        self.reactor.driver().close(self.handle, how);
        let entry = self.reactor.remove(self.handle);
        if let Entry::Stream(transport) = &entry {
            // If it is one of its own callbacks that ends it, that one is still to be named.
            transport.engine(|stream| {
                self.reactor.beat.departs(self.handle, stream.protocol_name(), self.peer_addr());
            });
        }
        self.after(After::Lost(entry));
    }

    /// A callback panicked: ends the connection, and is the reason even if the same callback had ended it before.
    pub(crate) fn panicked(&self, message: Rc<str>) {
        let reason = CloseReason::Panicked(message);
        if self.has(flag::LOST) {
            self.extra(|extra| {
                // Once connection_lost was told, there is nobody left to tell.
                if let Some(kept) = &mut extra.reason {
                    *kept = reason;
                }
            });
        } else {
            self.lost(reason, Close::Reset);
        }
    }

    /// What `connection_lost` and the producer are to be told, once.
    pub(super) fn take_ending(&self) -> (CloseReason, Option<Rc<dyn Producer>>, Option<OnLost>) {
        self.unset(flag::PRODUCER | flag::PULL);
        self.extra(|extra| {
            let reason = extra.reason.take().unwrap_or(CloseReason::Stopped);
            (reason, extra.producer.take(), extra.on_lost.take())
        })
    }

    /// The box of what few streams need, to be dropped by the caller outside every borrow.
    pub(super) fn take_extra(&self) -> Option<Box<Extra>> {
        self.extra.take()
    }

    pub(crate) fn on_lost(&self, f: OnLost) {
        self.extra(|extra| extra.on_lost = Some(f));
    }

    // ---- reading

    pub(crate) fn pause_reading(&self) {
        if self.has(flag::PAUSED | flag::LOST) {
            return;
        }
        self.set(flag::PAUSED);
        if !self.has(flag::NO_READ | flag::HELD_UP) {
            self.reactor.driver().receive(self.handle, false);
        }
    }

    pub(crate) fn resume_reading(&self) {
        if !self.has(flag::PAUSED) || self.has(flag::CLOSING | flag::LOST) {
            return;
        }
        self.unset(flag::PAUSED);
        if self.has(flag::HELD_UP) {
            return;
        }
        if !self.has(flag::READ_CLOSED | flag::READ_HELD) {
            self.reactor.driver().receive(self.handle, true);
        }
        if self.has(flag::HELD | flag::END_HELD) {
            self.after(After::Held(self.handle));
        }
    }

    /// Bytes the protocol did not use.
    pub(crate) fn unread(&self, bytes: &[u8]) {
        if bytes.is_empty() || self.has(flag::CLOSING | flag::LOST) {
            return;
        }
        let before = self.charged();
        self.extra(|extra| {
            // What is given back was received before what is held.
            extra.held.splice(0..0, bytes.iter().copied());
        });
        self.set(flag::HELD);
        let comes_again = flag::NOT_READING | flag::COMES_AGAIN;
        if !self.has(comes_again) && self.corked_too_much() {
            // Given back until what was written has left, which may be right after this callback.
            self.set(flag::COMES_AGAIN);
            self.after(After::Held(self.handle));
        }
        self.held_changed(before);
    }

    /// Bytes that arrived while they could not be delivered.
    pub(super) fn hold(&self, bytes: &[u8]) {
        let before = self.charged();
        self.extra(|extra| extra.held.extend_from_slice(bytes));
        self.set(flag::HELD);
        self.held_changed(before);
    }

    pub(super) fn take_held(&self) -> Vec<u8> {
        if !self.has(flag::HELD) {
            return Vec::new();
        }
        let before = self.charged();
        let held = self.extra(|extra| {
            if extra.descriptors.is_empty() {
                self.unset(flag::HELD);
            }
            std::mem::take(&mut extra.held)
        });
        self.held_changed(before);
        held
    }

    // ---- hand-over

    pub(crate) fn replace_protocol(&self, next: Box<dyn AnyProtocol>, rest: &[u8]) {
        // A protocol for a connection that has ended is dropped here, outside every borrow.
        if self.has(flag::LOST) {
            return;
        }
        self.unread(rest);
        self.set(flag::CHANGES_HANDS);
        self.after(After::Upgrade(self.handle, next));
    }

    /// Another protocol has taken over.
    pub(super) fn set_successor(&self, protocol: TypeId, name: &'static str) {
        self.extra(|extra| extra.successor = Some((protocol, name)));
        self.reactor.beat.note(self.handle, name);
    }

    /// The type of the protocol that has taken over, if one has.
    pub(super) fn successor(&self) -> Option<TypeId> {
        self.extra(|extra| extra.successor).map(|(protocol, _)| protocol)
    }

    /// The name of its type.
    pub(super) fn successor_name(&self) -> Option<&'static str> {
        self.extra(|extra| extra.successor).map(|(_, name)| name)
    }

    // ---- producers

    pub(crate) fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        streaming: bool,
    ) -> Result<(), AlreadyRegistered> {
        if self.has(flag::LOST) {
            let stop = move || producer.stop_producing();
            if self.reactor.is_over() {
                guard_quietly("stop_producing", stop);
            } else {
                self.after(After::Call(Box::new(stop)));
            }
            return Ok(());
        }
        if self.has(flag::PRODUCER) {
            return Err(AlreadyRegistered);
        }
        self.extra(|extra| extra.producer = Some(producer));
        self.unset(flag::PRODUCER_PAUSED | flag::PAUSE_TOLD);
        if streaming {
            self.set(flag::PRODUCER);
            self.check_high_water();
        } else {
            self.set(flag::PRODUCER | flag::PULL);
            // One that is held asks when it goes on.
            if !self.has(flag::SPENT) {
                self.after(After::Producer(self.handle, Ask::Resume));
            }
        }
        Ok(())
    }

    pub(crate) fn unregister_producer(&self) {
        if !self.has(flag::PRODUCER) {
            return;
        }
        self.unset(flag::PRODUCER | flag::PULL | flag::PRODUCER_PAUSED);
        let producer = self.extra(|extra| extra.producer.take());
        if self.has(flag::CLOSING | flag::WRITE_CLOSING) {
            self.after(After::Finish(self.handle));
        }
        drop(producer);
    }

    /// The producer, if it is still to be asked for this. (What was to be asked may be out of date, or have been meant for the one before.)
    pub(super) fn producer_for(&self, ask: Ask) -> Option<Rc<dyn Producer>> {
        let (pause, told) = (self.has(flag::PRODUCER_PAUSED), self.has(flag::PAUSE_TOLD));
        let wanted = match ask {
            Ask::Pause => pause && !told,
            Ask::Resume => self.has(flag::PULL) || (told && !pause),
        };
        if !wanted || !self.has(flag::PRODUCER) || self.has(flag::LOST) {
            return None;
        }
        match ask {
            Ask::Pause => self.set(flag::PAUSE_TOLD),
            Ask::Resume => self.unset(flag::PAUSE_TOLD),
        }
        self.extra(|extra| extra.producer.clone())
    }

    // ---- looking

    pub(crate) fn peer_addr(&self) -> Addr {
        (&self.peer).into()
    }

    pub(crate) fn local_addr(&self) -> Option<Addr> {
        if self.has(flag::LOST) {
            return None;
        }
        self.reactor.driver().local_addr(self.handle)
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.has(flag::CLOSING | flag::LOST)
    }

    pub(crate) fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.socket()?;
        Ok(self.reactor.driver().set_option(self.handle, option)?)
    }

    pub(crate) fn option(&self, option: SocketOption) -> io::Result<SocketOption> {
        self.socket()?;
        Ok(self.reactor.driver().option(self.handle, option)?)
    }

    fn socket(&self) -> io::Result<()> {
        if self.has(flag::LOST) { Err(OsError::STALE.into()) } else { Ok(()) }
    }
}
