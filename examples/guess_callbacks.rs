//! A client as a protocol object: where it is in the game stands in its fields. `guess_async.rs` is the same client as an async function.
//! `guess_callbacks [NUMBER]` plays with a server of its own; the number is at most a million.

use std::time::Duration;

use marline::deferred::{Deferred, Resolver};
use marline::failure::Failure;
use marline::protocols::line::{LineLink, LineProtocol, LineReceiver};
use marline::task::Exit;
use marline::{Addr, CloseReason, Reactor, Transport};
use marline_examples::Args;

mod guess;

struct Player {
    guesser: guess::Guesser,
    result: Option<Resolver<u32>>,
}

impl Player {
    fn begin(&mut self, transport: &Transport) -> Deferred<u32> {
        let (found, result) = Deferred::new();
        self.result = Some(result);
        transport.write(self.guesser.guess().as_bytes());
        found
    }

    fn end(&mut self, result: Result<u32, Failure>) {
        if let Some(resolver) = self.result.take() {
            resolver.finish(result);
        }
    }
}

impl LineProtocol for Player {
    fn line_received(&mut self, link: &mut LineLink<'_>, line: &[u8]) {
        match self.guesser.learn(line) {
            Ok(None) => link.write(self.guesser.guess().as_bytes()),
            Ok(Some(guesses)) => self.end(Ok(guesses)),
            Err(failure) => self.end(Err(failure)),
        }
    }

    fn connection_lost(&mut self, _transport: &Transport, _reason: &CloseReason) {
        self.end(Err(Failure::msg("they hung up")));
    }
}

/// Plays a game: how many guesses it took. A game that is cancelled hangs up.
pub(crate) fn play(reactor: &Reactor, server: Addr) -> Deferred<u32> {
    let player = Player { guesser: guess::Guesser::new(), result: None };
    let connecting = reactor.connect_tcp(server, LineReceiver::new(player));
    connecting.map_err(Failure::from).then(|connection| {
        let found = connection.with(|player, transport| player.get_mut().begin(transport));
        found.then(|found| found).finally(move || connection.transport().lose_connection())
    })
}

fn game(reactor: &Reactor, number: u32) -> Deferred<()> {
    let server = move || LineReceiver::new(guess::Secret(number));
    let port = match reactor.listen_tcp("127.0.0.1:0", server) {
        Ok(port) => port,
        Err(error) => return Deferred::failed(error.into()),
    };
    let played = play(reactor, port.local_addr()).timeout(reactor, Duration::from_secs(10));
    played.map(|guesses| println!("found in {guesses} guesses"))
}

fn main() -> Exit {
    let mut args = Args::new("guess_callbacks [NUMBER]");
    let number = args.optional().unwrap_or(271_828);
    args.end();
    marline::react(move |reactor| game(&reactor, number))
}
