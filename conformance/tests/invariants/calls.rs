//! Every public call that a callback can make, as a table: the random program draws from it, and the coverage is counted by it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use marline_core::deferred::Deferred;
use marline_core::driver::ConnectOptions;
use marline_core::protocol::shared;
use marline_core::{
    Addr, ConnectCause, ConnectError, Destination, Event, NotPending, Phase, RunError, Unavailable,
};

use super::actor::{Actor, Glass, Maker, Tap};
use super::model::{Producer, Timer};
use super::play::{Kind, Line, Play, Scene, panic_on_purpose};

/// One public call, or a few that go together.
pub(super) struct Call {
    pub(super) name: &'static str,
    weight: u32,
    pub(super) make: fn(&Scene<'_>),
}

const fn call(name: &'static str, weight: u32, make: fn(&Scene<'_>)) -> Call {
    Call { name, weight, make }
}

/// All of them, with how often each is drawn.
pub(super) const CALLS: &[Call] = &[
    // Transport
    call("write", 30, write),
    call("write what was lent", 24, write_lent),
    call("write a mix", 16, write_mix),
    call("write_sequence", 10, write_sequence),
    call("write much", 6, write_much),
    call("lose_connection", 9, lose_connection),
    call("abort_connection", 5, abort_connection),
    call("lose_write_connection", 8, lose_write_connection),
    call("pause_reading", 10, pause_reading),
    call("resume_reading", 16, resume_reading),
    call("unread", 12, unread),
    call("notify_writable", 10, notify_writable),
    call("write around a registration", 4, write_around_a_registration),
    call("register a push producer", 8, register_push),
    call("register a pull producer", 8, register_pull),
    call("unregister_producer", 14, unregister_producer),
    call("upgrade", 10, upgrade),
    call("start_layer", 6, start_layer),
    call("with_layer", 6, with_layer),
    call("then", 8, then),
    call("look at a transport", 10, look_at_a_transport),
    // Connection
    call("with", 14, with),
    call("try_with", 14, try_with),
    // Reactor: timers and calls
    call("call_later", 12, call_later),
    call("DelayedCall::cancel", 5, cancel_timer),
    call("DelayedCall::reset", 5, reset_timer),
    call("call_soon", 10, call_soon),
    call("call_when_running", 4, call_when_running),
    call("Remote::call", 5, remote_call),
    call("spawn", 6, spawn),
    call("defer_to_thread", 3, defer_to_thread),
    // Reactor: ports and connectors
    call("listen", 3, listen),
    call("connect", 14, connect),
    call("connector", 6, connector),
    call("Connector::connect", 4, connector_connect),
    call("Connector::stop_connecting", 4, connector_stop),
    call("Connector::disconnect", 4, connector_disconnect),
    call("stop_listening", 3, stop_listening),
    call("start_listening", 6, start_listening),
    call("Port::pause and resume", 3, pause_port),
    // Reactor: life
    call("stop", 1, stop),
    call("crash", 2, crash),
    call("add_trigger", 6, add_trigger),
    call("remove_trigger", 3, remove_trigger),
    call("fire_event", 6, fire_event),
    call("close_all", 2, close_all),
    call("turn", 5, turn),
    call("run", 3, run),
    call("look at the reactor", 5, look_at_the_reactor),
    // Deferreds
    call("resolve", 10, resolve),
    call("cancel a deferred", 6, cancel_deferred),
    call("panic", 2, panic),
];

/// The sum of all weights.
pub(super) fn weights() -> usize {
    CALLS.iter().map(|call| call.weight as usize).sum()
}

/// The call that a number below the sum of all weights stands for.
pub(super) fn at_weight(mut at: u32) -> Option<usize> {
    CALLS.iter().position(|call| match at.checked_sub(call.weight) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    })
}

// ---- Transport

fn put(scene: &Scene<'_>, line: &Line, bytes: &[u8]) {
    // Bounded, so that bytes that are passed on and on come to an end.
    if scene.play.model.borrow().ends[line.end].written.len() < 300_000 {
        scene.play.model.borrow_mut().write(line.end, bytes);
        line.transport.write(bytes);
    }
}

fn write(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let len = scene.play.below(200);
    put(scene, &line, &scene.play.bytes(len));
}

fn write_much(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let len = 2000 + scene.play.below(90_000);
    put(scene, &line, &scene.play.bytes(len));
}

