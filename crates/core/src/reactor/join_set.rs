//! [`JoinSet`]: tasks that belong together, heard of in the order they end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::Reactor;
use super::inner::Inner;
use crate::deferred::{CancelHandle, Interrupt};
use crate::failure::Failure;

/// A set of tasks on a reactor. [`join_next`](Self::join_next) gives what they come to, in the order they end; dropping the set cancels those that
/// still run. Keeps no reactor alive.
///
/// ```
/// use marline_core::JoinSet;
/// use marline_core::testing::TestReactor;
///
/// let reactor = TestReactor::new();
/// let mut set = JoinSet::new(&reactor);
/// for number in 1..=3 {
///     set.spawn(async move { number * 10 });
/// }
/// let sum = reactor.spawn(async move {
///     let mut sum = 0;
///     while let Some(result) = set.join_next().await {
///         sum += result.unwrap_or(0);
///     }
///     sum
/// });
/// assert_eq!(reactor.result_of(sum).unwrap(), 60);
/// ```
pub struct JoinSet<T: 'static> {
    reactor: Weak<Inner>,
    state: Rc<State<T>>,
}

struct State<T: 'static> {
    running: RefCell<BTreeMap<u64, CancelHandle>>,
    /// What the others have come to, in the order they ended.
    ended: RefCell<VecDeque<Result<T, Failure>>>,
    /// Whoever waits for the next to end.
    waker: Cell<Option<Waker>>,
    next: Cell<u64>,
}

impl<T: 'static> JoinSet<T> {
    /// An empty set, for tasks on this reactor.
    pub fn new(reactor: &Reactor) -> Self {
        let state = State {
            running: RefCell::default(),
            ended: RefCell::default(),
            waker: Cell::new(None),
            next: Cell::new(0),
        };
        Self { reactor: Rc::downgrade(reactor.inner()), state: Rc::new(state) }
    }

    /// Runs a future as [`Reactor::spawn`] does, in this set. The handle cancels this task alone. If the reactor is gone, the future is dropped
    /// and counts as one that has ended, with [`Interrupt::Abandoned`].
    #[track_caller]
    pub fn spawn(&self, future: impl Future<Output = T> + 'static) -> CancelHandle {
        let Some(inner) = self.reactor.upgrade().filter(|inner| !inner.is_gone()) else {
            drop(future);
            self.state.end(Err(Interrupt::Abandoned.into()));
            return CancelHandle::default();
        };
        let id = self.state.next.get();
        self.state.next.set(id + 1);
        let task = Reactor::from_inner(&inner).spawn(future);
        let handle = task.cancel_handle();
        self.state.running.borrow_mut().insert(id, handle.clone());
        let state = Rc::clone(&self.state);
        task.done(move |result| {
            state.running.borrow_mut().remove(&id);
            state.end(result);
        });
        handle
    }

    /// Waits for the next task to end, and takes what it came to: its value, or why it has none (cancelled, panicked, dropped with the reactor).
    /// `None` at once if the set is empty.
    ///
    /// The future may be dropped at any time, as a `select` does: nothing is taken from the set before it is ready.
    pub fn join_next(&mut self) -> JoinNext<'_, T> {
        JoinNext(self)
    }

    /// The same for whoever polls by hand.
    pub fn poll_join_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Failure>>> {
        if let Some(result) = self.try_join_next() {
            return Poll::Ready(Some(result));
        }
        if self.state.running.borrow().is_empty() {
            return Poll::Ready(None);
        }
        // Cloning and dropping wakers may be the user's.
        drop(self.state.waker.replace(Some(context.waker().clone())));
        Poll::Pending
    }

    /// Takes what a task came to, if one has ended that was not joined yet.
    pub fn try_join_next(&mut self) -> Option<Result<T, Failure>> {
        self.state.ended.borrow_mut().pop_front()
    }

    /// How many tasks run or have not been joined.
    pub fn len(&self) -> usize {
        self.state.running.borrow().len() + self.state.ended.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels all tasks that run: their futures are dropped now, and they end with [`Interrupt::Cancelled`]. They are still to be joined.
    #[doc(alias = "abort_all")]
    pub fn cancel_all(&self) {
        self.state.cancel_all();
    }

    /// Cancels all tasks and empties the set. An error of a task that had ended, and was not joined, is logged.
    pub fn shutdown(&mut self) {
        self.state.clear();
    }
}

impl<T: 'static> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.state.clear();
    }
}

impl<T: 'static> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet")
            .field("running", &self.state.running.borrow().len())
            .field("ended", &self.state.ended.borrow().len())
            .finish()
    }
}

/// The future of [`JoinSet::join_next`].
#[derive(Debug)]
#[must_use = "nothing is joined unless it is awaited"]
pub struct JoinNext<'a, T: 'static>(&'a mut JoinSet<T>);

impl<T: 'static> Future for JoinNext<'_, T> {
    type Output = Option<Result<T, Failure>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_join_next(context)
    }
}

