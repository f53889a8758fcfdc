//! Reading: however the bytes are cut, whoever comes first, and in bounded memory.

use std::io::ErrorKind;
use std::rc::Rc;

use super::{attempt, pattern, start, stream};
use crate::stream::ByteStream;

/// Reads "ab\ncdefg\nhi" in every way there is.
async fn read_all_of_it(mut stream: ByteStream) -> Vec<Vec<u8>> {
    let mut line = Vec::new();
    assert_eq!(stream.read_until(b'\n', &mut line, 100).await.unwrap(), 3);
    let mut four = [0; 4];
    stream.read_exact(&mut four).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_until(b'\n', &mut rest, 100).await.unwrap(), 2);
    assert_eq!(stream.reader().fill().await.unwrap(), stream.reader().buffered().len());
    let first = stream.reader().buffered()[0];
    stream.reader().consume(1);
    let mut one = [0; 5];
    assert_eq!(stream.read(&mut one).await.unwrap(), 1);
    assert_eq!(stream.read_until(b'\n', &mut rest, 100).await.unwrap(), 0);
    assert_eq!(stream.read(&mut one[1..]).await.unwrap(), 0);
    vec![line, four.to_vec(), rest, vec![first, one[0]]]
}

#[test]
fn however_the_bytes_are_cut_the_same_is_read() {
    let message = b"ab\ncdefg\nhi";
    for cuts in 0..1u32 << (message.len() - 1) {
        for reader_is_first in [false, true] {
            let (peer, stream) = stream();
            let mut stream = Some(stream);
            let mut result = None;
            if reader_is_first {
                result = stream.take().map(|stream| start(&peer, read_all_of_it(stream)));
            }
            let mut piece = Vec::new();
            for (at, byte) in message.iter().enumerate() {
                piece.push(*byte);
                if cuts >> at & 1 == 1 {
                    peer.receive(&std::mem::take(&mut piece));
                }
            }
            peer.receive(&piece);
            peer.end_of_stream();
            let result = result
                .or_else(|| stream.take().map(|stream| start(&peer, read_all_of_it(stream))))
                .unwrap();
            let read = result.take().unwrap_or_else(|| panic!("cut as {cuts:b} it hangs"));
            assert_eq!(read, [&b"ab\n"[..], b"cdef", b"g\n", b"hi"], "cut as {cuts:b}");
        }
    }
}

#[test]
fn beyond_its_limit_it_takes_no_more_until_half_of_it_is_used() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(100);
    let sent = pattern(1000);
    for piece in sent.chunks(30) {
        peer.receive(piece);
    }
    // The receive that went beyond is kept whole, and the others stay with the system.
    assert_eq!((stream.reader().held(), peer.is_paused()), (120, true));

    let mut got = vec![0; 69];
    assert_eq!(attempt(stream.read(&mut got)).unwrap().unwrap(), 69);
    peer.settle();
    assert_eq!((stream.reader().held(), peer.is_paused()), (51, true), "not half of it");
    got.push(0);
    assert_eq!(attempt(stream.read(&mut got[69..])).unwrap().unwrap(), 1);
    peer.settle();
    assert_eq!((stream.reader().held(), peer.is_paused()), (110, true));
    peer.end_of_stream();
    while got.len() < sent.len() {
        let mut some = [0; 33];
        let len = attempt(stream.read(&mut some)).expect("it hangs").unwrap();
        assert!(len > 0 && stream.reader().held() <= 130);
        got.extend_from_slice(&some[..len]);
        peer.settle();
    }
    assert_eq!(got, sent);
    assert_eq!(attempt(stream.read(&mut [0])).unwrap().unwrap(), 0);
}

#[test]
fn a_full_buffer_that_is_emptied_before_more_comes_pauses_nothing() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(100);
    for _ in 0..3 {
        peer.receive(&[1; 100]);
        assert!(!peer.is_paused());
        assert_eq!(attempt(stream.read(&mut [0; 200])).unwrap().unwrap(), 100);
    }
}

#[test]
fn a_higher_limit_lets_in_what_was_held_up() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(10);
    peer.receive(&[1; 100]);
    peer.receive(&[1; 100]);
    assert_eq!((stream.reader().held(), peer.is_paused()), (100, true));
    stream.reader().set_limit(1000);
    assert_eq!(stream.reader().limit(), 1000);
    peer.settle();
    assert_eq!((stream.reader().held(), peer.is_paused()), (200, false));
}

