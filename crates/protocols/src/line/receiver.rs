//! The glue between lines and connections: a [`LineProtocol`] is told lines, [`LineReceiver`] makes a protocol of it.

use std::fmt;
use std::ops::Deref;

use marline_core::{CloseReason, Protocol, Transport};

use super::{EncodeError, Frame, LineCodec, LineError, LineFormat};
use crate::frame::send;
use crate::intake::{Intake, Upgrade, upgrade_to};

/// The owner of a connection that speaks in lines. Make a protocol of it with [`LineReceiver::new`].
///
/// ```
/// use marline_protocols::line::{LineLink, LineProtocol};
///
/// struct Shout;
///
/// impl LineProtocol for Shout {
///     fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
///         if link.send_line(&line.to_ascii_uppercase()).is_err() {
///             link.lose_connection();
///         }
///     }
/// }
/// ```
pub trait LineProtocol: 'static {
    /// What a line is on this connection; asked once, when it is made.
    fn format(&self) -> LineFormat {
        LineFormat::default()
    }

    /// The connection stands.
    fn connection_made(&mut self, _link: &mut LineLink<'_>) {}

    /// A line has arrived, without its delimiter. It is lent for the call.
    #[doc(alias = "lineReceived")]
    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]);

    /// Bytes have arrived in raw mode. Answers how many of them, at the end, are not raw any more: with anything but `None` the rest is read as
    /// lines again.
    #[doc(alias = "rawDataReceived")]
    fn raw_received(&mut self, _link: &mut LineLink<'_>, _bytes: &[u8]) -> Option<usize> {
        None
    }

    /// What arrived is no line. By default the connection is closed. An [`upgrade`](LineLink::upgrade) from here gives the next protocol what
    /// comes from the byte of the error on.
    #[doc(alias = "lineLengthExceeded")]
    fn line_refused(&mut self, link: &mut LineLink<'_>, _error: LineError) -> Refused {
        link.lose_connection();
        Refused::Stop
    }

    /// The peer will send no more. `unended` is the start of a line that did not end. By default this side closes as well.
    fn read_connection_lost(&mut self, link: &mut LineLink<'_>, _unended: &[u8]) {
        link.lose_connection();
    }

    /// Everything written has left, after `notify_writable` asked for it.
    fn writable(&mut self, _link: &mut LineLink<'_>) {}

    /// The connection has ended.
    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {}
}

/// What is to become of the connection after something that is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing more is read.
    Stop,
    /// Reading goes on after the next end of a line.
    Skip,
}

/// A connection that speaks in lines, for one callback: a [`Transport`] that can also send lines, change the mode and hand over.
pub struct LineLink<'a> {
    transport: &'a Transport,
    format: LineFormat,
    mode: Option<Mode>,
    upgrade: Option<Upgrade>,
}

/// How the protocol wants what comes next to be read.
#[derive(Clone, Copy)]
enum Mode {
    Lines,
    Raw,
    RawFor(u64),
}

impl<'a> LineLink<'a> {
    fn new(transport: &'a Transport, format: LineFormat) -> Self {
        Self { transport, format, mode: None, upgrade: None }
    }

    /// Sends a line with its delimiter.
    ///
    /// # Errors
    ///
    /// A line that is too long or would end early is not sent at all: text from elsewhere cannot smuggle in a line of its own.
    #[doc(alias = "sendLine")]
    pub fn send_line(&self, line: &[u8]) -> Result<(), EncodeError> {
        send(self.transport, self.format, line)
    }

    /// What comes next is raw, until `raw_received` says otherwise.
    #[doc(alias = "setRawMode")]
    pub fn set_raw(&mut self) {
        self.mode = Some(Mode::Raw);
    }

    /// The next `count` bytes are raw, then lines come again.
    pub fn set_raw_for(&mut self, count: u64) {
        self.mode = Some(Mode::RawFor(count));
    }

    /// What comes next are lines.
    #[doc(alias = "setLineMode")]
    pub fn set_lines(&mut self) {
        self.mode = Some(Mode::Lines);
    }

    /// Lines may be so long from now on, in bytes, delimiter excluded: those that come, beginning with the unfinished one, and those that
    /// go.
    pub fn set_limit(&mut self, limit: usize) {
        self.format = self.format.with_limit(limit);
    }

    /// Hands the connection to another protocol after this callback, with all bytes that were not used.
    pub fn upgrade<Q: Protocol>(&mut self, next: Q) {
        self.upgrade = Some(upgrade_to(next));
    }

    /// The transport, to be cloned and kept.
    pub fn transport(&self) -> &Transport {
        self.transport
    }
}

impl Deref for LineLink<'_> {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        self.transport
    }
}

impl fmt::Debug for LineLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineLink({:?})", self.transport)
    }
}

/// Makes a [`Protocol`] of a [`LineProtocol`].
pub struct LineReceiver<P> {
    codec: LineCodec,
    protocol: P,
    intake: Intake,
}

