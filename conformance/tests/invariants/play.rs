//! The stage of one random program: reactors, what they hold, the random source, and the model that watches.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use marline_core::deferred::{CancelHandle, Deferred, Fault, Resolver};
use marline_core::sim::Host;
use marline_core::task::LoopingCall;
use marline_core::{
    Addr, ConnectError, Connection, Connector, DelayedCall, JoinSet, Port, Reactor, Rng, Transport,
    TriggerId, Unavailable,
};

use super::actor::Actor;
use super::calls::{self, CALLS, Held, Lines};
use super::model::Model;

// Kinds of code that calls are made from.
macro_rules! kinds {
    ($($kind:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),* }

        impl Kind {
            pub(super) const ALL: &[Self] = &[$(Self::$kind),*];
        }
    };
}

kinds! {
    Outside Made Data ReadLost WriteLost Writable Lost With
    TryWith Then Pause Resume StopProducing Timer Soon Remote
    Trigger Task Deferred Build Start Stop StartedConnecting ConnectionFailed
    ConnectionLost LayerLook
}

impl Kind {
    pub(super) const COUNT: usize = Self::ALL.len();
}

/// What a panic on purpose carries; it does not pass through the panic hook.
pub(super) struct OnPurpose;

/// How often each call was made from each kind of code.
pub(super) type Coverage = Vec<[u32; Kind::COUNT]>;

/// One random program.
pub(super) struct Play {
    rng: RefCell<Rng>,
    pub(super) model: RefCell<Model>,
    pub(super) nodes: Vec<Node>,
    /// Where somebody listens, or has listened.
    pub(super) addresses: RefCell<Vec<Addr>>,
    /// The same for streams of bytes.
    pub(super) stream_addresses: RefCell<Vec<Addr>>,
    /// Names that may be connected to.
    pub(super) names: Vec<String>,
    /// Every connection of this play passes through a layer that changes its bytes.
    pub(super) xor: bool,
    /// Nothing random any more: what there is comes to its end.
    pub(super) calm: Cell<bool>,
    /// Calls that may still be made.
    budget: Cell<u32>,
    depth: Cell<u32>,
    pub(super) coverage: RefCell<Coverage>,
    live: Rc<RefCell<BTreeMap<&'static str, usize>>>,
}

/// One reactor and the handles on what it holds.
#[derive(Default)]
pub(super) struct Node {
    pub(super) host: Option<Host>,
    pub(super) reactor: RefCell<Option<Reactor>>,
    pub(super) lines: RefCell<Vec<Line>>,
    pub(super) ports: RefCell<Vec<(Port, usize)>>,
    pub(super) connectors: RefCell<Vec<Connector>>,
    pub(super) timers: RefCell<Vec<(usize, DelayedCall)>>,
    pub(super) triggers: RefCell<Vec<TriggerId>>,
    pub(super) resolvers: RefCell<Vec<Resolver<u32>>>,
    pub(super) loops: RefCell<Vec<LoopingCall>>,
    pub(super) sets: RefCell<Vec<JoinSet<u32>>>,
    /// What is waited for in line.
    pub(super) waits: RefCell<Lines>,
    pub(super) streams: RefCell<Vec<Held>>,
    pub(super) stream_ports: RefCell<Vec<Port>>,
    /// With the protocol that the Deferred is to bring a connection, if it is one of `connect`.
    pub(super) cancels: RefCell<Vec<(CancelHandle, Option<usize>)>>,
    /// Something was called that ends connections with `Stopped`.
    pub(super) ended: Cell<bool>,
    /// It was crashed: what is open stays so.
    pub(super) crashed: Cell<bool>,
}

/// A connection, as handles on it that anybody may hold.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) transport: Transport,
    pub(super) end: usize,
}

/// Where a call is made from.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) play: &'a Rc<Play>,
    pub(super) node: usize,
    pub(super) kind: Kind,
    /// The connection whose callback it is.
    pub(super) line: Option<(&'a Transport, usize)>,
    /// The bytes lent to the callback.
    pub(super) lent: &'a [u8],
}

impl Play {
    pub(super) fn new(seed: u64, nodes: Vec<Node>, names: Vec<String>, budget: u32) -> Rc<Self> {
        let mut rng = Rng::from_number(seed);
        let xor = rng.chance(0.3);
        Rc::new(Self {
            rng: RefCell::new(rng),
            model: RefCell::default(),
            nodes,
            addresses: RefCell::default(),
            stream_addresses: RefCell::default(),
            names,
            xor,
            calm: Cell::new(false),
            budget: Cell::new(budget),
            depth: Cell::new(0),
            coverage: RefCell::new(vec![[0; Kind::COUNT]; CALLS.len()]),
            live: Rc::default(),
        })
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        self.rng.borrow_mut().below(bound as u64) as usize
    }

    pub(super) fn chance(&self, p: f64) -> bool {
        self.rng.borrow_mut().chance(p)
    }

