//! Asking a finger server.

use marline_core::deferred::Deferred;
use marline_core::{Destination, Reactor};

use super::Query;
use crate::inquiry::{Inquiry, InquiryError, printable};

/// Asks a server, and gives what it answers, lines ended by LF; of that only what is [`printable`] is kept (RFC 1288 §3.3). The standard
/// port is 79. An answer is at most 64 KiB long and comes within 30 seconds; for other limits there is [`Inquiry`].
///
/// ```
/// # use marline_core::Reactor;
/// use marline_protocols::finger::{self, Query};
///
/// # fn f(reactor: &Reactor) -> Result<(), finger::QueryError> {
/// let query = Query::user("pirmann")?.verbose();
/// finger::ask(reactor, "dimacs.rutgers.edu:79", &query).done(|answer| match answer {
///     Ok(text) => print!("{text}"),
///     Err(error) => eprintln!("{error}"),
/// });
/// # Ok(())
/// # }
/// # let _ = f;
/// ```
#[track_caller]
pub fn ask(
    reactor: &Reactor,
    to: impl Into<Destination>,
    query: &Query,
) -> Deferred<String, InquiryError> {
    let inquiry = Inquiry::new(format!("{query}\r\n"));
    inquiry.ask(reactor, to).map(|answer| printable(&answer))
}
