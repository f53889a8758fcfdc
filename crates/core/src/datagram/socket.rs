//! The owner of a datagram socket: one allocation holds its state and its protocol. Only what needs the protocol's type is here.

use std::any::Any;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use super::head::{Head, Told};
use super::transport::Endpoint;
use super::{DatagramProtocol, DatagramTransport};
use crate::driver::{Completion, Handle, Mail, OsError};
use crate::log;
use crate::panic::guard;
use crate::reactor::beat::Callback;
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
        log::engine::datagram_panicked(protocol, &self.head.local_addr(), callback, message);
    }

    /// Lends the datagrams of one chunk of the driver's to the protocol.
    fn deliver_chunk(
        self: &Rc<Self>,
        socket: Handle,
        chunk: u32,
        len: usize,
        segment: usize,
        more: bool,
    ) {
        let inner = &self.head.inner;
        let (buffer, from) = {
            let mut driver = inner.driver();
            (driver.take_chunk(chunk), driver.datagram_source(socket))
        };
        if let (Some(bytes), Some(from)) = (buffer.get(..len), &from) {
            self.deliver(&self.transport(), bytes, segment, from);
        }
        inner.driver().give_back(chunk, buffer);
        if !more {
            self.head.flush();
        }
    }

    /// Lends to the protocol what one call of the driver's has received.
    fn deliver_all(&self, me: &DatagramTransport, mail: &Mail) {
        for parcel in &mail.parcels {
            let bytes = mail.bytes_of(parcel);
            if self.head.may_be_told() {
                self.deliver(me, bytes, parcel.segment, &parcel.from);
            } else if !self.head.is_closed() {
                self.hold(bytes, parcel.segment, &parcel.from);
            }
        }
    }

    /// Lends datagrams that came together to the protocol, one after the other.
    #[inline]
    fn deliver(&self, me: &DatagramTransport, bytes: &[u8], segment: usize, from: &Addr) {
        let (mut datagram, mut rest) = bytes.split_at(segment.min(bytes.len()));
        loop {
            self.call("datagram_received", |protocol| {
                protocol.datagram_received(me, datagram, from);
            });
            // What follows from a callback comes before the next one.
            self.head.inner.settle();
            if rest.is_empty() || self.head.is_closed() {
                return;
            }
            if !self.head.may_be_told() {
                return self.hold(rest, segment, from);
            }
            (datagram, rest) = rest.split_at(segment.min(rest.len()));
        }
    }

    /// Keeps datagrams until receiving goes on.
    #[cold]
    fn hold(&self, bytes: &[u8], segment: usize, from: &Addr) {
        if bytes.is_empty() {
            // One of no length, for several of them cannot come together.
            return self.head.hold(std::iter::once(bytes), from);
        }
        self.head.hold(bytes.chunks(segment.max(1)), from);
    }

    /// An error that passes.
    #[cold]
    fn failed(&self, error: OsError) {
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
            _ => log::engine::datagram_lost(&self.head.local_addr(), &error),
        }
    }
}

impl<P: DatagramProtocol> Endpoint for Socket<P> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn tell(self: Rc<Self>, told: &Told) {
        let me = self.transport();
        let inner = &self.head.inner;
        // A socket that is closed has left the table, and its place may be another's.
        let handle = (!self.head.is_closed()).then_some(self.head.handle);
        let outer = inner.beat.begin(Callback::Datagram, handle);
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
        inner.beat.end(outer);
    }

    fn deliver_held(self: Rc<Self>) {
        let Some((datagram, from)) = self.head.take_held() else { return };
        let me = self.transport();
        let outer = self.head.inner.beat.begin(Callback::Datagram, Some(self.head.handle));
        self.call("datagram_received", |protocol| {
            protocol.datagram_received(&me, &datagram, &from);
        });
        self.head.inner.beat.end(outer);
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
            let outer = self.head.inner.beat.begin(Callback::With, Some(self.head.handle));
            let done = guard(|| f(protocol));
            self.head.inner.beat.end(outer);
            Ok(done)
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
                let inner = &self.head.inner;
                let outer = inner.beat.begin(Callback::Datagram, Some(socket));
                let mail = inner.driver().take_datagrams(socket);
                match mail {
                    Some(mail) => {
                        self.deliver_all(&self.transport(), &mail);
                        inner.driver().give_back_datagrams(socket, mail);
                        self.head.flush();
                    }
                    None => self.deliver_chunk(socket, chunk, len, segment, more),
                }
                inner.beat.end(outer);
            }
            Completion::DatagramFailed { error, .. } => self.failed(error),
            Completion::Failed { error, .. } => {
                log::engine::socket_lost(&self.head.local_addr(), &error);
                self.head.end(CloseReason::Lost(error));
            }
            _ => {}
        }
    }

    fn lost(self: Rc<Self>) {
        let (reason, waiting) = self.head.take_ending();
        Rc::clone(&self).tell(&Told::Stopped(reason));
        log::engine::socket_closed(&self.head.local_addr(), std::any::type_name::<P>());
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

    fn type_name(&self) -> Option<&'static str> {
        Some(std::any::type_name::<P>())
    }

    fn describe(&self) -> Open {
        let what = format!("{} on {}", std::any::type_name::<P>(), self.head.local_addr());
        Open::new("datagrams", what, self.head.site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reactor;
    use crate::sim::SimDriver;

    type Lines = Rc<RefCell<Vec<String>>>;

    struct Witness(Lines);

    impl Witness {
        fn note(&self, transport: &DatagramTransport) {
            let context = transport.reactor().inner().context().unwrap();
            let protocol = context.protocol.map_or("-", |name| name.rsplit("::").next().unwrap());
            self.0.borrow_mut().push(format!("{protocol} {}", context.callback));
        }
    }

    impl DatagramProtocol for Witness {
        fn started(&mut self, transport: &DatagramTransport) {
            self.note(transport);
            transport.send_to(b"to myself", transport.local_addr()).unwrap();
        }

        fn datagram_received(&mut self, transport: &DatagramTransport, _: &[u8], _: &Addr) {
            self.note(transport);
            transport.stop_listening().ignore();
        }

        fn stopped(&mut self, transport: &DatagramTransport, _: &CloseReason) {
            self.note(transport);
            transport.reactor().stop().unwrap();
        }
    }

    #[test]
    fn every_callback_knows_whose_it_is_until_the_socket_is_closed() {
        let reactor = Reactor::new(SimDriver::alone(1));
        let lines = Lines::default();
        let transport = reactor.listen_udp("127.0.0.1:7", Witness(Rc::clone(&lines))).unwrap();
        let noted = Rc::clone(&lines);
        transport
            .with(move |witness: &mut Witness, transport| {
                assert!(Rc::ptr_eq(&witness.0, &noted));
                witness.note(transport);
            })
            .ignore();
        reactor.run().unwrap();
        assert_eq!(
            *lines.borrow(),
            ["Witness with", "Witness datagram", "Witness datagram", "- datagram"]
        );
    }
}