    pub(super) fn pick<T: Clone>(&self, from: &RefCell<Vec<T>>) -> Option<T> {
        let len = from.borrow().len();
        (len > 0).then(|| self.below(len)).and_then(|at| from.borrow().get(at).cloned())
    }

    /// Takes one out.
    pub(super) fn take<T>(&self, from: &RefCell<Vec<T>>) -> Option<T> {
        let len = from.borrow().len();
        (len > 0).then(|| self.below(len)).map(|at| from.borrow_mut().swap_remove(at))
    }

    pub(super) fn bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rng.borrow_mut().fill(&mut bytes);
        bytes
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        self.model.borrow_mut().check(holds, what);
    }

    /// Counts something of the user's that the engine is given, until it is dropped.
    pub(super) fn token(&self, kind: &'static str) -> Token {
        *self.live.borrow_mut().entry(kind).or_default() += 1;
        Token { live: Rc::clone(&self.live), kind }
    }

    /// What the engine was given and has not dropped, triggers apart.
    pub(super) fn held(&self) -> Vec<(&'static str, usize)> {
        let live = self.live.borrow();
        live.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| (*kind, *count)).collect()
    }

    pub(super) fn node_has_ended(&self, node: usize) -> bool {
        self.nodes[node].ended.get()
    }

    pub(super) fn node_ends(&self, node: usize) {
        self.nodes[node].ended.set(true);
    }

    /// Ends what is random, and drops all handles, so that what is still held is held by the engine.
    pub(super) fn let_go(&self, node: usize) {
        let node = &self.nodes[node];
        // Each dropped outside the borrow: a resolver that is dropped fires, and what it fires may open something.
        for _ in 0..2 {
            self.give_up(node);
            drop(node.cancels.take());
            drop(node.lines.take());
            drop(node.ports.take());
            drop(node.connectors.take());
            drop(node.timers.take());
            drop(node.triggers.take());
            self.calm.set(true);
        }
    }

    /// Nobody waits for anything any longer that only code of this node can end.
    pub(super) fn give_up(&self, node: &Node) {
        drop(node.resolvers.take());
        drop(node.sets.take());
        drop(node.streams.take());
        for port in node.stream_ports.take() {
            port.stop_listening().ignore();
        }
        for looping in node.loops.take() {
            // It may have stopped before.
            let _ = looping.stop();
        }
        node.waits.take().close();
    }

    // ---- callbacks

    /// Code of some kind begins; it ends when the answer is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Inside<'_> {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() == 1 {
            self.model.borrow_mut().begin_outermost();
        }
        Inside { play: self, leaves: Leaves::Nothing, unwinds: std::thread::panicking() }
    }

    /// A callback of a protocol begins.
    pub(super) fn enter_actor(self: &Rc<Self>, actor: usize, callback: &'static str) -> Inside<'_> {
        let mut inside = self.enter();
        self.model.borrow_mut().enter(actor, callback);
        inside.leaves = Leaves::Actor(actor);
        inside
    }

    /// A callback of a factory begins.
    pub(super) fn enter_factory(
        self: &Rc<Self>,
        factory: usize,
        callback: &'static str,
    ) -> Inside<'_> {
        let mut inside = self.enter();
        self.model.borrow_mut().factory_told(factory, callback);
        inside.leaves = Leaves::Factory(factory, callback);
        inside
    }

    /// Whether user code that the engine called is on the stack.
    pub(super) fn is_inside(&self) -> bool {
        self.depth.get() > 0
    }

    /// Makes a few random calls.
    pub(super) fn act(self: &Rc<Self>, scene: Scene<'_>) {
        if self.calm.get() || self.depth.get() > 4 {
            return;
        }
        let count = match self.below(10) {
            // Rare, so that each time counts.
            _ if scene.kind == Kind::Pause => 8,
            0..4 => 0,
            4..8 => 1,
            8 => 2,
            _ => 5,
        };
        for _ in 0..count {
            self.call_one(scene);
        }
    }

    /// Makes one random call.
    pub(super) fn call_one(self: &Rc<Self>, scene: Scene<'_>) {
        let budget = self.budget.get();
        if budget == 0 || self.calm.get() {
            return;
        }
        self.budget.set(budget - 1);
        let at = self.below(calls::weights()) as u32;
        let Some(index) = calls::at_weight(at) else { return };
        if scene.kind == Kind::Outside {
            self.model.borrow_mut().begin_outermost();
        }
        self.make(scene, index);
    }

    pub(super) fn make(self: &Rc<Self>, scene: Scene<'_>, index: usize) {
        let call = &CALLS[index];
        self.coverage.borrow_mut()[index][scene.kind as usize] += 1;
        self.model.borrow_mut().log(format!("    {:?}: {}", scene.kind, call.name));
        (call.make)(&scene);
        if scene.kind == Kind::Outside {
            self.model.borrow_mut().begin_outermost();
        }
    }

    /// Sees to it that a Deferred fires exactly once, and makes random calls when it does.
    pub(super) fn watch<T: 'static, E: Fault>(
        self: &Rc<Self>,
        node: usize,
        what: &'static str,
        deferred: Deferred<T, E>,
        see: impl FnOnce(&Self, &Result<T, E>) + 'static,
    ) {
        if self.chance(0.3) {
            self.nodes[node].cancels.borrow_mut().push((deferred.cancel_handle(), None));
        }
        self.see_fired(node, what, deferred, see);
    }

    /// The same for the Deferred that is to bring this actor a connection.
    pub(super) fn watch_connect<T: 'static>(
        self: &Rc<Self>,
        node: usize,
        actor: usize,
        deferred: Deferred<T, ConnectError>,
    ) {
        if self.chance(0.3) {
            self.nodes[node].cancels.borrow_mut().push((deferred.cancel_handle(), Some(actor)));
        }
        self.see_fired(node, "connect", deferred, move |play, result| {
            let connected = result.as_ref().map(drop).map_err(|error| &error.cause);
            play.model.borrow_mut().connect_fired(actor, connected);
        });
    }

    fn see_fired<T: 'static, E: Fault>(
        self: &Rc<Self>,
        node: usize,
        what: &'static str,
        deferred: Deferred<T, E>,
        see: impl FnOnce(&Self, &Result<T, E>) + 'static,
    ) {
        let id = self.model.borrow_mut().wait_for(what);
        let (play, token) = (Rc::clone(self), self.token("deferred"));
        deferred.done(move |result| {
            let _token = token;
            let _inside = play.enter();
            play.model.borrow_mut().log(format!("deferred {id} ({what}) fires"));
            play.model.borrow_mut().fired(id);
            see(&play, &result);
            play.act(Scene { play: &play, node, kind: Kind::Deferred, line: None, lent: &[] });
        });
    }
}

