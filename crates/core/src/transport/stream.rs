//! The engine's own transport: one allocation holds a connection's state and its protocol. Only what needs the protocol's type is here.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

#[cfg(unix)]
use super::DescriptorError;
use super::head::{Head, flag};
use super::{AlreadyRegistered, AnyProtocol, Entered, RawTransport, Sending, Transport};
use crate::driver::{Close, Completion, SocketOption};
use crate::flow::Producer;
use crate::layer::{Layer, Layers, Passed};
use crate::panic::{guard, guard_quietly};
use crate::policy::{Placed, Policy, Watch};
use crate::reactor::after::{After, Ask};
use crate::reactor::beat::{Callback, Outer};
use crate::reactor::source::Open;
use crate::{Addr, CloseReason, Protocol, Reactor};

/// A connection of the driver's with its protocol.
pub(crate) struct Stream<P> {
    pub(super) head: Head,
    /// Borrowed while a callback of the protocol is on the stack, and then only: that is how no second one can start.
    slot: RefCell<Slot<P>>,
}

/// The owner of a connection.
enum Slot<P> {
    /// The one it was made with.
    First(P),
    /// One that took over.
    Next(Box<dyn AnyProtocol>),
    /// The connection has ended.
    Gone,
}

/// What a protocol can be told, data apart.
pub(crate) enum Told<'a> {
    Made,
    ReadLost,
    WriteLost,
    Writable,
    Lost(&'a CloseReason),
}

impl Told<'_> {
    fn callback(&self) -> Callback {
        match self {
            Self::Made => Callback::ConnectionMade,
            Self::ReadLost => Callback::ReadConnectionLost,
            Self::WriteLost => Callback::WriteConnectionLost,
            Self::Writable => Callback::Writable,
            Self::Lost(_) => Callback::ConnectionLost,
        }
    }
}

impl<P: Protocol> Stream<P> {
    pub(crate) fn new(head: Head, protocol: P) -> Self {
        Self { head, slot: RefCell::new(Slot::First(protocol)) }
    }

    /// One whose first protocol is of another type.
    pub(crate) fn of_another(head: Head, protocol: Box<dyn AnyProtocol>) -> Self {
        head.set_successor((*protocol).protocol_type(), (*protocol).type_name());
        Self { head, slot: RefCell::new(Slot::Next(protocol)) }
    }

    /// Lends bytes to the protocol.
    #[inline]
    fn give(&self, me: &Transport, bytes: &[u8]) {
        let result = {
            let Ok(mut slot) = self.slot.try_borrow_mut() else { return };
            guard(|| match &mut *slot {
                Slot::First(protocol) => protocol.data_received(me, bytes),
                Slot::Next(protocol) => protocol.data_received(me, bytes),
                Slot::Gone => {}
            })
        };
        if let Err(message) = result {
            self.panicked("data_received", message);
        }
    }

    /// Lets the protocol in charge hear something; `name` is for the log.
    pub(super) fn with_protocol(
        &self,
        name: &str,
        f: impl FnOnce(&mut dyn AnyProtocol) -> Result<(), Rc<str>>,
    ) {
        let result = {
            let Ok(mut slot) = self.slot.try_borrow_mut() else { return };
            match &mut *slot {
                Slot::First(protocol) => f(protocol),
                Slot::Next(protocol) => f(&mut **protocol),
                Slot::Gone => return,
            }
        };
        if let Err(message) = result {
            self.panicked(name, message);
        }
    }

    #[cold]
    #[inline(never)]
    fn panicked(&self, callback: &str, message: Rc<str>) {
        let protocol = self.type_name();
        let peer = self.head.peer_addr();
        crate::log::engine::callback_panicked(protocol, &peer, callback, &message);
        self.head.panicked(message);
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.slot.try_borrow().as_deref() {
            Ok(Slot::Next(protocol)) => protocol.type_name(),
            Ok(Slot::First(_)) => std::any::type_name::<P>(),
            // A callback is on the stack, or it was the last.
            _ => self.head.successor_name().unwrap_or_else(std::any::type_name::<P>),
        }
    }

    /// Received bytes that cannot go straight to the protocol.
    #[cold]
    fn deliver_slow(&self, me: &Transport, bytes: &[u8]) {
        if self.head.has(flag::NO_READ) {
            return;
        }
        if !self.head.has(flag::LAYERED | flag::POLICED) {
            return self.deliver_plain(me, bytes);
        }
        if !self.head.is_filtered() {
            return self.deliver_looked(me, bytes);
        }
        let passed = self.head.through_layers(bytes);
        self.deliver_passed(me, &passed);
    }

