//! Asking over a connection: connect, ask, collect, hang up.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::{Rc, Weak};
use std::time::Duration;

use marline_core::deferred::{CancelHandle, Deferred, Interrupt, Resolver};
use marline_core::driver::ConnectOptions;
use marline_core::{
    CloseReason, ConnectError, Connection, DelayedCall, Destination, Protocol, Reactor, Transport,
};

use super::{InquiryCause, InquiryError};

/// A question, and how its answer is told to be whole.
///
/// ```
/// use marline_core::Reactor;
/// use marline_core::deferred::Deferred;
/// use marline_protocols::inquiry::{Inquiry, InquiryError};
///
/// /// RFC 3912: a line, and all that comes until the server closes.
/// fn whois(reactor: &Reactor, name: &str) -> Deferred<Vec<u8>, InquiryError> {
///     let question = format!("{name}\r\n");
///     Inquiry::new(question).limit(1 << 20).ask(reactor, "whois.iana.org:43")
/// }
/// # let _ = whois;
/// ```
#[derive(Clone, Debug)]
pub struct Inquiry {
    question: Vec<u8>,
    until: Until,
    limit: usize,
    patience: Duration,
    options: ConnectOptions,
}

impl Inquiry {
    /// Asks `question`, which may be empty, and takes all that comes until the peer ends its stream for the answer: at most 64 KiB, within
    /// 30 seconds of beginning to connect.
    #[must_use]
    pub fn new(question: impl Into<Vec<u8>>) -> Self {
        Self {
            question: question.into(),
            until: Until::End,
            limit: 64 * 1024,
            patience: Duration::from_secs(30),
            options: ConnectOptions::default(),
        }
    }

    /// The answer is one line; the LF that ends it, and a CR before that, do not belong to it.
    #[must_use]
    pub fn until_line(mut self) -> Self {
        self.until = Until::Line;
        self
    }

    /// The answer has so many bytes.
    #[must_use]
    pub fn until_length(mut self, bytes: usize) -> Self {
        self.until = Until::Length(bytes);
        self
    }

    /// The greatest length of the answer, in bytes, the end of its line included.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// How long it may take from beginning to connect to the whole answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How to connect, such as from which address.
    #[must_use]
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// Connects, asks, and gives the answer, at the earliest in the next turn, or an error that names `to`. Cancelling gives up, and so does
    /// running out of patience; the connection, if there is one, is then reset.
    #[track_caller]
    pub fn ask(
        self,
        reactor: &Reactor,
        to: impl Into<Destination>,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let to = to.into();
        let call = Rc::new(Call::to(to.clone()));
        let weak = Rc::downgrade(&call);
        let (answer, resolver) = Deferred::with_canceller(move || {
            Call::give_up(&weak, InquiryCause::Interrupted(Interrupt::Cancelled));
        });
        call.resolver.set(Some(resolver));

        let (weak, patience) = (Rc::downgrade(&call), self.patience);
        let timer = reactor.call_later(patience, move |_| {
            Call::give_up(&weak, InquiryCause::TimedOut { patience });
        });
        call.timer.set(Some(timer));

        let options = self.options.clone();
        let asker = Asker { inquiry: self, answer: Vec::new(), call: Rc::clone(&call) };
        let connecting = reactor.connect_tcp_with(to, asker, options);
        call.connecting.set(connecting.cancel_handle());
        connecting.done(move |result: Result<Connection<Asker>, ConnectError>| {
            if let Err(error) = result {
                call.over();
                call.finish(Err(InquiryCause::Connect(error)));
            }
        });
        answer
    }
}

/// When an answer is whole.
#[derive(Clone, Copy, Debug)]
enum Until {
    End,
    Line,
    Length(usize),
}

/// One asking, as whoever can end it sees it: the peer, the clock, a cancel.
struct Call {
    to: Destination,
    resolver: Cell<Option<Resolver<Vec<u8>, InquiryError>>>,
    timer: Cell<Option<DelayedCall>>,
    connecting: Cell<CancelHandle>,
    transport: RefCell<Option<Transport>>,
}

