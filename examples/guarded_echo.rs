//! An echo server for the open network: `guarded_echo 127.0.0.1:8010`. Its protocol is that of `echo`; a connection that is silent for a minute is
//! closed, one older than an hour, too, and nobody has more than ten.
//!
//! For benchmarks `POLICIES=idle,deadline` chooses among `idle`, `deadline`, `limits`, `log` and `none`, and `BENCH_EXIT_AFTER=n` ends it after n echoes.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use marline::protocol::from_fn;
use marline::protocols::policy::{Deadline, IdleTimeout, Limits, TrafficLog};
use marline::{Protocol, Transport};
use marline_examples::Args;

struct Echo {
    left: Rc<Cell<u64>>,
}

impl Protocol for Echo {
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
    let mut args = Args::new("guarded_echo [ADDRESS]");
    let addr: String = args.optional().unwrap_or_else(|| "127.0.0.1:8010".into());
    args.end();
    let policies = std::env::var("POLICIES").unwrap_or_else(|_| "idle,deadline,limits".into());
    let known = ["idle", "deadline", "limits", "log", "none"];
    if let Some(unknown) = policies.split(',').find(|policy| !known.contains(policy)) {
        return Err(format!("there is no policy {unknown}").into());
    }
    let count = std::env::var("BENCH_EXIT_AFTER").map_or(Ok(u64::MAX), |text| text.parse())?;
    let left = Rc::new(Cell::new(count));
    let limits = Limits::new();
    let limits = if policies.contains("limits") { limits.with_per_peer(10) } else { limits };
    let factory = from_fn(move |link| {
        for policy in policies.split(',') {
            match policy {
                "idle" => link.add_policy(IdleTimeout::new(Duration::from_secs(60))),
                "deadline" => link.add_policy(Deadline::after(Duration::from_secs(3600))),
                "log" => link.add_policy(TrafficLog::to_log()),
                _ => {}
            }
        }
        Some(Echo { left: Rc::clone(&left) })
    });
    let reactor = marline::reactor()?;
    let port = reactor.listen_tcp(addr, limits.around(factory))?;
    println!("guarded echo on {}", port.local_addr());
    Ok(reactor.run()?)
}