    /// Bytes pass policies that only look at them: they stay lent, and so do those that the callback writes.
    fn deliver_looked(&self, me: &Transport, bytes: &[u8]) {
        self.head.show_received(bytes);
        let written = self.head.watched();
        // What waits to pass the policies is not to be overtaken.
        let waits = self.head.has(flag::PUMPING | flag::FILE_WAITS);
        let short = !written.meets(Watch::LIMIT_WRITTEN) && !waits;
        if short {
            self.head.unset(flag::POLICED);
        }
        self.deliver_plain(me, bytes);
        if short {
            self.head.end_short_way();
            if written.meets(Watch::WRITTEN) {
                self.head.show_corked(bytes);
            }
        }
    }

    /// Bytes whose arrival is all that the policies want to know.
    #[inline(never)]
    fn deliver_policed(&self, me: &Transport, bytes: &[u8]) {
        if !self.head.begin_short_way() {
            return self.deliver_timed(me, bytes);
        }
        self.give(me, bytes);
        self.head.end_short_way();
    }

    /// The same where the clock is to be read first. Apart: whatever is kept over that call would be pushed and popped for all.
    #[inline(never)]
    fn deliver_timed(&self, me: &Transport, bytes: &[u8]) {
        self.head.reactor().now();
        if !self.head.begin_short_way() {
            return self.deliver_slow(me, bytes);
        }
        self.give(me, bytes);
        self.head.end_short_way();
    }

    /// What came out of the layers goes to the protocol, and so does the end of the stream if it was in there.
    fn deliver_passed(&self, me: &Transport, passed: &Passed) {
        if !passed.up.is_empty() {
            // Perhaps long after they came.
            let outer = self.begin(Callback::DataReceived);
            self.deliver_plain(me, &passed.up);
            self.head.reactor().beat.end(outer);
        }
        if passed.end {
            self.end_of_stream(me);
        }
    }

    /// Bytes for the protocol, as far as it takes any now.
    fn deliver_plain(&self, me: &Transport, bytes: &[u8]) {
        if self.head.has(flag::NO_READ) {
            return;
        }
        if self.head.has(flag::NOT_READING) {
            return self.head.hold(bytes);
        }
        if self.head.has(flag::HELD) {
            let mut joined = self.head.take_held();
            joined.extend_from_slice(bytes);
            return self.give(me, &joined);
        }
        self.give(me, bytes);
    }

    /// The peer has ended its stream, as seen above the layers.
    fn end_of_stream(&self, me: &Transport) {
        if self.head.has(flag::NO_READ) {
            return;
        }
        if self.head.has(flag::NOT_READING) {
            return self.head.set(flag::END_HELD);
        }
        self.head.set(flag::READ_CLOSED);
        self.head.reactor().driver().receive(self.head.handle(), false);
        self.tell(me, &Told::ReadLost);
        self.close_if_both_ended();
    }

    /// The end of the stream that waited for a resume, or for another protocol, is told.
    fn end_was_held(&self, me: &Transport) {
        if !self.head.has(flag::READ_CLOSED) {
            self.end_of_stream(me);
        } else if !self.head.has(flag::CLOSING | flag::LOST) {
            self.tell(me, &Told::ReadLost);
            self.close_if_both_ended();
        }
    }

    /// Another protocol takes over.
    fn hand_over(&self, me: &Transport, next: Box<dyn AnyProtocol>) {
        // Only called from the loop, when no callback is on the stack.
        let Ok(mut slot) = self.slot.try_borrow_mut() else { return };
        self.head.unset(flag::CHANGES_HANDS);
        self.head.set_successor((*next).protocol_type(), (*next).type_name());
        // The slot stays borrowed, so that nobody reaches the next one before it is told that the connection is its own.
        let old = std::mem::replace(&mut *slot, Slot::Gone);
        self.say_farewell(me, old, &CloseReason::Upgraded);
        if self.head.has(flag::LOST) {
            drop(slot);
            return guard_quietly("drop", || drop(next));
        }
        self.head.account_held(0);
        *slot = Slot::Next(next);
        drop(slot);
        self.tell(me, &Told::Made);
        if self.head.has(flag::READ_CLOSED) {
            // The end of the stream is told to the one who is in charge from now on, too: after the bytes before it.
            self.head.set(flag::END_HELD);
        }
        if self.head.has(flag::HELD | flag::END_HELD) {
            self.head.after(After::Held(self.head.handle()));
        }
    }

