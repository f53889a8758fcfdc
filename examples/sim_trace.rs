//! Prints the hash of everything that happens in a simulated world: `sim_trace SEED`. The same seed gives the same hash, which is how CI checks
//! that nothing but the seed decides a run.

use std::error::Error;
use std::time::Duration;

use marline::sim::{Link, World};
use marline::{CloseReason, Protocol, Reactor, Transport};
use marline_examples::Args;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Sends messages of drawn lengths, waits drawn times, and connects anew when it is cut off.
struct Chatter {
    reactor: Reactor,
    left: u32,
}

impl Chatter {
    fn speak(&mut self, transport: &Transport) {
        let (length, pause) = self.reactor.rng(|rng| (rng.below(4000) + 1, rng.below(50)));
        transport.write(&vec![length as u8; length as usize]);
        self.left = self.left.saturating_sub(1);
        let (again, left) = (transport.clone(), self.left);
        self.reactor.call_later(Duration::from_millis(pause), move |_| {
            let Some(me) = again.connection::<Self>().filter(|_| left > 0) else {
                return again.lose_connection();
            };
            me.with(|me, transport| me.speak(transport)).ignore();
        });
    }
}

impl Protocol for Chatter {
    fn connection_made(&mut self, transport: &Transport) {
        self.speak(transport);
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) {}

    fn connection_lost(&mut self, _: &Transport, reason: &CloseReason) {
        if !reason.is_clean() {
            start(&self.reactor, self.left);
        }
    }
}

fn start(reactor: &Reactor, left: u32) {
    reactor.connect_tcp("server:7", Chatter { reactor: reactor.clone(), left }).ignore();
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("sim_trace [SEED]");
    let seed = args.optional().unwrap_or(1);
    args.end();
    let world = World::new(seed);
    let ms = Duration::from_millis;
    world.set_default_link(Link { latency: ms(5), jitter: ms(5), loss: 0.01, ..Link::default() });
    let server = world.host("server", ["10.0.0.1".parse()?]);
    world.spawn(&server, |reactor| {
        let port = reactor.listen_tcp("10.0.0.1:7", || Echo);
        assert!(port.is_ok(), "{port:?}");
    });
    let mut hosts = Vec::new();
    for client in 0..20 {
        let host = world.host(&format!("client-{client}"), [format!("10.0.1.{client}").parse()?]);
        world.spawn(&host, |reactor| start(reactor, 200));
        hosts.push(host);
    }
    for (second, host) in hosts.iter().enumerate() {
        world.run_for(ms(500));
        match second % 3 {
            0 => drop(world.reset(&server, host)),
            1 => world.hold(&server, host, ms(700)),
            _ => {}
        }
    }
    world.run_for(Duration::from_secs(60));
    println!("{} events until {}", world.events(), world.now());
    println!("trace hash {:016x}", world.trace_hash());
    Ok(())
}
