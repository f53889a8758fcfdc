//! What waits for the operating system on behalf of a marline reactor.
//!
//! A driver completes operations (accept, receive, send) for the reactor of `marline-core`; the contract is
//! [`marline_core::driver::Driver`]. Nothing here parses a protocol, keeps a timer or calls user code: a program picks a driver at
//! its edge and hands it to `Reactor::new`.
//!
//! ```
//! let opened = marline_drivers::open(None)?;
//! println!("{}", opened.report); // driver epoll: kernel 6.18, eventfd, accept4; limit 20000 descriptors
//! # use marline_core::driver::Driver;
//! assert_eq!(opened.driver.name(), "epoll");
//! # Ok::<(), marline_drivers::OpenError>(())
//! ```
//!
//! | part | what it does |
//! |---|---|
//! | [`open`], [`DRIVERS`] | walk the ladder of drivers and say which one won |
//! | `readiness` | turns "can be read" into completions; shared by every driver that is told about readiness |
//! | `epoll` | `epoll(7)`, level-triggered |
//! | `alarm` | ends waits at a moment, without a time-out |
//! | `socket`, `datagram`, `unix` | open sockets of each kind, and set what can be set |
//! | `socket_file` | the file of a UNIX socket: its mode, its lock, what a crash left behind |
//! | `background` | jobs and name lookups on threads, signals, and the waker that tells the loop of them |
//! | `watchdog` | a thread that watches for callbacks that hold the loop |
//! | `thread_state` | where that loop's thread is, and by which calls it came there |
//! | `sys` | the only unsafe code |

#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("marline-drivers has drivers for Linux only so far");

mod alarm;
mod background;
mod datagram;
mod epoll;
mod names;
mod probe;
mod readiness;
mod signals;
mod socket;
mod socket_file;
#[allow(unsafe_code, reason = "the one place for it; each block says why it is sound")]
mod sys;
#[cfg(test)]
mod tests;
mod thread_state;
mod unix;
mod wake;
mod watchdog;
mod workers;

pub use probe::{Candidate, OpenError, Opened, open, open_from_environment};

/// The drivers that are built in, best first: the ladder that [`open`] walks.
pub static DRIVERS: &[Candidate] =
    &[Candidate { name: "epoll", probe: epoll::probe, open: epoll::open }];
