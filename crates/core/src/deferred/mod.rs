//! Results that are not there yet: [`Deferred`], fired by its [`Resolver`], with a typed chain of steps; combinations of several.
//! Locks and queues are in [`sync`](crate::sync), looping calls and the like in [`task`](crate::task).
//!
//! | file | what |
//! |---|---|
//! | `chain.rs` | the steps |
//! | `cancel.rs` | handles that cancel and that hold back |
//! | `future.rs` | `.await` |
//! | `timeout.rs` | time-outs |
//! | `combine/` | several deferreds, one result |
//! | `resolver.rs` | the firing end |
//! | `node.rs`, `link.rs`, `outcome.rs`, `origin.rs` | what a chain is made of and how it is walked |
//! | `lease.rs` | a first node that waits in a line, and gives back what nobody took |
//! | `interrupt.rs`, `report.rs` | the engine's own errors, failures nobody looked at |
//!
//! # A chain
//!
//! ```
//! use marline_core::deferred::Deferred;
//! use marline_core::failure::Failure;
//!
//! let (deferred, resolver) = Deferred::<String>::new();
//! let shown = deferred
//!     .and_then(|text| Ok::<u16, Failure>(text.parse()?))  // may fail
//!     .map(|port| port + 1)                                // cannot
//!     .or_else(|_failure| Ok::<u16, Failure>(80))          // the errors of both
//!     .map(|port| format!("port {port}"));
//! assert!(!shown.is_ready());
//! resolver.resolve("8080".into()); // the steps run here, before it returns
//! assert_eq!(shown.try_take().unwrap().unwrap(), "port 8081");
//! ```
//!
//! # Rules
//!
//! - Each step consumes the deferred it is added to and returns the next. It runs at once if the result is there, else when it arrives, in
//!   the order added; while it runs, steps added to the end of the chain wait for it.
//! - A step for the other side is passed by. A panic in a step is an error for the next: [`Interrupt::Panicked`].
//! - A step that returns a deferred makes the chain wait for it. What it waits for can in turn wait: firing, cancelling and dropping take
//!   constant stack, whatever the length.
//! - [`Deferred::cancel`] reaches the innermost deferred that is waited for. Once there is a result, or while a step runs, it does nothing.
//! - Dropping a deferred leaves its chain to run. An error that nobody looked at is logged when it is dropped, to the target
//!   `marline::deferred`, with the place where the chain was made, the connection in whose callback, where it failed, and the links it went through.
//!   [`done`](Deferred::done) and [`ignore`](Deferred::ignore) look at it; dropping a deferred that a task has begun to await cancels it.
//! - Any method may be called from inside any step, canceller or `Drop`; nothing is borrowed while they run.
//!
//! # Cost
//!
//! A deferred that is ready allocates nothing, nor does a step added to it. One that is not allocates once for its first node and once for
//! each step added, which holds the step, its captures and its result. Waiting for a returned deferred allocates nothing. An error
//! allocates once for the first link it passes by, to remember where it came along.
//!
//! # Coming from Twisted
//!
//! | there | here |
//! |---|---|
//! | `callback`, `errback` | [`Resolver::resolve`], [`fail`](Resolver::fail), [`finish`](Resolver::finish): once, by construction |
//! | `addCallback` that returns a value, that may raise, that returns a Deferred | [`map`](Deferred::map), [`and_then`](Deferred::and_then), [`then`](Deferred::then) |
//! | `addErrback` likewise; that raises another error | [`recover`](Deferred::recover), [`or_else`](Deferred::or_else), [`or_then`](Deferred::or_then); [`map_err`](Deferred::map_err) |
//! | `addBoth`; as `finally` | [`both`](Deferred::both), [`both_then`](Deferred::both_then); [`finally`](Deferred::finally) |
//! | `addCallbacks` | [`either`](Deferred::either), [`either_then`](Deferred::either_then) |
//! | the last callback of a chain | [`done`](Deferred::done), [`ignore`](Deferred::ignore), or a dropped deferred |
//! | `chainDeferred` | [`Resolver::follow`]: constant stack; cancelling goes to the deferred that is followed |
//! | `DeferredList`; `gatherResults` | [`list`], whose errors are not logged; [`gather`], whose error is that of the input, as it is |
//! | `fireOnOneCallback`, `fireOnOneErrback`, `consumeErrors` | [`first_value`], [`gather_with`], [`Rest::Ignore`] |
//! | `race` | [`race`]; without inputs it fails at once, and so does `first_value` |
//! | `succeed`, `fail` | [`ready`](Deferred::ready), [`failed`](Deferred::failed), [`from_result`](Deferred::from_result) |
//! | `execute`, `maybeDeferred` | `Deferred::ready(()).and_then(..)`, `.then(..)` |
//! | `pause`, `unpause` | [`hold`](Deferred::hold) gives a [`Hold`]; the chain goes on when the last is dropped |
//! | `cancel`, `CancelledError`, canceller | [`cancel`](Deferred::cancel), [`CancelHandle`], [`Interrupt::Cancelled`], [`with_canceller`](Deferred::with_canceller) |
//! | `addTimeout`, `onTimeoutCancel` | [`timeout`](Deferred::timeout), [`timeout_with`](Deferred::timeout_with) |
//! | `AlreadyCalledError` | does not compile; a result after a cancel is always swallowed |
//! | a Deferred that another has waited for is left with None | does not compile: waiting takes it |
//! | a canceller that raises leaves the Deferred unfired | [`Interrupt::Panicked`] |

