//! Asking in datagrams: the question is sent, and sent again, until an answer comes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use std::vec;

use marline_core::datagram::{DatagramError, DatagramProtocol, DatagramTransport};
use marline_core::deferred::{Deferred, Interrupt, Resolver};
use marline_core::driver::OsError;
use marline_core::{Addr, CloseReason, ConnectCause, ConnectError};
use marline_core::{DelayedCall, Destination, Reactor};

use super::{InquiryCause, InquiryError};

/// A question in a datagram, and how long to wait before it is asked again.
///
/// ```
/// use std::time::Duration;
///
/// use marline_core::Reactor;
/// use marline_core::deferred::Deferred;
/// use marline_protocols::inquiry::{DatagramInquiry, InquiryError};
///
/// /// RFC 4330: 48 bytes there, 48 bytes back; version and mode are in the first.
/// fn sntp(reactor: &Reactor) -> Deferred<Vec<u8>, InquiryError> {
///     let mut question = [0; 48];
///     question[0] = 0b00_100_011;
///     let waits = [Duration::from_millis(500), Duration::from_secs(2)];
///     let inquiry = DatagramInquiry::new(question).waits(waits);
///     let of_server = |answer: &[u8]| answer.len() >= 48 && answer[0] & 7 == 4;
///     inquiry.accept(of_server).ask(reactor, "pool.ntp.org:123")
/// }
/// # let _ = sntp;
/// ```
#[derive(Clone)]
pub struct DatagramInquiry {
    question: Vec<u8>,
    waits: Vec<Duration>,
    accepts: Option<Rc<Accepts>>,
}

/// Whether a datagram is an answer.
type Accepts = dyn Fn(&[u8]) -> bool;

impl DatagramInquiry {
    /// Asks `question`, which may be empty, up to three times, and waits one, two and four seconds after them. Whatever comes from there is
    /// the answer.
    #[must_use]
    pub fn new(question: impl Into<Vec<u8>>) -> Self {
        let waits = [1, 2, 4].map(Duration::from_secs).to_vec();
        Self { question: question.into(), waits, accepts: None }
    }

    /// How long to wait for an answer each time the question has been sent: it is sent as often as there are waits, at most.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn waits(mut self, waits: impl Into<Vec<Duration>>) -> Self {
        self.waits = waits.into();
        assert!(!self.waits.is_empty(), "a question is asked at least once");
        self
    }

    /// What is an answer: other datagrams are passed over, and the wait goes on. A panic in `is_answer` is logged, and the datagram passed over.
    #[must_use]
    pub fn accept(mut self, is_answer: impl Fn(&[u8]) -> bool + 'static) -> Self {
        self.accepts = Some(Rc::new(is_answer));
        self
    }

    /// Sends the question, and gives the first answer, or an error that names `to`: at once if nothing can be sent. A refusal ends the waiting.
    ///
    /// Of a name's addresses the first is asked, and the next one where that refuses or there is no way to it; each has all its waits. The
    /// look-up of the name has as long as the system gives it. Cancelling gives up, and closes the socket.
    ///
    /// An answer is what comes from the address and port that were asked, to the port of this asking alone. An adversary who can guess or see
    /// these can forge it.
    #[track_caller]
    pub fn ask(
        self,
        reactor: &Reactor,
        to: impl Into<Destination>,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let to = to.into();
        if let Some(addr) = to.addr().and_then(Addr::ip) {
            return Call::begin(self, reactor, to, addr);
        }
        let Some((name, port)) = to.name() else {
            return Deferred::failed(InquiryError::new(&to, cannot(&to, ConnectCause::Address)));
        };
        let (reactor, unknown) = (reactor.clone(), to.clone());
        let addrs = reactor.resolve(name).map_err(move |error| {
            let cause = match error.kind() {
                // What a look-up that is cancelled comes to.
                ErrorKind::Interrupted => InquiryCause::Interrupted(Interrupt::Cancelled),
                _ => cannot(&unknown, ConnectCause::UnknownName(error)),
            };
            InquiryError::new(&unknown, cause)
        });
        addrs.then(move |addrs| self.ask_in_turn(&reactor, to, port, addrs.into_iter()))
    }

    /// Asks at one address after the other, until it is not refused.
    fn ask_in_turn(
        self,
        reactor: &Reactor,
        to: Destination,
        port: u16,
        mut addrs: vec::IntoIter<IpAddr>,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let Some(addr) = addrs.next() else {
            let unknown = ConnectCause::UnknownName(OsError::new(ErrorKind::NotFound));
            return Deferred::failed(InquiryError::new(&to, cannot(&to, unknown)));
        };
        let asked = Call::begin(self.clone(), reactor, to.clone(), (addr, port).into());
        let reactor = reactor.clone();
        asked.or_then(move |error| match error.cause {
            InquiryCause::Connect(_) if addrs.len() > 0 => {
                self.ask_in_turn(&reactor, to, port, addrs)
            }
            _ => Deferred::failed(error),
        })
    }

    fn is_answer(&self, datagram: &[u8]) -> bool {
        self.accepts.as_ref().is_none_or(|accepts| accepts(datagram))
    }
}

