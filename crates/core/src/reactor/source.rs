//! What the reactor's table holds: streams, listening ports, attempts to connect. Each takes the completions of its handle.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use crate::driver::{Completion, Handle};
use crate::{CloseReason, Transport};

/// One place of the table. Streams are told apart, since nearly all traffic is theirs.
#[doc(hidden)]
#[derive(Clone)]
#[allow(missing_debug_implementations, unreachable_pub, reason = "part of `After`")]
pub enum Entry {
    Vacant,
    Stream(Transport),
    Other(Rc<dyn Source>),
}

impl Entry {
    /// Something other than bytes was completed.
    pub(super) fn completed(&self, completion: Completion) {
        match self {
            Self::Vacant => {}
            Self::Stream(transport) => {
                transport.engine(|stream| stream.completed(transport, completion))
            }
            Self::Other(source) => Rc::clone(source).completed(completion),
        }
    }

    /// The handle is closed: tells whoever is to be told.
    pub(super) fn lost(&self) {
        match self {
            Self::Vacant => {}
            Self::Stream(transport) => transport.engine(|stream| stream.lost(transport)),
            Self::Other(source) => Rc::clone(source).lost(),
        }
    }

    /// Closes the handle; [`lost`](Self::lost) follows.
    pub(super) fn end(&self, reason: CloseReason) {
        match self {
            Self::Vacant => {}
            Self::Stream(transport) => transport.engine(|stream| stream.end(reason)),
            Self::Other(source) => Rc::clone(source).end(reason),
        }
    }

    /// The type whose callbacks those of this handle are.
    pub(super) fn protocol_name(&self) -> Option<&'static str> {
        match self {
            Self::Vacant => None,
            Self::Stream(transport) => {
                let mut name = None;
                transport.engine(|stream| name = Some(stream.protocol_name()));
                name
            }
            Self::Other(source) => source.type_name(),
        }
    }

    /// What a thread that looks on is to know of it, if it is a connection.
    pub(super) fn row(&self) -> Option<(Handle, &'static str)> {
        let Self::Stream(transport) = self else { return None };
        let mut row = None;
        transport.engine(|stream| row = Some((stream.head().handle(), stream.protocol_name())));
        row
    }

    pub(super) fn describe(&self) -> Option<Open> {
        match self {
            Self::Vacant => None,
            Self::Stream(transport) => {
                let mut open = None;
                transport.engine(|stream| open = Some(stream.describe()));
                open
            }
            Self::Other(source) => Some(source.describe()),
        }
    }
}

/// The owner of one handle of the driver's that is no stream.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "part of `After`")]
pub trait Source {
    /// Something was completed.
    fn completed(self: Rc<Self>, completion: Completion);

    /// The handle is closed; tells whoever is to be told.
    fn lost(self: Rc<Self>);

    /// Closes the handle; [`lost`](Self::lost) follows.
    fn end(self: Rc<Self>, reason: CloseReason);

    /// The turn has ended, and it had asked to send then what was written to it ([`Inner::dirty`](super::inner::Inner::dirty)).
    fn flush(&self) {}

    /// For reports of what is open.
    fn describe(&self) -> Open;

    /// The type of the user's object that its callbacks are those of: a protocol or a factory.
    fn type_name(&self) -> Option<&'static str> {
        None
    }

    /// The handle, if it is a watched descriptor.
    #[cfg(unix)]
    fn as_watch(self: Rc<Self>) -> Option<crate::Watch> {
        None
    }
}

/// Something a reactor holds open, with the place in the source that made it.
#[derive(Clone)]
pub struct Open {
    /// What kind of thing: `connection`, `port`, `connector`, `datagrams`, `watch`, `timer`.
    pub kind: &'static str,
    /// Which.
    pub what: String,
    /// Where it was made.
    pub site: &'static Location<'static>,
}

impl Open {
    pub(crate) fn new(kind: &'static str, what: String, site: &'static Location<'static>) -> Self {
        Self { kind, what, site }
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, made at {}", self.kind, self.what, self.site)
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
