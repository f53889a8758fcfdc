//! One suite for every driver: each check is written once against `Reactor` and becomes one test a driver. The checks are in
//! `tests/`, a module an area; a new driver is done when it passes them all.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this crate is all test code")]

use std::io::Write as _;
use std::time::Duration;

use marline_core::{Reactor, sim::SimDriver};

/// What a check runs on: reactors of one driver.
#[derive(Clone, Copy, Debug)]
pub struct Ground {
    /// The driver's name, as `MARLINE_DRIVER` has it.
    pub driver: &'static str,
}

impl Ground {
    /// A new reactor. One that hangs fails the test after half a minute (of its own clock), instead of hanging the suite.
    pub fn reactor(&self) -> Reactor {
        let reactor = self.bare_reactor();
        reactor.call_later(Duration::from_secs(30), |_| {
            // A panic would be caught, as every callback's is.
            eprintln!("the check takes too long: gave up after 30 s");
            std::process::abort();
        });
        reactor
    }

    /// A new reactor with nothing in it, for checks that count what is there.
    pub fn bare_reactor(&self) -> Reactor {
        match self.driver {
            "sim" => Reactor::new(SimDriver::alone(7)),
            name => Reactor::from_boxed(marline_drivers::open(Some(name)).unwrap().driver),
        }
    }

    /// Whether time is virtual, so that waiting costs nothing and moments are exact.
    pub fn is_simulated(&self) -> bool {
        self.driver == "sim"
    }
}

/// Says that a check was skipped, and why, past the harness, which shows nothing of a test that passes.
pub fn skipped(why: &str) {
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Makes a check a test on every driver: `on_every_driver!(name_of_the_check, |ground| { ... });`
#[macro_export]
macro_rules! on_every_driver {
    ($(#[$attribute:meta])* $name:ident, |$ground:ident| $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "a short check may need none of its module's names")]
            use super::*;

            $(#[$attribute])*
            fn check($ground: $crate::Ground) $body

            #[test]
            fn on_epoll() {
                check($crate::Ground { driver: "epoll" });
            }

            #[test]
            fn on_sim() {
                check($crate::Ground { driver: "sim" });
            }
        }
    };
}
