//! What a chain of three steps costs, beside three boxed closures called one after the other: `marline-deferred [--has] ROW`, one line of JSON
//! with the processor time for each; `marline-deferred ROW make|fire|both COUNT` does that so many times and prints nothing, for a counter of
//! instructions and allocations to look at. `--has` only tells whether the engine was built in.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(feature = "engine")]
mod rows;

#[cfg(feature = "engine")]
fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let ask = words.next_if(|word| word == "--has").is_some();
    let rest: Vec<String> = words.collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let done = match rest[..] {
        [row] if ask => rows::find(row).map(|_| ()),
        [row] => rows::find(row).map(|row| row.time()),
        [row, part, count] => {
            count.parse().ok().and_then(|count| rows::find(row)?.repeat(part, count))
        }
        _ => None,
    };
    if done.is_none() {
        eprintln!("usage: marline-deferred [--has] ROW [make|fire|both COUNT]");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

#[cfg(not(feature = "engine"))]
fn main() -> ExitCode {
    eprintln!("not built in (feature of marline-bench: engine)");
    ExitCode::from(3)
}
