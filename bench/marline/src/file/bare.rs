//! What all rows share (the file, the reader, the report), and the bare loops: `read` and `write` of 64 KiB, and `sendfile` of 256 KiB, as the engine's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::fs::sendfile;
use rustix::time::{ClockId, clock_gettime};

/// How long the file is.
pub(crate) const SIZE: u64 = 256 << 20;
/// Bytes read at a time.
pub(crate) const CHUNK: usize = 65_536;
const SHARE: u64 = 256 * 1024;

pub(crate) fn run(by_sendfile: bool) -> io::Result<()> {
    let file = file()?;
    let mut socket = TcpStream::connect(reader()?)?;
    socket.set_nodelay(true)?;
    let began = processor_time();
    let (mut at, mut buffer) = (0, vec![0; CHUNK]);
    while at < SIZE {
        if by_sendfile {
            let share = (SIZE - at).min(SHARE) as usize;
            sendfile(&socket, &file, Some(&mut at), share)?;
        } else {
            let len = file.read_at(&mut buffer, at)?;
            socket.write_all(&buffer[..len])?;
            at += len as u64;
        }
    }
    report(began);
    Ok(())
}

/// A file in memory that has no name: what is measured is not the disk.
pub(crate) fn file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("marline-file-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    let bytes = vec![7; 1 << 20];
    for _ in 0..SIZE >> 20 {
        file.write_all(&bytes)?;
    }
    Ok(file)
}

/// A thread that takes one connection and reads it to its end.
pub(crate) fn reader() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || -> io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; 1 << 20];
        while socket.read(&mut buffer)? > 0 {}
        Ok(())
    });
    Ok(addr)
}

/// Processor time of the calling thread, in nanoseconds.
pub(crate) fn processor_time() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

pub(crate) fn report(began: u64) {
    let us = (processor_time() - began) as f64 / 1000.0 / (SIZE >> 20) as f64;
    println!(r#"{{"us_per_mib":{us:.2},"resident":{}}}"#, measure::resident());
}
