//! How many connections a factory serves, in all and from one peer.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use marline_core::policy::Policy;
use marline_core::{Addr, CloseReason, ConnectError, Connector, Factory, Link, Port, Protocol};

/// Limits to the number of connections at a time; put [around](Self::around) one factory, or several that share them.
///
/// A connection counts from when it was accepted until it has ended, whatever its protocol is by then, and is freed exactly once. What is
/// kept is a count for each peer that has a connection now, so that it is bounded by the connections there are.
///
/// A limit of zero lets nobody in.
#[doc(alias = "LimitTotalConnectionsFactory")]
#[doc(alias = "LimitConnectionsByPeer")]
#[derive(Clone, Default)]
pub struct Limits(Rc<RefCell<Seats>>);

struct Seats {
    total: Option<usize>,
    per_peer: Option<usize>,
    /// Bits of an IPv6 address that tell one peer from another.
    prefix: u8,
    taken: usize,
    peers: BTreeMap<IpAddr, usize>,
    /// Those who were let in only to be sent away.
    overflowing: usize,
    refused: u64,
    /// Ports that accept nothing while the total is reached.
    doors: Vec<Door>,
    /// Whether they were told so.
    doors_shut: bool,
}

struct Door {
    port: Port,
    /// Paused from here, so that it is resumed from here.
    shut: bool,
}

impl Door {
    /// Leaves a port alone that somebody else has paused.
    fn shut(&mut self) {
        self.shut = !self.port.is_paused();
        if self.shut {
            self.port.pause();
        }
    }

    fn open(&mut self) {
        if std::mem::take(&mut self.shut) {
            self.port.resume();
        }
    }
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            total: None,
            per_peer: None,
            prefix: 64,
            taken: 0,
            peers: BTreeMap::new(),
            overflowing: 0,
            refused: 0,
            doors: Vec::new(),
            doors_shut: false,
        }
    }
}

impl Limits {
    /// No limit yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the connections in all.
    pub fn with_total(self, most: usize) -> Self {
        self.0.borrow_mut().total = Some(most);
        self
    }

    /// Bounds the connections of one peer: of one IPv4 address, or one IPv6 network of 64 bits, since whoever has one address of it has all.
    /// Connections that come from no IP address are not counted here.
    pub fn with_per_peer(self, most: usize) -> Self {
        self.0.borrow_mut().per_peer = Some(most);
        self
    }

    /// Chooses by how many leading bits of its IPv6 address a peer is known, instead of 64; more than 128 are 128. To be set before there are
    /// connections.
    pub fn with_ipv6_prefix(self, bits: u8) -> Self {
        self.0.borrow_mut().prefix = bits.min(128);
        self
    }

    /// Puts the limits around a factory.
    pub fn around<F: Factory>(&self, factory: F) -> Limited<F> {
        Limited { limits: self.clone(), factory, overflow: None }
    }

    /// Lets a port accept nothing while the total is reached, so that who connects waits in the system's queue instead of being refused.
    /// Whatever a driver has accepted before it hears of it is still refused. When there is room again the port is resumed, unless it was paused
    /// already when the total was reached; a pause that comes in between is lifted with the limits' own. To be called again after the port was
    /// stopped and started.
    pub fn pause_when_full(&self, port: &Port) {
        let mut door = Door { port: port.clone(), shut: false };
        let full = self.0.borrow().doors_shut;
        if full {
            door.shut();
        }
        self.0.borrow_mut().doors.push(door);
        self.set_doors();
    }

    /// Changes the limit to the connections in all; those there are stay.
    pub fn set_total(&self, most: Option<usize>) {
        self.0.borrow_mut().total = most;
        self.set_doors();
    }

    /// Changes the limit to the connections of one peer; those there are stay.
    pub fn set_per_peer(&self, most: Option<usize>) {
        self.0.borrow_mut().per_peer = most;
    }

    /// Connections there are.
    pub fn taken(&self) -> usize {
        self.0.borrow().taken
    }

