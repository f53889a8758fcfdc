//! Properties of reading and writing lines: every cut, every short stream, work counted, modes
//! changed at each frame.
#![allow(clippy::unwrap_used)]

use super::fuzz::{Event, Reading, read};
use super::*;
use crate::carry::work;
use crate::cut;

const STOP: u8 = 0x80;
const TWISTED: Delimiter = Delimiter::exact(b"\r\n");

fn codec(limit: usize) -> LineCodec {
    LineCodec::new(LineFormat::default().with_limit(limit))
}

/// Reading as the words of the documentation say it, byte by byte, over the whole stream, without
/// any care for speed.
fn model(format: LineFormat, plan: u8, stream: &[u8]) -> Vec<Event> {
    let (mut lines, skip) = (0, plan & STOP == 0);
    let (limit, strict) = (format.limit(), format.delimiter() == Delimiter::CRLF);
    let lenient = format.delimiter() == Delimiter::CRLF_OR_LF;
    let needle: &[u8] = if lenient { b"\n" } else { format.delimiter().written() };
    let longest = format.delimiter().written().len();
    let mut events = Vec::new();
    let mut start = 0;
    'lines: loop {
        let line = &stream[start..];
        let mut bad = None;
        for end in 0..=line.len() {
            if end > 0 && strict {
                let at = (start + end - 1) as u64;
                let (byte, next) = (line[end - 1], line.get(end));
                if byte == b'\n' && (end < 2 || line[end - 2] != b'\r') && end <= limit + 1 {
                    bad = Some(LineError::BareLf { at });
                } else if byte == b'\r' && next.is_some_and(|&b| b != b'\n') && end <= limit + 1 {
                    bad = Some(LineError::BareCr { at });
                } else if byte != b'\r' && byte != b'\n' && end > limit {
                    bad = Some(LineError::TooLong { limit, at: (start + limit) as u64 });
                }
            }
            if bad.is_none() && line[..end].ends_with(needle) {
                let mut content = &line[..end - needle.len()];
                if lenient {
                    content = content.strip_suffix(b"\r").unwrap_or(content);
                }
                if content.len() <= limit {
                    events.push(Event::Line(content.to_vec()));
                    start += end;
                    let raw_follows = plan >> (lines % 4) & 1 == 1;
                    lines += 1;
                    let count = usize::from(plan >> 4 & 3).min(stream.len() - start);
                    if raw_follows && count > 0 {
                        events.push(Event::Raw(stream[start..start + count].to_vec()));
                        start += count;
                    }
                    continue 'lines;
                }
                bad = Some(LineError::TooLong { limit, at: (start + limit) as u64 });
            }
            if bad.is_none() && !strict && end == limit + longest {
                bad = Some(LineError::TooLong { limit, at: (start + limit) as u64 });
            }
            let Some(error) = bad else { continue };
            events.push(Event::Error(error));
            let (LineError::TooLong { at, .. }
            | LineError::BareCr { at }
            | LineError::BareLf { at }) = error;
            let from = at as usize;
            let found = stream[from..].windows(needle.len()).position(|w| w == needle);
            match found {
                Some(i) if skip => start = from + i + needle.len(),
                _ => return events,
            }
            continue 'lines;
        }
        return events;
    }
}

#[test]
fn every_short_stream_reads_as_the_model_says_however_it_is_cut() {
    let formats = [Delimiter::CRLF, Delimiter::CRLF_OR_LF, TWISTED, Delimiter::LF];
    for stream in cut::every_stream(b"a\r\n", 7) {
        for (delimiter, limit) in formats.iter().flat_map(|&d| [0, 1, 3, 7].map(|l| (d, l))) {
            let format = LineFormat::new(delimiter).with_limit(limit);
            for plan in [0, STOP] {
                let whole = read(format, plan, &[&stream]);
                assert_eq!(
                    whole.events,
                    model(format, plan, &stream),
                    "{format:?} {plan} {stream:?}"
                );
                for cuts in 0..1 << stream.len().saturating_sub(1) {
                    let cut = read(format, plan, &cut::at(&stream, cuts));
                    assert_eq!(cut, whole, "{format:?} {plan} {stream:?} {cuts:b}");
                }
            }
        }
    }
}

