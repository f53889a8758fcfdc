//! When work that goes on is called again, and how long a piece of it has taken. The time of a turn is fixed; here alone the driver's clock is read
//! anew within a turn, through the same door, so that a recording has what it said.

use std::time::Duration;

use crate::Time;
use crate::reactor::inner::Inner;

/// What a piece of work counts for where time stands still while it is done: in a simulation.
pub(super) const VIRTUAL: Duration = Duration::from_millis(1);

/// The driver's clock as it is now.
pub(super) fn clock(inner: &Inner) -> Time {
    inner.driver().now()
}

/// When work that does not wait for anything is to go on: in the next turn.
pub(super) fn next_turn(inner: &Inner) -> Time {
    let now = inner.now();
    if clock(inner) > now { now } else { now + VIRTUAL }
}
