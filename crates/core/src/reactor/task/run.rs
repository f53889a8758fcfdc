//! A future with the resolver of its Deferred: what is done when it is ready, panics, or is cancelled.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::deferred::{Interrupt, Resolver};
use crate::failure::Failure;
use crate::panic::{guard, guard_quietly};

/// A task, whatever it comes to.
pub(super) trait Run {
    /// Polls the future. Once it is over it is dropped, and then its result is told; answers whether it is. Does not unwind.
    fn poll(&mut self, context: &mut Context<'_>) -> bool;

    /// Drops the future and tells that it was cancelled.
    fn cancel(self: Box<Self>);
}

/// Dropped before it is over, it drops the future first, and then the resolver.
pub(super) struct Spawned<F: Future<Output: 'static>> {
    future: Option<Pin<Box<F>>>,
    resolver: Option<Resolver<F::Output>>,
}

impl<F: Future<Output: 'static>> Spawned<F> {
    pub(super) fn new(future: F, resolver: Resolver<F::Output>) -> Self {
        Self { future: Some(Box::pin(future)), resolver: Some(resolver) }
    }

    fn finish(&mut self, result: Result<F::Output, Interrupt>) {
        let resolver = self.resolver.take();
        // A result that nobody takes is dropped in there.
        guard_quietly("the end of a task", || {
            if let Some(resolver) = resolver {
                resolver.finish(result.map_err(Failure::from));
            }
        });
    }
}

impl<F: Future<Output: 'static>> Run for Spawned<F> {
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let Some(future) = &mut self.future else { return true };
        let result = match guard(|| future.as_mut().poll(context)) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(text) => {
                crate::log::engine::task_panicked(&text);
                Err(Interrupt::Panicked(text))
            }
        };
        let future = self.future.take();
        if mem::needs_drop::<F>() {
            guard_quietly("drop of a future", || drop(future));
        } else {
            drop(future);
        }
        self.finish(result);
        true
    }

    fn cancel(mut self: Box<Self>) {
        let future = self.future.take();
        let why =
            guard(|| drop(future)).map_or_else(Interrupt::Panicked, |()| Interrupt::Cancelled);
        self.finish(Err(why));
    }
}
