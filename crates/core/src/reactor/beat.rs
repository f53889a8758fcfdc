//! What runs now: two relaxed stores a callback, so that another thread can tell a callback that goes on for too long from one that
//! begins anew, and the log can say whose line it is. Watching is `stall.rs`'s.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inner::Inner;
use super::source::Entry;
use crate::Addr;
use crate::driver::Handle;

/// What a reactor is doing, readable by any thread.
///
/// Only the reactor's own thread writes the two words. `now` holds the callback's number above the index of its handle; so the most
/// frequent callback, whose number is zero, is the index alone.
pub(crate) struct Beat {
    /// How many callbacks have begun.
    count: AtomicU64,
    now: AtomicU64,
    /// Whether a watchdog looks: only then is the book kept up.
    watched: AtomicBool,
    /// How many callbacks were too long, and the longest of those that have ended, in nanoseconds.
    stalls: AtomicU64,
    longest: AtomicU64,
    book: Mutex<Book>,
}

/// What another thread cannot find in the reactor's table.
#[derive(Default)]
struct Book {
    /// The names of protocols, each once.
    names: Vec<&'static str>,
    /// By index of the handle: its version, and the place of its protocol's name.
    rows: Vec<(u32, u16)>,
    /// The connection that the present callback has ended, or that hears its end.
    departed: Option<Departed>,
    /// The connection of the last stall, and its peer once it has ended: the story is told later.
    stalled: Option<(Handle, Option<Addr>)>,
    /// Where the timer, task or job that runs, or ran last, was made.
    site: Option<&'static Location<'static>>,
}

/// A connection that is no longer in the table while one of its callbacks runs.
#[derive(Clone)]
struct Departed {
    count: u64,
    handle: Handle,
    protocol: &'static str,
    peer: Addr,
}

/// What the reactor calls; a datagram socket, a watch and the like have numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Callback {
    DataReceived = 0,
    ConnectionMade,
    ReadConnectionLost,
    WriteConnectionLost,
    Writable,
    ConnectionLost,
    With,
    Producer,
    Layer,
    Factory,
    Call,
    Timer,
    Task,
    Job,
    Signal,
    Trigger,
    Subscriber,
    Datagram,
    Watch,
    DescriptorReceived,
}

impl Callback {
    /// In the order of their numbers.
    const NAMES: [&'static str; 20] = [
        "data_received",
        "connection_made",
        "read_connection_lost",
        "write_connection_lost",
        "writable",
        "connection_lost",
        "with",
        "producer",
        "layer",
        "factory",
        "call",
        "timer",
        "task",
        "job",
        "signal",
        "trigger",
        "subscriber",
        "datagram",
        "watch",
        "descriptor_received",
    ];

    /// The name of the callback with this number.
    pub(crate) fn name(number: u8) -> &'static str {
        Self::NAMES.get(usize::from(number)).copied().unwrap_or("nothing")
    }

    /// Callbacks that belong to no handle.
    const NO_INDEX: u32 = u32::MAX;
}

/// What ran before a callback that was begun inside another, to be put back.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct Outer(u64);

/// A callback that runs, or ran.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The type of the protocol whose callback it is, if it is one's.
    pub(crate) protocol: Option<&'static str>,
    pub(crate) callback: &'static str,
    pub(crate) handle: Option<Handle>,
    pub(crate) peer: Option<Addr>,
    /// For a timer, a task or a job: where it was made.
    pub(crate) site: Option<&'static Location<'static>>,
}

/// What a thread saw running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    count: u64,
    now: u64,
}