    /// Connections of this peer, told apart as the limit does.
    pub fn taken_by(&self, peer: IpAddr) -> usize {
        let seats = self.0.borrow();
        seats.peers.get(&seats.key(peer)).copied().unwrap_or(0)
    }

    /// Connections refused so far, those that got the overflow protocol included.
    pub fn refused(&self) -> u64 {
        self.0.borrow().refused
    }

    /// Counts a connection, unless it is one too many.
    fn seat(&self, peer: &Addr) -> Option<Seat> {
        let mut seats = self.0.borrow_mut();
        let peer = peer.ip().map(|addr| seats.key(addr.ip()));
        let of_peer = peer.map_or(0, |peer| seats.peers.get(&peer).copied().unwrap_or(0));
        let too_many = peer.is_some() && seats.per_peer.is_some_and(|most| of_peer >= most);
        if seats.is_full() || too_many {
            seats.refused += 1;
            return None;
        }
        seats.taken += 1;
        if let Some(peer) = peer {
            seats.peers.insert(peer, of_peer + 1);
        }
        drop(seats);
        self.set_doors();
        Some(Seat { limits: self.clone(), kind: Kind::Served(peer) })
    }

    fn overflow_seat(&self, most: usize) -> Option<Seat> {
        let mut seats = self.0.borrow_mut();
        let free = seats.overflowing < most;
        seats.overflowing += usize::from(free);
        free.then(|| Seat { limits: self.clone(), kind: Kind::Overflowing })
    }

    fn leave(&self, kind: Kind) {
        let mut seats = self.0.borrow_mut();
        match kind {
            Kind::Overflowing => seats.overflowing -= 1,
            Kind::Served(peer) => {
                seats.taken -= 1;
                if let Some(peer) = peer
                    && let Some(count) = seats.peers.get_mut(&peer)
                {
                    *count -= 1;
                    if *count == 0 {
                        seats.peers.remove(&peer);
                    }
                }
            }
        }
        drop(seats);
        self.set_doors();
    }

    /// Lets the ports accept, or not, when that has changed.
    fn set_doors(&self) {
        let mut seats = self.0.borrow_mut();
        let full = seats.is_full();
        if std::mem::replace(&mut seats.doors_shut, full) == full {
            return;
        }
        let mut doors = std::mem::take(&mut seats.doors);
        drop(seats);
        for door in &mut doors {
            if full { door.shut() } else { door.open() }
        }
        self.0.borrow_mut().doors.append(&mut doors);
    }
}

impl Seats {
    fn is_full(&self) -> bool {
        self.total.is_some_and(|most| self.taken >= most)
    }

    /// By what a peer is known.
    fn key(&self, peer: IpAddr) -> IpAddr {
        match peer.to_canonical() {
            IpAddr::V4(addr) => IpAddr::V4(addr),
            IpAddr::V6(addr) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & mask))
            }
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seats = self.0.borrow();
        f.debug_struct("Limits")
            .field("taken", &seats.taken)
            .field("total", &seats.total)
            .field("per_peer", &seats.per_peer)
            .finish_non_exhaustive()
    }
}

/// A factory with limits around it: see [`Limits`]. Whom it refuses is closed at once, unless there is an
/// [overflow](Self::with_overflow). It makes connections of clients count as well.
pub struct Limited<F> {
    limits: Limits,
    factory: F,
    overflow: Option<Overflow>,
}

