//! Identification (RFC 1413): which user a connection belongs to, as the host at its other end says.
//!
//! `message.rs` reads and writes question and answer (§4, §5 and the formal syntax), `server.rs` asks a [`Lookup`] of yours and answers,
//! `client.rs` asks. What is answered is worth what the other host's word is worth (§6): for logs, not for access.

mod client;
mod fuzz;
mod message;
mod server;

pub use client::{IdentCause, IdentError, ask, ask_about};
#[doc(hidden)]
pub use fuzz::fuzz;
pub use message::{
    Answer, AnswerError, ErrorToken, Identity, IdentityError, Ports, PortsError, Refusal,
};
pub use server::{IdentServer, Lookup, Question, server};
