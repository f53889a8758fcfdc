//! The small protocols, client and server where there are both.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use marline_conformance::on_every_driver;
use marline_core::deferred::Deferred;
use marline_core::{Reactor, Transport};
use marline_protocols::chargen::Chargen;
use marline_protocols::daytime::{self, Daytime};
use marline_protocols::discard::Discard;
use marline_protocols::echo::Echo;
use marline_protocols::finger::{self, Directory, Query};
use marline_protocols::ident::{self, IdentCause, Identity, Lookup, Ports, Question, Refusal};
use marline_protocols::inquiry::{DatagramInquiry, InquiryCause};
use marline_protocols::qotd::{self, Quote};
use marline_protocols::time::{self, TimeServer};

use super::peer::wait;
use crate::datagrams::kit::{Ear, ear};
use crate::streams::kit::{Probe, assert_same, idle, pattern, started, turn_until};

on_every_driver!(echo_sends_everything_back_and_closes_after_the_peer, |ground| {
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", || Echo).unwrap();
    let sent = pattern(3_000_000);
    let said = sent.clone();
    let client = Probe::half_close().on_made(move |transport| {
        transport.write(&said);
        transport.lose_write_connection();
    });
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "the end", || tape.has("read_lost"));
    assert_same(&tape.bytes(), &sent);
    tape.transport().lose_connection();
    turn_until(&reactor, "the loss", || tape.is_lost());
});

on_every_driver!(discard_takes_everything_and_says_nothing, |ground| {
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", || Discard).unwrap();
    let client = Probe::new().on_made(|transport| {
        transport.write(&pattern(1_000_000));
        transport.lose_write_connection();
    });
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "the end", || tape.is_lost());
    assert_eq!((tape.received(), tape.reason().as_str()), (0, "Done"));
});

on_every_driver!(chargen_goes_on_until_the_peer_ends, |ground| {
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", || Chargen).unwrap();
    let client = Probe::new();
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    turn_until(&reactor, "a lot", || tape.received() > 500_000);
    tape.transport().lose_write_connection();
    turn_until(&reactor, "the end", || tape.is_lost());
    let bytes = tape.bytes();
    assert!(bytes.chunks(74).all(|line| line.ends_with(b"\r\n")), "a line was cut");
    assert_eq!(tape.reason(), "Done");
});

on_every_driver!(echo_of_a_peer_that_does_not_read_waits_in_bounded_memory, |ground| {
    let reactor = started(ground);
    let server = Rc::new(RefCell::new(None::<Transport>));
    let seen = Rc::clone(&server);
    // Hands over to the echo, so that its transport can be looked at.
    let door = move || {
        let seen = Rc::clone(&seen);
        Probe::new().on_made(move |transport| {
            *seen.borrow_mut() = Some(transport.clone());
            transport.upgrade(Echo, b"");
        })
    };
    let port = reactor.listen_tcp("127.0.0.1:0", door).unwrap();
    let client = Probe::new().on_made(|transport| {
        transport.pause_reading();
        transport.write(&pattern(20_000_000));
    });
    let tape = client.tape();
    reactor.connect_tcp(port.local_addr(), client).ignore();
    let pausing = || server.borrow().as_ref().is_some_and(Transport::is_paused);
    turn_until(&reactor, "the pause", pausing);
    for _ in 0..5 {
        idle(&reactor);
        let pending = server.borrow().as_ref().unwrap().pending();
        assert!(pending <= 2 * 65_536, "{pending} bytes wait");
    }
    tape.transport().resume_reading();
    turn_until(&reactor, "all of it", || tape.received() == 20_000_000);
    assert_same(&tape.bytes(), &pattern(20_000_000));
});

on_every_driver!(an_echo_in_datagrams_sends_back_what_comes_and_discard_does_not, |ground| {
    let reactor = started(ground);
    let echo = reactor.listen_udp("127.0.0.1:0", Echo).unwrap();
    let discard = reactor.listen_udp("127.0.0.1:0", Discard).unwrap();
    for length in [0, 1, 1_472, 65_507] {
        let told = DatagramInquiry::new(pattern(length)).ask(&reactor, echo.local_addr());
        assert_same(&wait(&reactor, told).unwrap(), &pattern(length));
    }
    let waits = [Duration::from_millis(20); 3];
    let asked = DatagramInquiry::new("anybody?").waits(waits).ask(&reactor, discard.local_addr());
    let silence = wait(&reactor, asked).unwrap_err();
    assert!(matches!(silence.cause, InquiryCause::TimedOut { .. }), "{silence}");
});

on_every_driver!(a_chargen_in_datagrams_answers_each_with_up_to_512_bytes, |ground| {
    let reactor = started(ground);
    let chargen = reactor.listen_udp("127.0.0.1:0", Chargen).unwrap();
    let mut lengths = Vec::new();
    for _ in 0..100 {
        let told = DatagramInquiry::new([]).ask(&reactor, chargen.local_addr());
        let text = wait(&reactor, told).unwrap();
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n')), "{text:?}");
        lengths.push(text.len());
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 50 && lengths.iter().all(|length| *length <= 512), "{lengths:?}");
});

