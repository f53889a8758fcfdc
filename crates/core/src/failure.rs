//! [`Failure`]: any error, with the place where it was made and the links of a deferred chain it went through. For the boundary of a
//! [`Deferred`](crate::deferred::Deferred), where errors of several areas meet; elsewhere an area has a type of its own.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::iter;
use std::panic::Location;

/// An error of any type.
///
/// Every `std::error::Error` turns into one with `?` or [`Failure::new`], for one allocation; so `Failure` is no such error itself.
///
/// - `{}` is the error in one line, `{:#}` the error and what caused it in one line, `{:?}` has a line for each cause, for the place where
///   the failure was made and for the links it went through.
///
/// ```
/// # use marline_core::failure::Failure;
/// fn port(text: &str) -> Result<u16, Failure> {
///     Ok(text.parse()?)
/// }
///
/// let failure = port("many").unwrap_err();
/// assert!(failure.check::<std::num::ParseIntError>().is_some());
/// let failure = failure.trap::<std::io::Error>().unwrap_err(); // not one of those: it comes back
/// assert_eq!(failure.to_string(), "invalid digit found in string");
/// ```
pub struct Failure(Box<dyn Held>);

impl Failure {
    /// Wraps an error.
    #[track_caller]
    pub fn new(error: impl Error + 'static) -> Self {
        Self(Box::new(Inner { site: Location::caller(), trail: Trail::default(), error }))
    }

    /// Makes a failure of a text alone.
    #[track_caller]
    pub fn msg(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Message(text.into()))
    }

    /// Wraps an error of a type that is not known here, as other libraries return it. What it was is found again by [`check`](Self::check) and
    /// [`trap`](Self::trap) as ever.
    ///
    /// ```
    /// # use std::error::Error;
    /// # use marline_core::failure::Failure;
    /// fn load() -> Result<u16, Box<dyn Error + Send + Sync>> {
    ///     Ok("many".parse()?)
    /// }
    ///
    /// let failure = load().map_err(|error| Failure::from_boxed(error)).unwrap_err();
    /// assert!(failure.is::<std::num::ParseIntError>());
    /// ```
    #[track_caller]
    pub fn from_boxed(error: Box<dyn Error + 'static>) -> Self {
        let error = Boxed(error);
        Self(Box::new(Inner { site: Location::caller(), trail: Trail::default(), error }))
    }

    /// Takes the error out if it is an `E`.
    ///
    /// # Errors
    ///
    /// The failure itself, unchanged, if it holds another type.
    pub fn trap<E: Error + 'static>(self) -> Result<E, Self> {
        if self.check::<E>().is_none() {
            return Err(self);
        }
        let held = match self.0.into_any().downcast::<Inner<E>>() {
            Ok(inner) => return Ok(inner.error),
            Err(held) => held,
        };
        match held.downcast::<Inner<Boxed>>().map(|inner| inner.error.0.downcast()) {
            Ok(Ok(error)) => Ok(*error),
            Ok(Err(_)) | Err(_) => unreachable!("check has just seen this type"),
        }
    }

    /// Whether the error is an `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.check::<E>().is_some()
    }

    /// Whether the error is one of several types, up to eight.
    ///
    /// ```
    /// # use marline_core::deferred::{Deferred, Interrupt};
    /// # use marline_core::failure::Failure;
    /// # let answer = Deferred::<u16>::failed(std::io::Error::other("no").into());
    /// // What is not expected passes by.
    /// let answer = answer.or_else(|failure| match failure.is_any::<(std::io::Error, Interrupt)>() {
    ///     true => Ok(0),
    ///     false => Err(failure),
    /// });
    /// # assert_eq!(answer.try_take().unwrap().unwrap(), 0);
    /// ```
    pub fn is_any<K: Kinds>(&self) -> bool {
        K::holds(self)
    }

    /// Returns the error if it is an `E`. What caused the error is not looked at: see [`chain`](Self::chain).
    pub fn check<E: Error + 'static>(&self) -> Option<&E> {
        self.error().downcast_ref()
    }

    /// Returns the error.
    #[doc(alias = "value")]
    pub fn error(&self) -> &(dyn Error + 'static) {
        self.0.error()
    }

    /// Returns the error, then what caused it, then what caused that, to the end.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        iter::successors(Some(self.error()), |&error| error.source())
    }

    /// Returns where the failure was made.
    pub fn site(&self) -> &'static Location<'static> {
        self.0.site()
    }

    /// Returns where the links were made that it went through unhandled, the first [`HOPS`] of them.
    pub fn hops(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.0.trail().sites()
    }

    /// Returns the name of the error's type; `dyn Error` if it was not known where the failure was made.
    pub fn type_name(&self) -> &'static str {
        self.0.type_name()
    }

    /// What it was made by knows a better place for it.
    pub(crate) fn set_site(&mut self, site: &'static Location<'static>) {
        self.0.set_site(site);
    }

    pub(crate) fn trail(&self) -> &Trail {
        self.0.trail()
    }

    pub(crate) fn trail_mut(&mut self) -> &mut Trail {
        self.0.trail_mut()
    }
}

