//! Time (RFC 868): the seconds since 1900 in 32 bits.

use std::time::{Duration, SystemTime};

use marline_core::civil::unix_seconds;
use marline_core::datagram::{DatagramProtocol, DatagramTransport};
use marline_core::deferred::Deferred;
use marline_core::{Addr, Destination, Protocol, Reactor, Transport};

use crate::inquiry::{DatagramInquiry, Inquiry, InquiryError};
use crate::reply::reply;

/// Tells the time by the reactor's wall clock, in four bytes, and closes. Over UDP every datagram is answered with them, but
/// [not everybody's](crate#over-udp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeServer;

impl Protocol for TimeServer {
    fn connection_made(&mut self, transport: &Transport) {
        // A server that cannot tell the time closes without a word.
        if let Some(reactor) = transport.reactor() {
            transport.write(&seconds(reactor.wall_clock()).to_be_bytes());
        }
        transport.lose_connection();
    }

    fn data_received(&mut self, _transport: &Transport, _data: &[u8]) {}
}

impl DatagramProtocol for TimeServer {
    fn datagram_received(&mut self, transport: &DatagramTransport, _data: &[u8], from: &Addr) {
        let seconds = seconds(transport.reactor().wall_clock());
        reply(transport, &seconds.to_be_bytes(), from);
    }
}

/// Asks a server for the time. It is told in whole seconds; which of the moments that share the number is meant, [`moment`] says by the
/// reactor's wall clock. The answer has 30 seconds. The standard port is 37.
#[track_caller]
pub fn ask(reactor: &Reactor, to: impl Into<Destination>) -> Deferred<SystemTime, InquiryError> {
    let clock = reactor.clone();
    let inquiry = Inquiry::new([]).until_length(4).limit(4);
    inquiry.ask(reactor, to).map(move |answer| read(&answer, &clock))
}

/// Asks over UDP, as [`ask`] does over TCP: three times within seven seconds, as a [`DatagramInquiry`] does. Datagrams that do not have
/// four bytes are no answer.
#[track_caller]
pub fn ask_udp(
    reactor: &Reactor,
    to: impl Into<Destination>,
) -> Deferred<SystemTime, InquiryError> {
    let clock = reactor.clone();
    let inquiry = DatagramInquiry::new([]).accept(|answer| answer.len() == 4);
    inquiry.ask(reactor, to).map(move |answer| read(&answer, &clock))
}

/// The moment told by an answer of four bytes.
fn read(answer: &[u8], clock: &Reactor) -> SystemTime {
    let seconds = answer.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    moment(seconds, clock.wall_clock())
}

/// The number by which a moment is told: whole seconds since 1 January 1900, 00:00 UTC, modulo 2³².
///
/// It goes round on 7 February 2036 at 06:28:16 UTC, when it is 0 again.
#[must_use]
pub fn seconds(moment: SystemTime) -> u32 {
    // Truncating is what the protocol does.
    unix_seconds(moment).wrapping_add(FROM_1900_TO_1970) as u32
}

