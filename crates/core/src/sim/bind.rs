//! Addresses and ports of a host: who may bind where, which port a connection reaches, where an attempt comes from.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Addr;
use crate::driver::{
    ConnectFault, ConnectOptions, DatagramOptions, Handle, ListenOptions, OsError,
};

use super::net::Net;

impl Net {
    /// Whether a driver's host is up and the driver was made since.
    pub(super) fn check_alive(&self, driver: u32) -> Result<(), OsError> {
        if self.processes[driver as usize].alive { Ok(()) } else { Err(NETWORK_DOWN) }
    }

    /// Whether the host has a descriptor to spare.
    pub(super) fn check_descriptors(&self, driver: u32) -> Result<(), OsError> {
        let host = &self.hosts[self.processes[driver as usize].host as usize];
        match host.descriptor_limit {
            Some(limit) if host.descriptors >= limit => Err(OsError::from_raw(EMFILE)),
            _ => Ok(()),
        }
    }

    /// The address and port a listening socket gets.
    pub(super) fn bind_stream(
        &mut self,
        host: u32,
        addr: SocketAddr,
        options: &ListenOptions,
    ) -> Result<SocketAddr, OsError> {
        self.check_local(host, addr.ip())?;
        self.choose_port(host, addr, |net, addr| {
            let ports = net.hosts[host as usize].stream_ports.get(&addr.port());
            !ports.into_iter().flatten().filter_map(|key| net.ports.get(*key)).any(|port| {
                !(port.options.reuse_port && options.reuse_port)
                    && port.local.ip().is_some_and(|bound| {
                        overlap((bound.ip(), port.options.only_v6), (addr.ip(), options.only_v6))
                    })
            })
        })
    }

    /// The address and port a datagram socket gets.
    pub(super) fn bind_packets(
        &mut self,
        host: u32,
        addr: SocketAddr,
        options: &DatagramOptions,
    ) -> Result<SocketAddr, OsError> {
        // A group's address may be bound to: then nothing else arrives.
        if !addr.ip().is_multicast() {
            self.check_local(host, addr.ip())?;
        }
        self.choose_port(host, addr, |net, addr| {
            let sockets = net.hosts[host as usize].packet_ports.get(&addr.port());
            !sockets.into_iter().flatten().filter_map(|key| net.sockets.get(*key)).any(|socket| {
                let shared = (socket.options.reuse_port && options.reuse_port)
                    || (socket.options.reuse_address && options.reuse_address);
                !shared
                    && socket.local.ip().is_some_and(|bound| {
                        overlap((bound.ip(), socket.options.only_v6), (addr.ip(), options.only_v6))
                    })
            })
        })
    }

    /// The port that a connection to `to` reaches: the one bound to the very address before one bound to all; of several that
    /// share it, any.
    pub(super) fn listener(&mut self, host: u32, to: &Addr) -> Option<Handle> {
        let addr = match to {
            Addr::Ip(addr) => addr,
            Addr::Unix(path) => return self.hosts[host as usize].paths.get(path).copied(),
            Addr::Named(_) => return None,
        };
        let candidates = self.hosts[host as usize].stream_ports.get(&addr.port())?;
        let fits = candidates.iter().filter_map(|key| {
            let port = self.ports.get(*key)?;
            Some((rank(port.local.ip()?.ip(), port.options.only_v6, addr.ip())?, *key))
        });
        let fits: Vec<(u8, Handle)> = fits.collect();
        let best = fits.iter().map(|(rank, _)| *rank).min()?;
        let best: Vec<Handle> =
            fits.into_iter().filter(|(rank, _)| *rank == best).map(|(_, key)| key).collect();
        let chosen = if best.len() > 1 { self.rng.below(best.len() as u64) as usize } else { 0 };
        best.get(chosen).copied()
    }

