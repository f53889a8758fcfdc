//! UDP echo on tokio's current-thread runtime: one task. `tokio-udp HOST:PORT`.

use std::io;

use tokio::net::UdpSocket;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.ok_or_else(|| io::Error::other("usage: tokio-udp HOST:PORT"))?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let socket = UdpSocket::bind(address).await?;
        let mut buf = vec![0; 65_536];
        loop {
            let (len, from) = socket.recv_from(&mut buf).await?;
            let _ = socket.send_to(&buf[..len], from).await;
        }
    })
}
