//! What `#[marline::test]` writes into a program, besides `testing::Case`.

use marline_core::Reactor;

/// A reactor on the driver of this name.
#[cfg(feature = "drivers")]
pub fn open(driver: &str) -> Result<Reactor, String> {
    marline_drivers::open(Some(driver))
        .map(|opened| Reactor::from_boxed(opened.driver))
        .map_err(|error| error.to_string())
}

/// There are none.
#[cfg(not(feature = "drivers"))]
pub fn open(driver: &str) -> Result<Reactor, String> {
    Err(format!("no driver {driver}: marline was built without its feature `drivers`"))
}
