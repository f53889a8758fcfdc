//! What a stream holds counts against the byte budgets, once.

use super::{attempt, pattern, stream};

#[test]
fn what_it_holds_counts_once_and_no_longer_than_it_is_held() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(10_000);
    let counted = || peer.reactor().figures().input;
    assert_eq!(counted(), 0);
    peer.receive(&[1; 3000]);
    assert_eq!(counted(), 3000);
    peer.receive(&[1; 12_000]);
    assert_eq!((counted(), stream.reader().held()), (15_000, 15_000));
    // What the system keeps is not counted.
    peer.receive(&[1; 12_000]);
    assert_eq!(peer.reactor().figures().counted, 15_000);
    // A reader of a few bytes tells it now and then, and never too little.
    for used in 1..=100 {
        assert_eq!(attempt(stream.read(&mut [0; 10])).unwrap().unwrap(), 10);
        let held = 15_000 - used * 10;
        assert!((held..held + 4096).contains(&counted()), "{} for {held}", counted());
    }
    let mut left = vec![0; 26_000];
    while !left.is_empty() {
        let len = attempt(stream.read(&mut left)).unwrap().unwrap();
        left.truncate(left.len() - len);
        peer.settle();
    }
    assert_eq!(counted(), 0);
}

#[test]
fn a_future_that_gives_back_what_it_had_counts_it_again() {
    let (peer, mut stream) = stream();
    peer.receive(&[1; 5000]);
    assert!(attempt(stream.read_exact(&mut [0; 6000])).is_none());
    assert_eq!(peer.reactor().figures().input, 5000);
    assert_eq!(stream.reader().held(), 5000);
}

#[test]
fn a_small_budget_lowers_the_limit_and_ends_no_connection() {
    let (peer, mut stream) = stream();
    stream.transport().set_budget(131_072);
    peer.set_window(0);
    while attempt(stream.write(&[0; 10_000])).is_some() {
        peer.settle();
    }
    let sent = pattern(400_000);
    for piece in sent.chunks(30_000) {
        peer.receive(piece);
    }
    // A quarter of the budget is the limit; the receive that goes beyond is kept.
    assert_eq!((stream.reader().held(), peer.is_paused()), (60_000, true));
    assert_eq!(peer.reactor().figures().input, 60_000);
    let mut got = Vec::new();
    while got.len() < sent.len() {
        assert!(peer.is_open(), "{:?}", peer.reason());
        let mut some = [0; 5000];
        let len = attempt(stream.read(&mut some)).expect("it hangs").unwrap();
        got.extend_from_slice(&some[..len]);
        peer.settle();
    }
    assert!(got == sent);
}

#[test]
fn a_long_read_that_is_dropped_does_not_spend_the_budget() {
    let (peer, mut stream) = stream();
    stream.transport().set_budget(131_072);
    let mut long = vec![0; 400_000];
    {
        let mut reading = Box::pin(stream.read_exact(&mut long));
        let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
        for piece in pattern(300_000).chunks(10_000) {
            peer.receive(piece);
            assert!(reading.as_mut().poll(context).is_pending());
            peer.settle();
        }
    }
    peer.settle();
    assert!(peer.is_open(), "{:?}", peer.reason());
    assert_eq!(stream.reader().held(), 300_000);
    assert!(attempt(stream.read_exact(&mut long[..300_000])).unwrap().is_ok());
    assert!(long[..300_000] == pattern(300_000));
}
