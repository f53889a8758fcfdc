//! For tests: a peer that reads nothing, a protocol that answers each message at length, and what must hold of any receiver between them when the
//! byte budget is spent.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use marline_core::testing::TestReactor;
use marline_core::{Budgets, CloseReason, Protocol, Transport};

/// What may wait on a connection here.
pub(crate) const BUDGET: usize = 50_000;

/// Reads nothing until it is told to.
#[derive(Default)]
pub(crate) struct SlowReader(pub(crate) Rc<RefCell<Vec<u8>>>);

impl Protocol for SlowReader {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.0.borrow_mut().extend_from_slice(data);
    }
}

/// What a protocol that answers at length has come to.
#[derive(Clone, Default)]
pub(crate) struct Verbose {
    reason: Rc<RefCell<Option<CloseReason>>>,
    most: Rc<Cell<usize>>,
}

impl Verbose {
    /// Answers a message with a thousand bytes that begin with it.
    pub(crate) fn answer(&self, transport: &Transport, message: &[u8]) {
        let mut answer = [b'.'; 1000];
        let len = message.len().min(1000);
        answer[..len].copy_from_slice(&message[..len]);
        transport.write(&answer);
        self.most.set(self.most.get().max(transport.pending()));
    }

    pub(crate) fn lost(&self, reason: &CloseReason) {
        *self.reason.borrow_mut() = Some(reason.clone());
    }

    /// One answer more than the budget, in the callback that fills it, on top of what waits.
    #[track_caller]
    pub(crate) fn assert_bounded(&self) {
        assert!(self.most.get() <= 2 * BUDGET + 2000, "{}", self.most.get());
    }
}

/// A reactor on which [`BUDGET`] may wait on each connection.
pub(crate) fn thrifty() -> TestReactor {
    let reactor = TestReactor::new();
    reactor.set_budgets(Budgets { connection: Some(BUDGET), ..Budgets::default() });
    reactor
}

/// Sends 9,000 messages, each `framed`, in pieces that end in their middle, to a peer whose answers nobody reads for a while: it is held, and nothing is
/// lost.
pub(crate) fn assert_loses_nothing(
    server: impl Protocol,
    verbose: &Verbose,
    framed: impl Fn(&str) -> String,
) {
    let reactor = thrifty();
    let client = SlowReader::default();
    let read = Rc::clone(&client.0);
    let (client, server) = reactor.connect_pair(client, server);
    let (client, server) = (client.transport(), server.transport());
    let message = |at: usize| format!("message {at}");
    let stream: String = (0..9000).map(|at| framed(&message(at))).collect();
    for piece in stream.as_bytes().chunks(1013) {
        client.write(piece);
    }
    reactor.advance(Duration::from_secs(5));
    assert!(server.is_open() && !server.is_reading(), "held");
    let figures = reactor.figures();
    assert!(figures.input > 0, "a part of what was received waits here: {figures:?}");
    verbose.assert_bounded();
    client.resume_reading();
    reactor.turn_until(|| read.borrow().len() == 9_000_000);
    for (at, answer) in read.borrow().chunks(1000).enumerate() {
        assert!(answer.starts_with(format!("{}.", message(at)).as_bytes()));
    }
    assert!(server.is_reading());
    assert_eq!(reactor.figures().counted, 0);
}

/// Sends exactly a budget of a message that has not ended, `first`, and its `end`: it counts until then. Then `longer`, more than the budget, which ends
/// the connection.
pub(crate) fn assert_counts_what_has_not_ended(
    server: impl Protocol,
    verbose: &Verbose,
    [first, end, longer]: [&[u8]; 3],
) {
    let reactor = thrifty();
    let (client, server) = reactor.connect_pair(SlowReader::default(), server);
    let client = client.transport();
    let send = |bytes: &[u8]| {
        client.write(bytes);
        reactor.advance(Duration::from_secs(5));
    };
    send(first);
    assert_eq!(reactor.figures().input, BUDGET);
    assert!(server.transport().is_open());
    send(end);
    assert_eq!(reactor.figures().input, 0, "the message has ended");
    send(longer);
    let reason = verbose.reason.borrow();
    assert!(matches!(*reason, Some(CloseReason::BudgetSpent)), "{reason:?}");
}

/// Sends a `half` of a message, which counts, and then what makes it none, or the end of the stream, behind which this side goes on: it counts no more.
pub(crate) fn assert_forgets_what_never_ends<P: Protocol>(
    server: impl Fn() -> P,
    half: &[u8],
    wrong: &[u8],
) {
    for refused in [true, false] {
        let reactor = thrifty();
        let (client, server) = reactor.connect_pair(SlowReader::default(), server());
        let client = client.transport();
        client.write(half);
        reactor.advance(Duration::from_secs(5));
        assert_eq!(reactor.figures().input, half.len());
        if refused {
            client.write(wrong);
        } else {
            client.lose_write_connection();
        }
        reactor.advance(Duration::from_secs(5));
        assert!(server.transport().is_open(), "the end of the connection would end its account");
        assert_eq!(reactor.figures().input, 0, "refused: {refused}");
    }
}
