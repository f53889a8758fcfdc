//! The simulated network against the driver contract, without a reactor: each module one side of it. Here is what they share:
//! a node, which is a driver with a memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod datagram;
mod fault;
mod flow;
mod opening;
mod program;
mod property;
mod service;
mod stream;

use std::io::IoSlice;
use std::net::IpAddr;
use std::time::Duration;

use super::{Host, Link, SimDriver, World};
use crate::driver::{
    Close, Completion, ConnectFault, ConnectOptions, DatagramOptions, Driver, Handle,
    ListenOptions, OsError, Outgoing, Sent,
};
use crate::{Addr, Time};

/// A driver, and what it reported last.
struct Node {
    driver: SimDriver,
    scratch: Vec<u8>,
    len: usize,
}

impl Node {
    fn new(host: &Host) -> Self {
        Self { driver: host.driver(), scratch: vec![0; 64 * 1024], len: 0 }
    }

    fn listen(&mut self, addr: &str) -> Result<(Handle, Addr), OsError> {
        self.driver.listen(&at(addr), &ListenOptions::default())
    }

    fn connect(&mut self, to: &Addr) -> Result<Handle, ConnectFault> {
        self.driver.connect(to, &ConnectOptions::default())
    }

    fn send(&mut self, conn: Handle, bytes: &[u8]) -> Sent {
        self.driver.send(conn, Outgoing::Lent(bytes))
    }

    /// The next completion, moving time for at most an hour.
    fn next(&mut self) -> Option<Completion> {
        self.next_within(Duration::from_secs(3600))
    }

    fn next_within(&mut self, time: Duration) -> Option<Completion> {
        let until = self.driver.now() + time;
        loop {
            let next = self.driver.next(&mut self.scratch);
            if let Some(completion) = next {
                match completion {
                    Completion::Received { len, .. } => self.len = len,
                    Completion::Datagrams { chunk, len, .. } => {
                        let bytes = self.driver.take_chunk(chunk);
                        self.scratch[..len].copy_from_slice(&bytes);
                        self.driver.give_back(chunk, bytes);
                        self.len = len;
                    }
                    _ => {}
                }
                return next;
            }
            let before = self.driver.now();
            self.driver.wait(Some(until)).unwrap();
            if before >= until {
                return None;
            }
        }
    }

    /// The bytes that the last completion brought.
    fn bytes(&self) -> &[u8] {
        &self.scratch[..self.len]
    }

    /// Everything that arrives on a connection until its end, or until nothing more comes for an hour.
    fn read_all(&mut self, conn: Handle) -> (Vec<u8>, Option<Completion>) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Some(Completion::Received { conn: from, .. }) if from == conn => {
                    all.extend_from_slice(self.bytes());
                }
                Some(Completion::Sent { .. }) => {}
                last => return (all, last),
            }
        }
    }
}

/// Two hosts, a node on each, and a connection between them: both ends receive.
struct Pair {
    world: World,
    hosts: [Host; 2],
    client: Node,
    server: Node,
    /// The client's end and the server's.
    ends: [Handle; 2],
}

impl Pair {
    fn new(link: Link) -> Self {
        Self::with(1, link, |_| {})
    }

    fn with(seed: u64, link: Link, prepare: impl FnOnce(&[Host; 2])) -> Self {
        let (world, hosts) = two_hosts(seed);
        world.set_default_link(link);
        prepare(&hosts);
        let (mut client, mut server) = (Node::new(&hosts[0]), Node::new(&hosts[1]));
        let (port, addr) = server.listen("10.0.0.2:80").unwrap();
        let near = client.connect(&addr).unwrap();
        assert_eq!(client.next(), Some(Completion::Connected { conn: near }));
        let Some(Completion::Accepted { conn: far, .. }) = server.next() else { panic!() };
        server.driver.close(port, Close::Graceful);
        client.driver.receive(near, true);
        server.driver.receive(far, true);
        Self { world, hosts, client, server, ends: [near, far] }
    }
}

fn two_hosts(seed: u64) -> (World, [Host; 2]) {
    let world = World::new(seed);
    let hosts = [
        world.host("client", [ip("10.0.0.1"), ip("fd00::1")]),
        world.host("server", [ip("10.0.0.2"), ip("fd00::2")]),
    ];
    (world, hosts)
}

fn at(addr: &str) -> Addr {
    Addr::Ip(addr.parse().unwrap())
}

fn ip(addr: &str) -> IpAddr {
    addr.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Bytes that tell where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8).collect()
}
