//! Datagrams that wait to be sent together: their bytes one behind the other, and for each its end and its address.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::Addr;
use crate::driver::{Datagram, Driver, Handle, OsError};

/// What one socket has to send. Empty ones are kept by the reactor for all its sockets.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    /// Each address once for all datagrams in a row that go there.
    addresses: Vec<Addr>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Where it ends in the bytes, which is where the next begins.
    end: usize,
    /// Its address, or [`PEER`].
    to: usize,
}

/// Why datagrams of a batch were not sent.
#[derive(Debug)]
pub(super) enum Fault {
    /// So many, one after the other, were dropped.
    Dropped { to: Option<Addr>, error: OsError, count: usize },
    /// None was, but an earlier one was refused by the peer.
    Refused(OsError),
}

impl Batch {
    #[inline]
    pub(super) fn push(&mut self, to: Option<Addr>, data: &[u8]) {
        let to = match to {
            None => PEER,
            Some(to) => {
                if self.addresses.last() != Some(&to) {
                    self.addresses.push(to);
                }
                self.addresses.len() - 1
            }
        };
        self.put(to, data);
    }

    /// The same for the address that nearly every datagram has.
    #[inline(always)]
    pub(super) fn push_ip(&mut self, to: &SocketAddr, data: &[u8]) {
        let is_last = match (self.addresses.last(), to) {
            (Some(Addr::Ip(SocketAddr::V4(last))), SocketAddr::V4(to)) => last == to,
            (Some(Addr::Ip(last)), to) => last == to,
            _ => false,
        };
        if !is_last {
            self.addresses.push(Addr::Ip(*to));
        }
        self.put(self.addresses.len() - 1, data);
    }

    #[inline(always)]
    fn put(&mut self, to: usize, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.waiting.push(Waiting { end: self.bytes.len(), to });
    }

    /// Whether it must be sent before `more` bytes are added.
    #[inline]
    pub(super) fn is_full_for(&self, more: usize) -> bool {
        self.waiting.len() >= MOST || (self.bytes.len() + more > MOST_BYTES && !self.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends everything, drops what cannot be sent, and is empty then. What went wrong is told in the order it did.
    pub(super) fn send(
        &mut self,
        driver: &mut dyn Driver,
        socket: Handle,
        told: impl FnMut(Fault),
    ) {
        // Most are full or nearly empty, and the room for many takes time to clear.
        if self.waiting.len() <= FEW {
            self.send_within::<FEW>(driver, socket, told);
        } else {
            self.send_within::<MOST>(driver, socket, told);
        }
        self.clear();
    }

    /// Sends everything, of which there are `N` at most.
    fn send_within<const N: usize>(
        &self,
        driver: &mut dyn Driver,
        socket: Handle,
        mut told: impl FnMut(Fault),
    ) {
        let mut batch = [Datagram { to: None, bytes: &[] }; N];
        let mut begin = 0;
        for (place, waiting) in batch.iter_mut().zip(&self.waiting) {
            *place = Datagram {
                to: self.addresses.get(waiting.to),
                bytes: &self.bytes[begin..waiting.end],
            };
            begin = waiting.end;
        }
        let mut rest = &batch[..self.waiting.len().min(N)];
        let mut refusals = 0;
        // What this datagram has met, if that may have been another's.
        let mut met = None;
        while let Some(first) = rest.first() {
            match driver.send_datagrams(socket, rest) {
                Ok(sent) => {
                    if let Some(error) = met.take()
                        && first.to.is_none()
                    {
                        told(Fault::Refused(error));
                    }
                    // A driver that says nothing of an error has at least one sent.
                    rest = &rest[sent.clamp(1, rest.len())..];
                }
                Err(error)
                    if first.to.is_none() && is_refusal(error) && refusals < MOST_REFUSALS =>
                {
                    // About a datagram that left long ago; this one has not been tried yet.
                    refusals += 1;
                    told(Fault::Refused(error));
                }
                // Once more, and no oftener: what is met then is this one's own.
                Err(error) if may_be_anothers(error) && met.is_none() => met = Some(error),
                Err(error) => {
                    met = None;
                    let to = first.to;
                    // What is in the way of one is in the way of those to the same address behind it, unless it is this very datagram.
                    let count = match error.kind() {
                        ErrorKind::InvalidInput => 1,
                        _ if error.code() == Some(EMSGSIZE) => 1,
                        _ => rest.iter().take_while(|datagram| datagram.to == to).count(),
                    };
                    told(Fault::Dropped { to: to.cloned(), error, count });
                    rest = &rest[count..];
                }
            }
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.waiting.clear();
        self.addresses.clear();
    }

    /// Whether it is worth keeping.
    pub(crate) fn is_small(&self) -> bool {
        self.bytes.capacity() <= 2 * MOST_BYTES
    }
}

/// Whether it is the answer to an earlier datagram, of a socket that is connected.
fn is_refusal(error: OsError) -> bool {
    error.kind() == ErrorKind::ConnectionRefused
}

/// Whether it may be the answer to an earlier datagram (of a peer, or of a router that has no way to it), which the system gives to whatever call
/// comes next. Just as well it may be what the system says of this very one, at once and every time.
pub(super) fn may_be_anothers(error: OsError) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// The address of who is connected.
const PEER: usize = usize::MAX;
/// How many datagrams wait at most.
const MOST: usize = 64;
/// What counts as few of them.
const FEW: usize = 4;
/// And how many bytes, unless a single one is longer.
const MOST_BYTES: usize = 65_536;
/// How often a batch is tried again because of earlier refusals.
const MOST_REFUSALS: u32 = 4;
/// "Message too long" (Linux): the one kind that has no name in std.
const EMSGSIZE: i32 = 90;
