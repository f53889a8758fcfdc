//! How an event reaches every observer once, from any thread, from inside observers too.
//!
//! One lock is the turn: its holder calls observers, and keeps the order the same for all. What is logged on the holder's own thread meanwhile,
//! which can only be by an observer, goes into a queue that the holder works off. The other lock guards the lists, and nothing of the user's runs under it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Level;

use super::{AlreadyBegun, ObserverId};
use crate::log::{Event, Observer, engine};
use crate::panic::guard;

/// How many events are kept before the log is begun.
const EARLY: usize = 200;

/// The observers of a publisher.
pub(super) struct Delivery {
    lists: Mutex<Lists>,
    turn: Mutex<()>,
    stderr: Mutex<Box<dyn Write + Send>>,
}

struct Lists {
    observers: Arc<Vec<Arc<Place>>>,
    /// What is kept until the log is begun.
    early: VecDeque<Event>,
    /// How many more there were.
    dropped: u64,
    begun: Option<&'static Location<'static>>,
    next_id: u64,
}

struct Place {
    id: ObserverId,
    gone: AtomicBool,
    /// Locked by the holder of the turn only.
    observer: Mutex<Box<dyn Observer>>,
}

/// An event on its way, and who is not to get it: those who logged it, or what led to it.
struct Parcel {
    event: Event,
    not_to: Vec<ObserverId>,
}

/// What a thread that has the turn of a publisher is doing.
struct Frame {
    /// Whose turn.
    publisher: *const Delivery,
    queue: VecDeque<Parcel>,
    /// Who does not get the present event.
    not_to: Vec<ObserverId>,
    /// Who is called.
    called: Option<ObserverId>,
}

