//! What can be called on a reactor, networks apart: timers, calls, tasks, its life; and on Deferreds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_core::deferred::Deferred;
use marline_core::{Event, NotPending, Phase, RunError};

use super::super::model::Timer;
use super::super::play::{Kind, Play, Scene, panic_on_purpose};

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

pub(super) fn call_later(scene: &Scene<'_>) {
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

pub(super) fn cancel_timer(scene: &Scene<'_>) {
    let Some((id, timer)) = scene.play.pick(&scene.here().timers) else { return };
    let before = scene.play.model.borrow().timers[id];
    if scene.play.node_has_ended(scene.node) && before == Timer::Pending {
        // All timers of a reactor that is closed end at once, and their functions are dropped one after the other.
        _ = timer.cancel();
        return;
    }
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

pub(super) fn reset_timer(scene: &Scene<'_>) {
    let Some((id, timer)) = scene.play.pick(&scene.here().timers) else { return };
    let pending = scene.play.model.borrow().timers[id] == Timer::Pending;
    let time = Duration::from_micros(scene.play.below(2000) as u64);
    let done = match scene.play.below(3) {
        0 => timer.reset(time),
        1 => timer.delay(time),
        _ => timer.set_deadline(timer.deadline().unwrap_or_default() + time),
    };
    let ended = scene.play.node_has_ended(scene.node);
    scene.play.check(done.is_ok() == pending || ended, || {
        format!("timer {id}, pending {pending}: {done:?}")
    });
}

pub(super) fn call_soon(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("call"));
    reactor.call_soon(move |_| {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Soon, line: None, lent: &[] });
    });
}

pub(super) fn call_when_running(scene: &Scene<'_>) {
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

pub(super) fn remote_call(scene: &Scene<'_>) {
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
pub(in super::super) fn forget_remote() {
    drop(REMOTE.take());
}

pub(super) fn spawn(scene: &Scene<'_>) {
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

pub(super) fn defer_to_thread(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let answer = reactor.defer_to_thread(|| 7);
    scene.play.watch(scene.node, "defer_to_thread", answer, |_, _| {});
}

// ---- life

pub(super) fn stop(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if reactor.stop().is_ok() {
        scene.here().ended.set(true);
    }
}

pub(super) fn crash(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.chance(0.2) {
        scene.here().crashed.set(true);
        reactor.crash();
    }
}

pub(super) fn event(scene: &Scene<'_>) -> Event {
    match scene.play.below(8) {
        0 => Event::Startup,
        1 => Event::Shutdown,
        2 => Event::Custom("flood"),
        _ => Event::Custom("ebb"),
    }
}

pub(super) fn add_trigger(scene: &Scene<'_>) {
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

pub(super) fn remove_trigger(scene: &Scene<'_>) {
    let (Some(reactor), Some(id)) = (scene.reactor(), scene.play.pick(&scene.here().triggers))
    else {
        return;
    };
    // It may have run.
    let _ = reactor.remove_trigger(id);
}

pub(super) fn fire_event(scene: &Scene<'_>) {
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

pub(super) fn close_all(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.chance(0.3) {
        scene.here().ended.set(true);
        reactor.close_all();
    }
}

pub(super) fn turn(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.is_inside() && scene.kind != Kind::Deferred {
        let answer = reactor.turn(Some(Duration::ZERO));
        scene.play.check(matches!(answer, Err(RunError::Nested)), || {
            format!("a turn inside a callback ({:?}): {answer:?}", scene.kind)
        });
    }
}

pub(super) fn run(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    if scene.play.is_inside() && scene.kind != Kind::Deferred {
        let answer = reactor.run();
        scene.play.check(answer.is_err(), || {
            format!("run inside a callback ({:?}) answered", scene.kind)
        });
    }
}

pub(super) fn look_at_the_reactor(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let open = reactor.open();
    let _ = format!("{open:?} {reactor:?}");
    let _ = (reactor.now(), reactor.wall_clock(), reactor.next_wakeup(), reactor.is_running());
    let _ = (reactor.rng(|rng| rng.next_u64()), reactor.workers(), reactor.exit_signal());
}

// ---- Deferreds

pub(super) fn resolve(scene: &Scene<'_>) {
    let Some(resolver) = scene.play.take(&scene.here().resolvers) else { return };
    resolver.resolve(2);
}

pub(super) fn cancel_deferred(scene: &Scene<'_>) {
    let Some((cancel, actor)) = scene.play.take(&scene.here().cancels) else { return };
    if let Some(actor) = actor {
        scene.play.model.borrow_mut().cancel_connect(actor);
    }
    cancel.cancel();
}

pub(super) fn panic(scene: &Scene<'_>) {
    if scene.play.is_inside() && scene.kind != Kind::Outside && !std::thread::panicking() {
        panic_on_purpose();
    }
}
