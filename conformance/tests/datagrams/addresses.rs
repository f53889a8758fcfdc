//! Local addresses, and destinations that are none. Items 100, 101 and 103.

use marline_conformance::on_every_driver;
use marline_core::Addr;
use marline_core::datagram::DatagramError;
use marline_core::driver::{DatagramOptions, SocketOption};

use super::kit::{Ear, ear, until_count};
use crate::streams::kit::started;

on_every_driver!(a_socket_tells_the_address_it_is_bound_to_in_both_families, |ground| {
    let reactor = started(ground);
    for text in ["127.0.0.1:0", "[::1]:0"] {
        let socket = reactor.listen_udp(text, Ear::new()).unwrap();
        let local = socket.local_addr().ip().unwrap();
        let asked: std::net::SocketAddr = text.parse().unwrap();
        assert_eq!(local.ip(), asked.ip());
        assert_ne!(local.port(), 0);
    }
});

on_every_driver!(an_address_that_is_not_numeric_is_an_error_of_the_listening, |ground| {
    let reactor = started(ground);
    for text in ["localhost:53", "example.org:53", "53", "127.0.0.1", "", "[::1"] {
        let error = reactor.listen_udp(text, Ear::new()).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::InvalidInput, "{text}");
        assert_eq!(error.address, text);
    }
    // An address of nobody's here.
    let error = reactor.listen_udp("192.0.2.1:0", Ear::new()).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrNotAvailable);
});

on_every_driver!(
    an_address_in_use_is_an_error_of_the_listening_and_the_protocol_is_dropped,
    |ground| {
        let reactor = started(ground);
        let (first, _) = ear(&reactor, Ear::new());
        let second = Ear::new();
        let tape = second.tape();
        let error = reactor.listen_udp(first.local_addr(), second).unwrap_err();
        assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
        assert!(tape.is_dropped() && tape.story().is_empty());
    }
);

on_every_driver!(
    a_name_another_family_port_zero_and_no_address_at_all_are_address_errors,
    |ground| {
        let reactor = started(ground);
        let (four, _) = ear(&reactor, Ear::new());
        let six = reactor.listen_udp("[::1]:0", Ear::new()).unwrap();
        let is_invalid = |result: Result<(), DatagramError>| {
            matches!(result, Err(DatagramError::InvalidAddress { .. }))
        };
        for text in
            ["localhost:9", "example.org:9", "127.0.0.1", "127.0.0.1:0", "[::1]:9", "nonsense"]
        {
            assert!(is_invalid(four.send_to(b"x", text)), "{text}");
            assert!(is_invalid(four.try_send_to(b"x", text)), "{text}");
            assert!(is_invalid(four.connect(text)), "{text}");
        }
        assert!(is_invalid(six.send_to(b"x", "127.0.0.1:9")));
        assert!(is_invalid(four.send_to(b"x", Addr::Unix("/tmp/x".into()))));
        assert!(is_invalid(four.send_to(b"x", Addr::Named("process".into()))));
        assert!(is_invalid(four.send(b"x")));
        assert!(is_invalid(four.try_send(b"x")));
        let error = four.send_to(b"x", "localhost:9").unwrap_err();
        assert_eq!(error.to_string(), "localhost:9: not a numeric address");
    }
);

on_every_driver!(datagrams_travel_over_ipv6_loopback, |ground| {
    let reactor = started(ground);
    let echo = reactor.listen_udp("[::1]:0", Ear::echo()).unwrap();
    let asker = Ear::new();
    let tape = asker.tape();
    let asker = reactor.listen_udp("[::1]:0", asker).unwrap();
    asker.send_to(b"six", echo.local_addr()).unwrap();
    until_count(&reactor, &tape, 1);
    assert_eq!(tape.received(), [(b"six".to_vec(), echo.local_addr())]);
});

on_every_driver!(a_socket_that_takes_both_families_answers_in_both, |ground| {
    let reactor = started(ground);
    let options = DatagramOptions { only_v6: false, ..DatagramOptions::default() };
    let both = reactor.listen_udp_with("[::]:0", Ear::new(), options).unwrap();
    let asker = Ear::new();
    let tape = asker.tape();
    let asker = reactor.listen_udp("127.0.0.1:0", asker).unwrap();
    // The simulated network does not carry IPv4 on IPv6 sockets yet: there it is an error of the system.
    both.send_to(b"four", asker.local_addr()).unwrap();
    if !ground.is_simulated() {
        until_count(&reactor, &tape, 1);
        assert_eq!(tape.bytes(), [b"four"]);
    }
});

on_every_driver!(a_datagram_longer_than_its_kind_may_be_is_refused_with_the_limit, |ground| {
    let reactor = started(ground);
    let (four, _) = ear(&reactor, Ear::new());
    let six = reactor.listen_udp("[::1]:0", Ear::new()).unwrap();
    let error = four.send_to(&vec![0; 65_508], four.local_addr()).unwrap_err();
    assert_eq!(error, DatagramError::TooLong { limit: 65_507 });
    let error = six.send_to(&vec![0; 65_528], six.local_addr()).unwrap_err();
    assert_eq!(error, DatagramError::TooLong { limit: 65_527 });
});

on_every_driver!(options_come_back_as_they_were_set, |ground| {
    let reactor = started(ground);
    let (four, _) = ear(&reactor, Ear::new());
    let six = reactor.listen_udp("[::1]:0", Ear::new()).unwrap();
    assert!(!four.broadcast().unwrap());
    four.set_broadcast(true).unwrap();
    assert!(four.broadcast().unwrap());
    for socket in [&four, &six] {
        for option in [
            SocketOption::MulticastLoop(false),
            SocketOption::MulticastTtl(7),
            SocketOption::MulticastLoop(true),
        ] {
            socket.set_option(option).unwrap();
            assert_eq!(socket.option(option).unwrap(), option);
        }
        for option in [SocketOption::ReceiveBuffer(20_000), SocketOption::SendBuffer(20_000)] {
            socket.set_option(option).unwrap();
            let (SocketOption::ReceiveBuffer(bytes) | SocketOption::SendBuffer(bytes)) =
                socket.option(option).unwrap()
            else {
                panic!("another option");
            };
            assert!((20_000..=40_000).contains(&bytes), "{bytes}");
        }
        assert!(socket.set_option(SocketOption::NoDelay(true)).is_err());
    }
});

on_every_driver!(a_broadcast_needs_to_be_allowed, |ground| {
    let reactor = started(ground);
    let sender = reactor.listen_udp("0.0.0.0:0", Ear::new()).unwrap();
    let to = "255.255.255.255:9";
    match sender.try_send_to(b"all", to) {
        Err(DatagramError::Os(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        }
        other => panic!("{other:?}"),
    }
    sender.set_broadcast(true).unwrap();
    // Where there is no network but loopback it cannot leave, but it is allowed.
    if let Err(DatagramError::Os(error)) = sender.try_send_to(b"all", to) {
        assert_ne!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
});
