//! Datagrams on their way: they are lost, doubled and overtaken as the link says, dropped when a socket's buffer is full, and where nobody listens
//! only a connected sender hears of it. To a group they go to every host that has members, to all hosts if they are a broadcast.
//! UNIX datagrams arrive at once, or not at all.

use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::Addr;
use crate::driver::{Handle, Interface, OsError};
use crate::sim::bind::reachable;
use crate::sim::net::Net;
use crate::sim::queue::Event;

use super::EMSGSIZE;

/// A datagram on its way, or in an inbox.
#[derive(Debug)]
pub(in crate::sim) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) from: Addr,
    to: Addr,
    host: u32,
    /// Who is told if nobody listens.
    sender: Option<Handle>,
}

impl Net {
    pub(in crate::sim) fn send_packet(
        &mut self,
        driver: u32,
        key: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        let host = self.processes[driver as usize].host;
        if let Some(error) = self.hosts[host as usize].datagram_faults.take() {
            return Err(error);
        }
        let socket = self.sockets.get(key).ok_or(OsError::STALE)?;
        let is_connected = socket.peer.is_some();
        let to = to.or(socket.peer.as_ref()).ok_or(OsError::new(ErrorKind::NotConnected))?;
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let (mut from, to) = match (&socket.local, to) {
            (Addr::Ip(from), Addr::Ip(to)) => (*from, reachable(*to)),
            (Addr::Unix(from), Addr::Unix(to)) => {
                let (from, to) = (Addr::Unix(from.clone()), to.clone());
                return self.hand_over(host, from, &to, parts, len);
            }
            _ => return Err(OsError::new(ErrorKind::InvalidInput)),
        };
        if to.is_ipv4() != from.is_ipv4() || to.port() == 0 {
            return Err(OsError::new(ErrorKind::InvalidInput));
        }
        if len > if to.is_ipv4() { LONGEST_V4 } else { LONGEST_V6 } {
            return Err(OsError::from_raw(EMSGSIZE));
        }
        if is_broadcast(to.ip()) && !socket.options.broadcast {
            return Err(OsError::new(ErrorKind::PermissionDenied));
        }
        let many = to.ip().is_multicast() || is_broadcast(to.ip());
        if from.ip().is_unspecified() {
            from.set_ip(match socket.settings.multicast_interface {
                Interface::Addr(addr) if many => addr.into(),
                _ => self.source_for(host, to.ip())?,
            });
        }
        if many {
            for far in self.hosts_of(key, host, from, to) {
                self.post(host, far, from, to, parts, None);
            }
            return Ok(());
        }
        let Some(far) = self.owner(host, to.ip()) else {
            return Err(OsError::new(ErrorKind::HostUnreachable));
        };
        self.post(host, far, from, to, parts, is_connected.then_some(key));
        Ok(())
    }

    /// The hosts that a datagram to a group, or a broadcast, goes to, in the order they were made.
    fn hosts_of(&self, key: Handle, host: u32, from: SocketAddr, to: SocketAddr) -> Vec<u32> {
        let Some(settings) = self.sockets.get(key).map(|socket| socket.settings) else {
            return Vec::new();
        };
        let group = to.ip().is_multicast();
        // What leaves by loopback stays there.
        let stays = from.ip().is_loopback() || (group && settings.multicast_ttl == 0);
        let hosts = 0..self.hosts.len() as u32;
        let hosts = hosts.filter(|far| match *far == host {
            true => !group || settings.multicast_loop,
            false => !stays,
        });
        hosts.filter(|far| !self.members(*far, from, to).is_empty()).collect()
    }

    /// The sockets of a host that a datagram to a group or a broadcast reaches.
    fn members(&self, host: u32, from: SocketAddr, to: SocketAddr) -> Vec<Handle> {
        let candidates = self.hosts[host as usize].packet_ports.get(&to.port());
        let fits = candidates.into_iter().flatten().filter(|key| {
            let Some(socket) = self.sockets.get(**key) else { return false };
            let Some(local) = socket.local.ip() else { return false };
            local.is_ipv4() == to.is_ipv4()
                && (local.ip().is_unspecified() || local.ip() == to.ip())
                && socket.hears(from)
                && (is_broadcast(to.ip())
                    || socket.groups.iter().any(|member| member.group == to.ip()))
        });
        fits.copied().collect()
    }

