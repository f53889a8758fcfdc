//! One million timers in other people's queues: `timers wheel|heap|tokio`. What is done with them: the crate `measure`.

#![deny(unsafe_code)]

use std::process::ExitCode;

mod heap;
#[allow(unsafe_code, reason = "pins a million futures in one vector")]
mod tokio_wheel;
mod wheel;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("wheel") => measure::timers::run(wheel::Wheel::new),
        Some("heap") => measure::timers::run(heap::Heap::new),
        Some("tokio") => return tokio_wheel::run(),
        _ => {
            eprintln!("usage: timers wheel|heap|tokio");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
