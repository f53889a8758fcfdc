//! The rows: what is made, how it is fired. Each step adds a captured number to what it is given and writes the sum down, so that a boxed one is an
//! allocation and none can be left out.

use std::hint::black_box;

use marline_core::deferred::{Deferred, Resolver};
use marline_core::failure::Failure;
use measure::timers::Lap;

/// One way to call three functions one after the other.
pub(crate) trait Row {
    /// Measures it and prints a line of JSON: nanoseconds to make one, to fire one, and to do both at once.
    fn time(&self);

    /// Does one part `count` times; `None` if there is no such part. `make` leaves all it has made, `fire` is that and firing all, `both` fires
    /// each before the next is made.
    fn repeat(&self, part: &str, count: usize) -> Option<()>;
}

/// The row of that name.
pub(crate) fn find(name: &str) -> Option<Box<dyn Row>> {
    Some(match name {
        "direct" => Box::new(Pair(direct, call)),
        "map" => Box::new(Pair(map, resolve)),
        "and_then" => Box::new(Pair(and_then, resolve)),
        "kept" => Box::new(Pair(kept, resolve_and_take)),
        "error" => Box::new(Pair(error, fail)),
        "inner" => Box::new(Pair(inner, resolve_both)),
        "ready" => Box::new(Pair(number, ready)),
        _ => return None,
    })
}

/// How many lie there at a time: few enough for the cache.
const BATCH: usize = 64;
/// How many batches are timed.
const BATCHES: usize = 40_000;

/// What makes one, and what fires it.
struct Pair<T>(fn(i64) -> T, fn(T, i64));

impl<T> Row for Pair<T> {
    fn time(&self) {
        let Self(make, fire) = self;
        let mut clock = Lap::start();
        let reading = (0..1000).map(|_| clock.lap(BATCH)).sum::<f64>() / 1000.0;
        let mut batch = Vec::with_capacity(BATCH);
        let (mut making, mut firing) = (0.0, 0.0);
        for round in 0..BATCHES {
            let mut clock = Lap::start();
            for number in 0..BATCH {
                batch.push(make(black_box(number as i64)));
            }
            let made = clock.lap(BATCH);
            for one in batch.drain(..) {
                fire(one, black_box(1));
            }
            let fired = clock.lap(BATCH);
            // The first ones warm up.
            if round >= BATCHES / 10 {
                making += made;
                firing += fired;
            }
        }
        let rounds = (BATCHES - BATCHES / 10) as f64;
        let mut clock = Lap::start();
        for number in 0..BATCHES * BATCH {
            fire(make(black_box(number as i64)), black_box(1));
        }
        let both = clock.lap(BATCHES * BATCH);
        println!(
            r#"{{"make":{:.2},"fire":{:.2},"both":{both:.2}}}"#,
            making / rounds - reading,
            firing / rounds - reading
        );
    }

    fn repeat(&self, part: &str, count: usize) -> Option<()> {
        let Self(make, fire) = self;
        if part == "both" {
            for number in 0..count {
                fire(make(black_box(number as i64)), black_box(1));
            }
            return Some(());
        }
        let mut all: Vec<T> = (0..count).map(|number| make(black_box(number as i64))).collect();
        match part {
            "make" => std::mem::forget(all),
            "fire" => all.drain(..).for_each(|one| fire(one, black_box(1))),
            _ => return None,
        }
        Some(())
    }
}

type Boxed = [Box<dyn FnOnce(i64) -> i64>; 3];
type Number = Deferred<i64>;
type NumberResolver = Resolver<i64>;

/// What every step does.
fn add(number: i64) -> impl FnOnce(i64) -> i64 {
    move |value| black_box(value + number)
}

fn direct(number: i64) -> Boxed {
    [Box::new(add(number)), Box::new(add(number)), Box::new(add(number))]
}

fn call(steps: Boxed, value: i64) {
    let [first, second, third] = steps;
    black_box(third(second(first(value))));
}

/// The end is dropped: firing drops all there is.
fn map(number: i64) -> NumberResolver {
    kept(number).0
}

fn resolve(resolver: NumberResolver, value: i64) {
    resolver.resolve(value);
}

fn and_then(number: i64) -> NumberResolver {
    let step = |number| {
        let add = add(number);
        move |value| Ok::<i64, Failure>(add(value))
    };
    let (deferred, resolver) = Number::new();
    drop(deferred.and_then(step(number)).and_then(step(number)).and_then(step(number)));
    resolver
}

/// The end is kept, and the result taken there.
fn kept(number: i64) -> (NumberResolver, Number) {
    let (deferred, resolver) = Number::new();
    (resolver, deferred.map(add(number)).map(add(number)).map(add(number)))
}

fn resolve_and_take((resolver, end): (NumberResolver, Number), value: i64) {
    resolver.resolve(value);
    drop(black_box(end.try_take()));
}

/// An error passes two steps by and is looked at by the third.
fn error(number: i64) -> NumberResolver {
    let (deferred, resolver) = Number::new();
    let add = add(number);
    drop(deferred.map(self::add(number)).map(self::add(number)).recover(move |_| add(0)));
    resolver
}

fn fail(resolver: NumberResolver, _value: i64) {
    resolver.fail(Failure::msg("no"));
}

/// The second step returns a deferred that is fired later.
fn inner(number: i64) -> (NumberResolver, NumberResolver) {
    let (deferred, resolver) = Number::new();
    let (second, second_resolver) = Number::new();
    let add = add(number);
    drop(deferred.map(self::add(number)).then(move |_| second).map(add));
    (resolver, second_resolver)
}

fn resolve_both((first, second): (NumberResolver, NumberResolver), value: i64) {
    first.resolve(value);
    second.resolve(value);
}

fn number(number: i64) -> i64 {
    number
}

/// A result that is there, three steps, and taken: nothing to make beforehand.
fn ready(number: i64, value: i64) {
    let end = Number::ready(value).map(add(number)).map(add(number)).map(add(number));
    drop(black_box(end.try_take()));
}
