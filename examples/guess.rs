//! The game that `guess_callbacks.rs` and `guess_async.rs` play: one side thinks of a number, the other guesses, a line each; the answers are `higher`,
//! `lower` and `yes`. Here is what has nothing to do with waiting.

use std::cmp::Ordering;

use marline::failure::Failure;
use marline::protocols::line::{LineLink, LineProtocol};

/// The side that knows.
pub(crate) struct Secret(pub(crate) u32);

impl LineProtocol for Secret {
    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        let guess = str::from_utf8(line).ok().and_then(|text| text.parse().ok());
        let answer: &[u8] = match guess.map(|guess| self.0.cmp(&guess)) {
            Some(Ordering::Greater) => b"higher",
            Some(Ordering::Less) => b"lower",
            Some(Ordering::Equal) => b"yes",
            None => b"a number, please",
        };
        link.write_sequence([answer, b"\r\n"]);
    }
}

/// What the side that guesses knows.
pub(crate) struct Guesser {
    low: u32,
    high: u32,
    guesses: u32,
}

impl Guesser {
    /// Nothing but that it is at most a million.
    pub(crate) const fn new() -> Self {
        Self { low: 1, high: 1_000_000, guesses: 0 }
    }

    /// The next line to send.
    pub(crate) fn guess(&mut self) -> String {
        self.guesses += 1;
        format!("{}\r\n", self.middle())
    }

    /// Learns from the answer to it. At the end that is how many guesses it took.
    pub(crate) fn learn(&mut self, answer: &[u8]) -> Result<Option<u32>, Failure> {
        let guess = self.middle();
        match answer.trim_ascii_end() {
            b"higher" if guess < self.high => self.low = guess + 1,
            b"lower" if guess > self.low => self.high = guess - 1,
            b"yes" => return Ok(Some(self.guesses)),
            other => {
                let said = String::from_utf8_lossy(other);
                return Err(Failure::msg(format!("they said {said:?} of {guess}")));
            }
        }
        Ok(None)
    }

    const fn middle(&self) -> u32 {
        self.low + (self.high - self.low) / 2
    }
}
