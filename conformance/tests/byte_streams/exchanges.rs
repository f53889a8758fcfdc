//! Exchanges: many, large, in both directions at once, through layers, over paths.

use marline_conformance::on_every_driver;
use marline_core::stream::serve;

use super::{connect, echo, pair, read_all, run};
use crate::layers::Flip;
use crate::streams::kit::{assert_same, open_kinds, pattern, started, turn_until};

on_every_driver!(a_thousand_echoes_come_back_one_by_one, |ground| {
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", serve(echo)).unwrap();
    let mut stream = connect(&reactor, &port.local_addr());
    assert_eq!(stream.peer_addr(), port.local_addr());
    run(&reactor, "a thousand echoes", async move {
        for round in 0..1000_u32 {
            let sent = [&round.to_be_bytes()[..], &pattern(round as usize % 50)].concat();
            stream.write_all(&sent).await.unwrap();
            let mut back = vec![0; sent.len()];
            stream.read_exact(&mut back).await.unwrap();
            assert_same(&back, &sent);
        }
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
    turn_until(&reactor, "both ends to be closed", || open_kinds(&reactor).len() == 1);
});

on_every_driver!(lines_come_as_lines_however_they_travel, |ground| {
    let reactor = started(ground);
    let port = reactor.listen_tcp("127.0.0.1:0", serve(echo)).unwrap();
    let stream = connect(&reactor, &port.local_addr());
    let (mut read, mut write) = stream.split();
    let lines: Vec<_> = (0..2000).map(|number| format!("{number:0$}\n", number % 70 + 4)).collect();
    let sent = lines.concat();
    let writing = reactor.spawn(async move {
        write.write_all(sent.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let got = run(&reactor, "all lines", async move {
        let (mut got, mut line) = (Vec::new(), Vec::new());
        while read.read_until(b'\n', &mut line, 100).await.unwrap() > 0 {
            got.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
        }
        got
    });
    assert!(got == lines);
    assert!(writing.is_ready());
});

on_every_driver!(both_directions_carry_megabytes_at_once_and_end_by_themselves, |ground| {
    let reactor = started(ground);
    let (one, other, port) = pair(&reactor);
    let sent = pattern(3_000_000);
    let mut reading = Vec::new();
    for stream in [one, other] {
        let (mut read, mut write) = stream.split();
        let bytes = sent.clone();
        let writing = async move {
            write.write_all(&bytes).await.unwrap();
            // The end of the stream by a drop, half a connection at a time.
            drop(write);
        };
        reactor.spawn(writing).ignore();
        reading.push(reactor.spawn(async move {
            let mut all = vec![0; 3_000_000];
            read.read_exact(&mut all).await.unwrap();
            assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
            all
        }));
    }
    for reading in reading {
        let got = run(&reactor, "all bytes", reading).unwrap();
        assert_same(&got, &sent);
    }
    turn_until(&reactor, "both ends to be closed", || open_kinds(&reactor).len() == 1);
    drop(port);
});

on_every_driver!(a_buffer_is_moved_and_arrives_whole, |ground| {
    let reactor = started(ground);
    let (mut one, mut other, _port) = pair(&reactor);
    let sent = pattern(5_000_000);
    let bytes = sent.clone();
    let writing = reactor.spawn(async move {
        one.write_all(b"head ").await.unwrap();
        one.write_owned(bytes).await.unwrap();
        one.write_all(b" tail").await.unwrap();
        one.flush().await.unwrap();
        assert_eq!(one.transport().pending(), 0);
        one
    });
    let got = run(&reactor, "the whole", async move {
        let mut all = vec![0; 5_000_010];
        other.read_exact(&mut all).await.unwrap();
        all
    });
    assert_same(&got, &[b"head ", &sent[..], b" tail"].concat());
    drop(run(&reactor, "the flush", writing).unwrap());
});

on_every_driver!(a_stream_through_a_layer_flushes_and_ends_like_any_other, |ground| {
    let reactor = started(ground);
    let (mut one, mut other, _port) = pair(&reactor);
    one.transport().start_layer(Flip, b"");
    let sent = pattern(500_000);
    let bytes = sent.clone();
    let writing = reactor.spawn(async move {
        one.write_all(&bytes).await.unwrap();
        one.flush().await.unwrap();
        assert_eq!(one.transport().pending(), 0);
        one.shutdown().await.unwrap();
        read_all(&mut one).await.unwrap()
    });
    let got = run(&reactor, "all bytes", async move {
        let got = read_all(&mut other).await.unwrap();
        other.write_all(&[!b'o', !b'k']).await.unwrap();
        got
    });
    let got: Vec<u8> = got.into_iter().map(|byte| !byte).collect();
    assert_same(&got, &sent);
    assert_eq!(run(&reactor, "the answer", writing).unwrap(), b"ok");
});

on_every_driver!(a_unix_socket_is_as_good_as_a_port, |ground| {
    let reactor = started(ground);
    let path = format!("\0marline-byte-streams-{}-{}", std::process::id(), ground.driver);
    let _port = reactor.listen_unix(&path, serve(echo)).unwrap();
    let connecting = reactor.connect_unix_stream(&path);
    let got = run(&reactor, "the echo", async move {
        let mut stream = connecting.await.unwrap();
        stream.write_all(&pattern(200_000)).await.unwrap();
        let mut back = vec![0; 200_000];
        stream.read_exact(&mut back).await.unwrap();
        back
    });
    assert_same(&got, &pattern(200_000));
});