    fn close_if_both_ended(&self) {
        if self.head.has(flag::READ_CLOSED) && self.head.has(flag::WRITE_CLOSED) {
            self.head.lost(CloseReason::Done, Close::Graceful);
        }
    }

    fn tell(&self, me: &Transport, what: &Told<'_>) {
        let outer = self.begin(what.callback());
        let (name, result) = {
            let Ok(mut slot) = self.slot.try_borrow_mut() else {
                return self.head.reactor().beat.end(outer);
            };
            let protocol: &mut dyn AnyProtocol = match &mut *slot {
                Slot::First(protocol) => protocol,
                Slot::Next(protocol) => &mut **protocol,
                Slot::Gone => return self.head.reactor().beat.end(outer),
            };
            tell(protocol, me, what)
        };
        self.head.reactor().beat.end(outer);
        if let Err(message) = result {
            self.panicked(name, message);
        }
    }

    /// A callback of this connection's begins.
    pub(super) fn begin(&self, callback: Callback) -> Outer {
        self.head.reactor().beat.begin(callback, Some(self.head.handle()))
    }

    /// Takes the protocol out, for good or for another.
    fn replace(&self, next: Slot<P>) -> Slot<P> {
        match self.slot.try_borrow_mut() {
            Ok(mut slot) => std::mem::replace(&mut *slot, next),
            // Only called from the loop, when no callback is on the stack.
            Err(_) => Slot::Gone,
        }
    }

    /// Tells a protocol that was taken out its end, and drops it.
    fn say_farewell(&self, me: &Transport, mut slot: Slot<P>, reason: &CloseReason) {
        let protocol: &mut dyn AnyProtocol = match &mut slot {
            Slot::First(protocol) => protocol,
            Slot::Next(protocol) => &mut **protocol,
            Slot::Gone => return,
        };
        let type_name = protocol.type_name();
        let (beat, outer) = (&self.head.reactor().beat, self.begin(Callback::ConnectionLost));
        // Its place in the table may be another's by now.
        beat.departs(self.head.handle(), type_name, self.head.peer_addr());
        let (name, told) = tell(protocol, me, &Told::Lost(reason));
        let dropped = guard(|| drop(slot));
        beat.end(outer);
        for (callback, result) in [(name, told), ("drop", dropped)] {
            if let Err(message) = result {
                let peer = self.head.peer_addr();
                crate::log::engine::callback_panicked(type_name, &peer, callback, &message);
            }
        }
    }
}

fn tell(
    protocol: &mut dyn AnyProtocol,
    transport: &Transport,
    what: &Told<'_>,
) -> (&'static str, Result<(), Rc<str>>) {
    match what {
        Told::Made => ("connection_made", guard(|| protocol.connection_made(transport))),
        Told::ReadLost => {
            ("read_connection_lost", guard(|| protocol.read_connection_lost(transport)))
        }
        Told::WriteLost => {
            ("write_connection_lost", guard(|| protocol.write_connection_lost(transport)))
        }
        Told::Writable => ("writable", guard(|| protocol.writable(transport))),
        Told::Lost(reason) => {
            ("connection_lost", guard(|| protocol.connection_lost(transport, reason)))
        }
    }
}

/// What the engine asks of its streams, whatever the type of their protocol. `me` is the stream's own transport.
#[doc(hidden)]
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "named in a public trait, but not for users"
)]
pub trait EngineStream {
    #[doc(hidden)]
    fn head(&self) -> &Head;
    #[doc(hidden)]
    fn completed(&self, me: &Transport, completion: Completion);
    #[doc(hidden)]
    fn made(&self, me: &Transport);
    #[doc(hidden)]
    fn after(&self, me: &Transport, after: After);
    #[doc(hidden)]
    fn lost(&self, me: &Transport);
    #[doc(hidden)]
    fn end(&self, reason: CloseReason);
    #[doc(hidden)]
    fn describe(&self) -> Open;
    #[doc(hidden)]
    fn protocol_name(&self) -> &'static str;
}

