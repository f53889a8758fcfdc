//! What can be called on a transport, and on the typed handle of a connection.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use marline_core::Unavailable;
use marline_core::deferred::Deferred;
use marline_core::policy::{Direction, Policy, PolicyIo, Watch};

use super::super::actor::{Actor, Glass, Tap};
use super::super::model::Producer;
use super::super::play::{Kind, Line, Scene, panic_on_purpose};

pub(super) fn put(scene: &Scene<'_>, line: &Line, bytes: &[u8]) {
    // Bounded, so that bytes that are passed on and on come to an end.
    if scene.play.model.borrow().ends[line.end].written.len() < 300_000 {
        scene.play.model.borrow_mut().write(line.end, bytes);
        line.transport.write(bytes);
    }
}

pub(super) fn write(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let len = scene.play.below(200);
    put(scene, &line, &scene.play.bytes(len));
}

pub(super) fn write_much(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let len = 2000 + scene.play.below(90_000);
    put(scene, &line, &scene.play.bytes(len));
}

/// Any part of the lent bytes.
pub(super) fn part<'a>(scene: &Scene<'a>) -> &'a [u8] {
    let from = scene.play.below(scene.lent.len() + 1);
    let to = from + scene.play.below(scene.lent.len() - from + 1);
    &scene.lent[from..to]
}

pub(super) fn write_lent(scene: &Scene<'_>) {
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

pub(super) fn write_mix(scene: &Scene<'_>) {
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

pub(super) fn write_sequence(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let own = scene.play.bytes(40);
    let pieces = [part(scene), &own[..7], b"", &own[7..], part(scene)];
    let all = pieces.concat();
    if scene.play.model.borrow().ends[line.end].written.len() < 300_000 {
        scene.play.model.borrow_mut().write(line.end, &all);
        line.transport.write_sequence(pieces);
    }
}

pub(super) fn lose_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().lose(line.end);
    line.transport.lose_connection();
    scene.play.check(!line.transport.is_open(), || {
        format!("end {} is open after lose_connection", line.end)
    });
}

pub(super) fn abort_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().abort(line.end);
    line.transport.abort_connection();
    scene.play.check(!line.transport.is_open(), || {
        format!("end {} is open after abort_connection", line.end)
    });
}

pub(super) fn lose_write_connection(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().lose_write(line.end);
    line.transport.lose_write_connection();
}

pub(super) fn pause_reading(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().pause(line.end, true);
    line.transport.pause_reading();
}

pub(super) fn resume_reading(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().pause(line.end, false);
    line.transport.resume_reading();
}

pub(super) fn unread(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let from = scene.play.below(scene.lent.len() + 1);
    let bytes = if scene.play.chance(0.1) { &b"made up"[..] } else { &scene.lent[from..] };
    scene.play.model.borrow_mut().unread(line.end, bytes);
    line.transport.unread(bytes);
}

pub(super) fn notify_writable(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let mut model = scene.play.model.borrow_mut();
    let end = &mut model.ends[line.end];
    end.wants_writable |= !end.is_dead();
    drop(model);
    line.transport.notify_writable();
}

pub(super) fn register(scene: &Scene<'_>, streaming: bool) {
    if let Some(line) = scene.any_line() {
        register_on(scene, line, streaming);
    }
}

pub(super) fn register_on(scene: &Scene<'_>, line: Line, streaming: bool) {
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

pub(super) fn register_push(scene: &Scene<'_>) {
    register(scene, true);
}

pub(super) fn register_pull(scene: &Scene<'_>) {
    register(scene, false);
}

/// What is written before and after leaves in this order, whichever way it takes.
pub(super) fn write_around_a_registration(scene: &Scene<'_>) {
    let own = scene.line.map(|(transport, end)| Line { transport: transport.clone(), end });
    let Some(line) = own.or_else(|| scene.any_line()) else { return };
    let len = 2000 + scene.play.below(9000);
    put(scene, &line, &scene.play.bytes(len));
    register_on(scene, line.clone(), false);
    put(scene, &line, &scene.play.bytes(300));
}

pub(super) fn unregister_producer(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    scene.play.model.borrow_mut().unregister(line.end);
    line.transport.unregister_producer();
}

pub(super) fn upgrade(scene: &Scene<'_>) {
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

pub(super) fn start_layer(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let fails = scene.play.chance(0.1);
    // Only bytes that this connection received can belong to its new layer.
    let own = scene.line.is_some_and(|(_, end)| end == line.end) && scene.play.chance(0.3);
    let rest = if own { &scene.lent[scene.play.below(scene.lent.len() + 1)..] } else { &[] };
    {
        let mut model = scene.play.model.borrow_mut();
        model.ends[line.end].fused |= fails;
        model.give_to_layer(line.end, rest);
    }
    line.transport.start_layer(Glass::new(scene.play, fails), rest);
}

pub(super) fn with_layer(scene: &Scene<'_>) {
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

/// Looks at some of what passes, and lets it pass at once or in pieces: nothing else may be seen of it.
struct Lens {
    watch: Watch,
    /// At most so many bytes at a time.
    piece: usize,
}

impl Policy for Lens {
    fn name(&self) -> &'static str {
        "lens"
    }

    fn watches(&self) -> Watch {
        self.watch
    }

    fn attached(&mut self, io: &mut PolicyIo<'_>) {
        io.set_deadline(Some(io.now() + Duration::from_millis(1)));
    }

    fn admit(&mut self, direction: Direction, len: usize, io: &mut PolicyIo<'_>) -> usize {
        io.ask_again(direction, io.now());
        len.min(self.piece)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

pub(super) fn start_policy(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let all = [
        Watch::ACTIVITY,
        Watch::RECEIVED,
        Watch::WRITTEN,
        Watch::LIMIT_RECEIVED,
        Watch::LIMIT_WRITTEN,
    ];
    let wanted = all.into_iter().filter(|_| scene.play.chance(0.4));
    let watch = wanted.fold(Watch::NOTHING, |watch, more| watch | more);
    let piece = if scene.play.chance(0.5) { usize::MAX } else { 1 + scene.play.below(20_000) };
    line.transport.start_policy(Lens { watch, piece });
}

pub(super) fn with_policy(scene: &Scene<'_>) {
    let Some(line) = scene.any_line() else { return };
    let inner = scene.at(Kind::LayerLook, Some((&line.transport, line.end)));
    line.transport.with_policy(|lens: &mut Lens| {
        lens.piece = 1 + scene.play.below(50_000);
        let _inside = scene.play.enter();
        scene.play.act(inner);
    });
}

pub(super) fn then(scene: &Scene<'_>) {
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

pub(super) fn look_at_a_transport(scene: &Scene<'_>) {
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

pub(super) fn with(scene: &Scene<'_>) {
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

pub(super) fn try_with(scene: &Scene<'_>) {
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
