//! How connections come about: ports that listen, attempts that reach them or do not, and accepting.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::Addr;
use crate::driver::{Completion, ConnectFault, ConnectOptions, Handle, ListenOptions, OsError};

use crate::sim::bind::{mapped, reachable};

use super::{Conn, End, Event, Net, Pipe, Ready, Segment, Side, Stage, Target};

/// A port that listens.
#[derive(Debug)]
pub(in crate::sim) struct Port {
    driver: u32,
    handle: Handle,
    pub(in crate::sim) local: Addr,
    pub(in crate::sim) options: ListenOptions,
    /// Connections that nobody has accepted yet.
    backlog: VecDeque<Handle>,
    pub(in crate::sim) accepting: bool,
    listed: bool,
    /// How many it has accepted in this round.
    taken: u32,
}

impl Net {
    pub(in crate::sim) fn listen(
        &mut self,
        driver: u32,
        addr: &Addr,
        options: &ListenOptions,
    ) -> Result<(Handle, Addr), OsError> {
        self.check_alive(driver)?;
        self.check_descriptors(driver)?;
        let host = self.processes[driver as usize].host;
        let local = match addr {
            Addr::Ip(addr) => Addr::Ip(self.bind_stream(host, *addr, options)?),
            Addr::Unix(path) => {
                if path.as_os_str().is_empty() {
                    return Err(OsError::new(ErrorKind::InvalidInput));
                }
                let state = &self.hosts[host as usize];
                if state.paths.contains_key(path) || state.packet_paths.contains_key(path) {
                    return Err(OsError::new(ErrorKind::AddrInUse));
                }
                addr.clone()
            }
            Addr::Named(_) => return Err(OsError::UNSUPPORTED),
        };
        let key = self.ports.insert(Port {
            driver,
            handle: Handle { index: 0, version: 0 },
            local: local.clone(),
            options: options.clone(),
            backlog: VecDeque::new(),
            accepting: true,
            listed: false,
            taken: 0,
        });
        let handle = self.processes[driver as usize].handles.insert(Target::Port(key));
        if let Some(port) = self.ports.get_mut(key) {
            port.handle = handle;
        }
        let state = &mut self.hosts[host as usize];
        state.descriptors += 1;
        match &local {
            Addr::Ip(addr) => state.stream_ports.entry(addr.port()).or_default().push(key),
            Addr::Unix(path) => _ = state.paths.insert(path.clone(), key),
            Addr::Named(_) => {}
        }
        Ok((handle, local))
    }

    pub(in crate::sim) fn connect(
        &mut self,
        driver: u32,
        to: &Addr,
        options: &ConnectOptions,
    ) -> Result<Handle, ConnectFault> {
        self.check_alive(driver).map_err(ConnectFault::Connect)?;
        self.check_descriptors(driver).map_err(ConnectFault::Connect)?;
        let host = self.processes[driver as usize].host;
        let (server, local, peer) = match to {
            Addr::Ip(peer) => {
                let peer = reachable(*peer);
                let local = self.local_for(host, peer, options)?;
                (self.owner(host, peer.ip()), Addr::Ip(local), Addr::Ip(peer))
            }
            Addr::Unix(_) => (Some(host), Addr::Unix(PathBuf::new()), to.clone()),
            Addr::Named(_) => return Err(ConnectFault::Connect(OsError::UNSUPPORTED)),
        };
        let fault = self.hosts[host as usize].connect_faults.take();
        let unreachable = server.is_none().then_some(OsError::new(ErrorKind::HostUnreachable));
        let refusal = fault.or(unreachable);
        let far = server.unwrap_or(host);
        let there = self.wire(host, far);
        let back = self.wire(far, host);
        let (send, receive) = self.hosts[host as usize].buffers;
        let (far_send, far_receive) = self.hosts[far as usize].buffers;
        let mut client = End::new(host, driver, local.clone(), peer.clone(), Stage::Connecting);
        client.no_delay = options.no_delay;
        let port = if let Addr::Ip(local) = &local { Some(local.port()) } else { None };
        let key = self.conns.insert(Conn {
            ends: [client, End::new(far, 0, peer, local, Stage::Connecting)],
            pipes: [Pipe::new(there, send, far_receive), Pipe::new(back, far_send, receive)],
            attempts: 0,
            refusal,
            port,
        });
        let handle = self.give_handle(key, Side::Client, driver);
        if refusal.is_some() {
            let delay = self.wires[there as usize].delay(&mut self.rng);
            self.queue.push(self.now + delay, Event::Refused(key));
        } else {
            self.attempt(key);
        }
        Ok(handle)
    }