use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::Rc;

use self::link::{Link, apply};
use self::node::Source;
use self::origin::Origin;
use self::outcome::{Failed, Outcome, Step};
use self::resolver::Root;
use crate::failure::Failure;

pub use self::cancel::{CancelHandle, Hold};
pub use self::combine::{
    FailureGroup, FirstError, Join, Rest, first_value, gather, gather_with, join, list, race,
};
pub use self::interrupt::{Fault, Interrupt};
pub(crate) use self::lease::{Lease, Lender};
#[doc(hidden)]
pub use self::report::{Hook, Unhandled, capture_unhandled, replace_hook};
pub use self::resolver::Resolver;

mod cancel;
mod chain;
mod combine;
mod future;
mod interrupt;
mod lease;
mod link;
mod node;
mod origin;
mod outcome;
mod report;
mod resolver;
#[cfg(test)]
mod tests;
mod timeout;

/// A result that is not there yet, of one thread. See the [module](self).
#[must_use = "a dropped Deferred goes on, but its error is only logged: say .done(..) or .ignore()"]
pub struct Deferred<T: 'static, E: Fault = Failure> {
    state: State<T, E>,
    origin: Origin,
}

enum State<T: 'static, E: Fault> {
    Ready(Outcome<T, E>),
    /// Will come out of this node, or waits there to be taken.
    Node(Rc<dyn Source<T, E>>),
    Taken,
}

