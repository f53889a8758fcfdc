//! Both clients of the guessing game in a simulated network: the same game, and nothing left of one that is given up.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]
#![allow(clippy::duplicate_mod, reason = "each program has its game")]

use std::net::SocketAddr;
use std::time::Duration;

use marline::deferred::{Deferred, Interrupt};
use marline::failure::Failure;
use marline::protocols::line::LineReceiver;
use marline::testing::Seed;
use marline::{Addr, Protocol, Reactor, Transport};

#[path = "../guess_async.rs"]
#[allow(dead_code, reason = "only the client is played")]
mod guess_async;
#[path = "../guess_callbacks.rs"]
#[allow(dead_code, reason = "only the client is played")]
mod guess_callbacks;

fn by_callbacks(reactor: &Reactor, server: Addr) -> Deferred<u32> {
    guess_callbacks::play(reactor, server)
}

fn by_async_code(reactor: &Reactor, server: Addr) -> Deferred<u32> {
    reactor.spawn(guess_async::play(reactor.clone(), server)).and_then(|played| played)
}

#[marline::test(seeds = 50)]
async fn both_clients_take_the_same_guesses(reactor: Reactor, seed: Seed) -> Result<(), Failure> {
    let number = 1 + (seed.0 * 27_644_437 % 1_000_000) as u32;
    let secret = move || LineReceiver::new(guess_async::guess::Secret(number));
    let port = reactor.listen_tcp("127.0.0.1:0", secret)?;
    let one = by_callbacks(&reactor, port.local_addr()).await?;
    let other = by_async_code(&reactor, port.local_addr()).await?;
    assert!(one == other && one <= 20, "{number}: {one} and {other}");
    Ok(())
}

/// Takes guesses, and says nothing.
struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

// That no connection is left is for the attribute to see.
#[marline::test(seeds = 10)]
async fn a_game_that_is_given_up_hangs_up(reactor: Reactor) -> Result<(), Failure> {
    let port = reactor.listen_tcp("127.0.0.1:0", || Silent)?;
    for play in [by_callbacks, by_async_code] {
        let played = play(&reactor, port.local_addr()).timeout(&reactor, Duration::from_secs(5));
        let late = played.await.map_err(|failure| failure.check().cloned());
        assert_eq!(late, Err(Some(Interrupt::TimedOut)));
    }
    Ok(())
}

#[marline::test]
async fn a_game_with_nobody_is_an_error(reactor: Reactor) -> Result<(), Failure> {
    for play in [by_callbacks, by_async_code] {
        let failure =
            play(&reactor, SocketAddr::from(([127, 0, 0, 1], 1)).into()).await.unwrap_err();
        assert_eq!(failure.to_string(), "cannot connect to 127.0.0.1:1: connection refused");
    }
    Ok(())
}
