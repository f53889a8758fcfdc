//! Ends: by the peer, by this side, by drops; taking over and handing on.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::{attempt, pattern, start, stream};
use crate::failure::Failure;
use crate::layer::{Layer, LayerIo};
use crate::stream::ByteStream;
use crate::testing::MemoryTransport;
use crate::{CloseReason, Protocol, Transport};

fn read_kind(stream: &mut ByteStream) -> ErrorKind {
    attempt(stream.read(&mut [0; 100])).expect("it hangs").unwrap_err().kind()
}

fn write_kind(stream: &mut ByteStream) -> ErrorKind {
    attempt(stream.write(b"x")).expect("it hangs").unwrap_err().kind()
}

#[test]
fn the_end_of_the_peers_stream_is_no_bytes_and_writing_goes_on() {
    let (peer, mut stream) = stream();
    peer.receive(b"last");
    peer.end_of_stream();
    assert_eq!(attempt(stream.read(&mut [0; 100])).unwrap().unwrap(), 4);
    for _ in 0..2 {
        assert_eq!(attempt(stream.read(&mut [0; 100])).unwrap().unwrap(), 0);
    }
    assert_eq!(attempt(stream.write(b"answer")).unwrap().unwrap(), 6);
    assert_eq!(peer.written(), b"answer");
    assert!(peer.is_open());
}

#[test]
fn what_came_before_a_reset_is_read_before_the_error_which_comes_again_and_again() {
    let (peer, mut stream) = stream();
    peer.receive(b"last");
    peer.lose(ErrorKind::ConnectionReset);
    peer.settle();
    assert_eq!(write_kind(&mut stream), ErrorKind::ConnectionReset);
    assert_eq!(attempt(stream.read(&mut [0; 3])).unwrap().unwrap(), 3);
    assert_eq!(attempt(stream.read(&mut [0; 3])).unwrap().unwrap(), 1);
    for _ in 0..2 {
        assert_eq!(read_kind(&mut stream), ErrorKind::ConnectionReset);
    }
    assert!(attempt(stream.flush()).unwrap().is_err());
    assert!(attempt(stream.shutdown()).unwrap().is_err());
}

#[test]
fn a_reset_in_the_middle_of_a_long_write_ends_it_with_that_error() {
    for end in [ErrorKind::ConnectionReset, ErrorKind::TimedOut] {
        let (peer, mut stream) = stream();
        peer.set_window(100);
        let result = start(&peer, async move { stream.write_all(&pattern(500_000)).await });
        assert_eq!(peer.take_written(), &pattern(500_000)[..100]);
        assert!(result.borrow().is_none());
        peer.lose(end);
        peer.settle();
        assert_eq!(result.take().unwrap().unwrap_err().kind(), end);
    }
}

