//! Answering datagrams of strangers, whose address may be forged: which are not answered, lest two services talk to each other for ever.

use marline_core::Addr;
use marline_core::datagram::DatagramTransport;

/// Sends an answer, unless whoever gets it may answer it in turn.
pub(crate) fn reply(transport: &DatagramTransport, answer: &[u8], to: &Addr) {
    if !goes_round(&transport.local_addr(), to) {
        // Whoever asked may be gone, or have no address: what cannot be sent is dropped.
        let _ = transport.send_to(answer, to);
    }
}

/// Whether at this address there is a service that answers whatever it gets, as far as its port tells: one of the well-known ones, or one
/// like that at `local`, if it is not that itself.
fn goes_round(local: &Addr, to: &Addr) -> bool {
    match (local, to) {
        (Addr::Ip(local), Addr::Ip(to)) => {
            to.port() == local.port() || ANSWERS_ANYTHING.contains(&to.port())
        }
        _ => local == to,
    }
}

/// Echo, daytime, quote of the day, chargen and time; and the port that is none, from which nobody asks.
const ANSWERS_ANYTHING: [u16; 6] = [0, 7, 13, 17, 19, 37];

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use marline_core::datagram::DatagramProtocol;
    use marline_core::sim::World;
    use marline_core::testing::{CapturedLog, TestReactor};

    use super::*;
    use crate::chargen::Chargen;
    use crate::daytime::Daytime;
    use crate::echo::Echo;
    use crate::qotd::Quote;
    use crate::time::TimeServer;

    /// Counts what it hears.
    #[derive(Clone, Default)]
    struct Ear(Rc<RefCell<usize>>);

    impl DatagramProtocol for Ear {
        fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: &Addr) {
            *self.0.borrow_mut() += 1;
        }
    }

    /// How many answers a service at port 700 gives to three questions from this port of another host.
    fn answers(service: impl DatagramProtocol, port: u16) -> usize {
        let world = World::new(1);
        let here = TestReactor::on(&world, &world.host("here", ["10.0.0.1".parse().unwrap()]));
        let there = TestReactor::on(&world, &world.host("there", ["10.0.0.2".parse().unwrap()]));
        let _service = there.listen_udp("10.0.0.2:700", service).unwrap();
        let ear = Ear::default();
        let asks = here.listen_udp(("10.0.0.1", port), ear.clone()).unwrap();
        for _ in 0..3 {
            asks.send_to(b"who is there?", "10.0.0.2:700").unwrap();
            here.advance(Duration::from_secs(1));
            there.turn_until_idle();
            here.advance(Duration::from_secs(1));
        }
        ear.0.take()
    }

    fn check(service: impl DatagramProtocol + Clone) {
        for port in [7, 13, 17, 19, 37, 700] {
            assert_eq!(answers(service.clone(), port), 0, "{port}");
        }
        for port in [1, 9, 18, 53, 701, 65_535] {
            assert_eq!(answers(service.clone(), port), 3, "{port}");
        }
    }

    #[test]
    fn no_service_answers_a_port_where_its_answer_would_be_answered() {
        check(Echo);
        check(Daytime);
        check(Quote::new("Silence is golden.").unwrap());
        check(Chargen);
        check(TimeServer);
    }

    #[test]
    fn port_zero_is_not_answered() {
        let addr = |text: &str| Addr::Ip(text.parse().unwrap());
        assert!(goes_round(&addr("[::]:700"), &addr("[::1]:0")));
        assert!(!goes_round(&addr("[::]:700"), &addr("[::1]:701")));
    }

    #[test]
    fn a_named_socket_is_answered_and_neither_an_unnamed_one_nor_itself() {
        let log = CapturedLog::start();
        let reactor = TestReactor::new();
        let (service, ear) = ("/run/echo", Ear::default());
        let _service = reactor.listen_unix_datagram(service, Echo).unwrap();
        let named = reactor.listen_unix_datagram("/run/ear", ear.clone()).unwrap();
        let unnamed = reactor.listen_unix_datagram("", ear.clone()).unwrap();
        for socket in [&named, &unnamed] {
            socket.send_to(b"hello", Addr::Unix(service.into())).unwrap();
        }
        reactor.advance(Duration::from_secs(1));
        assert_eq!(*ear.0.borrow(), 1);
        assert!(goes_round(&Addr::Unix(service.into()), &Addr::Unix(service.into())));
        log.assert_no_errors();
    }
}
