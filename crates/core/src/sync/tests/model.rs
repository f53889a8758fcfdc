//! Random use of a semaphore and of a queue against plain models: the same is given to the same, in the same order, and as much is left over
//! after every call. With cancels and drops at any moment, also from inside the callback of whoever has just been served.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::{Permit, Queue, Semaphore};
use crate::deferred::{CancelHandle, Deferred, Interrupt, capture_unhandled};
use crate::rng::Rng;

const SEEDS: u64 = 3_000;
const CALLS: usize = 60;

/// Somebody who waits. Numbered in the order of coming.
type Who = usize;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Was served, with the value; 0 for a permit.
    Got(Who, u64),
    Cancelled(Who),
    Abandoned(Who),
}

/// What is done: by the test, or by whoever has just been served. Numbers choose among those there are.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// Waits with a callback.
    Come,
    /// Waits without one: the deferred is kept.
    ComeSilently,
    /// Somebody who waits with a callback is cancelled.
    Cancel(usize),
    /// A kept deferred is dropped, or is given a callback.
    Drop(usize),
    Look(usize),
    /// A permit is given back; a value is put.
    Supply(usize),
    Close,
}

fn draw(rng: &mut Rng) -> Call {
    let which = rng.below(1 << 16) as usize;
    match rng.below(40) {
        0..9 => Call::Come,
        9..15 => Call::ComeSilently,
        15..20 => Call::Cancel(which),
        20..24 => Call::Drop(which),
        24..27 => Call::Look(which),
        27..39 => Call::Supply(which),
        // Seldom: nothing much happens afterwards.
        _ if rng.below(8) == 0 => Call::Close,
        _ => Call::Come,
    }
}

