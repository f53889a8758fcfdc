//! What the HTTP examples have in common: how they are called, and both of their sides in a simulated network.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use marline::failure::Failure;
use marline::sim::{Link, World};
use marline::task::Exit;
use marline::{ListenError, Port, Reactor};
use marline_examples::Args;

/// Errors of all kinds meet here.
pub(crate) type Failed = Failure;

/// What a client asks for, all on one connection.
pub(crate) struct Questions {
    pub(crate) to: String,
    pub(crate) path: String,
    /// How long the body of each request is; one of no length is a GET.
    pub(crate) bodies: Vec<usize>,
}

/// Does what the arguments say: `serve ADDRESS`, `get ADDRESS PATH` or `sim SEED`.
pub(crate) fn main<A, F>(mut args: Args, listen: Listen, ask: A) -> Exit
where
    A: Fn(Reactor, Questions) -> F + 'static,
    F: Future<Output = Result<String, Failed>> + 'static,
{
    let mode: String = args.required();
    match &*mode {
        "serve" => {
            let addr: String = args.required();
            args.end();
            Exit::of(serve(listen, &addr))
        }
        "get" => {
            let (to, path) = (args.required(), args.required());
            args.end();
            let questions = Questions { to, path, bodies: vec![0] };
            marline::react(|reactor| async move {
                print!("{}", ask(reactor, questions).await?);
                Ok::<_, Failed>(())
            })
        }
        "sim" => {
            let seed = args.required();
            args.end();
            Exit::of(simulate(seed, listen, ask))
        }
        _ => args.refuse(&format!("{mode:?}: none of serve, get, sim")),
    }
}

fn serve(listen: Listen, addr: &str) -> Result<(), Failed> {
    let reactor = marline::reactor()?;
    println!("serving on {}; control-C ends it", listen(&reactor, addr)?.local_addr());
    Ok(reactor.run()?)
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
