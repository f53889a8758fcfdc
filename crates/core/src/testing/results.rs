//! Looking into Deferreds: their results, now, or a failed test.

use crate::deferred::{Deferred, Fault};

/// What a Deferred has come to.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_core::testing::success_result_of;
///
/// let answer: Deferred<i32> = Deferred::ready(42);
/// assert_eq!(success_result_of(answer), 42);
/// ```
///
/// # Panics
///
/// If it has not fired, or has failed.
#[track_caller]
#[doc(alias = "successResultOf")]
pub fn success_result_of<T: 'static, E: Fault>(deferred: Deferred<T, E>) -> T {
    match deferred.try_take() {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("a success was expected, but it failed: {error}"),
        Err(_pending) => panic!("a success was expected, but it has not fired"),
    }
}

/// What a Deferred has failed with.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_core::failure::Failure;
/// use marline_core::testing::failure_result_of;
///
/// let answer: Deferred<i32> = Deferred::failed(Failure::msg("no"));
/// assert_eq!(failure_result_of(answer).to_string(), "no");
/// ```
///
/// # Panics
///
/// If it has not fired, or has succeeded.
#[track_caller]
#[doc(alias = "failureResultOf")]
#[doc(alias = "assertFailure")]
pub fn failure_result_of<T: 'static, E: Fault>(deferred: Deferred<T, E>) -> E {
    match deferred.try_take() {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => panic!("a failure was expected, but it succeeded"),
        Err(_pending) => panic!("a failure was expected, but it has not fired"),
    }
}

/// Checks that a Deferred has not fired.
///
/// ```
/// use marline_core::deferred::Deferred;
/// use marline_core::testing::{assert_no_result, success_result_of};
///
/// let (answer, resolver) = Deferred::<i32>::new();
/// assert_no_result(&answer);
/// resolver.resolve(42);
/// assert_eq!(success_result_of(answer), 42);
/// ```
///
/// # Panics
///
/// If it has.
#[track_caller]
#[doc(alias = "assertNoResult")]
pub fn assert_no_result<T: 'static, E: Fault>(deferred: &Deferred<T, E>) {
    assert!(!deferred.is_ready(), "no result was expected yet, but it has fired");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    #[should_panic(expected = "has not fired")]
    fn a_success_of_one_that_has_not_fired_is_none() {
        let (deferred, _resolver) = Deferred::<()>::new();
        success_result_of(deferred);
    }

    #[test]
    #[should_panic(expected = "it failed: broken")]
    fn a_success_of_one_that_failed_says_with_what() {
        success_result_of(Deferred::<()>::failed(Failure::msg("broken")));
    }

    #[test]
    #[should_panic(expected = "it succeeded")]
    fn a_failure_of_one_that_succeeded_is_none() {
        failure_result_of(Deferred::<()>::ready(()));
    }

    #[test]
    #[should_panic(expected = "has not fired")]
    fn a_failure_of_one_that_has_not_fired_is_none() {
        let (deferred, _resolver) = Deferred::<()>::new();
        failure_result_of(deferred);
    }

    #[test]
    #[should_panic(expected = "it has fired")]
    fn a_result_that_is_there_is_noticed() {
        let deferred = Deferred::<()>::ready(());
        assert_no_result(&deferred);
    }
}
