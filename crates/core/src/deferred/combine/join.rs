//! [`join`]: a few deferreds of different types.

use std::panic::Location;

use super::Rest;
use super::junction::Junction;
use crate::deferred::{Deferred, Fault};

/// Waits for two to six deferreds of different types, and returns their values; or the error of the first that fails, at once. In all else it
/// is as [`gather`](super::gather).
///
/// ```
/// use marline_core::deferred::{Deferred, join};
/// use marline_core::testing::success_result_of;
///
/// let (name, resolver) = Deferred::<String>::new();
/// let greeting = join((name, Deferred::ready(3))).map(|(name, unread)| format!("{name}: {unread} new"));
/// resolver.resolve("ada".into());
/// assert_eq!(success_result_of(greeting), "ada: 3 new");
/// ```
#[track_caller]
pub fn join<J: Join>(deferreds: J) -> Deferred<J::Values, J::Error> {
    deferreds.begin(Location::caller(), Sealed)
}

/// Tuples of deferreds that [`join`] takes. Not to be implemented by hand.
pub trait Join {
    /// The tuple of their values.
    type Values: 'static;
    /// Their error.
    type Error: Fault;

    #[doc(hidden)]
    fn begin(
        self,
        site: &'static Location<'static>,
        sealed: Sealed,
    ) -> Deferred<Self::Values, Self::Error>;
}

/// Keeps [`Join`] to this file.
#[doc(hidden)]
#[derive(Debug)]
pub struct Sealed;

macro_rules! join_of {
    ($($deferred:ident: $value:ident),+) => {
        impl<$($value: 'static,)+ E: Fault> Join for ($(Deferred<$value, E>,)+) {
            type Values = ($($value,)+);
            type Error = E;

            fn begin(self, site: &'static Location<'static>, _: Sealed) -> Deferred<Self::Values, E> {
                let ($($deferred,)+) = self;
                let junction = Junction::new(($(None::<$value>,)+), Rest::RunOn, site);
                join_of!(@add junction, ($($deferred: $value),+), $($deferred)+);
                junction.start()
            }
        }
    };
    (@add $junction:ident, $all:tt, $($deferred:ident)+) => {
        $(join_of!(@one $junction, $all, $deferred);)+
    };
    (@one $junction:ident, ($($deferred:ident: $value:ident),+), $this:ident) => {
        $junction.add($this, |values: &mut ($(Option<$value>,)+), result| match result {
            Ok(value) => {
                let ($($deferred,)+) = values;
                *$this = Some(value);
                if $($deferred.is_some())&&+ {
                    // OK: all of them are there.
                    $(let $deferred = $deferred.take()?;)+
                    return Some(Ok(($($deferred,)+)));
                }
                None
            }
            Err(error) => Some(Err(error)),
        });
    };
}

join_of!(a: A, b: B);
join_of!(a: A, b: B, c: C);
join_of!(a: A, b: B, c: C, d: D);
join_of!(a: A, b: B, c: C, d: D, e: F);
join_of!(a: A, b: B, c: C, d: D, e: F, f: G);
