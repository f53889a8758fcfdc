//! Every kind of callback there is, each as a way to have something done from inside it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_core::{ConnectError, Connector, Event, Factory, Link, Phase, Reactor, Transport};

use crate::streams::kit::{Probe, listen_once};

/// Something to be done from inside a callback, once.
pub(super) type Action = Rc<dyn Fn(&Reactor)>;

/// A kind of callback.
pub(super) struct Place {
    pub(super) name: &'static str,
    /// Has the action done from inside such a callback, of a reactor that is not running yet.
    pub(super) arrange: fn(&Reactor, Action),
}

/// Those of a running reactor.
pub(super) const RUNNING: &[Place] = &[
    Place { name: "call", arrange: |reactor, action| reactor.call_soon(move |r| action(r)) },
    Place {
        name: "timer",
        arrange: |reactor, action| _ = reactor.call_later(MOMENT, move |r| action(r)),
    },
    Place { name: "remote call", arrange: remote_call },
    Place {
        name: "during startup",
        arrange: |reactor, action| {
            reactor.add_trigger(Phase::During, Event::Startup, move |r| action(r));
        },
    },
    Place {
        name: "when running",
        arrange: |reactor, action| reactor.call_when_running(move |r| action(r)),
    },
    Place {
        name: "when running, while it runs",
        arrange: |reactor, action| {
            reactor.call_soon(move |r| r.call_when_running(move |r| action(r)));
        },
    },
    Place {
        name: "trigger of an event of one's own",
        arrange: |reactor, action| {
            reactor.add_trigger(Phase::Before, Event::Custom("own"), move |r| action(r));
            reactor.call_soon(|r| r.fire_event(Event::Custom("own")));
        },
    },
    Place { name: "answer of a job", arrange: job },
    Place { name: "answer of a look-up", arrange: look_up },
    Place { name: "task", arrange: task },
    Place {
        name: "build_protocol",
        arrange: |reactor, action| {
            let port = reactor
                .listen_tcp("127.0.0.1:0", Hears { build: Some(action), ..Hears::default() });
            let addr = port.unwrap().local_addr();
            reactor.connect_tcp(addr, Probe::new()).ignore();
        },
    },
    Place { name: "connection_made", arrange: |r, action| join(r, doing(action), Probe::new()) },
    Place {
        name: "connection_made of a server",
        arrange: |r, action| join(r, Probe::new(), doing(action)),
    },
    Place {
        name: "data_received",
        arrange: |r, action| join(r, speaker(), Probe::new().on_data(move |t, _| act(&action, t))),
    },
    Place {
        name: "read_connection_lost",
        arrange: |r, action| {
            let client = Probe::new().on_made(|t| t.lose_write_connection());
            join(r, client, Probe::new().on_read_lost(move |t| act(&action, t)));
        },
    },
    Place {
        name: "write_connection_lost",
        arrange: |r, action| {
            let client = Probe::new().on_made(|t| t.lose_write_connection());
            join(r, client.on_write_lost(move |t| act(&action, t)), Probe::half_close());
        },
    },
    Place {
        name: "writable",
        arrange: |r, action| {
            let client = Probe::new().on_made(|t| t.notify_writable());
            join(r, client.on_writable(move |t| act(&action, t)), Probe::new());
        },
    },
    Place {
        name: "connection_lost",
        arrange: |r, action| {
            let client = Probe::new().on_made(|t| t.abort_connection());
            join(r, client.on_lost(move |t| act(&action, t)), Probe::new());
        },
    },
    Place {
        name: "a Connection's with",
        arrange: |r, action| {
            let port = listen_once(r, Probe::new());
            let connected = r.connect_tcp(port.local_addr(), Probe::new());
            connected.done(move |connection| {
                connection.unwrap().with(move |_, transport| act(&action, transport)).ignore();
            });
        },
    },
    Place {
        name: "started_connecting",
        arrange: |r, action| {
            let port = listen_once(r, Probe::new());
            let factory = Hears { started: Some(action), ..Hears::default() };
            r.connector_tcp(port.local_addr(), factory);
        },
    },
    Place {
        name: "connection_failed",
        arrange: |r, action| {
            r.call_soon(move |r| {
                // Asked for and stopped at once: no address to guess at.
                let factory = Hears { failed: Some(action), ..Hears::default() };
                let connector = r.connector_tcp("127.0.0.1:1", factory);
                connector.stop_connecting().unwrap();
            });
        },
    },
    Place { name: "port stopped", arrange: port_stopped },
];

