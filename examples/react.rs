//! A program that is one task and ends with it: asks a server for the time (RFC 868), `react time.nist.gov:37`, and waits for the answer for ten seconds, or
//! as many as the second argument says. Its exit status is 0 if there is one, 75 if it comes too late, 2 if it is called wrongly, 1 for all else.

use std::time::{Duration, UNIX_EPOCH};

use marline::Reactor;
use marline::failure::Failure;
use marline::protocols::time;
use marline::task::Exit;
use marline_examples::Args;

async fn ask(reactor: Reactor, server: String, patience: Duration) -> Result<(), Failure> {
    let answer = time::ask(&reactor, server).map_err(Failure::from);
    let answer = answer.timeout_with(&reactor, patience, move |answer| {
        answer.map_err(|_cancelled| {
            eprintln!("no answer within {patience:?}");
            Exit(75).into()
        })
    });
    println!("{} seconds since 1970", answer.await?.duration_since(UNIX_EPOCH)?.as_secs());
    Ok(())
}

fn main() -> Exit {
    let mut args = Args::new("react SERVER:PORT [SECONDS]");
    let server = args.required();
    let patience = Duration::try_from_secs_f64(args.optional().unwrap_or(10.0));
    let patience = patience.unwrap_or_else(|error| args.refuse(&error.to_string()));
    args.end();
    marline::react(move |reactor| ask(reactor, server, patience))
}
