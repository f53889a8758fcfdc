//! What people may be shown of what strangers say.

/// What of an answer can be shown to people without harm: printable ASCII, tabs and ends of lines, which become LF. A peer cannot move
/// anybody's cursor with it.
///
/// RFC 1288 §3.3 asks for as much of finger clients.
#[must_use]
pub fn printable(answer: &[u8]) -> String {
    let shown = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n');
    answer.iter().filter(|byte| shown(byte)).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_move_a_cursor_is_printable() {
        assert_eq!(printable(b"a\tb\r\n\x1b[2J\x07\x7f\xc3\xa9~ c\rd"), "a\tb\n[2J~ cd");
    }
}
