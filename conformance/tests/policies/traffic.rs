//! What the traffic log says.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_protocols::policy::{TrafficFormat, TrafficLog};

use crate::streams::kit::{Ends, Probe};

/// A writer that keeps what it gets, up to where it breaks.
#[derive(Clone, Default)]
struct Paper {
    text: Rc<RefCell<Vec<u8>>>,
    room: usize,
}

impl Paper {
    fn lines(&self, peer: &str) -> Vec<String> {
        let text = String::from_utf8(self.text.borrow().clone()).unwrap();
        text.lines().map(|line| line.replace(peer, "PEER")).collect()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.borrow_mut();
        if text.len() + bytes.len() > self.room {
            return Err(io::Error::other("no more paper"));
        }
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One exchange of "hello\n" for "HELLO\n\0", and what was logged of it.
fn exchange(
    ground: marline_conformance::Ground,
    room: usize,
    log: fn(TrafficLog) -> TrafficLog,
) -> Vec<String> {
    let paper = Paper { room, ..Paper::default() };
    let sink = paper.clone();
    let mut policy = Some(log(TrafficLog::to_writer(sink)));
    let server = Probe::new()
        .on_made(move |transport| transport.start_policy(policy.take().unwrap()))
        .on_data(|transport, data| {
            transport.write(&data.to_ascii_uppercase());
            transport.write(b"\0");
        });
    let ends = Ends::join(ground, Probe::new(), server);
    ends.client.transport().write(b"hello\n");
    ends.until("the answer", |ends| ends.client.bytes() == b"HELLO\n\0");
    let totals = ends.server.transport().with_policy(|log: &mut TrafficLog| log.totals());
    assert_eq!(totals, Some((6, 7)));
    let peer = ends.server.transport().peer_addr().to_string();
    ends.client.transport().lose_connection();
    ends.until_lost();
    paper.lines(&peer)
}

on_every_driver!(a_line_for_each_piece_and_for_both_ends_of_the_connection, |ground| {
    let lines = exchange(ground, usize::MAX, |log| log);
    let end = "PEER closed cleanly, 6 received, 7 written";
    let expected = ["PEER connected", r#"PEER < 6 "hello\n""#, r#"PEER > 7 "HELLO\n\x00""#, end];
    assert_eq!(lines, expected);
});

on_every_driver!(hexadecimal_short_and_redacted, |ground| {
    let lines = exchange(ground, usize::MAX, |log| {
        log.with_format(TrafficFormat::Hex)
            .with_most(2)
            .with_redaction(|_, bytes| Cow::Owned(bytes.iter().map(|byte| byte & 0x0f).collect()))
    });
    assert_eq!(lines[1..3], ["PEER < 6 0805 and 4 more", "PEER > 7 0805 and 5 more"]);
});

on_every_driver!(a_writer_that_fails_is_left_alone_and_the_connection_goes_on, |ground| {
    assert_eq!(exchange(ground, 40, |log| log), ["PEER connected"]);
});