impl Call {
    fn to(to: Destination) -> Self {
        Self {
            to,
            resolver: Cell::default(),
            timer: Cell::default(),
            connecting: Cell::default(),
            transport: RefCell::default(),
        }
    }

    /// Nothing is left to wait for.
    fn over(&self) {
        if let Some(timer) = self.timer.take() {
            // It may be what has just rung.
            let _ = timer.cancel();
        }
    }

    /// Fires the result, unless there is one. The patience goes on: it is with the connection, which may take long to close.
    fn finish(&self, result: Result<Vec<u8>, InquiryCause>) {
        if let Some(resolver) = self.resolver.take() {
            resolver.finish(result.map_err(|cause| InquiryError::new(&self.to, cause)));
        }
    }

    fn give_up(weak: &Weak<Self>, cause: InquiryCause) {
        let Some(call) = weak.upgrade() else { return };
        let transport = call.transport.borrow().clone();
        call.over();
        call.finish(Err(cause));
        call.connecting.take().cancel();
        if let Some(transport) = transport {
            transport.abort_connection();
        }
    }
}

/// The protocol: asks, and collects.
struct Asker {
    inquiry: Inquiry,
    answer: Vec<u8>,
    call: Rc<Call>,
}

impl Asker {
    /// Where the answer ends and what of it is told, if it is whole.
    fn end(&self, new: usize) -> Option<usize> {
        match self.inquiry.until {
            Until::End => None,
            Until::Length(bytes) => (self.answer.len() >= bytes).then_some(bytes),
            Until::Line => {
                let line = &self.answer[new..];
                line.iter().position(|byte| *byte == b'\n').map(|at| new + at + 1)
            }
        }
    }

    fn finish(&mut self, transport: &Transport, result: Result<(), InquiryCause>) {
        let answer = mem::take(&mut self.answer);
        transport.lose_connection();
        self.call.finish(result.map(|()| answer));
    }
}

impl Protocol for Asker {
    fn connection_made(&mut self, transport: &Transport) {
        *self.call.transport.borrow_mut() = Some(transport.clone());
        transport.write(&self.inquiry.question);
        if self.end(0).is_some() {
            self.finish(transport, Ok(()));
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let (new, limit) = (self.answer.len(), self.inquiry.limit);
        let room = limit - new;
        self.answer.extend_from_slice(&data[..data.len().min(room)]);
        if let Some(end) = self.end(new) {
            self.answer.truncate(end);
            if let Until::Line = self.inquiry.until {
                self.answer.pop();
                if self.answer.last() == Some(&b'\r') {
                    self.answer.pop();
                }
            }
            self.finish(transport, Ok(()));
        } else if data.len() > room {
            self.answer = Vec::new();
            self.finish(transport, Err(InquiryCause::TooLong { limit }));
        }
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        let result = match self.inquiry.until {
            Until::End => Ok(()),
            _ => Err(InquiryCause::Lost(CloseReason::Done)),
        };
        self.finish(transport, result);
    }

    fn connection_lost(&mut self, _transport: &Transport, reason: &CloseReason) {
        self.call.over();
        self.call.finish(Err(InquiryCause::Lost(reason.clone())));
    }
}

#[cfg(test)]
mod tests {
    use marline_core::ConnectCause;
    use marline_core::testing::{CapturedLog, TestReactor};

    use super::*;

    /// Says something when it has heard `heard` bytes, and then, if told so, closes or resets.
    #[derive(Clone, Copy)]
    struct Says {
        heard: usize,
        text: &'static [u8],
        then: Then,
    }

    #[derive(Clone, Copy)]
    enum Then {
        Wait,
        Close,
        Reset,
    }

