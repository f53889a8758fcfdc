//! Frames on a connection whose byte budget is spent: nothing is lost, and reading goes on in the middle of the frame where it was.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_core::testing::TestReactor;
use marline_core::{Budgets, CloseReason, Protocol, Transport};

use super::{FrameLink, FrameProtocol, FrameReceiver};
use crate::netstring::Netstring;

const BUDGET: usize = 50_000;

/// Answers each frame with a thousand bytes that begin with it.
#[derive(Default)]
struct Verbose {
    reason: Rc<RefCell<Option<CloseReason>>>,
    most: Rc<RefCell<usize>>,
}

impl FrameProtocol for Verbose {
    type Format = Netstring;

    fn format(&self) -> Netstring {
        Netstring::new().with_limit(10 * BUDGET)
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, Netstring>, frame: &[u8]) {
        let mut answer = [b'.'; 1000];
        let len = frame.len().min(1000);
        answer[..len].copy_from_slice(&frame[..len]);
        link.write(&answer);
        let most = (*self.most.borrow()).max(link.pending());
        *self.most.borrow_mut() = most;
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        *self.reason.borrow_mut() = Some(reason.clone());
    }
}

/// Reads nothing until it is told to.
#[derive(Default)]
struct Reader(Rc<RefCell<Vec<u8>>>);

impl Protocol for Reader {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        self.0.borrow_mut().extend_from_slice(data);
    }
}

fn small() -> Budgets {
    Budgets { connection: Some(BUDGET), ..Budgets::default() }
}

#[test]
fn a_budget_spent_in_the_middle_of_a_frame_loses_nothing() {
    let reactor = TestReactor::new();
    reactor.set_budgets(small());
    let (client, server) = (Reader::default(), Verbose::default());
    let (read, most) = (Rc::clone(&client.0), Rc::clone(&server.most));
    let (client, server) = reactor.connect_pair(client, FrameReceiver::new(server));
    let (client, server) = (client.transport(), server.transport());
    // Pieces that end in the middle of frames.
    let frame = |at: usize| format!("frame {at}");
    let frames: String =
        (0..9000).map(|at| format!("{}:{},", frame(at).len(), frame(at))).collect();
    for piece in frames.as_bytes().chunks(1013) {
        client.write(piece);
    }
    reactor.advance(Duration::from_secs(5));
    assert!(server.is_open() && !server.is_reading(), "held");
    let figures = reactor.figures();
    assert!(figures.input > 0, "a part of what was received waits here: {figures:?}");
    // One answer more than the budget, in the callback that fills it, on top of what waits.
    assert!(*most.borrow() <= 2 * BUDGET + 2000, "{most:?}");
    client.resume_reading();
    reactor.turn_until(|| read.borrow().len() == 9_000_000);
    for (at, answer) in read.borrow().chunks(1000).enumerate() {
        assert!(answer.starts_with(format!("{}.", frame(at)).as_bytes()));
    }
    assert!(server.is_reading());
    assert_eq!(reactor.figures().counted, 0);
}

#[test]
fn a_frame_that_has_not_ended_counts_and_ends_the_connection_beyond_the_budget() {
    let reactor = TestReactor::new();
    reactor.set_budgets(small());
    let server = Verbose::default();
    let reason = Rc::clone(&server.reason);
    let (client, server) = reactor.connect_pair(Reader::default(), FrameReceiver::new(server));
    let client = client.transport();
    client.write(b"49994:");
    client.write(&[b'x'; BUDGET - 6]);
    reactor.advance(Duration::from_secs(5));
    assert_eq!(reactor.figures().input, BUDGET);
    assert!(server.transport().is_open());
    client.write(b",");
    reactor.advance(Duration::from_secs(5));
    assert_eq!(reactor.figures().input, 0, "the frame has ended");
    client.write(b"99999:");
    client.write(&[b'x'; BUDGET + 1]);
    reactor.advance(Duration::from_secs(5));
    assert!(matches!(*reason.borrow(), Some(CloseReason::BudgetSpent)), "{reason:?}");
}
