//! Lines on a connection whose byte budget is spent: nothing is lost, and reading goes on in the middle of the line where it was.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_core::testing::TestReactor;
use marline_core::{Budgets, CloseReason, Protocol, Transport};

use super::{LineFormat, LineLink, LineProtocol, LineReceiver};

const BUDGET: usize = 50_000;

/// Answers each line with a thousand bytes that begin with it.
#[derive(Default)]
struct Verbose {
    reason: Rc<RefCell<Option<CloseReason>>>,
    most: Rc<RefCell<usize>>,
}

impl LineProtocol for Verbose {
    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(10 * BUDGET)
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        let mut answer = [b'.'; 1000];
        let len = line.len().min(1000);
        answer[..len].copy_from_slice(&line[..len]);
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
fn a_budget_spent_in_the_middle_of_a_line_loses_nothing() {
    let reactor = TestReactor::new();
    reactor.set_budgets(small());
    let (client, server) = (Reader::default(), Verbose::default());
    let (read, most) = (Rc::clone(&client.0), Rc::clone(&server.most));
    let (client, server) = reactor.connect_pair(client, LineReceiver::new(server));
    let (client, server) = (client.transport(), server.transport());
    // Pieces that end in the middle of lines.
    let lines: String = (0..9000).map(|at| format!("line {at}\r\n")).collect();
    for piece in lines.as_bytes().chunks(1013) {
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
        assert!(answer.starts_with(format!("line {at}.").as_bytes()));
    }
    assert!(server.is_reading());
    assert_eq!(reactor.figures().counted, 0);
}

#[test]
fn many_lines_in_one_receive_are_answered_a_budget_at_a_time() {
    let reactor = TestReactor::new();
    reactor.set_budgets(small());
    let (client, server) = (Reader::default(), Verbose::default());
    let (read, most) = (Rc::clone(&client.0), Rc::clone(&server.most));
    let (client, _server) = reactor.connect_pair(client, LineReceiver::new(server));
    client.transport().resume_reading();
    client.transport().write(&b"x\r\n".repeat(10_000));
    reactor.turn_until(|| read.borrow().len() == 10_000_000);
    assert!(*most.borrow() <= 2 * BUDGET + 2000, "{most:?}");
}

#[test]
fn a_line_that_has_not_ended_counts_and_ends_the_connection_beyond_the_budget() {
    let reactor = TestReactor::new();
    reactor.set_budgets(small());
    let server = Verbose::default();
    let reason = Rc::clone(&server.reason);
    let (client, server) = reactor.connect_pair(Reader::default(), LineReceiver::new(server));
    let client = client.transport();
    client.write(&[b'x'; BUDGET]);
    reactor.advance(Duration::from_secs(5));
    assert_eq!(reactor.figures().input, BUDGET);
    assert!(server.transport().is_open());
    client.write(b"\r\n");
    reactor.advance(Duration::from_secs(5));
    assert_eq!(reactor.figures().input, 0, "the line has ended");
    client.write(&[b'x'; BUDGET + 1]);
    reactor.advance(Duration::from_secs(5));
    assert!(matches!(*reason.borrow(), Some(CloseReason::BudgetSpent)), "{reason:?}");
}