/// Any part of the lent bytes.
fn part<'a>(scene: &Scene<'a>) -> &'a [u8] {
    let from = scene.play.below(scene.lent.len() + 1);
    let to = from + scene.play.below(scene.lent.len() - from + 1);
    &scene.lent[from..to]
}

fn write_lent(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    if scene.play.chance(0.5) {
        return put(scene, &line, scene.lent);
    }
    // Neighbouring parts, as a parser passes them on.
    let mut rest = scene.lent;
    while !rest.is_empty() {
        let (first, more) = rest.split_at(1 + scene.play.below(rest.len()));
        put(scene, &line, first);
        rest = more;
    }
}

fn write_mix(scene: &Scene<'_>) {
    for _ in 0..2 + scene.play.below(4) {
        let Some(line) = scene.any_line() else { return };
        if scene.play.chance(0.6) {
            put(scene, &line, part(scene));
        } else {
            let len = scene.play.below(60);
            put(scene, &line, &scene.play.bytes(len));
        }
    }
}

fn write_sequence(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let own = scene.play.bytes(40);
    let pieces = [part(scene), &own[..7], b"", &own[7..], part(scene)];
    let all = pieces.concat();
    if scene.play.model.borrow().ends[line.end].written.len() < 300_000 {
        scene.play.model.borrow_mut().write(line.end, &all);
        line.transport.write_sequence(pieces);
    }
}

fn lose_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().lose(line.end);
    line.transport.lose_connection();
    scene.play.check(!line.transport.is_open(), || {
        format!("end {} is open after lose_connection", line.end)
    });
}

fn abort_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().abort(line.end);
    line.transport.abort_connection();
    scene.play.check(!line.transport.is_open(), || {
        format!("end {} is open after abort_connection", line.end)
    });
}

fn lose_write_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().lose_write(line.end);
    line.transport.lose_write_connection();
}

fn pause_reading(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().pause(line.end, true);
    line.transport.pause_reading();
}

fn resume_reading(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().pause(line.end, false);
    line.transport.resume_reading();
}

fn unread(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let from = scene.play.below(scene.lent.len() + 1);
    let bytes = if scene.play.chance(0.1) { &b"made up"[..] } else { &scene.lent[from..] };
    scene.play.model.borrow_mut().unread(line.end, bytes);
    line.transport.unread(bytes);
}

fn notify_writable(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let mut model = scene.play.model.borrow_mut();
    let end = &mut model.ends[line.end];
    end.wants_writable |= !end.is_dead();
    drop(model);
    line.transport.notify_writable();
}

fn register(scene: &Scene<'_>, streaming: bool) {
    if let Some(line) = scene.any_line() {
        register_on(scene, line, streaming);
    }
}

fn register_on(scene: &Scene<'_>, line: Line, streaming: bool) {
    let play = scene.play;
    let source = play.pick(&scene.here().lines).filter(|_| streaming);
    let id = {
        let mut model = play.model.borrow_mut();
        // The one sure sign that the engine knows that the connection is lost.
        let late = line.transport.local_addr().is_none();
        model.producers.push(Producer {
            end: line.end,
            streaming,
            late,
            unregistered: true,
            ..Producer::default()
        });
        model.producers.len() - 1
    };
    let tap = Tap {
        play: Rc::clone(play),
        node: scene.node,
        id,
        to: line.clone(),
        source,
        _token: play.token("producer"),
    };
    let registered = line.transport.register_producer(Rc::new(tap), streaming).is_ok();
    let mut model = play.model.borrow_mut();
    if registered {
        model.producers[id].unregistered = false;
        let late = model.producers[id].late;
        let before = model.ends[line.end].producer;
        model.check(late || before.is_none(), || format!("end {} has two producers", line.end));
        if !late {
            model.ends[line.end].producer = Some(id);
        }
    } else {
        let before = model.ends[line.end].producer;
        model.check(before.is_some(), || {
            format!("end {} takes no producer, and has none", line.end)
        });
    }
}

fn register_push(scene: &Scene<'_>) {
    register(scene, true);
}

fn register_pull(scene: &Scene<'_>) {
    register(scene, false);
}

/// What is written before and after leaves in this order, whichever way it takes.
fn write_around_a_registration(scene: &Scene<'_>) {
    let own = scene.line.map(|(transport, end)| Line { transport: transport.clone(), end });
    let Some(line) = own.or_else(|| scene.any_line()) else { return };
    let len = 2000 + scene.play.below(9000);
    put(scene, &line, &scene.play.bytes(len));
    register_on(scene, line.clone(), false);
    put(scene, &line, &scene.play.bytes(300));
}