impl Beat {
    /// No callback runs.
    const NOTHING: u64 = u64::MAX;

    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            now: AtomicU64::new(Self::NOTHING),
            watched: AtomicBool::new(false),
            stalls: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            book: Mutex::default(),
        }
    }

    // ---- the reactor's side

    /// `data_received` begins, called from the loop.
    #[inline(always)]
    pub(super) fn begin_data(&self, handle: Handle) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.now.store(u64::from(handle.index), Ordering::Relaxed);
    }

    /// It has ended.
    #[inline(always)]
    pub(super) fn end_data(&self) {
        self.now.store(Self::NOTHING, Ordering::Relaxed);
    }

    /// A callback begins, perhaps inside another, whose time goes on running.
    pub(crate) fn begin(&self, callback: Callback, handle: Option<Handle>) -> Outer {
        let outer = self.now.load(Ordering::Relaxed);
        if outer == Self::NOTHING {
            self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        let index = handle.map_or(Callback::NO_INDEX, |handle| handle.index);
        self.now.store(u64::from(callback as u8) << 32 | u64::from(index), Ordering::Relaxed);
        Outer(outer)
    }

    /// It has ended.
    pub(crate) fn end(&self, outer: Outer) {
        self.now.store(outer.0, Ordering::Relaxed);
    }

    /// Calls `f` as a callback that belongs to no handle. `f` must not unwind.
    pub(crate) fn around<R>(&self, callback: Callback, f: impl FnOnce() -> R) -> R {
        let outer = self.begin(callback, None);
        let result = f();
        self.end(outer);
        result
    }

    /// The count of the callback that runs, if it is one of this connection's.
    pub(crate) fn own_callback(&self, handle: Handle) -> Option<u64> {
        let seen = self.see();
        (seen.index() == Some(handle.index)).then_some(seen.count)
    }

    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Writes down whose callbacks those of a handle are from now on, for a thread that looks.
    pub(crate) fn note(&self, handle: Handle, protocol: &'static str) {
        if self.is_watched() {
            self.book().note(handle, protocol);
        }
    }

    /// The same for a timer, a task or the answer to a job that is about to run.
    pub(super) fn note_site(&self, site: Option<&'static Location<'static>>) {
        if self.is_watched() {
            self.book().site = site;
        }
    }

    /// The connection whose callback runs is taken out of the table, or was.
    pub(crate) fn departs(&self, handle: Handle, protocol: &'static str, peer: Addr) {
        let seen = self.see();
        if self.is_watched()
            && let Some((stalled, known)) = &mut self.book().stalled
            && *stalled == handle
        {
            *known = Some(peer.clone());
        }
        if seen.index() == Some(handle.index) {
            self.book().departed = Some(Departed { count: seen.count, handle, protocol, peer });
        }
    }

    /// The connection that the callback has ended, or whose end it tells.
    pub(super) fn departing(&self, seen: Seen) -> Option<Handle> {
        let book = self.book();
        book.departed.as_ref().filter(|departed| departed.is(seen)).map(|departed| departed.handle)
    }

    /// The protocol and the peer of a connection, if none has ended since inside a callback of its own.
    pub(super) fn departed(&self, handle: Handle) -> Option<(&'static str, Addr)> {
        let book = self.book();
        let departed = book.departed.as_ref().filter(|departed| departed.handle == handle)?;
        Some((departed.protocol, departed.peer.clone()))
    }

    /// Begins or ends watching; `rows` are the connections there are.
    pub(super) fn watch(&self, on: bool, rows: impl IntoIterator<Item = (Handle, &'static str)>) {
        self.watched.store(on, Ordering::Relaxed);
        let mut book = self.book();
        (book.names, book.rows) = (Vec::new(), Vec::new());
        for (handle, protocol) in rows {
            book.note(handle, protocol);
        }
    }

    // ---- the other threads'

    /// What runs; wrong only about a callback that begins or ends just now.
    pub(crate) fn see(&self) -> Seen {
        let count = self.count.load(Ordering::Relaxed);
        Seen { count, now: self.now.load(Ordering::Relaxed) }
    }

    /// What it stands for, as far as the book says.
    pub(crate) fn tell(&self, seen: Seen) -> Context {
        let callback = seen.callback();
        let book = self.book();
        let departed = book.departed.as_ref().filter(|departed| departed.is(seen));
        let site = book.site.filter(|_| seen.has_site());
        if let Some(Departed { handle, protocol, peer, .. }) = departed.cloned() {
            let (protocol, handle, peer) = (Some(protocol), Some(handle), Some(peer));
            return Context { protocol, callback, handle, peer, site };
        }
        let row = seen.index().and_then(|index| Some((index, *book.rows.get(index as usize)?)));
        let name = row.and_then(|(_, (_, name))| book.names.get(usize::from(name)).copied());
        let handle = row.map(|(index, (version, _))| Handle { index, version });
        Context {
            protocol: name,
            callback,
            handle: handle.filter(|_| name.is_some()),
            peer: None,
            site,
        }
    }

    /// Counts a callback that is too long, of this connection.
    pub(super) fn count_stall(&self, handle: Option<Handle>) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
        self.book().stalled = handle.map(|handle| (handle, None));
    }

    /// The peer of that connection, if it has ended since.
    pub(super) fn stalled_peer(&self, handle: Handle) -> Option<Addr> {
        self.book().stalled.as_ref().filter(|(stalled, _)| *stalled == handle)?.1.clone()
    }

    /// It has ended.
    pub(super) fn stall_ended(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.longest.fetch_max(nanos, Ordering::Relaxed);
    }

    /// How many there were, and the longest.
    pub(super) fn stalls(&self) -> (u64, Option<Duration>) {
        let longest = self.longest.load(Ordering::Relaxed);
        let longest = (longest > 0).then(|| Duration::from_nanos(longest));
        (self.stalls.load(Ordering::Relaxed), longest)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Whether a callback runs.
    pub(crate) fn is_busy(self) -> bool {
        self.now != Beat::NOTHING
    }

    /// Whether it is part of what this other saw: the same outermost callback.
    pub(crate) fn goes_on(self, before: Self) -> bool {
        self.is_busy() && self.count == before.count
    }

    fn callback(self) -> &'static str {
        Callback::name(self.number())
    }

    /// The callback's number.
    pub(super) fn number(self) -> u8 {
        (self.now >> 32) as u8
    }

    /// Whether it was made somewhere by itself.
    fn has_site(self) -> bool {
        let callback = self.now >> 32;
        [Callback::Timer, Callback::Task, Callback::Job].iter().any(|made| *made as u64 == callback)
    }

    pub(super) fn index(self) -> Option<u32> {
        let index = self.now as u32;
        (index != Callback::NO_INDEX).then_some(index)
    }
}

