//! [`LoopingCall`]: a function called in equal steps of time. The arithmetic of the steps is in `grid.rs`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::TaskResult;
use super::grid::Grid;
use super::pace::next_turn;
use crate::deferred::{CancelHandle, Deferred, Interrupt, Resolver};
use crate::failure::Failure;
use crate::panic::guard;
use crate::reactor::inner::Inner;
use crate::{DelayedCall, Reactor, Time};

/// A function that is called in equal steps of time, until it fails or is stopped. A handle, cheap to clone; a loop that runs goes on without it.
///
/// - The steps are a grid: `start + k * interval`. A call that comes late, because something held the loop, moves none of the others; points that
///   were missed are not made up for: the next call is at the next point.
/// - The function may return nothing, a `Result` or a [`Deferred`]. The next call is planned when that has fired, for the next point after it:
///   calls never overlap.
/// - It is called from the loop, never from inside [`start`](Self::start): the first call of a loop that starts at once is in the next turn.
/// - It is handed the loop: `stop`, `start` and `reset` may be called from inside it.
/// - With an interval of zero it is called once a turn, after the connections had theirs; in a simulation
///   [once a millisecond](super#where-time-stands-still).
///
/// ```
/// use std::time::Duration;
/// use marline_core::task::LoopingCall;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let mut left = 3;
/// let countdown = LoopingCall::new(&reactor, move |looping| {
///     left -= 1;
///     if left == 0 {
///         let _ = looping.stop();
///     }
/// });
/// let begin = reactor.now();
/// let done = countdown.start(Duration::from_secs(2))?;
/// reactor.result_of(done)?;
/// assert_eq!(reactor.now() - begin, Duration::from_secs(4)); // called at 0, 2 and 4
/// # Ok::<(), marline_core::failure::Failure>(())
/// ```
#[derive(Clone)]
pub struct LoopingCall(Rc<Looping>);

impl LoopingCall {
    /// Makes a loop of a function; it does not run yet.
    pub fn new<R: TaskResult>(reactor: &Reactor, mut f: impl FnMut(&Self) -> R + 'static) -> Self {
        Self::with_count(reactor, move |looping, _count| f(looping))
    }

    /// Makes a loop of a function that is told how many steps there were since its last call: 1, or more if it is late. Each step is told of once.
    /// After a [`reset`](Self::reset) these are the whole steps that fit into the time since the last call. With an interval of zero it is always 1.
    #[doc(alias = "withCount")]
    pub fn with_count<R: TaskResult>(
        reactor: &Reactor,
        mut f: impl FnMut(&Self, u64) -> R + 'static,
    ) -> Self {
        let f: Function = Box::new(move |looping, count| {
            // What it comes to is the function's own affair.
            f(looping, count).into_deferred().map(drop)
        });
        Self(Rc::new(Looping {
            reactor: Rc::downgrade(reactor.inner()),
            f: Cell::new(Some(f)),
            run: RefCell::default(),
            busy: RefCell::default(),
        }))
    }

    /// Starts, with a call at once, in the next turn, and then one each `interval`. The Deferred fires when the loop has been stopped; it fails if a
    /// call does, or panics, and the loop has ended then, too. Cancelling it stops the loop, and cancels the Deferred of a call that is under way.
    ///
    /// # Errors
    ///
    /// [`AlreadyLooping`] if it runs.
    #[track_caller]
    pub fn start(&self, interval: Duration) -> Result<Deferred<()>, AlreadyLooping> {
        self.begin(interval, true)
    }

    /// Starts as [`start`](Self::start) does, but the first call is after the first interval.
    ///
    /// # Errors
    ///
    /// [`AlreadyLooping`] if it runs.
    #[track_caller]
    pub fn start_later(&self, interval: Duration) -> Result<Deferred<()>, AlreadyLooping> {
        self.begin(interval, false)
    }

    /// Stops: there will be no further call. The Deferred of [`start`](Self::start) fires before this returns; if a call is under way, after that
    /// call and the Deferred it returned.
    ///
    /// # Errors
    ///
    /// [`NotLooping`] if it does not run.
    pub fn stop(&self) -> Result<(), NotLooping> {
        let run = self.0.take_run().ok_or(NotLooping)?;
        run.cancel_tick();
        if !self.0.leave_after_call(&run) {
            run.finish(Ok(()));
        }
        Ok(())
    }