impl fmt::Debug for DatagramInquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, waits, accepts: _ } = self;
        f.debug_struct("DatagramInquiry")
            .field("question", question)
            .field("waits", waits)
            .finish_non_exhaustive()
    }
}

/// One asking at one address.
struct Call {
    inquiry: DatagramInquiry,
    to: Destination,
    resolver: Cell<Option<Resolver<Vec<u8>, InquiryError>>>,
    socket: RefCell<Option<DatagramTransport>>,
    timer: Cell<Option<DelayedCall>>,
    /// How often the question has been sent.
    asked: Cell<usize>,
}

impl Call {
    #[track_caller]
    fn begin(
        inquiry: DatagramInquiry,
        reactor: &Reactor,
        to: Destination,
        addr: SocketAddr,
    ) -> Deferred<Vec<u8>, InquiryError> {
        let call = Rc::new(Self {
            inquiry,
            to,
            resolver: Cell::default(),
            socket: RefCell::default(),
            timer: Cell::default(),
            asked: Cell::new(0),
        });
        let weak = Rc::downgrade(&call);
        let (answer, resolver) = Deferred::with_canceller(move || {
            if let Some(call) = weak.upgrade() {
                call.finish(Err(InquiryCause::Interrupted(Interrupt::Cancelled)));
            }
        });
        call.resolver.set(Some(resolver));
        let any: IpAddr = match addr {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match reactor.listen_udp((any, 0), Asker(Rc::clone(&call))) {
            Err(error) => call.cannot(ConnectCause::Bind(error.source.into())),
            Ok(socket) => {
                *call.socket.borrow_mut() = Some(socket.clone());
                match socket.connect(addr) {
                    Ok(()) => call.send(&socket),
                    Err(error) => call.failed(error),
                }
            }
        }
        answer
    }

    /// Asks once more, and waits.
    fn send(self: &Rc<Self>, socket: &DatagramTransport) {
        let waits = &self.inquiry.waits;
        let asked = self.asked.get();
        let Some(wait) = waits.get(asked) else {
            let patience = waits.iter().fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
            return self.finish(Err(InquiryCause::TimedOut { patience }));
        };
        self.asked.set(asked + 1);
        if let Err(error) = socket.try_send(&self.inquiry.question) {
            return self.failed(error);
        }
        let (weak, socket) = (Rc::downgrade(self), socket.clone());
        let again = socket.reactor().call_later(*wait, move |_| {
            if let Some(call) = weak.upgrade() {
                call.send(&socket);
            }
        });
        self.timer.set(Some(again));
    }

    fn failed(&self, error: DatagramError) {
        match error {
            DatagramError::Os(error) => self.cannot(match error.kind() {
                ErrorKind::ConnectionRefused => ConnectCause::Refused,
                ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => ConnectCause::NoRoute,
                _ => ConnectCause::Os(error),
            }),
            error => self.finish(Err(InquiryCause::Send(error))),
        }
    }

    fn cannot(&self, cause: ConnectCause) {
        self.finish(Err(cannot(&self.to, cause)));
    }

    /// Closes the socket and fires the result, unless that is done.
    fn finish(&self, result: Result<Vec<u8>, InquiryCause>) {
        if let Some(timer) = self.timer.take() {
            // It may be what has just rung.
            let _ = timer.cancel();
        }
        let socket = self.socket.borrow_mut().take();
        if let Some(socket) = socket {
            socket.stop_listening().ignore();
        }
        if let Some(resolver) = self.resolver.take() {
            resolver.finish(result.map_err(|cause| InquiryError::new(&self.to, cause)));
        }
    }
}

fn cannot(to: &Destination, cause: ConnectCause) -> InquiryCause {
    InquiryCause::Connect(ConnectError { destination: to.to_string(), cause })
}

/// The socket's protocol.
struct Asker(Rc<Call>);

impl DatagramProtocol for Asker {
    fn datagram_received(&mut self, _: &DatagramTransport, data: &[u8], _from: &Addr) {
        if self.0.inquiry.is_answer(data) {
            self.0.finish(Ok(data.to_vec()));
        }
    }

