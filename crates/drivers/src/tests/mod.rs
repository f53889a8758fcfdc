//! Each rule of the driver contract, asked of every driver in the table through the trait, with std's sockets as peers.
//!
//! `streams.rs`, `closing.rs`, `ports.rs` and `datagrams.rs` are about sockets, `unix.rs` about descriptors that are passed, `adopting.rs` about sockets
//! of others, `watches.rs` about descriptors
//! of others, `files.rs` about files, `memory.rs` about a system that has none left, `beside.rs` about jobs, signals and the waker, `time.rs` and `alarm.rs` about waiting; here is what they share.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod adopting;
mod alarm;
mod beside;
mod closing;
mod datagrams;
mod files;
mod memory;
mod ports;
mod streams;
mod time;
mod unix;
mod watches;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use marline_core::Addr;
use marline_core::driver::{Close, Completion, Driver, Handle, ListenOptions};

use crate::DRIVERS;

/// Runs a test over every driver.
fn each(test: impl Fn(Bench)) {
    for candidate in DRIVERS {
        test(Bench::of((candidate.open)().unwrap()));
    }
}

/// A driver and the least of a loop round it.
struct Bench {
    driver: Box<dyn Driver>,
    scratch: Vec<u8>,
}

impl Bench {
    fn of(driver: Box<dyn Driver>) -> Self {
        Self { driver, scratch: vec![0; 65536] }
    }

    /// Another driver of the same kind.
    fn another(&self) -> Self {
        let kind = DRIVERS.iter().find(|kind| kind.name == self.driver.name()).unwrap();
        Self::of((kind.open)().unwrap())
    }

    /// The next completion, waited for if need be.
    fn next(&mut self) -> Completion {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(completion) = self.driver.next(&mut self.scratch) {
                return completion;
            }
            assert!(Instant::now() < patience, "nothing was reported");
            self.wait(Duration::from_secs(1));
        }
    }

    fn wait(&mut self, longest: Duration) {
        let until = self.driver.now() + longest;
        self.driver.wait(Some(until)).unwrap();
    }

    /// Lets some time go by in which nothing may be reported; how many waits it took.
    fn quiet(&mut self, long: Duration) -> usize {
        let until = self.driver.now() + long;
        let mut waits = 0;
        while self.driver.now() < until {
            self.driver.wait(Some(until)).unwrap();
            assert_eq!(self.driver.next(&mut self.scratch), None, "in a time of quiet");
            waits += 1;
        }
        waits
    }

    /// Nothing is reported, and no wait is ended by what is not reported.
    fn assert_idle(&mut self) {
        let waits = self.quiet(Duration::from_millis(60));
        assert!(waits <= 5, "{waits} waits in 60 ms");
    }

    fn listen(&mut self) -> (Handle, SocketAddr) {
        self.listen_on("127.0.0.1:0", &ListenOptions::default())
    }

    fn listen_on(&mut self, addr: &str, options: &ListenOptions) -> (Handle, SocketAddr) {
        let (port, bound) = self.driver.listen(&ip(addr), options).unwrap();
        (port, bound.ip().unwrap())
    }

    /// An accepted connection, which does not receive yet, and its peer. The port is closed.
    fn pair(&mut self) -> (Handle, TcpStream) {
        let (port, addr) = self.listen();
        let peer = TcpStream::connect(addr).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        match self.next() {
            Completion::Accepted { port: of, conn } if of == port => {
                self.driver.close(port, Close::Graceful);
                (conn, peer)
            }
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The next completion, which has to be bytes of this connection.
    fn bytes(&mut self, from: Handle) -> Vec<u8> {
        match self.next() {
            Completion::Received { conn, len } if conn == from => self.scratch[..len].to_vec(),
            other => panic!("not bytes of {from:?}: {other:?}"),
        }
    }

    /// The next completion, which has to be one datagram of this socket.
    fn datagram(&mut self, from: Handle) -> Vec<u8> {
        match self.next() {
            Completion::Datagrams { socket, chunk, len, segment, .. } if socket == from => {
                assert_eq!(len, segment, "several datagrams");
                let bytes = self.driver.take_chunk(chunk);
                let datagram = bytes[..len].to_vec();
                self.driver.give_back(chunk, bytes);
                datagram
            }
            other => panic!("not a datagram of {from:?}: {other:?}"),
        }
    }

    /// Lets what the peers have sent arrive.
    fn settle(&self) {
        // What goes over loopback is there when the peer's call returns; the pause is for machines where it is not.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ip(text: &str) -> Addr {
    Addr::Ip(text.parse().unwrap())
}

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);