    impl Protocol for Says {
        fn connection_made(&mut self, transport: &Transport) {
            self.data_received(transport, b"");
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) {
            self.heard = self.heard.saturating_sub(data.len());
            if self.heard > 0 {
                return;
            }
            transport.write(self.text);
            match self.then {
                Then::Wait => {}
                Then::Close => transport.lose_connection(),
                Then::Reset => {
                    let transport = transport.clone();
                    let reactor = transport.reactor().unwrap();
                    reactor.call_later(Duration::from_secs(1), move |_| {
                        transport.abort_connection();
                    });
                }
            }
        }
    }

    #[track_caller]
    fn asked(inquiry: Inquiry, says: Says) -> Result<String, InquiryError> {
        let reactor = TestReactor::new();
        let port = reactor.listen_tcp("127.0.0.1:0", move || says).unwrap();
        let answer = reactor.result_of(inquiry.ask(&reactor, port.local_addr()));
        port.stop_listening().ignore();
        reactor.advance(Duration::from_secs(5));
        reactor.check_leaks();
        answer.map(|answer| String::from_utf8(answer).unwrap())
    }

    /// Answers at once, and neither reads nor closes.
    struct Deaf;

    impl Protocol for Deaf {
        fn connection_made(&mut self, transport: &Transport) {
            transport.pause_reading();
            transport.write(b"enough\n");
        }

        fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
    }

    #[test]
    fn patience_ends_with_the_connection_and_not_with_an_answer_that_comes_early() {
        let reactor = TestReactor::new();
        let port = reactor.listen_tcp("127.0.0.1:0", || Deaf).unwrap();
        // More than any buffer on the way takes.
        let inquiry = Inquiry::new(vec![b'?'; 8_000_000]).until_line();
        let patience = Duration::from_secs(7);
        let asked = inquiry.patience(patience).ask(&reactor, port.local_addr());
        assert_eq!(reactor.result_of(asked).unwrap(), b"enough");
        let connections = || reactor.figures().connections;
        assert_eq!(connections(), 2, "the question is still to leave");
        reactor.advance(patience);
        assert_eq!(connections(), 0);
        port.stop_listening().ignore();
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }

    fn says(heard: usize, text: &'static str, then: Then) -> Says {
        Says { heard, text: text.as_bytes(), then }
    }

    #[test]
    fn an_answer_goes_to_the_end_of_the_stream_of_the_line_or_of_the_length() {
        let question = || Inquiry::new("ask");
        assert_eq!(asked(question(), says(3, "a\r\nb", Then::Close)).unwrap(), "a\r\nb");
        assert_eq!(asked(question(), says(3, "", Then::Close)).unwrap(), "");
        let line = || question().until_line();
        assert_eq!(asked(line(), says(3, "a\rb\r\nc\n", Then::Wait)).unwrap(), "a\rb");
        assert_eq!(asked(line(), says(3, "\n", Then::Wait)).unwrap(), "");
        assert_eq!(asked(question().until_length(2), says(3, "abc", Then::Wait)).unwrap(), "ab");
        assert_eq!(asked(question().until_length(0), says(9, "", Then::Wait)).unwrap(), "");
    }

    #[test]
    fn an_answer_that_is_not_whole_is_lost() {
        let half = says(1, "half", Then::Close);
        for inquiry in [Inquiry::new("x").until_line(), Inquiry::new("x").until_length(5)] {
            let lost = asked(inquiry, half).unwrap_err();
            assert!(matches!(lost.cause, InquiryCause::Lost(CloseReason::Done)), "{lost}");
        }
        let lost = asked(Inquiry::new("x"), says(1, "half", Then::Reset)).unwrap_err();
        assert!(matches!(lost.cause, InquiryCause::Lost(CloseReason::Lost(_))), "{lost}");
    }

