//! A TCP proxy: `proxy 127.0.0.1:8001 example.org:80`. Memory stays bounded however slow one side is.

use std::error::Error;

use marline::flow::pipe;
use marline::{Protocol, Transport};
use marline_examples::Args;

/// One who has connected to the proxy, until there is a connection to the other side.
struct Downstream {
    to: String,
}

/// The other side, until both are joined. A server may speak first, so nothing is read before that.
struct Upstream;

impl Protocol for Downstream {
    fn connection_made(&mut self, transport: &Transport) {
        let Some(reactor) = transport.reactor() else { return };
        transport.pause_reading();
        let connected = reactor.connect_tcp(self.to.as_str(), Upstream);
        transport.then(connected, |_: &mut Self, result, downstream| match result {
            Ok(upstream) => {
                let upstream = upstream.transport();
                if pipe(downstream, b"", upstream, b"").is_ok() {
                    downstream.resume_reading();
                    upstream.resume_reading();
                }
            }
            Err(error) => {
                eprintln!("{}: {error}", downstream.peer_addr());
                downstream.abort_connection();
            }
        });
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

impl Protocol for Upstream {
    fn connection_made(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("proxy LISTEN-ADDRESS DESTINATION");
    let (listen, to): (String, String) = (args.required(), args.required());
    args.end();
    let reactor = marline::reactor()?;
    let port = reactor.listen_tcp(listen, move || Downstream { to: to.clone() })?;
    println!("proxy on {}", port.local_addr());
    Ok(reactor.run()?)
}
