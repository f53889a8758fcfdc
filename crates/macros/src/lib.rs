//! The attribute `#[marline::test]`: see [`macro@test`], and the facade, `marline`, for examples. What it makes of a function runs in `marline_core::testing::Case`; here is only how it is
//! written down.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | what stands in the attribute's brackets |
//! | `function.rs` | what of the function has to be known |
//! | `error.rs` | what is told of a mistake, and where |
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod error;
mod function;
mod settings;

/// Makes a function a test that runs on a reactor of its own: on the simulated network under a virtual clock unless it says otherwise.
///
/// The function may be `async`, and may return nothing, a `Result`, or a `Deferred` of either. Up to three arguments are filled in by their types:
/// `Reactor`, and in a simulation `sim::World`, `sim::Host`, `testing::Seed`.
///
/// The test fails, with the seed to run it again, if the function panics or comes to an error, if it takes too long, or if it leaves
/// something behind: timers, connections, failures that nobody looked at, a callback that held the loop. `testing::Case` has all rules.
///
/// | setting | means | otherwise |
/// |---|---|---|
/// | `seed = 7` | the first seed | 1, or `MARLINE_SEED` |
/// | `seeds = 1000` | how many seeds it is run with, one after the other | 1, or `MARLINE_SEEDS` |
/// | `timeout = "2s"` | how long it may take, in the reactor's time: a number and `ms`, `s` or `m` | `"60s"` |
/// | `stall = "100ms"` | how long a callback may hold the loop, in real time | `"1s"` |
/// | `driver = "epoll"` | runs on a fresh reactor of that driver, in real time, forced to stop at its time-out | simulated |
/// | `crate = "..."` | the path at which `marline`, or `marline_core`, is found | `"::marline"` |
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let written = settings::parse(attribute)
        .and_then(|settings| function::parse(item.clone()).map(|function| (settings, function)));
    match written {
        Ok((settings, function)) => function.into_test(&settings),
        // The function stays, so that nothing that follows from it is told as well.
        Err(mistake) => mistake.into_tokens().into_iter().chain(item).collect(),
    }
}