impl<P: LineProtocol> LineReceiver<P> {
    /// A protocol that tells `protocol` of lines.
    pub fn new(protocol: P) -> Self {
        let codec = LineCodec::new(protocol.format());
        Self { codec, protocol, intake: Intake::default() }
    }

    /// The protocol that is told of lines.
    pub fn get_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// Bytes of memory owned for input now: see [`LineCodec::held`].
    pub fn held(&self) -> usize {
        self.codec.held()
    }

    /// Calls a callback that comes between two frames, and does what it wished.
    fn between(&mut self, transport: &Transport, call: impl FnOnce(&mut P, &mut LineLink<'_>)) {
        let mut link = LineLink::new(transport, self.codec.format());
        call(&mut self.protocol, &mut link);
        let upgrade = grant(&mut self.codec, link);
        self.intake.after(transport, self.codec.carry(), upgrade);
    }
}

/// Grants what was wished as far as it concerns the codec; a hand-over is returned.
fn grant(codec: &mut LineCodec, link: LineLink<'_>) -> Option<Upgrade> {
    codec.set_limit(link.format.limit());
    match link.mode {
        None => {}
        Some(Mode::Lines) => codec.set_lines(),
        Some(Mode::Raw) => codec.set_raw(),
        Some(Mode::RawFor(count)) => codec.set_raw_for(count),
    }
    link.upgrade
}

impl<P: LineProtocol> Protocol for LineReceiver<P> {
    fn connection_made(&mut self, transport: &Transport) {
        self.between(transport, |protocol, link| protocol.connection_made(link));
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        if self.intake.is_over() {
            return;
        }
        let mut feed = self.codec.feed(data);
        loop {
            let mut link = LineLink::new(transport, feed.codec().format());
            match feed.next_frame() {
                Ok(None) => return transport.account_held(self.codec.pending().len()),
                Ok(Some(Frame::Line(line))) => self.protocol.line_received(&mut link, line),
                Ok(Some(Frame::Raw(bytes))) => {
                    if let Some(unused) = self.protocol.raw_received(&mut link, bytes) {
                        feed.end_raw(unused);
                    }
                }
                Err(error) => match self.protocol.line_refused(&mut link, error) {
                    Refused::Skip => feed.codec().skip_line(),
                    Refused::Stop => self.intake.give_up(),
                },
            }
            let upgrade = grant(feed.codec(), link);
            if !self.intake.goes_on(transport, feed.left(), upgrade) {
                return;
            }
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        let unended = self.codec.take_pending();
        transport.account_held(0);
        self.between(transport, |protocol, link| protocol.read_connection_lost(link, &unended));
    }

    fn writable(&mut self, transport: &Transport) {
        self.between(transport, |protocol, link| protocol.writable(link));
    }

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        self.protocol.connection_lost(transport, reason);
    }
}

impl<P: fmt::Debug> fmt::Debug for LineReceiver<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReceiver").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use marline_core::testing::Step::{C, Closed, End, S, Silence};
    use marline_core::testing::{Conversation, MemoryTransport, talk};

    use super::*;

    /// Answers each line with what it got, and obeys a few words.
    #[derive(Default)]
    struct Obey {
        skip: bool,
    }

    struct Loud;

    impl Protocol for Loud {
        fn connection_made(&mut self, transport: &Transport) {
            transport.write(b"LOUD ");
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            transport.write(&data.to_ascii_uppercase());
        }
    }

    impl LineProtocol for Obey {
        fn format(&self) -> LineFormat {
            LineFormat::default().with_limit(20)
        }

        fn connection_made(&mut self, link: &mut LineLink<'_>) {
            link.send_line(b"hello").unwrap();
        }

        fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
            match line {
                b"RAW 5" => link.set_raw_for(5),
                b"RAW" => link.set_raw(),
                b"LOUD" => return link.upgrade(Loud),
                b"PAUSE" => link.pause_reading(),
                b"LONGER" => link.set_limit(40),
                b"QUIT" => link.lose_connection(),
                _ => {}
            }
            let answer = [b"line ", line].concat();
            if link.send_line(&answer).is_err() {
                link.write(b"too long to repeat\r\n");
            }
        }

        fn raw_received(&mut self, link: &mut LineLink<'_>, bytes: &[u8]) -> Option<usize> {
            let end = bytes.iter().position(|byte| *byte == b'.').map(|at| at + 1);
            let raw = &bytes[..end.unwrap_or(bytes.len())];
            link.write_sequence([b"raw ", raw, b"\r\n"]);
            end.map(|end| bytes.len() - end)
        }

        fn line_refused(&mut self, link: &mut LineLink<'_>, error: LineError) -> Refused {
            link.write(format!("refused {error:?}\r\n").as_bytes());
            if self.skip {
                return Refused::Skip;
            }
            link.lose_connection();
            Refused::Stop
        }

