//! Datagram sockets: opened, set up, read and closed. What is sent, and whom it reaches, is in `post.rs`.

mod post;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use crate::Addr;
use crate::driver::{
    Completion, DatagramOptions, Handle, Interface, Membership, OsError, SocketOption,
};

use super::net::{Net, Ready};
use super::process::Target;

pub(super) use post::Packet;

/// A datagram socket.
#[derive(Debug)]
pub(super) struct Socket {
    driver: u32,
    handle: Handle,
    pub(super) local: Addr,
    pub(super) peer: Option<Addr>,
    pub(super) options: DatagramOptions,
    settings: Settings,
    /// The groups it is a member of, and by which of its host's addresses.
    groups: Vec<Membership>,
    /// What has arrived and was not read.
    inbox: VecDeque<Handle>,
    inbox_bytes: usize,
    /// Refusals that were not reported.
    refusals: u32,
    receiving: bool,
    listed: bool,
}

/// What can be set of a socket.
#[derive(Clone, Copy, Debug)]
struct Settings {
    receive_buffer: u32,
    /// Kept, for everything leaves at once.
    send_buffer: u32,
    multicast_loop: bool,
    multicast_ttl: u8,
    multicast_interface: Interface,
}

impl Net {
    pub(super) fn open_socket(
        &mut self,
        driver: u32,
        addr: &Addr,
        options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        self.check_alive(driver)?;
        self.check_descriptors(driver)?;
        let host = self.processes[driver as usize].host;
        let local = match addr {
            Addr::Ip(addr) => Addr::Ip(self.bind_packets(host, *addr, options)?),
            Addr::Unix(path) => {
                let state = &self.hosts[host as usize];
                if state.paths.contains_key(path) || state.packet_paths.contains_key(path) {
                    return Err(OsError::new(ErrorKind::AddrInUse));
                }
                addr.clone()
            }
            Addr::Named(_) => return Err(OsError::UNSUPPORTED),
        };
        let key = self.sockets.insert(Socket {
            driver,
            handle: Handle { index: 0, version: 0 },
            local: local.clone(),
            peer: None,
            options: options.clone(),
            settings: Settings {
                receive_buffer: INBOX,
                send_buffer: INBOX,
                multicast_loop: true,
                multicast_ttl: 1,
                multicast_interface: Interface::Any,
            },
            groups: Vec::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            refusals: 0,
            receiving: true,
            listed: false,
        });
        let handle = self.processes[driver as usize].handles.insert(Target::Socket(key));
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.handle = handle;
        }
        let state = &mut self.hosts[host as usize];
        state.descriptors += 1;
        match &local {
            Addr::Unix(path) if path.as_os_str().is_empty() => {}
            Addr::Unix(path) => _ = state.packet_paths.insert(path.clone(), key),
            _ => state.packet_ports.entry(local.port()).or_default().push(key),
        }
        Ok((handle, local))
    }

    pub(super) fn connect_socket(
        &mut self,
        driver: u32,
        key: Handle,
        to: &Addr,
    ) -> Result<(), OsError> {
        let host = self.processes[driver as usize].host;
        let mut local = self.sockets.get(key).ok_or(OsError::STALE)?.local.clone();
        match (&mut local, to) {
            (Addr::Ip(local), Addr::Ip(to)) if local.is_ipv4() == to.is_ipv4() => {
                if local.ip().is_unspecified() {
                    // As the system does: from now on it has the address it sends from.
                    local.set_ip(self.source_for(host, to.ip())?);
                }
            }
            (Addr::Unix(_), Addr::Unix(path)) => {
                if !self.hosts[host as usize].packet_paths.contains_key(path) {
                    return Err(OsError::new(ErrorKind::NotFound));
                }
            }
            _ => return Err(OsError::new(ErrorKind::InvalidInput)),
        }
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.local = local;
            socket.peer = Some(to.clone());
        }
        Ok(())
    }

    pub(super) fn set_group(
        &mut self,
        driver: u32,
        key: Handle,
        membership: &Membership,
        joined: bool,
    ) -> Result<(), OsError> {
        let host = self.processes[driver as usize].host;
        let socket = self.sockets.get(key).ok_or(OsError::STALE)?;
        let is_v4 = socket.local.ip().ok_or(OsError::UNSUPPORTED)?.is_ipv4();
        if !membership.group.is_multicast() || membership.group.is_ipv4() != is_v4 {
            return Err(OsError::new(ErrorKind::InvalidInput));
        }
        self.check_interface(host, membership.interface)?;
        let Some(socket) = self.sockets.get_mut(key) else { return Err(OsError::STALE) };
        let place = socket.groups.iter().position(|other| other == membership);
        match (joined, place) {
            (true, None) => socket.groups.push(*membership),
            (false, Some(place)) => _ = socket.groups.remove(place),
            (true, Some(_)) => return Err(OsError::new(ErrorKind::AddrInUse)),
            (false, None) => return Err(OsError::new(ErrorKind::AddrNotAvailable)),
        }
        Ok(())
    }

    /// An interface is known by an address of the host; by number there is one, and loopback.
    fn check_interface(&self, host: u32, interface: Interface) -> Result<(), OsError> {
        let there = match interface {
            Interface::Any => true,
            Interface::Addr(addr) => {
                let addr = IpAddr::V4(addr);
                addr.is_loopback() || self.hosts[host as usize].addrs.contains(&addr)
            }
            Interface::Index(number) => (1..=2).contains(&number),
        };
        if there { Ok(()) } else { Err(OsError::from_raw(ENODEV)) }
    }

    pub(super) fn set_socket_option(
        &mut self,
        driver: u32,
        key: Handle,
        option: SocketOption,
    ) -> Result<(), OsError> {
        if let SocketOption::MulticastInterface(interface) = option {
            self.check_interface(self.processes[driver as usize].host, interface)?;
        }
        let socket = self.sockets.get_mut(key).ok_or(OsError::STALE)?;
        let settings = &mut socket.settings;
        match option {
            SocketOption::Broadcast(on) => socket.options.broadcast = on,
            SocketOption::ReceiveBuffer(bytes) => settings.receive_buffer = bytes,
            SocketOption::SendBuffer(bytes) => settings.send_buffer = bytes,
            SocketOption::MulticastLoop(on) => settings.multicast_loop = on,
            SocketOption::MulticastTtl(hops) => settings.multicast_ttl = hops,
            SocketOption::MulticastInterface(interface) => settings.multicast_interface = interface,
            SocketOption::NoDelay(_) | SocketOption::KeepAlive(_) => {
                return Err(OsError::UNSUPPORTED);
            }
        }
        Ok(())
    }

    pub(super) fn socket_option(
        &self,
        key: Handle,
        option: SocketOption,
    ) -> Result<SocketOption, OsError> {
        let socket = self.sockets.get(key).ok_or(OsError::STALE)?;
        let settings = &socket.settings;
        Ok(match option {
            SocketOption::Broadcast(_) => SocketOption::Broadcast(socket.options.broadcast),
            SocketOption::ReceiveBuffer(_) => SocketOption::ReceiveBuffer(settings.receive_buffer),
            SocketOption::SendBuffer(_) => SocketOption::SendBuffer(settings.send_buffer),
            SocketOption::MulticastLoop(_) => SocketOption::MulticastLoop(settings.multicast_loop),
            SocketOption::MulticastTtl(_) => SocketOption::MulticastTtl(settings.multicast_ttl),
            SocketOption::MulticastInterface(_) => {
                SocketOption::MulticastInterface(settings.multicast_interface)
            }
            SocketOption::NoDelay(_) | SocketOption::KeepAlive(_) => {
                return Err(OsError::UNSUPPORTED);
            }
        })
    }

    pub(super) fn set_hearing(&mut self, key: Handle, on: bool) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.receiving = on;
            self.notify_socket(key);
        }
    }

    /// Reports a refusal, or reads one datagram into the driver's chunk.
    pub(super) fn socket_reports(&mut self, key: Handle) -> Option<Completion> {
        let socket = self.sockets.get_mut(key)?;
        socket.listed = false;
        let (driver, handle) = (socket.driver, socket.handle);
        if socket.refusals > 0 {
            socket.refusals -= 1;
            self.notify_socket(key);
            let error = OsError::new(ErrorKind::ConnectionRefused);
            return Some(Completion::DatagramFailed { socket: handle, error });
        }
        if !socket.receiving {
            return None;
        }
        let packet = socket.inbox.pop_front()?;
        let state = self.packets.remove(packet)?;
        let len = state.bytes.len();
        socket.inbox_bytes -= len + OVERHEAD;
        if len > CHUNK {
            self.keep_buffer(state.bytes);
            self.notify_socket(key);
            let error = OsError::from_raw(EMSGSIZE);
            return Some(Completion::DatagramFailed { socket: handle, error });
        }
        let process = &mut self.processes[driver as usize];
        process.source = Some((handle, state.from));
        let before = std::mem::replace(&mut process.chunk, state.bytes);
        self.keep_buffer(before);
        self.notify_socket(key);
        Some(Completion::Datagrams { socket: handle, chunk: 0, len, segment: len, more: false })
    }

    pub(super) fn close_socket(&mut self, key: Handle) {
        let Some(socket) = self.sockets.remove(key) else { return };
        let host = self.processes[socket.driver as usize].host;
        self.hosts[host as usize].forget_socket(key, &socket.local);
        for packet in socket.inbox {
            self.forget_packet(packet);
        }
    }

    fn notify_socket(&mut self, key: Handle) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let reads = socket.receiving && !socket.inbox.is_empty();
        if socket.listed || !(reads || socket.refusals > 0) {
            return;
        }
        socket.listed = true;
        let driver = socket.driver;
        self.report(driver, Ready::Socket(key));
    }

    /// Keeps the buffer for the next one.
    fn forget_packet(&mut self, packet: Handle) {
        if let Some(packet) = self.packets.remove(packet) {
            self.keep_buffer(packet.bytes);
        }
    }

    pub(super) fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl Socket {
    /// Whether it hears somebody at all: a connected one hears its peer alone.
    pub(super) fn hears(&self, from: SocketAddr) -> bool {
        self.peer.as_ref().is_none_or(|peer| *peer == Addr::Ip(from))
    }

    fn has_room(&self, len: usize) -> bool {
        self.inbox_bytes + len + OVERHEAD <= self.settings.receive_buffer as usize
    }
}

/// What a socket holds unread at first (Linux), and what each datagram counts for beyond its bytes.
const INBOX: u32 = 212_992;
const OVERHEAD: usize = 256;
/// The longest datagram that is reported, as on real systems; only UNIX sockets have longer ones.
const CHUNK: usize = 65_536;
/// How many buffers are kept.
const SPARE: usize = 256;
/// "Message too long" and "no such device" (Linux): std has no names for them.
const EMSGSIZE: i32 = 90;
const ENODEV: i32 = 19;
