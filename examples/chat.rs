//! A chat server: `chat 127.0.0.1:8000`, and then `nc 127.0.0.1 8000` (or telnet) from two terminals.

mod chat_room;

use std::error::Error;

use chat_room::Room;
use marline_examples::Args;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("chat [ADDRESS]");
    let addr: String = args.optional().unwrap_or_else(|| "127.0.0.1:8000".into());
    args.end();
    let reactor = marline::reactor()?;
    let room = Room::default();
    let everybody = room.clone();
    let port = reactor.listen_tcp(addr, move || everybody.newcomer())?;
    println!("chat on {}; control-C ends it", port.local_addr());
    reactor.run()?;
    println!("closed with {} in the room", room.len());
    Ok(())
}
