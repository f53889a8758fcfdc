//! Streams, and ways to cut them into pieces: for what must not depend on that. Fuzz bodies use it, and the tests of all codecs.

/// Cuts a stream into pieces of up to 16 bytes, empty ones among them, drawn from `seed`.
pub(crate) fn drawn(stream: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut noise = u32::from(seed);
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, after) = rest.split_at((noise >> 28) as usize % (rest.len() + 1));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// The pieces of `stream` if it is cut behind byte n where bit n of `cuts` is set.
#[cfg(test)]
pub(crate) fn at(stream: &[u8], cuts: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for end in 1..=stream.len() {
        if end == stream.len() || cuts >> (end - 1) & 1 == 1 {
            pieces.push(&stream[from..end]);
            from = end;
        }
    }
    pieces
}

/// Every way to cut `stream`.
#[cfg(test)]
pub(crate) fn every_way(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    (0..1 << stream.len().saturating_sub(1)).map(|cuts| at(stream, cuts))
}

/// Every stream of up to `longest` symbols of `alphabet`.
#[cfg(test)]
pub(crate) fn every_stream(alphabet: &[u8], longest: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..=longest).flat_map(move |length| {
        (0..alphabet.len().pow(length)).map(move |mut number| {
            let mut stream = Vec::new();
            for _ in 0..length {
                stream.push(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            stream
        })
    })
}

/// Numbers that look random and are the same in every run.
#[cfg(test)]
pub(crate) fn noise() -> impl FnMut() -> usize {
    let mut noise = 1_u64;
    move || {
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as usize
    }
}

/// Calls `check` with every seed of the fuzz target `target` that is kept.
///
/// # Panics
///
/// If there is none.
#[cfg(test)]
pub(crate) fn corpus(target: &str, check: impl Fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut seeds = 0;
    // A published crate comes without the fuzzer's folder.
    for seed in folder.join(target).read_dir().into_iter().flatten().flatten() {
        check(&std::fs::read(seed.path()).unwrap_or_default());
        seeds += 1;
    }
    assert!(seeds > 0 || !folder.exists(), "{target} has no seeds");
}
