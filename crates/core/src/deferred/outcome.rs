//! A result on its way through a chain: a value, or an error with the links it went through.

use std::any::{Any, type_name};
use std::panic::Location;

use super::Deferred;
use super::interrupt::{Fault, Interrupt};
use crate::failure::{Failure, Trail};

/// What a deferred has come to.
pub(super) type Outcome<T, E> = Result<T, Failed<E>>;

/// An error, where it was born, and what it went through since. A [`Failure`] keeps that itself, so that its owner can see it.
pub(super) struct Failed<E> {
    error: E,
    born: &'static Location<'static>,
    trail: Trail,
}

impl<E: Fault> Failed<E> {
    pub(super) fn new(error: E, born: &'static Location<'static>) -> Self {
        Self { error, born, trail: Trail::default() }
    }

    pub(super) fn interrupted(interrupt: Interrupt, born: &'static Location<'static>) -> Self {
        Self::new(E::from(interrupt), born)
    }

    /// Has gone through a link.
    pub(super) fn hop(&mut self, site: &'static Location<'static>) {
        match (&mut self.error as &mut dyn Any).downcast_mut::<Failure>() {
            Some(failure) => failure.trail_mut().push(site),
            None => self.trail.push(site),
        }
    }

    pub(super) fn error(&self) -> &E {
        &self.error
    }

    pub(super) fn into_error(self) -> E {
        self.error
    }

    pub(super) fn born(&self) -> &'static Location<'static> {
        self.born
    }

    /// The name of the error's type; of the one inside, if it is a [`Failure`].
    pub(super) fn kind(&self) -> &'static str {
        let failure = (&self.error as &dyn Any).downcast_ref::<Failure>();
        failure.map_or_else(type_name::<E>, Failure::type_name)
    }

    pub(super) fn trail(&self) -> &Trail {
        (&self.error as &dyn Any).downcast_ref::<Failure>().map_or(&self.trail, Failure::trail)
    }

    /// Splits the error from its past.
    pub(super) fn split(self) -> (E, Past) {
        (self.error, Past { born: self.born, trail: self.trail })
    }
}

/// What an error went through, while a link has the error.
pub(super) struct Past {
    born: &'static Location<'static>,
    trail: Trail,
}

impl Past {
    /// The error went through the link made at `site`, perhaps as another type.
    pub(super) fn rejoin<E: Fault>(self, error: E, site: &'static Location<'static>) -> Failed<E> {
        let mut failed = Failed { error, born: self.born, trail: self.trail };
        failed.hop(site);
        failed
    }
}

/// What a link makes of a result.
pub(super) enum Step<T: 'static, E: Fault> {
    Value(T),
    /// An error of the link's own.
    Failed(E),
    /// The error it was given.
    Passed(E),
    /// Whatever this comes to.
    Wait(Deferred<T, E>),
}

impl<T: 'static, E: Fault> From<Result<T, E>> for Step<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Self::Value(value),
            Err(error) => Self::Failed(error),
        }
    }
}
