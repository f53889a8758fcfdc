//! An echo server: `echo 127.0.0.1:8000`. The driver is chosen by `MARLINE_DRIVER`.
//!
//! With `BENCH_EXIT_AFTER=n` it ends by itself after n echoes, which is how benchmarks start it.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use marline::{Protocol, Transport};
use marline_examples::Args;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// An echo that counts.
struct CountedEcho {
    left: Rc<Cell<u64>>,
}

impl Protocol for CountedEcho {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
        self.left.set(self.left.get().saturating_sub(1));
        if self.left.get() == 0
            && let Some(reactor) = transport.reactor()
        {
            // It may be stopping already.
            let _ = reactor.stop();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("echo [ADDRESS]");
    let addr: String = args.optional().unwrap_or_else(|| "127.0.0.1:8000".into());
    args.end();
    let reactor = marline::reactor()?;
    let port = match std::env::var("BENCH_EXIT_AFTER") {
        Ok(count) => {
            let left = Rc::new(Cell::new(count.parse()?));
            reactor.listen_tcp(addr, move || CountedEcho { left: Rc::clone(&left) })?
        }
        Err(_) => reactor.listen_tcp(addr, || Echo)?,
    };
    println!("echo on {}", port.local_addr());
    Ok(reactor.run()?)
}
