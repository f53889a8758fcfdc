//! A download at a rate: `throttled_download 127.0.0.1:8011`, then `nc 127.0.0.1 8011 > file`. Each client gets a megabyte, at no more than 200 kB/s
//! (or as many kB/s as the second argument says), and all of them together no more than twice that.

use std::error::Error;
use std::num::NonZeroU32;

use marline::protocol::from_fn;
use marline::protocols::policy::{Rate, Throttle};
use marline::{Protocol, Transport};
use marline_examples::Args;

const SIZE: usize = 1_000_000;

struct Download;

impl Protocol for Download {
    fn connection_made(&mut self, transport: &Transport) {
        transport.write(&vec![b'm'; SIZE]);
        // Closes once all has left, however long that takes.
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::new("throttled_download [ADDRESS [KILOBYTES-PER-SECOND]]");
    let addr: String = args.optional().unwrap_or_else(|| "127.0.0.1:8011".into());
    let rate = 1000 * args.optional().map_or(200, |rate: NonZeroU32| u64::from(rate.get()));
    args.end();
    let together = Rate::new(2 * rate, rate)?;
    let factory = from_fn(move |link| {
        let own = Rate::new(rate, rate / 10).ok()?;
        link.add_policy(Throttle::new().writing(&own).writing(&together));
        Some(Download)
    });
    let reactor = marline::reactor()?;
    let port = reactor.listen_tcp(addr, factory)?;
    println!("downloads on {}", port.local_addr());
    Ok(reactor.run()?)
}
