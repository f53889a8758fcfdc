//! [`react`]: a program that is one task. It ends with the task, and its exit status is the task's result.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::process::{ExitCode, Termination};
use std::rc::Rc;

use crate::deferred::CancelHandle;
use crate::failure::Failure;
use crate::{Event, Phase, Reactor};

/// Runs a reactor until `main` has ended, and says what the exit status of the program is: [`Exit::SUCCESS`] when it succeeds, its own if it ends with
/// an [`Exit`], and [`Exit::FAILURE`] when it fails or panics. The failure is logged then, and told on standard error if nobody listens to the log.
///
/// `main` is called when the reactor runs; what it returns may be a future or a [`Deferred`](crate::deferred::Deferred). When it has ended, the reactor
/// stops, as by [`Reactor::stop`]. A stop from elsewhere (a signal, another callback) is a success: then `main` is dropped when the reactor has stopped,
/// if it has not ended before, and a failure that it comes to while everything is being closed does not count; an [`Exit`] does.
///
/// A reactor that cannot be run, because it does already, is a failure; `main` is not called.
///
/// ```
/// use std::time::Duration;
/// use marline_core::task::{Exit, react};
/// use marline_core::{Reactor, sim::SimDriver};
///
/// let reactor = Reactor::new(SimDriver::alone(1));
/// let exit = react(&reactor, |reactor| async move {
///     reactor.sleep(Duration::from_secs(3600)).await?;
///     if reactor.now().as_nanos() > 0 {
///         return Err(Exit(75).into()); // or Ok(())
///     }
///     Ok::<_, marline_core::failure::Failure>(())
/// });
/// assert_eq!(exit, Exit(75));
/// ```
pub fn react<F>(reactor: &Reactor, main: impl FnOnce(Reactor) -> F + 'static) -> Exit
where
    F: Future<Output: MainResult> + 'static,
{
    let course = Rc::new(Course::default());
    let stopping = Rc::clone(&course);
    let on_stop = reactor.add_trigger(Phase::Before, Event::Shutdown, move |_| {
        stopping.is_stopping.set(true);
    });
    let begun = Rc::clone(&course);
    let on_start = reactor.add_trigger(Phase::After, Event::Startup, move |reactor| {
        let inner = Rc::downgrade(reactor.inner());
        let handle = reactor.clone();
        // Called as a part of the task, where a panic is its failure.
        let task = reactor.spawn(async move { main(handle).await.into_exit() });
        begun.main.set(task.cancel_handle());
        task.done(move |result| {
            begun.ended(result.and_then(|exit| exit));
            if let Some(inner) = inner.upgrade() {
                // It may be stopping already.
                let _ = Reactor::from_inner(&inner).stop();
            }
        });
    });
    let run = reactor.run();
    // What has not run is not left behind for the next run; what has is unknown.
    let _ = reactor.remove_trigger(on_start);
    let _ = reactor.remove_trigger(on_stop);
    course.is_stopping.set(true);
    course.main.take().cancel();
    match run {
        Ok(()) => course.exit.get(),
        Err(error) => Exit::of(Err::<(), _>(error)),
    }
}

/// The exit status of a program: 0 is success. A `main` that [`react`] runs may end with one, or fail with one; the `main` of a program may return
/// one.
///
/// ```
/// use marline_core::failure::Failure;
/// use marline_core::task::Exit;
///
/// fn check(found: bool) -> Result<(), Failure> {
///     if found { Ok(()) } else { Err(Exit(2).into()) }
/// }
///
/// assert_eq!(check(false).unwrap_err().check::<Exit>(), Some(&Exit(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "SystemExit")]
#[must_use = "the status is for the program's main to return"]
pub struct Exit(pub u8);

impl Exit {
    /// Nothing went wrong.
    pub const SUCCESS: Self = Self(0);
    /// Something did.
    pub const FAILURE: Self = Self(1);

    /// What a result means as the status of a program. A failure is logged, and told on standard error if nobody listens to the log.
    pub fn of(result: impl MainResult) -> Self {
        result.into_exit().unwrap_or_else(|failure| {
            crate::log::failure(&failure, "the main task failed");
            if !tracing::enabled!(target: "marline", tracing::Level::ERROR) {
                eprintln!("{failure:#}");
            }
            Self::FAILURE
        })
    }
}

impl Default for Exit {
    fn default() -> Self {
        Self::SUCCESS
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl Error for Exit {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.0.into()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// What the task of [`react`] may end with: nothing, an [`Exit`], or a `Result` of either. An error that is an [`Exit`] in a
/// [`Failure`] is no failure but that exit status.
pub trait MainResult: 'static {
    /// The exit status.
    ///
    /// # Errors
    ///
    /// What went wrong.
    fn into_exit(self) -> Result<Exit, Failure>;
}

impl MainResult for () {
    fn into_exit(self) -> Result<Exit, Failure> {
        Ok(Exit::SUCCESS)
    }
}

impl MainResult for Exit {
    fn into_exit(self) -> Result<Exit, Failure> {
        Ok(self)
    }
}

impl<T: MainResult, E: Into<Failure> + 'static> MainResult for Result<T, E> {
    fn into_exit(self) -> Result<Exit, Failure> {
        match self {
            Ok(value) => value.into_exit(),
            Err(error) => error.into().trap::<Exit>(),
        }
    }
}

/// How the program goes.
#[derive(Default)]
struct Course {
    is_stopping: Cell<bool>,
    main: Cell<CancelHandle>,
    exit: Cell<Exit>,
}

impl Course {
    fn ended(&self, result: Result<Exit, Failure>) {
        if result.is_ok() || !self.is_stopping.get() {
            self.exit.set(Exit::of(result));
        }
    }
}
