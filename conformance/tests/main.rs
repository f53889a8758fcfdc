//! The conformance suite, one module an area. Each check is named after what it checks; the numbers in comments are those of the list of
//! what Twisted's own reactor tests check, kept in docs/conformance.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

// Abort, and what may follow it.
mod abort;
// Connections as streams of bytes for async code.
mod byte_streams;
// A line protocol cancelled at every event: no byte lost or doubled.
mod cancelling;
// Datagram sockets: batches, groups, refusals, UNIX sockets.
mod datagrams;
// Resets, panics, refusals, lack of descriptors: nothing leaks, every protocol hears its end once.
mod faults;
// Framings and small protocols, on every driver and against peers that are not ours.
mod framings;
// Layers that checks share.
mod layers;
// Files and buffers that are sent without being copied.
mod sending;
// Start, stop, crash, triggers, signals.
mod life_cycle;
// What is logged, and whose line it is.
mod logging;
// Random programs against the promises: every public call from inside every kind of callback.
mod invariants;
// Policies inside a connection: what they see, hold and end.
mod policies;
// A recording of a run replays without a network.
mod record;
// The shapes that programs have: echo, chat, proxy, upgrade, layers and so on.
mod shapes;
// Byte budgets of connections and reactors.
mod budgets;
// Callbacks that hold the loop, and the watchdog that names them.
mod stalls;
// Connections: addresses, writing, closing, half-close, producers, ports, connectors.
mod streams;
// Futures on the reactor, looping calls, cooperation, coroutines, programs of one task.
mod tasks;
// Other threads and workers.
mod threads;
// UNIX streams, descriptors passed over them, sockets that somebody else has opened.
mod unix;
// Timers and the clock.
mod time;
// Descriptors that belong to somebody else: pipes, eventfds, sockets, regular files.
mod watching;