#[test]
fn who_waits_for_anything_hears_of_the_end() {
    type Waits = fn(ByteStream) -> std::pin::Pin<Box<dyn Future<Output = io::Result<()>>>>;
    let all: [Waits; 6] = [
        |mut s| Box::pin(async move { s.read(&mut [0]).await.map(drop) }),
        |mut s| Box::pin(async move { s.read_exact(&mut [0; 9]).await }),
        |mut s| Box::pin(async move { s.read_until(0, &mut Vec::new(), 99).await.map(drop) }),
        |mut s| Box::pin(async move { s.write_all(&[0; 100_000]).await }),
        |mut s| {
            Box::pin(async move {
                s.write_all(&[0; 100]).await?;
                s.flush().await
            })
        },
        |mut s| {
            Box::pin(async move {
                s.write_all(&[0; 100]).await?;
                s.shutdown().await
            })
        },
    ];
    for waits in all {
        let (peer, stream) = stream();
        peer.set_window(1);
        let result = start(&peer, waits(stream));
        assert!(result.borrow().is_none());
        peer.transport().abort_connection();
        peer.settle();
        assert_eq!(result.take().unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}

#[test]
fn every_way_to_end_has_its_kind_of_error() {
    struct Breaks(fn() -> Failure);

    impl Layer for Breaks {
        fn name(&self) -> &'static str {
            "breaks"
        }

        fn incoming(&mut self, _: &[u8], _: &mut LayerIo) -> Result<(), Failure> {
            Err((self.0)())
        }

        fn outgoing(&mut self, _: &[u8], _: &mut LayerIo) -> Result<(), Failure> {
            Ok(())
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    let invalid = || Failure::new(io::Error::from(ErrorKind::InvalidData));
    let odd = || Failure::msg("odd");
    for (breaks, kind) in
        [(invalid as fn() -> Failure, ErrorKind::InvalidData), (odd, ErrorKind::Other)]
    {
        let (peer, mut stream) = stream();
        stream.transport().start_layer(Breaks(breaks), b"");
        peer.receive(b"x");
        peer.settle();
        assert_eq!(read_kind(&mut stream), kind);
    }

    let (peer, mut one) = stream();
    one.transport().set_budget(1000);
    peer.set_window(0);
    one.transport().write(&[0; 1000]);
    peer.settle();
    one.transport().write(&[0; 1000]);
    peer.settle();
    assert_eq!(read_kind(&mut one), ErrorKind::QuotaExceeded);

    let (peer, mut one) = stream();
    drop(peer); // its reactor, too
    assert_eq!(read_kind(&mut one), ErrorKind::ConnectionAborted);
    let text = attempt(one.write(b"x")).unwrap().unwrap_err().to_string();
    assert_eq!(text, CloseReason::Stopped.to_string());
}

#[test]
fn a_connection_that_this_side_closes_cleanly_reads_nothing_and_writes_nothing() {
    let (peer, mut stream) = stream();
    stream.transport().lose_connection();
    assert_eq!(write_kind(&mut stream), ErrorKind::BrokenPipe);
    peer.settle();
    assert_eq!(attempt(stream.read(&mut [0])).unwrap().unwrap(), 0);
    assert_eq!(write_kind(&mut stream), ErrorKind::BrokenPipe);
    assert!(attempt(stream.flush()).unwrap().is_ok());
}

// ---- drops

#[test]
fn a_dropped_stream_delivers_what_was_written_and_closes() {
    let (peer, mut stream) = stream();
    peer.set_window(3);
    peer.receive(b"never read");
    let _task = start(&peer, async move { stream.write_all(b"hello").await.unwrap() });
    assert!(peer.is_closing() && !peer.is_aborted());
    assert_eq!(peer.take_written(), b"hel");
    assert_eq!(peer.take_written(), b"lo");
    assert!(peer.reason().unwrap().is_clean());
    assert_eq!(peer.reactor().figures().counted, 0);
}

#[test]
fn a_stream_dropped_by_a_panic_resets_the_connection() {
    let (peer, mut stream) = stream();
    peer.set_window(3);
    let _task = start(&peer, async move {
        stream.write_all(b"a part").await.unwrap();
        if stream.transport().is_open() {
            panic!("on purpose");
        }
    });
    assert!(peer.is_aborted());
    assert!(matches!(peer.reason(), Some(CloseReason::Aborted)));
    // Caught by somebody else it is the same.
    let (peer, other) = super::stream();
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _other = other;
        panic!("on purpose");
    }));
    assert!(caught.is_err() && peer.is_aborted());
}

#[test]
fn a_dropped_writer_ends_the_write_side_and_the_reader_reads_on() {
    let (peer, stream) = stream();
    let (mut read, mut write) = stream.split();
    assert!(attempt(write.write(b"hello")).unwrap().is_ok());
    drop(write);
    peer.settle();
    assert_eq!((peer.written(), peer.is_write_closed()), (b"hello".to_vec(), true));
    peer.receive(b"answer");
    assert_eq!(attempt(read.read(&mut [0; 10])).unwrap().unwrap(), 6);
    assert!(peer.is_open());
    drop(read);
    assert!(peer.reason().unwrap().is_clean());
}

#[test]
fn a_dropped_reader_holds_the_peer_up_and_the_writer_writes_on() {
    let (peer, stream) = stream();
    let (read, mut write) = stream.split();
    peer.receive(b"unread");
    drop(read);
    assert!(peer.is_paused());
    peer.receive(b"more");
    assert_eq!(peer.reactor().figures().input, 0);
    assert!(attempt(write.write(b"hello")).unwrap().is_ok());
    assert_eq!(peer.written(), b"hello");
    drop(write);
    assert!(peer.reason().unwrap().is_clean());
}

