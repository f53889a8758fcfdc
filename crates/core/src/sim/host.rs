//! A host: its addresses, its limits, the faults one can give it, and the drivers that live on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::Addr;
use crate::driver::{Answer, Close, Handle, JobId, OsError};

use super::driver::SimDriver;
use super::net::Net;
use super::process::Target;
use super::queue::Side;

/// A host of a simulated world: a cheap handle. It has the addresses it was given, and 127.0.0.1 and ::1 of its own.
#[derive(Clone)]
pub struct Host {
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) id: u32,
}

impl Host {
    /// A driver on this host. Each is a process of its own; all share the host's addresses and ports.
    pub fn driver(&self) -> SimDriver {
        SimDriver::new(self.clone())
    }

    /// The name it was given.
    pub fn name(&self) -> String {
        self.net.borrow().hosts[self.id as usize].name.clone()
    }

    /// The addresses it was given, without loopback.
    pub fn addrs(&self) -> Vec<IpAddr> {
        self.net.borrow().hosts[self.id as usize].addrs.clone()
    }

    /// How many bytes the send and the receive buffer of a connection hold, at least one each. For connections made from now on;
    /// 64 KiB each to begin with.
    pub fn set_buffers(&self, send: usize, receive: usize) {
        self.state(|host| host.buffers = (send.max(1), receive.max(1)));
    }

    /// Makes every reader of this host slow, each connection by itself: so many bytes a second, `None` for as fast as it can.
    pub fn set_read_rate(&self, bytes_per_second: Option<u64>) {
        self.state(|host| host.read_rate = bytes_per_second);
    }

    /// The most sockets there may be on this host at once, of all kinds; beyond it everything answers "too many open files".
    pub fn set_descriptor_limit(&self, limit: Option<usize>) {
        self.state(|host| host.descriptor_limit = limit);
        self.net.borrow_mut().feed_starved(self.id);
    }

    /// How many sockets are open on this host.
    pub fn descriptors(&self) -> usize {
        self.net.borrow().hosts[self.id as usize].descriptors
    }

    /// Has the next `times` attempts to accept on this host fail; the connections go on waiting.
    pub fn fail_accepts(&self, times: u32, error: OsError) {
        self.state(|host| host.accept_faults = Faults { left: times, error });
    }

    /// Has the next `times` connections from this host fail with an error, after one latency.
    pub fn fail_connects(&self, times: u32, error: OsError) {
        self.state(|host| host.connect_faults = Faults { left: times, error });
    }

    /// Has the next `times` sends of a datagram from this host fail, and the datagram with them.
    pub fn fail_datagrams(&self, times: u32, error: OsError) {
        self.state(|host| host.datagram_faults = Faults { left: times, error });
    }

    /// Sets the wall clock, which goes on from there; the monotonic clock does not notice.
    pub fn set_wall_clock(&self, time: SystemTime) {
        let mut net = self.net.borrow_mut();
        let now = Duration::from_nanos(net.now.as_nanos());
        net.hosts[self.id as usize].wall_start = time - now;
    }

    /// Raises a signal in every process of this host that watches it. Answers how many do.
    pub fn signal(&self, number: i32) -> usize {
        self.net.borrow_mut().signal(self.id, number)
    }

    /// Resets the connection between two addresses, of which the first is this host's: both ends learn it at once.
    /// Answers whether there was one.
    pub fn reset_connection(&self, local: &Addr, peer: &Addr) -> bool {
        let mut net = self.net.borrow_mut();
        let found = net.conns.iter().find(|(_, conn)| {
            Side::BOTH.iter().any(|side| {
                let end = conn.end(*side);
                end.host == self.id && end.local == *local && end.peer == *peer
            })
        });
        let Some((key, _)) = found else { return false };
        net.cut_connection(key, std::io::ErrorKind::ConnectionReset.into());
        true
    }

    /// The host goes down: every socket and every driver of it is dead from this moment. With [`Crash::Reset`] its peers hear of it,
    /// with [`Crash::Silent`] they have to find out. A program there does not run any more.
    pub fn crash(&self, how: Crash) {
        // Answers may hold what is the user's: they are dropped when nothing is borrowed.
        let dropped = self.net.borrow_mut().crash(self.id, how);
        drop(dropped);
    }

