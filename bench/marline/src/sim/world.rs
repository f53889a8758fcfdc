//! The world that is measured: one server, some clients, 64 bytes going to and fro on each connection for as long as it runs.

use std::net::IpAddr;
use std::time::Duration;

use marline_core::sim::World;
use marline_core::{Protocol, Transport};
use measure::processor_time;

/// At least so many events are counted.
const EVENTS: u64 = 1_000_000;

/// Runs it and prints the report.
pub(crate) fn run(clients: u8) -> Result<(), String> {
    let world = World::new(1);
    let server = IpAddr::from([10, 0, 0, 1]);
    world.spawn(&world.host("server", [server]), move |reactor| {
        if let Err(e) = reactor.listen_tcp((server, 7), || Echo { begins: false }) {
            panic!("nobody else listens there: {e}");
        }
    });
    for i in 0..clients {
        let host = world.host(&format!("client {i}"), [IpAddr::from([10, 0, 1, i])]);
        world.spawn(&host, move |reactor| {
            reactor.connector_tcp((server, 7), || Echo { begins: true });
        });
    }
    // The connections are made, and the first bytes are on their way.
    world.run_for(Duration::from_secs(1));
    let (first, began) = (world.events(), processor_time());
    let mut last = first;
    while last - first < EVENTS {
        world.run_for(Duration::from_secs(1));
        if world.events() == last {
            return Err(format!("nothing goes on in this world after {last} events"));
        }
        last = world.events();
    }
    let events = last - first;
    let ns = (processor_time() - began) as f64 / events as f64;
    println!(r#"{{"events":{events},"ns":{ns:.1},"hash":"{:016x}"}}"#, world.trace_hash());
    Ok(())
}

/// Sends back what comes; the one that begins keeps both at it for ever.
struct Echo {
    begins: bool,
}

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        if self.begins {
            transport.write(&[7; 64]);
        }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}