fn unregister_producer(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().unregister(line.end);
    line.transport.unregister_producer();
}

fn upgrade(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let play = scene.play;
    let from = play.below(scene.lent.len() + 1);
    let rest = &scene.lent[from..];
    {
        let mut model = play.model.borrow_mut();
        model.unread(line.end, rest);
        model.ends[line.end].upgrading += 1;
    }
    if play.chance(0.5) {
        line.transport.upgrade(Actor::<0>::new(play, scene.node, false, Some(line.end)), rest);
    } else {
        line.transport.upgrade(Actor::<1>::new(play, scene.node, false, Some(line.end)), rest);
    }
}

fn start_layer(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let fails = scene.play.chance(0.1);
    // Only bytes that this connection received can belong to its new layer.
    let own = scene.line.is_some_and(|(_, end)| end == line.end) && scene.play.chance(0.3);
    let rest = if own { &scene.lent[scene.play.below(scene.lent.len() + 1)..] } else { &[] };
    {
        let mut model = scene.play.model.borrow_mut();
        model.ends[line.end].fused |= fails;
        model.to_new_layer(line.end, rest);
    }
    line.transport.start_layer(Glass::new(scene.play, fails), rest);
}

fn with_layer(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let inner = scene.at(Kind::LayerLook, Some((&line.transport, line.end)));
    let look = || {
        line.transport.with_layer(|_: &Glass| {
            let _inside = scene.play.enter();
            scene.play.act(inner);
            if scene.play.chance(0.1) && !std::thread::panicking() {
                panic_on_purpose();
            }
        });
    };
    // A panic is this callback's: the connection whose layers were looked at goes on as it was.
    let result = catch_unwind(AssertUnwindSafe(look));
    if let Err(payload) = result
        && scene.kind != Kind::Outside
    {
        std::panic::resume_unwind(payload);
    }
}

fn then(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let (deferred, resolver) = Deferred::<u32>::new();
    let token = scene.play.token("then");
    if scene.play.chance(0.5) {
        line.transport.then(deferred, move |me: &mut Actor<0>, _, transport| {
            let _token = token;
            me.went_on(transport);
        });
    } else {
        line.transport.then(deferred, move |me: &mut Actor<1>, _, transport| {
            let _token = token;
            me.went_on(transport);
        });
    }
    if scene.play.chance(0.2) {
        resolver.resolve(1);
    } else {
        scene.here().resolvers.borrow_mut().push(resolver);
    }
}

fn look_at_a_transport(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let transport = &line.transport;
    let (open, paused) = (transport.is_open(), transport.is_paused());
    {
        let mut model = scene.play.model.borrow_mut();
        let end = &model.ends[line.end];
        let (takes, model_paused) = (!end.closing && !end.is_dead(), end.paused);
        model.check(takes || !open, || format!("end {} is open, and was closed", line.end));
        model.check(!open || paused == model_paused, || {
            format!("end {}: paused {paused}", line.end)
        });
    }
    let _ =
        (transport.pending(), transport.local_addr(), transport.peer_addr(), transport.reactor());
    let _ = (transport.set_no_delay(true), transport.no_delay());
    let _ = (transport.set_keep_alive(true), transport.keep_alive());
    let _ = (format!("{transport:?}"), transport.same(transport));
}

// ---- Connection

fn with(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let (play, node, end) = (Rc::clone(scene.play), scene.node, line.end);
    let token = play.token("with");
    let deferred = line.with(move |actor, transport| {
        let _token = token;
        let _inside = play.enter_actor(actor, "with");
        play.act(Scene {
            play: &play,
            node,
            kind: Kind::With,
            line: Some((transport, end)),
            lent: &[],
        });
    });
    scene.play.watch(scene.node, "with", deferred, |_, _| {});
}

fn try_with(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let play = scene.play;
    let (on_stack, dead) = {
        let model = play.model.borrow();
        let end = &model.ends[line.end];
        (model.is_on_stack(end.actor), end.is_dead())
    };
    let mut ran = false;
    let answer = line.try_with(|actor, transport| {
        ran = true;
        let _inside = play.enter_actor(actor, "try_with");
        // The lent bytes of the callback around it are still lent.
        let line = Some((transport, line.end));
        play.act(Scene { play, node: scene.node, kind: Kind::TryWith, line, lent: scene.lent });
    });
    play.check(ran || answer.is_err(), || "try_with neither ran nor said why".into());
    let busy = answer == Err(Unavailable::Busy);
    if ran {
        return;
    }
    play.check(busy == (on_stack && !dead), || {
        format!("try_with on end {}: {answer:?}; on the stack {on_stack}, dead {dead}", line.end)
    });
}

