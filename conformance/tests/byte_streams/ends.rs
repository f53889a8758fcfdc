//! Ends: half-closes both ways, resets, drops, hand-overs from and to protocols.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;

use marline_conformance::on_every_driver;
use marline_core::ConnectCause;
use marline_core::stream::ByteStream;

use super::{connect, pair, read_all, run};
use crate::streams::kit::{
    Probe, assert_same, idle, listen_once, nobody, open_kinds, pattern, started, turn_until,
};

on_every_driver!(each_side_ends_its_stream_and_hears_the_other_out, |ground| {
    let reactor = started(ground);
    for first_is_client in [true, false] {
        let (one, other, port) = pair(&reactor);
        let (mut first, mut last) = if first_is_client { (one, other) } else { (other, one) };
        let first = reactor.spawn(async move {
            first.write_all(b"question").await.unwrap();
            first.shutdown().await.unwrap();
            let kind = first.write(b"more").await.unwrap_err().kind();
            (read_all(&mut first).await.unwrap(), kind, first)
        });
        let last = reactor.spawn(async move {
            assert_eq!(read_all(&mut last).await.unwrap(), b"question");
            last.write_all(&pattern(300_000)).await.unwrap();
            last.shutdown().await.unwrap();
            last
        });
        let (answer, kind, first) = run(&reactor, "the answer", first).unwrap();
        assert_same(&answer, &pattern(300_000));
        assert_eq!(kind, ErrorKind::BrokenPipe);
        let mut last = run(&reactor, "the other end", last).unwrap();
        // Both have ended: the connection is closed while both hold it.
        turn_until(&reactor, "the close", || open_kinds(&reactor).len() == 1);
        assert!(!first.transport().is_open() && !last.transport().is_open());
        let end = async move { last.read(&mut [0]).await.unwrap() };
        assert_eq!(run(&reactor, "the end", end), 0);
        drop((first, port.stop_listening()));
        turn_until(&reactor, "the port to close", || open_kinds(&reactor).is_empty());
    }
});

on_every_driver!(a_reset_in_the_middle_of_a_long_write_is_its_error, |ground| {
    let reactor = started(ground);
    let (mut one, mut other, _port) = pair(&reactor);
    // More than any system keeps for a peer that does not read.
    let writing = reactor.spawn(async move {
        let written = one.write_all(&pattern(40_000_000)).await;
        (written.unwrap_err().kind(), one.read(&mut [0]).await.unwrap_err().kind())
    });
    run(&reactor, "the first bytes", async move {
        other.read_exact(&mut [0; 1000]).await.unwrap();
        other.transport().abort_connection();
        let kind = other.read_exact(&mut vec![0; 30_000_000]).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::ConnectionAborted);
    });
    let kinds = run(&reactor, "the error", writing).unwrap();
    let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(reset.contains(&kinds.0) && reset.contains(&kinds.1), "{kinds:?}");
});

on_every_driver!(a_dropped_stream_delivers_what_it_wrote_though_bytes_were_not_read, |ground| {
    let reactor = started(ground);
    let (mut one, mut other, _port) = pair(&reactor);
    let got = run(&reactor, "all of it", async move {
        other.write_all(&pattern(50_000)).await.unwrap();
        one.reader().fill().await.unwrap();
        one.write_owned(pattern(2_000_000)).await.unwrap();
        drop(one);
        read_all(&mut other).await.unwrap()
    });
    assert_same(&got, &pattern(2_000_000));
    turn_until(&reactor, "both ends to be closed", || open_kinds(&reactor).len() == 1);
});

on_every_driver!(nobody_there_is_an_error_and_no_stream, |ground| {
    let reactor = started(ground);
    let to = nobody(&reactor);
    let error = run(&reactor, "the refusal", reactor.connect_stream(&to)).unwrap_err();
    assert_eq!(error.cause, ConnectCause::Refused);
    let cancelled = reactor.connect_stream(&to);
    cancelled.cancel();
    let error = run(&reactor, "the cancel", cancelled).unwrap_err();
    assert_eq!(error.cause, ConnectCause::Cancelled);
    idle(&reactor);
    assert_eq!(open_kinds(&reactor), Vec::<&str>::new());
});

on_every_driver!(a_protocol_becomes_a_stream_and_a_stream_a_protocol, |ground| {
    let reactor = started(ground);
    let taken = Rc::new(RefCell::new(None));
    let place = Rc::clone(&taken);
    let greeter = Probe::new().on_data(move |transport, data| {
        transport.write(b"welcome ");
        // The first byte is the protocol's, the others are not.
        *place.borrow_mut() = Some(ByteStream::take_over(transport, &data[1..]));
    });
    let first = greeter.tape();
    let port = listen_once(&reactor, greeter);
    let mut client = connect(&reactor, &port.local_addr());
    let mut client = run(&reactor, "the greeting", async move {
        client.write_all(b"!12345").await.unwrap();
        let mut welcome = [0; 8];
        client.read_exact(&mut welcome).await.unwrap();
        assert_eq!(&welcome, b"welcome ");
        client
    });
    let mut stream = taken.take().unwrap();
    let stream = run(&reactor, "two bytes", async move {
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"12");
        stream.write_all(b"12 ").await.unwrap();
        stream
    });
    assert_eq!((first.story(), first.reason()), ("made data lost".into(), "Upgraded".into()));
    let last = Probe::new();
    let tape = last.tape();
    let connection = stream.upgrade(last);
    let mut client = run(&reactor, "the rest", async move {
        client.write_all(b"67").await.unwrap();
        client
    });
    turn_until(&reactor, "all bytes", || tape.received() == 5);
    assert_eq!(tape.bytes(), b"34567");
    connection.transport().write(b"bye");
    connection.transport().lose_connection();
    let got = run(&reactor, "the end", async move { read_all(&mut client).await.unwrap() });
    assert_eq!(got, b"12 bye");
    turn_until(&reactor, "the end of the last", || tape.is_lost());
    assert_eq!(tape.reason(), "Done");
});
