//! What the HTTP examples have in common: how they are called, and both of their sides in a simulated network.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use marline::failure::Failure;
use marline::sim::{Link, World};
use marline::{ListenError, Port, Reactor};

/// Errors of all kinds meet here.
pub(crate) type Failed = Failure;

/// What a client asks for, all on one connection.
pub(crate) struct Questions {
    pub(crate) to: String,
    pub(crate) path: String,
    /// How long the body of each request is; one of no length is a GET.
    pub(crate) bodies: Vec<usize>,
}

/// `NAME serve ADDRESS`, `NAME get ADDRESS PATH` or `NAME sim SEED`.
pub(crate) fn main<A, F>(name: &str, listen: Listen, ask: A) -> Result<(), Failed>
where
    A: Fn(Reactor, Questions) -> F,
    F: Future<Output = Result<String, Failed>> + 'static,
{
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["serve", addr] => {
            let reactor = marline::reactor()?;
            println!("{name} on {}; control-C ends it", listen(&reactor, addr)?.local_addr());
            reactor.run()?;
        }
        ["get", addr, path] => {
            let reactor = marline::reactor()?;
            let questions = Questions { to: addr.into(), path: path.into(), bodies: vec![0] };
            let (asking, done) = (ask(reactor.clone(), questions), reactor.clone());
            let asked = async move {
                match asking.await {
                    Ok(answers) => print!("{answers}"),
                    Err(error) => eprintln!("{error}"),
                }
                // It may be stopping already.
                let _ = done.stop();
            };
            reactor.spawn(asked).ignore();
            reactor.run()?;
        }
        ["sim", seed] => simulate(seed.parse()?, listen, ask)?,
        _ => {
            eprintln!("usage: {name} serve ADDRESS | get ADDRESS PATH | sim SEED");
            std::process::exit(2);
        }
    }
    Ok(())
}

pub(crate) type Listen = fn(&Reactor, &str) -> Result<Port, ListenError>;

/// A server and five clients, far from each other and on bad lines.
fn simulate<A, F>(seed: u64, listen: Listen, ask: A) -> Result<(), Failed>
where
    A: Fn(Reactor, Questions) -> F,
    F: Future<Output = Result<String, Failed>> + 'static,
{
    let world = World::new(seed);
    let ms = Duration::from_millis;
    world.set_default_link(Link { latency: ms(5), jitter: ms(5), loss: 0.01, ..Link::default() });
    let server = world.host("server", ["10.0.0.1".parse()?]);
    world.spawn(&server, |reactor| {
        let port = listen(reactor, "10.0.0.1:80");
        assert!(port.is_ok(), "{port:?}");
    });
    let all = Rc::<RefCell<String>>::default();
    for number in 1..=5 {
        let client = world.host(&format!("client-{number}"), [[10, 0, 1, number].into()]);
        world.spawn(&client, |reactor| {
            let (to, path) = ("server:80".into(), format!("/{number}"));
            let questions = Questions { to, path, bodies: vec![0, 10, 300_000, 0] };
            let (asking, place) = (ask(reactor.clone(), questions), Rc::clone(&all));
            let asked = async move {
                let answers = asking.await.unwrap_or_else(|error| format!("{error}\n"));
                place.borrow_mut().push_str(&answers);
            };
            reactor.spawn(asked).ignore();
        });
    }
    world.run_for(Duration::from_secs(60));
    print!("{}", all.borrow());
    println!(
        "{} connections are left, trace hash {:016x}",
        world.connections(),
        world.trace_hash()
    );
    Ok(())
}