/// The moment that is told by a number: of all that have it, the one nearest to `near`, so that the number may go round.
#[must_use]
pub fn moment(seconds: u32, near: SystemTime) -> SystemTime {
    let off = seconds.wrapping_sub(self::seconds(near)).cast_signed();
    let moment = unix_seconds(near).saturating_add(off.into());
    let distance = Duration::from_secs(moment.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let moment = if moment < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
    // At the very ends of what the system can tell there is no such moment.
    moment.unwrap_or(near)
}

/// Seconds from 1 January 1900 to 1 January 1970.
const FROM_1900_TO_1970: i64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use marline_core::testing::Step::{Closed, SBytes};
    use marline_core::testing::{TestReactor, talk};

    use super::*;
    use crate::inquiry::InquiryCause;

    fn at(since_1970: i64) -> SystemTime {
        let distance = Duration::from_secs(since_1970.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        if since_1970 < 0 { epoch - distance } else { epoch + distance }
    }

    /// The examples of RFC 868, with days counted from 1 January 1970.
    #[test]
    fn the_numbers_of_the_rfc_hold() {
        #[rustfmt::skip]
        let table: [(i64, i64); 5] = [
            // day of 00:00 UTC, number
            (0,      2_208_988_800), // 1 January 1970
            (2_191,  2_398_291_200), // 1 January 1976
            (3_652,  2_524_521_600), // 1 January 1980
            (4_868,  2_629_584_000), // 1 May 1983
            (-40_587, -1_297_728_000), // 17 November 1858
        ];
        for (day, number) in table {
            assert_eq!(seconds(at(day * 86_400)), number as u32, "{day}");
            assert_eq!(moment(number as u32, at(day * 86_400 + 1_000_000)), at(day * 86_400));
        }
    }

    #[test]
    fn the_number_goes_round_in_2036_and_is_understood() {
        // 7 February 2036, 06:28:16 UTC.
        let round = 2_085_978_496;
        assert_eq!(seconds(at(round)), 0);
        assert_eq!(seconds(at(round - 1)), u32::MAX);
        assert_eq!(moment(u32::MAX, at(round + 5)), at(round - 1));
        assert_eq!(moment(3, at(round - 5)), at(round + 3));
        for off in [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)] {
            assert_eq!(moment(seconds(at(round + off)), at(round)), at(round + off), "{off}");
        }
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        for far in [i64::MAX, i64::MIN + 1] {
            let near = moment(seconds(at(far)), at(far));
            assert_eq!(unix_seconds(near), far);
            let _ = (moment(u32::MAX, at(far)), moment(0, at(far)), crate::daytime::text(at(far)));
        }
    }

    #[test]
    fn a_server_tells_four_bytes_and_closes() {
        // The clock of the testing kit begins 1,000 seconds after 1970.
        talk(TimeServer, &[SBytes(&2_208_989_800_u32.to_be_bytes()), Closed]);
    }

    #[test]
    fn a_client_understands_the_server_and_refuses_less_than_a_number() {
        let reactor = TestReactor::new();
        reactor.host().set_wall_clock(at(2_085_978_490));
        let port = reactor.listen_tcp("127.0.0.1:0", || TimeServer).unwrap();
        let told = reactor.result_of(ask(&reactor, port.local_addr())).unwrap();
        assert_eq!(told, at(unix_seconds(reactor.wall_clock())));
        let _service = reactor.listen_udp("127.0.0.1:37", TimeServer).unwrap();
        let told = reactor.result_of(ask_udp(&reactor, "127.0.0.1:37")).unwrap();
        assert_eq!(told, at(unix_seconds(reactor.wall_clock())));

        struct Short;

        impl Protocol for Short {
            fn connection_made(&mut self, transport: &Transport) {
                transport.write(b"abc");
                transport.lose_connection();
            }

            fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        }

        let port = reactor.listen_tcp("127.0.0.1:0", || Short).unwrap();
        let refused = reactor.result_of(ask(&reactor, port.local_addr())).unwrap_err();
        assert!(matches!(refused.cause, InquiryCause::Lost(_)), "{refused}");
    }

    #[test]
    fn a_datagram_that_has_not_four_bytes_is_not_the_time() {
        struct Babbles;

        impl DatagramProtocol for Babbles {
            fn datagram_received(&mut self, here: &DatagramTransport, _: &[u8], from: &Addr) {
                for answer in [&b"abc"[..], b"", b"abcde", &2_208_988_807_u32.to_be_bytes()] {
                    here.send_to(answer, from).unwrap();
                }
            }
        }

        let reactor = TestReactor::new();
        let _service = reactor.listen_udp("127.0.0.1:37", Babbles).unwrap();
        assert_eq!(reactor.result_of(ask_udp(&reactor, "127.0.0.1:37")).unwrap(), at(7));
    }
}
