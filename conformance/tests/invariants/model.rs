//! What the promises say must be, kept beside what happens: connections with the bytes written to them, protocol objects, producers,
//! factories and timers. Knows nothing of the engine; the first broken promise is kept, since a panic in a callback would be caught.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use marline_core::{CloseReason, ConnectCause};

/// How many of the last events are kept for the report.
const EVENTS_KEPT: usize = 160;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) ends: Vec<End>,
    pub(super) actors: Vec<Actor>,
    pub(super) producers: Vec<Producer>,
    pub(super) factories: Vec<Factory>,
    pub(super) timers: Vec<Timer>,
    /// The two ends of each connection, the client's first, by their addresses; the last is the newest with these.
    pairs: BTreeMap<(SocketAddr, SocketAddr), Vec<[Option<usize>; 2]>>,
    /// Deferreds that have not fired.
    waiting: BTreeMap<usize, &'static str>,
    deferreds: usize,
    /// Counts the outermost callbacks: what one of them writes leaves after it.
    moment: u64,
    events: VecDeque<String>,
    pub(super) broken: Option<String>,
}

/// One end of a connection.
#[derive(Debug, Default)]
pub(super) struct End {
    pair: Option<((SocketAddr, SocketAddr), usize, usize)>,
    pub(super) node: usize,
    /// The protocol in charge.
    pub(super) actor: usize,
    /// All that was written, and how much of it before the present outermost callback.
    pub(super) written: Vec<u8>,
    before: (u64, usize),
    /// After an abort: no more than so many bytes can have left.
    cap: Option<usize>,
    /// How many of the peer's bytes were received.
    received: usize,
    /// Bytes given back, which come first.
    back: VecDeque<u8>,
    pub(super) paused: bool,
    /// `lose_connection` was called.
    pub(super) closing: bool,
    /// `lose_write_connection` was called.
    pub(super) half_closing: bool,
    half_closed: bool,
    read_ended: bool,
    aborted: bool,
    panicked: bool,
    /// A layer was told to fail.
    pub(super) fused: bool,
    pub(super) upgrading: usize,
    pub(super) wants_writable: bool,
    pub(super) producer: Option<usize>,
    pub(super) reason: Option<CloseReason>,
}

impl End {
    /// Nothing may be told but the end.
    pub(super) fn is_dead(&self) -> bool {
        self.aborted || self.panicked || self.reason.is_some()
    }

    pub(super) fn takes_writes(&self) -> bool {
        // A close that waits for a producer waits for what it writes.
        let closed = if self.producer.is_some() {
            self.half_closed
        } else {
            self.closing || self.half_closing
        };
        !(closed || self.is_dead())
    }
}

