//! What is logged, by the engine and by users, and where it goes: [`tracing`] is the interface, so that any subscriber of it can be used;
//! [`Publisher`] is a small one of our own for programs that bring none.
//!
//! ```
//! use marline_core::log::{LevelFilter, Publisher, TextObserver};
//! use marline_core::testing::TestReactor;
//! # use marline_core::{Protocol, Transport};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
//! # }
//!
//! let publisher = Publisher::new();
//! publisher.begin(vec![Box::new(TextObserver::new(std::io::stdout()))])?;
//! let _installed = publisher.install_for_thread(); // a program: publisher.install()?
//! let reactor = TestReactor::new();
//! reactor.listen_tcp("127.0.0.1:8000", || Echo)?;
//! // 2026-01-01T00:00:00+00:00 INFO marline: port opened addr=127.0.0.1:8000 factory=...
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | what |
//! |---|---|
//! | `engine.rs` | every event of the engine's own |
//! | `event.rs`, `text.rs` | an event as observers get it, and as text |
//! | `context.rs`, `job.rs`, `whose.rs` | whose line it is: on the reactor, on worker threads, afterwards |
//! | `publisher/`, `levels.rs` | what `tracing` is given reaches observers |
//! | `observer.rs` | observers: text, the last events |
//!
//! Where a program keeps its log (files that are rotated, a system's own log) is the application framework's.

mod context;
pub(crate) mod engine;
mod event;
pub(crate) mod job;
mod levels;
mod observer;
mod publisher;
mod text;
mod whose;

pub use context::{Context, context};
pub use engine::failure;
pub use event::{Event, Value};
pub use observer::{History, Observer, TextObserver};
pub use publisher::{AlreadyBegun, AlreadyInstalled, Installed, ObserverId, Publisher};
pub use text::one_line;
pub use tracing::Level;
pub use tracing::level_filters::LevelFilter;
pub(crate) use whose::Whose;
