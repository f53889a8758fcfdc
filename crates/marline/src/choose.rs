//! The reactor a program gets unless it chooses a driver itself.

use marline_core::Reactor;

/// No driver could be opened.
pub use marline_drivers::OpenError as Error;

/// A reactor on the best driver of this system. The environment variable `MARLINE_DRIVER` names another (not in a set-uid program); the log
/// says in one line which driver it is and why.
///
/// # Errors
///
/// When no driver works here, or the one that was named does not: an override is never fallen back from.
pub fn reactor() -> Result<Reactor, Error> {
    let opened = marline_drivers::open_from_environment()?;
    tracing::info!(target: "marline", "{}", opened.report);
    Ok(Reactor::from_boxed(opened.driver))
}
