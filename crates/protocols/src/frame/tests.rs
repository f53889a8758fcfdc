//! What holds for frames of every format: memory, time, copies; and the glue, with each format in turn.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use marline_core::testing::Step::{C, CBytes, Closed, End, S, SBytes, Silence};
use marline_core::testing::{Conversation, MemoryTransport, talk};
use marline_core::{CloseReason, Protocol, Transport};

use super::fuzz::read;
use super::*;
use crate::carry::work;
use crate::cut;
use crate::length_prefix::LengthPrefix;
use crate::line::{Delimiter, Frame, LineCodec, LineFormat};
use crate::netstring::{Netstring, NetstringError};

// ---- the codec

#[test]
fn a_frame_that_lies_whole_in_its_input_is_not_copied() {
    fn check<F: FrameFormat>(format: F, input: &[u8], offsets: [usize; 2]) {
        let mut codec = FrameCodec::new(format);
        let mut feed = codec.feed(input);
        for offset in offsets {
            let frame = feed.next_frame().unwrap().unwrap();
            assert_eq!(frame.as_ptr(), input[offset..].as_ptr());
        }
        assert_eq!(codec.held(), 0);
    }
    check(Netstring::new(), b"3:one,3:two,", [2, 8]);
    check(LengthPrefix::U16, b"\0\x03one\0\x03two", [2, 7]);
    check(LineFormat::default(), b"one\r\ntwo\r\n", [0, 5]);
}

#[test]
fn memory_grows_with_what_was_received_and_not_with_what_was_announced() {
    fn check<F: FrameFormat>(format: F, announced: &[u8], content: &[u8]) {
        let mut codec = FrameCodec::new(format);
        for piece in [announced, content].concat().chunks(1) {
            assert_eq!(codec.feed(piece).next_frame(), Ok(None));
            assert!(codec.held() <= 2 * codec.pending().len());
        }
        assert_eq!(codec.pending().len(), announced.len() + content.len());
    }
    check(LengthPrefix::U32.with_limit(usize::MAX), b"\xff\xff\xff\xff", &[7; 5000]);
    check(Netstring::new().with_limit(usize::MAX), b"18446744073709551615:", &[7; 5000]);
    check(LineFormat::default().with_limit(usize::MAX), b"", &[7; 5000]);
}

#[test]
fn memory_is_never_above_the_frame_and_is_gone_after_it() {
    let stream = [&b"1000:"[..], &[b'x'; 1000], b",1:a,"].concat();
    let mut codec = FrameCodec::new(Netstring::new());
    for piece in stream.chunks(7) {
        let mut feed = codec.feed(piece);
        while feed.next_frame().unwrap().is_some() {}
        assert!(codec.held() <= 1006);
    }
    assert_eq!((codec.held(), codec.position()), (0, stream.len() as u64));
}

#[test]
fn each_byte_is_looked_at_a_bounded_number_of_times_however_it_comes() {
    fn check<F: FrameFormat>(format: F, frames: &[&[u8]], most: usize) {
        let mut stream = Vec::new();
        for frame in frames {
            format.encode(frame, &mut stream).unwrap();
        }
        for size in [1, 7, 4096, stream.len()] {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let done = work::of(|| drop(read(format, false, &pieces)));
            assert!(done <= most * stream.len(), "{done} for {}: {format:?} {size}", stream.len());
            assert!(done > 0, "nothing was counted");
        }
    }
    let long = vec![7; 50_000];
    let frames: [&[u8]; 4] = [&long, b"", b"a", &long];
    // Copied once; and the head, of up to six bytes, is looked at anew with each piece.
    check(Netstring::new(), &frames, 1 + 6);
    check(LengthPrefix::U16, &frames, 1 + 2);
    check(LengthPrefix::U32, &frames, 1 + 4);
    check(LineFormat::default().with_limit(50_000), &frames, 5);
}

