//! What checks of datagrams are written with: a protocol that keeps a tape of what it was told and whether the promises were kept.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use marline_core::datagram::{DatagramProtocol, DatagramTransport, SendFailed};
use marline_core::driver::OsError;
use marline_core::{Addr, CloseReason, Reactor};

use crate::streams::kit::turn_until;

type Hook = Box<dyn FnMut(&DatagramTransport, &[u8], &Addr)>;
type EndHook = Box<dyn FnMut(&DatagramTransport)>;

/// A protocol that tapes what it is told, and then does what the check wants.
#[derive(Default)]
pub(crate) struct Ear {
    tape: Tape,
    hook: Option<Hook>,
    on_stopped: Option<EndHook>,
    /// Something for `with` to change.
    pub(crate) number: u32,
}

/// What one protocol was told, shared with the check.
#[derive(Clone, Default)]
pub(crate) struct Tape(Rc<Record>);

#[derive(Default)]
struct Record {
    received: RefCell<Vec<(Vec<u8>, Addr)>>,
    story: RefCell<Vec<String>>,
    inside: Cell<bool>,
    dropped: Cell<bool>,
}

impl Tape {
    pub(crate) fn received(&self) -> Vec<(Vec<u8>, Addr)> {
        self.0.received.borrow().clone()
    }

    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        self.0.received.borrow().iter().map(|(bytes, _)| bytes.clone()).collect()
    }

    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.0.received.borrow().iter().map(|(bytes, _)| bytes.len()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.received.borrow().len()
    }

    /// The callbacks but for datagrams, in the order they came.
    pub(crate) fn story(&self) -> Vec<String> {
        self.0.story.borrow().clone()
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.0.story.borrow().iter().any(|line| line.starts_with(what))
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.0.dropped.get()
    }

    fn enter(&self, what: &str) -> Inside {
        assert!(!self.0.inside.replace(true), "{what} inside another callback");
        assert!(!self.has("stopped"), "{what} after the end");
        assert_eq!(self.has("started"), what != "started", "{what}");
        Inside(self.clone())
    }

    fn tell(&self, line: String) -> Inside {
        let word = line.split(' ').next().unwrap_or_default().to_owned();
        let inside = self.enter(&word);
        self.0.story.borrow_mut().push(line);
        inside
    }
}

/// A callback is on the stack; also when it panics its end is seen.
struct Inside(Tape);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.inside.set(false);
    }
}

impl Ear {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One that sends back what it hears.
    pub(crate) fn echo() -> Self {
        Self::new().on_datagram(|transport, data, from| transport.send_to(data, from).unwrap())
    }

    pub(crate) fn tape(&self) -> Tape {
        self.tape.clone()
    }

    pub(crate) fn on_datagram(
        mut self,
        hook: impl FnMut(&DatagramTransport, &[u8], &Addr) + 'static,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    pub(crate) fn on_stopped(mut self, hook: impl FnMut(&DatagramTransport) + 'static) -> Self {
        self.on_stopped = Some(Box::new(hook));
        self
    }
}

impl DatagramProtocol for Ear {
    fn started(&mut self, _transport: &DatagramTransport) {
        let _inside = self.tape.tell("started".into());
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
        let _inside = self.tape.enter("datagram");
        self.tape.0.received.borrow_mut().push((data.to_vec(), from.clone()));
        if let Some(hook) = &mut self.hook {
            hook(transport, data, from);
        }
    }

    fn refused(&mut self, _transport: &DatagramTransport, error: OsError) {
        let _inside = self.tape.tell(format!("refused {:?}", error.kind()));
    }

    fn send_failed(&mut self, _transport: &DatagramTransport, failed: &SendFailed) {
        let what = format!("failed {:?} {}", failed.error.kind(), failed.dropped);
        let _inside = self.tape.tell(what);
    }

    fn stopped(&mut self, transport: &DatagramTransport, reason: &CloseReason) {
        let _inside = self.tape.tell(format!("stopped {reason:?}"));
        if let Some(hook) = &mut self.on_stopped {
            hook(transport);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.tape.0.dropped.set(true);
    }
}

/// Opens a socket on loopback.
#[track_caller]
pub(crate) fn ear(reactor: &Reactor, ear: Ear) -> (DatagramTransport, Tape) {
    let tape = ear.tape();
    (reactor.listen_udp("127.0.0.1:0", ear).unwrap(), tape)
}

/// Turns until so many datagrams have come.
#[track_caller]
pub(crate) fn until_count(reactor: &Reactor, tape: &Tape, count: usize) {
    turn_until(reactor, "the datagrams", || tape.count() >= count);
}
