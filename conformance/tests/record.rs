//! The contract can be recorded and replayed: a wrapper that keeps every answer of a driver, and a driver that gives the same answers again without a
//! network. What ships for users comes later; this proves that nothing but the contract is needed for it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use marline_conformance::{Ground, on_every_driver};
use marline_core::driver::{
    Capability, Close, Completion, ConnectFault, ConnectOptions, Driver, Handle, ListenOptions,
    OsError, Outgoing, Sent, SocketOption, Waker, Woken,
};
use marline_core::testing::CapturedLog;
use marline_core::{Addr, CloseReason, Protocol, Reactor, Time, Transport};

/// One answer of a driver.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Now(Time),
    Wall(SystemTime),
    Seed([u8; 32]),
    Waited(Woken),
    Next(Option<Completion>, Vec<u8>),
    Listening(Result<(Handle, Addr), OsError>),
    Connecting(Result<Handle, ConnectFault>),
    SentNow(Option<usize>),
    Sent(Sent),
    Reclaimed,
    Shut(Result<(), OsError>),
    Addr(Option<Addr>),
}

/// What a run was told, and what it wrote.
#[derive(Default)]
struct Log {
    answers: VecDeque<Answer>,
    wrote: Vec<u8>,
}

type SharedLog = Rc<RefCell<Log>>;

/// Keeps every answer of a driver.
struct Record {
    driver: Box<dyn Driver>,
    log: SharedLog,
}

impl Record {
    fn keep(&self, answer: Answer) {
        self.log.borrow_mut().answers.push_back(answer);
    }
}

