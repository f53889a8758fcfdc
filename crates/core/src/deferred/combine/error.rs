//! What combinations fail with: [`FirstError`] and [`FailureGroup`].

use std::error::Error;
use std::fmt;

use crate::deferred::Interrupt;
use crate::failure::Failure;

/// The error of the first input that failed, and which one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstError<E = Failure> {
    index: Option<usize>,
    error: E,
}

impl<E> FirstError<E> {
    pub(super) fn new(index: usize, error: E) -> Self {
        Self { index: Some(index), error }
    }

    /// Returns which input failed, counted from 0. `None`: it was no input, but the engine, which may put an [`Interrupt`] in any
    /// step of a chain.
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    /// Returns the error.
    #[doc(alias = "subFailure")]
    pub fn error(&self) -> &E {
        &self.error
    }

    /// Takes the error out.
    pub fn into_error(self) -> E {
        self.error
    }
}

impl<E: From<Interrupt>> From<Interrupt> for FirstError<E> {
    fn from(interrupt: Interrupt) -> Self {
        Self { index: None, error: interrupt.into() }
    }
}

impl<E: fmt::Display> fmt::Display for FirstError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "input {index}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> Error for FirstError<E> {}

/// The errors of all inputs: none of them had a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup<E = Failure> {
    errors: Vec<E>,
}

impl<E> FailureGroup<E> {
    pub(super) fn new(errors: Vec<E>) -> Self {
        Self { errors }
    }

    /// Returns the errors in the order of the inputs. Empty if there were no inputs; a single one if it is an [`Interrupt`] that the engine
    /// has put in a later step of the chain.
    #[doc(alias = "failures")]
    pub fn errors(&self) -> &[E] {
        &self.errors
    }

    /// Takes the errors out.
    pub fn into_errors(self) -> Vec<E> {
        self.errors
    }
}

impl<E: From<Interrupt>> From<Interrupt> for FailureGroup<E> {
    fn from(interrupt: Interrupt) -> Self {
        Self { errors: vec![interrupt.into()] }
    }
}

/// How many errors of a group its `Display` shows; the rest are counted.
const SHOWN: usize = 8;

impl<E: fmt::Display> fmt::Display for FailureGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.errors[..] {
            [] => return f.write_str("nothing to choose from"),
            [only] => return only.fmt(f),
            several => write!(f, "all {} failed: ", several.len())?,
        }
        for (index, error) in self.errors.iter().take(SHOWN).enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        match self.errors.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> Error for FailureGroup<E> {}