impl<T: 'static> State<T> {
    /// A task has come to this.
    fn end(&self, result: Result<T, Failure>) {
        self.ended.borrow_mut().push_back(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What is dropped in there may be the user's, and use the set.
    fn cancel_all(&self) {
        let handles: Vec<_> = self.running.borrow().values().cloned().collect();
        for handle in handles {
            handle.cancel();
        }
    }

    fn clear(&self) {
        drop(self.waker.take());
        self.cancel_all();
        let ended = mem::take(&mut *self.ended.borrow_mut());
        for failure in ended.into_iter().filter_map(Result::err) {
            if failure.check() != Some(&Interrupt::Cancelled) {
                crate::log::failure(&failure, "a task that nobody joined failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::deferred::Deferred;
    use crate::testing::{CapturedLog, TestReactor};

    fn interrupt<T>(result: Option<Result<T, Failure>>) -> Interrupt {
        result.unwrap().err().unwrap().check::<Interrupt>().unwrap().clone()
    }

    #[test]
    fn results_come_in_the_order_the_tasks_end() {
        let reactor = TestReactor::new();
        let mut set = JoinSet::new(&reactor);
        let (early, end_early) = Deferred::<u8>::new();
        let (late, end_late) = Deferred::<u8>::new();
        set.spawn(async { late.await.unwrap_or(0) });
        set.spawn(async { early.await.unwrap_or(0) });
        set.spawn(async { 1 });
        assert_eq!((set.len(), set.is_empty()), (3, false));
        assert!(set.try_join_next().is_none());
        reactor.turn_until_idle();
        end_early.resolve(2);
        reactor.turn_until_idle();
        end_late.resolve(3);
        let all = reactor.spawn(async move {
            let mut all = Vec::new();
            while let Some(result) = set.join_next().await {
                all.push(result.unwrap());
            }
            (all, set.len(), set.join_next().await.is_none())
        });
        assert_eq!(reactor.result_of(all).unwrap(), (vec![1, 2, 3], 0, true));
    }

    #[test]
    fn whoever_gives_up_waiting_loses_nothing() {
        let reactor = TestReactor::new();
        let mut set = JoinSet::new(&reactor);
        let (inner, resolver) = Deferred::<u8>::new();
        set.spawn(async { inner.await.unwrap_or(0) });
        reactor.turn_until_idle();
        let mut next = Box::pin(set.join_next());
        let mut context = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        resolver.resolve(9);
        // It ends while somebody waits, who then does not look.
        reactor.turn_until_idle();
        drop(next);
        assert_eq!(set.len(), 1);
        assert!(matches!(set.try_join_next(), Some(Ok(9))));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let reactor = TestReactor::new();
        let mut set = JoinSet::new(&reactor);
        let (inner, resolver) = Deferred::<u8>::new();
        set.spawn(async { inner.await.unwrap_or(0) });
        let waits = reactor.spawn(async move { set.join_next().await });
        reactor.turn_until_idle();
        assert!(!waits.is_ready());
        resolver.resolve(8);
        reactor.turn_until_idle();
        let joined = waits.try_take().unwrap().unwrap();
        assert!(matches!(joined, Some(Ok(8))));
    }

    #[test]
    fn a_dropped_set_cancels_its_tasks_and_logs_what_nobody_joined() {
        let reactor = TestReactor::new();
        let log = CapturedLog::start();
        let mut set = JoinSet::new(&reactor);
        let kept = Rc::new(());
        let held = Rc::clone(&kept);
        set.spawn(async move {
            pending::<()>().await;
            drop(held);
        });
        set.spawn(async { panic!("no luck") });
        reactor.turn_until_idle();
        assert_eq!((set.len(), Rc::strong_count(&kept)), (2, 2));
        assert!(matches!(set.try_join_next(), Some(Err(_))), "the panic, joined");
        set.spawn(async { panic!("worse luck") });
        reactor.turn_until_idle();
        log.take_errors();
        drop(set);
        assert_eq!(Rc::strong_count(&kept), 1);
        let errors = log.take_errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].message.contains("worse luck"));
    }

    #[test]
    fn cancelled_tasks_are_joined_as_cancelled_unless_the_set_is_shut_down() {
        let reactor = TestReactor::new();
        let mut set = JoinSet::<()>::new(&reactor);
        let one = set.spawn(pending());
        set.spawn(pending());
        reactor.turn_until_idle();
        one.cancel();
        assert_eq!(interrupt(set.try_join_next()), Interrupt::Cancelled);
        assert!(set.try_join_next().is_none(), "the other runs");
        set.cancel_all();
        assert_eq!(interrupt(set.try_join_next()), Interrupt::Cancelled);
        assert!(set.is_empty());
        set.spawn(pending());
        set.shutdown();
        assert!(set.is_empty());
        set.spawn(async {});
        reactor.turn_until_idle();
        assert!(matches!(set.try_join_next(), Some(Ok(()))), "it can be used again");
    }

    #[test]
    fn a_set_outlives_its_reactor() {
        let reactor = TestReactor::new();
        let mut set = JoinSet::<()>::new(&reactor);
        set.spawn(pending());
        drop(reactor);
        assert_eq!(interrupt(set.try_join_next()), Interrupt::Abandoned);
        set.spawn(pending());
        assert_eq!(interrupt(set.try_join_next()), Interrupt::Abandoned);
        assert!(set.is_empty());
    }

    #[test]
    fn a_task_may_hold_the_set_that_it_is_in() {
        let reactor = TestReactor::new();
        let set = Rc::new(JoinSet::<()>::new(&reactor));
        let held = Rc::clone(&set);
        let handle = set.spawn(async move {
            pending::<()>().await;
            drop(held);
        });
        let weak = Rc::downgrade(&set);
        drop(set);
        reactor.turn_until_idle();
        assert!(weak.upgrade().is_some());
        handle.cancel();
        assert!(weak.upgrade().is_none());
    }
}
