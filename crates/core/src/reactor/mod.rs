//! The reactor: the event loop of one thread, and the handle through which code reaches it.
//!
//! | file | what |
//! |---|---|
//! | `inner.rs` | the state behind the handles |
//! | `turn.rs` | one turn of the loop |
//! | `after.rs` | what is done between two callbacks |
//! | `lifecycle.rs` | start, stop, crash, triggers |
//! | `delayed_call.rs` | timers |
//! | `signals.rs`, `remote.rs`, `work.rs` | signals, other threads, worker threads |
//! | `task/`, `join_set.rs` | futures |
//! | `beat.rs`, `stall.rs` | what runs now, and callbacks that run for too long |
//! | `incident.rs` | incidents and figures |
//! | `current.rs`, `whose.rs` | which reactor is the thread's, and whose callback runs |
//! | `source.rs` | what the table of handles holds |

pub(crate) mod after;
pub(crate) mod beat;
pub(crate) mod current;
mod delayed_call;
mod incident;
pub(crate) mod inner;
mod join_set;
mod lifecycle;
mod remote;
mod signals;
pub(crate) mod source;
pub(crate) mod stall;
mod task;
mod turn;
mod wakeup;
mod whose;
mod work;

use std::fmt;
use std::rc::Rc;
use std::time::SystemTime;

use crate::Time;
use crate::driver::{Capability, Driver};
use crate::rng::Rng;
use after::After;
use inner::Inner;

pub use delayed_call::{DelayedCall, NotPending};
pub use incident::{Figures, Incident, Subscription};
pub use join_set::{JoinNext, JoinSet};
pub use lifecycle::{Event, Phase, TriggerId, TriggerResult, UnknownTrigger};
pub use remote::{BlockingError, Remote, Reply};
pub use signals::{SignalHandle, signal};
pub use source::Open;
pub use stall::{Stall, StallOptions, ThreadState};

/// A call that was put off.
pub(crate) type Call = Box<dyn FnOnce(&Reactor)>;

/// The event loop of one thread, and the handle through which code reaches it: cheap to clone, passed explicitly, not `Send`
/// ([`Remote`] is its counterpart for other threads).
///
/// There can be many, in one process and in one thread, and each can be run again after it stopped. Every method may be called from inside any
/// callback. When the last handle is dropped everything the reactor holds is closed, and its owners are told.
///
/// ```
/// use std::time::Duration;
/// use marline_core::{Reactor, sim::SimDriver};
///
/// let reactor = Reactor::new(SimDriver::alone(1));
/// reactor.call_later(Duration::from_secs(3600), |reactor| {
///     reactor.stop().unwrap();
/// });
/// reactor.run()?; // an hour of virtual time
/// # Ok::<(), marline_core::RunError>(())
/// ```
pub struct Reactor(Rc<Inner>);

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The reactor goes on.
    Continue,
    /// The reactor has stopped, or crashed.
    Stopped,
}

impl Reactor {
    /// A reactor that waits by this driver. (The facade, `marline::reactor()`, chooses one.)
    pub fn new(driver: impl Driver + 'static) -> Self {
        Self::from_boxed(Box::new(driver))
    }

    /// A reactor that waits by this driver, chosen at run time.
    pub fn from_boxed(driver: Box<dyn Driver>) -> Self {
        let inner = Rc::new(Inner::new(driver));
        current::know(&inner);
        Self::from_inner(&inner)
    }

    /// Runs `f` in the next turn, in the order of calls; never from inside this method.
    #[doc(alias = "callLater")]
    pub fn call_soon(&self, f: impl FnOnce(&Self) + 'static) {
        self.0.call_soon(Box::new(f));
    }

    /// The handle for other threads.
    #[doc(alias = "callFromThread")]
    pub fn remote(&self) -> Remote {
        Remote { shared: std::sync::Arc::clone(&self.0.shared), waker: self.0.driver().waker() }
    }

    /// The time of this turn, on the driver's monotonic clock. It does not move during a turn; between turns it does.
    #[doc(alias = "seconds")]
    pub fn now(&self) -> Time {
        self.0.now()
    }

    /// Wall-clock time, for dates; never for deadlines.
    pub fn wall_clock(&self) -> SystemTime {
        self.0.driver().wall_clock()
    }

    /// Works with the reactor's random source: seeded by the driver, so that the same simulated world draws the same numbers. Not for secrets.
    pub fn rng<R>(&self, f: impl FnOnce(&mut Rng) -> R) -> R {
        self.0.with_rng(f)
    }

    /// The name of its driver.
    pub fn driver_name(&self) -> &'static str {
        self.0.driver().name()
    }

    /// Whether its driver has an optional capability.
    pub fn supports(&self, capability: Capability) -> bool {
        self.0.driver().supports(capability)
    }

    /// Works with the driver itself, for what is outside the contract, such as the faults of a simulated network. `None` if it is of another type.
    pub fn with_driver<D: Driver + 'static, R>(&self, f: impl FnOnce(&mut D) -> R) -> Option<R> {
        self.0.driver().as_any().downcast_mut::<D>().map(f)
    }

    /// The descriptor that becomes readable when a turn would have something to do, for a foreign loop that runs the reactor inside itself; an owned
    /// copy. `None` where the driver has none.
    #[cfg(unix)]
    pub fn descriptor(&self) -> Option<std::io::Result<std::os::fd::OwnedFd>> {
        let driver = self.0.driver();
        driver.descriptor().map(|descriptor| descriptor.try_clone_to_owned())
    }

    /// What it holds open now: connections, ports, connectors, timers, each with the place that made it. For tests that must leave nothing
    /// behind, and for a look into a program that runs.
    #[doc(alias = "getReaders")]
    #[doc(alias = "getDelayedCalls")]
    pub fn open(&self) -> Vec<Open> {
        self.0.open()
    }

    /// Closes every connection and port, tells their owners, and drops all timers and calls. From inside a callback: after it.
    #[doc(alias = "disconnectAll")]
    pub fn close_all(&self) {
        if self.0.is_inside() {
            let inner = Rc::downgrade(&self.0);
            self.0.after(After::Call(Box::new(move || {
                if let Some(inner) = inner.upgrade() {
                    inner.close_all();
                }
            })));
        } else {
            self.0.inside(|| self.0.close_all());
        }
    }

    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.0
    }
}

impl Clone for Reactor {
    fn clone(&self) -> Self {
        Self::from_inner(&self.0)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let handles = self.0.handles.get() - 1;
        self.0.handles.set(handles);
        if handles > 0 || self.0.is_inside() {
            return;
        }
        // Farewells may make and drop handles of their own: those are not the last.
        self.0.handles.set(1);
        self.0.shared.set_gone();
        self.0.inside(|| self.0.close_all());
        drop(self.0.take_triggers());
        // What is got from a transport later on is the last again: what it puts off goes with it.
        self.0.handles.set(self.0.handles.get() - 1);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("driver", &self.driver_name()).finish_non_exhaustive()
    }
}
