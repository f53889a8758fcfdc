//! Lines on a connection whose byte budget is spent: nothing is lost, and reading goes on in the middle of the line where it was.

use std::rc::Rc;

use marline_core::{CloseReason, Transport};

use super::{LineError, LineFormat, LineLink, LineProtocol, LineReceiver, Refused};
use crate::slow_reader::{
    BUDGET, SlowReader, Verbose, assert_counts_what_has_not_ended, assert_forgets_what_never_ends,
    assert_loses_nothing, thrifty,
};

impl LineProtocol for Verbose {
    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(10 * BUDGET)
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        self.answer(link.transport(), line);
    }

    fn line_refused(&mut self, _link: &mut LineLink<'_>, _error: LineError) -> Refused {
        // It stays and answers no more: what came of the line must be gone from the account all the same.
        Refused::Stop
    }

    fn read_connection_lost(&mut self, _link: &mut LineLink<'_>, _unended: &[u8]) {}

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

#[test]
fn a_line_that_is_refused_or_never_ends_counts_no_more() {
    // A bare LF is no end of a line.
    assert_forgets_what_never_ends(|| LineReceiver::new(Verbose::default()), b"half a", b" line\n");
}

#[test]
fn what_is_left_of_a_line_that_is_skipped_counts_no_more() {
    struct Skip;

    impl LineProtocol for Skip {
        fn line_received(&mut self, _: &mut LineLink<'_>, _: &[u8]) {}

        fn line_refused(&mut self, _: &mut LineLink<'_>, _: LineError) -> Refused {
            Refused::Skip
        }

        fn read_connection_lost(&mut self, _: &mut LineLink<'_>, _: &[u8]) {}
    }

    assert_forgets_what_never_ends(|| LineReceiver::new(Skip), b"half a", b" line\n of which more");
}
