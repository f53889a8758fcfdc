//! Netstrings: known answers, every short stream against a model, every cut.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::cut;
use crate::frame::FrameCodec;
use crate::frame::fuzz::{Reading, read};

/// The specification: limit, stream, and what comes out of it.
#[test]
fn the_table_holds() {
    #[rustfmt::skip]
    let table: &[(usize, &[u8], &[&str], &str)] = &[
        // The two examples of the memo, in its own bytes.
        (99_999, &[0x31, 0x32, 0x3a, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x20, 0x77, 0x6f, 0x72, 0x6c, 0x64, 0x21, 0x2c],
                                    &["hello world!"], "at 16"),
        (99_999, b"0:,",            &[""],             "at 3"),
        (9, b"",                    &[],               "at 0"),
        (9, b"3:abc,0:,1:x,",       &["abc", "", "x"], "at 13"),
        (9, b"3:a,:,5:3:ab,,",      &["a,:", "3:ab,"], "at 14"),
        // What has not ended yet.
        (9, b"1:a,3",               &["a"],            "at 4"),
        (9, b"3:",                  &[],               "at 0"),
        (9, b"3:abc",               &[],               "at 0"),
        (9, b"0",                   &[],               "at 0"),
        // No length.
        (9, b":,",                  &[],               "no netstring length at byte 0 of the stream"),
        (9, b"1x:a,",               &[],               "no netstring length at byte 1 of the stream"),
        (9, b"-1:a,",               &[],               "no netstring length at byte 0 of the stream"),
        (9, b"+1:a,",               &[],               "no netstring length at byte 0 of the stream"),
        (9, b" 1:a,",               &[],               "no netstring length at byte 0 of the stream"),
        (9, b"1 :a,",               &[],               "no netstring length at byte 1 of the stream"),
        (9, b"1:a,\n",              &["a"],            "no netstring length at byte 4 of the stream"),
        (9, b"0x1:a,",              &[],               "no netstring length at byte 1 of the stream"),
        (9, "\u{664}:abcd,".as_bytes(), &[],           "no netstring length at byte 0 of the stream"),
        // A length that could be written shorter.
        (9, b"00:,",                &[],               "netstring length with a leading zero at byte 1 of the stream"),
        (9, b"01:a,",               &[],               "netstring length with a leading zero at byte 1 of the stream"),
        (9, b"1:a,007:",            &["a"],            "netstring length with a leading zero at byte 5 of the stream"),
        // Too long, known at the digit that makes it so.
        (9, b"9:123456789,",        &["123456789"],    "at 12"),
        (9, b"10",                  &[],               "netstring longer than 9 bytes at byte 1 of the stream"),
        (0, b"0:,1",                &[""],             "netstring longer than 0 bytes at byte 3 of the stream"),
        (99_999, b"99999:",         &[],               "at 0"),
        (99_999, b"100000",         &[],               "netstring longer than 99999 bytes at byte 5 of the stream"),
        (99_999, b"999999999999999999999999999", &[],  "netstring longer than 99999 bytes at byte 5 of the stream"),
        (usize::MAX, b"18446744073709551615:abc", &[], "at 0"),
        (usize::MAX, b"18446744073709551616", &[],     "netstring longer than 18446744073709551615 bytes at byte 19 of the stream"),
        // Not followed by a comma.
        (9, b"3:abcd,",             &[],               "netstring without comma at byte 5 of the stream"),
        (9, b"3:ab,x",              &[],               "netstring without comma at byte 5 of the stream"),
        (9, b"1:a,2:bc3:d,",        &["a"],            "netstring without comma at byte 8 of the stream"),
        (9, b"0:x",                 &[],               "netstring without comma at byte 2 of the stream"),
    ];
    for &(limit, stream, frames, end) in table {
        let reading = read(Netstring::new().with_limit(limit), false, &[stream]);
        let texts: Vec<_> = reading.frames.iter().map(|f| String::from_utf8_lossy(f)).collect();
        assert_eq!(texts, frames, "{limit} {}", stream.escape_ascii());
        let at = format!("at {}", reading.position);
        let got = reading.error.map_or(at, |error| error.to_string());
        assert_eq!(got, end, "{limit} {}", stream.escape_ascii());
    }
}

