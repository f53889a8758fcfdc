//! Every public call that a callback can make, as a table: the random program draws from it, and the coverage is counted by it.

mod network;
mod reactor;
mod streams;
mod tasks;
mod transport;
mod waiting;

use super::play::Scene;

pub(super) use network::{connect, listen};
pub(super) use reactor::forget_remote;
pub(super) use streams::Held;
pub(super) use waiting::Lines;

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
    call("write", 30, transport::write),
    call("write what was lent", 24, transport::write_lent),
    call("write a mix", 16, transport::write_mix),
    call("write_sequence", 10, transport::write_sequence),
    call("write much", 6, transport::write_much),
    call("lose_connection", 9, transport::lose_connection),
    call("abort_connection", 5, transport::abort_connection),
    call("lose_write_connection", 8, transport::lose_write_connection),
    call("pause_reading", 10, transport::pause_reading),
    call("resume_reading", 16, transport::resume_reading),
    call("unread", 12, transport::unread),
    call("notify_writable", 10, transport::notify_writable),
    call("write around a registration", 4, transport::write_around_a_registration),
    call("register a push producer", 8, transport::register_push),
    call("register a pull producer", 8, transport::register_pull),
    call("unregister_producer", 14, transport::unregister_producer),
    call("upgrade", 10, transport::upgrade),
    call("start_layer", 6, transport::start_layer),
    call("with_layer", 6, transport::with_layer),
    call("start_policy", 5, transport::start_policy),
    call("with_policy", 4, transport::with_policy),
    call("then", 8, transport::then),
    call("look at a transport", 10, transport::look_at_a_transport),
    // Connection
    call("with", 14, transport::with),
    call("try_with", 14, transport::try_with),
    // Reactor: timers and calls
    call("call_later", 12, reactor::call_later),
    call("DelayedCall::cancel", 5, reactor::cancel_timer),
    call("DelayedCall::reset", 5, reactor::reset_timer),
    call("call_soon", 10, reactor::call_soon),
    call("call_when_running", 4, reactor::call_when_running),
    call("Remote::call", 5, reactor::remote_call),
    call("spawn", 6, reactor::spawn),
    call("defer_to_thread", 3, reactor::defer_to_thread),
    // Reactor: ports and connectors
    call("listen", 3, listen),
    call("connect", 14, connect),
    call("connector", 6, network::connector),
    call("Connector::connect", 4, network::connector_connect),
    call("Connector::stop_connecting", 4, network::connector_stop),
    call("Connector::disconnect", 4, network::connector_disconnect),
    call("stop_listening", 3, network::stop_listening),
    call("start_listening", 6, network::start_listening),
    call("Port::pause and resume", 3, network::pause_port),
    // Reactor: life
    call("stop", 1, reactor::stop),
    call("crash", 2, reactor::crash),
    call("add_trigger", 6, reactor::add_trigger),
    call("remove_trigger", 3, reactor::remove_trigger),
    call("fire_event", 6, reactor::fire_event),
    call("close_all", 2, reactor::close_all),
    call("turn", 5, reactor::turn),
    call("run", 3, reactor::run),
    call("look at the reactor", 5, reactor::look_at_the_reactor),
    // Reactor: tasks and what is done again
    call("sleep", 4, tasks::sleep),
    call("defer_later", 4, tasks::defer_later),
    call("LoopingCall::start", 6, tasks::start_loop),
    call("LoopingCall::stop", 3, tasks::stop_loop),
    call("LoopingCall::reset", 3, tasks::reset_loop),
    call("JoinSet", 10, tasks::join_set),
    call("Reactor::current", 4, tasks::current),
    // Streams of bytes
    call("listen for streams", 4, streams::listen),
    call("connect_stream", 6, streams::connect),
    call("ByteStream: read", 8, streams::read),
    call("ByteStream: write", 8, streams::write),
    call("ByteStream: end", 4, streams::end),
    call("ByteStream::split", 3, streams::split),
    // Lines to wait in
    call("acquire", 6, waiting::acquire),
    call("Semaphore::run", 4, waiting::run_in_line),
    call("Queue::put", 6, waiting::put),
    call("Queue::get", 6, waiting::get),
    // Deferreds
    call("several deferreds", 8, waiting::several),
    call("timeout", 6, waiting::timeout),
    call("resolve", 10, reactor::resolve),
    call("cancel a deferred", 6, reactor::cancel_deferred),
    call("panic", 2, reactor::panic),
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
