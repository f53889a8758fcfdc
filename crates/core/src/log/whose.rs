//! [`Whose`]: the callback that runs now, in so few bytes that it can be kept with whatever is made in it, and told of when something
//! is logged about that much later.

use super::Context;
use crate::driver::Handle;
use crate::reactor::current;

/// A callback of one of this thread's reactors: which kind, of which connection. Names nothing that lives, so it keeps nothing alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The number of the reactor above that of the callback, or one of the two words below.
    callback: u32,
    /// The connection; [`Self::NO_CONNECTION`] if it is none's.
    index: u32,
    version: u32,
}

impl Whose {
    /// Of no callback.
    pub(crate) const NOBODY: Self = Self::word(0);
    /// To be [asked](Self::asked) later.
    pub(crate) const UNASKED: Self = Self::word(u32::MAX);

    const NO_CONNECTION: u32 = u32::MAX;
    /// Numbers of reactors are below this.
    pub(crate) const REACTORS: u32 = (1 << 24) - 1;

    const fn word(callback: u32) -> Self {
        Self { callback, index: Self::NO_CONNECTION, version: 0 }
    }

    pub(crate) fn new(reactor: u32, callback: u8, connection: Option<Handle>) -> Self {
        let callback = reactor << 8 | u32::from(callback);
        match connection {
            Some(Handle { index, version }) => Self { callback, index, version },
            None => Self::word(callback),
        }
    }

    /// That of the callback which runs now.
    #[inline]
    pub(crate) fn now() -> Self {
        current::reactor().map_or(Self::NOBODY, |reactor| reactor.whose())
    }

    /// Itself, or if it was not asked before, that of the callback which runs now.
    pub(crate) fn asked(self) -> Self {
        if self == Self::UNASKED { Self::now() } else { self }
    }

    /// What is still known of it: all as long as the connection is open and while its end is told, its number always.
    pub(crate) fn context(self) -> Option<Context> {
        if self == Self::NOBODY || self == Self::UNASKED {
            return None;
        }
        let (reactor, callback) = (self.callback >> 8, self.callback as u8);
        let connection = (self.index != Self::NO_CONNECTION)
            .then_some(Handle { index: self.index, version: self.version });
        let known = current::known(reactor).zip(connection);
        let (protocol, peer) = known.and_then(|(reactor, handle)| reactor.owner(handle)).unzip();
        let callback = crate::reactor::beat::Callback::name(callback);
        Some(Context { protocol, callback, connection, peer, site: None })
    }
}