/// Counts one thing that the engine was given.
pub(super) struct Token {
    live: Rc<RefCell<BTreeMap<&'static str, usize>>>,
    kind: &'static str,
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(count) = self.live.borrow_mut().get_mut(self.kind) {
            *count -= 1;
        }
    }
}

enum Leaves {
    Nothing,
    Actor(usize),
    Factory(usize, &'static str),
}

/// User code is on the stack.
pub(super) struct Inside<'a> {
    play: &'a Rc<Play>,
    leaves: Leaves,
    /// A panic was on its way already: a Deferred fires while what held its resolver is dropped.
    unwinds: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let panics = std::thread::panicking() && !self.unwinds;
        self.play.depth.set(self.play.depth.get() - 1);
        let mut model = self.play.model.borrow_mut();
        match self.leaves {
            Leaves::Nothing => {}
            Leaves::Actor(actor) => model.leave(actor, panics),
            Leaves::Factory(factory, callback) => model.factory_left(factory, callback, panics),
        }
        if panics {
            model.log("  panics on purpose".into());
        }
    }
}

impl<'a> Scene<'a> {
    /// A connection to do something to: mostly the callback's own, else any of this reactor.
    pub(super) fn any_line(&self) -> Option<Line> {
        if let Some((transport, end)) = self.line
            && self.play.chance(0.6)
        {
            return Some(Line { transport: transport.clone(), end });
        }
        self.play.pick(&self.here().lines)
    }

    pub(super) fn here(&self) -> &'a Node {
        &self.play.nodes[self.node]
    }

    pub(super) fn reactor(&self) -> Option<Reactor> {
        self.here().reactor.borrow().clone()
    }

    /// Lets a call through the typed handle happen in another scene.
    pub(super) fn at<'b>(&self, kind: Kind, line: Option<(&'b Transport, usize)>) -> Scene<'b>
    where
        'a: 'b,
    {
        Scene { play: self.play, node: self.node, kind, line, lent: &[] }
    }
}

impl Line {
    /// Calls into the protocol now, whichever type it is of.
    pub(super) fn try_with(&self, f: impl FnOnce(usize, &Transport)) -> Result<(), Unavailable> {
        if let Some(connection) = self.transport.connection::<Actor<0>>() {
            return connection.try_with(|actor, transport| f(actor.id, transport));
        }
        match self.transport.connection::<Actor<1>>() {
            Some(connection) => connection.try_with(|actor, transport| f(actor.id, transport)),
            None => Err(Unavailable::Gone),
        }
    }

    /// Calls into the protocol now or soon, whichever type it is of.
    pub(super) fn with(&self, f: impl FnOnce(usize, &Transport) + 'static) -> Deferred<()> {
        fn of<const N: usize>(
            connection: Connection<Actor<N>>,
            f: impl FnOnce(usize, &Transport) + 'static,
        ) -> Deferred<()> {
            connection.with(|actor, transport| f(actor.id, transport))
        }
        match self.transport.connection::<Actor<0>>() {
            Some(connection) => of(connection, f),
            None => match self.transport.connection::<Actor<1>>() {
                Some(connection) => of(connection, f),
                None => Deferred::ready(()),
            },
        }
    }
}

/// Panics on purpose, past the panic hook.
pub(super) fn panic_on_purpose() -> ! {
    std::panic::resume_unwind(Box::new(OnPurpose) as Box<dyn Any + Send>)
}
