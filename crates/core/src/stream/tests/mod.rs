//! Byte streams against a peer played by hand; what depends on drivers is in the conformance suite.

mod budget;
mod cancelling;
#[cfg(feature = "hyper")]
mod clock;
mod ending;
mod reading;
mod serving;
#[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
mod traits;
mod writing;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::ByteStream;
use super::feed::Feed;
use crate::testing::MemoryTransport;

/// A stream, and the test as its peer.
fn stream() -> (MemoryTransport<Feed>, ByteStream) {
    let (feed, joint) = Feed::new();
    (MemoryTransport::connect(feed), ByteStream::new(joint))
}

/// What a task comes to, when it has.
type Result<T> = Rc<RefCell<Option<T>>>;

/// Runs a task on the stream's reactor, as far as it gets now.
fn start<T: 'static>(
    peer: &MemoryTransport<Feed>,
    task: impl Future<Output = T> + 'static,
) -> Result<T> {
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    peer.reactor().spawn(async move { *place.borrow_mut() = Some(task.await) }).ignore();
    peer.settle();
    result
}

/// Polls a future once, and then drops it.
fn attempt<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Bytes in an order that shows when some are lost, doubled or swapped.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
