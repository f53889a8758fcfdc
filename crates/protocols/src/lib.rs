//! Framings, policies and small protocols for marline.
//!
//! Sockets, clocks and names come from the reactor alone. A framing or a protocol is a codec, a pure state machine of bytes in and frames
//! out, and a page of glue that makes a marline protocol of it; a policy is put into any connection, whatever its protocol.
//!
//! ```
//! use marline_protocols::line::{Frame, LineCodec, LineFormat};
//!
//! # fn main() -> Result<(), marline_protocols::line::LineError> {
//! let mut codec = LineCodec::new(LineFormat::default());
//! let mut feed = codec.feed(b"EHLO example.org\r\nQU");
//! assert_eq!(feed.next_frame()?, Some(Frame::Line(b"EHLO example.org")));
//! assert_eq!(feed.next_frame()?, None);
//! assert_eq!(codec.pending(), b"QU");
//! # Ok(())
//! # }
//! ```
//!
//! # Framings
//!
//! | module | what |
//! |---|---|
//! | [`frame`] | what framings have in common: the codec, the receiver, and what a format is |
//! | [`netstring`], [`length_prefix`] | frames that say how long they are |
//! | [`mod@line`] | lines ended by a delimiter, with raw bytes in between; without those, it is one more format of [`frame`] |
//!
//! # Policies
//!
//! | module | what |
//! |---|---|
//! | [`policy`] | time-outs, limits, throttling and a traffic log for any connection |
//!
//! # Small protocols
//!
//! One module each, named as in the list of well-known ports: a file where a page is enough, a folder where there is a message to read.
//!
//! | module | port | RFC | server | client over TCP, over UDP |
//! |---|---|---|---|---|
//! | [`echo`] | 7 | 862 | [`Echo`](echo::Echo) | |
//! | [`discard`] | 9 | 863 | [`Discard`](discard::Discard) | |
//! | [`daytime`] | 13 | 867 | [`Daytime`](daytime::Daytime) | [`ask`](daytime::ask), [`ask_udp`](daytime::ask_udp) |
//! | [`qotd`] | 17 | 865 | [`Quote`](qotd::Quote) | [`ask`](qotd::ask), [`ask_udp`](qotd::ask_udp) |
//! | [`chargen`] | 19 | 864 | [`Chargen`](chargen::Chargen) | |
//! | [`time`] | 37 | 868 | [`TimeServer`](time::TimeServer) | [`ask`](time::ask), [`ask_udp`](time::ask_udp) |
//! | [`finger`] | 79 | 1288 | [`server`](finger::server) | [`ask`](finger::ask) |
//! | [`ident`] | 113 | 1413 | [`server`](ident::server) | [`ask`](ident::ask), [`ask_about`](ident::ask_about) |
//!
//! Their clients are an [`inquiry`] each: one question, one answer.
//!
//! # Over UDP
//!
//! The first six serve connections and datagrams alike: `reactor.listen_tcp("127.0.0.1:7", || Echo)` and
//! `reactor.listen_udp("127.0.0.1:7", Echo)`.
//!
//! Whoever sends a datagram may forge where it comes from, and is answered there. So these services are for networks whose hosts are
//! known: on the open internet they let strangers send to others what they like (echo), or more than they send themselves (a
//! quote or chargen's text of up to 512 bytes for an empty datagram). To keep two services from answering each other for ever, they do
//! not answer what comes from one of the ports 0, 7, 13, 17, 19 and 37, nor from the number of their own port, whatever the
//! host. Two of them at other ports can still be set upon each other.

#![forbid(unsafe_code)]

mod carry;
pub mod chargen;
mod cut;
pub mod daytime;
pub mod discard;
pub mod echo;
pub mod finger;
pub mod frame;
pub mod ident;
pub mod inquiry;
mod intake;
pub mod length_prefix;
pub mod line;
pub mod netstring;
pub mod policy;
pub mod qotd;
mod reply;
#[cfg(test)]
mod slow_reader;
pub mod time;
