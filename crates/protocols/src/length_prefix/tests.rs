//! Frames behind their length: known answers, every short stream against a model, every cut.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::cut;
use crate::frame::fuzz::{Reading, read};

/// The specification: format, stream, and what comes out of it.
#[test]
fn the_table_holds() {
    const U8: LengthPrefix = LengthPrefix::U8;
    const U16: LengthPrefix = LengthPrefix::U16;
    const U32: LengthPrefix = LengthPrefix::U32;
    #[rustfmt::skip]
    let table: &[(LengthPrefix, &[u8], &[&str], &str)] = &[
        (U8,  b"",                         &[],          "at 0"),
        (U8,  b"\x03abc\0\x01x",           &["abc", "", "x"], "at 7"),
        (U8,  b"\x03ab",                   &[],          "at 0"),
        (U8,  b"\xff",                     &[],          "at 0"),
        (U8.with_limit(2), b"\x02ab\x03",  &["ab"],      "frame of 3 bytes is above the limit of 2 at byte 3 of the stream"),
        (U8.with_limit(0), b"\0\0\x01",    &["", ""],    "frame of 1 bytes is above the limit of 0 at byte 2 of the stream"),
        (U16, b"\0\x03abc\0\0",            &["abc", ""], "at 7"),
        (U16, b"\0",                       &[],          "at 0"),
        (U16, b"\xff\xff",                 &[],          "at 0"),
        (U16.with_limit(258), b"\x01\x02", &[],          "at 0"),
        (U16.with_limit(257), b"\x01\x02", &[],          "frame of 258 bytes is above the limit of 257 at byte 0 of the stream"),
        (U32, b"\0\0\0\x03abc",            &["abc"],     "at 7"),
        (U32, b"\0\0\0",                   &[],          "at 0"),
        (U32, b"\0\x01\x86\x9f",           &[],          "at 0"),
        (U32, b"\0\x01\x86\xa0",           &[],          "frame of 100000 bytes is above the limit of 99999 at byte 0 of the stream"),
        (U32, b"\xff\xff\xff\xff",         &[],          "frame of 4294967295 bytes is above the limit of 99999 at byte 0 of the stream"),
        (U32.with_limit(usize::MAX), b"\xff\xff\xff\xffabc", &[], "at 0"),
    ];
    for &(format, stream, frames, end) in table {
        let reading = read(format, false, &[stream]);
        let texts: Vec<_> = reading.frames.iter().map(|f| String::from_utf8_lossy(f)).collect();
        assert_eq!(texts, frames, "{format:?} {}", stream.escape_ascii());
        let at = format!("at {}", reading.position);
        let got = reading.error.map_or(at, |error| error.to_string());
        assert_eq!(got, end, "{format:?} {}", stream.escape_ascii());
    }
}

/// Reading over the whole stream, without any care for speed.
fn model(format: LengthPrefix, stream: &[u8]) -> Reading<LengthPrefixError> {
    let (limit, mut frames, mut rest) = (format.limit(), Vec::new(), stream);
    let error = loop {
        let Some((prefix, content)) = rest.split_at_checked(format.width()) else { break None };
        let length: u32 = prefix.iter().rev().zip(0..).map(|(b, n)| u32::from(*b) << (8 * n)).sum();
        if length as usize > limit {
            let at = (stream.len() - rest.len()) as u64;
            break Some(LengthPrefixError::TooLong { length, limit, at });
        }
        let Some((frame, after)) = content.split_at_checked(length as usize) else { break None };
        frames.push(frame.to_vec());
        rest = after;
    };
    Reading { frames, position: stream.len() - rest.len(), error }
}

#[test]
fn every_short_stream_reads_as_the_model_says_however_it_is_cut() {
    let formats = [
        LengthPrefix::U8,
        LengthPrefix::U8.with_limit(1),
        LengthPrefix::U16,
        LengthPrefix::U16.with_limit(1),
        LengthPrefix::U32.with_limit(2),
    ];
    for stream in cut::every_stream(b"\0\x01\x02\xff", 6) {
        for format in formats {
            let expected = model(format, &stream);
            for pieces in cut::every_way(&stream) {
                assert_eq!(read(format, false, &pieces), expected, "{format:?} {pieces:?}");
            }
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read(format, true, &bytewise), expected, "{format:?} {stream:?}");
        }
    }
}

#[test]
fn long_random_streams_read_as_the_model_says_however_they_are_cut() {
    let mut draw = cut::noise();
    let widths = [LengthPrefix::U8, LengthPrefix::U16, LengthPrefix::U32];
    for _ in 0..2_000 {
        let (width, limit) = (widths[draw() % 3], draw() % 300);
        let mut stream = Vec::new();
        for _ in 0..draw() % 8 {
            let frame: Vec<u8> = (0..draw() % 250).map(|_| draw() as u8).collect();
            width.encode(&frame, &mut stream).unwrap();
        }
        let format = width.with_limit(limit);
        let pieces = cut::drawn(&stream, draw() as u8);
        assert_eq!(read(format, draw() & 1 == 1, &pieces), model(format, &stream), "{pieces:?}");
    }
}

#[test]
fn seeds_of_the_fuzzer_hold() {
    fuzz(b"");
    fuzz(b"\x01\x0f\x07\0\x03abc\0\0\x01\x02x");
    cut::corpus("length_prefix", fuzz);
}

#[test]
fn no_frame_is_longer_than_its_prefix_can_say() {
    let mut out = Vec::new();
    for (format, most) in [(LengthPrefix::U8, 255), (LengthPrefix::U16, 65_535)] {
        let format = format.with_limit(usize::MAX);
        assert_eq!(format.limit(), most);
        let error = TooLong { limit: most, length: most + 1 };
        assert_eq!(format.encode(&vec![0; most + 1], &mut out), Err(error));
        assert!(out.is_empty());
        format.encode(&vec![7; most], &mut out).unwrap();
        assert_eq!(read(format, false, &[&out]).frames, [vec![7; most]]);
        out.clear();
    }
    let small = LengthPrefix::U32.with_limit(2);
    assert_eq!(small.encode(b"abc", &mut out), Err(TooLong { limit: 2, length: 3 }));
    assert_eq!(LengthPrefix::U32.with_limit(usize::MAX).limit(), u32::MAX as usize);
}
