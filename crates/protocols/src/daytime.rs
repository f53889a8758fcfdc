//! Daytime (RFC 867): date and time for people, in one line.

use std::time::SystemTime;

use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::deferred::Deferred;
use marline_core::{Addr, Destination, Protocol, Reactor, Transport};

use crate::inquiry::{DatagramInquiry, Inquiry, InquiryError, printable};
use crate::reply::reply;
use crate::time::since_1970;

/// Tells date and time by the reactor's wall clock, as [`text`] writes them, and closes. Over UDP every datagram is answered with them, but
/// [not everybody's](crate#over-udp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Daytime;

impl Protocol for Daytime {
    fn connection_made(&mut self, transport: &Transport) {
        if let Some(reactor) = transport.reactor() {
            transport.write(line(&reactor).as_bytes());
        }
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

impl DatagramProtocol for Daytime {
    fn datagram_received(&mut self, transport: &DatagramTransport, _data: &[u8], from: &Addr) {
        reply(transport, line(&transport.reactor()).as_bytes(), from);
    }
}

/// Asks a server for date and time: its own words, at most 1,024 bytes within 30 seconds, of which only what is [`printable`] is kept. The
/// standard port is 13.
#[track_caller]
pub fn ask(reactor: &Reactor, to: impl Into<Destination>) -> Deferred<String, InquiryError> {
    let inquiry = Inquiry::new([]).limit(1024);
    inquiry.ask(reactor, to).map(|answer| words(&answer))
}

/// Asks over UDP, as [`ask`] does over TCP: three times within seven seconds, as a [`DatagramInquiry`] does.
#[track_caller]
pub fn ask_udp(reactor: &Reactor, to: impl Into<Destination>) -> Deferred<String, InquiryError> {
    DatagramInquiry::new([]).ask(reactor, to).map(|answer| words(&answer))
}

/// A moment in the first of the two forms that RFC 867 names, in UTC: `Monday, February 22, 1982 17:37:43-UTC`.
#[must_use]
pub fn text(moment: SystemTime) -> String {
    let seconds = since_1970(moment);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // 1 January 1970 was a Thursday.
    let weekday = WEEKDAYS[(day + 4).rem_euclid(7) as usize];
    let (year, month, day_of_month) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month];
    format!("{weekday}, {month} {day_of_month}, {year} {hour:02}:{minute:02}:{second:02}-UTC")
}

fn line(reactor: &Reactor) -> String {
    text(reactor.wall_clock()) + "\r\n"
}

fn words(answer: &[u8]) -> String {
    printable(answer).trim_end().into()
}

/// Year, month from 0, and day of the month from 1 of a day counted from 1 January 1970, in the Gregorian calendar.
fn date(day: i64) -> (i64, usize, i64) {
    // Years are counted from a 1 March, so that a leap day is the last of its year; 400 of them have 146,097 days.
    let from_march_0000 = day + 719_468;
    let (era, day) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Five months in a row from March or August have 153 days together.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let in_next_year = i64::from(month >= 10);
    (era * 400 + year + in_next_year, ((month + 2) % 12) as usize, day_of_month)
}

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marline_core::testing::Step::{Closed, S};
    use marline_core::testing::{TestReactor, talk};

    use super::*;

    #[test]
    fn the_table_holds() {
        let table = [
            // The moment of the RFC's example, which has the wrong day of the week.
            (383_247_463, "Monday, February 22, 1982 17:37:43-UTC"),
            (0, "Thursday, January 1, 1970 00:00:00-UTC"),
            (-1, "Wednesday, December 31, 1969 23:59:59-UTC"),
            (951_782_400, "Tuesday, February 29, 2000 00:00:00-UTC"),
            (951_868_800, "Wednesday, March 1, 2000 00:00:00-UTC"),
            (2_085_978_496, "Thursday, February 7, 2036 06:28:16-UTC"),
            (4_107_542_400, "Monday, March 1, 2100 00:00:00-UTC"),
            (-2_208_988_800, "Monday, January 1, 1900 00:00:00-UTC"),
        ];
        for (seconds, expected) in table {
            let distance = Duration::from_secs(i64::unsigned_abs(seconds));
            let epoch = SystemTime::UNIX_EPOCH;
            let moment = if seconds < 0 { epoch - distance } else { epoch + distance };
            assert_eq!(text(moment), expected);
        }
    }

    #[test]
    fn days_follow_each_other_through_eight_hundred_years() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1600, 0, 1);
        // 1 January 1600.
        for number in -135_140..157_060 {
            assert_eq!(date(number), (year, month, day), "{number}");
            let days = match month {
                1 => 28 + i64::from(leap(year)),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            (month, day) = if day == days { (month + 1, 1) } else { (month, day + 1) };
            (year, month) = if month == 12 { (year + 1, 0) } else { (year, month) };
        }
        assert_eq!(year, 2400);
    }

    #[test]
    fn a_server_tells_one_line_and_closes() {
        // The clock of the testing kit begins 1,000 seconds after 1970.
        talk(Daytime, &[S("Thursday, January 1, 1970 00:16:40-UTC\r\n"), Closed]);
    }

    #[test]
    fn a_client_gets_the_servers_words() {
        let reactor = TestReactor::new();
        reactor.host().set_wall_clock(SystemTime::UNIX_EPOCH + Duration::from_secs(383_247_463));
        let port = reactor.listen_tcp("127.0.0.1:0", || Daytime).unwrap();
        let expected = "Monday, February 22, 1982 17:37:43-UTC";
        assert_eq!(reactor.result_of(ask(&reactor, port.local_addr())).unwrap(), expected);
        let _service = reactor.listen_udp("127.0.0.1:13", Daytime).unwrap();
        assert_eq!(reactor.result_of(ask_udp(&reactor, "127.0.0.1:13")).unwrap(), expected);
        let asked = DatagramInquiry::new("what is in it does not matter");
        let line = reactor.result_of(asked.ask(&reactor, "127.0.0.1:13")).unwrap();
        assert_eq!(line, [expected.as_bytes(), b"\r\n"].concat());
    }
}