#[test]
fn lines_only_are_the_lines_of_the_line_codec() {
    let formats = [
        Delimiter::CRLF,
        Delimiter::CRLF_OR_LF,
        Delimiter::LF,
        Delimiter::exact(b"\r\n"),
        Delimiter::exact(b"aba"),
    ];
    for stream in cut::every_stream(b"ab\r\n", 6) {
        for (delimiter, limit) in formats.iter().flat_map(|&d| [0, 2, 9].map(|l| (d, l))) {
            let format = LineFormat::new(delimiter).with_limit(limit);
            let (mut lines, mut codec) = (Vec::new(), LineCodec::new(format));
            let mut feed = codec.feed(&stream);
            let error = loop {
                match feed.next_frame() {
                    Ok(Some(Frame::Line(line))) => lines.push(line.to_vec()),
                    Ok(Some(Frame::Raw(_))) => unreachable!("nobody asked for it"),
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            for pieces in [vec![&stream[..]], bytewise] {
                let only = read(format, false, &pieces);
                assert_eq!((only.frames, only.error), (lines.clone(), error), "{stream:?}");
            }
            fuzz::check(format, limit as u8, false, &stream);
        }
    }
}

#[test]
fn a_smaller_limit_counts_for_the_unfinished_frame() {
    let mut codec = FrameCodec::new(Netstring::new());
    assert_eq!(codec.feed(b"5:abc").next_frame(), Ok(None));
    codec.set_limit(4);
    let error = NetstringError::TooLong { limit: 4, at: 0 };
    let mut feed = codec.feed(b"de,");
    assert_eq!(feed.next_frame(), Err(error));
    assert_eq!(feed.rest(), b"de,");
    assert_eq!(codec.take_pending(), b"5:abc");
    codec.set_limit(9);
    assert_eq!(codec.feed(b"1:a,").next_frame(), Err(error), "an error stays");
}

#[test]
#[should_panic(expected = "an envelope's head has at most 23 bytes")]
fn an_envelope_with_too_long_a_head_is_refused() {
    let _ = Envelope::new(&[0; 24], b"");
}

// ---- the glue

/// Answers each frame with itself, and obeys a few words.
struct Obey<F> {
    format: F,
    heard: Rc<RefCell<Vec<String>>>,
    /// Hands over instead of closing when something is no frame.
    fall_back: bool,
}

struct Loud;

impl Protocol for Loud {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(b"LOUD ");
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(&data.to_ascii_uppercase());
    }
}

impl<F: FrameFormat> FrameProtocol for Obey<F> {
    type Format = F;

    fn format(&self) -> F {
        self.format
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, F>, frame: &[u8]) {
        self.heard.borrow_mut().push(String::from_utf8_lossy(frame).into_owned());
        match frame {
            b"LOUD" => return link.upgrade(Loud),
            b"PAUSE" => link.pause_reading(),
            b"SHORT" => link.set_limit(2),
            b"QUIT" => link.lose_connection(),
            b"ABORT" => link.abort_connection(),
            _ => {}
        }
        if link.send(frame).is_err() {
            link.send(b"!").unwrap();
        }
    }

    fn frame_refused(&mut self, link: &mut FrameLink<'_, F>, error: F::Error) {
        self.heard.borrow_mut().push(error.to_string());
        if self.fall_back {
            return link.upgrade(Loud);
        }
        link.lose_connection();
    }

    fn read_connection_lost(&mut self, link: &mut FrameLink<'_, F>, unended: &[u8]) {
        self.heard.borrow_mut().push(format!("unended {}", unended.escape_ascii()));
        link.lose_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.heard.borrow_mut().push(format!("lost {}", reason.is_clean()));
    }
}

fn obey<F: FrameFormat>(format: F) -> FrameReceiver<Obey<F>> {
    FrameReceiver::new(Obey { format, heard: Rc::default(), fall_back: false })
}

fn netstrings() -> FrameReceiver<Obey<Netstring>> {
    obey(Netstring::new().with_limit(9))
}

/// Calls `$check` with a receiver of each format.
macro_rules! with_every_format {
    ($check:ident) => {
        $check(Netstring::new().with_limit(9));
        $check(LengthPrefix::U8.with_limit(9));
        $check(LengthPrefix::U16.with_limit(9));
        $check(LengthPrefix::U32.with_limit(9));
        $check(LineFormat::default().with_limit(9));
    };
}

fn stream<F: FrameFormat>(format: F, frames: &[&str]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        format.encode(frame.as_bytes(), &mut stream).unwrap();
    }
    stream
}

