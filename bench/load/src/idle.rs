//! Idle: opens connections, each with one request and reply before it rests (or none), and holds them.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::Options;
use crate::socket;

/// Opens, says so, and holds until standard input closes.
pub(crate) fn run(o: &Options) -> io::Result<()> {
    let conns = open(o, o.touch)?;
    println!(r#"{{"open":{}}}"#, conns.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(conns);
    Ok(())
}

/// All connections, established one after the other; with `touch` each has carried one request.
pub(crate) fn open(o: &Options, touch: bool) -> io::Result<Vec<OwnedFd>> {
    let request = o.request();
    let mut buf = vec![0; o.size];
    let mut conns = Vec::with_capacity(o.conns);
    for serial in 0..o.conns {
        let fd = socket::connect(o, serial)?;
        wait(&fd, PollFlags::OUT)?;
        if touch {
            if socket::send(&fd, &request)? < request.len() {
                return Err(io::Error::other("a first request was not taken whole"));
            }
            let mut received = 0;
            while received < request.len() {
                wait(&fd, PollFlags::IN)?;
                received += socket::recv(&fd, &mut buf[received..])?.unwrap_or(0);
            }
            if buf != request {
                return Err(io::Error::other("a reply differs from its request"));
            }
        }
        conns.push(fd);
    }
    Ok(conns)
}

fn wait(fd: &OwnedFd, flags: PollFlags) -> io::Result<()> {
    poll(&mut [PollFd::new(fd, flags)], None)?;
    Ok(())
}
