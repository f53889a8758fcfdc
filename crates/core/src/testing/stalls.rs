//! Callbacks that held the loop during a test.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::{Incident, Reactor, Stall, StallOptions, Subscription};

/// Checks when it is dropped, at the end of a test, that no callback has held the loop of a reactor for too long, and fails the test with a
/// list of those that have. For reactors on a kernel: where time is virtual none passes in a callback.
///
/// ```no_run
/// use marline_core::Reactor;
/// use marline_core::testing::Stalls;
/// use std::time::Duration;
///
/// # fn test(reactor: Reactor) -> std::io::Result<()> {
/// let _stalls = Stalls::watch(&reactor, Duration::from_millis(50))?;
/// reactor.call_soon(|_| std::thread::sleep(Duration::from_millis(200))); // the test would fail
/// # Ok(())
/// # }
/// ```
pub struct Stalls {
    reactor: Reactor,
    /// How many there had been before.
    before: u64,
    told: Rc<RefCell<Vec<Stall>>>,
    _subscription: Subscription,
}

impl Stalls {
    /// Watches from now on, until it is dropped. Declare it after the reactor, so that it is dropped before.
    ///
    /// # Errors
    ///
    /// Those of [`Reactor::watch_stalls`].
    pub fn watch(reactor: &Reactor, threshold: Duration) -> io::Result<Self> {
        reactor.watch_stalls(StallOptions { threshold })?;
        let told = Rc::new(RefCell::new(Vec::new()));
        let tell = Rc::clone(&told);
        let subscription = reactor.subscribe(move |_, incident| {
            if let Incident::Stalled(stall) = incident {
                tell.borrow_mut().push(stall.clone());
            }
        });
        let before = reactor.figures().stalls;
        Ok(Self { reactor: reactor.clone(), before, told, _subscription: subscription })
    }

    /// Ends, and answers what it would have failed the test with.
    pub(super) fn into_complaint(mut self) -> Option<String> {
        // First, so that the thread has said all that it has to say.
        self.reactor.unwatch_stalls();
        // And is heard, unless the reactor has stopped: then the count remains.
        let _ = self.reactor.turn(Some(Duration::ZERO));
        let complaint = self.complaint();
        self.before = self.reactor.figures().stalls;
        complaint
    }

    /// What has stalled, a line each; `None` if nothing has.
    fn complaint(&self) -> Option<String> {
        let all = self.reactor.figures().stalls - self.before;
        if all == 0 {
            return None;
        }
        let mut text = format!("{all} callbacks held the loop:");
        let told = self.told.borrow();
        for stall in told.iter() {
            // OK: writing to a string cannot fail.
            let _ = write!(text, "\n  {stall}");
        }
        if (told.len() as u64) < all {
            text.push_str("\n  the last of them shortly before the end: see the log");
        }
        Some(text)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        // First, so that the thread has said all that it has to say.
        self.reactor.unwatch_stalls();
        if std::thread::panicking() {
            return;
        }
        if let Some(complaint) = self.complaint() {
            panic!("{complaint}");
        }
    }
}

impl fmt::Debug for Stalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stalls").field("told", &self.told.borrow()).finish_non_exhaustive()
    }
}
