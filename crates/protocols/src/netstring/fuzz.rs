//! What must hold for every stream of netstrings: the body of the fuzz target, run by the tests as well.

use super::Netstring;
use crate::frame::fuzz::check;

/// Reads `data[2..]` with a limit from `data[0]` and cuts from `data[1]`.
///
/// # Panics
///
/// If what is read depends on the cuts, bytes get lost, or the netstrings read are not the very bytes that writing them makes.
pub fn fuzz(data: &[u8]) {
    let Some((&[limit, seed], stream)) = data.split_first_chunk() else { return };
    // Every fourth limit is one that no length is above.
    let limit = if limit % 4 == 3 { usize::MAX } else { usize::from(limit) };
    check(Netstring::new().with_limit(limit), seed, true, stream);
}
