//! Against Twisted's own framings, finger and ident, in both directions, on the kernel. Where there is no Python with Twisted, each test prints
//! a line that says so and does nothing more.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::rc::Rc;

use marline_conformance::{Ground, skipped};
use marline_core::deferred::Deferred;
use marline_core::{Factory, Port, Reactor};
use marline_protocols::finger::{self, Directory, Query};
use marline_protocols::frame::{FrameFormat, FrameLink, FrameProtocol, FrameReceiver};
use marline_protocols::ident::{self, IdentCause, Identity, Lookup, Ports, Question, Refusal};
use marline_protocols::length_prefix::LengthPrefix;
use marline_protocols::netstring::Netstring;

use super::peer::{Peer, wait};
use crate::streams::kit::{started, turn_until};

const SCRIPT: &str = "twisted_framings.py";
const KERNEL: Ground = Ground { driver: "epoll" };
/// How the script says that there is no Twisted.
const NO_TWISTED: i32 = 75;

struct Back<F>(F);

impl<F: FrameFormat> FrameProtocol for Back<F> {
    type Format = F;

    fn format(&self) -> F {
        self.0
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, F>, frame: &[u8]) {
        link.send(frame).unwrap();
    }
}

struct Host;

impl Directory for Host {
    fn user(&mut self, name: &str, verbose: bool) -> Deferred<String> {
        let plan = if verbose { "True" } else { "False" };
        Deferred::ready(format!("Login: {name}\nPlan: {plan}"))
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

#[test]
fn twisted_clients_talk_to_our_servers() {
    let reactor = started(KERNEL);
    let ports = [
        listen(&reactor, || FrameReceiver::new(Back(Netstring::new()))),
        listen(&reactor, || FrameReceiver::new(Back(LengthPrefix::U32))),
        listen(&reactor, || finger::server(Host)),
        listen(&reactor, || ident::server(Host)),
    ];
    let numbers = ports.each_ref().map(|port| port.local_addr().port().to_string());
    let Some(mut peer) = Peer::start(SCRIPT, &[&["call".into()], &numbers[..]].concat()) else {
        return;
    };
    let mut status = None;
    turn_until(&reactor, "the end of the script", || {
        status = peer.0.try_wait().unwrap();
        status.is_some()
    });
    match status.unwrap().code() {
        Some(NO_TWISTED) => skipped("dialogues with Twisted: there is none"),
        code => assert_eq!(code, Some(0), "the script has found fault"),
    }
}

#[test]
fn our_clients_talk_to_twisted_servers() {
    let Some(mut peer) = Peer::start(SCRIPT, &["serve".into()]) else { return };
    let mut line = String::new();
    BufReader::new(peer.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    if line.is_empty() && peer.0.wait().unwrap().code() == Some(NO_TWISTED) {
        return skipped("dialogues with Twisted: there is none");
    }
    let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let [netstrings, int32s, fingers, idents] = ports[..] else { panic!("no ports: {line:?}") };

    let reactor = started(KERNEL);
    frames_come_back(&reactor, netstrings, Netstring::new());
    frames_come_back(&reactor, int32s, LengthPrefix::U32);

    let query = Query::user("ron").unwrap();
    let told = wait(&reactor, finger::ask(&reactor, ("127.0.0.1", fingers), &query)).unwrap();
    assert_eq!(told, "Login: ron\nNo such user\n");
    let told = wait(&reactor, finger::ask(&reactor, ("127.0.0.1", fingers), &Query::list()));
    assert_eq!(told.unwrap(), "Finger online list denied\n");

    let asked = |on_server| {
        let ports = Ports { on_server, on_client: 23 };
        wait(&reactor, ident::ask(&reactor, ("127.0.0.1", idents), ports))
    };
    let identity = asked(6193).unwrap();
    assert_eq!((identity.system(), identity.user()), ("UNIX", &b"stjohns"[..]));
    let refused = asked(6195).unwrap_err();
    assert!(matches!(refused.cause, IdentCause::Refused(Refusal::HiddenUser)), "{refused}");
}

/// Sends frames one by one, each when the one before has come back.
struct Calls<F> {
    format: F,
    left: Vec<Vec<u8>>,
    got: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl<F: FrameFormat> FrameProtocol for Calls<F> {
    type Format = F;

    fn format(&self) -> F {
        self.format
    }

    fn connection_made(&mut self, link: &mut FrameLink<'_, F>) {
        link.send(&self.left.pop().unwrap()).unwrap();
    }

    fn frame_received(&mut self, link: &mut FrameLink<'_, F>, frame: &[u8]) {
        self.got.borrow_mut().push(frame.to_vec());
        match self.left.pop() {
            Some(next) => link.send(&next).unwrap(),
            None => link.lose_connection(),
        }
    }
}

fn frames_come_back<F: FrameFormat>(reactor: &Reactor, port: u16, format: F) {
    let frames: Vec<Vec<u8>> =
        vec![vec![], b"a".to_vec(), b"3:abc,".to_vec(), (0..=255).collect(), vec![b'x'; 99_999]];
    let got = Rc::<RefCell<Vec<Vec<u8>>>>::default();
    let left = frames.iter().rev().cloned().collect();
    let calls = FrameReceiver::new(Calls { format, left, got: Rc::clone(&got) });
    reactor.connect_tcp(("127.0.0.1", port), calls).ignore();
    turn_until(reactor, "all frames", || got.borrow().len() == frames.len());
    assert_eq!(*got.borrow(), frames);
}

fn listen(reactor: &Reactor, factory: impl Factory) -> Port {
    reactor.listen_tcp("127.0.0.1:0", factory).unwrap()
}
