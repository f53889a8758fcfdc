//! A client as an async function: where it is in the game is where it is in the code. `guess_callbacks.rs` is the same client as a protocol object.
//! `guess_async [NUMBER]` plays with a server of its own; the number is at most a million.

use std::time::Duration;

use marline::failure::Failure;
use marline::protocols::line::LineReceiver;
use marline::task::Exit;
use marline::{Addr, Reactor};
use marline_examples::Args;

pub(crate) mod guess;

/// Plays a game: how many guesses it took. A game that is dropped hangs up.
pub(crate) async fn play(reactor: Reactor, server: Addr) -> Result<u32, Failure> {
    let mut stream = reactor.connect_stream(server).await?;
    let mut guesser = guess::Guesser::new();
    let mut answer = Vec::new();
    loop {
        stream.write_all(guesser.guess().as_bytes()).await?;
        answer.clear();
        if stream.read_until(b'\n', &mut answer, 100).await? == 0 {
            return Err(Failure::msg("they hung up"));
        }
        if let Some(guesses) = guesser.learn(&answer)? {
            return Ok(guesses);
        }
    }
}

async fn game(reactor: Reactor, number: u32) -> Result<(), Failure> {
    let server = move || LineReceiver::new(guess::Secret(number));
    let port = reactor.listen_tcp("127.0.0.1:0", server)?;
    let played = reactor.spawn(play(reactor.clone(), port.local_addr())).and_then(|played| played);
    let guesses = played.timeout(&reactor, Duration::from_secs(10)).await?;
    println!("found in {guesses} guesses");
    Ok(())
}

fn main() -> Exit {
    let mut args = Args::new("guess_async [NUMBER]");
    let number = args.optional().unwrap_or(271_828);
    args.end();
    marline::react(move |reactor| game(reactor, number))
}