impl<E: Error + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self.error(), f);
        }
        let mut before = self.error().to_string();
        f.write_str(&before)?;
        for cause in self.chain().skip(1) {
            let text = cause.to_string();
            // Some errors end with the text of their source.
            if !before.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            before = text;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error())?;
        for cause in self.chain().skip(1) {
            write!(f, "\n  caused by: {cause}")?;
        }
        write!(f, "\n  made at {}", self.site())?;
        if !self.trail().is_empty() {
            write!(f, "\n  went through {}", self.trail())?;
        }
        Ok(())
    }
}

/// How many links are remembered that a failure went through; the rest are counted.
pub const HOPS: usize = 8;

/// The links a failure went through. Nothing is allocated before the first.
#[derive(Default)]
pub(crate) struct Trail(Option<Box<Hops>>);

struct Hops {
    first: [Option<&'static Location<'static>>; HOPS],
    total: usize,
    /// The error is that of a cancel. (It would not tell by itself.)
    cancelled: bool,
}

impl Trail {
    pub(crate) fn push(&mut self, site: &'static Location<'static>) {
        let hops = self.hops();
        if let Some(free) = hops.first.get_mut(hops.total) {
            *free = Some(site);
        }
        hops.total += 1;
    }

    pub(crate) fn mark_cancelled(&mut self) {
        self.hops().cancelled = true;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|hops| hops.cancelled)
    }

    fn hops(&mut self) -> &mut Hops {
        self.0.get_or_insert_with(|| {
            Box::new(Hops { first: [None; HOPS], total: 0, cancelled: false })
        })
    }

    pub(crate) fn sites(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.0.iter().flat_map(|hops| hops.first.iter().flatten().copied())
    }

    pub(crate) fn total(&self) -> usize {
        self.0.as_ref().map_or(0, |hops| hops.total)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, site) in self.sites().enumerate() {
            write!(f, "{}{site}", if index == 0 { "" } else { ", " })?;
        }
        match self.total().saturating_sub(HOPS) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Several types of errors: a tuple of them, for [`Failure::is_any`].
pub trait Kinds: sealed::Sealed {
    #[doc(hidden)]
    fn holds(failure: &Failure) -> bool;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($first:ident $($kind:ident)*) => {
        impl<$first: Error + 'static, $($kind: Error + 'static),*> sealed::Sealed for ($first, $($kind,)*) {}

        impl<$first: Error + 'static, $($kind: Error + 'static),*> Kinds for ($first, $($kind,)*) {
            fn holds(failure: &Failure) -> bool {
                failure.is::<$first>() $(|| failure.is::<$kind>())*
            }
        }

        kinds! { $($kind)* }
    };
    () => {};
}

kinds! { A B C D E F G H }

/// What a [`Failure`] points at, whatever its error's type.
trait Held {
    fn error(&self) -> &(dyn Error + 'static);
    fn site(&self) -> &'static Location<'static>;
    fn set_site(&mut self, site: &'static Location<'static>);
    fn trail(&self) -> &Trail;
    fn trail_mut(&mut self) -> &mut Trail;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    fn type_name(&self) -> &'static str;
}

struct Inner<E> {
    site: &'static Location<'static>,
    trail: Trail,
    error: E,
}

/// An error of a type that was not known where the failure was made. Not an error itself: what is in it is.
struct Boxed(Box<dyn Error>);

/// What can be in a failure.
trait Content: 'static {
    fn as_error(&self) -> &(dyn Error + 'static);
    fn type_name() -> &'static str;
}

impl<E: Error + 'static> Content for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }

    fn type_name() -> &'static str {
        std::any::type_name::<E>()
    }
}

impl Content for Boxed {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &*self.0
    }

    fn type_name() -> &'static str {
        "dyn Error"
    }
}

impl<E: Content> Held for Inner<E> {
    fn error(&self) -> &(dyn Error + 'static) {
        self.error.as_error()
    }

    fn site(&self) -> &'static Location<'static> {
        self.site
    }

    fn set_site(&mut self, site: &'static Location<'static>) {
        self.site = site;
    }

    fn trail(&self) -> &Trail {
        &self.trail
    }

    fn trail_mut(&mut self) -> &mut Trail {
        &mut self.trail
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn type_name(&self) -> &'static str {
        E::type_name()
    }
}

