//! A [`Deferred`] is a `Future` of its result.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::interrupt::Fault;
use super::node;
use super::outcome::Failed;
use super::{Deferred, State};

/// Awaiting takes the result; an error counts as looked at. A result that is there is given without yielding. Once awaited, dropping the
/// deferred before it is done cancels it, and what it then comes to is dropped unheard.
///
/// # Panics
///
/// If it is polled again after it gave its result.
impl<T: 'static, E: Fault> Future for Deferred<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &self.state {
            State::Ready(_) => match mem::replace(&mut self.state, State::Taken) {
                State::Ready(outcome) => Some(outcome),
                _ => None,
            },
            State::Node(source) => node::take(&**source),
            State::Taken => panic!("a Deferred was polled after it had given its result"),
        };
        if let Some(outcome) = outcome {
            self.state = State::Taken;
            return Poll::Ready(outcome.map_err(Failed::into_error));
        }
        if let State::Node(source) = &self.state {
            source.out().wake(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The result is never pinned.
impl<T: 'static, E: Fault> Unpin for Deferred<T, E> {}
