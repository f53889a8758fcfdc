//! What loopback cannot show: IPv6 groups, link-local scope, an interface that goes away. In a network namespace of the test's own with a pair of
//! linked interfaces, where that is permitted, by running this very test once more inside it; else on the simulated network, which has groups
//! but neither scopes nor interfaces that go. The test prints which it was.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::process::Command;

use marline_conformance::Ground;
use marline_core::driver::{DatagramOptions, Interface};

use super::kit::{Ear, until_count};
use crate::streams::kit::{idle, started, turn_until};

const INSIDE: &str = "MARLINE_PRIVATE_NETWORK";
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x4d, 0x61);

/// Runs a test again in a private network; whether that could be done.
fn inside(test: &str) -> bool {
    let setup = "ip link set lo up && ip link add one type veth peer name two \
        && sysctl -q -w net.ipv6.conf.one.accept_dad=0 net.ipv6.conf.two.accept_dad=0; \
        ip addr add 10.77.0.1/24 dev one && ip link set one up && ip link set two up \
        && sleep 0.3 && exec \"$0\" --exact \"$1\" --nocapture";
    let this = std::env::current_exe().unwrap();
    let permitted = Command::new("unshare")
        .args(["-n", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"])
        .output()
        .is_ok_and(|made| made.status.success());
    if !permitted {
        eprintln!("{test}: on the simulated network, for no private one is permitted here");
        return false;
    }
    let ran = Command::new("unshare")
        .args(["-n", "sh", "-c", setup])
        .arg(this)
        .arg(format!("datagrams::private_network::{test}"))
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && text.contains("1 passed"), "{text}");
    eprintln!("{test}: in a private network");
    true
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The number of an interface.
fn index(name: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    if let Ok(text) = text {
        return text.trim().parse().unwrap();
    }
    let line = Command::new("ip").args(["-o", "link", "show", name]).output().unwrap();
    String::from_utf8_lossy(&line.stdout).split(':').next().unwrap().trim().parse().unwrap()
}

/// The link-local address of an interface, as the kernel has given it.
fn link_local(name: &str) -> Ipv6Addr {
    let line = Command::new("ip").args(["-o", "-6", "addr", "show", name]).output().unwrap();
    let text = String::from_utf8_lossy(&line.stdout).into_owned();
    let word = text.split_whitespace().find(|word| word.starts_with("fe80:")).unwrap_or_default();
    word.split('/').next().unwrap().parse().unwrap_or_else(|_| panic!("no link-local: {text}"))
}

#[test]
fn ipv6_groups_reach_members_across_a_link() {
    if !is_inside() {
        if !inside("ipv6_groups_reach_members_across_a_link") {
            groups_on(Ground { driver: "sim" }, 2, 2);
        }
        return;
    }
    groups_on(Ground { driver: "epoll" }, index("one"), index("two"));
}

fn groups_on(ground: Ground, here: u32, there: u32) {
    let reactor = started(ground);
    let options = || DatagramOptions { reuse_address: true, ..DatagramOptions::default() };
    let member = Ear::new();
    let tape = member.tape();
    let member = reactor.listen_udp_with("[::]:0", member, options()).unwrap();
    let port = member.local_addr().port();
    let group = IpAddr::V6(GROUP);
    member.join_group(group, Interface::Index(there)).unwrap();
    if ground.is_simulated() {
        // The only host here has no IPv6 address of its own.
        return member.leave_group(group, Interface::Index(there)).unwrap();
    }
    let sender = reactor.listen_udp_with("[::]:0", Ear::new(), options()).unwrap();
    sender.set_multicast_interface(Interface::Index(here)).unwrap();
    sender.send_to(b"across", (group, port)).unwrap();
    until_count(&reactor, &tape, 1);
    let (bytes, from) = tape.received().remove(0);
    assert_eq!(bytes, b"across");
    // It came by the other interface, and its source says so.
    let Some(SocketAddr::V6(from)) = from.ip() else { panic!("{from}") };
    assert_eq!((*from.ip(), from.scope_id()), (link_local("one"), there));
    member.leave_group(group, Interface::Index(there)).unwrap();
    sender.send_to(b"nobody", (group, port)).unwrap();
    idle(&reactor);
    assert_eq!(tape.count(), 1);
}

#[test]
fn a_link_local_address_keeps_its_scope() {
    if !is_inside() {
        inside("a_link_local_address_keeps_its_scope");
        return;
    }
    let reactor = started(Ground { driver: "epoll" });
    let own = SocketAddrV6::new(link_local("two"), 0, 0, index("two"));
    let echo = reactor.listen_udp(SocketAddr::V6(own), Ear::echo()).unwrap();
    let port = echo.local_addr().port();
    assert_eq!(echo.local_addr().to_string(), format!("[{}%{}]:{port}", own.ip(), own.scope_id()));
    let asker = Ear::new();
    let tape = asker.tape();
    let asker = reactor.listen_udp("[::]:0", asker).unwrap();
    let to = SocketAddrV6::new(*own.ip(), port, 0, index("one"));
    asker.send_to(b"scope", SocketAddr::V6(to)).unwrap();
    until_count(&reactor, &tape, 1);
    let (bytes, from) = tape.received().remove(0);
    assert_eq!(bytes, b"scope");
    assert_eq!(from.ip().unwrap(), SocketAddr::V6(to));
}

#[test]
fn with_its_loop_off_a_socket_is_not_heard_on_its_own_host() {
    if !is_inside() {
        if !inside("with_its_loop_off_a_socket_is_not_heard_on_its_own_host") {
            loop_on(Ground { driver: "sim" }, Interface::Any);
        }
        return;
    }
    // Loopback itself brings everything back, whatever the option says.
    loop_on(Ground { driver: "epoll" }, Interface::Index(index("one")));
}

fn loop_on(ground: Ground, interface: Interface) {
    let reactor = started(ground);
    let group = "239.255.77.2".parse().unwrap();
    let member = Ear::new();
    let tape = member.tape();
    let member = reactor.listen_udp("0.0.0.0:0", member).unwrap();
    let port = member.local_addr().port();
    member.join_group(group, interface).unwrap();
    let sender = reactor.listen_udp("0.0.0.0:0", Ear::new()).unwrap();
    sender.set_multicast_interface(interface).unwrap();
    sender.set_multicast_loop(false).unwrap();
    sender.send_to(b"unheard", (group, port)).unwrap();
    idle(&reactor);
    assert_eq!(tape.count(), 0);
    sender.set_multicast_loop(true).unwrap();
    sender.set_multicast_ttl(0).unwrap();
    sender.send_to(b"on the host", (group, port)).unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(tape.bytes(), [b"on the host"]);
}

#[test]
fn a_socket_outlives_its_interface_and_says_what_is_wrong() {
    if !is_inside() {
        inside("a_socket_outlives_its_interface_and_says_what_is_wrong");
        return;
    }
    let reactor = started(Ground { driver: "epoll" });
    let ear = Ear::new();
    let tape = ear.tape();
    let socket = reactor.listen_udp("10.77.0.1:0", ear).unwrap();
    let group = "239.255.77.9".parse().unwrap();
    socket.join_group(group, Interface::Index(index("one"))).unwrap();
    socket.send_to(b"fine", "10.77.0.2:9").unwrap();
    idle(&reactor);
    assert!(Command::new("ip").args(["link", "del", "one"]).status().unwrap().success());
    socket.send_to(b"gone", "10.77.0.2:9").unwrap();
    socket.send_to(b"gone", "10.77.0.3:9").unwrap();
    turn_until(&reactor, "the failures", || tape.story().len() >= 3);
    let story = tape.story();
    assert!(
        story[1..].iter().all(|line| line.starts_with("failed NetworkUnreachable 1")),
        "{story:?}"
    );
    assert!(socket.join_group(group, Interface::Addr("10.77.0.1".parse().unwrap())).is_err());
    assert!(socket.is_open());
    // It neither spins nor breaks.
    let begin = std::time::Instant::now();
    let mut turns = 0;
    while begin.elapsed() < std::time::Duration::from_millis(60) {
        reactor.turn(Some(std::time::Duration::from_millis(20))).unwrap();
        turns += 1;
    }
    assert!(turns <= 6, "{turns} turns in 60 ms");
    assert_eq!(tape.story().len(), 3);
}
