//! What can be called to wait: semaphores, locks and queues, several Deferreds as one, time-outs.

use std::rc::Rc;
use std::time::Duration;

use marline_core::Reactor;
use marline_core::deferred::{
    Deferred, Interrupt, Rest, first_value, gather, gather_with, list, race,
};
use marline_core::failure::Failure;
use marline_core::sync::{Lock, Queue, Semaphore};

use super::super::play::{Kind, Scene};

/// What the code of a node waits in line for.
#[derive(Clone)]
pub(in super::super) struct Lines {
    semaphore: Semaphore,
    lock: Lock,
    queue: Queue<u32>,
}

impl Default for Lines {
    fn default() -> Self {
        let semaphore = Semaphore::new(2).expect("two are some");
        Self { semaphore, lock: Lock::new(), queue: Queue::new().with_size(3).with_backlog(5) }
    }
}

impl Lines {
    /// Nobody waits any longer.
    pub(in super::super) fn close(&self) {
        self.semaphore.close();
        self.lock.close();
        self.queue.close();
    }
}

fn lines(scene: &Scene<'_>) -> Lines {
    scene.here().waits.borrow().clone()
}

/// Somebody may fire it; if not, it is abandoned at once.
fn some_deferred(scene: &Scene<'_>) -> Deferred<u32> {
    let (deferred, resolver) = Deferred::new();
    if scene.play.chance(0.7) {
        scene.here().resolvers.borrow_mut().push(resolver);
    }
    deferred
}

/// Takes a permit and lets it go, in a chain or in a task that somebody holds up.
pub(super) fn acquire(scene: &Scene<'_>) {
    let Lines { semaphore, lock, .. } = lines(scene);
    let permit = if scene.play.chance(0.5) { semaphore.acquire() } else { lock.acquire() };
    let free = (semaphore.available(), semaphore.permits());
    scene.play.check(free.0 <= free.1, || format!("{} permits of {} are free", free.0, free.1));
    let (holds, reactor) = (some_deferred(scene), scene.reactor());
    match reactor.filter(|_| scene.play.chance(0.5)) {
        Some(reactor) => {
            let task = reactor.spawn(async move {
                let permit = permit.await?;
                let held = holds.await;
                drop(permit);
                held
            });
            scene.play.watch(scene.node, "a permit", task, |_, _| {});
        }
        None => scene.play.watch(scene.node, "a permit", permit, |_, _| {}),
    }
}

pub(super) fn run_in_line(scene: &Scene<'_>) {
    let Lines { semaphore, lock, .. } = lines(scene);
    let (play, node, token) = (Rc::clone(scene.play), scene.node, scene.play.token("run"));
    let answer = some_deferred(scene);
    let f = move || {
        let _token = token;
        let _inside = play.enter();
        play.act(Scene { play: &play, node, kind: Kind::Deferred, line: None, lent: &[] });
        answer
    };
    let ran = if scene.play.chance(0.5) { semaphore.run(f) } else { lock.run(f) };
    scene.play.watch(scene.node, "run", ran, |_, _| {});
}

pub(super) fn put(scene: &Scene<'_>) {
    let queue = lines(scene).queue;
    let (room, before) = (queue.len() < 3, queue.len());
    // What it fires may put and take as well.
    let put = queue.put(7);
    scene.play.check(put.is_ok() || !room || queue.is_closed(), || {
        format!("a queue of {before} takes nothing: {put:?}")
    });
}

pub(super) fn get(scene: &Scene<'_>) {
    let queue = lines(scene).queue;
    if scene.play.chance(0.2) {
        let _ = queue.try_get();
        return;
    }
    scene.play.watch(scene.node, "get", queue.get(), |_, _| {});
}

pub(super) fn several(scene: &Scene<'_>) {
    let all: Vec<_> = (0..scene.play.below(4)).map(|_| some_deferred(scene)).collect();
    let rest = [Rest::RunOn, Rest::Ignore, Rest::Cancel][scene.play.below(3)];
    let count = all.len();
    let right = move |play: &super::super::play::Play, len: usize| {
        play.check(len == count, || format!("{len} results of {count}"));
    };
    let node = scene.node;
    match scene.play.below(5) {
        0 => scene.play.watch(node, "list", list(all), move |play, result| {
            if let Ok(results) = result {
                right(play, results.len());
            }
        }),
        1 => scene.play.watch(node, "gather", gather(all), move |play, result| {
            if let Ok(values) = result {
                right(play, values.len());
            }
        }),
        2 => {
            let gathered = gather_with(all, rest);
            scene.play.watch(node, "gather_with", gathered, |_, _| {});
        }
        3 => scene.play.watch(node, "race", race(all), move |play, result| {
            if let Err(group) = result {
                play.check(group.errors().len() <= count, || "more errors than racers".into());
            }
        }),
        _ => scene.play.watch(node, "first_value", first_value(all, rest), |_, _| {}),
    }
}

pub(super) fn timeout(scene: &Scene<'_>) {
    let Some(reactor) = scene.reactor() else { return };
    let after = Duration::from_micros(scene.play.below(3000) as u64);
    let begin = reactor.now();
    let node = scene.node;
    let timed = some_deferred(scene).timeout(&reactor, after);
    scene.play.watch(scene.node, "timeout", timed, move |play, result| {
        let timed_out = matches!(result, Err(failure) if is_late(failure));
        // The reactor may be gone by now; this must not be what keeps it.
        let now = play.nodes[node].reactor.borrow().as_ref().map(Reactor::now);
        let time = now.map_or(after, |now| now - begin);
        play.check(!timed_out || time >= after, || format!("{after:?} were over after {time:?}"));
    });
}

fn is_late(failure: &Failure) -> bool {
    failure.check() == Some(&Interrupt::TimedOut)
}
