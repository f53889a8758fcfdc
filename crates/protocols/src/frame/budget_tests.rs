//! Frames on a connection whose byte budget is spent: nothing is lost, and reading goes on in the middle of the frame where it was.

use marline_core::{CloseReason, Transport};

use super::{FrameLink, FrameProtocol, FrameReceiver};
use crate::netstring::{Netstring, NetstringError};
use crate::slow_reader::{
    BUDGET, Verbose, assert_counts_what_has_not_ended, assert_forgets_what_never_ends,
    assert_loses_nothing,
};

impl FrameProtocol for Verbose {
    type Format = Netstring;

    fn format(&self) -> Netstring {
        Netstring::new().with_limit(10 * BUDGET)
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, Netstring>, frame: &[u8]) {
        self.answer(link.transport(), frame);
    }

    /// It stays and answers no more: what came of the frame must be gone from the account all the same.
    fn frame_refused(&mut self, _link: &mut FrameLink<'_, Netstring>, _error: NetstringError) {}

    fn read_connection_lost(&mut self, _link: &mut FrameLink<'_, Netstring>, _unended: &[u8]) {}

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.lost(reason);
    }
}

#[test]
fn a_budget_spent_in_the_middle_of_a_frame_loses_nothing() {
    let verbose = Verbose::default();
    let server = FrameReceiver::new(verbose.clone());
    assert_loses_nothing(server, &verbose, |frame| format!("{}:{frame},", frame.len()));
}

#[test]
fn a_frame_that_has_not_ended_counts_and_ends_the_connection_beyond_the_budget() {
    let verbose = Verbose::default();
    let server = FrameReceiver::new(verbose.clone());
    let first = [b"49994:".to_vec(), vec![b'x'; BUDGET - 6]].concat();
    let longer = [b"99999:".to_vec(), vec![b'x'; BUDGET + 1]].concat();
    assert_counts_what_has_not_ended(server, &verbose, [&first, b",", &longer]);
}

#[test]
fn a_frame_that_is_refused_or_never_ends_counts_no_more() {
    // No comma behind the ten bytes.
    assert_forgets_what_never_ends(
        || FrameReceiver::new(Verbose::default()),
        b"10:half",
        b" frame.",
    );
}
