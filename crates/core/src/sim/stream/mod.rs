//! Connections: two ends, two pipes, and what segments, resets and closings do to them. How they come about is in
//! `opening.rs`; the windows are in `pipe.rs`.

mod luggage;
mod opening;
mod pipe;

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use crate::descriptor::Descriptor;
use crate::driver::{Close, Completion, Handle, OsError, Outgoing, Sent};
use crate::{Addr, Time};

use super::link::serialisation;
use super::net::{Net, Ready};
use super::process::Target;
use super::queue::{Event, Side};

pub(super) use opening::Port;
pub(super) use pipe::{Fin, Pipe, Segment};

/// A connection, from the attempt until both ends are done with it.
#[derive(Debug)]
pub(super) struct Conn {
    ends: [End; 2],
    /// What each side sends.
    pipes: [Pipe; 2],
    /// How often the attempt was made.
    attempts: u32,
    /// Why the attempt will fail.
    refusal: Option<OsError>,
    /// The ephemeral port to be given back.
    port: Option<u16>,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: u32,
    driver: u32,
    handle: Option<Handle>,
    pub(super) local: Addr,
    pub(super) peer: Addr,
    pub(super) stage: Stage,
    pub(super) receiving: bool,
    /// Whether it is on its driver's list.
    listed: bool,
    connected: bool,
    failure: Option<OsError>,
    /// The buffer in flight, and how much of it is in the send buffer.
    outgoing: Vec<u8>,
    outgoing_from: usize,
    in_flight: bool,
    /// What has left since the last report.
    left: usize,
    /// Descriptors that came with the bytes reported last.
    came: VecDeque<Descriptor>,
    /// A slow reader reads nothing before this.
    reads_from: Time,
    /// After a graceful close: until when what still comes in is swallowed.
    lingers: Time,
    pub(super) no_delay: bool,
    pub(super) keep_alive: bool,
}

/// What an end is going through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for the other side's answer.
    Connecting,
    /// It waits to be accepted.
    Waiting,
    Open,
    /// Closed by its owner; what was sent is still being delivered.
    Closed,
    /// Reset by either side, or given up.
    Broken,
    /// Gone without a word, with its host.
    Silent,
}

impl Conn {
    pub(super) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// What `side` sends.
    pub(super) fn pipe(&self, side: Side) -> &Pipe {
        &self.pipes[side as usize]
    }

    pub(super) fn pipe_mut(&mut self, side: Side) -> &mut Pipe {
        &mut self.pipes[side as usize]
    }

    /// Whether an end has nothing more to wait for.
    fn is_done(&self, side: Side) -> bool {
        let end = self.end(side);
        if end.handle.is_some() {
            return false;
        }
        match end.stage {
            Stage::Connecting | Stage::Waiting | Stage::Open => false,
            Stage::Broken | Stage::Silent => true,
            Stage::Closed => {
                let delivered = self.pipe(side).fin >= Fin::Arrived;
                let peer = self.end(side.other()).stage;
                let heard = self.pipe(side.other()).fin >= Fin::Arrived;
                delivered && (heard || matches!(peer, Stage::Broken | Stage::Silent))
            }
        }
    }
}

impl End {
    fn new(host: u32, driver: u32, local: Addr, peer: Addr, stage: Stage) -> Self {
        Self {
            host,
            driver,
            handle: None,
            local,
            peer,
            stage,
            receiving: false,
            listed: false,
            connected: false,
            failure: None,
            outgoing: Vec::new(),
            outgoing_from: 0,
            in_flight: false,
            left: 0,
            came: VecDeque::new(),
            reads_from: Time::ZERO,
            lingers: Time::MAX,
            no_delay: true,
            keep_alive: false,
        }
    }
}

