//! The conformance suite, one module an area. Each check is named after what it checks; the numbers in comments are those of the list of
//! what Twisted's own reactor tests check, kept in docs/conformance.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

// Abort, and what may follow it.
mod abort;
// Resets, panics, refusals, lack of descriptors: nothing leaks, every protocol hears its end once.
mod faults;
// Start, stop, crash, triggers, signals.
mod life_cycle;
// Random programs against the promises: every public call from inside every kind of callback.
mod invariants;
// Policies inside a connection: what they see, hold and end.
mod policies;
// A recording of a run replays without a network.
mod record;
// The shapes that programs have: echo, chat, proxy, upgrade, layers and so on.
mod shapes;
// Connections: addresses, writing, closing, half-close, producers, ports, connectors.
mod streams;
// Other threads and workers.
mod threads;
// Timers and the clock.
mod time;