#[test]
fn a_delimiter_that_repeats_itself_is_found_at_its_first_place_however_it_is_cut() {
    for delimiter in [Delimiter::exact(b"aa"), Delimiter::exact(b"aba"), Delimiter::exact(b"aab")] {
        for (stream, limit) in cut::every_stream(b"ab", 8).flat_map(|s| [(s.clone(), 1), (s, 8)]) {
            let format = LineFormat::new(delimiter).with_limit(limit);
            let whole = read(format, 0, &[&stream]);
            assert_eq!(whole.events, model(format, 0, &stream), "{format:?} {stream:?}");
            for cuts in 0..1 << stream.len().saturating_sub(1) {
                let cut = read(format, 0, &cut::at(&stream, cuts));
                assert_eq!(cut, whole, "{format:?} {stream:?} {cuts:b}");
            }
        }
    }
}

#[test]
fn raw_bytes_after_any_line_and_a_rest_fed_again_read_the_same_however_they_are_cut() {
    for stream in cut::every_stream(b"a\r\n", 6) {
        for plan in (0..=255_u8).step_by(7) {
            let format = LineFormat::new(Delimiter::CRLF_OR_LF).with_limit(2);
            let whole = read(format, plan & !0x40, &[&stream]);
            assert_eq!(whole.events, model(format, plan, &stream), "{plan:b} {stream:?}");
            for cuts in [0b11111, 0b10101, 0b01010, 0b00100] {
                let cut = read(format, plan | 0x40, &cut::at(&stream, cuts));
                assert_eq!(cut, whole, "{plan:b} {stream:?} {cuts:b}");
            }
        }
    }
}

#[test]
fn long_random_streams_read_the_same_however_they_are_cut() {
    let mut draw = cut::noise();
    for _ in 0..3_000 {
        let mut data: Vec<u8> = (0..4).map(|_| draw() as u8).collect();
        for _ in 0..draw() % 300 {
            match draw() % 6 {
                0 => data.extend_from_slice(b"\r\n"),
                n => data.push(b"\0\r\nab\xff"[n]),
            }
        }
        fuzz(&data);
    }
}

#[test]
fn seeds_of_the_fuzzer_hold() {
    fuzz(b"");
    fuzz(b"\0\x10\x80\x05EHLO a\r\nMAIL FROM:<a@b>\r\nDATA\r\n.\n.\r\n");
    fuzz(b"\x01\x17\x31\x09a\nb\r\nraw\rc\r\r\n\n");
    fuzz(b"\x04\x03\x00\x01ababababaababa");
    cut::corpus("line", fuzz);
}

#[test]
fn what_is_written_is_read_as_one_line_and_what_is_refused_would_not_be() {
    let formats = [Delimiter::LF, TWISTED, Delimiter::exact(b"aa"), Delimiter::exact(b"aab")];
    for (line, delimiter) in
        cut::every_stream(b"ab\r\n", 5).flat_map(|l| formats.map(|d| (l.clone(), d)))
    {
        let format = LineFormat::new(delimiter).with_limit(9);
        let mut written = b"kept".to_vec();
        let result = format.encode(&line, &mut written);
        let stream = [&line, delimiter.written()].concat();
        let expected = Reading {
            events: vec![Event::Line(line.clone())],
            pending: Vec::new(),
            position: stream.len() as u64,
        };
        assert_eq!(result.is_ok(), read(format, 0, &[&stream]) == expected, "{format:?} {line:?}");
        assert_eq!(written[4..], if result.is_ok() { stream } else { Vec::new() });
    }
}

#[test]
fn neither_cr_nor_lf_is_written_inside_a_crlf_line() {
    let mut out = Vec::new();
    for delimiter in [Delimiter::CRLF, Delimiter::CRLF_OR_LF] {
        let format = LineFormat::new(delimiter).with_limit(4);
        for line in [b"a\nb", b"a\rb"] {
            assert_eq!(format.encode(line, &mut out), Err(EncodeError::Delimiter { at: 1 }));
        }
        let too_long = EncodeError::TooLong { limit: 4, length: 5 };
        assert_eq!(format.encode(b"abcde", &mut out), Err(too_long));
        assert!(out.is_empty());
    }
    LineFormat::new(Delimiter::CRLF_OR_LF).encode(b"abcd", &mut out).unwrap();
    assert_eq!(out, b"abcd\r\n");
}

