//! What the functions given to tasks may return.

use std::any::Any;

use crate::deferred::{Deferred, Fault};
use crate::failure::Failure;

/// What a function given to a task may return: nothing, a `Result`, or a [`Deferred`]. (For a future: the Deferred of
/// [`Reactor::spawn`](crate::Reactor::spawn).)
pub trait TaskResult: 'static {
    /// What it comes to if nothing goes wrong.
    type Value: 'static;

    /// The same as a Deferred. One that is ready allocates nothing.
    #[doc(alias = "maybeDeferred")]
    fn into_deferred(self) -> Deferred<Self::Value>;
}

impl TaskResult for () {
    type Value = ();

    #[track_caller]
    fn into_deferred(self) -> Deferred<()> {
        Deferred::ready(())
    }
}

impl<T: 'static, E: Into<Failure> + 'static> TaskResult for Result<T, E> {
    type Value = T;

    #[track_caller]
    fn into_deferred(self) -> Deferred<T> {
        Deferred::from_result(self.map_err(Into::into))
    }
}

impl<T: 'static, E: Fault + Into<Failure>> TaskResult for Deferred<T, E> {
    type Value = T;

    #[track_caller]
    fn into_deferred(self) -> Deferred<T> {
        let mut this = Some(self);
        // What is a failure already needs no further step.
        match (&mut this as &mut dyn Any).downcast_mut::<Option<Deferred<T>>>() {
            Some(same) => same.take(),
            None => this.map(|deferred| deferred.map_err(Into::into)),
        }
        .unwrap_or_else(|| unreachable!("it was put there above"))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::deferred::Interrupt;
    use crate::testing::{assert_no_result, failure_result_of, success_result_of};

    #[test]
    fn nothing_results_and_deferreds_become_deferreds() {
        success_result_of(().into_deferred());
        assert_eq!(success_result_of(Ok::<_, io::Error>(1).into_deferred()), 1);
        let error = Err::<(), _>(io::Error::other("disk")).into_deferred();
        assert!(failure_result_of(error).check::<io::Error>().is_some());
        assert_eq!(success_result_of(Deferred::<_, Failure>::ready(2).into_deferred()), 2);
        let (deferred, resolver) = Deferred::<i32, Interrupt>::new();
        let deferred = deferred.into_deferred();
        assert_no_result(&deferred);
        resolver.fail(Interrupt::TimedOut);
        let failure = failure_result_of(deferred);
        assert_eq!(failure.check::<Interrupt>(), Some(&Interrupt::TimedOut));
    }

    #[test]
    fn a_deferred_of_a_failure_goes_through_unchanged() {
        let failure = Failure::msg("no");
        let site = failure.site();
        let failure = failure_result_of(Deferred::<(), _>::failed(failure).into_deferred());
        assert_eq!((failure.site(), failure.hops().count()), (site, 0));
    }
}
