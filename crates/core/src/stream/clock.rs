//! Hyper's timer on the reactor's timers, and its executor on the reactor's tasks.
//!
//! Hyper wants timers and sleeps that may be sent to other threads; a reactor may not be. So they hold what leads back to the reactor on its
//! own thread, and find it among those of that thread.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep, Timer};

use crate::reactor::current;
use crate::reactor::inner::{self, Inner};
use crate::timers::Key;
use crate::{Reactor, Time};

/// Runs what hyper spawns as tasks of a reactor. They need not be `Send`. Once the reactor is gone they are dropped.
#[derive(Clone)]
pub struct ReactorExecutor(Weak<Inner>);

impl ReactorExecutor {
    /// An executor on this reactor.
    pub fn new(reactor: &Reactor) -> Self {
        Self(Rc::downgrade(reactor.inner()))
    }
}

impl<S> Executor<S> for ReactorExecutor
where
    S: Future + 'static,
    S::Output: 'static,
{
    fn execute(&self, future: S) {
        if let Some(inner) = self.0.upgrade().filter(|inner| !inner.is_gone()) {
            // It fails only if it panicked, which was logged, or the reactor was closed.
            Reactor::from_inner(&inner).spawn(future).ignore();
        }
    }
}

impl fmt::Debug for ReactorExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReactorExecutor(..)")
    }
}

/// Hyper's clock and time-outs on a reactor's timers: real time on a kernel, virtual time in a simulated network.
///
/// A sleep sets a timer when it is first polled, and takes it back when it is dropped; putting it off moves that timer. Sleeps are for the
/// reactor's thread: polled by another they never come, dropped by another they leave their timer behind until it is due.
#[derive(Clone)]
pub struct ReactorTimer(Arc<Clock>);

struct Clock {
    /// The reactor's number: on other threads there is none that has it.
    home: u32,
    /// An `Instant` cannot be made of a moment of the reactor's: this one stands for the reactor's time when the timer was made, and
    /// nothing depends on what it is.
    anchor: Instant,
    anchored: Time,
    site: &'static Location<'static>,
}

impl ReactorTimer {
    /// A timer on this reactor. In [`Reactor::open`] its sleeps are told by the place of this call.
    #[track_caller]
    pub fn new(reactor: &Reactor) -> Self {
        let inner = reactor.inner();
        Self(Arc::new(Clock {
            home: inner.id,
            anchor: Instant::now(),
            anchored: reactor.now(),
            site: Location::caller(),
        }))
    }

    fn sleep_to(&self, deadline: Time) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap { clock: Arc::clone(&self.0), deadline, key: None, bell: Arc::default() })
    }
}

impl Timer for ReactorTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_to(self.0.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep_to(self.0.time_of(deadline))
    }

    fn now(&self) -> Instant {
        self.0.anchor + self.0.now().since(self.0.anchored)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Nap>() {
            Some(nap) => nap.get_mut().put_off(self.0.time_of(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl fmt::Debug for ReactorTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReactorTimer(..)")
    }
}

impl Clock {
    /// The reactor, if this is its thread and it is still there.
    fn reactor(&self) -> Option<Rc<Inner>> {
        current::known(self.home)
    }

    /// The reactor's time; where that cannot be had, the time when the timer was made.
    fn now(&self) -> Time {
        self.reactor().map_or(self.anchored, |inner| inner.now())
    }

    fn time_of(&self, moment: Instant) -> Time {
        self.anchored + moment.saturating_duration_since(self.anchor)
    }
}

/// A sleep of hyper's.
struct Nap {
    clock: Arc<Clock>,
    deadline: Time,
    /// The reactor's timer, once there is one.
    key: Option<Key>,
    bell: Arc<Bell>,
}

/// Who is to be woken when the timer comes.
#[derive(Default)]
struct Bell(Mutex<Option<Waker>>);

impl Bell {
    fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), waker)
    }
}

impl Sleep for Nap {}

impl Future for Nap {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let nap = self.get_mut();
        // Without its reactor it never comes.
        let Some(inner) = nap.clock.reactor() else { return Poll::Pending };
        if inner.now() >= nap.deadline {
            return Poll::Ready(());
        }
        drop(nap.bell.replace(Some(context.waker().clone())));
        if nap.key.is_none() {
            let bell = Arc::clone(&nap.bell);
            let call = Box::new(move |_: &Reactor| {
                if let Some(waker) = bell.replace(None) {
                    waker.wake();
                }
            });
            let timer = inner::Timer { call, site: nap.clock.site };
            nap.key = Some(inner.set_timer(nap.deadline, timer));
        }
        Poll::Pending
    }
}

impl Nap {
    fn put_off(&mut self, deadline: Time) {
        self.deadline = deadline;
        if let (Some(key), Some(inner)) = (self.key, self.clock.reactor()) {
            // One that has come is set anew when it is polled.
            if !inner.reset_timer(key, deadline) {
                self.key = None;
            }
        }
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        if let (Some(key), Some(inner)) = (self.key, self.clock.reactor()) {
            drop(inner.cancel_timer(key));
        }
    }
}
