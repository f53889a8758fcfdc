//! All of them: [`list`] of results, [`gather`] of values.

use std::panic::Location;

use super::junction::{Junction, Places};
use super::{FirstError, Rest};
use crate::deferred::{Deferred, Fault};

/// Waits for all and returns their results, in the order given. Errors are among the results: they make nothing fail, and are not logged.
///
/// - Takes all deferreds from the iterator before it looks at the first. Given none it is ready, with an empty list.
/// - [Cancelling](Deferred::cancel) it cancels every input that has not fired, and what they come to is in the list. Where one has not
///   ended even then, since a step of it catches the error and waits again, so the list waits for it.
/// - Dropping it leaves the inputs alone; their results are dropped unlogged.
///
/// ```
/// use marline_core::deferred::{Deferred, list};
/// use marline_core::failure::Failure;
/// use marline_core::testing::success_result_of;
///
/// let (slow, resolver) = Deferred::new();
/// let all = list([slow, Deferred::failed(Failure::msg("no route"))]);
/// resolver.resolve(1);
/// let results = success_result_of(all);
/// assert!(matches!(&results[..], [Ok(1), Err(failure)] if failure.to_string() == "no route"));
/// ```
#[track_caller]
#[doc(alias = "DeferredList")]
pub fn list<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<Result<T, E>>, E> {
    let inputs: Vec<_> = deferreds.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ready(Vec::new());
    }
    let places = Places::<Result<T, E>>::new(inputs.len());
    let junction = Junction::new(places, Rest::Ignore, Location::caller());
    for (index, input) in inputs.into_iter().enumerate() {
        junction.add(input, move |places, result| places.fill(index, result).map(Ok));
    }
    junction.start()
}

/// Waits for all and returns their values, in the order given; or the error of the first that fails, at once.
///
/// The others then run on: their values are dropped, and a further error is logged as a failure nobody looked at. [`gather_with`] can do
/// otherwise, and says which of them failed. The error is handed on as it is, so that a chain goes on as if it had waited for one.
///
/// - Takes all deferreds from the iterator before it looks at the first. Given none it is ready, with an empty list.
/// - [Cancelling](Deferred::cancel) it cancels every input that has not fired, then fails with the first of their errors.
///
/// ```
/// use marline_core::deferred::{Deferred, gather};
/// # use marline_core::testing::success_result_of;
/// # fn size_of(path: &str) -> Deferred<usize> { Deferred::ready(path.len()) }
///
/// let total = gather(["/a", "/bc"].map(size_of)).map(|sizes| sizes.iter().sum::<usize>());
/// assert_eq!(success_result_of(total), 5);
///
/// async fn total_of(paths: &[&str]) -> Result<usize, marline_core::failure::Failure> {
///     let sizes = gather(paths.iter().map(|path| size_of(path))).await?;
///     Ok(sizes.iter().sum())
/// }
/// ```
#[track_caller]
#[doc(alias = "gatherResults")]
pub fn gather<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<T>, E> {
    gather_as(deferreds, Rest::RunOn, Location::caller(), |_, error| error)
}

/// Waits for all and returns their values, as [`gather`] does; an error comes with the number of the input that failed, and `rest` says
/// what becomes of the others then.
///
/// ```
/// use marline_core::deferred::{Deferred, Rest, gather_with};
/// use marline_core::failure::Failure;
/// use marline_core::testing::failure_result_of;
///
/// let (slow, resolver) = Deferred::<i32>::new();
/// let both = gather_with([slow, Deferred::failed(Failure::msg("no route"))], Rest::Cancel);
/// assert!(resolver.is_cancelled());
/// assert_eq!(failure_result_of(both).index(), Some(1));
/// ```
#[track_caller]
#[doc(alias = "fireOnOneErrback")]
pub fn gather_with<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    rest: Rest,
) -> Deferred<Vec<T>, FirstError<E>> {
    gather_as(deferreds, rest, Location::caller(), FirstError::new)
}

fn gather_as<T: 'static, E: Fault, E2: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    rest: Rest,
    site: &'static Location<'static>,
    name: fn(usize, E) -> E2,
) -> Deferred<Vec<T>, E2> {
    let inputs: Vec<_> = deferreds.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::ready(Vec::new());
    }
    let junction = Junction::new(Places::new(inputs.len()), rest, site);
    for (index, input) in inputs.into_iter().enumerate() {
        junction.add(input, move |places: &mut Places<T>, result| match result {
            Ok(value) => places.fill(index, value).map(Ok),
            Err(error) => Some(Err(name(index, error))),
        });
    }
    junction.start()
}
