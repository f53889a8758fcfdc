//! What must hold for every stream of frames behind their length: the body of the fuzz target, run by the tests as well.

use super::LengthPrefix;
use crate::frame::fuzz::check;

/// Reads `data[3..]` with a width from `data[0]`, a limit from `data[1]` and cuts from `data[2]`.
///
/// # Panics
///
/// If what is read depends on the cuts, bytes get lost, or the frames read are not the very bytes that writing them makes.
pub fn fuzz(data: &[u8]) {
    let Some((&[width, limit, seed], stream)) = data.split_first_chunk() else { return };
    let widths = [LengthPrefix::U8, LengthPrefix::U16, LengthPrefix::U32];
    // Every fourth limit is one that no length is above.
    let limit = if limit % 4 == 3 { usize::MAX } else { usize::from(limit) };
    let format = widths[usize::from(width) % widths.len()].with_limit(limit);
    check(format, seed, true, stream);
}