/// Calls of the driver.
impl Net {
    pub(super) fn set_receiving(&mut self, key: Handle, side: Side, on: bool) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.end_mut(side).receiving = on;
            self.notify(key, side);
        }
    }

    pub(super) fn send(&mut self, key: Handle, side: Side, out: Outgoing<'_>) -> Sent {
        let Some(conn) = self.conns.get_mut(key) else { return Sent::Failed(OsError::STALE) };
        let end = &mut conn.ends[side as usize];
        if let Some(error) = end.failure.take() {
            return Sent::Failed(error);
        }
        let pipe = &mut conn.pipes[side as usize];
        if end.stage != Stage::Open || end.in_flight || pipe.fin > Fin::Open {
            let kind = match end.stage {
                Stage::Connecting | Stage::Waiting => ErrorKind::NotConnected,
                _ => ErrorKind::BrokenPipe,
            };
            return Sent::Failed(OsError::new(kind));
        }
        let sent = match out {
            Outgoing::Lent(bytes) => Sent::Now(pipe.write(bytes)),
            Outgoing::Vectored(parts) => Sent::Now(write_parts(pipe, parts)),
            Outgoing::Buffer(buffer, from) => {
                let from = from.min(buffer.len());
                let written = pipe.write(&buffer[from..]);
                if from + written == buffer.len() {
                    Sent::Now(written)
                } else {
                    end.outgoing = std::mem::take(buffer);
                    end.outgoing_from = from + written;
                    end.in_flight = true;
                    Sent::InFlight(written)
                }
            }
        };
        self.pump(key, side);
        sent
    }

    pub(super) fn reclaim(&mut self, key: Handle, side: Side) -> Vec<u8> {
        let Some(conn) = self.conns.get_mut(key) else { return Vec::new() };
        let end = conn.end_mut(side);
        if end.in_flight { Vec::new() } else { std::mem::take(&mut end.outgoing) }
    }

    pub(super) fn shutdown(&mut self, key: Handle, side: Side) -> Result<(), OsError> {
        let conn = self.conns.get_mut(key).ok_or(OsError::STALE)?;
        if conn.end(side).stage != Stage::Open {
            return Err(OsError::STALE);
        }
        let pipe = conn.pipe_mut(side);
        if pipe.fin == Fin::Open {
            pipe.fin = Fin::Asked;
            self.pump(key, side);
        }
        Ok(())
    }

    /// The owner lets go of an end.
    pub(super) fn close_end(&mut self, key: Handle, side: Side, how: Close) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(side);
        end.handle = None;
        end.came.clear();
        end.outgoing = Vec::new();
        end.in_flight = false;
        match (end.stage, how) {
            (Stage::Open, Close::Graceful) => {
                end.stage = Stage::Closed;
                end.lingers = now + LINGER;
                if conn.pipe(side).fin == Fin::Open {
                    conn.pipe_mut(side).fin = Fin::Asked;
                }
                let incoming = conn.pipe_mut(side.other());
                incoming.discard();
                if incoming.fin == Fin::Arrived {
                    incoming.fin = Fin::Reported;
                }
                self.pump(key, side);
                self.acknowledge(key, side.other());
            }
            (Stage::Open | Stage::Waiting, _) => self.send_reset(key, side),
            // The other side may be on the point of answering: it will be told when its answer lands.
            (Stage::Connecting, _) => {
                end.stage = Stage::Broken;
                if conn.ends[Side::Server as usize].stage == Stage::Connecting {
                    conn.ends[Side::Server as usize].stage = Stage::Broken;
                }
            }
            (Stage::Closed | Stage::Broken | Stage::Silent, _) => {}
        }
        self.retire(key);
    }

    /// Tells the next thing there is to tell of an end, and whether there is more for this round.
    pub(super) fn end_reports(
        &mut self,
        key: Handle,
        side: Side,
        scratch: &mut [u8],
    ) -> Option<Completion> {
        let conn = self.conns.get_mut(key)?;
        let end = &mut conn.ends[side as usize];
        end.listed = false;
        let handle = end.handle?;
        if let Some(error) = end.failure.take() {
            return Some(Completion::Failed { handle, error });
        }
        if std::mem::take(&mut end.connected) {
            self.notify_at_once(key, side);
            return Some(Completion::Connected { conn: handle });
        }
        if end.left > 0 {
            let len = std::mem::take(&mut end.left);
            let done = !end.in_flight;
            self.notify_at_once(key, side);
            return Some(Completion::Sent { conn: handle, len, done });
        }
        if end.stage != Stage::Open || !end.receiving || end.reads_from > self.now {
            return None;
        }
        let incoming = &mut conn.pipes[side.other() as usize];
        let readable = incoming.readable();
        if readable > 0 {
            let mut len = readable.min(scratch.len());
            if let Some(rate) = self.hosts[end.host as usize].read_rate {
                len = len.min((rate / 50).max(1) as usize);
                end.reads_from = self.now + serialisation(len as u64, rate);
                self.queue.push(end.reads_from, Event::ReadAgain(key, side));
            }
            if self.wires[incoming.wire as usize].link.split {
                len = 1 + self.rng.below(len as u64) as usize;
            }
            end.came = incoming.read(&mut scratch[..len]);
            let alone = end.came.is_empty();
            self.acknowledge(key, side.other());
            self.notify(key, side);
            return Some(match alone {
                true => Completion::Received { conn: handle, len },
                false => Completion::ReceivedWith { conn: handle, len, lost: false },
            });
        }
        if incoming.fin == Fin::Arrived {
            incoming.fin = Fin::Reported;
            return Some(Completion::ReadClosed { conn: handle });
        }
        None
    }
}

