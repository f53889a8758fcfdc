//! Marline, an event-driven networking engine: you write protocols as plain objects that react to bytes, and run the same
//! objects, unchanged, on the kernel and in a simulated network under a virtual clock.
//!
//! This is the facade: the engine of `marline-core`, and by default the drivers of this system and the framings, policies and small
//! protocols that come with the engine. It has no runtime of its own beside the [`Reactor`], and no global one.
//!
//! ```no_run
#![doc = include_str!("echo.rs")]
//! ```
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `drivers` | real drivers, and [`reactor()`], which chooses one | yes |
//! | `macros` | [`macro@test`], the attribute of tests on a reactor | yes |
//! | `protocols` | `marline::protocols`: framings, policies and small protocols | yes |
//! | `futures-io`, `tokio` | their traits `AsyncRead` and `AsyncWrite` for [`stream::ByteStream`]; no runtime | no |
//! | `hyper` | the traits of `hyper::rt` likewise, hyper's timer and its executor on a reactor | no |
//!
//! Read on at [`Reactor`], [`Protocol`] and [`Transport`]; the promises are in the front page of `marline-core`, "How callbacks are called".
#![forbid(unsafe_code)]

pub use marline_core::*;

#[cfg(feature = "drivers")]
mod choose;
#[cfg(feature = "drivers")]
mod react;

#[cfg(feature = "drivers")]
pub use choose::{Error, reactor};
#[cfg(feature = "drivers")]
pub use marline_drivers as drivers;
/// The attribute of tests on a reactor of their own.
///
/// ```
/// use marline::failure::Failure;
/// use marline::{Connection, Protocol, Reactor, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
///
/// #[marline::test(seeds = 20)]
/// async fn an_echo_can_be_connected_to(reactor: Reactor) -> Result<(), Failure> {
///     let port = reactor.listen_tcp("127.0.0.1:0", || Echo)?;
///     let connection: Connection<Echo> = reactor.connect_tcp(port.local_addr(), Echo).await?;
///     connection.transport().lose_connection();
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// A mistake is told when it is compiled:
///
/// ```compile_fail
/// #[marline::test(timeout = "2 parsecs")]
/// async fn too_far() {}
/// ```
///
/// # What it does
///
#[cfg(feature = "macros")]
pub use marline_macros::test;
#[cfg(feature = "protocols")]
pub use marline_protocols as protocols;
#[cfg(feature = "drivers")]
pub use react::react;

/// What the attribute writes down.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private;

/// The README's program is run as a test of this crate.
#[cfg(all(doctest, feature = "drivers", feature = "macros"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
