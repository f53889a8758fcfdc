//! Writing: order, back-pressure, flushing.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use super::{attempt, pattern, start, stream};
use crate::transport::HIGH_WATER;

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read_and_never_has_more_than_64_kib_waiting() {
    let (peer, mut stream) = stream();
    peer.set_window(1000);
    let sent = pattern(1_000_000);
    let bytes = sent.clone();
    let result = start(&peer, async move {
        stream.write_all(&bytes).await.unwrap();
        stream
    });
    let mut got = Vec::new();
    while got.len() < sent.len() {
        assert!(peer.transport().pending() <= HIGH_WATER, "{}", peer.transport().pending());
        let some = peer.take_written();
        assert!(!some.is_empty() && some.len() <= 1000);
        got.extend_from_slice(&some);
    }
    assert!(got == sent);
    assert!(result.take().is_some());
}

#[test]
fn a_peer_that_never_reads_stops_the_writer() {
    let (peer, mut stream) = stream();
    peer.set_window(0);
    let written = Rc::new(Cell::new(0));
    let counter = Rc::clone(&written);
    let _task = start(&peer, async move {
        loop {
            counter.set(counter.get() + stream.write(&[7; 1000]).await.unwrap());
        }
        #[allow(unreachable_code, reason = "the type of a loop that does not end")]
        ()
    });
    assert_eq!(written.get(), HIGH_WATER);
    assert_eq!(peer.reactor().figures().output, HIGH_WATER);
}

#[test]
fn what_a_task_wrote_leaves_after_it_without_a_flush() {
    let (peer, mut stream) = stream();
    let _done = start(&peer, async move {
        stream.write_all(b"one ").await.unwrap();
        stream.write_all(b"two").await.unwrap();
        std::future::pending::<()>().await;
    });
    assert_eq!(peer.take_written(), b"one two");
}

#[test]
fn a_flush_sends_at_once_and_is_done_when_the_system_takes_all() {
    let (peer, mut stream) = stream();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (log, reactor) = (Rc::clone(&seen), peer.reactor().clone());
    let _task = start(&peer, async move {
        stream.write_all(b"hello").await.unwrap();
        log.borrow_mut().push(reactor.figures().output);
        let flushed = attempt(stream.flush());
        assert!(flushed.is_some_and(|flushed| flushed.is_ok()), "it waits for nothing");
        assert_eq!(stream.transport().pending(), 0);
        stream.transport().abort_connection();
    });
    // What was flushed is out of the reach of an abort.
    assert_eq!(peer.written(), b"hello");
}

#[test]
fn a_flush_waits_while_the_system_refuses_some() {
    let (peer, mut stream) = stream();
    peer.set_window(3);
    let result = start(&peer, async move {
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    assert!(result.borrow().is_none());
    assert_eq!(peer.take_written(), b"hel");
    assert!(result.borrow().is_some());
    assert_eq!(peer.take_written(), b"lo");
}

#[test]
fn a_flush_outside_every_callback_sends_too() {
    let (peer, mut stream) = stream();
    assert_eq!(attempt(stream.write(b"hello")).unwrap().unwrap(), 5);
    assert!(attempt(stream.flush()).unwrap().is_ok());
    assert_eq!(peer.written(), b"hello");
}

#[test]
fn a_buffer_of_any_size_is_written_at_once_when_there_is_room_at_all() {
    let (peer, mut stream) = stream();
    peer.set_window(10);
    let sent = pattern(300_000);
    assert!(attempt(stream.write_owned(sent.clone())).unwrap().is_ok());
    assert_eq!(stream.transport().pending(), sent.len());
    // The next waits.
    assert!(attempt(stream.write_owned(vec![0; 5000])).is_none());
    assert!(attempt(stream.write(b"x")).is_none());
    assert!(attempt(stream.write(b"")).unwrap().is_ok());
    peer.set_window(usize::MAX);
    let mut got = peer.drain();
    assert!(attempt(stream.write_owned(b"end".to_vec())).unwrap().is_ok());
    got.extend_from_slice(&peer.drain());
    assert!(got == [&sent[..], b"end"].concat());
}

#[test]
fn a_shutdown_is_done_when_all_has_left_and_ends_writing_alone() {
    let (peer, mut stream) = stream();
    peer.set_window(2);
    let result = start(&peer, async move {
        stream.write_all(b"bye").await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    });
    assert!(result.borrow().is_none() && !peer.is_write_closed());
    assert_eq!(peer.take_written(), b"by");
    assert_eq!(peer.take_written(), b"e");
    let mut stream = result.take().unwrap();
    assert!(peer.is_write_closed() && peer.is_open());
    let error = attempt(stream.write(b"more")).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(attempt(stream.shutdown()).unwrap().is_ok(), "once more changes nothing");
    assert!(attempt(stream.flush()).unwrap().is_ok());
    peer.receive(b"answer");
    assert_eq!(attempt(stream.read(&mut [0; 10])).unwrap().unwrap(), 6);
    peer.end_of_stream();
    assert!(peer.reason().unwrap().is_clean());
    assert!(attempt(stream.shutdown()).unwrap().is_ok());
    assert_eq!(attempt(stream.read(&mut [0; 10])).unwrap().unwrap(), 0);
}

#[test]
fn the_halves_can_be_used_by_two_tasks_and_joined_again() {
    let (peer, one) = stream();
    let (mut read, mut write) = one.split();
    peer.set_window(0);
    let reading = start(&peer, async move {
        let mut five = [0; 5];
        read.read_exact(&mut five).await.unwrap();
        (read, five)
    });
    let writing = start(&peer, async move {
        write.write_all(b"hi").await.unwrap();
        write.flush().await.unwrap();
        write
    });
    peer.receive(b"hello");
    let (read, five) = reading.take().unwrap();
    assert!(writing.borrow().is_none(), "each is woken for its own");
    peer.set_window(100);
    let write = writing.take().unwrap();
    let (other_peer, other) = stream();
    let (other_read, other_write) = other.split();
    let (read, other_write) = read.reunite(other_write).unwrap_err();
    assert!(read.reunite(write).is_ok());
    assert_eq!(&five, b"hello");
    assert!(other_read.reunite(other_write).is_ok());
    drop(other_peer);
}
