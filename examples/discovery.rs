//! Finding each other by multicast: `discovery serve NAME [PORT] [INTERFACE]` answers whoever asks the group, `discovery ask [PORT] [INTERFACE]`
//! prints who is there within half a second. The interface is given by its IPv4 address; several servers may run on one host.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use marline::Addr;
use marline::datagram::{DatagramProtocol, DatagramTransport};
use marline::driver::{DatagramOptions, Interface};
use marline_examples::Args;

struct Service {
    name: String,
}

impl DatagramProtocol for Service {
    fn datagram_received(&mut self, transport: &DatagramTransport, data: &[u8], from: &Addr) {
        if data == QUESTION {
            // To the one who asked, not to the group.
            let _ = transport.send_to(self.name.as_bytes(), from);
        }
    }
}

struct Seeker;

impl DatagramProtocol for Seeker {
    fn datagram_received(&mut self, _transport: &DatagramTransport, data: &[u8], from: &Addr) {
        println!("{} at {from}", String::from_utf8_lossy(data));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args =
        Args::new("discovery [serve [NAME [PORT [INTERFACE]]] | ask [PORT [INTERFACE]]]");
    let serves = args.one_of(["serve", "ask"]) == "serve";
    let name = if serves { args.optional() } else { None };
    let name: String = name.unwrap_or_else(|| "somebody".into());
    let port: u16 = args.optional().unwrap_or(8042);
    let interface = args.optional().map_or(Interface::Any, Interface::Addr);
    args.end();
    let reactor = marline::reactor()?;
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if serves {
        // Several on one host share the port; each gets what is sent to the group.
        let options = DatagramOptions { reuse_address: true, ..DatagramOptions::default() };
        let socket = reactor.listen_udp_with((all, port), Service { name }, options)?;
        socket.join_group(GROUP, interface)?;
        println!("serving on {}", socket.local_addr());
    } else {
        let socket = reactor.listen_udp((all, 0), Seeker)?;
        socket.set_multicast_interface(interface)?;
        socket.send_to(QUESTION, (GROUP, port))?;
        reactor.call_later(Duration::from_millis(500), |reactor| {
            // Nobody else stops it.
            let _ = reactor.stop();
        });
    }
    Ok(reactor.run()?)
}

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 42, 99));
const QUESTION: &[u8] = b"who is there?";
