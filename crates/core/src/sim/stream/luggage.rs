//! Descriptors on their way over a simulated UNIX connection: each belongs to a byte and arrives with it. They are real ones, of this process.

use std::collections::VecDeque;

use crate::Addr;
use crate::descriptor::Descriptor;
use crate::driver::{Handle, OsError};

use super::{Net, Side};

/// Descriptors by the place of their byte in the stream, in its order.
#[derive(Debug, Default)]
pub(in crate::sim) struct Luggage(VecDeque<(u64, Descriptor)>);

impl Luggage {
    /// Takes those whose bytes lie before `end`.
    pub(super) fn up_to(&mut self, end: u64) -> VecDeque<Descriptor> {
        let count = self.0.partition_point(|&(place, _)| place < end);
        self.0.drain(..count).map(|(_, descriptor)| descriptor).collect()
    }

    /// Closes those whose bytes lie at `start` or behind it.
    pub(super) fn truncate(&mut self, start: u64) {
        self.0.truncate(self.0.partition_point(|&(place, _)| place < start));
    }
}

impl Net {
    /// A descriptor is to go with the next byte that `side` sends.
    pub(in crate::sim) fn pass(
        &mut self,
        key: Handle,
        side: Side,
        descriptor: Descriptor,
    ) -> Result<(), OsError> {
        let conn = self.conns.get_mut(key).ok_or(OsError::STALE)?;
        if !matches!(conn.end(side).peer, Addr::Unix(_)) {
            return Err(OsError::UNSUPPORTED);
        }
        let pipe = conn.pipe_mut(side);
        let place = pipe.next_place();
        pipe.luggage.0.push_back((place, descriptor));
        Ok(())
    }

    /// The next descriptor that came with the bytes reported last.
    pub(in crate::sim) fn take_passed(&mut self, key: Handle, side: Side) -> Option<Descriptor> {
        self.conns.get_mut(key)?.end_mut(side).came.pop_front()
    }
}
