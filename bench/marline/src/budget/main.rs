//! Serves readers that never read, with a byte budget for all of them together: `marline-budget (producers|broadcast) (pause|close)
//! HOST:PORT BUDGET`. How much memory that takes is measured from outside.
//!
//! `producers`: a push producer for each connection that writes for as long as it may. `broadcast`: the same bytes to all, again and
//! again, with no producers. On SIGTERM it says what became of them, as a line of JSON.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use marline_core::flow::Producer;
use marline_core::{Budgets, CloseReason, Protocol, Reactor, Transport, WhenSpent};

/// What is written at a time.
const CHUNK: [u8; 4096] = [b'b'; 4096];
/// How long a writer rests, so that it does not keep the loop to itself.
const REST: Duration = Duration::from_millis(2);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marline-budget: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, policy, addr, budget] = arguments.as_slice() else {
        return Err("usage: (producers|broadcast) (pause|close) HOST:PORT BUDGET".into());
    };
    let when_spent = match policy.as_str() {
        "pause" => WhenSpent::Pause,
        "close" => WhenSpent::Close,
        other => return Err(format!("no policy {other}").into()),
    };
    let budget: usize = budget.parse()?;
    let reactor = Reactor::from_boxed(marline_drivers::open(Some("epoll"))?.driver);
    reactor.set_budgets(Budgets { connection: Some(budget), reactor: Some(budget), when_spent });
    let written = Rc::new(Cell::new(0_u64));
    let members: Members = Rc::default();
    let port = match mode.as_str() {
        "producers" => {
            let written = Rc::clone(&written);
            reactor.listen_tcp(addr.as_str(), move || Fed { written: Rc::clone(&written) })?
        }
        "broadcast" => {
            let joined = Rc::clone(&members);
            broadcast(&reactor, Rc::clone(&members), Rc::clone(&written));
            reactor.listen_tcp(addr.as_str(), move || Member { members: Rc::clone(&joined) })?
        }
        other => return Err(format!("no mode {other}").into()),
    };
    let last = Rc::new(Cell::new(None));
    let kept = Rc::clone(&last);
    reactor.add_trigger(
        marline_core::Phase::Before,
        marline_core::Event::Shutdown,
        move |reactor| kept.set(Some(reactor.figures())),
    );
    reactor.run()?;
    drop(port);
    let figures = last.take().unwrap_or_default();
    println!(
        r#"{{"connections":{},"counted":{},"held_up":{},"ended":{},"written":{}}}"#,
        figures.connections,
        figures.counted,
        figures.held_up,
        figures.ended_by_budget,
        written.get()
    );
    Ok(())
}

/// A connection with a push producer that never ends.
struct Fed {
    written: Rc<Cell<u64>>,
}

impl Protocol for Fed {
    fn connection_made(&mut self, transport: &Transport) {
        let endless = Rc::new(Endless {
            to: transport.clone(),
            runs: Cell::new(true),
            written: Rc::clone(&self.written),
        });
        // A new connection has none.
        let _ = transport.register_producer(Rc::clone(&endless) as Rc<dyn Producer>, true);
        endless.go_on();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

struct Endless {
    to: Transport,
    runs: Cell<bool>,
    written: Rc<Cell<u64>>,
}

impl Endless {
    /// Writes, rests, writes again.
    fn go_on(self: Rc<Self>) {
        if self.runs.get() && self.to.is_open() {
            self.to.write(&CHUNK);
            self.written.set(self.written.get() + CHUNK.len() as u64);
        }
        if let Some(reactor) = self.to.reactor().filter(|_| self.to.is_open()) {
            reactor.call_later(REST, move |_| self.go_on());
        }
    }
}

impl Producer for Endless {
    fn resume_producing(&self) {
        self.runs.set(true);
    }

    fn pause_producing(&self) {
        self.runs.set(false);
    }

    fn stop_producing(&self) {
        self.runs.set(false);
    }
}

type Members = Rc<RefCell<Vec<Transport>>>;

/// A connection that everything is sent to.
struct Member {
    members: Members,
}

impl Protocol for Member {
    fn connection_made(&mut self, transport: &Transport) {
        self.members.borrow_mut().push(transport.clone());
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}

    fn connection_lost(&mut self, transport: &Transport, _reason: &CloseReason) {
        self.members.borrow_mut().retain(|member| member != transport);
    }
}

fn broadcast(reactor: &Reactor, members: Members, written: Rc<Cell<u64>>) {
    // A write calls nobody, so the list may be borrowed meanwhile.
    for member in members.borrow().iter() {
        member.write(&CHUNK);
        written.set(written.get() + CHUNK.len() as u64);
    }
    reactor.call_later(REST, move |reactor| broadcast(reactor, members, written));
}