impl<P: Protocol> EngineStream for Stream<P> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn completed(&self, me: &Transport, completion: Completion) {
        match completion {
            Completion::Sent { len, done, .. } => self.head.sent(len, done),
            Completion::FileFailed { error, .. } => self.head.file_failed(error),
            Completion::ReceivedWith { lost, .. } => self.descriptors_came(me, lost),
            Completion::ReadClosed { .. } => {
                if self.head.has(flag::NO_READ) {
                    return;
                }
                if self.head.has(flag::LAYERED | flag::STACKED) {
                    let passed = self.head.layers_end_of_input();
                    return self.deliver_passed(me, &passed);
                }
                self.end_of_stream(me);
            }
            Completion::Failed { error, .. } => {
                self.head.lost(CloseReason::Lost(error), Close::Reset);
            }
            _ => {}
        }
    }

    fn made(&self, me: &Transport) {
        self.tell(me, &Told::Made);
    }

    fn after(&self, me: &Transport, after: After) {
        match after {
            After::Finish(_) if self.head.finish() => {
                self.tell(me, &Told::WriteLost);
                self.close_if_both_ended();
            }
            After::Flush(_) => self.head.flush(),
            After::Pump(_) => {
                let passed = self.head.pump();
                self.deliver_passed(me, &passed);
            }
            After::PoliciesDue(_) => {
                self.head.timer_came();
                let passed = self.head.policies_due();
                self.deliver_passed(me, &passed);
            }
            After::Policies(_) => {
                let passed = self.head.policies_due();
                self.deliver_passed(me, &passed);
            }
            After::Descriptor(handle) if self.give_descriptor(me) => {
                self.head.after(After::Descriptor(handle));
            }
            After::Held(handle) => {
                self.head.unset(flag::COMES_AGAIN);
                let waits = flag::NOT_READING | flag::CHANGES_HANDS;
                if self.head.has(waits | flag::CLOSING | flag::LOST) {
                    return;
                }
                if self.give_descriptor(me) {
                    return self.head.after(After::Held(handle));
                }
                let held = self.head.take_held();
                if !held.is_empty() {
                    self.head.reactor().lend(&held);
                    let outer = self.begin(Callback::DataReceived);
                    self.give(me, &held);
                    self.head.reactor().beat.end(outer);
                    self.head.reactor().flush_lent(&held);
                }
                // Bytes that were just given back do not hold up the end, unless they come again by themselves: nothing else would bring it.
                let waits = self.head.has(flag::NOT_READING | flag::COMES_AGAIN);
                if self.head.has(flag::END_HELD) && !waits {
                    self.head.unset(flag::END_HELD);
                    self.end_was_held(me);
                }
            }
            After::Upgrade(_, next) => self.hand_over(me, next),
            After::Producer(_, ask) => {
                let Some(producer) = self.head.producer_for(ask) else { return };
                let outer = self.begin(Callback::Producer);
                let result = guard(|| match ask {
                    Ask::Pause => producer.pause_producing(),
                    Ask::Resume => producer.resume_producing(),
                });
                self.head.reactor().beat.end(outer);
                if let Err(message) = result {
                    self.panicked("producer", message);
                }
            }
            After::Writable(_) if self.head.wants_writable() => {
                self.head.unset(flag::WANT_WRITABLE);
                self.tell(me, &Told::Writable);
            }
            _ => {}
        }
    }

    fn lost(&self, me: &Transport) {
        let (reason, producer, on_lost) = self.head.take_ending();
        if let Some(producer) = producer {
            let stop = || guard_quietly("stop_producing", || producer.stop_producing());
            self.head.reactor().beat.around(Callback::Producer, stop);
        }
        let slot = self.replace(Slot::Gone);
        self.say_farewell(me, slot, &reason);
        self.head.policies_lost(&reason);
        if let Some(on_lost) = on_lost {
            let tell = || guard_quietly("factory", || on_lost(reason));
            self.head.reactor().beat.around(Callback::Factory, tell);
        }
        let extra = self.head.take_extra();
        guard_quietly("drop", || drop(extra));
    }

    fn end(&self, reason: CloseReason) {
        self.head.lost(reason, Close::Graceful);
    }

    fn describe(&self) -> Open {
        let name = self.type_name();
        Open::new("connection", format!("{name} with {}", self.head.peer_addr()), self.head.site())
    }

    fn protocol_name(&self) -> &'static str {
        self.type_name()
    }
}

impl<P: Protocol> RawTransport for Stream<P> {
    #[inline]
    fn __deliver(&self, me: &Transport, bytes: &[u8]) {
        if self.head.has(flag::SLOW_READ) {
            self.deliver_policed(me, bytes);
        } else {
            self.give(me, bytes);
        }
    }

    fn __engine(&self) -> Option<&dyn EngineStream> {
        Some(self)
    }

    #[inline]
    fn write(&self, bytes: &[u8]) {
        self.head.write(bytes);
    }

    fn write_owned(&self, bytes: Vec<u8>) {
        self.head.write_owned(bytes);
    }

