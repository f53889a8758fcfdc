//! [`Interrupt`]: what the engine itself puts on a deferred's error side. [`Fault`]: what an error type must be able to do for that.

use std::error::Error;
use std::fmt;
use std::rc::Rc;

/// Why a deferred has an error that no code of the user's returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interrupt {
    /// It was cancelled.
    #[doc(alias = "CancelledError")]
    Cancelled,
    /// Nobody is left who could fire it: the [`Resolver`](super::Resolver) was dropped.
    Abandoned,
    /// A link of the chain, or its canceller, panicked with this text.
    Panicked(Rc<str>),
    /// It took longer than allowed.
    #[doc(alias = "TimeoutError")]
    TimedOut,
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Abandoned => f.write_str("abandoned by whoever should have fired it"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

impl Error for Interrupt {}

/// What the error side of a deferred may be: anything that can be shown and made of an [`Interrupt`]. [`Failure`](crate::failure::Failure)
/// is, and so is an error type of your own with a `From<Interrupt>`. Implemented for all of them; not to be implemented by hand.
///
/// The conversion must not panic: there would be no error to go on with, and the panic reaches whoever fires.
pub trait Fault: From<Interrupt> + fmt::Display + 'static {}

impl<E: From<Interrupt> + fmt::Display + 'static> Fault for E {}