#[test]
fn each_byte_is_looked_at_a_bounded_number_of_times_however_it_comes() {
    let mut lines = vec![b'a'; 20_000];
    lines.extend_from_slice(b"\r\nb\r\n");
    let hostile = b"\r".repeat(20_000);
    let newlines = b"\n".repeat(20_000);
    let formats = [Delimiter::CRLF, Delimiter::CRLF_OR_LF, TWISTED, Delimiter::exact(b"\r\r\n")];
    for (stream, delimiter) in
        [&lines, &hostile, &newlines].into_iter().flat_map(|s| formats.map(|d| (s, d)))
    {
        for (limit, size) in [(100, 1), (100, 4096), (30_000, 1), (30_000, 7), (30_000, 30_000)] {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let format = LineFormat::new(delimiter).with_limit(limit);
            let (work, bytes) = (work::of(|| drop(read(format, 0, &pieces))), stream.len());
            // Looked for, compared with the delimiter's other bytes, copied once.
            assert!(work <= 5 * bytes, "{work} for {bytes}: {delimiter:?} {limit} {size}");
            assert!(work >= bytes / 2, "nothing was counted");
        }
    }
}

#[test]
fn a_line_that_lies_whole_in_its_input_is_not_copied() {
    let input = b"one\r\ntwo\r\n";
    let mut codec = codec(9);
    let mut feed = codec.feed(input);
    for offset in [0, 5] {
        let Some(Frame::Line(line)) = feed.next_frame().unwrap() else { panic!("no line") };
        assert_eq!(line.as_ptr(), input[offset..].as_ptr());
    }
}

#[test]
fn memory_is_owned_only_while_a_line_is_cut_and_never_above_the_limit() {
    let mut codec = codec(1000);
    for _ in 0..1000 {
        assert_eq!(codec.feed(b"x").next_frame(), Ok(None));
        assert!(codec.held() <= 1002);
    }
    assert_eq!(codec.feed(b"\r").next_frame(), Ok(None));
    assert_eq!(codec.feed(b"\n").next_frame(), Ok(Some(Frame::Line(&[b'x'; 1000]))));
    assert_eq!(codec.held(), 0);
    assert_eq!(codec.feed(&[b'x'; 1000]).next_frame(), Ok(None));
    let error = LineError::TooLong { limit: 1000, at: 2002 };
    assert_eq!(codec.feed(b"x").next_frame(), Err(error));
    assert_eq!(codec.held(), 0);
    codec.skip_line();
    for _ in 0..5000 {
        assert_eq!(codec.feed(b"xxxxxxxxxxxx").next_frame(), Ok(None));
        assert_eq!(codec.held(), 0);
    }
}

#[test]
fn raw_mode_can_be_entered_after_each_line_and_left_in_the_middle_of_a_frame() {
    let stream = b"a\r\nb\r\nc\r\nd\r\n";
    for enter in 0..3 {
        for unused in 0..=stream.len() - 3 * (enter + 1) {
            let mut codec = codec(9);
            let mut feed = codec.feed(stream);
            for _ in 0..=enter {
                assert!(matches!(feed.next_frame(), Ok(Some(Frame::Line(_)))));
            }
            feed.codec().set_raw();
            let raw = &stream[3 * (enter + 1)..];
            assert_eq!(feed.next_frame(), Ok(Some(Frame::Raw(raw))));
            feed.end_raw(unused);
            assert_eq!(feed.codec().position(), (stream.len() - unused) as u64);
            let back = &stream[stream.len() - unused..];
            let alone = read(LineFormat::default().with_limit(9), STOP, &[back]);
            let first = feed.next_frame();
            match alone.events.first() {
                None => assert_eq!(first, Ok(None)),
                Some(Event::Line(line)) => assert_eq!(first, Ok(Some(Frame::Line(line)))),
                Some(_) => assert!(first.is_err()),
            }
        }
    }
}

