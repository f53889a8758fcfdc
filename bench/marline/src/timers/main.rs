//! One million timers in marline's queue, alone and through the reactor: `marline-timers [--has] queue|boxed|reactor`. What is done with them:
//! the crate `measure`. `--has` only tells whether that row was built in: status 3 if not.

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod fired;
#[cfg(feature = "queue")]
mod queue;
#[cfg(feature = "engine")]
mod reactor;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let ask = words.next_if(|word| word == "--has").is_some();
    let row = words.next().unwrap_or_default();
    let Some((_, run)) = ROWS.iter().find(|(name, _)| *name == row) else {
        eprintln!("not built in (features of marline-bench: queue, engine)");
        return ExitCode::from(3);
    };
    if !ask {
        run();
    }
    ExitCode::SUCCESS
}

/// The rows that are built in.
const ROWS: &[(&str, fn())] = &[
    #[cfg(feature = "queue")]
    ("queue", queue::plain),
    #[cfg(feature = "queue")]
    ("boxed", queue::boxed),
    #[cfg(feature = "engine")]
    ("reactor", reactor::run),
];
