//! A program that is one task and ends with it: asks a server for the time (RFC 868), `react time.nist.gov:37`, and waits for the answer for ten seconds, or
//! as many as the second argument says. Its exit status is 0 if there is one, 75 if it comes too late, 2 if it is called wrongly, 1 for all else.

use std::time::{Duration, UNIX_EPOCH};

use marline::Reactor;
use marline::failure::Failure;
use marline::protocols::time;
use marline::task::Exit;

async fn ask(reactor: Reactor) -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (server, seconds) = (args.next(), args.next().map_or(Ok(10.0), |text| text.parse()));
    let patience = seconds.map(Duration::try_from_secs_f64);
    let (Some(server), Ok(Ok(patience))) = (server, patience) else {
        eprintln!("usage: react SERVER:PORT [SECONDS]");
        return Err(Exit(2).into());
    };
    let answer = time::ask(&reactor, server);
    let cancel = answer.cancel_handle();
    let too_late = reactor.call_later(patience, move |_| cancel.cancel());
    let answer = answer.await;
    // It is no longer pending if it has just rung: then that is why there is no answer.
    if too_late.cancel().is_err() {
        eprintln!("no answer within {patience:?}");
        return Err(Exit(75).into());
    }
    println!("{} seconds since 1970", answer?.duration_since(UNIX_EPOCH)?.as_secs());
    Ok(())
}

fn main() -> Exit {
    marline::react(ask)
}
