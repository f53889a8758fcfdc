//! Datagrams: a number of them under way on each socket, each reply brings the next. What comes back carries the time it was sent at, and is
//! compared while warming up. Those lost on the way are sent again after a while, and counted.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use crate::Options;
use crate::batch::Batch;
use crate::meter::Meter;
use crate::socket::Readiness;

/// Runs until the time is over.
pub(crate) fn run(o: &Options) -> io::Result<()> {
    if o.size < STAMP {
        return Err(io::Error::other("a datagram needs 8 bytes for its time"));
    }
    let began = Instant::now();
    let mut readiness = Readiness::new()?;
    let mut batch = Batch::new(o.window, o.size, o.offload);
    let request = o.request();
    let mut sockets = Vec::with_capacity(o.conns);
    for index in 0..o.conns {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        net::connect(&fd, &o.address)?;
        batch.prepare(&fd)?;
        readiness.add(&fd, index, false)?;
        sockets.push(Socket { fd, under_way: 0, heard: began });
    }
    let mut meter = Meter::new(o);
    let mut lost = 0_u64;
    for socket in &mut sockets {
        socket.send(o.window, began, &request, &mut batch)?;
    }
    loop {
        let now = Instant::now();
        if meter.over(now) {
            eprintln!("lost {lost}");
            return Ok(());
        }
        let mut any = false;
        for event in readiness.wait(true)? {
            any = true;
            let socket = &mut sockets[event.index];
            // Edge-triggered: until nothing is there.
            loop {
                let count = batch.receive(&socket.fd, o.window)?;
                let now = Instant::now();
                for at in 0..count {
                    let reply = batch.datagram(at);
                    if meter.warming() && reply[STAMP..] != request[STAMP..] {
                        meter.errors += 1;
                    }
                    let stamp = reply[..STAMP].try_into().map_or(0, u64::from_le_bytes);
                    let sent = began + Duration::from_nanos(stamp);
                    meter.reply(event.index, now.saturating_duration_since(sent).as_nanos() as u64);
                }
                if count == 0 {
                    break;
                }
                socket.heard = now;
                socket.under_way = socket.under_way.saturating_sub(count);
                socket.send(o.window - socket.under_way, began, &request, &mut batch)?;
            }
        }
        if !any {
            for socket in &mut sockets {
                if now - socket.heard > PATIENCE && socket.under_way > 0 {
                    lost += socket.under_way as u64;
                    socket.under_way = 0;
                    socket.send(o.window, began, &request, &mut batch)?;
                }
            }
        }
    }
}

struct Socket {
    fd: OwnedFd,
    under_way: usize,
    heard: Instant,
}

impl Socket {
    fn send(
        &mut self,
        count: usize,
        began: Instant,
        request: &[u8],
        batch: &mut Batch,
    ) -> io::Result<()> {
        let stamp = (Instant::now() - began).as_nanos() as u64;
        for at in 0..count {
            let datagram = batch.datagram(at);
            datagram.copy_from_slice(request);
            datagram[..STAMP].copy_from_slice(&stamp.to_le_bytes());
        }
        self.under_way += batch.send(&self.fd, count)?;
        Ok(())
    }
}

/// The bytes of the time.
const STAMP: usize = 8;
/// After such a silence what is under way is given up.
const PATIENCE: Duration = Duration::from_millis(20);
