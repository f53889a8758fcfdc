//! The state of a world: every host, socket, wire and planned event, and how time moves. What happens to streams,
//! datagrams and jobs is in the files of their names; users hold a `World`, a `Host` or a `SimDriver`.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Time;
use crate::driver::{Handle, JobId, OsError};
use crate::rng::Rng;
use crate::table::Table;

use super::datagram::{Packet, Socket};
use super::host::HostState;
use super::link::{Link, Wire};
use super::process::Process;
use super::queue::{Event, Queue, Side};
use super::service::JobState;
use super::stream::{Conn, Port};
use super::trace::Trace;

/// Everything there is in a world, but its programs.
#[derive(Debug)]
pub(super) struct Net {
    pub(super) now: Time,
    pub(super) queue: Queue,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) hosts: Vec<HostState>,
    /// One a driver, by the driver's number.
    pub(super) processes: Vec<Process>,
    pub(super) conns: Table<Conn>,
    pub(super) ports: Table<Port>,
    pub(super) sockets: Table<Socket>,
    pub(super) packets: Table<Packet>,
    /// Buffers of packets that have been read.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) jobs: Table<JobState>,
    pub(super) wires: Vec<Wire>,
    pub(super) default_link: Link,
    pub(super) owners: BTreeMap<IpAddr, u32>,
    pub(super) names: BTreeMap<String, Result<Vec<IpAddr>, OsError>>,
    /// Drivers run by the world that have something to report.
    pub(super) dirty: VecDeque<u32>,
    /// Whether another thread has woken any driver.
    pub(super) bell: Arc<AtomicBool>,
    /// How long, in real time, a driver waits for other threads when nothing will ever happen in the world.
    pub(super) patience: Duration,
    /// How long a sender tries before the connection fails.
    pub(super) give_up: Duration,
    /// The least and the most a job, and a look-up, take.
    pub(super) job_time: (Duration, Duration),
    pub(super) lookup_time: (Duration, Duration),
}

/// Something a driver may have to report; looked at again when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    End(Handle, Side),
    Port(Handle),
    Socket(Handle),
    Answer(JobId),
    Signal(i32),
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: START,
            queue: Queue::default(),
            rng: Rng::from_number(seed),
            trace: Trace::default(),
            hosts: Vec::new(),
            processes: Vec::new(),
            conns: Table::new(),
            ports: Table::new(),
            sockets: Table::new(),
            packets: Table::new(),
            spare: Vec::new(),
            jobs: Table::new(),
            wires: Vec::new(),
            default_link: Link::default(),
            owners: BTreeMap::new(),
            names: BTreeMap::new(),
            dirty: VecDeque::new(),
            bell: Arc::default(),
            patience: Duration::from_secs(10),
            give_up: Duration::from_secs(924),
            job_time: (Duration::from_micros(50), Duration::from_millis(5)),
            lookup_time: (Duration::from_micros(200), Duration::from_millis(5)),
        }
    }

    /// Lets everything happen that is planned for the present moment.
    pub(super) fn settle(&mut self) {
        while let Some(event) = self.queue.pop_due(self.now) {
            self.happen(event);
        }
    }

    /// Moves time to the next event, or to `until` if that comes first, and lets happen what is planned for it. Answers whether
    /// there was anything to move to.
    pub(super) fn advance(&mut self, until: Option<Time>) -> bool {
        let target = match (self.next_time(), until) {
            (Some(next), Some(until)) => next.min(until),
            (Some(time), None) | (None, Some(time)) => time,
            (None, None) => return false,
        };
        self.now = self.now.max(target);
        self.settle();
        true
    }

    /// When something will happen next. What was planned and is moot by now does not count: it would only move time.
    pub(super) fn next_time(&mut self) -> Option<Time> {
        loop {
            let (time, event) = self.queue.peek()?;
            let moot = match event {
                Event::Deadline(driver) => {
                    let process = &self.processes[driver as usize];
                    !process.alive || process.planned != Some(time)
                }
                Event::GiveUp(key, side) => {
                    let stuck = self.conns.get(key).and_then(|conn| conn.pipe(side).stuck_since);
                    stuck.map(|since| since + self.give_up) != Some(time)
                }
                Event::Answer(key) => self.jobs.get(key).is_none(),
                _ => false,
            };
            if !moot {
                return Some(time);
            }
            self.queue.pop_due(time);
        }
    }

    /// The next driver that the world has to give a turn.
    pub(super) fn next_dirty(&mut self) -> Option<u32> {
        let driver = self.dirty.pop_front()?;
        self.processes[driver as usize].dirty = false;
        Some(driver)
    }

    /// Lists the drivers that other threads have woken; answers whether there are any.
    pub(super) fn heed_threads(&mut self) -> bool {
        if !self.bell.load(Ordering::Relaxed) || !self.bell.swap(false, Ordering::SeqCst) {
            return false;
        }
        for driver in 0..self.processes.len() {
            if self.processes[driver].wake.is_called() {
                self.rouse(driver as u32);
            }
        }
        true
    }

    /// The wire from one host to another, made when it is first asked for.
    pub(super) fn wire(&mut self, from: u32, to: u32) -> u32 {
        let row = &mut self.hosts[from as usize].wires;
        if row.len() <= to as usize {
            row.resize(to as usize + 1, NONE);
        }
        if row[to as usize] == NONE {
            row[to as usize] = self.wires.len() as u32;
            let link = if from == to { Link::loopback() } else { self.default_link.clone() };
            self.wires.push(Wire::new(link, from == to));
        }
        self.hosts[from as usize].wires[to as usize]
    }

    /// The host that has an address, seen from `host`: loopback is everybody's own.
    pub(super) fn owner(&self, host: u32, ip: IpAddr) -> Option<u32> {
        if ip.is_loopback() { Some(host) } else { self.owners.get(&ip).copied() }
    }

    /// A time between the two.
    pub(super) fn draw(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let range = most.saturating_sub(least).as_nanos() as u64;
        least + Duration::from_nanos(self.rng.below(range.saturating_add(1)))
    }

    /// Puts something on a driver's list.
    pub(super) fn report(&mut self, driver: u32, ready: Ready) {
        let process = &mut self.processes[driver as usize];
        process.ready.push_back(ready);
        self.rouse(driver);
    }

    /// Has the world give a driver's reactor a turn, if the world runs it.
    pub(super) fn rouse(&mut self, driver: u32) {
        let process = &mut self.processes[driver as usize];
        if process.driven && !process.dirty {
            process.dirty = true;
            self.dirty.push_back(driver);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Segment(conn, side) => self.segment_lands(conn, side),
            Event::Ack(conn, side) => self.ack_lands(conn, side),
            Event::Syn(conn) => self.syn(conn),
            Event::Refused(conn) => self.refused(conn),
            Event::GiveUp(conn, side) => self.give_up(conn, side),
            Event::ReadAgain(conn, side) => self.notify(conn, side),
            Event::Packet(packet) => self.packet_lands(packet),
            Event::PacketRefused(socket) => self.refusal_lands(socket),
            Event::Answer(job) => self.answer_arrives(job),
            Event::Deadline(driver) => self.rouse(driver),
        }
    }
}

/// Where the clock starts: not at zero, so that "a moment ago" exists from the beginning.
pub(super) const START: Time = Time::from_nanos(1_000_000_000_000);

/// No wire yet.
const NONE: u32 = u32::MAX;
