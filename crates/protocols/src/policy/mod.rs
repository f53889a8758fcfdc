//! Policies for any connection: time-outs, limits, throttling, a traffic log. They stand among the layers of a connection
//! ([`marline_core::policy`]), compose, and survive an upgrade.
//!
//! | file | what |
//! |---|---|
//! | `idle.rs` | [`IdleTimeout`], [`Deadline`]: connections that are silent, or too old |
//! | `timeout.rs` | [`Timeout`]: a protocol's own patience |
//! | `limits.rs` | [`Limits`]: how many connections, in all and from one peer |
//! | `throttle.rs` | [`Throttle`], [`Rate`]: bytes a second, for one connection or many together |
//! | `traffic.rs` | [`TrafficLog`]: what goes over a connection, as text |
//!
//! ```
//! use std::time::Duration;
//! use marline_core::{Protocol, Transport, protocol::from_fn};
//! use marline_protocols::policy::{IdleTimeout, Limits, Rate, Throttle};
//!
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     fn data_received(&mut self, transport: &Transport, data: &[u8]) { transport.write(data); }
//! # }
//! let all = Rate::new(1_000_000, 100_000)?;
//! let factory = from_fn(move |link| {
//!     let own = Rate::new(50_000, 10_000).ok()?;
//!     link.add_policy(IdleTimeout::new(Duration::from_secs(60)));
//!     link.add_policy(Throttle::new().writing(&own).writing(&all));
//!     Some(Echo)
//! });
//! let factory = Limits::new().with_total(1000).with_per_peer(10).around(factory);
//! # let _ = factory;
//! # Ok::<(), marline_core::rate::BadRate>(())
//! ```

mod idle;
mod limits;
mod throttle;
mod timeout;
mod traffic;

pub use idle::{Deadline, IdleTimeout};
pub use limits::{Limited, Limits};
pub use throttle::{Rate, Throttle};
pub use timeout::Timeout;
pub use traffic::{TrafficFormat, TrafficLog};
