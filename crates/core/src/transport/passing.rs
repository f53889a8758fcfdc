//! Passing descriptors to the other end of a UNIX connection. They wait in the queue of `output.rs` like bytes; how they arrive is in
//! `descriptors.rs`.

use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;

use super::Transport;
use super::head::{Head, flag};
use super::queue::Segment;
use crate::Addr;
use crate::driver::Capability;

impl Transport {
    /// Passes a descriptor (a file, a socket, anything open) to the other end, which gets a copy of its own. It rides with the next byte
    /// written after it, and arrives before that byte. Ours is closed once it has left.
    ///
    /// Each descriptor needs a byte of its own: if there are more of them than bytes written after them when the output leaves (after the
    /// callback, or at the end of the turn, or because the connection is closed), the connection ends with [`DescriptorOverrun`](super::DescriptorOverrun). More than 64 that wait
    /// count as a full buffer, for which a producer is paused.
    ///
    /// ```no_run
    /// # use marline_core::{Protocol, Transport};
    /// # fn hand_out(transport: &Transport, file: std::fs::File) {
    /// if transport.send_descriptor(file.into()).is_ok() {
    ///     transport.write(b"f"); // the byte that the descriptor rides on
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DescriptorError`], with the descriptor: the connection is no UNIX connection, or not open for writing, or what is written passes a
    /// layer, or a policy that sees or limits it (see [`Policy::watches`](crate::policy::Policy::watches)).
    #[doc(alias = "sendFileDescriptor")]
    pub fn send_descriptor(&self, descriptor: OwnedFd) -> Result<(), DescriptorError> {
        self.0.send_descriptor(descriptor)
    }
}

/// A descriptor could not be passed, and is given back.
#[derive(Debug)]
pub struct DescriptorError {
    /// Why.
    pub cause: DescriptorCause,
    /// The descriptor, still open.
    pub descriptor: OwnedFd,
}

/// Why a descriptor could not be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DescriptorCause {
    /// Not a UNIX connection, or a driver that passes no descriptors.
    Unsupported,
    /// What is written passes a layer, or a policy that sees or limits it: of the bytes that a layer makes anew, and of those that a policy lets go
    /// later, none is the descriptor's.
    Layered,
    /// The connection is lost, or its write side closing or closed.
    Closed,
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            DescriptorCause::Unsupported => "this connection passes no descriptors",
            DescriptorCause::Layered => "a connection with layers, or policies that see what is written, passes no descriptors",
            DescriptorCause::Closed => "the connection is closed for writing",
        })
    }
}

impl Error for DescriptorError {}

impl Head {
    pub(super) fn send_descriptor(&self, descriptor: OwnedFd) -> Result<(), DescriptorError> {
        let closed = match self.has(flag::PRODUCER) {
            true => flag::WRITE_CLOSED | flag::LOST,
            false => flag::NO_WRITE,
        };
        let cause = if self.has(closed) {
            DescriptorCause::Closed
        } else if self.has(flag::BEHIND) {
            DescriptorCause::Layered
        } else if !self.passes_descriptors() {
            DescriptorCause::Unsupported
        } else {
            self.with_output(|output| output.queue.push(Segment::Descriptor(descriptor)));
            self.flush_soon();
            self.check_high_water();
            return Ok(());
        };
        Err(DescriptorError { cause, descriptor })
    }

    fn passes_descriptors(&self) -> bool {
        matches!(self.peer_addr(), Addr::Unix(_))
            && self.reactor.driver().supports(Capability::PassDescriptors)
    }
}