#[test]
fn a_limit_of_nothing_is_one_of_a_byte() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(0);
    let result = start(&peer, async move {
        let mut all = [0; 5];
        stream.read_exact(&mut all).await.unwrap();
        all
    });
    peer.receive(b"hello");
    assert_eq!(result.take(), Some(*b"hello"));
}

#[test]
fn a_buffer_without_room_is_full_at_once() {
    let (_peer, mut stream) = stream();
    assert_eq!(attempt(stream.read(&mut [])).unwrap().unwrap(), 0);
    assert!(attempt(stream.read_exact(&mut [])).unwrap().is_ok());
}

#[test]
fn a_line_that_is_too_long_is_refused_and_still_there() {
    let (peer, mut stream) = stream();
    peer.receive(b"123456\n");
    let mut line = Vec::new();
    let error = attempt(stream.read_until(b'\n', &mut line, 6)).unwrap().unwrap_err();
    assert_eq!((error.kind(), line.len()), (ErrorKind::InvalidData, 0));
    assert_eq!(error.to_string(), "no end of a line in 6 bytes");
    assert_eq!(attempt(stream.read_until(b'\n', &mut line, 7)).unwrap().unwrap(), 7);
    assert_eq!(line, b"123456\n");
}

#[test]
fn a_line_that_began_in_a_full_buffer_comes_to_its_end() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(100);
    peer.receive(&[&[b'x'; 39][..], b"\n", &[b'y'; 61]].concat());
    peer.receive(b"y\n");
    let mut line = Vec::new();
    assert_eq!(attempt(stream.read_until(b'\n', &mut line, 100)).unwrap().unwrap(), 40);
    peer.settle();
    assert_eq!((stream.reader().held(), peer.is_paused()), (61, true), "more than half is left");
    // The end of the line must be let in, or nobody would ever read on.
    assert!(attempt(stream.read_until(b'\n', &mut line, 100)).is_none());
    peer.settle();
    assert_eq!(attempt(stream.read_until(b'\n', &mut line, 100)).unwrap().unwrap(), 63);
}

#[test]
fn a_line_longer_than_the_stream_may_hold_is_refused() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(10);
    let result = start(&peer, async move {
        let error = stream.read_until(b'\n', &mut Vec::new(), 1 << 20).await.unwrap_err();
        (error.kind(), stream)
    });
    peer.receive(&[b'x'; 9]);
    assert!(result.borrow().is_none());
    peer.receive(b"xx");
    let (kind, mut stream) = result.take().unwrap();
    assert_eq!((kind, stream.reader().held()), (ErrorKind::InvalidData, 11));
}

#[test]
fn more_than_the_limit_can_be_read_exactly() {
    let (peer, mut stream) = stream();
    stream.reader().set_limit(10);
    let sent = pattern(5000);
    let result = start(&peer, async move {
        let mut all = vec![0; 5000];
        stream.read_exact(&mut all).await.unwrap();
        all
    });
    for piece in sent.chunks(77) {
        peer.receive(piece);
    }
    assert!(result.take().unwrap() == sent);
}

#[test]
fn what_is_there_of_too_little_stays_to_be_read() {
    let (peer, mut stream) = stream();
    peer.receive(b"abc");
    peer.end_of_stream();
    let mut five = [0; 5];
    let error = attempt(stream.read_exact(&mut five)).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(stream.reader().held(), 3);
    assert!(attempt(stream.read_exact(&mut five[..3])).unwrap().is_ok());
    assert_eq!(&five[..3], b"abc");
}

#[test]
fn an_idle_stream_has_no_buffer() {
    let (peer, mut stream) = stream();
    peer.receive(&[1; 5000]);
    assert_eq!(attempt(stream.read(&mut [0; 5000])).unwrap().unwrap(), 5000);
    assert_eq!(stream.reader().front.capacity(), 0);
    assert_eq!(stream.reader().joint.take_over_incoming().capacity(), 0);
}

#[test]
fn a_reader_that_waits_is_polled_once_for_what_came_and_not_again() {
    let (peer, mut stream) = stream();
    let polls = Rc::new(std::cell::Cell::new(0));
    let counter = Rc::clone(&polls);
    let _result = start(&peer, async move {
        let mut buffer = [0; 100];
        let mut reading = Box::pin(async move {
            while stream.read(&mut buffer).await.unwrap() > 0 {}
            stream
        });
        std::future::poll_fn(move |context| {
            counter.set(counter.get() + 1);
            reading.as_mut().poll(context)
        })
        .await
    });
    for round in 2..10 {
        peer.receive(b"x");
        peer.settle();
        assert_eq!(polls.get(), round);
    }
}
