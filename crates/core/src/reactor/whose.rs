//! Whose callback runs now, and who a connection was that had one: for what is told of it later.

use super::inner::Inner;
use super::source::Entry;
use crate::Addr;
use crate::driver::Handle;
use crate::log::Whose;

impl Inner {
    /// The callback that runs now on this reactor, on its own thread.
    pub(crate) fn whose(&self) -> Whose {
        let seen = self.beat.see();
        if !seen.is_busy() {
            return Whose::NOBODY;
        }
        let connection = seen.index().and_then(|index| match self.entry(index) {
            Some(Entry::Stream(transport)) => {
                let mut handle = None;
                transport.engine(|stream| handle = Some(stream.head().handle()));
                handle
            }
            // It was taken out of the table already, and hears its end.
            _ => self.beat.departing(seen),
        });
        Whose::new(self.id, seen.number(), connection)
    }

    /// The protocol and the peer of a connection that is open, or is the last that ended inside a callback of its own.
    pub(crate) fn owner(&self, connection: Handle) -> Option<(&'static str, Addr)> {
        let mut owner = None;
        if let Some(Entry::Stream(transport)) = self.entry(connection.index) {
            transport.engine(|stream| {
                if stream.head().handle() == connection {
                    owner = Some((stream.protocol_name(), stream.head().peer_addr()));
                }
            });
        }
        owner.or_else(|| self.beat.departed(connection))
    }
}
