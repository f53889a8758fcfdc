//! Datagrams: they are lost, doubled and overtaken as the link says, dropped when a socket's buffer is full, and vanish
//! without a word where nobody listens: a socket here is never connected, so nobody could be told.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;

use crate::Addr;
use crate::driver::{Completion, DatagramOptions, Handle, OsError};

use super::bind::reachable;
use super::net::{Net, Ready};
use super::process::Target;
use super::queue::Event;

/// A datagram socket.
#[derive(Debug)]
pub(super) struct Socket {
    driver: u32,
    handle: Handle,
    pub(super) local: SocketAddr,
    pub(super) options: DatagramOptions,
    /// What has arrived and was not read.
    inbox: VecDeque<Handle>,
    inbox_bytes: usize,
    receiving: bool,
    listed: bool,
}

/// A datagram on its way, or in an inbox.
#[derive(Debug)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
    host: u32,
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
        let local = self.bind_packets(host, addr.ip().ok_or(OsError::UNSUPPORTED)?, options)?;
        let key = self.sockets.insert(Socket {
            driver,
            handle: Handle { index: 0, version: 0 },
            local,
            options: options.clone(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            receiving: true,
            listed: false,
        });
        let handle = self.processes[driver as usize].handles.insert(Target::Socket(key));
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.handle = handle;
        }
        let state = &mut self.hosts[host as usize];
        state.descriptors += 1;
        state.packet_ports.entry(local.port()).or_default().push(key);
        Ok((handle, Addr::Ip(local)))
    }

    pub(super) fn send_packet(
        &mut self,
        driver: u32,
        key: Handle,
        to: Option<&Addr>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        let socket = self.sockets.get(key).ok_or(OsError::STALE)?;
        let to = to.ok_or(OsError::new(ErrorKind::NotConnected))?;
        let to = reachable(to.ip().ok_or(OsError::new(ErrorKind::InvalidInput))?);
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if to.is_ipv4() != socket.local.is_ipv4() || to.port() == 0 || len > LONGEST {
            return Err(OsError::new(ErrorKind::InvalidInput));
        }
        let mut from = socket.local;
        let host = self.processes[driver as usize].host;
        if from.ip().is_unspecified() {
            from.set_ip(self.source_for(host, to.ip())?);
        }
        let Some(far) = self.owner(host, to.ip()) else {
            return Err(OsError::new(ErrorKind::HostUnreachable));
        };
        let wire = self.wire(host, far) as usize;
        let twice = self.rng.chance(self.wires[wire].link.duplicate);
        for _ in 0..1 + u32::from(twice) {
            let arrival = self.wires[wire].datagram_arrival(self.now, len, &mut self.rng);
            if let Some(arrival) = arrival {
                let mut bytes = self.spare.pop().unwrap_or_default();
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                let packet = self.packets.insert(Packet { bytes, from, to, host: far });
                self.queue.push(arrival, Event::Packet(packet));
            }
        }
        Ok(())
    }

    pub(super) fn packet_lands(&mut self, packet: Handle) {
        let Some(state) = self.packets.get(packet) else { return };
        let (host, to, len) = (state.host, state.to, state.bytes.len());
        let reached =
            if self.hosts[host as usize].down { None } else { self.packet_socket(host, to) };
        if let Some(key) = reached
            && let Some(socket) = self.sockets.get_mut(key)
            && socket.inbox_bytes + len + OVERHEAD <= INBOX
        {
            socket.inbox_bytes += len + OVERHEAD;
            socket.inbox.push_back(packet);
            self.notify_socket(key);
        } else {
            self.forget_packet(packet);
        }
    }

    pub(super) fn set_hearing(&mut self, key: Handle, on: bool) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.receiving = on;
            self.notify_socket(key);
        }
    }

    /// Reads one datagram into the driver's chunk.
    pub(super) fn socket_reports(&mut self, key: Handle) -> Option<Completion> {
        let socket = self.sockets.get_mut(key)?;
        socket.listed = false;
        if !socket.receiving {
            return None;
        }
        let packet = socket.inbox.pop_front()?;
        let (driver, handle) = (socket.driver, socket.handle);
        let state = self.packets.remove(packet)?;
        let len = state.bytes.len();
        socket.inbox_bytes -= len + OVERHEAD;
        let process = &mut self.processes[driver as usize];
        process.source = Some((handle, Addr::Ip(state.from)));
        let before = std::mem::replace(&mut process.chunk, state.bytes);
        self.keep_buffer(before);
        self.notify_socket(key);
        Some(Completion::Datagrams { socket: handle, chunk: 0, len, segment: len, more: false })
    }

    pub(super) fn close_socket(&mut self, key: Handle) {
        let Some(socket) = self.sockets.remove(key) else { return };
        let host = self.processes[socket.driver as usize].host;
        self.hosts[host as usize].forget_socket(key, socket.local.port());
        for packet in socket.inbox {
            self.forget_packet(packet);
        }
    }

    fn notify_socket(&mut self, key: Handle) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if socket.listed || !socket.receiving || socket.inbox.is_empty() {
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

/// The most bytes in one datagram over IPv4.
const LONGEST: usize = 65_507;
/// What a socket holds unread (Linux), and what each datagram counts for beyond its bytes.
const INBOX: usize = 212_992;
const OVERHEAD: usize = 256;
/// How many buffers are kept.
const SPARE: usize = 256;
