//! The state behind a reactor's handles, in pieces that are borrowed for a moment each and never across user code.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use super::after::After;
use super::beat::Beat;
use super::current::{self, Entered};
use super::incident::Incidents;
use super::lifecycle::Lifecycle;
use super::remote::Shared;
use super::signals::Signals;
use super::source::{Entry, Open, Source};
use super::task::Tasks;
use super::wakeup::Wakeup;
use super::work::{JobQueue, Waiter};
use super::{Call, Reactor};
use crate::budget::Budget;
use crate::datagram::batch::Batch;
use crate::driver::{Driver, Handle};
use crate::rng::Rng;
use crate::timers::Timers;
use crate::transport::cork::{Cork, Quick};
use crate::{CloseReason, Time, Transport};

/// Buffers kept for connections whose output had to wait.
const BUFFERS_KEPT: usize = 64;
/// A larger buffer is not kept.
const BUFFER_KEPT: usize = 65_536;

/// Batches kept for sockets that have datagrams to send.
const BATCHES_KEPT: usize = 8;

pub(crate) struct Inner {
    /// Its number among those of its thread.
    pub(crate) id: u32,
    driver: RefCell<Box<dyn Driver>>,
    table: RefCell<Vec<Entry>>,
    /// What the present callback has written to one connection, if that is a range of the bytes lent to it and nothing else.
    pub(crate) quick: Cell<Quick>,
    pub(crate) cork: RefCell<Cork>,
    /// Where the bytes lent to the present callback begin, and how many there are.
    pub(crate) lent: Cell<(usize, usize)>,
    /// What is to be done after the present callback: the bits below.
    pub(crate) todo: Cell<u8>,
    pub(super) after: RefCell<VecDeque<After>>,
    dirty: RefCell<Vec<Handle>>,
    /// What runs now.
    pub(crate) beat: Arc<Beat>,
    /// Where the timer, task or job that runs, or ran last, was made.
    pub(super) site: Cell<Option<&'static Location<'static>>>,
    pub(super) incidents: Incidents,
    pub(crate) budget: Budget,
    /// What is to be done in the next turn: the bits below.
    waiting: Cell<u8>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Empty ones, for the datagrams of any socket.
    batches: RefCell<Vec<Batch>>,
    pub(super) calls: RefCell<VecDeque<Call>>,
    pub(super) timers: RefCell<Timers<Timer>>,
    pub(super) wakeup: Wakeup,
    now: Cell<Option<Time>>,
    rng: RefCell<Option<Rng>>,
    pub(super) shared: Arc<Shared>,
    pub(super) lifecycle: Lifecycle,
    pub(super) signals: Signals,
    pub(super) jobs: RefCell<BTreeMap<u64, Waiter>>,
    /// Attempts to connect that wait for a name, and so have no place in the table, by the number of the look-up.
    pub(crate) resolving: RefCell<BTreeMap<u64, Rc<dyn Source>>>,
    pub(super) job_queue: JobQueue,
    pub(super) tasks: Tasks,
    /// Bytes received lie here; taken out for a turn.
    pub(super) scratch: Cell<Box<[u8]>>,
    pub(super) in_turn: Cell<bool>,
    /// Callbacks on the stack that no turn has begun: `with` and `fire_event` from outside, farewells of `close_all`.
    inside: Cell<u32>,
    /// How many `Reactor` handles there are, beside those that connections hold: with the last of them all is closed.
    pub(super) handles: Cell<usize>,
}

/// A call that was put off, and where.
pub(crate) struct Timer {
    pub(crate) call: Call,
    pub(crate) site: &'static Location<'static>,
}

/// Bytes received at a time.
const SCRATCH: usize = 65_536;

impl Inner {
    /// Waiting: connections were written to from outside their own callbacks.
    const DIRTY: u8 = 1;
    /// Waiting: calls were put off.
    pub(super) const CALLS: u8 = 2;
    /// Waiting: the reactor is to stop, or has.
    pub(super) const ENDING: u8 = 4;
    /// Waiting: tasks were put off.
    pub(super) const LATER: u8 = 8;

    /// To do: the quick cork holds something.
    pub(crate) const QUICK: u8 = 1;
    /// To do: the cork holds something.
    pub(crate) const CORKED: u8 = 2;
    /// To do: the after queue holds something.
    pub(crate) const AFTER: u8 = 4;
    /// To do: tasks are ready.
    pub(super) const TASKS: u8 = 8;

    pub(super) fn new(driver: Box<dyn Driver>) -> Self {
        Self {
            id: current::next_id(),
            driver: RefCell::new(driver),
            table: RefCell::default(),
            quick: Cell::default(),
            cork: RefCell::default(),
            lent: Cell::new((0, 0)),
            todo: Cell::new(0),
            after: RefCell::default(),
            dirty: RefCell::default(),
            beat: Arc::new(Beat::new()),
            site: Cell::new(None),
            incidents: Incidents::default(),
            budget: Budget::default(),
            waiting: Cell::new(0),
            buffers: RefCell::default(),
            batches: RefCell::default(),
            calls: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            wakeup: Wakeup::new(),
            now: Cell::new(None),
            rng: RefCell::new(None),
            shared: Arc::new(Shared::new()),
            lifecycle: Lifecycle::default(),
            signals: Signals::default(),
            jobs: RefCell::default(),
            resolving: RefCell::default(),
            job_queue: JobQueue::default(),
            tasks: Tasks::default(),
            scratch: Cell::new(vec![0; SCRATCH].into_boxed_slice()),
            in_turn: Cell::new(false),
            inside: Cell::new(0),
            handles: Cell::new(0),
        }
    }