#[test]
fn frames_are_told_one_by_one_however_they_are_cut() {
    fn check<F: FrameFormat>(format: F) {
        let said = stream(format, &["a", "", "bcdefghij"]);
        let steps = [CBytes(&said), SBytes(&said), Silence];
        talk(obey(format), &steps);
        Conversation::with_server(obey(format)).bytewise().hold(&steps);
    }
    with_every_format!(check);
}

#[test]
fn a_pause_in_the_middle_keeps_the_rest_for_the_resume() {
    fn check<F: FrameFormat>(format: F) {
        let transport = MemoryTransport::connect(obey(format));
        let said = stream(format, &["PAUSE", "b", "c"]);
        transport.receive(&said[..said.len() - 1]);
        assert_eq!(transport.take_written(), stream(format, &["PAUSE"]));
        assert_eq!(transport.with(|receiver, _| receiver.held()), 0);
        transport.transport().resume_reading();
        assert_eq!(transport.take_written(), stream(format, &["b"]));
        assert_ne!(transport.with(|receiver, _| receiver.held()), 0);
        transport.receive(&said[said.len() - 1..]);
        assert_eq!(transport.take_written(), stream(format, &["c"]));
    }
    with_every_format!(check);
}

#[test]
fn nothing_is_told_after_a_close_in_the_middle() {
    fn check<F: FrameFormat>(format: F) {
        for (word, clean) in [("QUIT", "lost true"), ("ABORT", "lost false")] {
            let mut receiver = obey(format);
            let heard = Rc::clone(&receiver.get_mut().heard);
            let transport = MemoryTransport::connect(receiver);
            transport.receive(&stream(format, &["a", word, "b"]));
            assert_eq!(transport.is_aborted(), word == "ABORT");
            assert_eq!(*heard.borrow(), ["a", word, clean]);
        }
    }
    with_every_format!(check);
}

#[test]
fn a_hand_over_in_the_middle_passes_on_what_was_not_used() {
    fn check<F: FrameFormat>(format: F) {
        let transport = MemoryTransport::connect(obey(format));
        transport.receive(&[&stream(format, &["LOUD"])[..], b"rest"].concat());
        transport.receive(b" more");
        assert_eq!(transport.take_written(), b"LOUD REST MORE");
    }
    with_every_format!(check);
}

#[test]
fn a_limit_can_be_changed_between_two_frames_that_arrived_at_once() {
    fn check<F: FrameFormat>(format: F) {
        let mut receiver = obey(format);
        let heard = Rc::clone(&receiver.get_mut().heard);
        let transport = MemoryTransport::connect(receiver);
        transport.receive(&stream(format, &["SHORT", "abc"]));
        // What is sent keeps to it as well.
        assert_eq!(transport.take_written(), stream(format, &["!"]));
        assert_eq!(heard.borrow().len(), 3);
        assert!(heard.borrow()[1].contains(" 2 "), "{heard:?}");
        assert_eq!(heard.borrow()[2], "lost true");
    }
    with_every_format!(check);
}

