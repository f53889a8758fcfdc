//! Asks many servers, some at a time: reads what each says until it closes, as servers of quotes (RFC 865) and of the day's time (RFC 867) do, and
//! shows it as it comes. `fetch_many 2 10 djxmmx.net:17 time.nist.gov:13`: two at a time, ten seconds for each. The exit status is 1 if one failed.

use std::time::Duration;

use marline::failure::Failure;
use marline::protocols::inquiry::printable;
use marline::sync::Semaphore;
use marline::task::Exit;
use marline::{JoinSet, Reactor};
use marline_examples::Args;

/// In bytes. Nobody has more to say.
const MOST: usize = 100_000;

async fn fetch(reactor: Reactor, from: String) -> Result<String, Failure> {
    let mut stream = reactor.connect_stream(from).await?;
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    while said.len() < MOST {
        match stream.read(&mut buffer).await? {
            0 => return Ok(printable(&said)),
            len => said.extend_from_slice(&buffer[..len]),
        }
    }
    Err(Failure::msg(format!("more than {MOST} bytes, and no end")))
}

async fn fetch_all(
    reactor: Reactor,
    at_once: Semaphore,
    patience: Duration,
    addresses: Vec<String>,
) -> Result<Exit, Failure> {
    let mut set = JoinSet::new(&reactor);
    for address in addresses {
        let (from, at_once, reactor) = (address.clone(), at_once.clone(), reactor.clone());
        set.spawn(async move {
            // The time runs from its turn on. A task that is cancelled is dropped, and its stream with it.
            let fetching = at_once.run(move || {
                let task = reactor.spawn(fetch(reactor.clone(), from));
                task.and_then(|said| said).timeout(&reactor, patience)
            });
            (address, fetching.await)
        });
    }
    let mut exit = Exit::SUCCESS;
    while let Some(joined) = set.join_next().await {
        let (address, fetched) = joined?;
        match fetched {
            Ok(said) => println!("{address}: {}", said.trim_end()),
            Err(failure) => {
                eprintln!("{address}: {failure}");
                exit = Exit::FAILURE;
            }
        }
    }
    Ok(exit)
}

fn main() -> Exit {
    let mut args = Args::new("fetch_many AT_ONCE SECONDS ADDRESS...");
    let at_once = Semaphore::new(args.required());
    let at_once = at_once.unwrap_or_else(|error| args.refuse(&error.to_string()));
    let patience = Duration::try_from_secs_f64(args.required());
    let patience = patience.unwrap_or_else(|error| args.refuse(&error.to_string()));
    let mut addresses = vec![args.required()];
    addresses.extend(std::iter::from_fn(|| args.optional()));
    marline::react(move |reactor| fetch_all(reactor, at_once, patience, addresses))
}