    /// Begins the grid anew at this moment: the next call is one interval from now, or after the one that is under way. As a timer of idleness:
    /// reset whenever something happens, it calls when nothing has for one interval. (A first call that is to be made at once stays.)
    ///
    /// # Errors
    ///
    /// [`NotLooping`] if it does not run.
    pub fn reset(&self) -> Result<(), NotLooping> {
        let run = self.0.run.borrow().clone().ok_or(NotLooping)?;
        let inner = self.0.reactor.upgrade().ok_or(NotLooping)?;
        let mut grid = run.grid.get();
        grid.restart(inner.now());
        run.grid.set(grid);
        if let Some(tick) = run.tick.take() {
            if let Some(next) = grid.next(inner.now()) {
                // If it is ringing, the next is planned after it anyway.
                let _ = tick.set_deadline(next);
            }
            run.tick.set(Some(tick));
        }
        Ok(())
    }

    /// Whether it runs.
    #[doc(alias = "running")]
    pub fn is_running(&self) -> bool {
        self.0.run.borrow().is_some()
    }

    /// The interval, if it runs.
    pub fn interval(&self) -> Option<Duration> {
        self.0.run.borrow().as_ref().map(|run| run.grid.get().interval())
    }

    /// When the next call is due. `None` if it does not run, or a call is under way.
    pub fn deadline(&self) -> Option<Time> {
        let run = self.0.run.borrow().clone()?;
        let tick = run.tick.take();
        let deadline = tick.as_ref().and_then(DelayedCall::deadline);
        run.tick.set(tick);
        deadline
    }

    /// Its reactor; `None` once that is gone.
    #[doc(alias = "clock")]
    pub fn reactor(&self) -> Option<Reactor> {
        self.0.living_reactor()
    }

    #[track_caller]
    fn begin(&self, interval: Duration, at_once: bool) -> Result<Deferred<()>, AlreadyLooping> {
        if self.is_running() {
            return Err(AlreadyLooping);
        }
        let site = Location::caller();
        let Some(reactor) = self.reactor() else {
            return Ok(Deferred::failed(Interrupt::Abandoned.into()));
        };
        let run = Rc::new(Run {
            grid: Cell::new(Grid::new(reactor.now(), interval, at_once)),
            tick: Cell::default(),
            resolver: Cell::default(),
            site,
        });
        let (looping, canceled) = (Rc::downgrade(&self.0), Rc::downgrade(&run));
        let (deferred, resolver) = Deferred::with_canceller(move || {
            if let (Some(looping), Some(run)) = (looping.upgrade(), canceled.upgrade()) {
                looping.cancel(&run);
            }
        });
        run.resolver.set(Some(resolver));
        *self.0.run.borrow_mut() = Some(Rc::clone(&run));
        // Started anew from inside a call, the next one is planned after it.
        if self.0.busy.borrow().is_none() {
            self.0.plan(&run);
        }
        Ok(deferred)
    }
}

impl fmt::Debug for LoopingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopingCall")
            .field("interval", &self.interval())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

type Function = Box<dyn FnMut(&LoopingCall, u64) -> Deferred<()>>;

/// What the handles share.
struct Looping {
    reactor: Weak<Inner>,
    /// Taken out while it is called.
    f: Cell<Option<Function>>,
    /// Since it was started last, if it runs.
    run: RefCell<Option<Rc<Run>>>,
    /// The call that is under way.
    busy: RefCell<Option<Busy>>,
}

/// From a start to its stop.
struct Run {
    grid: Cell<Grid>,
    /// The next call, if it is planned.
    tick: Cell<Option<DelayedCall>>,
    resolver: Cell<Option<Resolver<()>>>,
    /// Where it was started.
    site: &'static Location<'static>,
}

/// A call, until what it returned has fired.
struct Busy {
    run: Rc<Run>,
    /// Cancels what it returned.
    waits: CancelHandle,
    /// Runs that were started and stopped meanwhile: they hear of it when the call is over.
    leaving: Vec<Rc<Run>>,
}

impl Run {
    /// Takes the next call back. The run is no longer the loop's when this is called.
    fn cancel_tick(&self) {
        if let Some(tick) = self.tick.take() {
            // It may be ringing.
            let _ = tick.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        let resolver = self.resolver.take();
        let is_cancelled = resolver.as_ref().is_some_and(Resolver::is_cancelled);
        self.resolver.set(resolver);
        is_cancelled
    }

    fn finish(&self, result: Result<(), Failure>) {
        match (self.resolver.take(), result) {
            (Some(resolver), result) => resolver.finish(result),
            // It was cancelled, or its reactor closed.
            (None, Err(failure)) => drop(Deferred::<()>::failed(failure)),
            (None, Ok(())) => {}
        }
    }
}

impl Looping {
    fn living_reactor(&self) -> Option<Reactor> {
        let inner = self.reactor.upgrade().filter(|inner| !inner.is_gone())?;
        Some(Reactor::from_inner(&inner))
    }

