//! Daytime (RFC 867): date and time for people, in one line.

use std::time::SystemTime;

use marline_core::civil::DateTime;
use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::deferred::Deferred;
use marline_core::{Addr, Destination, Protocol, Reactor, Transport};

use crate::inquiry::{DatagramInquiry, Inquiry, InquiryError, printable};
use crate::reply::reply;

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
    let DateTime { year, month, day, weekday, hour, minute, second } = moment.into();
    let weekday = WEEKDAYS[usize::from(weekday)];
    let month = MONTHS[usize::from(month) - 1];
    format!("{weekday}, {month} {day}, {year} {hour:02}:{minute:02}:{second:02}-UTC")
}

fn line(reactor: &Reactor) -> String {
    text(reactor.wall_clock()) + "\r\n"
}

fn words(answer: &[u8]) -> String {
    printable(answer).trim_end().into()
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
