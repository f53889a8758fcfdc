//! The traits of others say the same as the stream's own methods.

use std::io::{ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::stream;

/// What is done with each set of traits: reads in small pieces to the end of the stream, writes in several pieces, flushes, shuts down.
macro_rules! says_the_same {
    ($name:ident, $read:path, $write:path, $close:ident, |$half:ident, $context:ident, $room:ident| $poll_read:block) => {
        #[test]
        fn $name() {
            use $write as Write;

            let mut context = Context::from_waker(Waker::noop());
            let (peer, mut stream) = stream();
            assert!(read_once(Pin::new(&mut stream), &mut context, 4).is_pending());
            peer.receive(b"hello");
            assert_eq!(read_once(Pin::new(&mut stream), &mut context, 0), Poll::Ready(vec![]));
            let some = read_once(Pin::new(&mut stream), &mut context, 4);
            assert_eq!(some, Poll::Ready(b"hell".to_vec()));

            peer.set_window(7);
            let pieces = [&b"one "[..], b"", b"two"].map(IoSlice::new);
            let written = Pin::new(&mut stream).poll_write_vectored(&mut context, &pieces);
            assert!(matches!(written, Poll::Ready(Ok(7))));
            let nothing = Pin::new(&mut stream).poll_write_vectored(&mut context, &[]);
            assert!(matches!(nothing, Poll::Ready(Ok(0))));
            assert!(matches!(Pin::new(&mut stream).poll_flush(&mut context), Poll::Ready(Ok(()))));
            let long = vec![1; 100_000];
            let written = Pin::new(&mut stream).poll_write(&mut context, &long);
            assert!(matches!(written, Poll::Ready(Ok(65_536))));
            assert!(Pin::new(&mut stream).poll_flush(&mut context).is_pending());
            let refused = Pin::new(&mut stream).poll_write_vectored(&mut context, &pieces);
            assert!(refused.is_pending());
            assert_eq!(peer.take_written(), b"one two");
            assert_eq!(peer.drain(), &long[..65_536]);

            let (mut read, mut write) = stream.split();
            let rest = read_once(Pin::new(&mut read), &mut context, 9);
            assert_eq!(rest, Poll::Ready(b"o".to_vec()));
            assert!(Pin::new(&mut write).$close(&mut context).is_pending());
            peer.settle();
            assert!(matches!(Pin::new(&mut write).$close(&mut context), Poll::Ready(Ok(()))));
            assert!(peer.is_write_closed());
            let refused = Pin::new(&mut write).poll_write(&mut context, b"x");
            let Poll::Ready(Err(error)) = refused else { panic!("{refused:?}") };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            peer.end_of_stream();
            assert_eq!(read_once(Pin::new(&mut read), &mut context, 9), Poll::Ready(vec![]));

            fn read_once<R: $read>(
                $half: Pin<&mut R>,
                $context: &mut Context<'_>,
                $room: usize,
            ) -> Poll<Vec<u8>> {
                $poll_read
            }
        }
    };
}

#[cfg(feature = "futures-io")]
says_the_same!(
    by_futures_io,
    futures_io::AsyncRead,
    futures_io::AsyncWrite,
    poll_close,
    |half, context, room| {
        let mut buffer = vec![0; room];
        half.poll_read(context, &mut buffer).map(|read| {
            buffer.truncate(read.unwrap());
            buffer
        })
    }
);

#[cfg(feature = "tokio")]
says_the_same!(
    by_tokio,
    tokio::io::AsyncRead,
    tokio::io::AsyncWrite,
    poll_shutdown,
    |half, context, room| {
        let mut space = vec![0; room];
        let mut buffer = tokio::io::ReadBuf::new(&mut space);
        half.poll_read(context, &mut buffer).map(|read| {
            read.unwrap();
            buffer.filled().to_vec()
        })
    }
);

#[cfg(feature = "hyper")]
says_the_same!(
    by_hyper,
    hyper::rt::Read,
    hyper::rt::Write,
    poll_shutdown,
    |half, context, room| {
        let mut space = vec![0; room];
        let mut buffer = hyper::rt::ReadBuf::new(&mut space);
        half.poll_read(context, buffer.unfilled()).map(|read| {
            read.unwrap();
            buffer.filled().to_vec()
        })
    }
);

#[cfg(feature = "futures-io")]
#[test]
fn what_is_held_is_lent_without_a_copy_by_futures_io() {
    use futures_io::AsyncBufRead;

    let mut context = Context::from_waker(Waker::noop());
    let (peer, mut stream) = stream();
    peer.receive(b"hello");
    let Poll::Ready(Ok(lent)) = Pin::new(&mut stream).poll_fill_buf(&mut context) else {
        panic!("nothing there")
    };
    assert_eq!(lent, b"hello");
    Pin::new(&mut stream).consume(2);
    assert_eq!(stream.reader().buffered(), b"llo");
    Pin::new(&mut stream).consume(usize::MAX);
    assert!(Pin::new(&mut stream).poll_fill_buf(&mut context).is_pending());
    peer.end_of_stream();
    let end = Pin::new(&mut stream).poll_fill_buf(&mut context);
    assert!(matches!(end, Poll::Ready(Ok(&[]))));
}
