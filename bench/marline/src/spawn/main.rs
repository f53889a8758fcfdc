//! Futures on the reactor: `marline-spawn [--has] dropped|awaited|yields BATCHES`. What is done: the crate `measure`. `--has` only tells that
//! the program was built.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;

use marline_core::Reactor;
use marline_core::failure::Failure;
use measure::spawn;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "--has").is_some() {
        return ExitCode::SUCCESS;
    }
    match spawn::arguments(words).map_err(Failure::msg).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

fn run((case, batches): (spawn::Case, usize)) -> Result<(), Failure> {
    let reactor = Reactor::from_boxed(marline_drivers::open(None)?.driver);
    let sum = Rc::new(Cell::new(0));
    let (spawner, stopper, told) = (reactor.clone(), reactor.clone(), Rc::clone(&sum));
    let tasks =
        spawn::run(case, batches, move |work| spawner.spawn(work), Result::unwrap_or_default);
    let all = async move {
        told.set(tasks.await);
        // It runs: this is one of its tasks.
        let _ = stopper.stop();
    };
    reactor.spawn(all).ignore();
    reactor.run()?;
    assert_eq!(sum.get(), spawn::expected(case, batches), "every task runs, once");
    Ok(())
}
