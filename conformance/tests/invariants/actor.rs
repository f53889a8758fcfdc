//! What the engine calls: protocols, factories, producers and layers that make random calls from every callback.

use std::any::Any;
use std::net::SocketAddr;
use std::rc::Rc;

use marline_core::failure::Failure;
use marline_core::flow::Producer;
use marline_core::layer::{Layer, LayerIo};
use marline_core::protocol::Link;
use marline_core::{CloseReason, ConnectError, Connector, Factory, Protocol, Transport};

use super::play::{Inside, Kind, Line, Play, Scene, Token};

/// A protocol that makes random calls; of two types, for hand-overs between types.
pub(super) struct Actor<const N: usize> {
    play: Rc<Play>,
    node: usize,
    is_server: bool,
    pub(super) id: usize,
    _token: Token,
}

impl<const N: usize> Actor<N> {
    /// The protocol of a new connection, or the successor of the one that a connection has.
    pub(super) fn new(play: &Rc<Play>, node: usize, is_server: bool, end: Option<usize>) -> Self {
        let id = play.model.borrow_mut().new_actor(end);
        Self { play: Rc::clone(play), node, is_server, id, _token: play.token("protocol") }
    }

    fn enter(&self, callback: &'static str) -> Inside<'_> {
        self.play.enter_actor(self.id, callback)
    }

    fn end(&self) -> usize {
        self.play.model.borrow().actors[self.id].end.unwrap_or_default()
    }

    fn act(&self, kind: Kind, transport: &Transport, lent: &[u8]) {
        let line = Some((transport, self.end()));
        self.play.act(Scene { play: &self.play, node: self.node, kind, line, lent });
    }

    /// Goes on in the protocol with the result of a Deferred.
    pub(super) fn went_on(&mut self, transport: &Transport) {
        let _inside = self.enter("then");
        self.act(Kind::Then, transport, &[]);
    }

    /// The connection is new, and this its first protocol.
    fn begin(&self, transport: &Transport) {
        let local = transport.local_addr().and_then(|addr| addr.ip());
        let (Some(local), Some(peer)) = (local, transport.peer_addr().ip()) else {
            return self.play.model.borrow_mut().fail("a new connection without addresses");
        };
        let local = SocketAddr::new(local.ip(), local.port());
        let key = if self.is_server { (peer, local) } else { (local, peer) };
        self.play.model.borrow_mut().new_end(self.id, self.node, self.is_server.into(), key);
        let end = self.end();
        let line = Line { transport: transport.clone(), end };
        let old = {
            let model = self.play.model.borrow();
            let mut lines = self.play.nodes[self.node].lines.borrow_mut();
            lines.push(line);
            // Handles of some lost connections are kept, for calls that must do nothing.
            let lost = lines.iter().position(|line| !model.is_alive(line.end));
            lost.filter(|_| lines.len() > 24).map(|at| lines.remove(at))
        };
        drop(old);
    }
}

impl<const N: usize> Protocol for Actor<N> {
    fn connection_made(&mut self, transport: &Transport) {
        let is_first = self.play.model.borrow().actors[self.id].end.is_none();
        if is_first {
            self.begin(transport);
        }
        let _inside = self.enter("connection_made");
        if is_first && self.play.xor {
            transport.start_layer(Xor::default(), &[]);
        }
        if self.play.calm.get() {
            let end = self.end();
            self.play.model.borrow_mut().lose(end);
            transport.lose_connection();
        }
        self.act(Kind::Made, transport, &[]);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let _inside = self.enter("data_received");
        self.play.model.borrow_mut().data_received(self.id, data);
        self.act(Kind::Data, transport, data);
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        let _inside = self.enter("read_connection_lost");
        self.play.model.borrow_mut().read_connection_lost(self.id);
        self.act(Kind::ReadLost, transport, &[]);
        if self.play.calm.get() || self.play.chance(0.5) {
            let end = self.end();
            self.play.model.borrow_mut().lose(end);
            transport.lose_connection();
        }
    }

    fn write_connection_lost(&mut self, transport: &Transport) {
        let _inside = self.enter("write_connection_lost");
        self.play.model.borrow_mut().write_connection_lost(self.id);
        self.act(Kind::WriteLost, transport, &[]);
    }

    fn writable(&mut self, transport: &Transport) {
        let _inside = self.enter("writable");
        self.play.model.borrow_mut().writable(self.id);
        self.act(Kind::Writable, transport, &[]);
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        let _inside = self.enter("connection_lost");
        let ended = self.play.node_has_ended(self.node);
        self.play.model.borrow_mut().connection_lost(self.id, reason, ended);
        self.act(Kind::Lost, transport, &[]);
    }
}

impl<const N: usize> Drop for Actor<N> {
    fn drop(&mut self) {
        self.play.model.borrow_mut().dropped(self.id);
    }
}

/// A factory that makes random calls, refuses now and then, and panics.
pub(super) struct Maker {
    play: Rc<Play>,
    node: usize,
    is_server: bool,
    id: usize,
    _token: Token,
}

impl Maker {
    pub(super) fn new(play: &Rc<Play>, node: usize, is_server: bool) -> (Self, usize) {
        let id = {
            let mut model = play.model.borrow_mut();
            model.factories.push(Default::default());
            model.factories.len() - 1
        };
        (Self { play: Rc::clone(play), node, is_server, id, _token: play.token("factory") }, id)
    }

