//! Accept: connect, one request, its reply, close, and again. The client closes, so the waiting-out of old connections is at its end; they
//! come from many source addresses so that ports do not run short.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::Options;
use crate::meter::Meter;
use crate::socket::{self, Readiness};

/// Runs until the time is over.
pub(crate) fn run(o: &Options) -> io::Result<()> {
    let mut readiness = Readiness::new()?;
    let request = o.request();
    let mut serial = 0;
    let mut open = |readiness: &Readiness, index| {
        serial += 1;
        Attempt::new(o, serial, &request, readiness, index)
    };
    let mut attempts = Vec::with_capacity(o.conns);
    for index in 0..o.conns {
        attempts.push(open(&readiness, index)?);
    }
    let mut buf = vec![0; o.size];
    let mut meter = Meter::new(o);
    let mut over = Vec::new();
    loop {
        if meter.over(Instant::now()) {
            return Ok(());
        }
        for event in readiness.wait(true)? {
            let attempt = &mut attempts[event.index];
            if event.output {
                attempt.send(&request)?;
            }
            if event.input && attempt.receive(&mut buf, &request, &mut meter) {
                over.push(event.index);
            }
        }
        for index in over.drain(..) {
            attempts[index] = open(&readiness, index)?;
        }
    }
}

/// One connection and its only request.
struct Attempt {
    index: usize,
    fd: OwnedFd,
    began: Instant,
    sent: usize,
    received: usize,
}

impl Attempt {
    fn new(
        o: &Options,
        serial: usize,
        request: &[u8],
        readiness: &Readiness,
        index: usize,
    ) -> io::Result<Self> {
        let began = Instant::now();
        let fd = socket::connect(o, serial)?;
        let mut attempt = Self { index, fd, began, sent: 0, received: 0 };
        // On loopback the handshake is normally over by now; otherwise the request goes when there is room.
        attempt.send(request)?;
        readiness.add(&attempt.fd, index, attempt.sent < request.len())?;
        Ok(attempt)
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sent += socket::send(&self.fd, &request[self.sent..])?;
        Ok(())
    }

    /// Receives what is there; true once the reply is complete or the connection has failed.
    fn receive(&mut self, buf: &mut [u8], request: &[u8], meter: &mut Meter<'_>) -> bool {
        let n = match socket::recv(&self.fd, buf) {
            Ok(Some(n)) => n,
            Ok(None) => return false,
            Err(_) => {
                meter.errors += 1;
                return true;
            }
        };
        let expected = request.get(self.received..self.received + n);
        meter.errors += u64::from(expected != Some(&buf[..n]));
        self.received += n;
        if self.received < request.len() {
            return false;
        }
        meter.reply(self.index, self.began.elapsed().as_nanos() as u64);
        true
    }
}
