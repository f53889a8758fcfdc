use marline::{Protocol, Transport};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reactor = marline::reactor()?;
    reactor.listen_tcp("127.0.0.1:8000", || Echo)?;
    Ok(reactor.run()?)
}
