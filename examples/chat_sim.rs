//! The chat of `chat.rs` in a simulated network: 100 clients behind slow links, one of them cut off for a while, an hour in an instant.
//! `chat_sim [SEED]`: the same seed is the same run.

mod chat_room;

use std::cell::Cell;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use chat_room::Room;
use marline::sim::{Link, World};
use marline::{Protocol, Transport};
use marline_examples::Args;

const CLIENTS: u8 = 100;

/// Says its name, talks once a minute, and counts the lines it hears.
struct Talker {
    name: String,
    heard: Rc<Cell<usize>>,
}

impl Protocol for Talker {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(format!("{}\r\n", self.name).as_bytes());
        talk(transport.clone(), Duration::from_secs(60));
    }

    fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
        let lines = data.iter().filter(|byte| **byte == b'\n').count();
        self.heard.set(self.heard.get() + lines);
    }
}

fn talk(transport: Transport, every: Duration) {
    let Some(reactor) = transport.reactor() else { return };
    reactor.call_later(every, move |_| {
        transport.write(b"anybody there?\r\n");
        if transport.is_open() {
            talk(transport, every);
        }
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("chat_sim [SEED]");
    let seed = args.optional().unwrap_or(1);
    args.end();
    let world = World::new(seed);
    let slow = Duration::from_millis(20);
    world.set_default_link(Link { latency: slow, jitter: slow, ..Link::default() });

    let server = world.host("server", [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
    let room = Room::default();
    let everybody = room.clone();
    world.spawn(&server, move |reactor| {
        // A simulated port can be had as long as nobody else has it.
        let port = reactor.listen_tcp("10.0.0.1:7", move || everybody.newcomer());
        assert!(port.is_ok(), "{port:?}");
    });

    let heard: Vec<_> = (0..CLIENTS).map(|_| Rc::new(Cell::new(0))).collect();
    let mut hosts = Vec::new();
    for (client, heard) in (0..CLIENTS).zip(&heard) {
        let name = format!("client-{client}");
        let host = world.host(&name, [IpAddr::V4(Ipv4Addr::new(10, 0, 1, client))]);
        let talker = Talker { name, heard: Rc::clone(heard) };
        world.spawn(&host, |reactor| reactor.connect_tcp("server:7", talker).ignore());
        hosts.push(host);
    }

    world.run_for(Duration::from_secs(600));
    let before = heard[0].get();
    world.partition(&server, &hosts[0]);
    world.run_for(Duration::from_secs(120));
    let during = heard[0].get() - before;
    world.heal(&server, &hosts[0]);
    world.run_for(Duration::from_secs(3600 - 720));

    println!("in the room: {} of {CLIENTS}", room.len());
    println!(
        "client 0 heard {before} lines, then {during} while it was cut off, {} in all",
        heard[0].get()
    );
    println!("client 1 heard {} lines in all", heard[1].get());
    println!("{} events, trace hash {:016x}", world.events(), world.trace_hash());
    Ok(())
}
