//! Callbacks that hold the loop for too long: what the reactor asks of a driver that has a watchdog, and what is told of a stall. The
//! thread that looks is the driver's; what it looks at is `beat.rs`.

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use super::beat::{Beat, Seen};
use super::incident::Incident;
use super::{Reactor, Remote};
use crate::Addr;
use crate::driver::Handle;
use crate::log::engine as log;

/// How callbacks that hold the loop are watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallOptions {
    /// A callback that runs for longer is a stall. At least a millisecond.
    pub threshold: Duration,
}

/// A tenth of a second.
impl Default for StallOptions {
    fn default() -> Self {
        Self { threshold: Duration::from_millis(100) }
    }
}

impl Reactor {
    /// Watches, from a thread of the driver's, for callbacks that hold the loop. As soon as one has run for longer than the threshold the thread
    /// logs which it is and what the system says of the reactor's thread; when it has ended, [`subscribers`](Self::subscribe) hear
    /// [`Incident::Stalled`] in the next turn, and the log how long it took. Asked again it goes on with the new options.
    ///
    /// To ask a thread that computes where it is, on Linux the thread sends it `SIGURG`, at most once a stall. While somebody watches, the process
    /// has an action for that signal; if it had one before, that stays, no thread is asked, and of one that computes nothing is known. A thread that
    /// sleeps in a system call is not asked. One that is busy in a call, or enters one at that very moment, may see it interrupted: most calls go on by
    /// themselves, `poll`, `nanosleep`, or a `read` from a socket with a time-out end with `EINTR`, and a `write` may have written only a part, as
    /// after any signal.
    ///
    /// The thread sleeps while the reactor waits, and looks four times in a threshold while it does not. Until then, and
    /// without it, a callback costs two relaxed stores.
    ///
    /// # Errors
    ///
    /// `Unsupported` where time is virtual and does not pass in a callback (sim); what the system says if there can be no thread.
    pub fn watch_stalls(&self, options: StallOptions) -> io::Result<()> {
        let inner = self.inner();
        let threshold = options.threshold.max(Duration::from_millis(1));
        let rows = inner.entries();
        let rows = rows.iter().filter_map(super::source::Entry::row);
        inner.beat.watch(true, rows);
        let watch = StallWatch { beat: Arc::clone(&inner.beat), threshold, remote: self.remote() };
        let watched = inner.driver().watch_stalls(Some(watch));
        if watched.is_err() {
            inner.beat.watch(false, []);
        }
        Ok(watched?)
    }

    /// Ends that.
    pub fn unwatch_stalls(&self) {
        // A driver that cannot watch does not.
        let _ = self.inner().driver().watch_stalls(None);
        self.inner().beat.watch(false, []);
    }
}

/// A callback that held the loop.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The type of the protocol or factory whose callback it was, if it was one's.
    pub protocol: Option<&'static str>,
    /// Which: the method's name, or `call`, `timer`, `task`, `job`, `signal`, `trigger`, `factory`, `producer`, `layer`, `with`. Deferreds run
    /// their callbacks inside whatever fires them.
    pub callback: &'static str,
    /// The driver's handle of the connection, if it was a connection's.
    pub handle: Option<Handle>,
    /// The other end of that connection. Not known yet while the callback runs, unless that has ended it.
    pub peer: Option<Addr>,
    /// For a timer: where it was made.
    pub site: Option<&'static Location<'static>>,
    /// How long it took; so far, while it runs. Up to a quarter of the threshold less than the truth.
    pub took: Duration,
    /// What the reactor's thread did when it was found out.
    pub thread: ThreadState,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.callback)?;
        if let Some(protocol) = self.protocol {
            write!(f, " of {protocol}")?;
        }
        if let Some(peer) = &self.peer {
            write!(f, " with {peer}")?;
        }
        if let Some(site) = self.site {
            write!(f, " made at {site}")?;
        }
        write!(f, " held the loop for {:?}", self.took)?;
        write!(f, " ({})", self.thread)
    }
}

impl fmt::Debug for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a system says of a thread, seen from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadState {
    /// The number of the system call that it is in, where the system tells.
    pub system_call: Option<u64>,
    /// The function of the kernel in which it sleeps, where the system tells.
    pub sleeps_in: Option<String>,
    /// Where its own code is, or goes on after that: a file and, after a `+`, the address in it as `addr2line` takes it.
    pub instruction: Option<String>,
    /// By which calls it came there, innermost first, each told by the last byte of the call, written alike: on Linux on x86-64 and 64-bit ARM the innermost 32, elsewhere none. They are what
    /// looks like return addresses on its stack, so among them may be some of calls that have returned.
    pub stack: Vec<String>,
}