    fn refused(&mut self, _: &DatagramTransport, error: OsError) {
        self.0.failed(DatagramError::Os(error));
    }

    fn stopped(&mut self, _: &DatagramTransport, reason: &CloseReason) {
        self.0.finish(Err(InquiryCause::Lost(reason.clone())));
    }
}

#[cfg(test)]
mod tests {
    use marline_core::Time;
    use marline_core::testing::{CapturedLog, TestReactor};

    use super::*;

    /// Says something to each question, from the `first` one on.
    #[derive(Clone, Default)]
    struct Says {
        first: usize,
        texts: &'static [&'static str],
        heard: Rc<RefCell<Vec<(Time, Addr)>>>,
    }

    impl DatagramProtocol for Says {
        fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
            let now = transport.reactor().now();
            self.heard.borrow_mut().push((now, from.clone()));
            assert_eq!(data, b"who?");
            if self.heard.borrow().len() >= self.first {
                for text in self.texts {
                    transport.send_to(text.as_bytes(), from).unwrap();
                }
            }
        }
    }

    fn says(first: usize, texts: &'static [&'static str]) -> Says {
        Says { first, texts, ..Says::default() }
    }

    #[track_caller]
    fn answer(reactor: &TestReactor, asked: Deferred<Vec<u8>, InquiryError>) -> String {
        match reactor.result_of(asked) {
            Ok(answer) => String::from_utf8(answer).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    fn question() -> DatagramInquiry {
        DatagramInquiry::new("who?")
    }

    #[test]
    fn the_first_answer_is_given_and_the_socket_closed() {
        let reactor = TestReactor::new();
        let server = says(1, &["one", "two"]);
        let socket = reactor.listen_udp("127.0.0.1:700", server.clone()).unwrap();
        assert_eq!(answer(&reactor, question().ask(&reactor, "127.0.0.1:700")), "one");
        reactor.advance(Duration::from_secs(60));
        assert_eq!(server.heard.borrow().len(), 1, "asked again");
        socket.stop_listening().ignore();
        reactor.turn_until_idle();
        reactor.check_leaks();
    }

    #[test]
    fn both_families_can_be_asked() {
        let reactor = TestReactor::new();
        for addr in ["127.0.0.1:700", "[::1]:700"] {
            let _socket = reactor.listen_udp(addr, says(1, &["here"])).unwrap();
            assert_eq!(answer(&reactor, question().ask(&reactor, addr)), "here");
        }
    }

    #[test]
    fn silence_is_asked_again_after_each_wait_and_given_up_after_the_last() {
        let reactor = TestReactor::new();
        let server = says(usize::MAX, &[]);
        let _socket = reactor.listen_udp("127.0.0.1:700", server.clone()).unwrap();
        let begin = reactor.now();
        let told = answer(&reactor, question().ask(&reactor, "127.0.0.1:700"));
        assert_eq!(told, "no answer from 127.0.0.1:700 within 7s");
        assert_eq!(reactor.now().since(begin), Duration::from_secs(7));
        let heard = server.heard.borrow().clone();
        assert_eq!([0, 1, 2].map(|n: usize| heard[n].0.since(begin).as_secs()), [0, 1, 3]);
        let waits = [Duration::from_millis(10); 5];
        let told = answer(&reactor, question().waits(waits).ask(&reactor, "127.0.0.1:700"));
        assert_eq!(told, "no answer from 127.0.0.1:700 within 50ms");
        assert_eq!(server.heard.borrow().len(), 3 + 5);
    }

    #[test]
    fn what_was_lost_is_made_up_for_by_asking_again() {
        let reactor = TestReactor::new();
        let _socket = reactor.listen_udp("127.0.0.1:700", says(3, &["at last"])).unwrap();
        let begin = reactor.now();
        assert_eq!(answer(&reactor, question().ask(&reactor, "127.0.0.1:700")), "at last");
        assert_eq!(reactor.now().since(begin).as_secs(), 3);
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_still_one() {
        struct Slow;

        impl DatagramProtocol for Slow {
            fn datagram_received(&mut self, slow: &DatagramTransport, _: &[u8], from: &Addr) {
                let (transport, from) = (slow.clone(), from.clone());
                slow.reactor().call_later(Duration::from_secs(5), move |_| {
                    transport.send_to(b"hm", &from).unwrap();
                });
            }
        }

        let reactor = TestReactor::new();
        let _socket = reactor.listen_udp("127.0.0.1:700", Slow).unwrap();
        let begin = reactor.now();
        assert_eq!(answer(&reactor, question().ask(&reactor, "127.0.0.1:700")), "hm");
        assert_eq!(reactor.now().since(begin).as_secs(), 5);
    }

    #[test]
    fn what_is_no_answer_or_comes_from_elsewhere_is_passed_over() {
        let reactor = TestReactor::new();
        let server = says(1, &["", "no", "yes", "yes, too"]);
        let asked = Rc::clone(&server.heard);
        let _socket = reactor.listen_udp("127.0.0.1:700", server).unwrap();
        let inquiry = question().accept(|answer| answer.starts_with(b"yes"));
        assert_eq!(answer(&reactor, inquiry.ask(&reactor, "127.0.0.1:700")), "yes");

        let stranger = reactor.listen_udp("127.0.0.1:701", says(1, &[])).unwrap();
        let mute = says(usize::MAX, &[]);
        let _mute = reactor.listen_udp("127.0.0.1:702", mute.clone()).unwrap();
        let forged = question().ask(&reactor, "127.0.0.1:702");
        reactor.turn_until(|| mute.heard.borrow().len() == 1);
        let asker = mute.heard.borrow()[0].1.clone();
        assert_ne!(asker, asked.borrow()[0].1);
        stranger.send_to(b"yes", &asker).unwrap();
        assert_eq!(answer(&reactor, forged), "no answer from 127.0.0.1:702 within 7s");
    }

    #[test]
    fn a_panic_over_an_answer_is_logged_and_costs_that_datagram() {
        let log = CapturedLog::start();
        let reactor = TestReactor::new();
        let _socket = reactor.listen_udp("127.0.0.1:700", says(1, &["a", "bc"])).unwrap();
        let inquiry = question().accept(|answer| answer[1] == b'c');
        assert_eq!(answer(&reactor, inquiry.ask(&reactor, "127.0.0.1:700")), "bc");
        assert_eq!(log.take_errors().len(), 1);
    }

    #[test]
    fn a_refusal_ends_the_waiting_at_once_and_leaves_nothing_open() {
        let log = CapturedLog::start();
        let reactor = TestReactor::new();
        let begin = reactor.now();
        let refused = reactor.result_of(question().ask(&reactor, "127.0.0.1:700")).unwrap_err();
        assert_eq!(refused.to_string(), "cannot connect to 127.0.0.1:700: connection refused");
        assert!(reactor.now().since(begin) < Duration::from_secs(1));
        reactor.turn_until_idle();
        reactor.check_leaks();
        log.assert_no_errors();
    }

    #[test]
    fn a_name_is_looked_up_and_its_addresses_asked_until_one_does_not_refuse() {
        let reactor = TestReactor::new();
        let addrs = ["10.0.0.1", "10.9.9.9", "127.0.0.1", "10.9.9.9"];
        reactor.world().set_name("oracle", addrs.map(|addr| addr.parse().unwrap()));
        let ask = || answer(&reactor, question().ask(&reactor, "oracle:700"));
        // The last one has the last word.
        assert_eq!(ask(), "cannot connect to oracle:700: no route");
        let server = says(1, &["here"]);
        let socket = reactor.listen_udp("127.0.0.1:700", server.clone()).unwrap();
        assert_eq!(ask(), "here");
        socket.stop_listening().ignore();
        let mute = says(usize::MAX, &[]);
        let _mute = reactor.listen_udp("10.0.0.1:700", mute.clone()).unwrap();
        // Silence is no refusal.
        assert_eq!(ask(), "no answer from oracle:700 within 7s");
        assert_eq!((mute.heard.borrow().len(), server.heard.borrow().len()), (3, 1));
    }

    #[test]
    fn what_cannot_be_asked_is_said_with_whom_it_was_for() {
        let reactor = TestReactor::new();
        let ask = |to: &str| answer(&reactor, question().ask(&reactor, to));
        assert_eq!(
            ask("[::1:9"),
            "cannot connect to [::1:9: not a destination of the form host:port"
        );
        let unknown = ask("oracle:9");
        assert!(unknown.starts_with("cannot connect to oracle:9: unknown name: "), "{unknown}");
        assert_eq!(ask("127.0.0.1:0"), "cannot ask 127.0.0.1:0: port zero");
        let unix = question().ask(&reactor, Addr::Unix("/run/echo".into()));
        let expected = "cannot connect to /run/echo: not a destination of the form host:port";
        assert_eq!(answer(&reactor, unix), expected);
        let long = DatagramInquiry::new(vec![0; 65_508]).ask(&reactor, "127.0.0.1:9");
        let expected = "cannot ask 127.0.0.1:9: a datagram has at most 65507 bytes";
        assert_eq!(answer(&reactor, long), expected);
        reactor.host().set_descriptor_limit(Some(0));
        let none = ask("127.0.0.1:9");
        assert!(none.starts_with("cannot connect to 127.0.0.1:9: local address: "), "{none}");
        reactor.turn_until_idle();
        reactor.check_leaks();
    }

    #[test]
    fn a_cancel_gives_up_in_the_look_up_and_in_the_wait() {
        let reactor = TestReactor::new();
        reactor.world().set_name("oracle", ["127.0.0.1".parse().unwrap()]);
        let socket = reactor.listen_udp("127.0.0.1:700", says(usize::MAX, &[])).unwrap();
        for wait in [0, 2] {
            let asked = question().ask(&reactor, "oracle:700");
            reactor.advance(Duration::from_secs(wait));
            asked.cancel();
            assert_eq!(answer(&reactor, asked), "no answer from oracle:700: cancelled");
        }
        socket.stop_listening().ignore();
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }

    #[test]
    fn who_waits_is_told_that_everything_is_closed() {
        let reactor = TestReactor::new();
        let _socket = reactor.listen_udp("127.0.0.1:700", says(usize::MAX, &[])).unwrap();
        let asked = question().ask(&reactor, "127.0.0.1:700");
        reactor.advance(Duration::from_secs(2));
        reactor.close_all();
        let error = reactor.result_of(asked).unwrap_err();
        assert!(matches!(error.cause, InquiryCause::Lost(_)), "{error}");
    }

    #[test]
    #[should_panic(expected = "a question is asked at least once")]
    fn no_wait_at_all_is_refused() {
        let _ = question().waits([]);
    }
}