    fn told(&self, kind: Kind, what: &'static str) {
        let _inside = self.play.enter_factory(self.id, what);
        self.act(kind);
    }

    fn act(&self, kind: Kind) {
        self.play.act(Scene { play: &self.play, node: self.node, kind, line: None, lent: &[] });
    }

    /// Connects again now and then.
    fn ended(&self, kind: Kind, what: &'static str, connector: &Connector) {
        let _inside = self.play.enter_factory(self.id, what);
        if !self.play.calm.get() && self.play.chance(0.4) {
            // It may be connecting already: that is for the notices to tell.
            let _ = connector.connect();
        }
        self.act(kind);
    }
}

impl Factory for Maker {
    type Protocol = Actor<0>;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<Actor<0>> {
        let _inside = self.play.enter_factory(self.id, "build_protocol");
        self.act(Kind::Build);
        if self.play.chance(0.1) {
            link.add_layer(Glass::new(&self.play, false));
        }
        if self.play.chance(0.1) {
            return None;
        }
        let actor = Actor::new(&self.play, self.node, self.is_server, None);
        self.play.model.borrow_mut().factories[self.id].made = Some(actor.id);
        Some(actor)
    }

    fn start(&mut self) {
        self.told(Kind::Start, "start");
    }

    fn stop(&mut self) {
        self.told(Kind::Stop, "stop");
    }

    fn started_connecting(&mut self, _: &Connector) {
        self.told(Kind::StartedConnecting, "started_connecting");
    }

    fn connection_failed(&mut self, connector: &Connector, _: &ConnectError) {
        self.ended(Kind::ConnectionFailed, "connection_failed", connector);
    }

    fn connection_lost(&mut self, connector: &Connector, _: &CloseReason) {
        self.ended(Kind::ConnectionLost, "connection_lost", connector);
    }
}

/// A producer that feeds one connection, and may slow another down.
pub(super) struct Tap {
    pub(super) play: Rc<Play>,
    pub(super) node: usize,
    pub(super) id: usize,
    pub(super) to: Line,
    pub(super) source: Option<Line>,
    pub(super) _token: Token,
}

impl Tap {
    fn told(&self, kind: Kind, what: &'static str) {
        let _inside = self.play.enter();
        self.play.model.borrow_mut().producer_told(self.id, what);
        let line = Some((&self.to.transport, self.to.end));
        let scene = Scene { play: &self.play, node: self.node, kind, line, lent: &[] };
        if let Some(source) = &self.source
            && kind != Kind::StopProducing
        {
            let on = kind == Kind::Pause;
            self.play.model.borrow_mut().pause(source.end, on);
            if on {
                source.transport.pause_reading();
            } else {
                source.transport.resume_reading();
            }
        }
        let panics =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.play.act(scene)));
        if let Err(payload) = panics {
            // A producer's panic ends the connection, unless that has ended already.
            if kind != Kind::StopProducing {
                self.play.model.borrow_mut().ends_by_panic(self.to.end);
            }
            std::panic::resume_unwind(payload);
        }
    }
}

impl Producer for Tap {
    fn resume_producing(&self) {
        self.told(Kind::Resume, "resume");
        if self.play.model.borrow().producers[self.id].streaming {
            return;
        }
        // A pull producer gives once, or ends.
        if self.play.calm.get() || self.play.chance(0.3) {
            let registered = self.play.model.borrow().ends[self.to.end].producer;
            if registered == Some(self.id) {
                self.play.model.borrow_mut().unregister(self.to.end);
                self.to.transport.unregister_producer();
            }
        } else {
            let len = 1 + self.play.below(2000);
            let bytes = self.play.bytes(len);
            self.play.model.borrow_mut().write(self.to.end, &bytes);
            self.to.transport.write(&bytes);
        }
    }

    fn pause_producing(&self) {
        self.told(Kind::Pause, "pause");
    }

    fn stop_producing(&self) {
        self.told(Kind::StopProducing, "stop");
    }
}

/// A layer that changes every byte by its place, the same way on both ends.
#[derive(Default)]
pub(super) struct Xor {
    received: usize,
    sent: usize,
}

fn turn(bytes: &[u8], place: &mut usize) -> Vec<u8> {
    let turned = bytes
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ ((*place + at) * 31 % 251) as u8)
        .collect();
    *place += bytes.len();
    turned
}

impl Layer for Xor {
    fn name(&self) -> &'static str {
        "xor"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.up.extend(turn(wire, &mut self.received));
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend(turn(plain, &mut self.sent));
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A layer that changes nothing, and may fail when it sees a byte.
pub(super) struct Glass {
    fails: bool,
    _token: Token,
}

impl Glass {
    pub(super) fn new(play: &Play, fails: bool) -> Self {
        Self { fails, _token: play.token("layer") }
    }
}

impl Layer for Glass {
    fn name(&self) -> &'static str {
        "glass"
    }

    fn incoming(&mut self, wire: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        if self.fails {
            return Err(Failure::msg("the glass broke"));
        }
        io.up.extend_from_slice(wire);
        Ok(())
    }

    fn outgoing(&mut self, plain: &[u8], io: &mut LayerIo) -> Result<(), Failure> {
        io.down.extend_from_slice(plain);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
