//! Dates of the Gregorian calendar and times of day, in UTC: the arithmetic that logs and protocols share. Which moment it is now, a reactor says
//! ([`Reactor::wall_clock`](crate::Reactor::wall_clock)); nothing here reads a clock or knows a time zone.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since 1 January 1970, 00:00 UTC, rounded down; negative before. Leap seconds are not counted, as the system does not count them.
///
/// Moments that no `i64` can tell are told as the nearest one it can.
#[must_use]
#[doc(alias = "timestamp")]
pub fn unix_seconds(moment: SystemTime) -> i64 {
    match moment.duration_since(UNIX_EPOCH) {
        Ok(after) => 0_i64.saturating_add_unsigned(after.as_secs()),
        Err(error) => {
            let before = error.duration();
            let rounded_up = before.as_secs().saturating_add((before.subsec_nanos() > 0).into());
            0_i64.saturating_sub_unsigned(rounded_up)
        }
    }
}

/// A second as calendar and clock show it in UTC. The Gregorian calendar is used for all times, also for those before there was one.
///
/// It is shown as RFC 3339 writes it:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use marline_core::civil::DateTime;
///
/// let date = DateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_399));
/// assert_eq!((date.year, date.month, date.day, date.weekday), (2000, 2, 28, 1));
/// assert_eq!(date.to_string(), "2000-02-28T23:59:59+00:00");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// The year; 0 is the one before year 1.
    pub year: i64,
    /// 1 for January to 12.
    pub month: u8,
    /// Of the month, from 1.
    pub day: u8,
    /// 0 for Sunday to 6.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl DateTime {
    /// The date and time so many seconds after 1 January 1970, 00:00 UTC.
    #[must_use]
    #[doc(alias = "fromtimestamp")]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years are counted from a 1 March, so that a leap day is the last of its year.
        let from_march_0000 = days + 719_468;
        let (era, day) = (from_march_0000.div_euclid(ERA), from_march_0000.rem_euclid(ERA));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        // Five months in a row from March or August have 153 days together.
        let since_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * since_march + 2) / 5 + 1;
        let in_next_year = (since_march >= 10) as i64;
        Self {
            year: era * 400 + year + in_next_year,
            month: ((since_march + 2) % 12 + 1) as u8,
            day: day_of_month as u8,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

/// Parts of a second are cut off, as [`unix_seconds`] does.
impl From<SystemTime> for DateTime {
    fn from(moment: SystemTime) -> Self {
        Self::from_unix_seconds(unix_seconds(moment))
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days of 400 years.
const ERA: i64 = 146_097;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> SystemTime {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (-2_208_988_800, "1900-01-01T00:00:00+00:00"),
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (951_868_800, "2000-03-01T00:00:00+00:00"),
            (1_795_273_200, "2026-11-21T15:00:00+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
            (253_402_300_799, "9999-12-31T23:59:59+00:00"),
        ] {
            assert_eq!(DateTime::from(at(seconds)).to_string(), text);
            let within = at(seconds) + Duration::from_millis(999);
            assert_eq!(DateTime::from(within).to_string(), text);
        }
    }

    #[test]
    fn seconds_are_rounded_down_before_1970_too() {
        let half = Duration::from_millis(500);
        assert_eq!(unix_seconds(at(7) + half), 7);
        assert_eq!(unix_seconds(at(-7) + half), -7);
        let before = DateTime::from(at(0) - Duration::from_millis(1));
        assert_eq!(before.to_string(), "1969-12-31T23:59:59+00:00");
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        for far in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let date = DateTime::from_unix_seconds(far);
            assert_eq!(date.year < 0, far < 0, "{date:?}");
        }
        for far in [i64::MIN + 1, i64::MAX] {
            assert_eq!(unix_seconds(at(far)), far);
        }
        let beyond = at(i64::MIN + 1) - Duration::from_secs(1);
        assert_eq!(unix_seconds(beyond), i64::MIN);
        let fraction = beyond.checked_sub(Duration::from_nanos(1));
        assert!(fraction.is_none_or(|moment| unix_seconds(moment) == i64::MIN));
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        // 1 January 1600 was a Saturday.
        let (mut expected, mut weekday) = ((1600, 1, 1), 6);
        for days in -135_140..-135_140 + 2 * ERA {
            let date = DateTime::from_unix_seconds(days * DAY + DAY - 1);
            let (year, month, day) = (date.year, date.month, date.day);
            assert_eq!(((year, month, day), date.weekday), (expected, weekday), "{days}");
            assert_eq!((date.hour, date.minute, date.second), (23, 59, 59));
            let length = match month {
                2 => 28 + u8::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            weekday = (weekday + 1) % 7;
        }
        assert_eq!(expected, (2400, 1, 1));
    }
}
