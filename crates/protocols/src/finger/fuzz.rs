//! What must hold for every line: the body of the fuzz target, run by the tests as well.

use super::Query;

/// Reads a line as a question; what was read is written and read again.
///
/// # Panics
///
/// If that gives another question, or one that is more than a line.
pub fn fuzz(data: &[u8]) {
    let Ok(query) = Query::parse(data) else { return };
    let written = query.to_string();
    assert!(!written.contains(['\r', '\n', '\0']));
    assert_eq!(Query::parse(written.as_bytes()), Ok(query.clone()));
    if let Some((host, rest)) = query.forward() {
        assert_eq!(rest.via(host), Ok(query));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut;

    #[test]
    fn every_short_line_and_the_seeds_of_the_fuzzer_hold() {
        for line in cut::every_stream(b"/Wwa@ \0\xc3", 6) {
            fuzz(&line);
        }
        cut::corpus("finger", fuzz);
    }
}