#[test]
fn what_is_no_frame_closes_and_nothing_behind_it_is_told() {
    talk(netstrings(), &[C("1:a,1x:b,1:c,"), S("1:a,"), Closed]);
    talk(netstrings(), &[C("10"), Closed]);
    let mut many = obey(LengthPrefix::U32);
    let heard = Rc::clone(&many.get_mut().heard);
    let transport = MemoryTransport::connect(many);
    transport.receive(b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x01b");
    assert_eq!(transport.take_written(), b"\0\0\0\x01a");
    assert!(transport.reason().unwrap().is_clean());
    let refused = "frame of 4294967295 bytes is above the limit of 99999 at byte 5 of the stream";
    assert_eq!(*heard.borrow(), ["a", refused, "lost true"]);
}

#[test]
fn who_leaves_a_refused_connection_open_is_told_nothing_more_and_holds_nothing() {
    struct Deaf(Rc<RefCell<Vec<Vec<u8>>>>);

    impl FrameProtocol for Deaf {
        type Format = Netstring;

        fn format(&self) -> Netstring {
            Netstring::new()
        }

        fn frame_received(&mut self, _: &mut FrameLink<'_, Netstring>, frame: &[u8]) {
            self.0.borrow_mut().push(frame.to_vec());
        }

        fn frame_refused(&mut self, _: &mut FrameLink<'_, Netstring>, _: NetstringError) {
            self.0.borrow_mut().push(b"refused".to_vec());
        }
    }

    let heard = Rc::default();
    let transport = MemoryTransport::connect(FrameReceiver::new(Deaf(Rc::clone(&heard))));
    transport.receive_bytewise(b"3:abcd1:e,1:f,");
    assert_eq!(*heard.borrow(), [b"refused"]);
    assert!(transport.is_open());
    assert_eq!(transport.with(|receiver, _| receiver.held()), 0);
}

#[test]
fn a_fall_back_gets_everything_from_the_bad_frame_on() {
    for cut in 0..14 {
        let mut receiver = netstrings();
        receiver.get_mut().fall_back = true;
        let transport = MemoryTransport::connect(receiver);
        let (first, second) = b"1:a,3:bc x and".split_at(cut);
        transport.receive(first);
        transport.receive(second);
        assert_eq!(transport.take_written(), b"1:a,LOUD 3:BC X AND", "cut at {cut}");
    }
}

#[test]
fn a_stream_that_ends_anywhere_tells_whole_frames_and_the_unended_one() {
    fn check<F: FrameFormat>(format: F) {
        let said = stream(format, &["ab", "", "cde"]);
        for end in 0..=said.len() {
            let whole = read(format, false, &[&said[..end]]);
            let mut expected: Vec<String> =
                whole.frames.iter().map(|f| String::from_utf8(f.clone()).unwrap()).collect();
            for reset in [false, true] {
                let mut receiver = obey(format);
                let heard = Rc::clone(&receiver.get_mut().heard);
                let transport = MemoryTransport::connect(receiver);
                transport.receive_bytewise(&said[..end]);
                if reset {
                    transport.lose(std::io::ErrorKind::ConnectionReset);
                    let lost = [&expected[..], &["lost false".into()]].concat();
                    assert_eq!(*heard.borrow(), lost, "{format:?} {end}");
                } else {
                    transport.end_of_stream();
                    let unended = said[whole.position..end].escape_ascii();
                    expected.push(format!("unended {unended}"));
                    expected.push("lost true".into());
                    assert_eq!(*heard.borrow(), expected, "{format:?} {end}");
                    expected.truncate(expected.len() - 2);
                }
            }
        }
    }
    with_every_format!(check);
}

#[test]
fn frames_can_be_sent_from_elsewhere() {
    let transport = MemoryTransport::connect(netstrings());
    let clone = transport.transport().clone();
    send(&clone, Netstring::new(), b"news").unwrap();
    let too_long = TooLong { limit: 3, length: 4 };
    assert_eq!(send(&clone, Netstring::new().with_limit(3), b"news"), Err(too_long));
    assert_eq!(transport.take_written(), b"4:news,");
}

#[test]
fn by_default_the_end_of_the_stream_and_a_refusal_close_cleanly() {
    struct Plain;

    impl FrameProtocol for Plain {
        type Format = LineFormat;

        fn format(&self) -> LineFormat {
            LineFormat::default().with_limit(3)
        }

        fn frame_received(&mut self, link: &mut FrameLink<'_, LineFormat>, line: &[u8]) {
            link.send(line).unwrap();
        }
    }

    talk(FrameReceiver::new(Plain), &[C("abc\r\nd"), S("abc\r\n"), End, Closed]);
    talk(FrameReceiver::new(Plain), &[C("abc\r\nabcd"), S("abc\r\n"), Closed]);
}