    /// The driver, for one method.
    #[inline]
    pub(crate) fn driver(&self) -> RefMut<'_, Box<dyn Driver>> {
        self.driver.borrow_mut()
    }

    // ---- one door

    /// The time of this turn; between turns, when nothing stands still, the time.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        if let Some(now) = self.now.get() {
            return now;
        }
        let now = self.driver().now();
        if self.in_turn.get() {
            self.now.set(Some(now));
        }
        now
    }

    /// The same, if somebody has asked for it in this turn.
    #[inline]
    pub(crate) fn known_now(&self) -> Option<Time> {
        self.now.get()
    }

    /// The time for a line of the log; `None` if the driver is in use, which may be what logs.
    pub(crate) fn log_clock(&self) -> Option<SystemTime> {
        Some(self.driver.try_borrow_mut().ok()?.log_clock())
    }

    /// Time may have passed: the next who asks reads the clock.
    pub(super) fn forget_now(&self) {
        self.now.set(None);
    }

    pub(super) fn with_rng<R>(&self, f: impl FnOnce(&mut Rng) -> R) -> R {
        let mut rng = self.rng.borrow_mut();
        let rng = match &mut *rng {
            Some(rng) => rng,
            none => {
                let seed = self.driver().seed();
                none.insert(Rng::from_seed(seed))
            }
        };
        f(rng)
    }

    // ---- the table

    pub(crate) fn insert(&self, handle: Handle, entry: Entry) {
        if self.beat.is_watched() {
            self.note(handle, &entry);
        }
        let mut table = self.table.borrow_mut();
        let index = handle.index as usize;
        if table.len() <= index {
            table.resize_with(index + 1, || Entry::Vacant);
        }
        table[index] = entry;
    }

    #[cold]
    fn note(&self, handle: Handle, entry: &Entry) {
        if let Some(name) = entry.protocol_name() {
            self.beat.note(handle, name);
        }
    }

    /// The stream of a handle. A handle kept from before the place was used again finds nothing.
    pub(crate) fn stream(&self, handle: Handle) -> Option<Transport> {
        match self.table.borrow().get(handle.index as usize) {
            Some(Entry::Stream(transport)) if transport.is_engine_stream(handle) => {
                Some(transport.clone())
            }
            _ => None,
        }
    }

    /// The stream of a handle that the driver has just reported, which cannot be stale.
    #[inline]
    pub(super) fn reported_stream(&self, handle: Handle) -> Option<Transport> {
        // Borrowed mutably, for that takes fewer instructions.
        match self.table.borrow_mut().get(handle.index as usize) {
            Some(Entry::Stream(transport)) => Some(transport.clone()),
            _ => None,
        }
    }

    /// The owner of a handle that the driver has just reported, which cannot be stale.
    pub(super) fn reported(&self, handle: Handle) -> Entry {
        self.table.borrow().get(handle.index as usize).cloned().unwrap_or(Entry::Vacant)
    }

    /// What is at this place of the table, if nobody has it in hand.
    pub(super) fn entry(&self, index: u32) -> Option<Entry> {
        self.table.try_borrow().ok()?.get(index as usize).cloned()
    }

    /// Takes the owner of a handle out of the table.
    pub(crate) fn remove(&self, handle: Handle) -> Entry {
        let mut table = self.table.borrow_mut();
        match table.get_mut(handle.index as usize) {
            Some(entry) => std::mem::replace(entry, Entry::Vacant),
            None => Entry::Vacant,
        }
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let table = self.table.borrow();
        let placed = table.iter().filter(|entry| !matches!(entry, Entry::Vacant)).cloned();
        let resolving = self.resolving.borrow();
        placed.chain(resolving.values().cloned().map(Entry::Other)).collect()
    }

    /// All connections.
    pub(crate) fn streams(&self) -> Vec<Transport> {
        let table = self.table.borrow();
        let stream = |entry: &Entry| match entry {
            Entry::Stream(transport) => Some(transport.clone()),
            _ => None,
        };
        table.iter().filter_map(stream).collect()
    }

    /// What has a place in the table and is no stream.
    #[cfg(unix)]
    pub(crate) fn others(&self) -> Vec<Rc<dyn Source>> {
        let table = self.table.borrow();
        let others = table.iter().filter_map(|entry| match entry {
            Entry::Other(source) => Some(Rc::clone(source)),
            Entry::Vacant | Entry::Stream(_) => None,
        });
        others.collect()
    }

    pub(super) fn open(&self) -> Vec<Open> {
        let mut open: Vec<_> = self.entries().iter().filter_map(Entry::describe).collect();
        let timers = self.timers.borrow();
        open.extend(timers.iter().map(|(_, deadline, timer)| {
            Open::new("timer", format!("due at {}", Time::from_nanos(deadline)), timer.site)
        }));
        open
    }

    pub(crate) fn call_soon(&self, call: Call) {
        self.calls.borrow_mut().push_back(call);
        self.set_waiting(Self::CALLS);
    }

    // ---- output

    #[inline]
    pub(crate) fn lend(&self, bytes: &[u8]) {
        self.lent.set((bytes.as_ptr().addr(), bytes.len()));
    }

    pub(crate) fn dirty(&self, handle: Handle) {
        self.dirty.borrow_mut().push(handle);
        self.set_waiting(Self::DIRTY);
    }

    /// Flushes what was written to connections from outside their own callbacks.
    #[inline]
    pub(super) fn flush_dirty(&self) {
        if self.is_waiting(Self::DIRTY) {
            self.unset_waiting(Self::DIRTY);
            self.flush_all();
        }
    }

    #[cold]
    fn flush_all(&self) {
        let mut dirty = self.dirty.take();
        for handle in dirty.drain(..) {
            if let Some(transport) = self.stream(handle) {
                transport.engine(|stream| stream.head().flush());
            } else if let Entry::Other(source) = self.reported(handle) {
                source.flush();
            }
        }
        let mut kept = self.dirty.borrow_mut();
        if kept.is_empty() {
            *kept = dirty;
        }
    }

    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_KEPT && (1..=BUFFER_KEPT).contains(&buffer.capacity()) {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// An empty batch for datagrams.
    pub(crate) fn take_batch(&self) -> Batch {
        self.batches.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_batch(&self, batch: Batch) {
        let mut batches = self.batches.borrow_mut();
        if batches.len() < BATCHES_KEPT && batch.is_small() {
            batches.push(batch);
        }
    }

    // ---- the end

    /// Closes whatever is open and tells its owners.
    pub(super) fn close_sources(&self, reason: &CloseReason) {
        loop {
            let entries = self.entries();
            if entries.is_empty() {
                return;
            }
            for entry in entries {
                entry.end(reason.clone());
            }
            self.settle();
        }
    }

    /// Closes everything, and drops what was to be called: nothing that holds the reactor is left in it.
    pub(super) fn close_all(&self) {
        self.settle();
        self.close_sources(&CloseReason::Stopped);
        // Each is dropped outside the borrow: it may hold the user's objects.
        loop {
            let timers = self.timers.borrow_mut().drain();
            let calls = self.calls.take();
            let jobs = self.jobs.take();
            let queued = self.job_queue.take();
            let nothing = timers.is_empty()
                && calls.is_empty()
                && jobs.is_empty()
                && queued.is_empty()
                && self.tasks.is_empty();
            drop((timers, calls, jobs, queued));
            self.drop_tasks();
            self.settle();
            self.close_sources(&CloseReason::Stopped);
            if nothing {
                break;
            }
        }
    }

    /// Whether a turn is under way or a callback on the stack: the queue must not be worked off, nor a turn begun.
    pub(super) fn is_inside(&self) -> bool {
        self.inside.get() > 0 || self.in_turn.get()
    }

    /// Runs what may call user code outside a turn, so that calls from there know that they are inside a callback.
    pub(crate) fn inside<R>(self: &Rc<Self>, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Rc<Inner>);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let inner = self.0;
                inner.inside.set(inner.inside.get() - 1);
                if inner.handles.get() == 0 && !inner.is_inside() {
                    // The last handle was dropped in there, which could not close anything then.
                    drop(Reactor::from_inner(inner));
                }
            }
        }

        self.inside.set(self.inside.get() + 1);
        let _entered = Entered::new(self);
        let _leave = Leave(self);
        f()
    }

    /// Whether the last handle was dropped: everything is closed, or being closed, and nothing is to begin any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.shared.is_gone()
    }

    /// Whether it is gone and everything is closed: what is put off till after the callback would never be done.
    pub(crate) fn is_over(&self) -> bool {
        self.is_gone() && !self.is_inside()
    }

    /// An error for what would begin on a reactor that is gone, where nobody would turn or close it.
    pub(crate) fn check_not_gone(&self) -> io::Result<()> {
        if self.is_gone() { Err(io::Error::other("the reactor is gone")) } else { Ok(()) }
    }

    /// Whether there is something to do that no driver will report.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.todo.get() | self.waiting.get() != 0 || self.shared.is_pending()
    }

    #[inline]
    pub(super) fn is_waiting(&self, what: u8) -> bool {
        self.waiting.get() & what != 0
    }

    pub(super) fn set_waiting(&self, what: u8) {
        self.waiting.set(self.waiting.get() | what);
    }

    pub(super) fn unset_waiting(&self, what: u8) {
        self.waiting.set(self.waiting.get() & !what);
    }
}

impl Reactor {
    pub(crate) fn from_inner(inner: &Rc<Inner>) -> Self {
        inner.handles.set(inner.handles.get() + 1);
        Self(Rc::clone(inner))
    }
}
