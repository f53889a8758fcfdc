//! What must hold for every format and every stream, however it is cut. The fuzz targets of the formats call it, and so do tests.

use super::{FrameCodec, FrameFormat};
use crate::cut;

/// What came of a stream: its frames, where the reader stood at the end, and the error if there was one.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading<E> {
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) position: usize,
    pub(crate) error: Option<E>,
}

/// Reads a stream in one piece and in pieces drawn from `seed`.
///
/// # Panics
///
/// If the two readings differ; if bytes were lost or doubled; if more memory was owned than promised; or if the frames, written anew, are
/// not read again. With `canonical` they must also be the very bytes that were read.
pub(crate) fn check<F: FrameFormat>(format: F, seed: u8, canonical: bool, stream: &[u8]) {
    let whole = read(format, false, &[stream]);
    let pieces = cut::drawn(stream, seed);
    assert_eq!(read(format, seed & 1 == 1, &pieces), whole, "cut as {pieces:?}");

    let mut written = Vec::new();
    let mut expected = Vec::new();
    for frame in &whole.frames {
        if format.encode(frame, &mut written).is_ok() {
            expected.push(frame.clone());
        } else {
            // Some formats are read more liberally than they are written.
            assert!(!canonical, "{format:?} reads {frame:?} and does not write it");
        }
    }
    if canonical {
        assert_eq!(written, stream[..whole.position]);
    }
    let again = Reading { frames: expected, position: written.len(), error: None };
    assert_eq!(read(format, false, &[&written]), again);
}

/// Reads a stream in the pieces given. With `hesitating` the rest is taken back after each frame and fed again.
pub(crate) fn read<F: FrameFormat>(
    format: F,
    hesitating: bool,
    pieces: &[&[u8]],
) -> Reading<F::Error> {
    let mut codec = FrameCodec::new(format);
    let mut frames = Vec::new();
    let mut error = None;
    let mut received = 0;
    for &piece in pieces {
        received += piece.len();
        let mut feed = codec.feed(piece);
        loop {
            match feed.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Err(found) => {
                    assert_eq!(feed.next_frame(), Err(found), "an error stays");
                    error = Some(found);
                    break;
                }
            }
            if hesitating {
                let rest = feed.rest();
                feed = codec.feed(rest);
            }
        }
        let rest = feed.rest();
        assert!(codec.held() <= 2 * codec.pending().len(), "memory that nothing was received for");
        assert!(!codec.pending().is_empty() || codec.held() == 0, "memory of an idle codec");
        let unused = codec.pending().len() + rest.len();
        assert_eq!(codec.position() as usize + unused, received, "bytes were lost or doubled");
        if error.is_some() {
            break;
        }
        assert_eq!(rest, b"");
    }
    Reading { frames, position: codec.position() as usize, error }
}
