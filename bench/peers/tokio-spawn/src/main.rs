//! Tasks on tokio's `LocalSet`: `tokio-spawn dropped|awaited|yields BATCHES`. What is done: the crate `measure`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use measure::spawn;

fn main() -> ExitCode {
    let (case, batches) = match spawn::arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
        eprintln!("tokio does not start");
        return ExitCode::FAILURE;
    };
    let tasks = spawn::run(case, batches, tokio::task::spawn_local, Result::unwrap_or_default);
    let sum = tokio::task::LocalSet::new().block_on(&runtime, tasks);
    assert_eq!(sum, spawn::expected(case, batches), "every task runs, once");
    ExitCode::SUCCESS
}
