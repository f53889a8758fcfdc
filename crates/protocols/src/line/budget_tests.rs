//! Lines on a connection whose byte budget is spent: nothing is lost, and reading goes on in the middle of the line where it was.

use std::rc::Rc;

use marline_core::{CloseReason, Transport};

use super::{LineFormat, LineLink, LineProtocol, LineReceiver};
use crate::slow_reader::{
    BUDGET, SlowReader, Verbose, assert_counts_what_has_not_ended, assert_loses_nothing, thrifty,
};

impl LineProtocol for Verbose {
    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(10 * BUDGET)
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        self.answer(link.transport(), line);
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.lost(reason);
    }
}

#[test]
fn a_budget_spent_in_the_middle_of_a_line_loses_nothing() {
    let verbose = Verbose::default();
    let server = LineReceiver::new(verbose.clone());
    assert_loses_nothing(server, &verbose, |line| format!("{line}\r\n"));
}

#[test]
fn many_lines_in_one_receive_are_answered_a_budget_at_a_time() {
    let reactor = thrifty();
    let (client, verbose) = (SlowReader::default(), Verbose::default());
    let read = Rc::clone(&client.0);
    let (client, _server) = reactor.connect_pair(client, LineReceiver::new(verbose.clone()));
    client.transport().resume_reading();
    client.transport().write(&b"x\r\n".repeat(10_000));
    reactor.turn_until(|| read.borrow().len() == 10_000_000);
    verbose.assert_bounded();
}

#[test]
fn a_line_that_has_not_ended_counts_and_ends_the_connection_beyond_the_budget() {
    let verbose = Verbose::default();
    let server = LineReceiver::new(verbose.clone());
    let sent: [&[u8]; 3] = [&[b'x'; BUDGET], b"\r\n", &[b'x'; BUDGET + 1]];
    assert_counts_what_has_not_ended(server, &verbose, sent);
}