// ---- timers and calls

/// Tells the model when a timer's function is dropped without being called.
struct TimerToken(Rc<Play>, usize);

impl Drop for TimerToken {
    fn drop(&mut self) {
        let timer = &mut self.0.model.borrow_mut().timers[self.1];
        if *timer == Timer::Pending {
            *timer = Timer::Dropped;
        }
    }
}

fn call_later(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let play = Rc::clone(scene.play);
    let id = {
        let mut model = play.model.borrow_mut();
        model.timers.push(Timer::Pending);
        model.timers.len() - 1
    };
    let delay = Duration::from_micros(play.below(3000) as u64);
    let (node, token, dropped) =
        (scene.node, play.token("timer"), TimerToken(Rc::clone(&play), id));
    let timer = reactor.call_later(delay, move |_| {
        let (_token, _dropped) = (token, dropped);
        let _inside = play.enter();
        {
            let mut model = play.model.borrow_mut();
            model.log(format!("timer {id}"));
            let pending = std::mem::replace(&mut model.timers[id], Timer::Called) == Timer::Pending;
            model.check(pending, || format!("timer {id} is called again"));
        }
        play.act(Scene { play: &play, node, kind: Kind::Timer, line: None, lent: &[] });
    });
    scene.here().timers.borrow_mut().push((id, timer));
}

fn cancel_timer(scene: &Scene<'_>) {
    let Some((id, timer)) = scene.play.pick(&scene.here().timers) else { return };
    let before = scene.play.model.borrow().timers[id];
    scene.play.check(timer.is_active() == (before == Timer::Pending), || {
        format!("timer {id} is {before:?}, and active: {}", timer.is_active())
    });
    let cancelled = timer.cancel();
    let after = scene.play.model.borrow().timers[id];
    let right = match cancelled {
        Ok(()) => before == Timer::Pending && after == Timer::Dropped,
        Err(NotPending::Called) => before == Timer::Called,
        Err(_) => before != Timer::Pending,
    };
    scene.play.check(right, || {
        format!("timer {id} was {before:?}, is {after:?}: cancel says {cancelled:?}")
    });
}

fn reset_timer(scene: &Scene<'_>) {
    let Some((id, timer)) = scene.play.pick(&scene.here().timers) else { return };
    let pending = scene.play.model.borrow().timers[id] == Timer::Pending;
    let time = Duration::from_micros(scene.play.below(2000) as u64);
    let done = match scene.play.below(3) {
        0 => timer.reset(time),
        1 => timer.delay(time),
        _ => timer.set_deadline(timer.deadline().unwrap_or_default() + time),
    };
    scene
        .play
        .check(done.is_ok() == pending, || format!("timer {id}, pending {pending}: {done:?}"));
}

fn call_soon(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("call"));
    reactor.call_soon(move |_| {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Soon, line: None, lent: &[] });
    });
}

fn call_when_running(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("trigger"));
    reactor.call_when_running(move |_| {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Trigger, line: None, lent: &[] });
    });
}

thread_local! {
    /// What calls from "another" thread do, by number: the play itself cannot be sent.
    static REMOTE: RefCell<Vec<(Rc<Play>, usize)>> = const { RefCell::new(Vec::new()) };
}

fn remote_call(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let number = REMOTE.with_borrow_mut(|calls| {
        calls.push((Rc::clone(scene.play), scene.node));
        calls.len() - 1
    });
    reactor.remote().call(move |_| {
        let found = REMOTE.with_borrow(|calls| calls.get(number).cloned());
        let Some((play, node)) = found else { return };
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Remote, line: None, lent: &[] });
    });
}

/// No call from another thread is to come.
pub(super) fn forget_remote() {
    drop(REMOTE.take());
}

fn spawn(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("task"));
    let (deferred, resolver) = Deferred::<u32>::new();
    if play.chance(0.7) {
        scene.here().resolvers.borrow_mut().push(resolver);
    }
    let task = reactor.spawn(async move {
        let _token = token;
        for step in 0..2 {
            {
                let _inside = play.enter();
                play.act(Scene { play: &play, node, kind: Kind::Task, line: None, lent: &[] });
            }
            if step == 0 {
                break;
            }
        }
        let answer = deferred.await;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Task, line: None, lent: &[] });
        drop(answer);
    });
    scene.play.watch(scene.node, "spawn", task, |_, _| {});
}