/// What each does in its callback. Drawn by number, so that the model and what it is the model of see the same.
fn reactions(seed: u64, who: Who) -> Vec<Call> {
    let mut rng = Rng::from_number(seed ^ (who as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let count = [0, 0, 1, 1, 2][rng.below(5) as usize];
    (0..count).map(|_| draw(&mut rng)).collect()
}

/// What is used: the real thing.
trait Line: 'static {
    type Thing: 'static;

    fn come(&self) -> Deferred<Self::Thing>;
    /// What there is to see of a thing; it may be kept for later.
    fn show(&self, thing: Self::Thing) -> u64;
    fn supply(&self, which: usize);
    fn close(&self);
    /// How much there is, and how many wait.
    fn counts(&self) -> (usize, usize);
}

struct Permits {
    semaphore: Semaphore,
    held: RefCell<Vec<Permit>>,
}

impl Line for Permits {
    type Thing = Permit;

    fn come(&self) -> Deferred<Permit> {
        self.semaphore.acquire()
    }

    fn show(&self, permit: Permit) -> u64 {
        self.held.borrow_mut().push(permit);
        0
    }

    fn supply(&self, _: usize) {
        let permit = self.held.borrow_mut().pop();
        drop(permit);
    }

    fn close(&self) {
        self.semaphore.close();
    }

    fn counts(&self) -> (usize, usize) {
        (self.semaphore.available(), self.semaphore.waiting())
    }
}

impl Line for Queue<u64> {
    type Thing = u64;

    fn come(&self) -> Deferred<u64> {
        self.get()
    }

    fn show(&self, value: u64) -> u64 {
        value
    }

    fn supply(&self, which: usize) {
        let _ = self.put(which as u64);
    }

    fn close(&self) {
        Self::close(self);
    }

    fn counts(&self) -> (usize, usize) {
        (self.len(), self.waiting())
    }
}

struct Real<L: Line> {
    seed: u64,
    line: L,
    trace: RefCell<Vec<Event>>,
    came: RefCell<Who>,
    calling: RefCell<BTreeMap<Who, CancelHandle>>,
    silent: RefCell<Vec<(Who, Deferred<L::Thing>)>>,
}

impl<L: Line> Real<L> {
    fn call(self: &Rc<Self>, call: Call) {
        match call {
            Call::Come => {
                let (who, deferred) = self.come();
                self.look(who, deferred);
            }
            Call::ComeSilently => {
                let new = self.come();
                self.silent.borrow_mut().push(new);
            }
            Call::Cancel(which) => {
                let calling = self.calling.borrow();
                let handle = pick(calling.len(), which).and_then(|n| calling.values().nth(n));
                let handle = handle.cloned().unwrap_or_default();
                drop(calling);
                handle.cancel();
            }
            Call::Drop(which) => drop(self.silent(which)),
            Call::Look(which) => {
                if let Some((who, deferred)) = self.silent(which) {
                    self.look(who, deferred);
                }
            }
            Call::Supply(which) => self.line.supply(which),
            Call::Close => self.line.close(),
        }
    }

    fn come(&self) -> (Who, Deferred<L::Thing>) {
        *self.came.borrow_mut() += 1;
        (*self.came.borrow(), self.line.come())
    }

    fn silent(&self, which: usize) -> Option<(Who, Deferred<L::Thing>)> {
        let mut silent = self.silent.borrow_mut();
        pick(silent.len(), which).map(|n| silent.remove(n))
    }

    fn look(self: &Rc<Self>, who: Who, deferred: Deferred<L::Thing>) {
        self.calling.borrow_mut().insert(who, deferred.cancel_handle());
        let this = Rc::clone(self);
        deferred.done(move |result| {
            this.calling.borrow_mut().remove(&who);
            let event = match result {
                Ok(thing) => Event::Got(who, this.line.show(thing)),
                Err(failure) => match failure.check() {
                    Some(Interrupt::Cancelled) => Event::Cancelled(who),
                    _ => Event::Abandoned(who),
                },
            };
            this.trace.borrow_mut().push(event);
            for call in reactions(this.seed, who) {
                this.call(call);
            }
        });
    }
}

fn pick(len: usize, which: usize) -> Option<usize> {
    which.checked_rem(len)
}

/// What became of somebody who waits silently.
#[derive(Clone, Copy)]
enum State {
    Waits,
    Has(u64, u64),
    Abandoned,
}

/// The same in plain words: a list of what there is, a list of those who wait.
struct Model {
    seed: u64,
    /// A queue, not a semaphore.
    queue: bool,
    size: usize,
    backlog: usize,
    closed: bool,
    serving: bool,
    /// By number; what is given back goes to its place.
    there: BTreeMap<u64, u64>,
    numbers: u64,
    waiting: VecDeque<Who>,
    held: usize,
    came: Who,
    calling: Vec<Who>,
    silent: Vec<(Who, State)>,
    trace: Vec<Event>,
}

impl Model {
    fn call(&mut self, call: Call) {
        match call {
            Call::Come => {
                let (who, state) = self.come();
                self.look(who, state);
            }
            Call::ComeSilently => {
                let new = self.come();
                self.silent.push(new);
            }
            Call::Cancel(which) => {
                if let Some(n) = pick(self.calling.len(), which) {
                    self.calling.sort_unstable();
                    let who = self.calling.remove(n);
                    self.waiting.retain(|&other| other != who);
                    self.react(Event::Cancelled(who), who);
                }
            }
            Call::Drop(which) => {
                if let Some(n) = pick(self.silent.len(), which) {
                    match self.silent.remove(n) {
                        (who, State::Waits) => self.waiting.retain(|&other| other != who),
                        (_, State::Has(number, value)) => {
                            self.there.insert(number, value);
                            self.serve();
                        }
                        (_, State::Abandoned) => {}
                    }
                }
            }
            Call::Look(which) => {
                if let Some(n) = pick(self.silent.len(), which) {
                    let (who, state) = self.silent.remove(n);
                    self.look(who, state);
                }
            }
            Call::Supply(which) if self.queue => {
                let room = self.size.saturating_add(self.waiting.len());
                if !self.closed && self.there.len() < room {
                    self.add(which as u64);
                    self.serve();
                }
            }
            Call::Supply(_) => {
                if self.held > 0 {
                    self.held -= 1;
                    self.add(0);
                    self.serve();
                }
            }
            Call::Close => {
                self.closed = true;
                self.serve();
            }
        }
    }

    fn add(&mut self, value: u64) {
        self.numbers += 1;
        self.there.insert(self.numbers, value);
    }

    fn come(&mut self) -> (Who, State) {
        self.came += 1;
        if self.closed && (!self.queue || self.waiting.len() >= self.there.len().max(1)) {
            return (self.came, State::Abandoned);
        }
        if self.waiting.is_empty()
            && let Some((number, value)) = self.there.pop_first()
        {
            return (self.came, State::Has(number, value));
        }
        let without = self.waiting.len().saturating_sub(self.there.len());
        if self.closed && self.there.is_empty() || without >= self.backlog {
            return (self.came, State::Abandoned);
        }
        self.waiting.push_back(self.came);
        (self.came, State::Waits)
    }

    fn look(&mut self, who: Who, state: State) {
        match state {
            State::Waits => self.calling.push(who),
            State::Has(_, value) => {
                self.held += 1;
                self.react(Event::Got(who, value), who);
            }
            State::Abandoned => self.react(Event::Abandoned(who), who),
        }
    }

    fn react(&mut self, event: Event, who: Who) {
        self.trace.push(event);
        for call in reactions(self.seed, who) {
            self.call(call);
        }
    }

    fn serve(&mut self) {
        if std::mem::replace(&mut self.serving, true) {
            return;
        }
        while let Some(&who) = self.waiting.front() {
            let value = if self.closed && !self.queue { None } else { self.there.pop_first() };
            let state = match value {
                Some((number, value)) => State::Has(number, value),
                None if self.closed => State::Abandoned,
                None => break,
            };
            self.waiting.pop_front();
            if let Some(silent) = self.silent.iter_mut().find(|(other, _)| *other == who) {
                silent.1 = state;
            } else {
                self.calling.retain(|&other| other != who);
                self.look(who, state);
            }
        }
        self.serving = false;
    }
}

/// Uses both alike.
fn compare<L: Line>(line: L, mut model: Model, rng: &mut Rng) {
    let seed = model.seed;
    let real = Rc::new(Real {
        seed,
        line,
        trace: RefCell::default(),
        came: RefCell::default(),
        calling: RefCell::default(),
        silent: RefCell::default(),
    });
    let mut both = |call| {
        real.call(call);
        model.call(call);
        assert_eq!(*real.trace.borrow(), model.trace, "seed {seed}: {call:?}");
        let counts = (model.there.len(), model.waiting.len());
        assert_eq!(real.line.counts(), counts, "seed {seed}: {call:?}");
        model.silent.len()
    };
    // Some who wait silently are told that there is nothing: that is logged, and checked elsewhere.
    let ((), _) = capture_unhandled(|| {
        for _ in 0..CALLS {
            both(draw(rng));
        }
        while both(Call::Drop(0)) > 0 {}
        both(Call::Close);
        while both(Call::Drop(0)) > 0 {}
        assert_eq!(real.line.counts().1, 0, "seed {seed}: somebody still waits");
    });
}

fn model(seed: u64, queue: bool, limits: (usize, usize), there: usize) -> Model {
    let mut model = Model {
        seed,
        queue,
        size: limits.0,
        backlog: limits.1,
        closed: false,
        serving: false,
        there: BTreeMap::new(),
        numbers: 0,
        waiting: VecDeque::new(),
        held: 0,
        came: 0,
        calling: Vec::new(),
        silent: Vec::new(),
        trace: Vec::new(),
    };
    (0..there).for_each(|_| model.add(0));
    model
}

#[test]
fn a_semaphore_does_what_its_model_does() {
    for seed in 0..SEEDS {
        let mut rng = Rng::from_number(seed);
        let permits = 1 + rng.below(3) as usize;
        let semaphore = Semaphore::new(permits).unwrap();
        let line = Permits { semaphore, held: RefCell::default() };
        compare(line, model(seed, false, (usize::MAX, usize::MAX), permits), &mut rng);
    }
}

#[test]
fn a_queue_does_what_its_model_does() {
    for seed in 0..SEEDS {
        let mut rng = Rng::from_number(seed);
        let limit = |rng: &mut Rng| [0, 1, 3, usize::MAX][rng.below(4) as usize];
        let (size, backlog) = (limit(&mut rng), limit(&mut rng));
        let queue = Queue::new().with_size(size).with_backlog(backlog);
        compare(queue, model(seed, true, (size, backlog), 0), &mut rng);
    }
}
