//! Echo on tokio's current-thread runtime: one task and one buffer per connection.
//! `tokio-echo HOST:PORT`; bytes read at a time by `ECHO_BUF`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.ok_or_else(|| io::Error::other("usage: tokio-echo HOST:PORT"))?;
    let size = std::env::var("ECHO_BUF").ok().and_then(|v| v.parse().ok()).unwrap_or(4096);
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buf = vec![0; size];
                while let Ok(n) = stream.read(&mut buf).await {
                    if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
