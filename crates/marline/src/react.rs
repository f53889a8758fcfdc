//! A program of one task, on the driver that it gets unless it chooses one itself.

use std::future::Future;

use marline_core::Reactor;
use marline_core::task::{self, Exit, MainResult};

/// Makes a reactor, as [`reactor()`](crate::reactor) does, and runs `main` on it until that has ended: see [`task::react`](crate::task::react) for what
/// becomes of its result. The reactor is closed when this returns. No driver is a failure.
///
/// ```no_run
/// use std::time::Duration;
/// use marline::failure::Failure;
/// use marline::task::Exit;
///
/// fn main() -> Exit {
///     marline::react(|reactor| async move {
///         reactor.sleep(Duration::from_secs(1)).await?;
///         println!("a second later");
///         Ok::<_, Failure>(())
///     })
/// }
/// ```
pub fn react<F>(main: impl FnOnce(Reactor) -> F + 'static) -> Exit
where
    F: Future<Output: MainResult> + 'static,
{
    match crate::reactor() {
        Ok(reactor) => {
            let exit = task::react(&reactor, main);
            // Tasks that are left may hold it.
            reactor.close_all();
            exit
        }
        Err(error) => Exit::of(Err::<(), _>(error)),
    }
}
