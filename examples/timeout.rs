//! A line protocol with time-outs: `timeout 127.0.0.1:8002`. It answers `HELLO name` and `QUIT`, and closes a connection that says nothing for ten
//! seconds (or as many as the second argument says).

use std::error::Error;
use std::time::Duration;

use marline::protocols::line::{
    Delimiter, LineError, LineFormat, LineLink, LineProtocol, LineReceiver, Refused,
};
use marline::{CloseReason, DelayedCall, Transport};

struct Greeter {
    patience: Duration,
    timer: Option<DelayedCall>,
}

impl LineProtocol for Greeter {
    fn format(&self) -> LineFormat {
        LineFormat::new(Delimiter::CRLF_OR_LF).with_limit(100)
    }

    fn connection_made(&mut self, link: &mut LineLink<'_>) {
        link.write(b"220 say HELLO\r\n");
        let transport = link.transport().clone();
        self.timer = transport.reactor().map(|reactor| {
            reactor.call_later(self.patience, move |_| {
                transport.write(b"421 too slow\r\n");
                transport.lose_connection();
            })
        });
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        // Pushing a deadline further costs no more than writing a field.
        if let Some(timer) = &self.timer
            && timer.reset(self.patience).is_err()
        {
            return;
        }
        match line.split_once_space() {
            (b"HELLO", name) if !name.is_empty() => {
                link.write_sequence([b"250 hello, ", name, b"\r\n"]);
            }
            (b"QUIT", _) => {
                link.write(b"221 bye\r\n");
                link.lose_connection();
            }
            _ => link.write(b"500 what?\r\n"),
        }
    }

    fn line_refused(&mut self, link: &mut LineLink<'_>, error: LineError) -> Refused {
        link.write(format!("500 {error}\r\n").as_bytes());
        link.lose_connection();
        Refused::Stop
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        if let Some(timer) = self.timer.take() {
            // It may be what ended the connection.
            let _ = timer.cancel();
        }
    }
}

trait SplitOnce {
    fn split_once_space(&self) -> (&[u8], &[u8]);
}

impl SplitOnce for [u8] {
    fn split_once_space(&self) -> (&[u8], &[u8]) {
        match self.iter().position(|byte| *byte == b' ') {
            Some(at) => (&self[..at], &self[at + 1..]),
            None => (self, b""),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:8002".into());
    let patience = Duration::from_secs_f64(args.next().map_or(Ok(10.0), |text| text.parse())?);
    let reactor = marline::reactor()?;
    let port =
        reactor.listen_tcp(addr, move || LineReceiver::new(Greeter { patience, timer: None }))?;
    println!("greeter on {}", port.local_addr());
    Ok(reactor.run()?)
}