/// The error of a failure that is a text alone.
#[derive(Debug)]
struct Message(Cow<'static, str>);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Message {}

#[cfg(test)]
mod tests {
    use std::io;
    use std::num::ParseIntError;

    use super::*;

    /// An error with a source; `Display` may repeat the source's text.
    #[derive(Debug)]
    struct Outer {
        source: io::Error,
        repeats: bool,
    }

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot listen")?;
            if self.repeats { write!(f, ": {}", self.source) } else { Ok(()) }
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.source)
        }
    }

    fn outer(repeats: bool) -> Failure {
        Failure::new(Outer { source: io::Error::other("in use"), repeats })
    }

    #[test]
    fn check_sees_the_type_it_was_made_of_and_no_other() {
        let failure = Failure::new(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.check::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
        assert!(failure.check::<ParseIntError>().is_none());
    }

    #[test]
    fn check_does_not_look_at_causes_but_the_chain_has_them() {
        let failure = outer(false);
        assert!(failure.check::<io::Error>().is_none());
        assert_eq!(failure.chain().filter(|error| error.is::<io::Error>()).count(), 1);
    }

    #[test]
    fn trap_gives_the_error_or_the_failure_back() {
        let failure = outer(false);
        let site = failure.site();
        let failure = failure.trap::<io::Error>().unwrap_err();
        assert_eq!(failure.site(), site);
        assert_eq!(failure.trap::<Outer>().unwrap().source.to_string(), "in use");
    }

    #[test]
    fn a_boxed_error_is_what_it_was() {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(io::Error::other("in use"));
        let failure = Failure::from_boxed(boxed);
        let line = line!() - 1;
        assert_eq!(failure.site().line(), line);
        assert_eq!(failure.to_string(), "in use");
        assert!(failure.is::<io::Error>() && !failure.is::<ParseIntError>());
        let failure = failure.trap::<ParseIntError>().unwrap_err();
        assert_eq!(failure.trap::<io::Error>().unwrap().to_string(), "in use");
        let text: Box<dyn Error> = "only a text".into();
        assert_eq!(format!("{:#}", Failure::from_boxed(text)), "only a text");
        let failure = Failure::from_boxed(Box::new(Outer {
            source: io::Error::other("in use"),
            repeats: false,
        }));
        assert_eq!(format!("{failure:#}"), "cannot listen: in use");
    }

    #[test]
    fn one_of_several_types_is_seen_and_none_of_others() {
        let failure = outer(false);
        assert!(failure.is_any::<(Outer,)>());
        assert!(failure.is_any::<(io::Error, Outer)>());
        assert!(failure.is_any::<(Outer, io::Error, ParseIntError)>());
        assert!(!failure.is_any::<(io::Error, ParseIntError)>());
    }

    #[test]
    fn plain_display_is_the_error_alone() {
        assert_eq!(outer(false).to_string(), "cannot listen");
        assert_eq!(Failure::msg("no").to_string(), "no");
        assert_eq!(Failure::msg(String::from("nor that")).to_string(), "nor that");
    }

    #[test]
    fn alternate_display_has_the_causes_in_one_line_and_repeats_none() {
        assert_eq!(format!("{:#}", outer(false)), "cannot listen: in use");
        assert_eq!(format!("{:#}", outer(true)), "cannot listen: in use");
    }

    #[test]
    fn debug_has_a_line_for_each_cause_and_for_the_sites() {
        let mut failure = outer(false);
        let line = line!() - 1;
        failure.trail_mut().push(Location::caller());
        let text = format!("{failure:?}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["cannot listen", "  caused by: in use"]);
        assert!(lines[2].starts_with("  made at ") && lines[2].contains("failure.rs"), "{text}");
        assert!(lines[3].contains(&format!("failure.rs:{}:", line + 2)), "{text}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn the_question_mark_remembers_its_line() {
        fn fails() -> Result<(), Failure> {
            Err(io::Error::other("no"))?;
            Ok(())
        }
        let line = line!() - 3;
        assert_eq!(fails().unwrap_err().site().line(), line);
    }

    #[test]
    fn new_and_msg_remember_the_line_of_their_caller() {
        assert_eq!(Failure::msg("no").site().line(), line!());
        assert_eq!(Failure::new(io::Error::other("no")).site().line(), line!());
    }

    #[test]
    fn hops_beyond_those_remembered_are_counted() {
        let mut failure = Failure::msg("no");
        for _ in 0..HOPS + 3 {
            failure.trail_mut().push(Location::caller());
        }
        assert_eq!(failure.hops().count(), HOPS);
        assert!(format!("{failure:?}").ends_with(" and 3 more"));
    }

    #[test]
    fn a_failure_is_two_words() {
        assert_eq!(size_of::<Failure>(), 2 * size_of::<usize>());
        assert_eq!(size_of::<Result<(), Failure>>(), 2 * size_of::<usize>());
    }
}