fn defer_to_thread(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let answer = reactor.defer_to_thread(|| 7);
    scene.play.watch(scene.node, "defer_to_thread", answer, |_, _| {});
}

// ---- ports and connectors

/// Where the ports of this node listen.
fn here(scene: &Scene<'_>) -> Destination {
    match &scene.here().host {
        Some(host) if !host.addrs().is_empty() && scene.play.nodes.len() > 1 => {
            (host.addrs()[0], 0).into()
        }
        _ => "127.0.0.1:0".into(),
    }
}

pub(super) fn listen(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.here().ports.borrow().len() >= 4 {
        return;
    }
    let (maker, id) = Maker::new(scene.play, scene.node, true);
    let maker = shared(maker);
    for _ in 0..1 + scene.play.below(2) {
        // Out of ports or descriptors is no broken promise.
        if let Ok(port) = reactor.listen_tcp(here(scene), maker.clone()) {
            scene.play.addresses.borrow_mut().push(port.local_addr());
            scene.here().ports.borrow_mut().push((port, id));
        }
    }
}

fn somewhere(scene: &Scene<'_>) -> Destination {
    let addr = scene.play.pick(&scene.play.addresses);
    let ip = addr.as_ref().and_then(Addr::ip);
    match (scene.play.below(12), ip) {
        (0, _) => "127.0.0.1:1".into(),
        (1, _) => "no destination".into(),
        (2, Some(ip)) if !scene.play.names.is_empty() => {
            let name = &scene.play.names[scene.play.below(scene.play.names.len())];
            (name.as_str(), ip.port()).into()
        }
        (_, Some(ip)) => ip.into(),
        (_, None) => "127.0.0.1:1".into(),
    }
}

fn options(scene: &Scene<'_>) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    if scene.play.chance(0.1) {
        options.timeout = Some(Duration::from_micros(scene.play.below(2000) as u64));
    }
    options
}

pub(super) fn connect(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.here().lines.borrow().len() >= 20 && scene.play.chance(0.7) {
        return;
    }
    let (to, options) = (somewhere(scene), options(scene));
    scene.play.model.borrow_mut().log(format!("      node {} to {to}", scene.node));
    let play = Rc::clone(scene.play);
    if scene.play.chance(0.5) {
        let actor = Actor::<0>::new(scene.play, scene.node, false, None);
        let id = actor.id;
        let deferred = reactor.connect_tcp_with(to, actor, options);
        scene.play.watch(scene.node, "connect", deferred, move |_, result| seen(&play, id, result));
    } else {
        let actor = Actor::<1>::new(scene.play, scene.node, false, None);
        let id = actor.id;
        let deferred = reactor.connect_tcp_with(to, actor, options);
        scene.play.watch(scene.node, "connect", deferred, move |_, result| seen(&play, id, result));
    }
}

/// An attempt has come to something: its protocol was told if, and only if, there is a connection. (Cancelled from inside
/// `connection_made` the Deferred says so, and the connection goes on.)
fn seen<T>(play: &Play, actor: usize, result: &Result<T, ConnectError>) {
    let mut model = play.model.borrow_mut();
    let (connected, made) = (result.is_ok(), model.actors[actor].made);
    let cancelled = matches!(result, Err(error) if error.cause == ConnectCause::Cancelled);
    model.actors[actor].refused = !made;
    model.check(made == connected || (made && cancelled), || {
        format!("connect says {connected}, actor {actor} was made: {made}")
    });
}

fn connector(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (to, options) = (somewhere(scene), options(scene));
    scene.play.model.borrow_mut().log(format!("      node {} to {to}", scene.node));
    let (maker, _) = Maker::new(scene.play, scene.node, false);
    let connector = reactor.connector_tcp_with(to, maker, options);
    scene.here().connectors.borrow_mut().push(connector);
}

fn connector_connect(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    // What comes of it is for the factory's notices to tell.
    let _ = connector.connect();
}

fn connector_stop(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    let _ = connector.stop_connecting();
}

fn connector_disconnect(scene: &Scene<'_>) {
    let Some(connector) = scene.play.pick(&scene.here().connectors) else { return };
    if let Some(transport) = connector.transport() {
        let end = scene
            .here()
            .lines
            .borrow()
            .iter()
            .find(|line| line.transport == transport)
            .map(|line| line.end);
        let Some(end) = end else { return };
        scene.play.model.borrow_mut().lose(end);
    }
    connector.disconnect();
}