    /// The host is up again, with the same addresses and no drivers: those from before the crash stay dead.
    pub fn restart(&self) {
        self.state(|host| host.down = false);
    }

    /// Whether it is down.
    pub fn is_down(&self) -> bool {
        self.net.borrow().hosts[self.id as usize].down
    }

    /// The bytes that its connections hold between writer and reader: send buffers, wires and receive buffers, what it sent and
    /// what is on its way to it.
    pub fn bytes_held(&self) -> usize {
        let net = self.net.borrow();
        let here = net
            .conns
            .iter()
            .filter(|(_, conn)| Side::BOTH.iter().any(|side| conn.end(*side).host == self.id));
        here.map(|(_, conn)| Side::BOTH.iter().map(|side| conn.pipe(*side).held()).sum::<usize>())
            .sum()
    }

    fn state(&self, change: impl FnOnce(&mut HostState)) {
        change(&mut self.net.borrow_mut().hosts[self.id as usize]);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net.try_borrow() {
            Ok(net) => write!(f, "Host({})", net.hosts[self.id as usize].name),
            Err(_) => write!(f, "Host(#{})", self.id),
        }
    }
}

/// How a host goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Its peers see resets, as when a process is killed and the kernel lives on.
    Reset,
    /// Its peers see nothing, as when the power fails.
    Silent,
}

/// What the network knows of a host.
#[derive(Debug)]
pub(super) struct HostState {
    pub(super) name: String,
    pub(super) addrs: Vec<IpAddr>,
    pub(super) down: bool,
    /// What listens, by port; several where they share it or have different addresses.
    pub(super) stream_ports: BTreeMap<u16, Vec<Handle>>,
    pub(super) packet_ports: BTreeMap<u16, Vec<Handle>>,
    pub(super) paths: BTreeMap<PathBuf, Handle>,
    /// The same for datagram sockets.
    pub(super) packet_paths: BTreeMap<PathBuf, Handle>,
    /// Ports that outgoing connections come from, and how many.
    pub(super) used_ports: BTreeMap<u16, u32>,
    next_port: u16,
    /// The wires to the other hosts, by their numbers.
    pub(super) wires: Vec<u32>,
    /// Send and receive buffer.
    pub(super) buffers: (usize, usize),
    pub(super) read_rate: Option<u64>,
    pub(super) descriptors: usize,
    pub(super) descriptor_limit: Option<usize>,
    /// Ports that wait for a descriptor.
    pub(super) starved: Vec<Handle>,
    pub(super) accept_faults: Faults,
    pub(super) connect_faults: Faults,
    pub(super) datagram_faults: Faults,
    /// The wall-clock time at which the world's clock was zero.
    pub(super) wall_start: SystemTime,
}

/// Failures still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    left: u32,
    error: OsError,
}

impl Faults {
    const NONE: Self = Self { left: 0, error: OsError::UNSUPPORTED };

    pub(super) fn take(&mut self) -> Option<OsError> {
        self.left = self.left.checked_sub(1)?;
        Some(self.error)
    }
}

impl HostState {
    pub(super) fn new(name: String, addrs: Vec<IpAddr>) -> Self {
        Self {
            name,
            addrs,
            down: false,
            stream_ports: BTreeMap::new(),
            packet_ports: BTreeMap::new(),
            paths: BTreeMap::new(),
            packet_paths: BTreeMap::new(),
            used_ports: BTreeMap::new(),
            next_port: FIRST_EPHEMERAL,
            wires: Vec::new(),
            buffers: (64 * 1024, 64 * 1024),
            read_rate: None,
            descriptors: 0,
            descriptor_limit: None,
            starved: Vec::new(),
            accept_faults: Faults::NONE,
            connect_faults: Faults::NONE,
            datagram_faults: Faults::NONE,
            wall_start: SystemTime::UNIX_EPOCH + WALL_START,
        }
    }