    /// Sends the first segment, once more if it got lost before.
    fn attempt(&mut self, key: Handle) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pause = Duration::from_secs(1 << conn.attempts.min(6));
        conn.attempts += 1;
        if conn.attempts > ATTEMPTS {
            conn.refusal = Some(OsError::new(ErrorKind::TimedOut));
            self.queue.push(self.now, Event::Refused(key));
            return;
        }
        let (there, back) = (conn.pipe(Side::Client).wire, conn.pipe(Side::Server).wire);
        let down = self.hosts[conn.end(Side::Server).host as usize].down;
        let wire = &self.wires[there as usize];
        // The answer would not come back: better not to leave half a connection there.
        let lost = wire.cut || down || self.wires[back as usize].cut;
        if lost || self.rng.chance(wire.link.loss) {
            self.queue.push(self.now + pause, Event::Syn(key));
        } else {
            conn.end_mut(Side::Server).stage = Stage::Waiting;
            let delay = wire.delay(&mut self.rng);
            self.queue.push(self.now.max(wire.held_until) + delay, Event::Syn(key));
        }
    }

    /// An attempt reaches the other host, or it is time to try again.
    pub(in crate::sim) fn syn(&mut self, key: Handle) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.end(Side::Client).stage != Stage::Connecting {
            // Given up meanwhile: nobody is there to be answered.
            conn.end_mut(Side::Server).stage = Stage::Broken;
            self.retire(key);
            return;
        }
        if conn.end(Side::Server).stage == Stage::Connecting {
            self.attempt(key);
            return;
        }
        let far = conn.end(Side::Server).host;
        let to = conn.end(Side::Client).peer.clone();
        if self.hosts[far as usize].down {
            self.try_again(key);
            return;
        }
        let Some(port) = self.listener(far, &to) else {
            let Some(conn) = self.conns.get_mut(key) else { return };
            conn.end_mut(Side::Server).stage = Stage::Broken;
            conn.refusal = Some(OsError::new(ErrorKind::ConnectionRefused));
            let back = conn.pipe(Side::Server).wire;
            let delay = self.wires[back as usize].delay(&mut self.rng);
            self.queue.push(self.now + delay, Event::Refused(key));
            return;
        };
        let conns = &mut self.conns;
        let Some(state) = self.ports.get_mut(port) else { return };
        let waits = |key: &Handle| {
            conns.get(*key).is_some_and(|conn| conn.end(Side::Server).stage == Stage::Waiting)
        };
        state.backlog.retain(waits);
        if state.backlog.len() >= (state.options.backlog as usize).max(1) {
            self.try_again(key);
            return;
        }
        state.backlog.push_back(key);
        if let Some(conn) = conns.get_mut(key) {
            let server = conn.end_mut(Side::Server);
            server.no_delay = state.options.no_delay;
            server.driver = state.driver;
            if let (Addr::Ip(local), Addr::Ip(peer)) = (&server.local, &server.peer)
                && let Addr::Ip(bound) = &state.local
                && bound.is_ipv6()
                && local.is_ipv4()
            {
                server.local = Addr::Ip(mapped(*local));
                server.peer = Addr::Ip(mapped(*peer));
            }
        }
        self.launch(key, Side::Server, Segment::SynAck);
        self.notify_port(port);
    }

    /// The attempt was not heard, or there was no room for it: once more after a while.
    fn try_again(&mut self, key: Handle) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.end_mut(Side::Server).stage = Stage::Connecting;
        let pause = Duration::from_secs(1 << (conn.attempts - 1).min(6));
        self.queue.push(self.now + pause, Event::Syn(key));
    }

    /// The client hears that its attempt has failed.
    pub(in crate::sim) fn refused(&mut self, key: Handle) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.end_mut(Side::Server).stage = Stage::Broken;
        let error = conn.refusal.unwrap_or(OsError::new(ErrorKind::ConnectionRefused));
        self.break_end(key, Side::Client, error);
        self.retire(key);
    }

    pub(in crate::sim) fn set_accepting(&mut self, key: Handle, on: bool) {
        if let Some(port) = self.ports.get_mut(key) {
            port.accepting = on;
            self.notify_port(key);
        }
    }

    /// Accepts one connection, or tells why that cannot be.
    pub(in crate::sim) fn port_reports(&mut self, key: Handle) -> Option<Completion> {
        let port = self.ports.get_mut(key)?;
        port.listed = false;
        if !port.accepting {
            return None;
        }
        let (handle, driver) = (port.handle, port.driver);
        let conns = &self.conns;
        port.backlog.retain(|key| {
            conns.get(*key).is_some_and(|conn| conn.end(Side::Server).stage == Stage::Waiting)
        });
        if port.backlog.is_empty() {
            return None;
        }
        let host = self.processes[driver as usize].host;
        if let Some(error) = self.hosts[host as usize].accept_faults.take() {
            self.notify_port(key);
            return Some(Completion::AcceptFailed { port: handle, error });
        }
        if let Err(error) = self.check_descriptors(driver) {
            self.hosts[host as usize].starved.push(key);
            return Some(Completion::AcceptFailed { port: handle, error });
        }
        let port = self.ports.get_mut(key)?;
        let conn = port.backlog.pop_front()?;
        port.taken += 1;
        let again = !port.backlog.is_empty();
        let at_once = again && port.taken < SHARE;
        if at_once {
            port.listed = true;
            let process = &mut self.processes[driver as usize];
            process.ready.push_front(Ready::Port(key));
            process.round += 1;
        } else {
            port.taken = 0;
            self.notify_port(key);
        }
        if let Some(state) = self.conns.get_mut(conn) {
            state.end_mut(Side::Server).stage = Stage::Open;
        }
        let accepted = self.give_handle(conn, Side::Server, driver);
        Some(Completion::Accepted { port: handle, conn: accepted })
    }

    /// Stops listening; who has not been accepted is reset.
    pub(in crate::sim) fn close_port(&mut self, key: Handle) {
        let Some(port) = self.ports.remove(key) else { return };
        let host = self.processes[port.driver as usize].host;
        self.hosts[host as usize].forget_port(key, &port.local);
        for conn in port.backlog {
            let waiting = self.conns.get(conn).map(|conn| conn.end(Side::Server).stage);
            if waiting == Some(Stage::Waiting) {
                self.send_reset(conn, Side::Server);
            }
        }
    }

    /// Lets ports that had run out of descriptors try again.
    pub(in crate::sim) fn feed_starved(&mut self, host: u32) {
        if self.hosts[host as usize].starved.is_empty() {
            return;
        }
        for port in std::mem::take(&mut self.hosts[host as usize].starved) {
            self.notify_port(port);
        }
    }

    fn notify_port(&mut self, key: Handle) {
        let Some(port) = self.ports.get_mut(key) else { return };
        if port.listed || !port.accepting || port.backlog.is_empty() {
            return;
        }
        port.listed = true;
        let driver = port.driver;
        self.report(driver, Ready::Port(key));
    }
}

/// How many connections a port accepts before the others get their turn.
const SHARE: u32 = 64;
/// How often Linux sends the first segment: some 127 seconds in all.
const ATTEMPTS: u32 = 7;