    fn post(
        &mut self,
        host: u32,
        far: u32,
        from: SocketAddr,
        to: SocketAddr,
        parts: &[IoSlice<'_>],
        sender: Option<Handle>,
    ) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let wire = self.wire(host, far) as usize;
        let twice = self.rng.chance(self.wires[wire].link.duplicate);
        for _ in 0..1 + u32::from(twice) {
            let arrival = self.wires[wire].datagram_arrival(self.now, len, &mut self.rng);
            if let Some(arrival) = arrival {
                let bytes = self.filled(parts);
                let (from, to) = (Addr::Ip(from), Addr::Ip(to));
                let packet = self.packets.insert(Packet { bytes, from, to, host: far, sender });
                self.queue.push(arrival, Event::Packet(packet));
            }
        }
    }

    /// A UNIX datagram goes straight to its reader.
    fn hand_over(
        &mut self,
        host: u32,
        from: Addr,
        to: &Path,
        parts: &[IoSlice<'_>],
        len: usize,
    ) -> Result<(), OsError> {
        if len > LONGEST_UNIX {
            return Err(OsError::from_raw(EMSGSIZE));
        }
        let key = self.hosts[host as usize].packet_paths.get(to).copied();
        let key = key.ok_or(OsError::new(ErrorKind::NotFound))?;
        let receiver = self.sockets.get(key).ok_or(OsError::STALE)?;
        if receiver.peer.as_ref().is_some_and(|peer| *peer != from) {
            return Err(OsError::new(ErrorKind::PermissionDenied));
        }
        if !receiver.has_room(len) {
            return Err(OsError::new(ErrorKind::WouldBlock));
        }
        let bytes = self.filled(parts);
        let to = Addr::Unix(to.to_owned());
        let packet = self.packets.insert(Packet { bytes, from, to, host, sender: None });
        self.keep(key, packet, len);
        Ok(())
    }

    pub(in crate::sim) fn packet_lands(&mut self, packet: Handle) {
        let Some(state) = self.packets.get(packet) else { return };
        let (Some(from), Some(to)) = (state.from.ip(), state.to.ip()) else { return };
        let (host, len, sender) = (state.host, state.bytes.len(), state.sender);
        if self.hosts[host as usize].down {
            return self.forget_packet(packet);
        }
        let reached = if to.ip().is_multicast() || is_broadcast(to.ip()) {
            self.members(host, from, to)
        } else {
            self.packet_socket(host, from, to).into_iter().collect()
        };
        if reached.is_empty() {
            self.nobody_listens(host, sender);
        }
        let has_room =
            |key: &Handle| self.sockets.get(*key).is_some_and(|socket| socket.has_room(len));
        let mut reached: Vec<Handle> = reached.into_iter().filter(has_room).collect();
        let Some(last) = reached.pop() else { return self.forget_packet(packet) };
        for key in reached {
            let Some(Packet { bytes, from, to, .. }) = self.packets.get(packet) else { return };
            let (bytes, from, to) = (bytes.clone(), from.clone(), to.clone());
            let copy = self.packets.insert(Packet { bytes, from, to, host, sender: None });
            self.keep(key, copy, len);
        }
        self.keep(last, packet, len);
    }

    /// Tells a connected sender, after the way back, if that is not cut or lossy.
    fn nobody_listens(&mut self, host: u32, sender: Option<Handle>) {
        let Some((key, driver)) =
            sender.and_then(|key| self.sockets.get(key).map(|socket| (key, socket.driver)))
        else {
            return;
        };
        let back = self.processes[driver as usize].host;
        let wire = self.wire(host, back) as usize;
        let arrival = self.wires[wire].datagram_arrival(self.now, REFUSAL, &mut self.rng);
        if let Some(arrival) = arrival {
            self.queue.push(arrival, Event::PacketRefused(key));
        }
    }

    pub(in crate::sim) fn refusal_lands(&mut self, key: Handle) {
        if let Some(socket) = self.sockets.get_mut(key) {
            // As the system does: one error waits, however often it happens.
            socket.refusals = 1;
            self.notify_socket(key);
        }
    }

    /// Puts a datagram into an inbox.
    fn keep(&mut self, key: Handle, packet: Handle, len: usize) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.inbox_bytes += len + super::OVERHEAD;
            socket.inbox.push_back(packet);
            self.notify_socket(key);
        }
    }

    fn filled(&mut self, parts: &[IoSlice<'_>]) -> Vec<u8> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The most bytes in one datagram over IPv4, over IPv6, and between UNIX sockets (Linux, with its usual buffers).
const LONGEST_V4: usize = 65_507;
const LONGEST_V6: usize = 65_527;
const LONGEST_UNIX: usize = 212_960;
/// What a refusal weighs on the wire.
const REFUSAL: usize = 56;
