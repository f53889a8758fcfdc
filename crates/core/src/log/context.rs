//! Whose line it is: the connection, protocol and callback that run while something is logged, found only then.

use std::fmt;
use std::panic::Location;
use std::time::SystemTime;

use super::{job, text};
use crate::Addr;
use crate::driver::Handle;
use crate::reactor::current;

/// The callback that runs on this thread now.
///
/// Shows as `Echo#12.0 192.0.2.1:5000`, or as the callback and its place in the source if it belongs to no protocol: `timer src/main.rs:7:13`. A job on
/// a worker thread has both: the connection on whose behalf it was deferred, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The type of the protocol whose callback it is, as `std::any::type_name` has it.
    pub protocol: Option<&'static str>,
    /// The callback, such as `data_received` or `timer`.
    pub callback: &'static str,
    /// The connection: its number, and how many others have had that number before.
    pub connection: Option<Handle>,
    /// The other end of the connection.
    pub peer: Option<Addr>,
    /// Where the timer was set, the task spawned, the job deferred.
    pub site: Option<&'static Location<'static>>,
}

/// The callback that runs on this thread now: of the reactor whose turn it is, the innermost if one runs inside another. In a job on a worker thread, the
/// job. `None` outside callbacks and jobs.
///
/// Nothing is kept for this from callback to callback; it is looked up when something is logged.
///
/// ```
/// use std::time::Duration;
/// use marline_core::log;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// reactor.call_later(Duration::ZERO, |_| {
///     assert_eq!(log::context().unwrap().callback, "timer");
/// });
/// reactor.advance(Duration::from_secs(1));
/// assert_eq!(log::context(), None);
/// ```
#[doc(alias = "callWithContext")]
#[doc(alias = "logPrefix")]
#[doc(alias = "ILoggingContext")]
pub fn context() -> Option<Context> {
    let Some(reactor) = current::reactor() else { return job::running() };
    let running = reactor.context()?;
    Some(Context {
        protocol: running.protocol,
        callback: running.callback,
        connection: running.handle,
        peer: running.peer,
        site: running.site,
    })
}

/// The time for an event: that of this thread's reactor, the system's if there is none or its driver is busy.
pub(super) fn wall_clock() -> SystemTime {
    let clock = current::reactor().and_then(|reactor| reactor.log_clock());
    clock.unwrap_or_else(SystemTime::now)
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(protocol) => short(f, protocol)?,
            None => f.write_str(self.callback)?,
        }
        if let Some(connection) = self.connection {
            write!(f, "{connection:?}")?;
        }
        if let Some(peer) = &self.peer {
            f.write_str(" ")?;
            text::quoted(f, &peer.to_string())?;
        }
        match self.site {
            Some(site) => write!(f, " {site}"),
            None => Ok(()),
        }
    }
}

/// Writes the name of a type without the paths in it.
fn short(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let mut word = 0;
    for (at, c) in name.char_indices() {
        if c == ':' {
            word = at + 1;
        } else if !c.is_alphanumeric() && c != '_' {
            f.write_str(&name[word..at + c.len_utf8()])?;
            word = at + c.len_utf8();
        }
    }
    f.write_str(&name[word..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_named_without_its_path_and_those_of_its_parameters() {
        struct Named(&'static str);
        impl fmt::Display for Named {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                short(f, self.0)
            }
        }
        for (name, shown) in [
            ("Echo", "Echo"),
            ("shop::till::Till", "Till"),
            ("a::b::Lines<c::d::Echo, core::option::Option<&str>>", "Lines<Echo, Option<&str>>"),
            ("(a::B, [c::D; 3])", "(B, [D; 3])"),
            ("a::main::{{closure}}", "{{closure}}"),
            ("", ""),
        ] {
            assert_eq!(Named(name).to_string(), shown);
        }
    }

    #[test]
    fn a_peers_name_cannot_end_the_brackets_with_a_line_of_its_own() {
        let peer = Addr::Unix("/tmp/x\n2026 INFO forged".into());
        let context = Context {
            protocol: Some("a::Echo"),
            callback: "data_received",
            connection: Some(Handle { index: 12, version: 3 }),
            peer: Some(peer),
            site: None,
        };
        assert_eq!(context.to_string(), r#"Echo#12.3 "/tmp/x\n2026 INFO forged""#);
    }
}
