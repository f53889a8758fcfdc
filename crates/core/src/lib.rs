//! The engine of marline: write protocols as plain objects that react to bytes, and run the same objects on the kernel and in a
//! simulated network under a virtual clock.
//!
//! This crate opens no socket, reads no clock and draws no random number: all that is a [`driver`]'s. It holds the [`Reactor`], timers,
//! [deferreds](deferred), [transports](Transport), [protocols and factories](Protocol), the [driver contract](driver::Driver), the
//! [simulated network](sim) and a [testing kit](testing). A program picks real drivers at its edge: the facade crate `marline` does so.
//!
//! # A program
//!
//! ```
//! use marline_core::{Protocol, Reactor, Transport, sim::SimDriver};
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! let reactor = Reactor::new(SimDriver::alone(1)); // or marline::reactor()?
//! reactor.listen_tcp("127.0.0.1:8000", || Echo)?;
//! # reactor.call_soon(|reactor| reactor.stop().unwrap());
//! reactor.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How callbacks are called
//!
//! - A protocol is never entered twice at once, never before `connection_made`, never after `connection_lost`, which it hears exactly once,
//!   whatever happened; always by the thread that runs the reactor.
//! - A callback may call anything: write, close, abort, listen, connect, stop the reactor. No method of a transport blocks or calls user code:
//!   what follows from it comes after the callback on the stack, first in, first out. (Only firing a [`Deferred`](deferred::Deferred) and
//!   [`Connection::with`] run code at once.)
//! - What a callback writes leaves right after it; in one system call where that can be.
//! - A panic in a callback is caught and logged, and ends that connection alone.
//!
//! # The parts
//!
//! | module | what |
//! |---|---|
//! | [`driver`] | the contract between the reactor and what waits for the system |
//! | [`deferred`], [`failure`] | results that are not there yet |
//! | [`protocol`] | protocols, factories |
//! | [`datagram`] | datagram sockets and their protocols |
//! | [`transport`], [`flow`], [`layer`], [`policy`] | connections, back-pressure, what lies between protocol and wire |
//! | [`stream`] | connections for async code: byte streams |
//! | [`rate`] | token buckets |
//! | [`civil`] | dates and times of day |
//! | [`log`] | what is logged, whose line it is, where it goes |
//! | [`sync`] | locks, semaphores, queues |
//! | [`sim`] | the simulated network |
//! | [`task`] | looping calls, sleep, cooperation, a program of one task |
//! | [`testing`] | doubles and checks for tests |
#![forbid(unsafe_code)]

mod addr;
#[cfg(unix)]
mod adopt;
mod budget;
pub mod civil;
mod connection;
mod connector;
pub mod datagram;
pub mod deferred;
mod descriptor;
mod destination;
pub mod driver;
mod error;
pub mod failure;
pub mod flow;
pub mod layer;
pub mod log;
mod panic;
pub mod policy;
mod port;
pub mod protocol;
pub mod rate;
mod reactor;
mod rng;
pub mod sim;
pub mod stream;
pub mod sync;
mod table;
pub mod task;
pub mod testing;
mod time;
mod timers;
pub mod transport;
mod unix;
#[cfg(unix)]
mod watch;

pub use addr::Addr;
#[cfg(unix)]
pub use adopt::{AdoptCause, AdoptError};
pub use budget::{Budgets, Scope, Spent, WhenSpent};
pub use connection::{Connection, Unavailable};
pub use connector::{AlreadyConnecting, Connector, NotConnecting};
pub use destination::Destination;
pub use error::{CloseReason, ConnectCause, ConnectError, ListenError, NotRunning, RunError};
pub use port::Port;
pub use protocol::{Factory, Link, Protocol};
pub use reactor::{
    BlockingError, DelayedCall, Event, Figures, Incident, JoinNext, JoinSet, NotPending, Open,
    Phase, Reactor, Remote, Reply, SignalHandle, Stall, StallOptions, Subscription, ThreadState,
    TriggerId, TriggerResult, Turn, UnknownTrigger, signal,
};
pub use rng::Rng;
pub use time::Time;
pub use transport::Transport;
#[cfg(unix)]
pub use watch::{Watch, Watcher};