/// What happens on the wire.
impl Net {
    /// Puts on the wire what may leave, and the end of the stream behind it.
    fn pump(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = &mut conn.pipes[side as usize];
        let wire = &mut self.wires[pipe.wire as usize];
        if wire.cut {
            if pipe.wants_wire() && pipe.stuck_since.is_none() {
                pipe.stuck_since = Some(self.now);
                self.queue.push(self.now + self.give_up, Event::GiveUp(key, side));
            }
            return;
        }
        loop {
            let most = pipe.sendable();
            if most == 0 {
                break;
            }
            let len = wire.cut_segment(most, &mut self.rng);
            let arrival = wire.segment_arrival(self.now, len, &mut self.rng);
            let arrival = pipe.launch(Segment::Bytes(len as u32), arrival);
            self.queue.push(arrival, Event::Segment(key, side));
        }
        if pipe.fin_can_leave() {
            let arrival = wire.segment_arrival(self.now, 0, &mut self.rng);
            let arrival = pipe.launch(Segment::Fin, arrival);
            self.queue.push(arrival, Event::Segment(key, side));
        }
        if std::mem::take(&mut pipe.reset_waits) {
            self.launch(key, side, Segment::Reset);
        }
    }

    /// Puts a segment without bytes on the wire.
    fn launch(&mut self, key: Handle, side: Side, segment: Segment) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = &mut conn.pipes[side as usize];
        let wire = &mut self.wires[pipe.wire as usize];
        let arrival = wire.segment_arrival(self.now, 0, &mut self.rng);
        let arrival = pipe.launch(segment, arrival);
        self.queue.push(arrival, Event::Segment(key, side));
    }

    /// A segment that `side` sent reaches the other end.
    pub(super) fn segment_lands(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = &mut conn.pipes[side as usize];
        let Some(segment) = pipe.land() else { return };
        let end = &mut conn.ends[side.other() as usize];
        match (end.stage, segment) {
            (Stage::Silent, _) => self.unheard(key, side),
            (Stage::Connecting, Segment::SynAck) => {
                end.stage = Stage::Open;
                end.connected = true;
                self.notify(key, side.other());
            }
            (_, Segment::Reset) => {
                self.break_end(key, side.other(), OsError::new(ErrorKind::ConnectionReset));
            }
            (Stage::Broken, _) => self.send_reset(key, side.other()),
            (Stage::Closed, Segment::Bytes(_)) => {
                pipe.discard();
                if conn.pipes[side.other() as usize].fin == Fin::Reported || end.lingers <= self.now
                {
                    self.send_reset(key, side.other());
                } else {
                    self.acknowledge(key, side);
                }
            }
            (Stage::Closed, Segment::Fin) => {
                pipe.fin = Fin::Reported;
                self.retire(key);
            }
            (_, Segment::Bytes(_)) => {
                self.notify(key, side.other());
                self.acknowledge(key, side);
            }
            (_, Segment::Fin) => {
                pipe.fin = Fin::Arrived;
                self.notify(key, side.other());
                self.retire(key);
            }
            (_, Segment::SynAck) => {}
        }
    }

    /// Tells the sender `side` how far things are, if that is due and the way back is open.
    fn acknowledge(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.pipe(side).ack_due() {
            return;
        }
        let back = conn.pipe(side.other()).wire;
        let wire = &mut self.wires[back as usize];
        if !wire.cut {
            let arrival = wire.segment_arrival(self.now, 0, &mut self.rng);
            let arrival = conn.pipe_mut(side).launch_ack(arrival);
            self.queue.push(arrival, Event::Ack(key, side));
        }
    }

    /// The sender `side` hears how far things were.
    pub(super) fn ack_lands(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = &mut conn.ends[side as usize];
        let pipe = &mut conn.pipes[side as usize];
        pipe.land_ack();
        if end.in_flight {
            let written = pipe.write(&end.outgoing[end.outgoing_from..]);
            end.outgoing_from += written;
            end.left += written;
            end.in_flight = end.outgoing_from < end.outgoing.len();
            self.notify(key, side);
        }
        self.pump(key, side);
    }

    /// Breaks an end and tells the other one, as soon as there is a way.
    fn send_reset(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.end_mut(side).stage = Stage::Broken;
        if matches!(conn.end(side.other()).stage, Stage::Broken | Stage::Silent) {
            self.retire(key);
            return;
        }
        let pipe = conn.pipe_mut(side);
        if pipe.reset_sent {
            return;
        }
        pipe.drop_unsent();
        pipe.fin = pipe.fin.max(Fin::Sent);
        pipe.reset_sent = true;
        pipe.reset_waits = true;
        self.pump(key, side);
    }

    /// An end learns that the connection is no more.
    fn break_end(&mut self, key: Handle, side: Side, error: OsError) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(side);
        if matches!(end.stage, Stage::Broken | Stage::Silent) {
            return;
        }
        end.stage = Stage::Broken;
        end.failure = Some(error);
        end.outgoing = Vec::new();
        end.in_flight = false;
        end.left = 0;
        end.connected = false;
        conn.pipe_mut(side).drop_unsent();
        self.notify(key, side);
        self.retire(key);
    }

    /// What `side` sent reached a host that does not know the connection: silence while it is down, a reset once it is up.
    fn unheard(&mut self, key: Handle, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let dead = conn.end(side.other()).host;
        if !self.hosts[dead as usize].down {
            conn.end_mut(side.other()).stage = Stage::Open;
            self.send_reset(key, side.other());
        } else if conn.pipe(side).stuck_since.is_none() {
            conn.pipe_mut(side).stuck_since = Some(self.now);
            self.queue.push(self.now + self.give_up, Event::GiveUp(key, side));
        }
    }

    pub(super) fn give_up(&mut self, key: Handle, side: Side) {
        let give_up = self.give_up;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.pipe(side).stuck_since.is_some_and(|since| since + give_up <= self.now) {
            self.break_end(key, side, OsError::new(ErrorKind::TimedOut));
        }
    }

    /// Starts again what a cut had stopped, on every connection.
    pub(super) fn resume(&mut self) {
        for key in self.conns.keys() {
            for side in Side::BOTH {
                let Some(conn) = self.conns.get_mut(key) else { continue };
                let pipe = conn.pipe_mut(side);
                if !self.wires[pipe.wire as usize].cut {
                    if conn.end(side.other()).stage != Stage::Silent {
                        conn.pipe_mut(side).stuck_since = None;
                    }
                    self.pump(key, side);
                }
                self.acknowledge(key, side);
            }
        }
    }

    /// Takes an end from its owner when the host crashes.
    pub(super) fn crash_end(&mut self, key: Handle, side: Side, silent: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(side);
        end.handle = None;
        if matches!(end.stage, Stage::Broken | Stage::Silent) {
            self.retire(key);
        } else if silent || end.stage == Stage::Connecting {
            end.stage = Stage::Silent;
            conn.pipe_mut(side).drop_unsent();
            self.retire(key);
        } else {
            self.send_reset(key, side);
        }
    }

    /// Breaks both ends at once.
    pub(super) fn cut_connection(&mut self, key: Handle, error: OsError) {
        for side in Side::BOTH {
            self.break_end(key, side, error);
        }
    }

    /// Lists an end if it has something to report.
    pub(super) fn notify(&mut self, key: Handle, side: Side) {
        if self.list(key, side)
            && let Some(conn) = self.conns.get(key)
        {
            let driver = conn.end(side).driver;
            self.report(driver, Ready::End(key, side));
        }
    }

    /// As `notify`, but for the round that is under way: bytes may follow what has just been reported.
    fn notify_at_once(&mut self, key: Handle, side: Side) {
        if self.list(key, side)
            && let Some(conn) = self.conns.get(key)
        {
            let process = &mut self.processes[conn.end(side).driver as usize];
            process.ready.push_front(Ready::End(key, side));
            process.round += 1;
        }
    }

    fn list(&mut self, key: Handle, side: Side) -> bool {
        let Some(conn) = self.conns.get_mut(key) else { return false };
        let incoming = &conn.pipes[side.other() as usize];
        let end = &mut conn.ends[side as usize];
        if end.listed || end.handle.is_none() {
            return false;
        }
        let input = end.stage == Stage::Open
            && end.receiving
            && end.reads_from <= self.now
            && (incoming.readable() > 0 || incoming.fin == Fin::Arrived);
        end.listed = input || end.failure.is_some() || end.connected || end.left > 0;
        end.listed
    }

    /// Forgets a connection that both ends are done with.
    fn retire(&mut self, key: Handle) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if Side::BOTH.iter().all(|side| conn.end(*side).stage == Stage::Broken) {
            conn.pipes.iter_mut().for_each(Pipe::clear);
        }
        if !Side::BOTH.iter().all(|side| conn.is_done(*side)) {
            return;
        }
        let Some(conn) = self.conns.remove(key) else { return };
        if let Some(port) = conn.port {
            self.hosts[conn.end(Side::Client).host as usize].release_port(port);
        }
    }

    /// Gives an end a handle in a driver's table.
    fn give_handle(&mut self, key: Handle, side: Side, driver: u32) -> Handle {
        let process = &mut self.processes[driver as usize];
        let handle = process.handles.insert(Target::End(key, side));
        self.hosts[process.host as usize].descriptors += 1;
        if let Some(conn) = self.conns.get_mut(key) {
            let end = conn.end_mut(side);
            end.handle = Some(handle);
            end.driver = driver;
        }
        handle
    }
}

fn write_parts(pipe: &mut Pipe, parts: &[IoSlice<'_>]) -> usize {
    let mut total = 0;
    for part in parts {
        let written = pipe.write(part);
        total += written;
        if written < part.len() {
            break;
        }
    }
    total
}

/// How long after a graceful close what the peer still sends is swallowed, so that no reset destroys what it has not read.
const LINGER: Duration = Duration::from_secs(30);