impl<T: 'static, E: Fault> Deferred<T, E> {
    /// Makes a deferred and the resolver that fires it. Cancelling it fires [`Interrupt::Cancelled`].
    #[track_caller]
    #[allow(
        clippy::new_ret_no_self,
        reason = "as for a channel: neither end is of use without the other"
    )]
    pub fn new() -> (Self, Resolver<T, E>) {
        Self::open(Location::caller(), None::<fn()>)
    }

    /// Makes a deferred that calls `canceller`, once, if it is cancelled before it is fired. The canceller may fire the resolver itself,
    /// either way; if it does not, [`Interrupt::Cancelled`] is fired right after it, or [`Interrupt::Panicked`] if it panicked.
    #[track_caller]
    pub fn with_canceller(canceller: impl FnOnce() + 'static) -> (Self, Resolver<T, E>) {
        Self::open(Location::caller(), Some(canceller))
    }

    /// Makes a deferred that has its value. Allocates nothing.
    #[track_caller]
    #[doc(alias = "succeed")]
    pub fn ready(value: T) -> Self {
        Self { state: State::Ready(Ok(value)), origin: Origin::unasked(Location::caller()) }
    }

    /// Makes a deferred that has failed. Allocates nothing.
    #[track_caller]
    #[doc(alias = "fail")]
    pub fn failed(error: E) -> Self {
        let origin = Origin::new(Location::caller());
        Self { state: State::Ready(Err(Failed::new(error, origin.head))), origin }
    }

    /// Makes a deferred that has its result. Allocates nothing.
    #[track_caller]
    pub fn from_result(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::ready(value),
            Err(error) => Self::failed(error),
        }
    }

    /// Takes the result out, if it is there and not [held back](Self::hold).
    ///
    /// # Errors
    ///
    /// The deferred itself, unchanged, if the result cannot be had now.
    pub fn try_take(self) -> Result<Result<T, E>, Self> {
        self.into_outcome().map(|outcome| outcome.map_err(Failed::into_error))
    }

    /// Whether the result is there and not [held back](Self::hold).
    #[doc(alias = "called")]
    pub fn is_ready(&self) -> bool {
        match &self.state {
            State::Ready(_) => true,
            State::Node(source) => source.out().is_ready(),
            State::Taken => false,
        }
    }

    fn open<C: FnOnce() + 'static>(
        site: &'static Location<'static>,
        canceller: Option<C>,
    ) -> (Self, Resolver<T, E>) {
        let origin = Origin::new(site);
        let (root, resolver) = Root::open(origin, canceller);
        (Self { state: State::Node(root), origin }, resolver)
    }

    /// Adds a step: runs it now, or when the result is there.
    #[inline]
    fn step<U: 'static, E2: Fault>(
        self,
        site: &'static Location<'static>,
        step: impl FnOnce(Result<T, E>) -> Step<U, E2> + 'static,
    ) -> Deferred<U, E2> {
        let mut origin = self.origin;
        let state = match self.into_source() {
            Ok(source) => State::Node(Link::append(&source, site, step)),
            Err(outcome) => match apply(step, outcome, site) {
                Ok(outcome) => {
                    if outcome.is_err() {
                        origin = origin.asked();
                    }
                    State::Ready(outcome)
                }
                Err(inner) => return inner,
            },
        };
        Deferred { state, origin }
    }

    #[inline]
    fn into_outcome(self) -> Result<Outcome<T, E>, Self> {
        let origin = self.origin;
        self.into_source()
            .map_or_else(Ok, |source| Err(Self { state: State::Node(source), origin }))
    }

    /// The node the result will come out of, or else the result.
    #[inline]
    fn into_source(mut self) -> Result<Rc<dyn Source<T, E>>, Outcome<T, E>> {
        match mem::replace(&mut self.state, State::Taken) {
            State::Ready(outcome) => Err(outcome),
            State::Node(source) => match node::take(&*source) {
                Some(outcome) => Err(outcome),
                None => Ok(source),
            },
            State::Taken => panic!("a Deferred was used after its result had been awaited"),
        }
    }
}

impl<T: 'static, E: Fault> From<Result<T, E>> for Deferred<T, E> {
    #[track_caller]
    fn from(result: Result<T, E>) -> Self {
        Self::from_result(result)
    }
}

impl<T: 'static, E: Fault> Drop for Deferred<T, E> {
    fn drop(&mut self) {
        match mem::replace(&mut self.state, State::Taken) {
            State::Ready(Err(failed)) => report::unhandled(self.origin, &failed),
            State::Node(source) => {
                if source.out().leave_task() {
                    node::interrupt(source, &Interrupt::Cancelled);
                } else {
                    source.forsake();
                }
            }
            State::Ready(Ok(_)) | State::Taken => {}
        }
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Deferred<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred")
            .field("ready", &self.is_ready())
            .field("made", &self.origin.head.to_string())
            .finish()
    }
}