/// Reading as the memo says it, over the whole stream, without any care for speed.
fn model(limit: usize, stream: &[u8]) -> Reading<NetstringError> {
    let (mut frames, mut position) = (Vec::new(), 0);
    let error = loop {
        let rest = &stream[position..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).unwrap();
        let at = |offset: usize| (position + offset) as u64;
        // The first of its beginnings that is too long, or longer than it has to be.
        let too_long = (1..=digits).find(|n| text[..*n].parse::<usize>().unwrap() > limit);
        let leading = text.starts_with('0') && digits > 1;
        match (rest.get(digits), too_long) {
            _ if leading => break Some(NetstringError::LeadingZero { at: at(1) }),
            (_, Some(n)) => break Some(NetstringError::TooLong { limit, at: at(n - 1) }),
            (None, None) => break None,
            (Some(b':'), None) if digits > 0 => {}
            _ => break Some(NetstringError::Length { at: at(digits) }),
        }
        let comma = digits + 1 + text.parse::<usize>().unwrap();
        match rest.get(comma) {
            None => break None,
            Some(b',') => frames.push(rest[digits + 1..comma].to_vec()),
            Some(_) => break Some(NetstringError::Comma { at: at(comma) }),
        }
        position += comma + 1;
    };
    Reading { frames, position, error }
}

#[test]
fn every_short_stream_reads_as_the_model_says_however_it_is_cut() {
    for stream in cut::every_stream(b"012:,a", 6) {
        for limit in [0, 1, 11, usize::MAX] {
            let format = Netstring::new().with_limit(limit);
            let expected = model(limit, &stream);
            for pieces in cut::every_way(&stream) {
                assert_eq!(read(format, false, &pieces), expected, "{limit} {pieces:?}");
            }
            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read(format, true, &bytewise), expected, "{limit} {stream:?}");
        }
    }
}

#[test]
fn long_random_streams_read_as_the_model_says_however_they_are_cut() {
    let mut draw = cut::noise();
    for _ in 0..2_000 {
        let limit = draw() % 40;
        let format = Netstring::new().with_limit(limit);
        let mut stream = Vec::new();
        for _ in 0..draw() % 12 {
            let frame: Vec<u8> = (0..draw() % (limit + 1)).map(|_| draw() as u8).collect();
            format.encode(&frame, &mut stream).unwrap();
        }
        if draw().is_multiple_of(3) && !stream.is_empty() {
            let at = draw() % stream.len();
            stream[at] = b"019:,x"[draw() % 6];
        }
        let pieces = cut::drawn(&stream, draw() as u8);
        assert_eq!(read(format, draw() & 1 == 1, &pieces), model(limit, &stream), "{pieces:?}");
    }
}

#[test]
fn seeds_of_the_fuzzer_hold() {
    fuzz(b"");
    fuzz(b"\x0f\x07\x31\x32:hello world!,0:,3:a,:,");
    cut::corpus("netstring", fuzz);
}

#[test]
fn what_is_too_long_to_be_read_is_not_written() {
    let format = Netstring::new().with_limit(3);
    let mut out = b"kept".to_vec();
    assert_eq!(format.encode(b"abcd", &mut out), Err(TooLong { limit: 3, length: 4 }));
    assert_eq!(out, b"kept");
    format.encode(b"abc", &mut out).unwrap();
    assert_eq!(out, b"kept3:abc,");
    let mut codec = FrameCodec::new(Netstring::default());
    assert_eq!(
        codec.feed(b"100000").next_frame().unwrap_err(),
        NetstringError::TooLong { limit: 99_999, at: 5 }
    );
    assert_eq!(codec.held(), 0);
}
