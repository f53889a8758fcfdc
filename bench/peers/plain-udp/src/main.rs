//! UDP echo as everybody writes it first: `recvfrom(2)`, `sendto(2)`, blocking, and nothing else. `plain-udp HOST:PORT`.

use std::io;
use std::net::UdpSocket;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.ok_or_else(|| io::Error::other("usage: plain-udp HOST:PORT"))?;
    let socket = UdpSocket::bind(address)?;
    let mut buf = vec![0; 65_536];
    loop {
        let (len, from) = socket.recv_from(&mut buf)?;
        // Who is gone, or has no room, gets nothing.
        let _ = socket.send_to(&buf[..len], from);
    }
}
