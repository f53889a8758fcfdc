//! Load client of the benchmarks: one thread, epoll. Never runs in the process that is measured.
//!
//!     load echo   --addr A:P [--conns N] [--size S] [--window W] [--secs D] [--warm X] [--rate R] [--pid P,P]
//!     load accept --addr A:P ...                   connect, one request, one reply, close, again; N at a time
//!     load idle   --addr A:P ... [--touch 0|1]     opens N connections, prints a line, holds them until its input closes
//!
//!     load udp    --addr A:P ...                   datagrams, W under way on each of N sockets; those lost are sent again
//!
//! Prints one line of JSON. With `--pid`: the processor time of those processes over exactly the measured span.

#![deny(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::str::FromStr;

mod accept;
#[allow(unsafe_code, reason = "many datagrams a call, which rustix does not have")]
mod batch;
mod datagrams;
mod echo;
mod histogram;
mod idle;
mod meter;
mod socket;

fn main() -> ExitCode {
    let result = Options::parse().map_err(io::Error::other).and_then(|o| match o.mode.as_str() {
        "echo" => echo::run(&o),
        "accept" => accept::run(&o),
        "idle" => idle::run(&o),
        "udp" => datagrams::run(&o),
        other => Err(io::Error::other(format!("{other:?} is none of echo, accept, idle, udp"))),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
struct Options {
    mode: String,
    address: SocketAddrV4,
    /// Connections at a time.
    conns: usize,
    /// Bytes of a request, and of its reply.
    size: usize,
    /// Requests under way on a connection.
    window: usize,
    /// Seconds measured.
    secs: f64,
    /// Seconds before that; what comes back is compared meanwhile.
    warm: f64,
    /// Requests a second, spread over the connections; 0 for as many as go.
    rate: f64,
    /// Source addresses to connect from, one after the other, for each has its own ports.
    sources: u32,
    /// Whether an idle connection has carried one request.
    touch: bool,
    /// Whether the kernel joins and cuts this side's datagrams.
    offload: bool,
    /// Processes whose time is taken.
    pids: Vec<u32>,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut words = std::env::args().skip(1);
        let mut o = Self {
            mode: words.next().ok_or("echo, accept, idle or udp?")?,
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
            conns: 50,
            size: 64,
            window: 1,
            secs: 3.0,
            warm: 0.5,
            rate: 0.0,
            sources: 1,
            touch: true,
            offload: false,
            pids: Vec::new(),
        };
        while let Some(name) = words.next() {
            let value = words.next().unwrap_or_default();
            let bad = || format!("{name} {value:?}: not understood");
            match name.as_str() {
                "--addr" => o.address = value.parse().map_err(|_| bad())?,
                "--conns" => o.conns = number(&value).ok_or_else(bad)?,
                "--size" => o.size = number(&value).filter(|n| *n > 0).ok_or_else(bad)?,
                "--window" => o.window = number(&value).ok_or_else(bad)?,
                "--secs" => o.secs = number(&value).ok_or_else(bad)?,
                "--warm" => o.warm = number(&value).ok_or_else(bad)?,
                "--rate" => o.rate = number(&value).ok_or_else(bad)?,
                "--sources" => o.sources = number(&value).filter(|n| *n > 0).ok_or_else(bad)?,
                "--touch" => o.touch = number::<u8>(&value).ok_or_else(bad)? != 0,
                "--offload" => o.offload = number::<u8>(&value).ok_or_else(bad)? != 0,
                "--pid" => {
                    let pids = value.split(',').map(str::parse).collect::<Result<_, _>>();
                    o.pids = pids.map_err(|_| bad())?;
                }
                _ => return Err(bad()),
            }
        }
        Ok(o)
    }

    /// One request: recognisable bytes, so that a reply with bytes lost or swapped is noticed.
    fn request(&self) -> Vec<u8> {
        (0..self.size).map(|i| (i % 251) as u8).collect()
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