        fn read_connection_lost(&mut self, link: &mut LineLink<'_>, unended: &[u8]) {
            link.write_sequence([b"unended ", unended, b"\r\n"]);
            link.lose_connection();
        }
    }

    fn obey() -> LineReceiver<Obey> {
        LineReceiver::new(Obey::default())
    }

    #[test]
    fn lines_are_told_one_by_one_however_they_are_cut() {
        let steps = [S("hello\r\n"), C("a\r\nb\r\n"), S("line a\r\n"), S("line b\r\n"), Silence];
        talk(obey(), &steps);
        Conversation::with_server(obey()).bytewise().hold(&steps);
    }

    #[test]
    fn the_mode_changes_in_the_middle_of_what_arrived_at_once() {
        talk(
            obey(),
            &[
                S("hello\r\n"),
                C("RAW 5\r\nabcdex\r\n"),
                S("line RAW 5\r\n"),
                S("raw abcde\r\n"),
                S("line x\r\n"),
            ],
        );
        let raw = [S("hello\r\n"), C("RAW\r\na\r\n.y\r\n"), S("line RAW\r\n")];
        talk(obey(), &[&raw[..], &[S("raw a\r\n.\r\n"), S("line y\r\n")]].concat());
    }

    #[test]
    fn a_limit_can_be_raised_between_two_lines() {
        talk(
            obey(),
            &[
                S("hello\r\n"),
                C("LONGER\r\n"),
                S("line LONGER\r\n"),
                C("a line of more than twenty bytes\r\n"),
                S("line a line of more than twenty bytes\r\n"),
            ],
        );
    }

    #[test]
    fn what_is_no_line_closes_or_is_skipped() {
        let long = C("a line of more than twenty bytes\r\nb\r\n");
        talk(obey(), &[S("hello\r\n"), long, S("refused TooLong"), Closed]);
        let patient = LineReceiver::new(Obey { skip: true });
        talk(patient, &[S("hello\r\n"), long, S("refused TooLong"), S("line b\r\n")]);
    }

    #[test]
    fn a_limit_and_a_mode_can_be_changed_in_one_callback() {
        struct Both;

        impl LineProtocol for Both {
            fn format(&self) -> LineFormat {
                LineFormat::default().with_limit(4)
            }

            fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
                if line == b"BOTH" {
                    link.set_raw_for(2);
                    link.set_limit(9);
                }
                link.send_line(line).unwrap();
            }

            fn raw_received(&mut self, link: &mut LineLink<'_>, bytes: &[u8]) -> Option<usize> {
                link.write_sequence([bytes, b"\n"]);
                None
            }
        }

        let steps = [C("BOTH\r\nrrlonger\r\n"), S("BOTH\r\n"), S("rr\n"), S("longer\r\n")];
        talk(LineReceiver::new(Both), &steps);
    }

    #[test]
    fn what_is_no_line_can_be_handed_over() {
        struct Fallback;

        impl LineProtocol for Fallback {
            fn line_received(&mut self, _: &mut LineLink<'_>, _: &[u8]) {}

            fn line_refused(&mut self, link: &mut LineLink<'_>, _: LineError) -> Refused {
                link.upgrade(Loud);
                Refused::Stop
            }
        }

        let steps = [C("a\r\nb\nc"), S("LOUD \n"), S("C"), C("d\n"), S("D\n")];
        talk(LineReceiver::new(Fallback), &steps);
    }

    #[test]
    fn nothing_is_told_after_a_close() {
        // Also what is written after it in the same callback leaves no more.
        let steps = [S("hello\r\n"), C("QUIT\r\nb\r\n"), Closed];
        talk(obey(), &steps);
    }

    #[test]
    fn a_pause_in_the_middle_keeps_the_rest_for_the_resume() {
        let transport = MemoryTransport::connect(obey());
        transport.take_written();
        transport.receive(b"PAUSE\r\nb\r\nc");
        assert_eq!(transport.take_written(), b"line PAUSE\r\n");
        transport.transport().resume_reading();
        transport.settle();
        assert_eq!(transport.take_written(), b"line b\r\n");
        transport.receive(b"\r\n");
        assert_eq!(transport.take_written(), b"line c\r\n");
    }

    #[test]
    fn a_hand_over_passes_on_what_was_not_used() {
        let steps = [S("hello\r\n"), C("LOUD\r\nrest"), S("LOUD REST"), C(" more"), S(" MORE")];
        talk(obey(), &steps);
    }

    #[test]
    fn the_line_that_did_not_end_is_told_at_the_end_of_the_stream() {
        talk(obey(), &[S("hello\r\n"), C("half"), End, S("unended half\r\n"), Closed]);
    }

    #[test]
    fn a_line_that_would_be_read_as_two_is_not_sent() {
        struct Careless(Rc<RefCell<Vec<EncodeError>>>);

        impl LineProtocol for Careless {
            fn line_received(&mut self, link: &mut LineLink<'_>, _: &[u8]) {
                self.0.borrow_mut().extend(link.send_line(b"a\r\nb").err());
            }
        }

        let errors = Rc::default();
        let careless = LineReceiver::new(Careless(Rc::clone(&errors)));
        talk(careless, &[C("x\r\n"), Silence]);
        assert_eq!(*errors.borrow(), [EncodeError::Delimiter { at: 1 }]);
    }
}
