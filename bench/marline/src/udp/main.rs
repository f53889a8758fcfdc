//! UDP echo on marline: `marline-udp HOST:PORT`; the driver by `MARLINE_DRIVER`.

#![forbid(unsafe_code)]

use std::error::Error;

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::{Addr, Reactor};

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
        // Who is gone, or has no room, gets nothing.
        let _ = transport.send_to(data, from);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: marline-udp HOST:PORT")?;
    let reactor = Reactor::from_boxed(marline_drivers::open_from_environment()?.driver);
    reactor.listen_udp(address, Echo)?;
    reactor.run()?;
    Ok(())
}
