//! The same through the engine: a file sent whole, and a pull producer that reads it chunk by chunk.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use marline_core::flow::Producer;
use marline_core::{CloseReason, Protocol, Reactor, Transport};

use super::bare::{CHUNK, SIZE, file, processor_time, reader, report};

/// How a file is sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// Read, written: copied once more.
    Write,
    /// Read into a buffer that is moved.
    Owned,
    /// By the driver.
    SendFile,
}

pub(crate) fn run(how: How) -> io::Result<()> {
    let file = file()?;
    let to = reader()?;
    let driver =
        marline_drivers::open(Some("epoll")).map_err(|e| io::Error::other(e.to_string()))?;
    let reactor = Reactor::from_boxed(driver.driver);
    let began = processor_time();
    reactor.connect_tcp(to, Sender { how, file: Some(file) }).ignore();
    reactor.run().map_err(|e| io::Error::other(e.to_string()))?;
    report(began);
    Ok(())
}

struct Sender {
    how: How,
    file: Option<File>,
}

impl Protocol for Sender {
    fn connection_made(&mut self, transport: &Transport) {
        let Some(file) = self.file.take() else { return };
        if self.how == How::SendFile {
            transport.send_file(file, 0, SIZE).ignore();
            transport.lose_connection();
            return;
        }
        let (transport, at, owned) = (transport.clone(), Cell::new(0), self.how == How::Owned);
        let reads = Reads { file, at, owned, transport: transport.clone() };
        if transport.register_producer(Rc::new(reads), false).is_err() {
            transport.abort_connection();
        }
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}

    fn connection_lost(&mut self, transport: &Transport, reason: &CloseReason) {
        if !reason.is_clean() {
            eprintln!("marline-file: {reason}");
            std::process::exit(1);
        }
        // It runs, so that it can be stopped.
        let _ = transport.reactor().map(|reactor| reactor.stop());
    }
}

struct Reads {
    file: File,
    at: Cell<u64>,
    owned: bool,
    transport: Transport,
}

impl Producer for Reads {
    fn resume_producing(&self) {
        let mut buffer = vec![0; CHUNK];
        match self.file.read_at(&mut buffer, self.at.get()) {
            Ok(len) if len > 0 => {
                self.at.set(self.at.get() + len as u64);
                if self.owned {
                    buffer.truncate(len);
                    self.transport.write_owned(buffer);
                } else {
                    self.transport.write(&buffer[..len]);
                }
            }
            Ok(_) => {
                self.transport.unregister_producer();
                self.transport.lose_connection();
            }
            Err(_) => self.transport.abort_connection(),
        }
    }

    fn stop_producing(&self) {}
}
