//! Quote of the day (RFC 865): a short message, and that is all.

use std::error::Error;
use std::fmt;
use std::rc::Rc;

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::deferred::Deferred;
use marline_core::{Addr, Destination, Protocol, Reactor, Transport};

use crate::inquiry::{DatagramInquiry, Inquiry, InquiryError, printable};
use crate::reply::reply;

/// Sends a quote, and closes; over UDP it answers every datagram with it, but [not everybody's](crate#over-udp). Cheap to clone.
///
/// ```
/// use marline_protocols::qotd::{Quote, QuoteError};
///
/// # fn main() -> Result<(), QuoteError> {
/// let quote = Quote::new("An apple a day keeps the doctor away.\n Don't eat it whole.")?;
/// let datagrams = quote.clone(); // for reactor.listen_udp("127.0.0.1:17", datagrams)
/// let factory = move || quote.clone(); // for reactor.listen_tcp("127.0.0.1:17", factory)
/// # let _ = (datagrams, factory());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "QOTD")]
pub struct Quote(Rc<str>);

impl Quote {
    /// Makes a quote of a text of one or several lines. They are sent with CR LF at their ends.
    ///
    /// # Errors
    ///
    /// A text that is empty, too long, or has control characters other than ends of lines and tabs.
    pub fn new(text: &str) -> Result<Self, QuoteError> {
        let refused = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        if let Some(at) = text.find(refused) {
            return Err(QuoteError::Control { at });
        }
        let mut sent = String::new();
        for line in text.lines() {
            sent.push_str(line);
            sent.push_str("\r\n");
        }
        match sent.len() {
            0 => Err(QuoteError::Empty),
            // RFC 865: "should be less than 512 characters".
            length @ LIMIT.. => Err(QuoteError::TooLong { limit: LIMIT - 1, length }),
            _ => Ok(Self(sent.into())),
        }
    }
}

impl Protocol for Quote {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(self.0.as_bytes());
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

impl DatagramProtocol for Quote {
    fn datagram_received(&mut self, transport: &DatagramTransport, _data: &[u8], from: &Addr) {
        reply(transport, self.0.as_bytes(), from);
    }
}

/// Asks a server for its quote: at most 4,096 bytes within 30 seconds, of which only what is [`printable`] is kept; lines end with LF. The
/// standard port is 17.
#[track_caller]
pub fn ask(reactor: &Reactor, to: impl Into<Destination>) -> Deferred<String, InquiryError> {
    Inquiry::new([]).limit(8 * LIMIT).ask(reactor, to).map(|answer| printable(&answer))
}

/// Asks over UDP, as [`ask`] does over TCP: three times within seven seconds, as a [`DatagramInquiry`] does.
#[track_caller]
pub fn ask_udp(reactor: &Reactor, to: impl Into<Destination>) -> Deferred<String, InquiryError> {
    DatagramInquiry::new([]).ask(reactor, to).map(|answer| printable(&answer))
}

/// Why a text is no quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuoteError {
    /// There is nothing in it.
    Empty,
    /// It would have `length` bytes, and `limit` is the most.
    TooLong {
        /// The greatest length, in bytes, as it is sent.
        limit: usize,
        /// The length of the text refused, in bytes, as it would be sent.
        length: usize,
    },
    /// It has a control character.
    Control {
        /// Offset in the text, in bytes.
        at: usize,
    },
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("quote without text"),
            Self::TooLong { limit, length } => {
                write!(f, "quote of {length} bytes is above the limit of {limit}")
            }
            Self::Control { at } => write!(f, "quote with a control character at byte {at}"),
        }
    }
}

impl Error for QuoteError {}

/// A quote has fewer bytes.
const LIMIT: usize = 512;

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{Closed, SBytes};
    use marline_core::testing::{TestReactor, talk};

    use super::*;

    #[test]
    fn a_quote_is_sent_in_network_lines_and_the_connection_closed() {
        let quote = Quote::new("one\ntwo\r\n\tthree").unwrap();
        talk(quote, &[SBytes(b"one\r\ntwo\r\n\tthree\r\n"), Closed]);
    }

    #[test]
    fn what_is_no_quote_is_refused() {
        assert_eq!(Quote::new(""), Err(QuoteError::Empty));
        assert_eq!(Quote::new("a\x1b[2Jb"), Err(QuoteError::Control { at: 1 }));
        assert!(Quote::new(&"x".repeat(509)).is_ok());
        let too_long = QuoteError::TooLong { limit: 511, length: 512 };
        assert_eq!(Quote::new(&"x".repeat(510)), Err(too_long));
    }

    #[test]
    fn a_client_gets_the_quote() {
        let reactor = TestReactor::new();
        let quote = Quote::new("one\ntwo").unwrap();
        let _service = reactor.listen_udp("127.0.0.1:17", quote.clone()).unwrap();
        assert_eq!(reactor.result_of(ask_udp(&reactor, "127.0.0.1:17")).unwrap(), "one\ntwo\n");
        let asked = DatagramInquiry::new("which one?").ask(&reactor, "127.0.0.1:17");
        assert_eq!(reactor.result_of(asked).unwrap(), b"one\r\ntwo\r\n");
        let port = reactor.listen_tcp("127.0.0.1:0", move || quote.clone()).unwrap();
        let told = reactor.result_of(ask(&reactor, port.local_addr())).unwrap();
        assert_eq!(told, "one\ntwo\n");
    }
}