    /// The next ephemeral port that no stream uses.
    pub(super) fn ephemeral_port(&mut self) -> Option<u16> {
        for _ in FIRST_EPHEMERAL..=LAST_EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == LAST_EPHEMERAL { FIRST_EPHEMERAL } else { port + 1 };
            let used = self.used_ports.contains_key(&port) || self.stream_ports.contains_key(&port);
            if !used {
                return Some(port);
            }
        }
        None
    }

    pub(super) fn release_port(&mut self, port: u16) {
        if let Some(count) = self.used_ports.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.used_ports.remove(&port);
            }
        }
    }

    pub(super) fn forget_port(&mut self, key: Handle, local: &Addr) {
        match local {
            Addr::Ip(addr) => forget(&mut self.stream_ports, addr.port(), key),
            Addr::Unix(path) => _ = self.paths.remove(path),
            Addr::Named(_) => {}
        }
    }

    pub(super) fn forget_socket(&mut self, key: Handle, local: &Addr) {
        match local {
            Addr::Ip(addr) => forget(&mut self.packet_ports, addr.port(), key),
            Addr::Unix(path) => {
                // One without a name has no entry, and must not take another's.
                if self.packet_paths.get(path) == Some(&key) {
                    self.packet_paths.remove(path);
                }
            }
            Addr::Named(_) => {}
        }
    }
}

impl Net {
    /// Closes a handle of any kind.
    pub(super) fn close(&mut self, driver: u32, handle: Handle, how: Close) {
        let process = &mut self.processes[driver as usize];
        let Some(target) = process.handles.remove(handle) else { return };
        if process.source.as_ref().is_some_and(|(socket, _)| *socket == handle) {
            process.source = None;
        }
        let host = process.host;
        self.hosts[host as usize].descriptors -= 1;
        match target {
            Target::End(key, side) => self.close_end(key, side, how),
            Target::Port(key) => self.close_port(key),
            Target::Socket(key) => self.close_socket(key),
        }
        self.feed_starved(host);
    }

    /// Ends a driver as the kernel ends a process: everything is closed.
    pub(super) fn kill_process(&mut self, driver: u32) -> Buried {
        for handle in self.processes[driver as usize].handles.keys() {
            self.close(driver, handle, Close::Graceful);
        }
        self.bury(driver)
    }

    fn crash(&mut self, host: u32, how: Crash) -> Vec<Buried> {
        self.hosts[host as usize].down = how == Crash::Silent;
        for key in self.conns.keys() {
            for side in Side::BOTH {
                if self.conns.get(key).is_some_and(|conn| conn.end(side).host == host) {
                    self.crash_end(key, side, how == Crash::Silent);
                }
            }
        }
        let drivers = (0..self.processes.len() as u32)
            .filter(|driver| self.processes[*driver as usize].host == host)
            .collect::<Vec<_>>();
        let buried = drivers.into_iter().map(|driver| {
            for handle in self.processes[driver as usize].handles.keys() {
                self.close(driver, handle, Close::Reset);
            }
            self.bury(driver)
        });
        let buried = buried.collect();
        self.hosts[host as usize].down = true;
        buried
    }

    /// Forgets what a driver still had; answers what has to be dropped outside.
    fn bury(&mut self, driver: u32) -> Buried {
        let dropped = self.stop_workers(driver);
        let process = &mut self.processes[driver as usize];
        process.alive = false;
        process.planned = None;
        process.ready.clear();
        process.round = 0;
        process.signals.clear();
        let answers = std::mem::take(&mut process.answers);
        // So that the world drops its reactor.
        self.rouse(driver);
        (answers, dropped)
    }
}

/// Answers that nobody will take.
type Buried = (Vec<(JobId, Answer)>, Vec<Answer>);

fn forget(ports: &mut BTreeMap<u16, Vec<Handle>>, port: u16, key: Handle) {
    if let Some(keys) = ports.get_mut(&port) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            ports.remove(&port);
        }
    }
}

/// The ephemeral ports of Linux.
const FIRST_EPHEMERAL: u16 = 32_768;
const LAST_EPHEMERAL: u16 = 60_999;

/// The first of January 2026, less the time at which the world's clock starts.
const WALL_START: Duration = Duration::from_secs(1_767_225_600 - 1000);