/// Those of a reactor that starts but does not run yet.
pub(super) const STARTING: &[Place] = &[Place {
    name: "before startup",
    arrange: |reactor, action| {
        reactor.add_trigger(Phase::Before, Event::Startup, move |r| action(r));
    },
}];

/// Those of a reactor that stops.
pub(super) const STOPPING: &[Place] = &[
    Place { name: "before shutdown", arrange: |r, action| shutdown(r, Phase::Before, action) },
    Place { name: "connection_lost at shutdown", arrange: lost_at_shutdown },
    Place { name: "during shutdown", arrange: |r, action| shutdown(r, Phase::During, action) },
    Place { name: "after shutdown", arrange: |r, action| shutdown(r, Phase::After, action) },
];

const MOMENT: Duration = Duration::from_millis(1);

fn act(action: &Action, transport: &Transport) {
    action(&transport.reactor().unwrap());
}

fn doing(action: Action) -> Probe {
    Probe::new().on_made(move |transport| act(&action, transport))
}

fn speaker() -> Probe {
    Probe::new().on_made(|transport| transport.write(b"x"))
}

fn join(reactor: &Reactor, client: Probe, server: Probe) {
    let port = listen_once(reactor, server);
    reactor.connect_tcp(port.local_addr(), client).ignore();
}

thread_local! {
    /// What the call from "another thread" is to do, which cannot be sent there.
    static PARKED: RefCell<Option<Action>> = const { RefCell::new(None) };
}

fn remote_call(reactor: &Reactor, action: Action) {
    PARKED.set(Some(action));
    reactor.remote().call(|reactor| {
        let action = PARKED.take().unwrap();
        action(reactor);
    });
}

fn job(reactor: &Reactor, action: Action) {
    reactor.call_when_running(move |reactor| {
        let handle = reactor.clone();
        reactor.defer_to_thread(|| ()).done(move |_| action(&handle));
    });
}

fn look_up(reactor: &Reactor, action: Action) {
    let handle = reactor.clone();
    reactor.resolve("127.0.0.1").done(move |_| action(&handle));
}

fn task(reactor: &Reactor, action: Action) {
    let handle = reactor.clone();
    reactor.spawn(async move { action(&handle) }).ignore();
}

fn port_stopped(reactor: &Reactor, action: Action) {
    reactor.call_soon(move |reactor| {
        let handle = reactor.clone();
        let port = listen_once(reactor, Probe::new());
        port.stop_listening().done(move |_| action(&handle));
    });
}

fn shutdown(reactor: &Reactor, phase: Phase, action: Action) {
    reactor.add_trigger(phase, Event::Shutdown, move |reactor| action(reactor));
    reactor.call_soon(super::stop);
}

fn lost_at_shutdown(reactor: &Reactor, action: Action) {
    let client = Probe::new().on_made(|transport| super::stop(&transport.reactor().unwrap()));
    join(reactor, client.on_lost(move |transport| act(&action, transport)), Probe::new());
}

/// A factory that does something when it is told something.
#[derive(Default)]
struct Hears {
    build: Option<Action>,
    started: Option<Action>,
    failed: Option<Action>,
}

impl Factory for Hears {
    type Protocol = Probe;

    fn build_protocol(&mut self, link: &mut Link<'_>) -> Option<Probe> {
        if let Some(action) = &self.build {
            action(link.reactor());
        }
        Some(Probe::new())
    }

    fn started_connecting(&mut self, connector: &Connector) {
        if let Some(action) = &self.started {
            action(&connector.reactor());
        }
    }

    fn connection_failed(&mut self, connector: &Connector, _: &ConnectError) {
        if let Some(action) = &self.failed {
            action(&connector.reactor());
        }
    }
}

/// An action, and how often it was done.
pub(super) fn counted(action: impl Fn(&Reactor) + 'static) -> (Action, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let action: Action = Rc::new(move |reactor| {
        counter.set(counter.get() + 1);
        action(reactor);
    });
    (action, count)
}
