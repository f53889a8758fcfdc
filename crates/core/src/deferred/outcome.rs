//! A result on its way through a chain: a value, or an error with the links it went through.

use std::any::{Any, type_name};
use std::mem;
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
        let cancelled = interrupt == Interrupt::Cancelled;
        let mut failed = Self::new(E::from(interrupt), born);
        match to_failure(&mut failed.error) {
            Some(failure) => failure.set_site(born),
            None if cancelled => failed.trail.mark_cancelled(),
            None => {}
        }
        failed
    }

    /// Has gone through a link.
    pub(super) fn hop(&mut self, site: &'static Location<'static>) {
        match to_failure(&mut self.error) {
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

/// The error as a [`Failure`], if it is one.
fn to_failure<E: Fault>(error: &mut E) -> Option<&mut Failure> {
    (error as &mut dyn Any).downcast_mut()
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

    /// The error comes through the link made at `site`, a time-out that has passed: if it is the cancel's, it is one no more.
    #[cold]
    pub(super) fn too_late<E: Fault>(
        self,
        error: E,
        site: &'static Location<'static>,
    ) -> Failed<E> {
        if !self.is_cancel(&error) {
            return self.rejoin(error, site);
        }
        let mut failed = Failed::interrupted(Interrupt::TimedOut, site);
        failed.born = self.born;
        match to_failure(&mut failed.error) {
            Some(failure) => {
                let mut error = error;
                if let Some(before) = to_failure(&mut error) {
                    mem::swap(failure.trail_mut(), before.trail_mut());
                }
            }
            None => failed.trail = self.trail,
        }
        failed.hop(site);
        failed
    }

    /// Whether this is the error of a cancel: for a [`Failure`] and an [`Interrupt`] it can be seen, for others it was noted.
    fn is_cancel<E: Fault>(&self, error: &E) -> bool {
        let error: &dyn Any = error;
        let interrupt = match error.downcast_ref::<Failure>() {
            Some(failure) => failure.check::<Interrupt>(),
            None => match error.downcast_ref::<Interrupt>() {
                None => return self.trail.is_cancelled(),
                interrupt => interrupt,
            },
        };
        interrupt == Some(&Interrupt::Cancelled)
    }
}

/// What a link makes of a result.
pub(super) enum Step<T: 'static, E: Fault> {
    Value(T),
    /// An error of the link's own.
    Failed(E),
    /// The error it was given.
    Passed(E),
    /// The error it was given, after a time-out.
    TimedOut(E),
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
