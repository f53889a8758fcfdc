//! What must hold for every line: the body of the fuzz target, run by the tests as well.

use super::{Answer, Ports};

/// Reads a line as a question and as an answer; what was read is written and read again.
///
/// # Panics
///
/// If that gives another one, or one that is more than a line.
pub fn fuzz(data: &[u8]) {
    if let Ok(ports) = Ports::parse(data) {
        assert_eq!(Ports::parse(ports.to_string().as_bytes()), Ok(ports));
    }
    if let Ok(answer) = Answer::parse(data) {
        let mut written = Vec::new();
        answer.encode(&mut written);
        assert!(!written.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')));
        assert_eq!(Answer::parse(&written), Ok(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut;

    #[test]
    fn every_short_line_and_the_seeds_of_the_fuzzer_hold() {
        for line in cut::every_stream(b"09, :X\n", 6) {
            fuzz(&line);
            fuzz(&[b"1,2:USERID:", &line[..]].concat());
            fuzz(&[b"1,2:ERROR:", &line[..]].concat());
        }
        cut::corpus("ident", fuzz);
    }
}