thread_local! {
    /// The innermost last: an observer of one publisher may hand events to another.
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

impl Delivery {
    pub(super) fn new(stderr: Box<dyn Write + Send>) -> Self {
        let lists = Lists {
            observers: Arc::default(),
            early: VecDeque::new(),
            dropped: 0,
            begun: None,
            next_id: 0,
        };
        Self { lists: Mutex::new(lists), turn: Mutex::new(()), stderr: Mutex::new(stderr) }
    }

    pub(super) fn publish(&self, event: Event) {
        if let Some(event) = self.queue(event) {
            self.in_turn(|| self.deliver(Parcel { event, not_to: Vec::new() }));
        }
    }

    pub(super) fn begin(
        &self,
        observers: Vec<Box<dyn Observer>>,
        at: &'static Location<'static>,
    ) -> Result<Vec<ObserverId>, AlreadyBegun> {
        self.in_turn(|| {
            let mut lists = lock(&self.lists);
            if let Some(at) = lists.begun {
                drop(lists);
                return Err(AlreadyBegun { at, observers });
            }
            lists.begun = Some(at);
            let (early, dropped) = (std::mem::take(&mut lists.early), lists.dropped);
            let places: Vec<_> =
                observers.into_iter().map(|observer| lists.add(observer)).collect();
            drop(lists);
            let missing = (dropped > 0).then(|| engine::early_events_dropped(dropped));
            for event in missing.into_iter().chain(early) {
                self.call(&places, &event, &[]);
            }
            Ok(places.iter().map(|place| place.id).collect())
        })
    }

    pub(super) fn add(&self, observer: Box<dyn Observer>) -> ObserverId {
        lock(&self.lists).add(observer).id
    }

    pub(super) fn remove(&self, id: ObserverId) -> bool {
        let mut lists = lock(&self.lists);
        let Some(place) = lists.observers.iter().find(|place| place.id == id).cloned() else {
            return false;
        };
        let rest = lists.observers.iter().filter(|place| place.id != id).cloned().collect();
        let before = std::mem::replace(&mut lists.observers, Arc::new(rest));
        drop(lists);
        place.gone.store(true, Ordering::Release);
        // The observer is dropped outside the lock: by whoever has it last.
        drop((before, place));
        true
    }

    /// Puts an event that an observer has logged on the queue of its thread's turn. Gives it back if this thread does not have the turn.
    fn queue(&self, event: Event) -> Option<Event> {
        let mut event = Some(event);
        let looked = FRAMES.try_with(|frames| {
            let mut frames = frames.borrow_mut();
            let frame = frames.iter_mut().find(|frame| std::ptr::eq(frame.publisher, self))?;
            let mut not_to = frame.not_to.clone();
            not_to.extend(frame.called);
            frame.queue.push_back(Parcel { event: event.take()?, not_to });
            Some(())
        });
        // In its last moments a thread can no longer tell whether it has the turn, and waiting for itself would be for ever: it is not heard.
        if looked.is_err() { None } else { event }
    }

    /// Runs `f` with the turn, waiting for it unless this thread has it already, and then what was queued meanwhile.
    fn in_turn<R>(&self, f: impl FnOnce() -> R) -> R {
        if self.with_frame(|_| ()).is_some() {
            return f();
        }
        let turn = lock(&self.turn);
        let frame =
            Frame { publisher: self, queue: VecDeque::new(), not_to: Vec::new(), called: None };
        // `queue` has seen that the list can be reached.
        let _ = FRAMES.try_with(|frames| frames.borrow_mut().push(frame));
        let result = f();
        while let Some(Some(parcel)) = self.with_frame(|frame| frame.queue.pop_front()) {
            self.deliver(parcel);
        }
        let _ = FRAMES.try_with(|frames| frames.borrow_mut().pop());
        drop(turn);
        result
    }

    /// Gives an event to all that are to get it. Only with the turn.
    fn deliver(&self, parcel: Parcel) {
        let Parcel { event, not_to } = parcel;
        let mut lists = lock(&self.lists);
        let observers = Arc::clone(&lists.observers);
        let begun = lists.begun.is_some();
        if !begun {
            lists.keep(event.clone());
        }
        drop(lists);
        if !begun && event.level == Level::ERROR {
            self.complain(&event);
        }
        self.call(&observers, &event, &not_to);
        // One that was removed meanwhile may end here.
        if let Err(message) = guard(|| drop(observers)) {
            self.complain(&engine::observer_drop_panicked(&message));
        }
    }

    /// Calls observers. One that panics is told of to the others.
    fn call(&self, places: &[Arc<Place>], event: &Event, not_to: &[ObserverId]) {
        for place in places {
            if place.gone.load(Ordering::Acquire) || not_to.contains(&place.id) {
                continue;
            }
            let former = self.with_frame(|frame| {
                let not_to = std::mem::replace(&mut frame.not_to, not_to.to_vec());
                (frame.called.replace(place.id), not_to)
            });
            let called = guard(|| {
                let mut observer = lock(&place.observer);
                observer.event(event);
            });
            if let Err(message) = called {
                self.report(engine::observer_panicked(place.id.0, &message));
            }
            self.with_frame(|frame| {
                (frame.called, frame.not_to) = former.unwrap_or_default();
            });
        }
    }

    /// Tells the observers that are left of one that panicked, or standard error if there is none.
    fn report(&self, event: Event) {
        let observers = Arc::clone(&lock(&self.lists).observers);
        let heard = self.with_frame(|frame| {
            observers
                .iter()
                .any(|place| !frame.not_to.contains(&place.id) && frame.called != Some(place.id))
        });
        // Perhaps the last who holds one that was removed meanwhile: it is the user's, and may log or panic.
        let _ = guard(|| drop(observers));
        if heard == Some(true) {
            let _ = self.queue(event);
        } else {
            self.complain(&event);
        }
    }

    /// Writes an event where people look when nothing else works.
    fn complain(&self, event: &Event) {
        // There is nowhere to tell that this fails, too.
        let _ = writeln!(lock(&self.stderr), "{}", event.to_text());
    }

    /// Works on what this thread does with its turn, if it has it. No user code may run inside `f`.
    fn with_frame<R>(&self, f: impl FnOnce(&mut Frame) -> R) -> Option<R> {
        FRAMES
            .try_with(|frames| {
                let mut frames = frames.borrow_mut();
                let frame = frames.iter_mut().find(|frame| std::ptr::eq(frame.publisher, self));
                frame.map(f)
            })
            .ok()
            .flatten()
    }
}

impl Lists {
    fn add(&mut self, observer: Box<dyn Observer>) -> Arc<Place> {
        let id = ObserverId(self.next_id);
        self.next_id += 1;
        let place =
            Arc::new(Place { id, gone: AtomicBool::new(false), observer: Mutex::new(observer) });
        let mut observers = self.observers.to_vec();
        observers.push(Arc::clone(&place));
        self.observers = Arc::new(observers);
        place
    }

    fn keep(&mut self, event: Event) {
        if self.early.len() == EARLY {
            self.early.pop_front();
            self.dropped += 1;
        }
        self.early.push_back(event);
    }
}

/// What panics under these locks is caught, and leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