#[test]
fn raw_mode_begins_with_the_unfinished_line_and_can_end_inside_it() {
    let mut codec = codec(9);
    assert_eq!(codec.feed(b"abcd\r").next_frame(), Ok(None));
    codec.set_raw_for(3);
    let mut feed = codec.feed(b"\nx");
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Raw(b"abc"))));
    feed.end_raw(1);
    assert_eq!(feed.codec().position(), 2);
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Line(b"cd"))));
    feed.codec().set_raw();
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Raw(b"x"))));
    assert_eq!(feed.next_frame(), Ok(None));
    assert!(codec.is_raw());
    codec.set_lines();
    assert_eq!((codec.is_raw(), codec.position(), codec.pending()), (false, 7, &b""[..]));
}

#[test]
#[should_panic(expected = "end_raw takes back more than the last raw frame had")]
fn only_the_last_raw_frame_can_be_taken_back() {
    let mut codec = codec(9);
    codec.set_raw_for(1);
    let mut feed = codec.feed(b"xa\r\n");
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Raw(b"x"))));
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Line(b"a"))));
    feed.end_raw(1);
}

#[test]
fn the_rest_can_be_kept_after_each_frame_and_read_later() {
    let stream = b"a\r\nbb\r\n\r\nc";
    for frames in 0..=3 {
        let mut codec = codec(9);
        let mut feed = codec.feed(stream);
        for _ in 0..frames {
            assert!(matches!(feed.next_frame(), Ok(Some(Frame::Line(_)))));
        }
        let rest = feed.rest();
        assert_eq!(rest, &stream[[0, 3, 7, 9][frames]..]);
        assert!(codec.pending().is_empty());
        let mut lines = 0;
        let mut feed = codec.feed(rest);
        while feed.next_frame().unwrap().is_some() {
            lines += 1;
        }
        assert_eq!((lines, codec.take_pending()), (3 - frames, b"c".to_vec()));
    }
}

#[test]
fn an_error_stays_until_the_line_is_skipped() {
    let mut codec = codec(9);
    let mut feed = codec.feed(b"a\r\nb\nc\r\nd\r\n");
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Line(b"a"))));
    for _ in 0..2 {
        assert_eq!(feed.next_frame(), Err(LineError::BareLf { at: 4 }));
    }
    feed.codec().set_raw();
    assert_eq!(feed.next_frame(), Err(LineError::BareLf { at: 4 }));
    feed.codec().set_lines();
    let rest = feed.rest();
    assert_eq!((rest, codec.position()), (&b"\nc\r\nd\r\n"[..], 4));
    assert_eq!(codec.feed(rest).next_frame(), Err(LineError::BareLf { at: 4 }));
    codec.skip_line();
    codec.set_raw_for(0);
    // The lone LF ends nothing: "c" belongs to the bad line.
    assert_eq!(codec.feed(rest).next_frame(), Ok(Some(Frame::Line(b"d"))));
}

#[test]
#[should_panic(expected = "a delimiter has at least one byte")]
fn a_delimiter_without_bytes_is_refused() {
    let _ = Delimiter::exact(b"");
}

#[test]
fn a_format_without_limit_reads_and_writes() {
    for delimiter in [Delimiter::CRLF, Delimiter::CRLF_OR_LF, TWISTED] {
        let format = LineFormat::new(delimiter).with_limit(usize::MAX);
        let mut out = Vec::new();
        format.encode(b"abc", &mut out).unwrap();
        assert_eq!(read(format, 0, &[&out]).events, [Event::Line(b"abc".to_vec())]);
    }
}

#[test]
fn a_smaller_limit_counts_for_the_unfinished_line() {
    let mut codec = codec(9);
    assert_eq!(codec.feed(b"abcdef\r").next_frame(), Ok(None));
    codec.set_limit(4);
    let mut feed = codec.feed(b"\nok\r\n");
    assert_eq!(feed.next_frame(), Err(LineError::TooLong { limit: 4, at: 4 }));
    assert_eq!(feed.codec().pending(), b"ef\r");
    feed.codec().skip_line();
    assert_eq!(feed.next_frame(), Ok(Some(Frame::Line(b"ok"))));
}
