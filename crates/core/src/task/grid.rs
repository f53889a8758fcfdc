//! The moments at which a looping call is due: a grid of equal steps from its start. Numbers alone, no clock.

use std::time::Duration;

use crate::Time;

/// Points at `start + k * interval`, and which of them were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    start: Time,
    /// In nanoseconds; zero is no grid at all.
    interval: u64,
    /// The first point that no call was told of.
    uncounted: u64,
    /// Steps of a grid before this one that no call was told of.
    carried: u64,
    /// When the last call was made.
    last: Option<Time>,
}

impl Grid {
    /// A grid from `start`, which is its first point if `at_once`, or else one step before that.
    pub(super) fn new(start: Time, interval: Duration, at_once: bool) -> Self {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { start, interval, uncounted: u64::from(!at_once), carried: 0, last: None }
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// The next point, which is after `now` unless it is the very first. `None` where there is no grid: whenever it can be.
    pub(super) fn next(&self, now: Time) -> Option<Time> {
        if self.uncounted == 0 {
            return Some(self.start);
        }
        let step = self.step(now)?.saturating_add(1);
        Some(self.start + Duration::from_nanos(step.saturating_mul(self.interval)))
    }

    /// A call is made: how many points there were since the one before, this one included.
    pub(super) fn count(&mut self, now: Time) -> u64 {
        let points = self.step(now).map_or(1, |step| {
            let points = step.saturating_add(1).saturating_sub(self.uncounted);
            self.uncounted = step.saturating_add(1);
            points.saturating_add(self.carried)
        });
        self.uncounted = self.uncounted.max(1);
        self.carried = 0;
        self.last = Some(now);
        // A timer is never early.
        points.max(1)
    }

    /// Begins anew at `now`. Whole steps since the last call are still to be counted.
    pub(super) fn restart(&mut self, now: Time) {
        let since_last = self.last.map(|last| now.since(last).as_nanos());
        let steps = since_last.and_then(|nanos| nanos.checked_div(self.interval.into()));
        self.carried = steps.map_or(0, |steps| u64::try_from(steps).unwrap_or(u64::MAX));
        self.uncounted = self.uncounted.min(1);
        self.start = now;
    }

    /// Whole steps from the start until `now`.
    fn step(&self, now: Time) -> Option<u64> {
        let nanos = now.as_nanos().saturating_sub(self.start.as_nanos());
        nanos.checked_div(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Time {
        Time::from_nanos(tenths * 100_000_000)
    }

    fn every(seconds: u64, at_once: bool) -> Grid {
        Grid::new(Time::ZERO, Duration::from_secs(seconds), at_once)
    }

    #[test]
    fn late_calls_go_on_at_the_next_point_after_them() {
        let mut grid = every(2, true);
        let mut next = Vec::new();
        for now in [0, 20, 67, 90, 100, 119] {
            grid.count(at(now));
            next.push(grid.next(at(now)).unwrap());
        }
        assert_eq!(next, [at(20), at(40), at(80), at(100), at(120), at(120)]);
    }

    #[test]
    fn the_first_point_is_the_start_or_one_step_later() {
        assert_eq!(every(2, true).next(at(7)), Some(at(0)));
        assert_eq!(every(2, false).next(at(7)), Some(at(20)));
        assert_eq!(every(2, false).next(at(20)), Some(at(40)));
    }

    #[test]
    fn points_are_counted_once_and_never_zero() {
        let mut grid = every(2, true);
        let counted: Vec<_> = [0, 20, 80, 81, 100].map(|now| grid.count(at(now))).into();
        assert_eq!(counted, [1, 1, 3, 1, 1]);
        let mut late = every(2, true);
        assert_eq!(late.count(at(45)), 3, "at 0, 2 and 4");
        let mut later = every(2, false);
        assert_eq!(later.count(at(45)), 2, "at 2 and 4");
    }

    #[test]
    fn a_grid_that_begins_anew_keeps_count_of_whole_steps_since_the_last_call() {
        let mut grid = every(2, true);
        assert_eq!(grid.count(at(0)), 1);
        for now in [19, 38, 57] {
            grid.restart(at(now));
        }
        assert_eq!(grid.next(at(57)), Some(at(77)));
        assert_eq!(grid.count(at(77)), 3, "7.7 seconds are three steps");
        grid.restart(at(77));
        assert_eq!(grid.count(at(97)), 1);
        // Nothing was called yet: nothing to carry over, and the first point stays the first.
        let mut fresh = every(2, true);
        fresh.restart(at(50));
        assert_eq!(fresh.next(at(50)), Some(at(50)));
        assert_eq!(fresh.count(at(50)), 1);
    }

    #[test]
    fn no_interval_is_no_grid_and_one_call_counts_one() {
        let mut grid = every(0, true);
        assert_eq!(grid.next(at(3)), Some(at(0)));
        assert_eq!(grid.count(at(3)), 1);
        assert_eq!(grid.next(at(3)), None);
        grid.restart(at(9));
        assert_eq!((grid.next(at(9)), grid.count(at(9))), (None, 1));
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let mut grid = Grid::new(at(1), Duration::MAX, false);
        assert_eq!(grid.next(at(5)), Some(Time::MAX));
        assert_eq!(grid.count(Time::MAX), 1);
        grid.restart(Time::MAX);
        assert_eq!(grid.next(Time::MAX), Some(Time::MAX));
        let mut fine = Grid::new(Time::ZERO, Duration::from_nanos(1), true);
        assert_eq!(fine.count(Time::MAX), u64::MAX);
        assert_eq!(fine.next(Time::MAX), Some(Time::MAX));
        fine.restart(Time::MAX);
        assert_eq!(fine.count(Time::MAX), 1);
    }
}
