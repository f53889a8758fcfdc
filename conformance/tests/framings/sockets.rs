//! The small protocols over UDP against plain sockets, in both directions, on the kernel. Where there is no Python, each test prints a line
//! that says so and does nothing more.

use std::io::{BufRead, BufReader};
use std::time::{Duration, SystemTime};

use marline_conformance::Ground;
use marline_protocols::chargen::Chargen;
use marline_protocols::daytime::{self, Daytime};
use marline_protocols::discard::Discard;
use marline_protocols::echo::Echo;
use marline_protocols::qotd::{self, Quote};
use marline_protocols::time::{self, TimeServer};

use super::peer::{Peer, wait};
use crate::streams::kit::{started, turn_until};

const SCRIPT: &str = "small_datagrams.py";
const KERNEL: Ground = Ground { driver: "epoll" };

#[test]
fn plain_sockets_are_answered_by_our_datagram_services() {
    let reactor = started(KERNEL);
    let quote = Quote::new("Brevity is\nthe soul of wit.").unwrap();
    let services = [
        reactor.listen_udp("127.0.0.1:0", Echo).unwrap(),
        reactor.listen_udp("127.0.0.1:0", Discard).unwrap(),
        reactor.listen_udp("127.0.0.1:0", Daytime).unwrap(),
        reactor.listen_udp("127.0.0.1:0", quote).unwrap(),
        reactor.listen_udp("127.0.0.1:0", Chargen).unwrap(),
        reactor.listen_udp("127.0.0.1:0", TimeServer).unwrap(),
    ];
    let ports = services.each_ref().map(|service| service.local_addr().port().to_string());
    let Some(mut peer) = Peer::start(SCRIPT, &[&["call".into()], &ports[..]].concat()) else {
        return;
    };
    let mut status = None;
    turn_until(&reactor, "the end of the script", || {
        status = peer.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0), "the script has found fault");
}

#[test]
fn our_clients_ask_plain_sockets_again_when_a_datagram_is_lost() {
    let Some(mut peer) = Peer::start(SCRIPT, &["serve".into()]) else { return };
    let mut line = String::new();
    BufReader::new(peer.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let ports: Vec<u16> = line.split_whitespace().map(|port| port.parse().unwrap()).collect();
    let [daytimes, quotes, times] = ports[..] else { panic!("no ports: {line:?}") };

    let reactor = started(KERNEL);
    // All at once, for each waits a second.
    let daytime = daytime::ask_udp(&reactor, ("127.0.0.1", daytimes));
    let quote = qotd::ask_udp(&reactor, ("127.0.0.1", quotes));
    let time = time::ask_udp(&reactor, ("127.0.0.1", times));
    assert_eq!(wait(&reactor, daytime).unwrap(), "Monday, February 22, 1982 17:37:43-UTC");
    assert_eq!(wait(&reactor, quote).unwrap(), "Brevity is\nthe soul of wit.\n");
    let told = wait(&reactor, time).unwrap();
    let minute = Duration::from_secs(60);
    let now = SystemTime::now();
    assert!(now - minute < told && told < now + minute, "{told:?}");
}
