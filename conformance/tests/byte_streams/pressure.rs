//! Back-pressure: who does not read stops who writes, in bounded memory, and nothing is lost over it.

use std::cell::Cell;
use std::rc::Rc;

use marline_conformance::on_every_driver;

use super::{echo, pair, run};
use crate::streams::kit::{assert_same, idle, pattern, started, turn_until};

/// A stream's limit, and what one receive brings at most.
const KIB_64: usize = 65_536;

on_every_driver!(a_reader_that_never_reads_stops_the_writer_in_bounded_memory, |ground| {
    let reactor = started(ground);
    let (mut one, mut other, _port) = pair(&reactor);
    let sent = pattern(40_000_000);
    let (written, bytes) = (Rc::new(Cell::new(0)), sent.clone());
    let counter = Rc::clone(&written);
    let writing = reactor.spawn(async move {
        while counter.get() < bytes.len() {
            let len = one.write(&bytes[counter.get()..]).await.unwrap();
            counter.set(counter.get() + len);
        }
    });
    // It comes to a stop.
    let mut before = usize::MAX;
    turn_until(&reactor, "the writer to stop", || {
        let figures = reactor.figures();
        assert!(figures.output <= KIB_64 && figures.input <= 2 * KIB_64, "{figures:?}");
        assert!(figures.counted <= 4 * KIB_64, "{figures:?}");
        assert!(other.reader().held() <= 2 * KIB_64);
        let stands = written.get() == before;
        before = written.get();
        if !stands {
            idle(&reactor);
        }
        stands
    });
    assert!(written.get() < sent.len());
    assert!(other.reader().held() > KIB_64 && reactor.figures().output > 0);
    // And goes on, and nothing was lost.
    let got = run(&reactor, "all bytes", async move {
        let mut all = vec![0; 40_000_000];
        other.read_exact(&mut all).await.unwrap();
        all
    });
    assert_same(&got, &sent);
    run(&reactor, "the writer", writing).unwrap();
    assert_eq!(reactor.figures().counted, 0);
});

on_every_driver!(an_echo_for_a_peer_that_never_reads_stops_reading_as_well, |ground| {
    let reactor = started(ground);
    let (mut one, other, _port) = pair(&reactor);
    let echoing = reactor.spawn(async move { echo(other).await.unwrap() });
    one.reader().set_limit(1000);
    let (mut read, mut write) = one.split();
    let written = Rc::new(Cell::new(0));
    let counter = Rc::clone(&written);
    let sent = pattern(20_000_000);
    let bytes = sent.clone();
    reactor
        .spawn(async move {
            while counter.get() < bytes.len() {
                let len = write.write(&bytes[counter.get()..]).await.unwrap();
                counter.set(counter.get() + len);
            }
            write.shutdown().await.unwrap();
        })
        .ignore();
    let mut before = usize::MAX;
    turn_until(&reactor, "all to stop", || {
        let figures = reactor.figures();
        assert!(figures.output <= 2 * KIB_64 && figures.input <= 4 * KIB_64, "{figures:?}");
        let stands = written.get() == before;
        before = written.get();
        if !stands {
            idle(&reactor);
        }
        stands
    });
    assert!(read.held() > 1000 && read.held() <= 1000 + KIB_64);
    let got = run(&reactor, "all echoes", async move {
        let mut all = vec![0; 20_000_000];
        read.read_exact(&mut all).await.unwrap();
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
        all
    });
    assert_same(&got, &sent);
    run(&reactor, "the echo", echoing).unwrap();
});
