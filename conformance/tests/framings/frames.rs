//! Frames of every format over real and simulated connections: whole, in order, through pauses and hand-overs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use marline_conformance::{Ground, on_every_driver};
use marline_core::{Protocol, Transport};
use marline_protocols::frame::{FrameFormat, FrameLink, FrameProtocol, FrameReceiver};
use marline_protocols::length_prefix::LengthPrefix;
use marline_protocols::line::{Delimiter, LineFormat};
use marline_protocols::netstring::Netstring;

use crate::streams::kit::{Probe, assert_same, pattern, started, turn_until};

/// Sends frames back, and rests after every seventh; hands over to [`Raw`] at the word for it.
struct Back<F> {
    format: F,
    count: usize,
}

/// Sends bytes back as they come.
struct Raw;

impl Protocol for Raw {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

impl<F: FrameFormat> FrameProtocol for Back<F> {
    type Format = F;

    fn format(&self) -> F {
        self.format
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, F>, frame: &[u8]) {
        link.send(frame).unwrap();
        if frame == b"RAW" {
            return link.upgrade(Raw);
        }
        self.count += 1;
        if self.count.is_multiple_of(7) {
            link.pause_reading();
            let transport = link.transport().clone();
            let resume = move |_: &_| transport.resume_reading();
            link.reactor().unwrap().call_later(Duration::from_millis(1), resume);
        }
    }
}

fn echoed<F: FrameFormat>(ground: Ground, format: F) {
    let reactor = started(ground);
    let factory = move || FrameReceiver::new(Back { format, count: 0 });
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let mut sent = Vec::new();
    for length in [0, 1, 2, 9, 10, 99, 100, 255, 0, 3].into_iter().cycle().take(300) {
        let frame: Vec<u8> = pattern(length).iter().map(|byte| byte % 64 + 32).collect();
        format.encode(&frame, &mut sent).unwrap();
    }
    format.encode(b"RAW", &mut sent).unwrap();
    // What is no frame any more.
    sent.extend_from_slice(b"9999999:\xff\xff\xff\xff\r\r\n");
    let first = sent.clone();
    let client = Probe::new().on_made(move |transport| transport.write(&first));
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "all of it", || tape.received() >= sent.len());
    assert_same(&tape.bytes(), &sent);
}

on_every_driver!(frames_of_every_format_come_back_whole_and_in_order, |ground| {
    echoed(ground, Netstring::new());
    echoed(ground, LengthPrefix::U8);
    echoed(ground, LengthPrefix::U16);
    echoed(ground, LengthPrefix::U32);
    echoed(ground, LineFormat::default());
    echoed(ground, LineFormat::new(Delimiter::NUL));
});

/// Notes what is refused, and closes.
#[derive(Clone, Default)]
struct Strict(Rc<RefCell<Vec<String>>>);

impl FrameProtocol for Strict {
    type Format = LengthPrefix;

    fn format(&self) -> LengthPrefix {
        LengthPrefix::U32
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, LengthPrefix>, frame: &[u8]) {
        link.send(frame).unwrap();
    }

    fn frame_refused(
        &mut self,
        link: &mut FrameLink<'_, LengthPrefix>,
        error: <LengthPrefix as FrameFormat>::Error,
    ) {
        self.0.borrow_mut().push(error.to_string());
        link.lose_connection();
    }
}

on_every_driver!(what_was_answered_before_an_oversize_frame_arrives_and_then_the_end, |ground| {
    let reactor = started(ground);
    let strict = Strict::default();
    let refused = Rc::clone(&strict.0);
    let factory = move || FrameReceiver::new(strict.clone());
    let port = reactor.listen_tcp("127.0.0.1:0", factory).unwrap();
    let client = Probe::new().on_made(|transport| {
        transport.write(b"\0\0\0\x02ok\xff\xff\xff\xff");
    });
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "the end", || tape.is_lost());
    assert_eq!(tape.bytes(), b"\0\0\0\x02ok");
    assert_eq!(tape.reason(), "Done");
    let error = "frame of 4294967295 bytes is above the limit of 99999 at byte 6 of the stream";
    assert_eq!(*refused.borrow(), [error]);
});
