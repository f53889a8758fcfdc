//! Finger (RFC 1288): who somebody is, or who is there.
//!
//! `query.rs` is the question (§2.3), `server.rs` asks a [`Directory`] of yours and answers, `client.rs` asks. Forwarding (§2.4) is left to
//! the directory, and refused by default, as §3.2.1 advises.

mod client;
mod fuzz;
mod query;
mod server;

pub use client::ask;
#[doc(hidden)]
pub use fuzz::fuzz;
pub use query::{Query, QueryError};
pub use server::{Directory, FingerServer, server};