    fn send_file(&self, file: Box<Sending>) {
        self.head.send_file(file);
    }

    fn lose_connection(&self) {
        self.head.lose_connection();
    }

    fn abort_connection(&self) {
        self.head.abort_connection();
    }

    fn lose_write_connection(&self) {
        self.head.lose_write_connection();
    }

    fn pause_reading(&self) {
        self.head.pause_reading();
    }

    fn resume_reading(&self) {
        self.head.resume_reading();
    }

    fn is_paused(&self) -> bool {
        self.head.has(flag::PAUSED)
    }

    fn unread(&self, bytes: &[u8]) {
        self.head.unread(bytes);
    }

    fn is_reading(&self) -> bool {
        !self.head.has(flag::NOT_READING) && !self.head.corked_too_much()
    }

    fn set_budget(&self, bytes: usize) {
        self.head.set_budget(bytes);
    }

    fn account_held(&self, bytes: usize) {
        self.head.account_held(bytes);
    }

    fn peer_addr(&self) -> Addr {
        self.head.peer_addr()
    }

    fn local_addr(&self) -> Option<Addr> {
        self.head.local_addr()
    }

    fn is_open(&self) -> bool {
        self.head.is_open()
    }

    fn pending(&self) -> usize {
        self.head.pending()
    }

    fn notify_writable(&self) {
        self.head.notify_writable();
    }

    fn register_producer(
        &self,
        producer: Rc<dyn Producer>,
        streaming: bool,
    ) -> Result<(), AlreadyRegistered> {
        self.head.register_producer(producer, streaming)
    }

    fn unregister_producer(&self) {
        self.head.unregister_producer();
    }

    fn replace_protocol(&self, next: Box<dyn AnyProtocol>, rest: &[u8]) {
        self.head.replace_protocol(next, rest);
    }

    fn start_layer(&self, layer: Box<dyn Layer>, wire_rest: &[u8]) {
        self.head.start_layer(layer, wire_rest);
    }

    fn with_layers(&self, f: &mut dyn FnMut(&Layers)) {
        self.head.look_at_layers(f);
    }

    fn start_policy(&self, policy: Box<dyn Policy>) {
        match guard(|| Placed::new(policy)) {
            Ok(policy) => self.head.start_policy(Box::new(policy)),
            Err(message) => self.panicked("watches", message),
        }
    }

    fn with_policies(&self, f: &mut dyn FnMut(&mut Layers)) {
        self.head.look_at_policies(f);
    }

    fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.head.set_option(option)
    }

    fn option(&self, option: SocketOption) -> io::Result<SocketOption> {
        self.head.option(option)
    }

    #[cfg(unix)]
    fn send_descriptor(&self, descriptor: std::os::fd::OwnedFd) -> Result<(), DescriptorError> {
        self.head.send_descriptor(descriptor)
    }

    fn reactor(&self) -> Option<Reactor> {
        Some(Reactor::from_inner(self.head.reactor()))
    }

    fn protocol_type(&self) -> Option<TypeId> {
        match self.slot.try_borrow().as_deref() {
            Ok(Slot::First(_)) => Some(TypeId::of::<P>()),
            Ok(Slot::Next(protocol)) => Some((**protocol).protocol_type()),
            Ok(Slot::Gone) => None,
            // A callback is on the stack: of the first protocol, unless another took over.
            Err(_) => self.head.successor().or(Some(TypeId::of::<P>())),
        }
    }

    fn enter(&self, f: &mut dyn FnMut(&mut dyn Any)) -> Entered {
        if self.head.has(flag::LOST) {
            return Entered::Gone;
        }
        let entered = self.head.reactor().inside(|| {
            let Ok(mut slot) = self.slot.try_borrow_mut() else { return Err(Entered::Busy) };
            let protocol: &mut dyn Any = match &mut *slot {
                Slot::First(protocol) => protocol,
                Slot::Next(protocol) => protocol.as_any_mut(),
                Slot::Gone => return Err(Entered::Gone),
            };
            let outer = self.begin(Callback::With);
            let entered = guard(|| f(protocol));
            self.head.reactor().beat.end(outer);
            Ok(entered)
        });
        match entered {
            Ok(Ok(())) => Entered::Done,
            Ok(Err(message)) => {
                self.panicked("with", message);
                Entered::Done
            }
            Err(entered) => entered,
        }
    }

    fn soon(&self, f: Box<dyn FnOnce()>) {
        self.head.after(After::Call(f));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
