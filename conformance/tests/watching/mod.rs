//! Watching descriptors of others: pipes, eventfds, sockets, regular files. On drivers that have descriptors of the system; that the others say so is
//! a check of its own. Here is what these checks are written with.

mod ending;
mod files;
mod telling;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::driver::{Capability, Interest};
use marline_core::{CloseReason, Reactor, Watch, Watcher};

use crate::streams::kit::started;

on_every_driver!(a_driver_without_descriptors_of_the_system_says_so, |ground| {
    let reactor = started(ground);
    let (reader, _writer) = io::pipe().unwrap();
    let spy = Spy::new();
    let tape = spy.tape();
    let watched = reactor.watch(&reader, Interest::READ, spy);
    assert_eq!(watched.is_ok(), reactor.supports(Capability::Watch));
    assert_eq!(watched.is_ok(), !ground.is_simulated());
    if let Err(error) = watched {
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("\"sim\""), "{error}");
        assert!(reactor.watches().is_empty() && reactor.stop_watching_all().is_empty());
        assert_eq!(tape.story(), "");
    }
});

/// A reactor that was started, on a driver that watches.
fn watching(ground: Ground) -> Option<Reactor> {
    let reactor = started(ground);
    reactor.supports(Capability::Watch).then_some(reactor)
}

/// Turns without waiting, so often that whatever is ready has been told.
#[track_caller]
fn turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

/// Whether a turn sleeps until its time is over: nothing is ready, nothing is wanted that always is.
#[track_caller]
fn sleeps(reactor: &Reactor) -> bool {
    let begin = reactor.now();
    // Once more, for what had been found ready before.
    turn(reactor);
    assert!(reactor.now() >= begin);
    let (begin, long) = (reactor.now(), Duration::from_millis(20));
    reactor.turn(Some(long)).unwrap();
    reactor.now().since(begin) >= long
}

/// What a watcher was told, shared with the check.
#[derive(Clone, Default)]
struct Tape(Rc<Record>);

#[derive(Default)]
struct Record {
    heard: RefCell<Vec<&'static str>>,
    reason: RefCell<Option<String>>,
    inside: Cell<bool>,
    broken: Cell<bool>,
    dropped: Cell<bool>,
}

impl Tape {
    /// The callbacks since the last look, in order.
    #[track_caller]
    fn story(&self) -> String {
        assert!(!self.0.broken.get(), "a callback inside another, or after the end");
        self.0.heard.take().join(" ")
    }

    /// How it ended, in one word of `CloseReason`, with the text where there is one; `None` if it has not.
    fn reason(&self) -> Option<String> {
        self.0.reason.borrow().clone()
    }

    fn is_dropped(&self) -> bool {
        self.0.dropped.get()
    }

    fn enter(&self, name: &'static str) -> impl Drop + use<> {
        struct Inside(Tape);
        impl Drop for Inside {
            fn drop(&mut self) {
                self.0.0.inside.set(false);
            }
        }
        let again = self.0.inside.replace(true) || self.reason().is_some();
        self.0.broken.set(self.0.broken.get() || again);
        self.0.heard.borrow_mut().push(name);
        Inside(self.clone())
    }
}

type Hook = Box<dyn FnMut(&Watch) -> io::Result<()>>;
type LostHook = Box<dyn FnMut(&Watch)>;

/// A watcher that tapes what it is told and then does what the check wants, by default nothing: it will be told again.
#[derive(Default)]
struct Spy {
    tape: Tape,
    readable: Option<Hook>,
    writable: Option<Hook>,
    lost: Option<LostHook>,
}

impl Spy {
    fn new() -> Self {
        Self::default()
    }

    fn tape(&self) -> Tape {
        self.tape.clone()
    }

    fn on_readable(mut self, hook: impl FnMut(&Watch) -> io::Result<()> + 'static) -> Self {
        self.readable = Some(Box::new(hook));
        self
    }

    fn on_writable(mut self, hook: impl FnMut(&Watch) -> io::Result<()> + 'static) -> Self {
        self.writable = Some(Box::new(hook));
        self
    }

    fn on_lost(mut self, hook: impl FnMut(&Watch) + 'static) -> Self {
        self.lost = Some(Box::new(hook));
        self
    }
}

impl Watcher for Spy {
    fn readable(&mut self, watch: &Watch) -> io::Result<()> {
        let _inside = self.tape.enter("readable");
        self.readable.as_mut().map_or(Ok(()), |hook| hook(watch))
    }

    fn writable(&mut self, watch: &Watch) -> io::Result<()> {
        let _inside = self.tape.enter("writable");
        self.writable.as_mut().map_or(Ok(()), |hook| hook(watch))
    }

    fn lost(&mut self, watch: &Watch, reason: &CloseReason) {
        let _inside = self.tape.enter("lost");
        assert!(!watch.is_active() && watch.interest() == Interest::NONE);
        *self.tape.0.reason.borrow_mut() = Some(match reason {
            CloseReason::Done => "Done".into(),
            CloseReason::Stopped => "Stopped".into(),
            CloseReason::Panicked(message) => format!("Panicked({message})"),
            CloseReason::Failed(failure) => format!("Failed({failure})"),
            other => format!("{other:?}"),
        });
        if let Some(hook) = &mut self.lost {
            hook(watch);
        }
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.tape.0.dropped.set(true);
    }
}

/// Watches with a spy that only tapes.
#[track_caller]
fn spy_on(reactor: &Reactor, descriptor: &impl AsFd, interest: Interest) -> (Watch, Tape) {
    let spy = Spy::new();
    let tape = spy.tape();
    (reactor.watch(descriptor, interest, spy).unwrap(), tape)
}
