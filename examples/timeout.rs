//! A line protocol with time-outs: `timeout 127.0.0.1:8002`. It answers `HELLO name` and `QUIT`, and closes a connection that says nothing for ten
//! seconds (or as many as the second argument says).

use std::error::Error;
use std::time::Duration;

use marline::protocols::line::{
    Delimiter, LineError, LineFormat, LineLink, LineProtocol, LineReceiver, Refused,
};
use marline::protocols::policy::Timeout;
use marline_examples::Args;

struct Greeter {
    patience: Duration,
    timeout: Option<Timeout>,
}

impl LineProtocol for Greeter {
    fn format(&self) -> LineFormat {
        LineFormat::new(Delimiter::CRLF_OR_LF).with_limit(100)
    }

    fn connection_made(&mut self, link: &mut LineLink<'_>) {
        link.write(b"220 say HELLO\r\n");
        let timeout = Timeout::new(link, |transport| {
            transport.write(b"421 too slow\r\n");
            transport.lose_connection();
        });
        // It goes with the protocol: nothing is left of it after the connection.
        self.timeout.insert(timeout).set(Some(self.patience));
    }

    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        // Costs no more than writing a field.
        if let Some(timeout) = &self.timeout {
            timeout.reset();
        }
        let mut words = line.splitn(2, |byte| *byte == b' ');
        match (words.next(), words.next()) {
            (Some(b"HELLO"), Some(name)) if !name.is_empty() => {
                link.write_sequence([b"250 hello, ", name, b"\r\n"]);
            }
            (Some(b"QUIT"), _) => {
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
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("timeout [ADDRESS [SECONDS]]");
    let addr: String = args.optional().unwrap_or_else(|| "127.0.0.1:8002".into());
    let patience = Duration::try_from_secs_f64(args.optional().unwrap_or(10.0));
    let patience = patience.unwrap_or_else(|error| args.refuse(&error.to_string()));
    args.end();
    let reactor = marline::reactor()?;
    let factory = move || LineReceiver::new(Greeter { patience, timeout: None });
    let port = reactor.listen_tcp(addr, factory)?;
    println!("greeter on {}", port.local_addr());
    Ok(reactor.run()?)
}
