//! Asking in datagrams on the simulated network: answers, silence, refusals, names, cancels.
#![allow(clippy::unwrap_used)]

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
    assert_eq!(ask("[::1:9"), "cannot connect to [::1:9: not a destination of the form host:port");
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
