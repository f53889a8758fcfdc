//! The time over UDP (RFC 868), server and client: `udp_time serve 127.0.0.1:8037`, `udp_time ask 127.0.0.1:8037`. A datagram may be lost, so the
//! client asks again after half a second, three times in all.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use marline::datagram::{DatagramProtocol, DatagramTransport};
use marline::driver::OsError;
use marline::{Addr, DelayedCall};
use marline_examples::Args;

/// Answers whatever comes with the seconds since 1900, as four bytes.
struct Clock;

impl DatagramProtocol for Clock {
    fn datagram_received(&mut self, transport: &DatagramTransport, _data: &[u8], from: &Addr) {
        let since_1970 = transport.reactor().wall_clock().duration_since(UNIX_EPOCH);
        // The protocol's clock goes round in 2036, so this does too.
        let seconds = since_1970.map_or(0, |time| time.as_secs()).wrapping_add(SINCE_1900) as u32;
        // Who has left meanwhile gets nothing.
        let _ = transport.send_to(&seconds.to_be_bytes(), from);
    }
}

struct Question {
    tries: u32,
    timer: Option<DelayedCall>,
}

impl Question {
    fn ask(&mut self, transport: &DatagramTransport) {
        if self.tries == 0 {
            eprintln!("no answer");
            std::process::exit(1);
        }
        self.tries -= 1;
        // A datagram of no length is the whole question.
        let _ = transport.send(b"");
        let again = transport.clone();
        self.timer = Some(transport.reactor().call_later(PATIENCE, move |_| {
            again.with(Self::ask).done(|_| {});
        }));
    }
}

impl DatagramProtocol for Question {
    fn started(&mut self, transport: &DatagramTransport) {
        self.ask(transport);
    }

    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
        let Ok(seconds) = data.try_into().map(u32::from_be_bytes) else { return };
        println!("{seconds} seconds since 1900, says {from}");
        if let Some(timer) = self.timer.take() {
            let _ = timer.cancel();
        }
        // It may be stopping already.
        let _ = transport.reactor().stop();
    }

    /// Only a socket that is connected hears this. The next try may find somebody.
    fn refused(&mut self, _transport: &DatagramTransport, error: OsError) {
        eprintln!("nobody there yet: {error}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("udp_time [serve [ADDRESS] | ask [ADDRESS]]");
    let serves = args.one_of(["serve", "ask"]) == "serve";
    let addr: SocketAddr = args.optional().unwrap_or_else(|| ([127, 0, 0, 1], 8037).into());
    args.end();
    let reactor = marline::reactor()?;
    if serves {
        let clock = reactor.listen_udp(addr, Clock)?;
        println!("time on {}", clock.local_addr());
    } else {
        let any = if addr.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let question = reactor.listen_udp(any, Question { tries: 3, timer: None })?;
        question.connect(addr)?;
    }
    Ok(reactor.run()?)
}

/// Seconds from 1900 to 1970.
const SINCE_1900: u64 = 2_208_988_800;
const PATIENCE: Duration = Duration::from_millis(500);
