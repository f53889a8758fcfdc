//! Answering ident's question.

use std::net::SocketAddr;
use std::time::Duration;

use marline_core::deferred::{CancelHandle, Deferred};
use marline_core::{CloseReason, Transport};

use super::{Answer, Identity, Ports, PortsError, Refusal};
use crate::frame::{FrameLink, FrameProtocol, FrameReceiver};
use crate::line::{LineError, LineFormat};
use crate::policy::Timeout;

/// Knows whom connections belong to.
pub trait Lookup: 'static {
    /// Tells whom a connection belongs to. If the Deferred's resolver is dropped unfired, [`Refusal::UnknownError`] is told; a panic in here
    /// ends the connection, which means the same.
    fn lookup(&mut self, question: &Question) -> Deferred<Identity, Refusal>;
}

/// A connection that is asked about, with its addresses: those of the connection to the ident server, as RFC 1413 §4 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The end at the server's host.
    pub server: SocketAddr,
    /// The end at the host that asks.
    pub client: SocketAddr,
}

/// Makes the protocol of one connection to an ident server.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_protocols::ident::{self, Identity, Lookup, Question, Refusal};
///
/// struct Nobody;
///
/// impl Lookup for Nobody {
///     fn lookup(&mut self, _question: &Question) -> Deferred<Identity, Refusal> {
///         Deferred::failed(Refusal::HiddenUser)
///     }
/// }
///
/// let factory = || ident::server(Nobody); // for reactor.listen_tcp("127.0.0.1:113", factory)
/// # let _ = factory();
/// ```
pub fn server<L: Lookup>(lookup: L) -> FrameReceiver<IdentServer<L>> {
    FrameReceiver::new(IdentServer { lookup, patience: None, asked: CancelHandle::default() })
}

/// Answers questions out of a [`Lookup`], one after the other: see [`server`].
///
/// A question is a line of at most 1,000 bytes; one that is malformed ends the connection, as RFC 1413 §5 allows. One after which nothing
/// has come about for a minute is reset, whether the next question, the answer or the peer's reading is missing. If the connection
/// ends before the answer is there, the lookup is cancelled.
#[derive(Debug)]
pub struct IdentServer<L> {
    lookup: L,
    patience: Option<Timeout>,
    /// The lookup that is under way.
    asked: CancelHandle,
}

impl<L: Lookup> FrameProtocol for IdentServer<L> {
    type Format = LineFormat;

    fn format(&self) -> LineFormat {
        LineFormat::default().with_limit(QUESTION)
    }

    fn connection_made(&mut self, link: &mut FrameLink<'_, LineFormat>) {
        let patience = Timeout::new(link, Transport::abort_connection);
        self.patience.insert(patience).set(Some(PATIENCE));
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, LineFormat>, line: &[u8]) {
        if let Some(patience) = &self.patience {
            patience.reset();
        }
        let ports = match Ports::parse(line) {
            Ok(ports) => ports,
            Err(PortsError::Range { on_server, on_client }) => {
                let refusal = Refusal::InvalidPort;
                let answer = format!("{on_server},{on_client}:ERROR:{refusal}\r\n");
                return link.write(answer.as_bytes());
            }
            Err(_) => return link.lose_connection(),
        };
        let answer = match question(link, ports) {
            Some(question) => self.lookup.lookup(&question),
            None => Deferred::failed(Refusal::UnknownError),
        };
        self.asked = answer.cancel_handle();
        // Answers come in the order of the questions: the next one is read when this one is answered.
        link.pause_reading();
        let transport = link.transport().clone();
        answer.done(move |result| {
            let mut line = Vec::new();
            Answer { ports, result }.encode(&mut line);
            transport.write_sequence([&line[..], b"\r\n"]);
            transport.resume_reading();
        });
    }

    fn frame_refused(&mut self, link: &mut FrameLink<'_, LineFormat>, _error: LineError) {
        link.lose_connection();
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        self.asked.cancel();
    }
}

/// The connection that is asked about, if the two hosts have addresses.
fn question(transport: &Transport, ports: Ports) -> Option<Question> {
    let mut server = transport.local_addr()?.ip()?;
    let mut client = transport.peer_addr().ip()?;
    server.set_port(ports.on_server);
    client.set_port(ports.on_client);
    Some(Question { server, client })
}