#[test]
fn drops_in_every_state_end_the_connection_once() {
    for state in 0..64u32 {
        let (peer, stream) = stream();
        peer.set_window(if state & 1 == 0 { 0 } else { 100 });
        let (mut read, mut write) = stream.split();
        if state & 2 != 0 {
            assert!(attempt(write.write(b"hello")).unwrap().is_ok());
            peer.settle();
        }
        if state & 4 != 0 {
            peer.receive(&pattern(100_000));
        }
        if state & 8 != 0 {
            peer.end_of_stream();
        }
        if state & 16 != 0 {
            assert!(attempt(read.read(&mut [0; 7])).is_some() || state & 12 == 0);
        }
        if state & 32 != 0 {
            let _ = attempt(write.shutdown());
        }
        if state & 5 == 0 {
            drop(read);
            drop(write);
        } else {
            drop(write);
            peer.settle();
            drop(read);
        }
        peer.set_window(100);
        let written = peer.drain();
        assert_eq!(written, if state & 2 != 0 { &b"hello"[..] } else { b"" }, "{state:b}");
        assert!(peer.reason().is_some_and(|reason| reason.is_clean()), "{state:b}");
        let figures = peer.reactor().figures();
        assert_eq!((figures.connections, figures.counted), (0, 0), "{state:b}");
    }
}

// ---- from protocol to stream and back

/// Hands over to a stream at the first byte, having used three.
struct Hands(Option<Rc<dyn Fn(ByteStream)>>);

impl Protocol for Hands {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        let Some(to) = self.0.take() else { panic!("told after the hand-over") };
        transport.write(b"first ");
        transport.pause_reading();
        to(ByteStream::take_over(transport, &data[3..]));
    }
}

#[test]
fn a_stream_takes_over_with_what_was_not_used_in_the_order_of_all_bytes() {
    let got = Rc::new(std::cell::RefCell::new(None));
    let place = Rc::clone(&got);
    let peer = MemoryTransport::connect(Hands(Some(Rc::new(move |mut stream| {
        assert_eq!(attempt(stream.write(b"second")).unwrap().unwrap(), 6);
        *place.borrow_mut() = Some(stream);
    }))));
    peer.receive(b"usedrest");
    peer.receive(b" and more");
    peer.end_of_stream();
    assert_eq!(peer.written(), b"first second");
    let mut stream = got.take().unwrap();
    let mut all = [0; 14];
    assert!(attempt(stream.read_exact(&mut all)).unwrap().is_ok());
    assert_eq!(&all, b"drest and more");
    assert_eq!(attempt(stream.read(&mut all)).unwrap().unwrap(), 0);
    drop(stream);
    assert!(peer.reason().unwrap().is_clean());
}

#[test]
fn a_connection_that_has_ended_cannot_be_taken_over() {
    let (peer, stream) = stream();
    let transport = stream.transport().clone();
    peer.lose(ErrorKind::ConnectionReset);
    peer.settle();
    let mut late = ByteStream::take_over(&transport, b"rest");
    assert_eq!(read_kind(&mut late), ErrorKind::NotConnected);
    assert_eq!(write_kind(&mut late), ErrorKind::NotConnected);
}

/// Keeps what it hears.
#[derive(Default)]
struct Hears {
    bytes: Vec<u8>,
    ended: bool,
}

impl Protocol for Hears {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    fn read_connection_lost(&mut self, transport: &Transport) {
        self.ended = true;
        transport.write(b"heard");
    }
}

#[test]
fn a_stream_hands_on_everything_that_was_not_read() {
    for ended in [false, true] {
        let (peer, mut stream) = stream();
        stream.reader().set_limit(10);
        peer.receive(b"0123");
        // One part is with the reader, one behind it, and one with the system.
        assert_eq!(attempt(stream.read(&mut [0; 1])).unwrap().unwrap(), 1);
        peer.receive(b"456789abcd");
        peer.receive(b"efgh");
        if ended {
            peer.end_of_stream();
        }
        assert!(peer.is_paused());
        let connection = stream.upgrade(Hears::default());
        peer.settle();
        let heard = |hears: &mut Hears, _: &Transport| (hears.bytes.clone(), hears.ended);
        assert_eq!(connection.try_with(heard).unwrap(), (b"123456789abcdefgh".to_vec(), ended));
        assert!(!peer.is_paused());
        if !ended {
            peer.receive(b"!");
            assert_eq!(connection.try_with(heard).unwrap().0.last(), Some(&b'!'));
        }
        assert_eq!(peer.reactor().figures().input, 0);
        assert!(peer.is_open());
    }
}
