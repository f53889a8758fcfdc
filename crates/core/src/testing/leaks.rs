//! What a test has left open: connections, ports, attempts and timers of a reactor, and descriptors of the process.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;

use crate::{Open, Reactor};

/// Checks when it is dropped, at the end of a test, that a reactor holds nothing open any more, and fails the test with a list of what it
/// does, each with the place that made it.
///
/// ```
/// use marline_core::testing::{Leaks, TestReactor};
/// use std::time::Duration;
///
/// let reactor = TestReactor::new();
/// let _leaks = Leaks::watch(&reactor);
/// let timer = reactor.call_later(Duration::from_secs(60), |_| {});
/// // ... the test ...
/// timer.cancel()?; // without this the test would fail
/// # Ok::<(), marline_core::NotPending>(())
/// ```
#[doc(alias = "Janitor")]
#[doc(alias = "DirtyReactorAggregateError")]
pub struct Leaks {
    reactor: Reactor,
    /// The descriptors there were at the start, if they are to be compared.
    descriptors: Option<BTreeMap<u32, String>>,
}

impl Leaks {
    /// Checks when it is dropped. Declare it after the reactor, so that it is dropped before.
    #[must_use]
    pub fn watch(reactor: &Reactor) -> Self {
        Self { reactor: reactor.clone(), descriptors: None }
    }

    /// Compares the descriptors of the process as well, with those that are open now. They are shared by all tests of a process: only for a test that
    /// runs alone. Where there is no `/proc/self/fd` nothing is compared.
    #[must_use]
    pub fn and_descriptors(mut self) -> Self {
        self.descriptors = open_descriptors();
        self
    }

    /// Checks now.
    ///
    /// # Panics
    ///
    /// If a reactor holds something open.
    #[track_caller]
    pub fn check(reactor: &Reactor) {
        if let Some(complaint) = Self::complaint_about(reactor, |_| true) {
            panic!("{complaint}");
        }
    }

    /// What a reactor has open of what is asked for, a line each; `None` if nothing is.
    pub(super) fn complaint_about(
        reactor: &Reactor,
        wanted: impl FnMut(&Open) -> bool,
    ) -> Option<String> {
        let mut open = reactor.open();
        open.retain(wanted);
        list(open.iter().map(ToString::to_string).collect())
    }

    /// What is open, a line each; `None` if nothing is.
    fn complaint(&self) -> Option<String> {
        let mut left: Vec<String> = self.reactor.open().iter().map(ToString::to_string).collect();
        if let (Some(before), Some(now)) = (&self.descriptors, self.descriptors_now()) {
            let new = now.into_iter().filter(|(number, what)| before.get(number) != Some(what));
            left.extend(new.map(|(number, what)| format!("descriptor {number}, {what}")));
        }
        list(left)
    }

    fn descriptors_now(&self) -> Option<BTreeMap<u32, String>> {
        self.descriptors.as_ref().and_then(|_| open_descriptors())
    }
}

impl Drop for Leaks {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Some(complaint) = self.complaint() {
            panic!("{complaint}");
        }
    }
}

impl fmt::Debug for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaks").field("open", &self.reactor.open()).finish_non_exhaustive()
    }
}

fn list(left: Vec<String>) -> Option<String> {
    if left.is_empty() {
        return None;
    }
    let mut text = format!("{} left open:", left.len());
    for line in left {
        // OK: writing to a string cannot fail.
        let _ = write!(text, "\n  {line}");
    }
    Some(text)
}

/// The descriptors of this process and what they stand for, such as `socket:[1234]`; `None` where the system does not tell.
fn open_descriptors() -> Option<BTreeMap<u32, String>> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    let mut open = BTreeMap::new();
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // The descriptor of the listing itself is closed, or gone, when its link is read below.
        if let Some(number) = number {
            open.insert(number, entry.path());
        }
    }
    let read = |(number, path)| Some((number, fs::read_link(path).ok()?.display().to_string()));
    Some(open.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{MemoryTransport, Pump};
    use crate::{Protocol, Transport};

    struct Idle;

    impl Protocol for Idle {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    }

    #[test]
    #[should_panic(expected = "Idle with 192.0.2.2:50000, made at ")]
    fn a_connection_left_open_fails_the_test_with_its_creation_site() {
        let peer = MemoryTransport::connect(Idle);
        let _leaks = Leaks::watch(peer.reactor());
    }

    #[test]
    fn each_thing_left_open_is_a_line_with_its_site() {
        let pump = Pump::new(Idle, Idle);
        let reactor = pump.client().reactor();
        let timer = reactor.call_later(Duration::from_secs(9), |_| {});
        let leaks = Leaks::watch(reactor);
        let complaint = leaks.complaint().unwrap();
        assert!(complaint.starts_with("3 left open:\n  connection "), "{complaint}");
        assert_eq!(complaint.matches(file!()).count(), 3, "{complaint}");
        timer.cancel().unwrap();
        pump.client().transport().abort_connection();
        pump.server().transport().abort_connection();
        Leaks::check(reactor);
    }

    #[test]
    #[should_panic(expected = "1 left open:\n  timer due at 1009.000000000s, made at ")]
    fn a_check_in_the_middle_fails_at_once() {
        let peer = MemoryTransport::connect(Idle);
        peer.reactor().call_later(Duration::from_secs(9), |_| {});
        peer.transport().lose_connection();
        peer.settle();
        Leaks::check(peer.reactor());
    }

    #[test]
    #[should_panic(expected = "the first panic")]
    fn a_test_that_fails_already_is_left_alone() {
        let peer = MemoryTransport::connect(Idle);
        let _leaks = Leaks::watch(peer.reactor());
        panic!("the first panic");
    }

    /// Other tests open and close descriptors meanwhile: only the one opened here is looked for.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_descriptor_left_open_is_found() {
        use std::os::fd::AsRawFd;
        let peer = MemoryTransport::connect(Idle);
        peer.transport().abort_connection();
        let mut leaks = Leaks::watch(peer.reactor()).and_descriptors();
        let file = fs::File::open("/proc/self/status").unwrap();
        let line = format!("descriptor {}, /proc/", file.as_raw_fd());
        assert!(leaks.complaint().unwrap().contains(&line));
        drop(file);
        leaks.descriptors = None;
    }
}