impl Driver for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    fn supports(&self, capability: Capability) -> bool {
        capability != Capability::Signals && self.driver.supports(capability)
    }

    fn now(&mut self) -> Time {
        let now = self.driver.now();
        self.keep(Answer::Now(now));
        now
    }

    fn wall_clock(&mut self) -> SystemTime {
        let wall = self.driver.wall_clock();
        self.keep(Answer::Wall(wall));
        wall
    }

    /// The one answer that is not kept.
    fn log_clock(&mut self) -> SystemTime {
        self.driver.log_clock()
    }

    fn seed(&mut self) -> [u8; 32] {
        let seed = self.driver.seed();
        self.keep(Answer::Seed(seed));
        seed
    }

    fn waker(&self) -> Waker {
        self.driver.waker()
    }

    fn wait(&mut self, until: Option<Time>) -> io::Result<Woken> {
        let woken = self.driver.wait(until)?;
        self.keep(Answer::Waited(woken));
        Ok(woken)
    }

    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        let completion = self.driver.next(scratch);
        let bytes = match completion {
            Some(Completion::Received { len, .. }) => scratch[..len].to_vec(),
            _ => Vec::new(),
        };
        self.keep(Answer::Next(completion, bytes));
        completion
    }

    fn listen(&mut self, addr: &Addr, options: &ListenOptions) -> Result<(Handle, Addr), OsError> {
        let answer = self.driver.listen(addr, options);
        self.keep(Answer::Listening(answer.clone()));
        answer
    }

    fn connect(&mut self, to: &Addr, options: &ConnectOptions) -> Result<Handle, ConnectFault> {
        let answer = self.driver.connect(to, options);
        self.keep(Answer::Connecting(answer));
        answer
    }

    fn receive(&mut self, handle: Handle, on: bool) {
        self.driver.receive(handle, on);
    }

    fn send_now(&mut self, conn: Handle, bytes: &[u8]) -> Option<usize> {
        let sent = self.driver.send_now(conn, bytes);
        self.log.borrow_mut().wrote.extend_from_slice(&bytes[..sent.unwrap_or(0)]);
        self.keep(Answer::SentNow(sent));
        sent
    }

    fn send(&mut self, conn: Handle, out: Outgoing<'_>) -> Sent {
        let sent = self.driver.send(conn, out);
        self.keep(Answer::Sent(sent));
        sent
    }

    fn reclaim(&mut self, conn: Handle) -> Vec<u8> {
        self.keep(Answer::Reclaimed);
        self.driver.reclaim(conn)
    }

    fn shutdown(&mut self, conn: Handle) -> Result<(), OsError> {
        let answer = self.driver.shutdown(conn);
        self.keep(Answer::Shut(answer));
        answer
    }

    fn close(&mut self, handle: Handle, how: Close) {
        self.driver.close(handle, how);
    }

    fn local_addr(&mut self, handle: Handle) -> Option<Addr> {
        let addr = self.driver.local_addr(handle);
        self.keep(Answer::Addr(addr.clone()));
        addr
    }

    fn peer_addr(&mut self, handle: Handle) -> Option<Addr> {
        let addr = self.driver.peer_addr(handle);
        self.keep(Answer::Addr(addr.clone()));
        addr
    }

    fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<(), OsError> {
        self.driver.set_option(handle, option)
    }

    fn option(&mut self, handle: Handle, option: SocketOption) -> Result<SocketOption, OsError> {
        self.driver.option(handle, option)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Gives the answers of a log again. A program that asks something else has diverged.
struct Replay {
    log: SharedLog,
    wrote: Rc<RefCell<Vec<u8>>>,
}

macro_rules! answer {
    ($self:ident, $kind:ident) => {{
        let answer = $self.log.borrow_mut().answers.pop_front();
        match answer {
            Some(Answer::$kind(value)) => value,
            other => panic!("asked for {}, but the log has {other:?}", stringify!($kind)),
        }
    }};
}

impl Driver for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn supports(&self, _: Capability) -> bool {
        false
    }

    fn now(&mut self) -> Time {
        answer!(self, Now)
    }

    fn wall_clock(&mut self) -> SystemTime {
        answer!(self, Wall)
    }

    fn seed(&mut self) -> [u8; 32] {
        answer!(self, Seed)
    }

    fn waker(&self) -> Waker {
        Arc::new(|| {})
    }

    fn wait(&mut self, _: Option<Time>) -> io::Result<Woken> {
        Ok(answer!(self, Waited))
    }

    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion> {
        let answer = self.log.borrow_mut().answers.pop_front();
        let Some(Answer::Next(completion, bytes)) = answer else { panic!("diverged: {answer:?}") };
        scratch[..bytes.len()].copy_from_slice(&bytes);
        completion
    }

    fn listen(&mut self, _: &Addr, _: &ListenOptions) -> Result<(Handle, Addr), OsError> {
        answer!(self, Listening)
    }

    fn connect(&mut self, _: &Addr, _: &ConnectOptions) -> Result<Handle, ConnectFault> {
        answer!(self, Connecting)
    }

    fn receive(&mut self, _: Handle, _: bool) {}

    fn send_now(&mut self, _: Handle, bytes: &[u8]) -> Option<usize> {
        let sent = answer!(self, SentNow);
        self.wrote.borrow_mut().extend_from_slice(&bytes[..sent.unwrap_or(0)]);
        sent
    }

    fn send(&mut self, _: Handle, out: Outgoing<'_>) -> Sent {
        let sent = answer!(self, Sent);
        if let (Outgoing::Buffer(buffer, _), Sent::InFlight(_)) = (out, sent) {
            buffer.clear();
        }
        sent
    }

    fn reclaim(&mut self, _: Handle) -> Vec<u8> {
        let answer = self.log.borrow_mut().answers.pop_front();
        assert_eq!(answer, Some(Answer::Reclaimed));
        Vec::new()
    }

    fn shutdown(&mut self, _: Handle) -> Result<(), OsError> {
        answer!(self, Shut)
    }

    fn close(&mut self, _: Handle, _: Close) {}

    fn local_addr(&mut self, _: Handle) -> Option<Addr> {
        answer!(self, Addr)
    }

    fn peer_addr(&mut self, _: Handle) -> Option<Addr> {
        answer!(self, Addr)
    }

    fn set_option(&mut self, _: Handle, _: SocketOption) -> Result<(), OsError> {
        Ok(())
    }

    fn option(&mut self, _: Handle, _: SocketOption) -> Result<SocketOption, OsError> {
        Ok(SocketOption::NoDelay(true))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

// ---- a program that depends on all of it

type Diary = Rc<RefCell<Vec<String>>>;

struct Dice {
    reactor: Reactor,
    diary: Diary,
    name: &'static str,
    left: u32,
}

impl Dice {
    fn note(&self, what: String) {
        let line = format!("{} {}: {what}", self.reactor.now(), self.name);
        self.diary.borrow_mut().push(line);
    }

    fn roll(&mut self, transport: &Transport) {
        let (length, pause) = self.reactor.rng(|rng| (rng.below(5000) + 1, rng.below(3)));
        transport.write(&vec![length as u8; length as usize]);
        self.left -= 1;
        let (transport, left) = (transport.clone(), self.left);
        self.reactor.call_later(Duration::from_millis(pause), move |_| {
            match transport.connection::<Self>() {
                Some(me) if left > 0 => me.with(|me, transport| me.roll(transport)).ignore(),
                _ => transport.lose_connection(),
            }
        });
    }
}

impl Protocol for Dice {
    fn connection_made(&mut self, transport: &Transport) {
        self.note(format!("made with {}", transport.peer_addr()));
        if self.left > 0 {
            self.roll(transport);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        self.note(format!("{} bytes of {}", data.len(), data[0]));
        if self.left == 0 {
            transport.write(data);
        }
    }

    fn connection_lost(&mut self, _: &Transport, reason: &CloseReason) {
        self.note(format!("lost: {reason}"));
        if self.name == "client" {
            let _ = self.reactor.stop();
        }
    }
}

/// The program: a setup function, as every program should have one.
fn program(reactor: &Reactor, diary: &Diary) {
    let (server, made) = (reactor.clone(), Rc::clone(diary));
    let factory =
        move || Dice { reactor: server.clone(), diary: Rc::clone(&made), name: "server", left: 0 };
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let client =
        Dice { reactor: reactor.clone(), diary: Rc::clone(diary), name: "client", left: 20 };
    reactor.connect_tcp(port.local_addr(), client).ignore();
}

on_every_driver!(a_recorded_run_replays_without_a_network, |ground| {
    let (log, diary) = (SharedLog::default(), Diary::default());
    let reactor = Reactor::new(Record { driver: driver_of(ground), log: Rc::clone(&log) });
    program(&reactor, &diary);
    reactor.run().unwrap();
    drop(reactor);
    assert!(diary.borrow().len() > 20, "{:?}", diary.borrow());
    let written = std::mem::take(&mut log.borrow_mut().wrote);

    // What is logged, and that it has a time, is no input: the run was recorded without a log, and is replayed with one.
    let captured = CapturedLog::start();
    let (again, wrote) = (Diary::default(), Rc::default());
    let reactor = Reactor::new(Replay { log: Rc::clone(&log), wrote: Rc::clone(&wrote) });
    program(&reactor, &again);
    reactor.run().unwrap();
    drop(reactor);
    assert_eq!(*diary.borrow(), *again.borrow());
    assert_eq!(written, *wrote.borrow());
    assert!(log.borrow().answers.is_empty(), "{} answers unasked", log.borrow().answers.len());
    assert!(captured.events().iter().any(|event| event.name == "port_opened"));
});

/// A byte that goes to and fro until it has been back `left` times.
struct Ping {
    left: u32,
}

impl Protocol for Ping {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
        self.left -= 1;
        if self.left == 0 {
            let _ = transport.reactor().unwrap().stop();
        }
    }
}

/// What a driver that knows whether a deadline may have come is there for.
#[test]
fn a_turn_with_timers_pending_but_none_due_reads_no_clock() {
    let (turns, clocks) = turns_and_clocks(|reactor| {
        // In one turn, which has one time.
        reactor.call_soon(|reactor| {
            for more in 0..1000 {
                reactor.call_later(Duration::from_secs(3600 + more), |_| {});
            }
        });
    });
    assert!(turns > 1000 && clocks < 20, "the clock was read {clocks} times in {turns} turns");
}

#[test]
fn after_a_burst_of_timers_the_turns_that_follow_look_until_memory_is_given_back() {
    let (turns, clocks) = turns_and_clocks(|reactor| {
        let hour = Duration::from_secs(3600);
        reactor.call_later(hour, |_| {});
        reactor.call_soon(move |reactor| {
            let calls: Vec<_> = (0..100_000).map(|_| reactor.call_later(hour, |_| {})).collect();
            assert!(calls.iter().all(|call| call.cancel().is_ok()));
        });
    });
    assert!(turns > 1000, "{turns} turns");
    // A thousand or so are given back in a turn.
    assert!((50..200).contains(&clocks), "the clock was read {clocks} times");
}

/// How many turns a conversation took, and how often the clock was read.
fn turns_and_clocks(before: impl FnOnce(&Reactor)) -> (usize, usize) {
    let log = SharedLog::default();
    let driver = driver_of(Ground { driver: "epoll" });
    let reactor = Reactor::new(Record { driver, log: Rc::clone(&log) });
    before(&reactor);
    let port = reactor.listen_tcp("127.0.0.1:0", || Ping { left: 1000 }).unwrap();
    let connected = reactor.connect_tcp(port.local_addr(), Ping { left: 1000 });
    connected.map(|connected| connected.transport().write(b"x")).ignore();
    reactor.run().unwrap();
    let answers = &log.borrow().answers;
    let count = |is: fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let turns = count(|answer| matches!(answer, Answer::Waited(_)));
    (turns, count(|answer| matches!(answer, Answer::Now(_))))
}

#[test]
fn timers_that_were_cancelled_end_one_wait_at_most() {
    let log = SharedLog::default();
    let driver = driver_of(Ground { driver: "epoll" });
    let reactor = Reactor::new(Record { driver, log: Rc::clone(&log) });
    reactor.call_later(Duration::from_millis(1), |reactor| {
        let calls: Vec<_> = (0..1000)
            .map(|micros| reactor.call_later(Duration::from_micros(20_000 + micros), |_| {}))
            .collect();
        reactor.call_later(Duration::from_millis(10), move |_| {
            assert!(calls.iter().all(|call| call.cancel().is_ok()));
        });
        reactor.call_later(Duration::from_millis(80), |reactor| reactor.stop().unwrap());
    });
    reactor.run().unwrap();
    let waits = |answer: &&Answer| matches!(answer, Answer::Waited(_));
    let waits = log.borrow().answers.iter().filter(waits).count();
    // For the first, the one that cancels, at most one that was cancelled, the last, and giving memory back after the burst.
    assert!(waits <= 6, "{waits} waits");
}

fn driver_of(ground: Ground) -> Box<dyn Driver> {
    match ground.driver {
        "sim" => Box::new(marline_core::sim::SimDriver::alone(3)),
        name => marline_drivers::open(Some(name)).unwrap().driver,
    }
}
