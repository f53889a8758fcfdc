//! The small protocols, client and server where there are both.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use marline_conformance::on_every_driver;
use marline_core::deferred::{Deferred, Fault};
use marline_core::{Reactor, Transport};
use marline_protocols::chargen::Chargen;
use marline_protocols::daytime::{self, Daytime};
use marline_protocols::discard::Discard;
use marline_protocols::echo::Echo;
use marline_protocols::finger::{self, Directory, Query};
use marline_protocols::ident::{self, IdentCause, Identity, Lookup, Ports, Question, Refusal};
use marline_protocols::qotd::{self, Quote};
use marline_protocols::time::{self, TimeServer};

use crate::streams::kit::{Outcome, Probe, assert_same, idle, pattern, started, turn_until};

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

on_every_driver!(time_daytime_and_quote_are_told_to_their_clients, |ground| {
    let reactor = started(ground);
    let quote = Quote::new("Brevity is the soul of wit.").unwrap();
    let times = reactor.listen_tcp("127.0.0.1:0", || TimeServer).unwrap();
    let daytimes = reactor.listen_tcp("127.0.0.1:0", || Daytime).unwrap();
    let quotes = reactor.listen_tcp("127.0.0.1:0", move || quote.clone()).unwrap();

    let before = reactor.wall_clock();
    let told = wait(&reactor, time::ask(&reactor, times.local_addr())).unwrap();
    let text = wait(&reactor, daytime::ask(&reactor, daytimes.local_addr())).unwrap();
    let after = reactor.wall_clock();
    let second = Duration::from_secs(1);
    assert!(before - second < told && told <= after, "{before:?} {told:?} {after:?}");
    let whole = |moment: SystemTime| moment.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut possible = (whole(before).as_secs()..=whole(after).as_secs())
        .map(|secs| daytime::text(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)));
    assert!(possible.any(|moment| moment == text), "{text}");

    let told = wait(&reactor, qotd::ask(&reactor, quotes.local_addr())).unwrap();
    assert_eq!(told, "Brevity is the soul of wit.\n");
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

/// Turns until a Deferred has its result.
#[track_caller]
fn wait<T: 'static, E: Fault>(reactor: &Reactor, deferred: Deferred<T, E>) -> Result<T, E> {
    let outcome = Outcome::of(deferred);
    turn_until(reactor, "the answer", || outcome.is_there());
    outcome.take()
}