impl Departed {
    fn is(&self, seen: Seen) -> bool {
        self.count == seen.count && seen.index() == Some(self.handle.index)
    }
}

impl Book {
    fn note(&mut self, handle: Handle, protocol: &'static str) {
        let known = self.names.iter().position(|name| std::ptr::eq(*name, protocol));
        let name = known.unwrap_or_else(|| {
            self.names.push(protocol);
            self.names.len() - 1
        });
        // More types of protocols than that are told by no name.
        let name = u16::try_from(name).unwrap_or(u16::MAX);
        let index = handle.index as usize;
        if self.rows.len() <= index {
            self.rows.resize(index + 1, (0, u16::MAX));
        }
        self.rows[index] = (handle.version, name);
    }
}

impl Inner {
    /// What runs now on this reactor, on its own thread; `None` between callbacks.
    pub(crate) fn context(&self) -> Option<Context> {
        let seen = self.beat.see();
        if !seen.is_busy() {
            return None;
        }
        let callback = seen.callback();
        let site = self.site.get().filter(|_| seen.has_site());
        let departed = self.beat.book().departed.clone().filter(|departed| departed.is(seen));
        if let Some(Departed { handle, protocol, peer, .. }) = departed {
            let (protocol, handle, peer) = (Some(protocol), Some(handle), Some(peer));
            return Some(Context { protocol, callback, handle, peer, site });
        }
        let mut context = Context { protocol: None, callback, handle: None, peer: None, site };
        if let Some(index) = seen.index() {
            match self.reported(Handle { index, version: 0 }) {
                Entry::Vacant => {}
                Entry::Stream(transport) => transport.engine(|stream| {
                    context.protocol = Some(stream.protocol_name());
                    context.handle = Some(stream.head().handle());
                    context.peer = Some(stream.head().peer_addr());
                }),
                Entry::Other(source) => context.protocol = source.type_name(),
            }
        }
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::policy::{Direction, Policy, PolicyIo, Watch};
    use crate::protocol::from_fn;
    use crate::testing::TestReactor;
    use crate::{CloseReason, Protocol, Reactor, Transport};

    type Lines = Rc<RefCell<Vec<String>>>;

    fn line(reactor: &Reactor, lines: &Lines) {
        let Some(context) = reactor.inner().context() else {
            return lines.borrow_mut().push("nothing".to_owned());
        };
        let protocol = context.protocol.map_or("-", |name| name.rsplit("::").next().unwrap());
        let (handle, peer) = (context.handle.is_some(), context.peer.is_some());
        assert_eq!(handle, peer);
        let whose = if handle { "of one" } else { "of none" };
        lines.borrow_mut().push(format!("{protocol} {} {whose}", context.callback));
    }

    struct First(Lines);
    struct Second(Lines);

    impl Protocol for First {
        fn connection_made(&mut self, transport: &Transport) {
            line(&transport.reactor().unwrap(), &self.0);
        }

        fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
            let reactor = transport.reactor().unwrap();
            line(&reactor, &self.0);
            transport.upgrade(Second(Rc::clone(&self.0)), b"rest");
        }

        fn connection_lost(&mut self, transport: &Transport, _reason: &CloseReason) {
            line(&transport.reactor().unwrap(), &self.0);
        }
    }

    impl Protocol for Second {
        fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
            line(&transport.reactor().unwrap(), &self.0);
            transport.abort_connection();
            line(&transport.reactor().unwrap(), &self.0);
        }

