//! Marline, an event-driven networking engine: you write protocols as plain objects that react to bytes, and run the same
//! objects, unchanged, on the kernel, in a simulated network under a virtual clock, or on a recording of a production run.
//!
//! This is the facade: the engine of `marline-core`, and by default the drivers of this system and the framings and small protocols that
//! come with the engine. It has no runtime of its own beside the [`Reactor`], and no global one.
//!
//! ```no_run
#![doc = include_str!("echo.rs")]
//! ```
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `drivers` | real drivers, and [`reactor()`], which chooses one | yes |
//! | `macros` | [`macro@test`], the attribute of tests on a reactor | yes |
//! | `protocols` | `marline::protocols`: framings and small protocols | yes |
//!
//! Read on at [`Reactor`], [`Protocol`] and [`Transport`]; the promises are in the front page of `marline-core`, "How callbacks are called".
#![forbid(unsafe_code)]

pub use marline_core::*;

#[cfg(feature = "drivers")]
mod choose;

#[cfg(feature = "drivers")]
pub use choose::{Error, reactor};
#[cfg(feature = "drivers")]
pub use marline_drivers as drivers;
#[cfg(feature = "macros")]
pub use marline_macros::test;
#[cfg(feature = "protocols")]
pub use marline_protocols as protocols;

/// What the attribute writes down.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private;

/// The README's program is run as a test of this crate.
#[cfg(all(doctest, feature = "drivers"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
