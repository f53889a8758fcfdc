//! What must hold for every stream of bytes, however it is cut: the body of the fuzz target, run by
//! the tests as well.

use super::{Delimiter, Frame, LineCodec, LineError, LineFormat};
use crate::cut;

/// Reads `data[4..]` in one piece and in many, with a format and reactions drawn from `data[..4]`.
///
/// # Panics
///
/// If the two readings differ, or a line that was read is not read again as it was once written.
pub fn fuzz(data: &[u8]) {
    let Some((&[format, limit, plan, seed], stream)) = data.split_first_chunk() else { return };
    let delimiters = [
        Delimiter::CRLF,
        Delimiter::CRLF_OR_LF,
        Delimiter::LF,
        Delimiter::exact(b"\r\n"),
        Delimiter::exact(b"aba"),
    ];
    let delimiter = delimiters[usize::from(format) % delimiters.len()];
    let format = LineFormat::new(delimiter).with_limit(usize::from(limit % 24));
    let whole = read(format, plan, &[stream]);
    let pieces = cut::drawn(stream, seed);
    assert_eq!(read(format, plan, &pieces), whole, "cut as {pieces:?}");
    if !matches!(whole.events.last(), Some(Event::Error(_))) {
        assert_eq!(whole.position + whole.pending.len() as u64, stream.len() as u64);
    }
    write_and_read_again(format, &whole);
}

/// What came of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) events: Vec<Event>,
    pub(super) pending: Vec<u8>,
    pub(super) position: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Line(Vec<u8>),
    /// Raw frames in a row count as one.
    Raw(Vec<u8>),
    Error(LineError),
}

/// Reads a stream in the pieces given. Bit 7 of `plan`: stop at the first error, else skip. Bits 0
/// to 3: after which lines, by number modulo 4, raw bytes come; bits 4 and 5: how many. Bit 6: take
/// the rest back after each frame and feed it again.
pub(super) fn read(format: LineFormat, plan: u8, pieces: &[&[u8]]) -> Reading {
    let mut codec = LineCodec::new(format);
    let mut events = Vec::new();
    let mut lines = 0;
    let failed =
        pieces.iter().any(|piece| !read_piece(&mut codec, plan, piece, &mut lines, &mut events));
    let pending = if failed { Vec::new() } else { codec.pending().to_vec() };
    Reading { events, pending, position: codec.position() }
}

/// Returns whether reading goes on.
fn read_piece(
    codec: &mut LineCodec,
    plan: u8,
    piece: &[u8],
    lines: &mut u32,
    events: &mut Vec<Event>,
) -> bool {
    let mut feed = codec.feed(piece);
    loop {
        match feed.next_frame() {
            Ok(None) => return true,
            Ok(Some(Frame::Line(line))) => {
                events.push(Event::Line(line.to_vec()));
                let raw_follows = plan >> (*lines % 4) & 1 == 1;
                *lines += 1;
                if raw_follows {
                    feed.codec().set_raw_for(u64::from(plan >> 4 & 3));
                }
            }
            Ok(Some(Frame::Raw(bytes))) => match events.last_mut() {
                Some(Event::Raw(before)) => before.extend_from_slice(bytes),
                _ => events.push(Event::Raw(bytes.to_vec())),
            },
            Err(error) => {
                events.push(Event::Error(error));
                if plan & 0x80 != 0 {
                    return false;
                }
                feed.codec().skip_line();
            }
        }
        if plan & 0x40 != 0 {
            let rest = feed.rest();
            feed = codec.feed(rest);
        }
    }
}

fn write_and_read_again(format: LineFormat, reading: &Reading) {
    let mut written = Vec::new();
    let mut expected = Vec::new();
    for event in &reading.events {
        let Event::Line(line) = event else { continue };
        // A lenient reader lets a CR through that no writer may send on.
        if format.encode(line, &mut written).is_ok() {
            expected.push(event.clone());
        } else {
            assert!(format.delimiter() == Delimiter::CRLF_OR_LF && line.contains(&b'\r'));
        }
    }
    let again = read(format, 0, &[&written]);
    let position = written.len() as u64;
    assert_eq!(again, Reading { events: expected, pending: Vec::new(), position });
}
