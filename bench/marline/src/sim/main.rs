//! Events a second of the simulated network, through the whole engine: `marline-sim [--has] pair|hundred`. A server echoes to one client, or to
//! a hundred clients on as many hosts; an event is a completion delivered to a reactor. `--has` only tells whether the engine was built in.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(feature = "engine")]
mod world;

#[cfg(feature = "engine")]
fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let ask = words.next_if(|word| word == "--has").is_some();
    let clients = match words.next().as_deref() {
        Some("pair") => 1,
        Some("hundred") => 100,
        _ => {
            eprintln!("usage: marline-sim [--has] pair|hundred");
            return ExitCode::from(2);
        }
    };
    match if ask { Ok(()) } else { world::run(clients) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("marline-sim: {why}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "engine"))]
fn main() -> ExitCode {
    eprintln!("not built in (feature of marline-bench: engine)");
    ExitCode::from(3)
}
