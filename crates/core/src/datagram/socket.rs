//! The owner of a datagram socket: one allocation holds its state and its protocol. Only what needs the protocol's type is here.

use std::any::Any;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use super::head::{Head, Told};
use super::transport::Endpoint;
use super::{DatagramProtocol, DatagramTransport};
use crate::driver::{Completion, OsError};
use crate::panic::guard;
use crate::reactor::source::{Open, Source};
use crate::transport::Entered;
use crate::{Addr, CloseReason};

/// A datagram socket of the driver's with its protocol.
pub(super) struct Socket<P> {
    head: Head,
    /// Borrowed while a callback of the protocol is on the stack, and then only; empty once it has heard its end.
    protocol: RefCell<Option<P>>,
}

impl<P: DatagramProtocol> Socket<P> {
    pub(super) const fn new(head: Head, protocol: P) -> Self {
        Self { head, protocol: RefCell::new(Some(protocol)) }
    }

    fn transport(self: &Rc<Self>) -> DatagramTransport {
        DatagramTransport(Rc::clone(self) as Rc<dyn Endpoint>)
    }

    /// Calls one callback.
    #[inline]
    fn call(&self, callback: &str, f: impl FnOnce(&mut P)) {
        let result = {
            let Ok(mut protocol) = self.protocol.try_borrow_mut() else { return };
            let Some(protocol) = &mut *protocol else { return };
            guard(|| f(protocol))
        };
        if let Err(message) = result {
            self.panicked(callback, &message);
        }
    }

    #[cold]
    #[inline(never)]
    fn panicked(&self, callback: &str, message: &str) {
        let protocol = std::any::type_name::<P>();
        let local = self.head.local_addr();
        tracing::error!(target: "marline", %protocol, %local, callback, "callback panicked: {message}");
    }

    /// Lends datagrams that came together to the protocol, one after the other.
    #[inline]
    fn deliver(&self, me: &DatagramTransport, bytes: &[u8], segment: usize, from: &Addr) {
        // Several of no length cannot come together.
        let (mut datagram, mut rest) = bytes.split_at(segment.min(bytes.len()));
        let step = segment.max(1);
        loop {
            self.call("datagram_received", |protocol| {
                protocol.datagram_received(me, datagram, from);
            });
            // What follows from a callback comes before the next one.
            self.head.inner.settle();
            if rest.is_empty() || self.head.is_closed() {
                return;
            }
            if self.head.is_paused() || self.head.holds() {
                return self.head.hold(rest.chunks(step), from);
            }
            (datagram, rest) = rest.split_at(step.min(rest.len()));
        }
    }

    /// An error that passes.
    #[cold]
    fn failed(&self, error: OsError) {
        let local = self.head.local_addr();
        match error.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
                if self.head.is_connected() =>
            {
                self.head.tell_soon(Told::Refused(error));
            }
            // About a datagram to somebody; nobody knows to whom.
            ErrorKind::ConnectionRefused => {}
            _ => tracing::warn!(target: "marline", %local, "a datagram was lost: {error}"),
        }
    }
}

impl<P: DatagramProtocol> Endpoint for Socket<P> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn tell(self: Rc<Self>, told: &Told) {
        let me = self.transport();
        match told {
            Told::Started => self.call("started", |protocol| protocol.started(&me)),
            Told::Refused(error) => self.call("refused", |protocol| protocol.refused(&me, *error)),
            Told::SendFailed(failed) => {
                self.call("send_failed", |protocol| protocol.send_failed(&me, failed));
            }
            Told::Stopped(reason) => {
                self.call("stopped", |protocol| protocol.stopped(&me, reason));
            }
        }
    }

    fn deliver_held(self: Rc<Self>) {
        let Some((datagram, from)) = self.head.take_held() else { return };
        let me = self.transport();
        self.call("datagram_received", |protocol| {
            protocol.datagram_received(&me, &datagram, &from);
        });
        if self.head.holds() {
            self.head.deliver_held_soon();
        }
    }

    fn enter(&self, f: &mut dyn FnMut(&mut dyn Any)) -> Entered {
        if self.head.is_closed() {
            return Entered::Gone;
        }
        let entered = self.head.inner.inside(|| {
            let Ok(mut protocol) = self.protocol.try_borrow_mut() else {
                return Err(Entered::Busy);
            };
            let protocol = protocol.as_mut().ok_or(Entered::Gone)?;
            Ok(guard(|| f(protocol)))
        });
        match entered {
            Ok(result) => {
                if let Err(message) = result {
                    self.panicked("with", &message);
                }
                Entered::Done
            }
            Err(entered) => entered,
        }
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<P>()
    }
}

impl<P: DatagramProtocol> Source for Socket<P> {
    fn completed(self: Rc<Self>, completion: Completion) {
        match completion {
            Completion::Datagrams { socket, chunk, len, segment, more } => {
                let (buffer, from) = {
                    let mut driver = self.head.inner.driver();
                    (driver.take_chunk(chunk), driver.datagram_source(socket))
                };
                if let (Some(bytes), Some(from)) = (buffer.get(..len), from) {
                    self.deliver(&self.transport(), bytes, segment, &from);
                }
                self.head.inner.driver().give_back(chunk, buffer);
                if !more {
                    self.head.flush();
                }
            }
            Completion::DatagramFailed { error, .. } => self.failed(error),
            Completion::Failed { error, .. } => {
                let local = self.head.local_addr();
                tracing::error!(target: "marline", %local, "socket lost: {error}");
                self.head.end(CloseReason::Lost(error));
            }
            _ => {}
        }
    }

    fn lost(self: Rc<Self>) {
        let (reason, waiting) = self.head.take_ending();
        Rc::clone(&self).tell(&Told::Stopped(reason));
        tracing::info!(target: "marline", addr = %self.head.local_addr(), "datagram socket closed");
        // Only called from the loop, when no callback is on the stack.
        let protocol = self.protocol.try_borrow_mut().ok().and_then(|mut slot| slot.take());
        if let Err(message) = guard(|| drop(protocol)) {
            self.panicked("drop", &message);
        }
        for resolver in waiting {
            resolver.resolve(());
        }
    }

    fn end(self: Rc<Self>, reason: CloseReason) {
        self.head.end(reason);
    }

    fn flush(&self) {
        self.head.flush_dirty();
    }

    fn describe(&self) -> Open {
        let what = format!("{} on {}", std::any::type_name::<P>(), self.head.local_addr());
        Open::new("datagrams", what, self.head.site)
    }
}