on_every_driver!(services_do_not_answer_the_number_of_their_own_port, |ground| {
    let reactor = started(ground);
    let quote = Quote::new("Silence is golden.").unwrap();
    let services = [
        reactor.listen_udp("127.0.0.1:0", Echo).unwrap(),
        reactor.listen_udp("127.0.0.1:0", Daytime).unwrap(),
        reactor.listen_udp("127.0.0.1:0", quote).unwrap(),
        reactor.listen_udp("127.0.0.1:0", Chargen).unwrap(),
        reactor.listen_udp("127.0.0.1:0", TimeServer).unwrap(),
    ];
    let mut twins = 0;
    for service in services {
        let (twin, other) = (Ear::new(), Ear::new());
        let (heard, other_heard) = (twin.tape(), other.tape());
        // Another address of this host's. A client of another check may have the number there: then this service is not checked.
        let port = service.local_addr().port();
        let Ok(twin) = reactor.listen_udp(("127.0.0.2", port), twin) else { continue };
        twins += 1;
        let other = reactor.listen_udp("127.0.0.1:0", other).unwrap();
        twin.send_to(b"one", service.local_addr()).unwrap();
        twin.send_to(b"two", service.local_addr()).unwrap();
        other.send_to(b"three", service.local_addr()).unwrap();
        turn_until(&reactor, "the answer", || other_heard.count() == 1);
        idle(&reactor);
        assert_eq!(heard.count(), 0);
    }
    assert!(twins > 0, "nothing was checked");
});

on_every_driver!(time_daytime_and_quote_are_told_to_their_clients, |ground| {
    let reactor = started(ground);
    let quote = Quote::new("Brevity is the soul of wit.").unwrap();
    let datagram_quote = quote.clone();
    let times = reactor.listen_tcp("127.0.0.1:0", || TimeServer).unwrap();
    let daytimes = reactor.listen_tcp("127.0.0.1:0", || Daytime).unwrap();
    let quotes = reactor.listen_tcp("127.0.0.1:0", move || quote.clone()).unwrap();

    let before = reactor.wall_clock();
    let told = wait(&reactor, time::ask(&reactor, times.local_addr())).unwrap();
    let text = wait(&reactor, daytime::ask(&reactor, daytimes.local_addr())).unwrap();
    assert_present(&reactor, before, told, &text);
    let told = wait(&reactor, qotd::ask(&reactor, quotes.local_addr())).unwrap();
    assert_eq!(told, "Brevity is the soul of wit.\n");

    let times = reactor.listen_udp("127.0.0.1:0", TimeServer).unwrap();
    let daytimes = reactor.listen_udp("[::1]:0", Daytime).unwrap();
    let quotes = reactor.listen_udp("127.0.0.1:0", datagram_quote).unwrap();
    let before = reactor.wall_clock();
    let told = wait(&reactor, time::ask_udp(&reactor, times.local_addr())).unwrap();
    let text = wait(&reactor, daytime::ask_udp(&reactor, daytimes.local_addr())).unwrap();
    assert_present(&reactor, before, told, &text);
    let told = wait(&reactor, qotd::ask_udp(&reactor, quotes.local_addr())).unwrap();
    assert_eq!(told, "Brevity is the soul of wit.\n");
});

/// Checks that a time and a date lie between that moment and now.
#[track_caller]
fn assert_present(reactor: &Reactor, before: SystemTime, told: SystemTime, text: &str) {
    let after = reactor.wall_clock();
    let second = Duration::from_secs(1);
    assert!(before - second < told && told <= after, "{before:?} {told:?} {after:?}");
    let whole = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut possible = (whole(before).as_secs()..=whole(after).as_secs())
        .map(|secs| daytime::text(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)));
    assert!(possible.any(|moment| moment == text), "{text}");
}

on_every_driver!(nobody_there_is_told_to_who_asks_in_datagrams, |ground| {
    let reactor = started(ground);
    let (gone, _) = ear(&reactor, Ear::new());
    let stopped = gone.stop_listening();
    wait(&reactor, stopped).unwrap();
    let refused = wait(&reactor, time::ask_udp(&reactor, gone.local_addr())).unwrap_err();
    let expected = format!("cannot connect to {}: connection refused", gone.local_addr());
    assert_eq!(refused.to_string(), expected);
});

struct Host;

impl Directory for Host {
    fn user(&mut self, name: &str, verbose: bool) -> Deferred<String> {
        Deferred::ready(format!("Login: {name}\nPlan: {verbose}"))
    }
}

impl Lookup for Host {
    fn lookup(&mut self, question: &Question) -> Deferred<Identity, Refusal> {
        match question.server.port() {
            6193 => Deferred::from_result(Ok(Identity::unix("stjohns").unwrap())),
            _ => Deferred::failed(Refusal::HiddenUser),
        }
    }
}

on_every_driver!(finger_and_ident_answer_their_clients, |ground| {
    let reactor = started(ground);
    let fingers = reactor.listen_tcp("127.0.0.1:0", || finger::server(Host)).unwrap();
    let idents = reactor.listen_tcp("127.0.0.1:0", || ident::server(Host)).unwrap();
    let query = Query::user("ron").unwrap().verbose();
    let told = wait(&reactor, finger::ask(&reactor, fingers.local_addr(), &query)).unwrap();
    assert_eq!(told, "Login: ron\nPlan: true\n");
    let asked = |on_server| {
        let ports = Ports { on_server, on_client: 23 };
        wait(&reactor, ident::ask(&reactor, idents.local_addr(), ports))
    };
    assert_eq!(asked(6193).unwrap().user(), b"stjohns");
    let refused = asked(6195).unwrap_err();
    assert!(matches!(refused.cause, IdentCause::Refused(Refusal::HiddenUser)), "{refused}");
});