    /// The socket that a datagram reaches, by the same rule, but one connected to its sender before all others, and of several that share it the
    /// first.
    pub(super) fn packet_socket(
        &self,
        host: u32,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Handle> {
        let candidates = self.hosts[host as usize].packet_ports.get(&to.port())?;
        let ranked = candidates.iter().filter_map(|key| {
            let socket = self.sockets.get(*key)?;
            let rank = rank(socket.local.ip()?.ip(), socket.options.only_v6, to.ip())?;
            socket.hears(from).then_some(((socket.peer.is_none(), rank), *key))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, key)| key)
    }

    /// Where a connection to `peer` comes from.
    pub(super) fn local_for(
        &mut self,
        host: u32,
        peer: SocketAddr,
        options: &ConnectOptions,
    ) -> Result<SocketAddr, ConnectFault> {
        let bind = match &options.bind {
            None => None,
            Some(Addr::Ip(addr)) if addr.is_ipv4() == peer.is_ipv4() => Some(*addr),
            Some(_) => return Err(ConnectFault::Bind(OsError::new(ErrorKind::InvalidInput))),
        };
        let ip = match bind {
            Some(addr) if !addr.ip().is_unspecified() => {
                self.check_local(host, addr.ip()).map_err(ConnectFault::Bind)?;
                addr.ip()
            }
            _ => self.source_for(host, peer.ip()).map_err(ConnectFault::Connect)?,
        };
        let state = &mut self.hosts[host as usize];
        let port = match bind.map_or(0, |addr| addr.port()) {
            0 => {
                let taken = OsError::new(ErrorKind::AddrNotAvailable);
                state.ephemeral_port().ok_or(ConnectFault::Connect(taken))?
            }
            port => {
                let listening = state.stream_ports.contains_key(&port) && !options.reuse_address;
                if listening || state.used_ports.contains_key(&port) {
                    return Err(ConnectFault::Bind(OsError::new(ErrorKind::AddrInUse)));
                }
                port
            }
        };
        *state.used_ports.entry(port).or_default() += 1;
        Ok(SocketAddr::new(ip, port))
    }

    /// The address a host uses towards another.
    pub(super) fn source_for(&self, host: u32, peer: IpAddr) -> Result<IpAddr, OsError> {
        let addrs = &self.hosts[host as usize].addrs;
        if peer.is_loopback() || addrs.contains(&peer) {
            return Ok(peer);
        }
        let own = addrs.iter().find(|own| own.is_ipv4() == peer.is_ipv4());
        own.copied().ok_or(OsError::new(ErrorKind::NetworkUnreachable))
    }

    fn check_local(&self, host: u32, ip: IpAddr) -> Result<(), OsError> {
        let own = ip.is_unspecified()
            || ip.is_loopback()
            || self.hosts[host as usize].addrs.contains(&ip);
        if own { Ok(()) } else { Err(OsError::new(ErrorKind::AddrNotAvailable)) }
    }

    fn choose_port(
        &mut self,
        host: u32,
        mut addr: SocketAddr,
        is_free: impl Fn(&Self, SocketAddr) -> bool,
    ) -> Result<SocketAddr, OsError> {
        if addr.port() != 0 {
            return if is_free(self, addr) {
                Ok(addr)
            } else {
                Err(OsError::new(ErrorKind::AddrInUse))
            };
        }
        for _ in 0..=u16::MAX {
            let Some(port) = self.hosts[host as usize].ephemeral_port() else { break };
            addr.set_port(port);
            if is_free(self, addr) {
                return Ok(addr);
            }
        }
        Err(OsError::new(ErrorKind::AddrInUse))
    }
}

/// An IPv4 address as an IPv6 socket that takes both sees it.
pub(super) fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// Whom a connection to an address reaches: to "all addresses" means to this host.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, addr.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, addr.port()).into(),
        _ => addr,
    }
}

/// How well a bound address fits one that is looked for: exactly, as all of its family, as all of both.
fn rank(bound: IpAddr, only_v6: bool, wanted: IpAddr) -> Option<u8> {
    if bound == wanted {
        return Some(0);
    }
    if !bound.is_unspecified() {
        return None;
    }
    match (bound.is_ipv4(), wanted.is_ipv4()) {
        (true, true) | (false, false) => Some(1),
        (false, true) if !only_v6 => Some(2),
        _ => None,
    }
}

/// Whether two bound addresses share one they would both get.
fn overlap(one: (IpAddr, bool), other: (IpAddr, bool)) -> bool {
    rank(one.0, one.1, other.0).is_some() || rank(other.0, other.1, one.0).is_some()
}

/// What a driver answers whose host is down.
pub(super) const NETWORK_DOWN: OsError = OsError::new(ErrorKind::NetworkDown);

/// "Too many open files", the same number on every unix.
const EMFILE: i32 = 24;