type Overflow = Box<dyn FnMut(&mut Link<'_>)>;

impl<F> Limited<F> {
    /// Gives those who are one too many a protocol that `build` makes, to say so, at most `most` at a time; beyond that they are refused.
    /// It is its to close the connection.
    #[doc(alias = "overflowFactory")]
    pub fn with_overflow<Q: Protocol>(
        mut self,
        most: usize,
        mut build: impl FnMut() -> Q + 'static,
    ) -> Self {
        let limits = self.limits.clone();
        self.overflow = Some(Box::new(move |link| {
            if let Some(seat) = limits.overflow_seat(most) {
                link.add_policy(seat);
                link.serve_with(build());
            }
        }));
        self
    }
}

impl<F: Factory> Factory for Limited<F> {
    type Protocol = F::Protocol;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<F::Protocol> {
        if let Some(seat) = self.limits.seat(link.peer()) {
            link.add_policy(seat);
            return self.factory.build_protocol(link);
        }
        if let Some(overflow) = &mut self.overflow {
            overflow(link);
        }
        None
    }

    fn start(&mut self) {
        self.factory.start();
    }

    fn stop(&mut self) {
        // A port holds its factory: it is not to be held by it for ever.
        let doors = std::mem::take(&mut self.limits.0.borrow_mut().doors);
        let (kept, gone) = doors.into_iter().partition(|door| door.port.is_listening());
        self.limits.0.borrow_mut().doors = kept;
        drop::<Vec<Door>>(gone);
        self.factory.stop();
    }

    fn started_connecting(&mut self, connector: &Connector) {
        self.factory.started_connecting(connector);
    }

    fn connection_failed(&mut self, connector: &Connector, error: &ConnectError) {
        self.factory.connection_failed(connector, error);
    }

    fn connection_lost(&mut self, connector: &Connector, reason: &CloseReason) {
        self.factory.connection_lost(connector, reason);
    }
}

impl<F> fmt::Debug for Limited<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limited").field(&self.limits).finish()
    }
}

/// A counted connection: freed when it is dropped, as part of the connection or of one that came to nothing.
struct Seat {
    limits: Limits,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Served(Option<IpAddr>),
    Overflowing,
}

impl Policy for Seat {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.limits.leave(self.kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::Ip((text.parse::<IpAddr>().unwrap(), 7).into())
    }

    /// Whether the second peer is the first to these limits.
    fn same(limits: &Limits, one: &str, other: &str) -> bool {
        let _seat = limits.seat(&addr(one)).unwrap();
        limits.seat(&addr(other)).is_none()
    }

    #[test]
    fn ipv6_peers_are_told_apart_by_their_network_and_ipv4_peers_by_their_address() {
        let limits = Limits::new().with_per_peer(1);
        assert!(same(&limits, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"));
        assert!(!same(&limits, "2001:db8::1", "2001:db8:0:1::1"));
        assert!(same(&limits, "192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same(&limits, "192.0.2.1", "192.0.2.2"));
        // A longer, the longest and the shortest prefix.
        let limits = limits.with_ipv6_prefix(127);
        assert!(same(&limits, "2001:db8::2", "2001:db8::3"));
        assert!(!same(&limits, "2001:db8::1", "2001:db8::2"));
        let limits = limits.with_ipv6_prefix(255);
        assert!(!same(&limits, "2001:db8::2", "2001:db8::3"));
        assert!(same(&limits.with_ipv6_prefix(0), "2001:db8::1", "fe80::1"));
    }

    #[test]
    fn a_count_is_kept_only_for_those_who_are_there() {
        let limits = Limits::new().with_per_peer(2);
        let seats: Vec<_> =
            (0..200_u8).filter_map(|n| limits.seat(&addr(&format!("192.0.2.{n}")))).collect();
        assert_eq!((seats.len(), limits.0.borrow().peers.len()), (200, 200));
        drop(seats);
        assert_eq!((limits.taken(), limits.0.borrow().peers.len()), (0, 0));
    }

    #[test]
    fn what_comes_from_no_ip_address_counts_in_all_but_for_no_peer() {
        let limits = Limits::new().with_per_peer(1).with_total(2);
        let unix = Addr::Unix("/run/x".into());
        let seats = [limits.seat(&unix), limits.seat(&unix)];
        assert!(seats.iter().all(Option::is_some));
        assert!(limits.seat(&unix).is_none());
    }
}