fn stop_listening(scene: &Scene<'_>) {
    let Some((port, factory)) = scene.play.pick(&scene.here().ports) else { return };
    let deferred = port.stop_listening();
    scene.play.check(!port.is_listening(), || "a port listens after stop_listening".into());
    scene.play.watch(scene.node, "stop_listening", deferred, move |play, result| {
        let panicked = play.model.borrow().factories[factory].stop_panicked;
        // It may have been cancelled, which is a random call like the others.
        if let Err(failure) = result {
            let text = failure.to_string();
            play.check(panicked || text == "cancelled", || {
                format!("stop_listening failed: {text}")
            });
        }
    });
}

fn start_listening(scene: &Scene<'_>) {
    let Some((port, _)) = scene.play.pick(&scene.here().ports) else { return };
    if scene.reactor().is_some() && port.start_listening().is_ok() {
        let mut addresses = scene.play.addresses.borrow_mut();
        if !addresses.contains(&port.local_addr()) {
            addresses.push(port.local_addr());
        }
    }
}

fn pause_port(scene: &Scene<'_>) {
    let Some((port, _)) = scene.play.pick(&scene.here().ports) else { return };
    if scene.play.chance(0.3) {
        port.pause();
    } else {
        port.resume();
    }
}

// ---- life

fn stop(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if reactor.stop().is_ok() {
        scene.here().ended.set(true);
    }
}

fn crash(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.chance(0.2) {
        scene.here().crashed.set(true);
        reactor.crash();
    }
}

fn event(scene: &Scene<'_>) -> Event {
    match scene.play.below(8) {
        0 => Event::Startup,
        1 => Event::Shutdown,
        2 => Event::Custom("flood"),
        _ => Event::Custom("ebb"),
    }
}

fn add_trigger(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("trigger"));
    let phase = [Phase::Before, Phase::During, Phase::After][play.below(3)];
    let (deferred, resolver) = Deferred::<u32>::new();
    if play.chance(0.5) {
        // A *before* trigger's Deferred is waited for.
        scene.here().resolvers.borrow_mut().push(resolver);
    }
    let id = reactor.add_trigger(phase, event(scene), move |_| {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Trigger, line: None, lent: &[] });
        deferred
    });
    scene.here().triggers.borrow_mut().push(id);
}

fn remove_trigger(scene: &Scene<'_>) {
    let (Some(reactor), Some(id)) = (scene.reactor(), scene.play.pick(&scene.here().triggers))
    else {
        return;
    };
    // It may have run.
    let _ = reactor.remove_trigger(id);
}

fn fire_event(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let event = event(scene);
    if event == Event::Shutdown {
        if scene.play.chance(0.8) {
            return;
        }
        scene.here().ended.set(true);
    }
    reactor.fire_event(event);
}

fn close_all(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.chance(0.3) {
        scene.here().ended.set(true);
        reactor.close_all();
    }
}

fn turn(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.is_inside() && scene.kind != Kind::Deferred {
        let answer = reactor.turn(Some(Duration::ZERO));
        scene.play.check(matches!(answer, Err(RunError::Nested)), || {
            format!("a turn inside a callback ({:?}): {answer:?}", scene.kind)
        });
    }
}

fn run(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.is_inside() && scene.kind != Kind::Deferred {
        let answer = reactor.run();
        scene.play.check(answer.is_err(), || {
            format!("run inside a callback ({:?}) answered", scene.kind)
        });
    }
}

fn look_at_the_reactor(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let open = reactor.open();
    let _ = format!("{open:?} {reactor:?}");
    let _ = (reactor.now(), reactor.wall_clock(), reactor.next_wakeup(), reactor.is_running());
    let _ = (reactor.rng(|rng| rng.next_u64()), reactor.workers(), reactor.exit_signal());
}

// ---- Deferreds

fn resolve(scene: &Scene<'_>) {
    let Some(resolver) = scene.play.take(&scene.here().resolvers) else { return };
    resolver.resolve(2);
}

fn cancel_deferred(scene: &Scene<'_>) {
    let Some(cancel) = scene.play.take(&scene.here().cancels) else { return };
    cancel.cancel();
}

fn panic(scene: &Scene<'_>) {
    if scene.play.is_inside() && scene.kind != Kind::Outside && !std::thread::panicking() {
        panic_on_purpose();
    }
}
