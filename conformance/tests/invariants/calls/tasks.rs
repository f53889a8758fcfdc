//! What can be called to have something done later and again: sleeps, looping calls, sets of tasks, the reactor of the thread.

use std::rc::Rc;
use std::time::Duration;

use marline_core::deferred::Deferred;
use marline_core::task::LoopingCall;
use marline_core::{JoinSet, Reactor};

use super::super::play::{Kind, Play, Scene};

/// How often a loop calls before it stops itself, at most.
const ROUNDS: usize = 4;

fn delay(scene: &Scene<'_>) -> Duration {
    Duration::from_micros(scene.play.below(3000) as u64)
}

pub(super) fn sleep(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let nap = match scene.play.below(3) {
        0 => reactor.yield_now(),
        1 => reactor.sleep_until(reactor.now() + delay(scene)),
        _ => reactor.sleep(delay(scene)),
    };
    scene.play.watch(scene.node, "sleep", nap, |_, _| {});
}

pub(super) fn defer_later(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("defer_later"));
    let (answer, resolver) = Deferred::<u32>::new();
    if play.chance(0.5) {
        scene.here().resolvers.borrow_mut().push(resolver);
    }
    let later = reactor.defer_later(delay(scene), move |_| {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Timer, line: None, lent: &[] });
        answer
    });
    scene.play.watch(scene.node, "defer_later", later, |_, _| {});
}

// ---- loops

/// Starts a new loop, or one that has stopped.
pub(super) fn start_loop(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let play = scene.play;
    let again = play.pick(&scene.here().loops).filter(|_| play.chance(0.4));
    let looping = again.unwrap_or_else(|| new_loop(scene, &reactor));
    let before = looping.is_running();
    let interval = if play.chance(0.2) { Duration::ZERO } else { delay(scene) };
    let started =
        if play.chance(0.5) { looping.start(interval) } else { looping.start_later(interval) };
    play.check(started.is_err() == before, || {
        format!("a loop, running {before}, was started: {}", started.is_ok())
    });
    if let Ok(stopped) = started {
        play.watch(scene.node, "a loop", stopped, |_, _| {});
    }
}

fn new_loop(scene: &Scene<'_>, reactor: &Reactor) -> LoopingCall {
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("loop"));
    let (mut left, mut on_stack) = (ROUNDS, false);
    let looping = LoopingCall::with_count(reactor, move |looping, count| {
        let _token = &token;
        play.check(count > 0, || "a loop was called for no step".into());
        play.check(!std::mem::replace(&mut on_stack, true), || "a loop inside itself".into());
        left = left.saturating_sub(1);
        if left == 0 || play.calm.get() {
            // Something may have stopped it in this very call.
            let _ = looping.stop();
        }
        // A loop that panics has ended; one that is started again is called anew.
        on_stack = false;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Timer, line: None, lent: &[] });
        let (answer, resolver) = Deferred::<u32>::new();
        if play.chance(0.3) && !play.calm.get() {
            play.nodes[node].resolvers.borrow_mut().push(resolver);
        } else {
            resolver.resolve(1);
        }
        answer
    });
    scene.here().loops.borrow_mut().push(looping.clone());
    looping
}

pub(super) fn stop_loop(scene: &Scene<'_>) {
    let Some(looping) = scene.play.pick(&scene.here().loops) else { return };
    let before = looping.is_running();
    let stopped = looping.stop();
    scene.play.check(stopped.is_ok() == before, || {
        format!("a loop, running {before}, was stopped: {stopped:?}")
    });
}

pub(super) fn reset_loop(scene: &Scene<'_>) {
    let Some(looping) = scene.play.pick(&scene.here().loops) else { return };
    let before = looping.is_running();
    let reset = looping.reset();
    // Of a reactor that has been closed it may be either.
    let closed = before && looping.reactor().is_none();
    scene.play.check(reset.is_ok() == before || closed, || {
        format!("a loop, running {before}, was reset: {reset:?}")
    });
    let _ = (looping.interval(), looping.deadline(), format!("{looping:?}"));
}

// ---- sets of tasks

/// Does something with a set of tasks, which nobody else has meanwhile.
pub(super) fn join_set(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let play = scene.play;
    let set = play.take(&scene.here().sets).filter(|_| play.chance(0.9));
    let mut set = set.unwrap_or_else(|| JoinSet::new(&reactor));
    let before = set.len();
    match play.below(9) {
        0..4 => {
            let task = task_of(scene);
            let handle = set.spawn(task);
            play.check(set.len() == before + 1, || "a set did not take a task".into());
            if play.chance(0.3) {
                scene.here().cancels.borrow_mut().push((handle, None));
            }
        }
        4 | 5 => {
            let joined = set.try_join_next().is_some();
            play.check(set.len() + usize::from(joined) == before, || {
                format!("a set of {before} has {} after one was joined: {joined}", set.len())
            });
        }
        6 => set.cancel_all(),
        7 => {
            set.shutdown();
            play.check(set.is_empty(), || format!("a set that was shut down has {}", set.len()));
        }
        // A task waits for all of them, and is watched like any other.
        _ => {
            let (play, node, token) = (Rc::clone(play), scene.node, scene.play.token("who joins"));
            let joins = reactor.spawn(async move {
                let _token = token;
                while let Some(result) = set.join_next().await {
                    let _inside = play.enter();
                    act_in_task(&play, node);
                    drop(result);
                }
            });
            return scene.play.watch(scene.node, "a set", joins, |_, _| {});
        }
    }
    scene.here().sets.borrow_mut().push(set);
}

/// A task that acts, waits for somebody and acts again.
fn task_of(scene: &Scene<'_>) -> impl Future<Output = u32> + use<> {
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("task"));
    let (answer, resolver) = Deferred::<u32>::new();
    if play.chance(0.5) {
        scene.here().resolvers.borrow_mut().push(resolver);
    }
    async move {
        let _token = token;
        {
            let _inside = play.enter();
            act_in_task(&play, node);
        }
        answer.await.unwrap_or(0)
    }
}

fn act_in_task(play: &Rc<Play>, node: usize) {
    play.act(Scene { play, node, kind: Kind::Task, line: None, lent: &[] });
}

// ---- the reactor of the thread

pub(super) fn current(scene: &Scene<'_>) {
    let current = Reactor::current();
    // Deferreds may be fired from outside of it all, and so may layers be looked at; what comes late may come after the reactor.
    let outside = matches!(scene.kind, Kind::Outside | Kind::Deferred | Kind::LayerLook);
    let inside = !outside && scene.reactor().is_some();
    scene.play.check(current.is_some() || !inside, || {
        format!("no reactor is current in {:?}", scene.kind)
    });
    scene.play.check(current.is_none() || scene.kind != Kind::Outside, || {
        "a reactor is current outside".into()
    });
}