impl fmt::Display for ThreadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.sleeps_in, self.system_call) {
            (Some(place), Some(number)) => write!(f, "in system call {number}, {place}")?,
            (Some(place), None) => write!(f, "asleep in {place}")?,
            (None, Some(number)) => write!(f, "in system call {number}")?,
            (None, None) => f.write_str("computing")?,
        }
        if let Some(instruction) = &self.instruction {
            write!(f, ", at {instruction}")?;
        }
        if !self.stack.is_empty() {
            f.write_str(", called from")?;
        }
        // Each file once for all that follow each other, as `addr2line -e` takes them: `/bin/a 0x1 0x2 /lib/b 0x3`.
        let mut before = None;
        for place in &self.stack {
            let split = place.rsplit_once('+');
            match split {
                Some((file, address)) if before == Some(file) => write!(f, " {address}")?,
                Some((file, address)) => write!(f, " {file} {address}")?,
                None => write!(f, " {place}")?,
            }
            before = split.map(|(file, _)| file);
        }
        Ok(())
    }
}

/// What a driver's watchdog looks at, and whom it tells: see [`Driver::watch_stalls`](crate::driver::Driver::watch_stalls).
///
/// It [looks](Self::look) from time to time, and when an answer [goes on](Look::goes_on) for longer than the
/// [threshold](Self::threshold), it says [`stalled`](Self::stalled) at once, and [`ended`](Self::ended) afterwards.
#[derive(Clone)]
pub struct StallWatch {
    beat: Arc<Beat>,
    threshold: Duration,
    remote: Remote,
}

impl StallWatch {
    /// How long a callback may take.
    pub fn threshold(&self) -> Duration {
        self.threshold
    }

    /// What runs now; `None` between callbacks.
    pub fn look(&self) -> Option<Look> {
        let seen = self.beat.see();
        seen.is_busy().then_some(Look(seen))
    }

    /// This callback, seen so long ago for the first time, still runs: counts and logs it.
    pub fn stalled(&self, look: Look, took: Duration, thread: ThreadState) -> Stall {
        let context = self.beat.tell(look.0);
        self.beat.count_stall(context.handle);
        let stall = Stall {
            protocol: context.protocol,
            callback: context.callback,
            handle: context.handle,
            peer: context.peer,
            site: context.site,
            took,
            thread,
        };
        log::stalls(stall.handle, &stall);
        stall
    }

    /// It has ended after so long: has the reactor's own thread tell those who want to know.
    pub fn ended(&self, stall: Stall, took: Duration) {
        self.beat.stall_ended(took);
        self.remote.call(move |reactor| {
            let inner = reactor.inner();
            let mut stall = Stall { took, ..stall };
            if let Some(handle) = stall.handle {
                let peer = inner.stream(handle).map(|transport| transport.peer_addr());
                stall.peer = stall.peer.or(peer).or_else(|| inner.beat.stalled_peer(handle));
            }
            log::stalled(stall.handle, &stall);
            inner.tell_incident(Incident::Stalled(stall));
        });
    }
}

impl fmt::Debug for StallWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallWatch").field("threshold", &self.threshold).finish_non_exhaustive()
    }
}

/// A callback that was seen running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(Seen);

impl Look {
    /// Whether it is the same callback as that one, still running, rather than the same begun anew.
    pub fn goes_on(self, before: Self) -> bool {
        self.0.goes_on(before.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_on_one_line_with_each_file_once_in_a_row() {
        let mut thread = ThreadState::default();
        assert_eq!(thread.to_string(), "computing");
        thread.instruction = Some("/lib/c++.so+0x9".to_owned());
        thread.stack =
            ["/lib/c++.so+0x1", "/lib/c++.so+0x2", "/bin/a+0x3", "unknown", "/bin/a+0x5"]
                .map(str::to_owned)
                .to_vec();
        let told = "computing, at /lib/c++.so+0x9, called from /lib/c++.so 0x1 0x2 /bin/a 0x3 unknown /bin/a 0x5";
        assert_eq!(thread.to_string(), told);
        thread = ThreadState { system_call: Some(35), ..ThreadState::default() };
        thread.sleeps_in = Some("hrtimer_nanosleep".to_owned());
        assert_eq!(thread.to_string(), "in system call 35, hrtimer_nanosleep");
    }
}
