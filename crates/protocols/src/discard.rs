//! Discard (RFC 863): what comes is thrown away.

use marline_core::{Protocol, Transport};

/// Throws away what it receives and says nothing; closes when the peer has ended its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discard;

impl Protocol for Discard {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{C, Closed, End, Silence};
    use marline_core::testing::talk;

    use super::*;

    #[test]
    fn nothing_is_answered_until_the_peer_ends() {
        talk(Discard, &[C("hello\r\n"), Silence, C("anybody?"), Silence, End, Closed]);
    }
}
