//! One of them: [`race`] and [`first_value`].

use std::panic::Location;

use super::junction::{Junction, Places};
use super::{FailureGroup, Rest};
use crate::deferred::{Deferred, Fault};

/// Waits for the first that has a value, and returns its number, from 0, and the value. The others are cancelled, before anything that waits
/// for the race runs; what they come to is dropped. If all fail, their errors are in the [`FailureGroup`], in the order given.
///
/// - Takes all deferreds from the iterator before it looks at the first: one that is ready cancels those that follow, too. Of several that
///   are ready the first wins. Given none it fails at once, with an empty group.
/// - [Cancelling](Deferred::cancel) it cancels every input that has not fired. One that answers that with a value still wins.
///
/// ```
/// use marline_core::deferred::{Deferred, race};
/// use marline_core::testing::success_result_of;
///
/// let (near, far) = (Deferred::<&str>::new(), Deferred::new());
/// let fastest = race([near.0, far.0]);
/// far.1.resolve("far");
/// assert!(near.1.is_cancelled());
/// assert_eq!(success_result_of(fastest), (1, "far"));
/// ```
#[track_caller]
pub fn race<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<(usize, T), FailureGroup<E>> {
    first(deferreds, Rest::Cancel, Location::caller())
}

/// Waits for the first that has a value, as [`race`] does; `rest` says what becomes of those that have not fired by then. The errors of those
/// that had failed before are dropped with its coming.
///
/// ```
/// use marline_core::deferred::{Deferred, Rest, first_value};
/// use marline_core::testing::success_result_of;
///
/// let (slow, resolver) = Deferred::<&str>::new();
/// let first = first_value([slow, Deferred::ready("cached")], Rest::Ignore);
/// assert_eq!(success_result_of(first), (1, "cached"));
/// assert!(!resolver.is_cancelled()); // it goes on, and fills the cache
/// # resolver.resolve("fetched");
/// ```
#[track_caller]
#[doc(alias = "fireOnOneCallback")]
pub fn first_value<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    rest: Rest,
) -> Deferred<(usize, T), FailureGroup<E>> {
    first(deferreds, rest, Location::caller())
}

fn first<T: 'static, E: Fault>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    rest: Rest,
    site: &'static Location<'static>,
) -> Deferred<(usize, T), FailureGroup<E>> {
    let inputs: Vec<_> = deferreds.into_iter().collect();
    if inputs.is_empty() {
        return Deferred::failed(FailureGroup::new(Vec::new()));
    }
    let junction = Junction::new(Places::new(inputs.len()), rest, site);
    for (index, input) in inputs.into_iter().enumerate() {
        junction.add(input, move |places: &mut Places<E>, result| match result {
            Ok(value) => Some(Ok((index, value))),
            Err(error) => places.fill(index, error).map(|errors| Err(FailureGroup::new(errors))),
        });
    }
    junction.start()
}