    #[test]
    fn an_answer_above_the_limit_is_refused() {
        for (inquiry, text) in [
            (Inquiry::new("x").limit(4), "12345"),
            (Inquiry::new("x").until_line().limit(4), "1234\n"),
            (Inquiry::new("x").until_length(5).limit(4), "12345"),
        ] {
            let refused = asked(inquiry, says(1, text, Then::Close)).unwrap_err();
            assert!(matches!(refused.cause, InquiryCause::TooLong { limit: 4 }), "{refused}");
        }
        let exact = asked(Inquiry::new("x").limit(4), says(1, "1234", Then::Close));
        assert_eq!(exact.unwrap(), "1234");
        let exact = asked(Inquiry::new("x").until_line().limit(4), says(1, "123\n45", Then::Wait));
        assert_eq!(exact.unwrap(), "123");
    }

    #[test]
    fn patience_ends_and_a_cancel_gives_up_whether_connected_or_not() {
        let reactor = TestReactor::new();
        let mute = says(9, "", Then::Wait);
        let port = reactor.listen_tcp("127.0.0.1:0", move || mute).unwrap();
        let open = |what: &str| {
            reactor.open().iter().filter(|open| format!("{open:?}").contains(what)).count()
        };
        for connected in [false, true] {
            let patience = Duration::from_secs(7);
            let inquiry = Inquiry::new("x").patience(patience);
            let slow = inquiry.clone().ask(&reactor, port.local_addr());
            let cancelled = inquiry.ask(&reactor, port.local_addr());
            if connected {
                reactor.advance(Duration::from_secs(1));
                assert!(open("onnect") >= 4, "{:?}", reactor.open());
            }
            cancelled.cancel();
            let error = reactor.result_of(cancelled).unwrap_err();
            assert!(
                matches!(error.cause, InquiryCause::Interrupted(Interrupt::Cancelled)),
                "{connected} {error}"
            );
            let error = reactor.result_of(slow).unwrap_err();
            assert!(matches!(error.cause, InquiryCause::TimedOut { .. }), "{connected} {error}");
        }
        port.stop_listening().ignore();
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }

    #[test]
    fn nobody_there_is_told_once_and_nothing_is_logged() {
        let log = CapturedLog::start();
        let reactor = TestReactor::new();
        let error = reactor.result_of(Inquiry::new("x").ask(&reactor, "127.0.0.1:9")).unwrap_err();
        assert_eq!(error.to_string(), "cannot connect to 127.0.0.1:9: connection refused");
        let InquiryCause::Connect(error) = error.cause else { panic!("{error}") };
        assert_eq!(error.cause, ConnectCause::Refused);
        reactor.advance(Duration::from_secs(60));
        reactor.check_leaks();
        log.assert_no_errors();
    }

    #[test]
    fn an_error_names_who_was_asked_as_it_was_asked_for() {
        let reactor = TestReactor::new();
        reactor.world().set_name("oracle", ["127.0.0.1".parse().unwrap()]);
        let half = says(1, "half", Then::Close);
        let reset = says(1, "half", Then::Reset);
        let _half = reactor.listen_tcp("127.0.0.1:1", move || half).unwrap();
        let _reset = reactor.listen_tcp("127.0.0.1:2", move || reset).unwrap();
        let asked = |port: u16, inquiry: Inquiry| {
            let answer = inquiry.ask(&reactor, ("oracle", port));
            reactor.result_of(answer).unwrap_err().to_string()
        };
        let question = || Inquiry::new("x").until_line();
        assert_eq!(asked(1, question()), "the answer of oracle:1 is not whole: closed cleanly");
        let lost = asked(2, question());
        let expected = "the answer of oracle:2 is not whole: connection lost: ";
        assert!(lost.starts_with(expected), "{lost}");
        let long = asked(1, question().limit(2));
        assert_eq!(long, "the answer of oracle:1 is longer than 2 bytes");
        let slow = asked(2, question().patience(Duration::from_millis(500)));
        assert_eq!(slow, "no answer from oracle:2 within 500ms");
        let cancelled = question().ask(&reactor, "oracle:1");
        cancelled.cancel();
        let cancelled = reactor.result_of(cancelled).unwrap_err();
        assert_eq!(cancelled.to_string(), "no answer from oracle:1: cancelled");
    }
}