/// One protocol object.
#[derive(Debug, Default)]
pub(super) struct Actor {
    pub(super) end: Option<usize>,
    pub(super) made: bool,
    pub(super) lost: bool,
    /// Its attempt to connect came to nothing, so that it is never told anything.
    refused: bool,
    /// The Deferred of its attempt to connect has fired.
    answered: bool,
    on_stack: Option<&'static str>,
    read_ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Producer {
    pub(super) end: usize,
    pub(super) streaming: bool,
    pub(super) paused: bool,
    pub(super) stopped: bool,
    pub(super) unregistered: bool,
    /// The engine may have known already that the connection was lost when it was registered.
    pub(super) late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Factory {
    started: bool,
    on_stack: bool,
    /// Panicked in `stop`, so that `stop_listening` may fail.
    pub(super) stop_panicked: bool,
    /// A connector's attempt or connection is under way.
    under_way: bool,
    /// The protocol it made last.
    pub(super) made: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Pending,
    Called,
    Dropped,
}

impl Model {
    pub(super) fn log(&mut self, event: String) {
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(super) fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.log(format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    pub(super) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(what());
        }
    }

    pub(super) fn last_events(&self) -> String {
        self.events.iter().map(|event| format!("  {event}\n")).collect()
    }

    // ---- protocols

    pub(super) fn new_actor(&mut self, end: Option<usize>) -> usize {
        self.actors.push(Actor { end, ..Actor::default() });
        self.actors.len() - 1
    }

    /// A connection got its first protocol, which is about to hear `connection_made`.
    pub(super) fn new_end(
        &mut self,
        actor: usize,
        node: usize,
        side: usize,
        key: (SocketAddr, SocketAddr),
    ) {
        let end = self.ends.len();
        let pairs = self.pairs.entry(key).or_default();
        if pairs.last().is_none_or(|pair| pair[side].is_some()) {
            pairs.push([None, None]);
        }
        let at = pairs.len() - 1;
        pairs[at][side] = Some(end);
        self.ends.push(End { pair: Some((key, at, side)), node, actor, ..End::default() });
        self.actors[actor].end = Some(end);
    }

    /// The other end, if it has a protocol.
    pub(super) fn peer(&self, end: usize) -> Option<usize> {
        let (key, at, side) = self.ends[end].pair?;
        // A socket can be connected to itself.
        let side = if key.0 == key.1 { side } else { 1 - side };
        self.pairs[&key][at][side]
    }

    /// The outermost callback begins.
    pub(super) fn begin_outermost(&mut self) {
        self.moment += 1;
    }

    /// A callback of a protocol begins.
    pub(super) fn enter(&mut self, actor: usize, callback: &'static str) {
        self.log(format!("actor {actor} (end {:?}): {callback}", self.actors[actor].end));
        let Actor { made, lost, refused, on_stack, end, .. } = self.actors[actor];
        let name = || format!("{callback} of actor {actor}");
        self.check(on_stack.is_none(), || {
            format!("{} inside its own {}", name(), on_stack.unwrap_or_default())
        });
        self.check(!lost, || format!("{} after connection_lost", name()));
        self.check(!refused, || format!("{} after its attempt to connect had failed", name()));
        self.check(made == (callback != "connection_made"), || {
            format!("{}: made before: {made}", name())
        });
        self.actors[actor].on_stack = Some(callback);
        let Some(end) = end else { return self.fail(format!("{} without a connection", name())) };
        if callback == "connection_made" {
            self.actors[actor].made = true;
            let before = self.ends[end].actor;
            self.check(before == actor || self.actors[before].lost, || {
                format!("{} while actor {before} is in charge", name())
            });
            if before != actor {
                self.check(self.ends[end].upgrading > 0, || format!("{} with no upgrade", name()));
                self.ends[end].upgrading -= 1;
            }
            self.ends[end].actor = actor;
        }
        let now = &self.ends[end];
        let (in_charge, dead) = (now.actor == actor, now.is_dead());
        self.check(in_charge, || format!("{}, which is not in charge", name()));
        if callback != "connection_lost" {
            self.check(!dead, || format!("{} after the connection was dead", name()));
        }
    }

    /// A callback of a protocol ends.
    pub(super) fn leave(&mut self, actor: usize, panics: bool) {
        let callback = self.actors[actor].on_stack.take();
        if let Some(end) = self.actors[actor].end
            && panics
            && callback != Some("connection_lost")
        {
            self.ends[end].panicked = true;
        }
    }

    pub(super) fn is_on_stack(&self, actor: usize) -> bool {
        self.actors[actor].on_stack.is_some()
    }

    fn end_of(&self, actor: usize) -> usize {
        self.actors[actor].end.unwrap_or_default()
    }

    pub(super) fn data_received(&mut self, actor: usize, data: &[u8]) {
        let end = self.end_of(actor);
        self.log(format!("  {} bytes", data.len()));
        let read_ended = self.actors[actor].read_ended;
        let End { paused, closing, .. } = self.ends[end];
        self.check(!data.is_empty(), || "data_received with nothing".into());
        self.check(!paused, || format!("data for end {end} while it is paused"));
        self.check(!closing, || format!("data for end {end} after lose_connection"));
        let given = self.ends[end].back.len().min(data.len());
        let back: Vec<u8> = self.ends[end].back.drain(..given).collect();
        self.check(back == data[..given], || {
            format!("end {end}: not the bytes that were given back")
        });
        let fresh = &data[given..];
        if fresh.is_empty() {
            return;
        }
        // Bytes given back may come again after the end, if somebody resumes.
        self.check(!read_ended, || format!("data for end {end} after read_connection_lost"));
        let from = self.ends[end].received;
        self.ends[end].received += fresh.len();
        let to = self.ends[end].received;
        let Some(peer) = self.peer(end) else {
            return self.fail(format!("data for end {end} from nobody"));
        };
        let right = self.ends[peer].written.get(from..to) == Some(fresh);
        let (written, cap) = (self.ends[peer].written.len(), self.ends[peer].cap);
        self.check(right, || {
            format!(
                "end {end}: bytes {from}..{to} are not what end {peer} wrote ({written} in all)"
            )
        });
        self.check(cap.is_none_or(|cap| to <= cap), || {
            format!("end {end} got {to} bytes: some that the callback which aborted end {peer} wrote after byte {cap:?}")
        });
    }

    pub(super) fn read_connection_lost(&mut self, actor: usize) {
        let end = self.end_of(actor);
        let before = std::mem::replace(&mut self.actors[actor].read_ended, true);
        let first = !std::mem::replace(&mut self.ends[end].read_ended, true);
        let End { paused, closing, received, .. } = self.ends[end];
        self.check(!before, || format!("actor {actor} hears the end of its stream twice"));
        self.check(!paused, || format!("the end of the stream for end {end} while it is paused"));
        self.check(!closing, || {
            format!("the end of the stream for end {end} after lose_connection")
        });
        let Some(peer) = self.peer(end).filter(|_| first) else { return };
        let End { closing, half_closing, ref reason, fused, ref written, .. } = self.ends[peer];
        let graceful = matches!(reason, None | Some(CloseReason::Done)) && !fused;
        let whole = received == written.len();
        if graceful {
            self.check(closing || half_closing, || {
                format!("end {end} sees the end of a stream that end {peer} did not end")
            });
            self.check(whole, || format!("end {end} got {received} bytes of end {peer}, which closed properly, and then the end of the stream"));
        }
    }

    pub(super) fn write_connection_lost(&mut self, actor: usize) {
        let end = self.end_of(actor);
        let asked = self.ends[end].half_closing;
        let before = std::mem::replace(&mut self.ends[end].half_closed, true);
        self.check(asked && !before, || {
            format!("write_connection_lost of end {end}: asked {asked}, before {before}")
        });
    }

    pub(super) fn writable(&mut self, actor: usize) {
        let end = self.end_of(actor);
        let asked = std::mem::take(&mut self.ends[end].wants_writable);
        self.check(asked, || format!("end {end} is told that it is writable, and had not asked"));
    }

    pub(super) fn connection_lost(&mut self, actor: usize, reason: &CloseReason, node_ended: bool) {
        let end = self.end_of(actor);
        self.log(format!("  {reason}"));
        self.actors[actor].lost = true;
        let End { aborted, panicked, closing, half_closed, read_ended, fused, upgrading, .. } =
            self.ends[end];
        let right = match reason {
            CloseReason::Upgraded => upgrading > 0 && !aborted && !panicked,
            CloseReason::Aborted => aborted,
            CloseReason::Panicked(_) => panicked || fused,
            CloseReason::Done => closing || (read_ended && half_closed),
            CloseReason::Stopped => node_ended,
            CloseReason::Failed(_) => fused,
            CloseReason::Lost(_) => true,
            _ => false,
        };
        self.check(right, || format!("end {end} was lost for no reason: {reason}"));
        if !matches!(reason, CloseReason::Upgraded) {
            self.ends[end].reason = Some(reason.clone());
        }
    }

    pub(super) fn dropped(&mut self, actor: usize) {
        let Actor { made, lost, .. } = self.actors[actor];
        self.check(made == lost, || format!("actor {actor} was dropped: made {made}, lost {lost}"));
    }

    // ---- attempts to connect

    /// The Deferred that is to bring this actor a connection is about to be cancelled.
    pub(super) fn cancel_connect(&mut self, actor: usize) {
        let Actor { made, answered, end, .. } = self.actors[actor];
        if let Some(end) = end
            && made
            && !answered
        {
            // From inside its `connection_made`: nobody would hold the connection.
            self.abort(end);
        }
    }

    /// That Deferred has fired: the protocol was told if, and only if, there is a connection. One that was cancelled from inside
    /// `connection_made` has an aborted one.
    pub(super) fn connect_fired(&mut self, actor: usize, result: Result<(), &ConnectCause>) {
        let Actor { made, end, .. } = self.actors[actor];
        self.actors[actor].answered = true;
        self.actors[actor].refused = !made;
        let given_up = matches!(result, Err(ConnectCause::Cancelled))
            && end.is_some_and(|end| self.ends[end].is_dead());
        self.check(made == result.is_ok() || (made && given_up), || {
            format!("connect says {result:?}, actor {actor} was made: {made}")
        });
    }

    // ---- what is done to a connection

    /// Bytes are about to be written.
    pub(super) fn write(&mut self, end: usize, bytes: &[u8]) {
        self.log(format!("      {} bytes to end {end}", bytes.len()));
        let moment = self.moment;
        let end = &mut self.ends[end];
        if end.takes_writes() {
            if end.before.0 != moment {
                end.before = (moment, end.written.len());
            }
            end.written.extend_from_slice(bytes);
        }
    }

    pub(super) fn abort(&mut self, end: usize) {
        let moment = self.moment;
        let end = &mut self.ends[end];
        if !end.is_dead() {
            end.aborted = true;
            end.cap = Some(if end.before.0 == moment { end.before.1 } else { end.written.len() });
        }
    }

    /// Code that belongs to the connection, but is not its protocol's, panicked.
    pub(super) fn ends_by_panic(&mut self, end: usize) {
        let end = &mut self.ends[end];
        end.panicked |= end.reason.is_none();
    }

    pub(super) fn lose(&mut self, end: usize) {
        let end = &mut self.ends[end];
        end.closing |= !end.is_dead();
    }

    pub(super) fn lose_write(&mut self, end: usize) {
        let end = &mut self.ends[end];
        end.half_closing |= !end.closing && !end.is_dead();
    }

    pub(super) fn pause(&mut self, end: usize, on: bool) {
        let end = &mut self.ends[end];
        if on {
            end.paused |= !end.is_dead();
        } else if !end.closing {
            end.paused = false;
        }
    }

    pub(super) fn unread(&mut self, end: usize, bytes: &[u8]) {
        let end = &mut self.ends[end];
        if !end.closing && !end.is_dead() {
            for byte in bytes.iter().rev() {
                end.back.push_front(*byte);
            }
        }
    }

    /// Bytes that go to a new layer come out of it above, after those that were given back.
    pub(super) fn give_to_layer(&mut self, end: usize, bytes: &[u8]) {
        let end = &mut self.ends[end];
        if !end.closing && !end.is_dead() {
            end.back.extend(bytes);
        }
    }

    pub(super) fn unregister(&mut self, end: usize) {
        if let Some(producer) = self.ends[end].producer.take() {
            self.producers[producer].unregistered = true;
        }
    }

    /// The program of these connections is killed: what it wrote may never leave.
    pub(super) fn cut_off(&mut self, node: usize) {
        for end in self.ends.iter_mut().filter(|end| end.node == node) {
            end.fused = true;
        }
    }

    // ---- producers

    pub(super) fn producer_told(&mut self, id: usize, what: &'static str) {
        self.log(format!("producer {id}: {what}"));
        let Producer { end, streaming, paused, stopped, unregistered, late } = self.producers[id];
        let dead = self.ends[end].is_dead();
        let state = format!("producer {id} of end {end}, {:?}: {what}", self.producers[id]);
        let right = match what {
            "pause" => streaming && !paused && !stopped && !unregistered && !dead,
            "resume" => paused == streaming && !stopped && !unregistered && !dead,
            _ => !stopped && (!unregistered || late),
        };
        self.check(right, || state);
        let producer = &mut self.producers[id];
        match what {
            "pause" => producer.paused = true,
            "resume" => producer.paused = false,
            _ => {
                producer.stopped = true;
                if self.ends[end].producer == Some(id) {
                    self.ends[end].producer = None;
                }
            }
        }
    }

    // ---- factories

    pub(super) fn factory_told(&mut self, id: usize, what: &'static str) {
        self.log(format!("factory {id}: {what}"));
        let Factory { started, on_stack, under_way, made, .. } = self.factories[id];
        let right = match what {
            "start" => !started,
            "stop" => started && !under_way,
            "started_connecting" => started && !under_way,
            "connection_failed" => started && under_way,
            "connection_lost" => {
                started
                    && under_way
                    && made.is_some_and(|actor| self.actors[actor].lost || !self.actors[actor].made)
            }
            _ => started,
        };
        let state = format!("factory {id}, {:?}: {what}", self.factories[id]);
        self.check(right && !on_stack, || state);
        let factory = &mut self.factories[id];
        factory.on_stack = true;
        match what {
            "start" => factory.started = true,
            "stop" => factory.started = false,
            "started_connecting" => factory.under_way = true,
            "connection_failed" | "connection_lost" => factory.under_way = false,
            _ => {}
        }
    }

    pub(super) fn factory_left(&mut self, id: usize, what: &'static str, panics: bool) {
        self.factories[id].on_stack = false;
        self.factories[id].stop_panicked |= panics && what == "stop";
    }

    // ---- deferreds

    pub(super) fn wait_for(&mut self, what: &'static str) -> usize {
        self.deferreds += 1;
        self.waiting.insert(self.deferreds, what);
        self.deferreds
    }

    pub(super) fn fired(&mut self, id: usize) {
        let fired = self.waiting.remove(&id);
        self.check(fired.is_some(), || format!("deferred {id} fired twice"));
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    // ---- the end

    /// Everybody reads, and the loop has turned since: who is in charge of a stream that has ended was told so.
    pub(super) fn check_ends_of_streams(&mut self) {
        for id in 0..self.ends.len() {
            let end = &self.ends[id];
            let open = !end.closing && !end.is_dead() && !end.paused && end.upgrading == 0;
            let told = self.actors[end.actor].read_ended || !end.read_ended;
            self.check(told || !open, || {
                format!("who is in charge of end {id} was not told that its stream has ended")
            });
        }
    }

    pub(super) fn is_alive(&self, end: usize) -> bool {
        // One that ends in the farewell of a hand-over has nobody left to be told.
        let End { actor, aborted, panicked, ref reason, .. } = self.ends[end];
        reason.is_none() && !(self.actors[actor].lost && (aborted || panicked))
    }

    pub(super) fn any_alive(&self) -> bool {
        (0..self.ends.len()).any(|end| self.is_alive(end))
    }

    /// Everything was closed: nobody waits for anything any more.
    pub(super) fn check_over(&mut self) {
        for id in 0..self.ends.len() {
            let alive = self.is_alive(id);
            self.check(!alive, || format!("end {id} never heard connection_lost"));
        }
        for id in 0..self.actors.len() {
            let Actor { made, lost, .. } = self.actors[id];
            self.check(made == lost, || format!("actor {id}: made {made}, lost {lost}"));
        }
        for id in 0..self.producers.len() {
            let over = self.producers[id].stopped || self.producers[id].unregistered;
            self.check(over, || format!("producer {id} was never told to stop"));
        }
        for id in 0..self.factories.len() {
            let Factory { started, under_way, .. } = self.factories[id];
            self.check(!started && !under_way, || {
                format!("factory {id}: started {started}, under way {under_way}")
            });
        }
        let waiting = format!("{:?}", self.waiting);
        self.check(waiting == "{}", || format!("deferreds never fired: {waiting}"));
    }

    /// What is open now, for a report of a play that does not end.
    pub(super) fn unfinished(&self) -> String {
        let ends = self.ends.iter().enumerate().filter(|(id, _)| self.is_alive(*id));
        let ends: Vec<String> = ends
            .map(|(id, end)| {
                let End { node, closing, half_closing, half_closed, read_ended, paused, producer, .. } = end;
                format!("end {id} (node {node}, peer {:?}): closing {closing}, half {half_closing}/{half_closed}, read ended {read_ended}, paused {paused}, producer {producer:?}", self.peer(id))
            })
            .collect();
        format!("{}; deferreds {:?}", ends.join("; "), self.waiting)
    }
}