        fn connection_lost(&mut self, transport: &Transport, _reason: &CloseReason) {
            line(&transport.reactor().unwrap(), &self.0);
        }
    }

    struct Client;
    impl Protocol for Client {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"go");
        }

        fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
    }

    #[test]
    fn every_callback_knows_whose_it_is() {
        let reactor = TestReactor::new();
        let lines = Lines::default();
        let served = Rc::clone(&lines);
        let port = reactor.listen_tcp("127.0.0.1:0", move || First(Rc::clone(&served))).unwrap();
        let silent = Lines::default();
        reactor.connect_tcp(port.local_addr(), Client).ignore();
        reactor.advance(Duration::from_secs(1));
        assert_eq!(
            *lines.borrow(),
            [
                "First connection_made of one",
                "First data_received of one",
                "First connection_lost of one",
                "Second data_received of one",
                "Second data_received of one",
                "Second connection_lost of one",
            ]
        );
        let (timed, called) = (Rc::clone(&silent), Rc::clone(&silent));
        reactor.call_later(Duration::ZERO, move |reactor| line(reactor, &timed));
        reactor.call_soon(move |reactor| line(reactor, &called));
        reactor.advance(Duration::from_secs(1));
        line(&reactor, &silent);
        assert_eq!(*silent.borrow(), ["- call of none", "- timer of none", "nothing"]);
    }

    #[test]
    fn bytes_that_were_held_on_their_way_come_in_a_callback_that_knows_whose_it_is() {
        /// Holds what is received for a second.
        struct Slow(bool);

        impl Policy for Slow {
            fn name(&self) -> &'static str {
                "slow"
            }

            fn watches(&self) -> Watch {
                Watch::LIMIT_RECEIVED
            }

            fn admit(&mut self, direction: Direction, len: usize, io: &mut PolicyIo<'_>) -> usize {
                io.ask_again(direction, io.now() + Duration::from_secs(1));
                if std::mem::replace(&mut self.0, true) { len } else { 0 }
            }

            fn as_any_mut(&mut self) -> &mut dyn Any {
                self
            }
        }

        let reactor = TestReactor::new();
        let lines = Lines::default();
        let served = Rc::clone(&lines);
        let factory = from_fn(move |link| {
            link.add_policy(Slow(false));
            Some(First(Rc::clone(&served)))
        });
        let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
        reactor.connect_tcp(port.local_addr(), Client).ignore();
        reactor.advance(Duration::from_millis(900));
        assert_eq!(*lines.borrow(), ["First connection_made of one"]);
        reactor.advance(Duration::from_secs(1));
        assert_eq!(lines.borrow()[1], "First data_received of one");
    }

    #[cfg(unix)]
    #[test]
    fn a_descriptor_comes_in_a_callback_that_knows_whose_it_is() {
        struct Taker(Lines);

        impl Protocol for Taker {
            fn descriptor_received(&mut self, transport: &Transport, _: std::os::fd::OwnedFd) {
                line(&transport.reactor().unwrap(), &self.0);
            }

            fn data_received(&mut self, transport: &Transport, _data: &[u8]) {
                line(&transport.reactor().unwrap(), &self.0);
            }
        }

        struct Passer;

        impl Protocol for Passer {
            fn connection_made(&mut self, transport: &Transport) {
                let null = std::fs::File::open("/dev/null").unwrap();
                transport.send_descriptor(null.into()).unwrap();
                transport.write(b"x");
            }

            fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
        }

        let reactor = TestReactor::new();
        let lines = Lines::default();
        let served = Rc::clone(&lines);
        let taker = move || Taker(Rc::clone(&served));
        let _port = reactor.listen_unix("/of/the/test", taker).unwrap();
        reactor.connect_unix("/of/the/test", Passer).ignore();
        reactor.advance(Duration::from_secs(1));
        let expected = ["Taker descriptor_received of one", "Taker data_received of one"];
        assert_eq!(*lines.borrow(), expected);
    }

    #[test]
    fn a_callback_inside_another_is_part_of_it_and_the_next_is_not() {
        let beat = Beat::new();
        let handle = Handle { index: 3, version: 1 };
        beat.begin_data(handle);
        let outside = beat.see();
        let outer = beat.begin(Callback::With, None);
        let inside = beat.see();
        assert!(inside.goes_on(outside) && inside != outside);
        beat.end(outer);
        assert_eq!(beat.see(), outside);
        beat.end_data();
        assert!(!beat.see().goes_on(outside));
        beat.begin_data(handle);
        assert!(!beat.see().goes_on(outside), "the same callback, begun anew");
    }

    #[test]
    fn another_thread_reads_the_name_from_the_book() {
        let beat = Beat::new();
        let (one, other) = (Handle { index: 3, version: 1 }, Handle { index: 0, version: 7 });
        beat.watch(true, [(one, "One")]);
        beat.note(other, "Other");
        beat.begin_data(one);
        let context = beat.tell(beat.see());
        assert_eq!((context.protocol, context.handle), (Some("One"), Some(one)));
        assert_eq!(context.callback, "data_received");
        beat.end_data();
        let _outer = beat.begin(Callback::Writable, Some(other));
        let context = beat.tell(beat.see());
        assert_eq!((context.protocol, context.handle), (Some("Other"), Some(other)));
        assert_eq!(context.callback, "writable");
        assert_eq!(beat.tell(Seen { count: 0, now: 9 }).protocol, None, "nobody's index");
    }
}