/// The greatest length of a question, in bytes, the end of its line excluded.
const QUESTION: usize = 1_000;
/// How long nothing may come about.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::IpAddr;
    use std::rc::Rc;

    use marline_core::deferred::Resolver;
    use marline_core::driver::ConnectOptions;
    use marline_core::sim::World;
    use marline_core::testing::Step::{Aborted, C, Closed, End, S, Silence, Wait};
    use marline_core::testing::{Conversation, MemoryTransport, TestReactor, talk};
    use marline_core::{Protocol, Transport};

    use super::super::{ErrorToken, IdentCause, ask, ask_about};
    use super::*;

    #[derive(Clone, Default)]
    struct Host {
        asked: Rc<RefCell<Vec<Question>>>,
        waiting: Rc<RefCell<Vec<Resolver<Identity, Refusal>>>>,
    }

    impl Lookup for Host {
        fn lookup(&mut self, question: &Question) -> Deferred<Identity, Refusal> {
            self.asked.borrow_mut().push(*question);
            match question.server.port() {
                6193 => Deferred::from_result(Ok(Identity::unix("stjohns").unwrap())),
                6195 => Deferred::failed(Refusal::NoUser),
                6197 => Deferred::failed(Refusal::HiddenUser),
                6199 => Deferred::failed(Refusal::Other(ErrorToken::new("XBUSY").unwrap())),
                6201 => panic!("as asked"),
                _ => {
                    let (answer, resolver) = Deferred::new();
                    self.waiting.borrow_mut().push(resolver);
                    answer
                }
            }
        }
    }

    fn host() -> FrameReceiver<IdentServer<Host>> {
        server(Host::default())
    }

    /// The examples of RFC 1413 §4, and what else can be answered.
    #[test]
    fn questions_are_answered_one_after_the_other() {
        let steps = [
            C("6193, 23\r\n6195,23\r\n"),
            S("6193,23:USERID:UNIX:stjohns\r\n"),
            S("6195,23:ERROR:NO-USER\r\n"),
            C(" 6197 , 23 \r\n6199,23\r\n"),
            S("6197,23:ERROR:HIDDEN-USER\r\n"),
            S("6199,23:ERROR:XBUSY\r\n"),
            C("0,23\r\n6193,65536\r\n"),
            S("0,23:ERROR:INVALID-PORT\r\n"),
            S("6193,65536:ERROR:INVALID-PORT\r\n"),
            End,
            Closed,
        ];
        talk(host(), &steps);
        Conversation::with_server(host()).bytewise().hold(&steps);
    }

    #[test]
    fn the_addresses_asked_about_are_those_of_the_connection() {
        let lookup = Host::default();
        let asked = Rc::clone(&lookup.asked);
        talk(server(lookup), &[C("6193,23\r\n"), S("6193,23:USERID")]);
        let question = Question {
            server: "192.0.2.1:6193".parse().unwrap(),
            client: "192.0.2.2:23".parse().unwrap(),
        };
        assert_eq!(*asked.borrow(), [question]);
    }

    #[test]
    fn a_malformed_question_ends_the_connection() {
        for question in ["6193 23\r\n", "a,b\r\n", "\r\n", "1x,2\r\n", "1,2\n"] {
            talk(host(), &[C("6195,1\r\n"), S("6195,1:"), C(question), Closed]);
        }
        talk(host(), &[C(&"1".repeat(1001)), Closed]);
    }

    #[test]
    fn a_slow_lookup_holds_the_next_question_back_and_keeps_the_order() {
        let lookup = Host::default();
        let waiting = Rc::clone(&lookup.waiting);
        let steps = [C("7,7\r\n6195,23\r\n"), Wait(10), Silence];
        let peer = talk(server(lookup), &steps);
        let resolver = waiting.borrow_mut().remove(0);
        resolver.resolve(Identity::other("token").unwrap());
        let answers = b"7,7:USERID:OTHER:token\r\n6195,23:ERROR:NO-USER\r\n";
        assert_eq!(peer.take_written(), answers);
    }

    #[test]
    fn a_lookup_that_is_dropped_is_an_unknown_error() {
        let lookup = Host::default();
        let waiting = Rc::clone(&lookup.waiting);
        let peer = talk(server(lookup), &[C("7,7\r\n"), Silence]);
        waiting.borrow_mut().clear();
        assert_eq!(peer.take_written(), b"7,7:ERROR:UNKNOWN-ERROR\r\n");
    }

    #[test]
    fn a_minute_in_which_nothing_comes_about_resets_the_connection() {
        talk(host(), &[C("61"), Wait(59), Silence, Wait(1), Aborted]);
        // Silence alone would not tell whether it still stands.
        let (asks, told) = (C("6195,1\r\n"), S("6195,1:"));
        talk(host(), &[Wait(59), asks, told, Wait(59), asks, told, Wait(60), Aborted]);
        let lookup = Host::default();
        let waiting = Rc::clone(&lookup.waiting);
        talk(server(lookup), &[C("7,7\r\n"), Wait(61), Aborted]);
        assert!(waiting.borrow()[0].is_cancelled());
    }

    #[test]
    fn a_lookup_that_panics_ends_its_connection_alone() {
        let log = marline_core::testing::CapturedLog::start();
        let peer = MemoryTransport::connect(host());
        peer.receive(b"6201,1\r\n");
        assert!(matches!(peer.reason(), Some(CloseReason::Panicked(_))));
        log.take_errors();
    }

    #[test]
    fn client_and_server_understand_each_other() {
        let reactor = TestReactor::new();
        let port = reactor.listen_tcp("127.0.0.1:113", host).unwrap();
        let asked = |on_server| {
            let ports = Ports { on_server, on_client: 23 };
            let answer = reactor.result_of(ask(&reactor, port.local_addr(), ports));
            answer.map(|identity| identity.user().to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(asked(6193), Ok(b"stjohns".to_vec()));
        assert_eq!(asked(6195), Err("127.0.0.1:113 does not tell: NO-USER".into()));
        assert_eq!(asked(6199), Err("127.0.0.1:113 does not tell: XBUSY".into()));
        let malformed = "the answer of 127.0.0.1:113 is malformed: not ports: 0 and 23";
        assert_eq!(asked(0), Err(malformed.into()));
        port.stop_listening().ignore();
        reactor.advance(Duration::from_secs(1));
        reactor.check_leaks();
    }

    /// Answers any question with this, and closes.
    struct Says(&'static str);

    impl Protocol for Says {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) {
            transport.write(self.0.as_bytes());
            transport.lose_connection();
        }
    }

    #[test]
    fn a_client_refuses_what_is_no_answer_to_its_question() {
        let reactor = TestReactor::new();
        reactor.world().set_name("localhost", ["127.0.0.1".parse().unwrap()]);
        let long: &str = Box::leak("1".repeat(1001).into_boxed_str());
        for (says, expected) in [
            ("1,2:USERID:UNIX:a\r\n", "localhost:113 answered for 1,2, which was not asked"),
            (
                "6193,24:USERID:UNIX:a\r\n",
                "localhost:113 answered for 6193,24, which was not asked",
            ),
            (
                "6195,23:USERID:UNIX:a\r\n",
                "localhost:113 answered for 6195,23, which was not asked",
            ),
            ("x\r\n", "the answer of localhost:113 is malformed: not a pair of ports"),
            ("6193,23:ERROR:NO", "localhost:113 does not tell: UNKNOWN-ERROR"),
            ("", "localhost:113 does not tell: UNKNOWN-ERROR"),
            (long, "the answer of localhost:113 is longer than 1000 bytes"),
        ] {
            let port = reactor.listen_tcp("127.0.0.1:113", move || Says(says)).unwrap();
            let ports = Ports { on_server: 6193, on_client: 23 };
            let error = reactor.result_of(ask(&reactor, "localhost:113", ports)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{says}");
            reactor.result_of(port.stop_listening()).unwrap();
        }
    }

    #[test]
    fn a_connection_can_be_asked_about() {
        let reactor = TestReactor::new();
        let lookup = Host::default();
        let asked = Rc::clone(&lookup.asked);
        let ident = reactor.listen_tcp("127.0.0.1:113", move || server(lookup.clone())).unwrap();
        let other = reactor.listen_tcp("127.0.0.1:6193", || Says("")).unwrap();
        let made = reactor.result_of(reactor.connect_tcp(other.local_addr(), Says(""))).unwrap();
        let transport = made.transport().clone();
        let identity = reactor.result_of(ask_about(&transport)).unwrap();
        assert_eq!(identity.user(), b"stjohns");
        let ends = (asked.borrow()[0].server, asked.borrow()[0].client);
        let addrs = (transport.peer_addr().ip(), transport.local_addr().unwrap().ip());
        assert_eq!((Some(ends.0), Some(ends.1)), addrs);
        drop(ident);

        transport.abort_connection();
        reactor.turn_until_idle();
        let gone = MemoryTransport::connect_between(
            Says(""),
            marline_core::Addr::Named("a".into()),
            marline_core::Addr::Named("b".into()),
        );
        let error = reactor.result_of(ask_about(gone.transport())).unwrap_err();
        assert!(matches!(error.cause, IdentCause::NoAddress));
        let expected = "the connection to b is no TCP connection that stands";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_connection_is_asked_about_from_its_own_address() {
        let world = World::new(1);
        let addrs = ["10.0.0.1", "10.0.0.2"].map(|addr| addr.parse().unwrap());
        let reactor = TestReactor::on(&world, &world.host("both", addrs));
        let lookup = Host::default();
        let asked = Rc::clone(&lookup.asked);
        let _ident = reactor.listen_tcp("0.0.0.0:113", move || server(lookup.clone())).unwrap();
        let _other = reactor.listen_tcp("0.0.0.0:6193", || Says("")).unwrap();
        for (here, there) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1")] {
            for here in [here, there] {
                let bind = Some((here.parse::<IpAddr>().unwrap(), 0).into());
                let options = ConnectOptions { bind, ..Default::default() };
                let connecting = reactor.connect_tcp_with((there, 6193), Says(""), options);
                let made = reactor.result_of(connecting).unwrap();
                reactor.result_of(ask_about(made.transport())).unwrap();
                assert_eq!(asked.borrow().last().unwrap().client.ip().to_string(), here);
            }
        }
    }
}