    fn is_current(&self, run: &Rc<Run>) -> bool {
        self.run.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, run))
    }

    fn take_run(&self) -> Option<Rc<Run>> {
        self.run.borrow_mut().take()
    }

    /// Plans the next call of the present run.
    fn plan(self: &Rc<Self>, run: &Rc<Run>) {
        let Some(reactor) = self.living_reactor() else {
            return self.abandon(run);
        };
        let inner = reactor.inner();
        let deadline = run.grid.get().next(inner.now()).unwrap_or_else(|| next_turn(inner));
        let tick = Tick(Some((Rc::clone(self), Rc::clone(run))));
        let tick = reactor.call_at_from(deadline, run.site, move |reactor| tick.ring(reactor));
        run.tick.set(Some(tick));
    }

    /// The timer has rung for the present run.
    fn call(self: &Rc<Self>, run: Rc<Run>, now: Time) {
        let mut grid = run.grid.get();
        let count = grid.count(now);
        run.grid.set(grid);
        // OK: no timer is planned while a call is under way, and nothing else takes the function out.
        let Some(mut f) = self.f.take() else { return };
        let waits = CancelHandle::default();
        let busy = Busy { run: Rc::clone(&run), waits, leaving: Vec::new() };
        *self.busy.borrow_mut() = Some(busy);
        let looping = LoopingCall(Rc::clone(self));
        let returned = guard(|| f(&looping, count)).unwrap_or_else(panicked);
        self.f.set(Some(f));
        if run.is_cancelled() {
            // From inside the call, which had not returned this yet.
            returned.cancel();
        } else if !returned.is_ready()
            && let Some(busy) = &mut *self.busy.borrow_mut()
        {
            busy.waits = returned.cancel_handle();
        }
        let looping = Rc::clone(self);
        returned.done(move |result| looping.called(result));
    }

    /// The call that was under way is over.
    fn called(self: &Rc<Self>, result: Result<(), Failure>) {
        let busy = self.busy.borrow_mut().take();
        let Some(Busy { run, leaving, .. }) = busy else { return };
        if result.is_err() && self.is_current(&run) {
            self.take_run();
        }
        let goes_on = self.is_current(&run);
        let current = self.run.borrow().clone();
        if let Some(current) = current {
            self.plan(&current);
        }
        // From here on users' code is called.
        if !goes_on {
            run.finish(result);
        }
        for run in leaving {
            run.finish(Ok(()));
        }
    }

    /// A run that was stopped while a call is under way is told after it. Answers whether one is.
    fn leave_after_call(&self, run: &Rc<Run>) -> bool {
        let mut busy = self.busy.borrow_mut();
        let Some(busy) = &mut *busy else { return false };
        if !Rc::ptr_eq(&busy.run, run) {
            busy.leaving.push(Rc::clone(run));
        }
        true
    }

    /// The Deferred of a run was cancelled.
    fn cancel(&self, run: &Rc<Run>) {
        if self.is_current(run) {
            self.take_run();
        }
        run.cancel_tick();
        let waits = match &*self.busy.borrow() {
            Some(busy) if Rc::ptr_eq(&busy.run, run) => Some(busy.waits.clone()),
            _ => None,
        };
        match waits {
            // What the call comes to is what the run comes to.
            Some(waits) => waits.cancel(),
            None => run.finish(Err(Interrupt::Cancelled.into())),
        }
    }

    /// The reactor closes: nobody will call any more.
    fn abandon(&self, run: &Rc<Run>) {
        if self.is_current(run) {
            self.take_run();
            // It fires as it is dropped.
            drop(run.resolver.take());
        }
    }
}

fn panicked(text: Rc<str>) -> Deferred<()> {
    Deferred::failed(Interrupt::Panicked(text).into())
}

/// The next call, as the reactor holds it. Dropped uncalled, with all that a reactor holds when it closes, it ends the run.
struct Tick(Option<(Rc<Looping>, Rc<Run>)>);

impl Tick {
    fn ring(mut self, reactor: &Reactor) {
        let Some((looping, run)) = mem::take(&mut self.0) else { return };
        run.tick.set(None);
        if looping.is_current(&run) {
            looping.call(run, reactor.now());
        }
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        if let Some((looping, run)) = self.0.take() {
            looping.abandon(&run);
        }
    }
}

/// The loop runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyLooping;

impl fmt::Display for AlreadyLooping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the looping call runs already")
    }
}

impl std::error::Error for AlreadyLooping {}

/// The loop does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLooping;

impl fmt::Display for NotLooping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the looping call does not run")
    }
}

impl std::error::Error for NotLooping {}
