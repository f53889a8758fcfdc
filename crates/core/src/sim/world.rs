//! The world as its user holds it: hosts, links, names, faults between hosts, the clock and the trace.
//! Running programs in it is in `program.rs`.

use std::cell::RefCell;
use std::fmt;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::Time;
use crate::driver::OsError;

use super::host::{Host, HostState};
use super::link::{Link, Wire};
use super::net::Net;
use super::program::Programs;
use super::queue::Side;
use super::trace::Delivered;

/// A simulated network of hosts, with a clock of its own. A cheap handle; everything random in it comes from its seed, so the
/// same seed and the same program make the same run, byte for byte.
///
/// A program must not hold the world it runs in, or neither is ever freed.
#[derive(Clone)]
pub struct World {
    pub(super) net: Rc<RefCell<Net>>,
    pub(super) programs: Rc<Programs>,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self { net: Rc::new(RefCell::new(Net::new(seed))), programs: Rc::default() }
    }

    /// Adds a host. Its name resolves, to its addresses in this order.
    ///
    /// # Panics
    ///
    /// When an address is loopback or unspecified, or another host has it.
    pub fn host(&self, name: &str, addrs: impl IntoIterator<Item = IpAddr>) -> Host {
        let addrs: Vec<IpAddr> = addrs.into_iter().collect();
        let mut net = self.net.borrow_mut();
        let id = net.hosts.len() as u32;
        for addr in &addrs {
            assert!(!addr.is_loopback() && !addr.is_unspecified(), "{addr} cannot be a host's own");
            let before = net.owners.insert(*addr, id);
            assert!(before.is_none_or(|owner| owner == id), "two hosts with the address {addr}");
        }
        if !addrs.is_empty() {
            net.names.insert(name.to_ascii_lowercase(), Ok(addrs.clone()));
        }
        net.hosts.push(HostState::new(name.to_owned(), addrs));
        Host { net: Rc::clone(&self.net), id }
    }

    // ---- names

    /// Has a name resolve to addresses, in place of what it meant before.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn set_name(&self, name: &str, addrs: impl IntoIterator<Item = IpAddr>) {
        let addrs: Vec<IpAddr> = addrs.into_iter().collect();
        assert!(!addrs.is_empty(), "a name without an address: see fail_name");
        self.net.borrow_mut().names.insert(name.to_ascii_lowercase(), Ok(addrs));
    }

    /// Has every look-up of a name fail.
    pub fn fail_name(&self, name: &str, error: OsError) {
        self.net.borrow_mut().names.insert(name.to_ascii_lowercase(), Err(error));
    }

    /// How long a look-up takes: at least and at most, drawn evenly. 200 µs to 5 ms.
    pub fn set_lookup_time(&self, least: Duration, most: Duration) {
        self.net.borrow_mut().lookup_time = (least, most);
    }

    /// How long a job occupies a worker: at least and at most, drawn evenly. 50 µs to 5 ms.
    pub fn set_job_time(&self, least: Duration, most: Duration) {
        self.net.borrow_mut().job_time = (least, most);
    }

    // ---- links

    /// Sets the link of all pairs of hosts that have none of their own.
    pub fn set_default_link(&self, link: Link) {
        let mut net = self.net.borrow_mut();
        for wire in &mut net.wires {
            if !wire.own {
                wire.link = link.clone();
            }
        }
        net.default_link = link;
    }

    /// Sets the link between two hosts, both ways; of a host with itself, its loopback. What is under way is not affected.
    pub fn set_link(&self, one: &Host, other: &Host, link: Link) {
        self.set_link_one_way(one, other, link.clone());
        self.set_link_one_way(other, one, link);
    }

    /// Sets one direction of the link between two hosts.
    pub fn set_link_one_way(&self, from: &Host, to: &Host, link: Link) {
        self.wire(from, to, |wire| {
            wire.link = link;
            wire.own = true;
        });
    }

    /// Cuts two hosts off from each other. Datagrams are lost from now on, streams wait, attempts to connect are tried again
    /// as TCP does; what is on the wire still arrives.
    pub fn partition(&self, one: &Host, other: &Host) {
        self.partition_one_way(one, other);
        self.partition_one_way(other, one);
    }

    /// Lets nothing through from one host to the other. The other direction works, but acknowledgements of it get lost.
    pub fn partition_one_way(&self, from: &Host, to: &Host) {
        self.wire(from, to, |wire| wire.cut = true);
    }

    /// Cuts a host off from all others.
    pub fn cut_off(&self, host: &Host) {
        for other in self.others(host) {
            self.partition(host, &other);
        }
    }

    /// Ends a partition of two hosts; streams go on at once.
    pub fn heal(&self, one: &Host, other: &Host) {
        self.wire(one, other, |wire| wire.cut = false);
        self.wire(other, one, |wire| wire.cut = false);
        self.net.borrow_mut().resume();
    }

    /// Ends every partition.
    pub fn heal_all(&self) {
        let mut net = self.net.borrow_mut();
        net.wires.iter_mut().for_each(|wire| wire.cut = false);
        net.resume();
    }

    /// Holds everything that two hosts send each other for a time, datagrams too; then it leaves.
    pub fn hold(&self, one: &Host, other: &Host, time: Duration) {
        let until = self.now() + time;
        self.wire(one, other, |wire| wire.held_until = wire.held_until.max(until));
        self.wire(other, one, |wire| wire.held_until = wire.held_until.max(until));
    }

    /// Resets every connection between two hosts: both ends of each learn it at once. Answers how many there were.
    pub fn reset(&self, one: &Host, other: &Host) -> usize {
        let mut net = self.net.borrow_mut();
        let between = net.conns.iter().filter(|(_, conn)| {
            let hosts = Side::BOTH.map(|side| conn.end(side).host);
            hosts == [one.id, other.id] || hosts == [other.id, one.id]
        });
        let keys: Vec<_> = between.map(|(key, _)| key).collect();
        for key in &keys {
            net.cut_connection(*key, OsError::new(ErrorKind::ConnectionReset));
        }
        keys.len()
    }

    /// How long a connection tries to be heard before it fails as timed out. 924 seconds, about what Linux does.
    pub fn set_give_up(&self, time: Duration) {
        self.net.borrow_mut().give_up = time;
    }

    /// How long, in real time, a driver that nobody's world runs waits for other threads when nothing will ever happen in its world,
    /// before that is an error. 10 seconds.
    pub fn set_patience(&self, time: Duration) {
        self.net.borrow_mut().patience = time;
    }

    // ---- clock and trace

    /// The world's clock: every host's monotonic time. Starts at 1000 seconds.
    pub fn now(&self) -> Time {
        self.net.borrow().now
    }

    /// How many completions have been delivered to reactors.
    pub fn events(&self) -> u64 {
        self.net.borrow().trace.count()
    }

    /// A hash of every completion delivered so far: when, to whom, which handle, what, and the bytes. Two runs with the same hash
    /// are, for all practical purposes, the same run.
    pub fn trace_hash(&self) -> u64 {
        self.net.borrow().trace.hash()
    }

    /// Keeps a list of what is delivered from now on, to find where two runs part.
    pub fn keep_trace(&self) {
        self.net.borrow_mut().trace.keep();
    }

    /// The list so far, which begins anew; empty unless [`keep_trace`](Self::keep_trace) was called.
    pub fn take_trace(&self) -> Vec<Delivered> {
        self.net.borrow_mut().trace.take_kept()
    }

    /// How many connections there are, those included that are being opened or closed.
    pub fn connections(&self) -> usize {
        self.net.borrow().conns.len()
    }

    fn wire(&self, from: &Host, to: &Host, change: impl FnOnce(&mut Wire)) {
        let mut net = self.net.borrow_mut();
        let wire = net.wire(from.id, to.id);
        change(&mut net.wires[wire as usize]);
    }

    fn others(&self, host: &Host) -> Vec<Host> {
        let hosts = self.net.borrow().hosts.len() as u32;
        let others = (0..hosts).filter(|id| *id != host.id);
        others.map(|id| Host { net: Rc::clone(&self.net), id }).collect()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World(..)")
    }
}
