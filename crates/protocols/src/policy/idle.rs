//! Ends connections that are silent too long, or stand too long.

use std::any::Any;
use std::time::Duration;

use marline_core::policy::{Policy, PolicyIo, Watch};
use marline_core::{CloseReason, Time};

/// Ends a connection on which nothing moves, in either direction, for too long; the protocol hears [`CloseReason::TimedOut`].
///
/// At first it closes as `lose_connection` does: what was written is delivered. From then on, and whenever the connection begins to close
/// for another reason, the *close time-out* holds: a connection that makes no progress for so long is reset. Without it two ends
/// with full buffers that both close would wait for each other forever.
///
/// Bytes stay on the engine's short way, and nothing is set anew for them: the engine notes the time, and the policy looks at it when its
/// deadline comes.
#[derive(Clone, Debug)]
#[doc(alias = "TimeoutProtocol")]
#[doc(alias = "TimeoutFactory")]
pub struct IdleTimeout {
    limit: Option<Duration>,
    close_limit: Duration,
    aborts: bool,
    /// When it began to count: it was put in place, or the connection began to close.
    since: Time,
}

impl IdleTimeout {
    /// Half an hour, Twisted's default, of the limit.
    pub const DEFAULT: Duration = Duration::from_secs(30 * 60);
    /// One minute, of the close time-out.
    pub const DEFAULT_CLOSE: Duration = Duration::from_secs(60);

    /// Closes after so much silence. A limit of zero closes in the next turn.
    pub fn new(limit: Duration) -> Self {
        let limit = Some(limit);
        Self { limit, close_limit: Self::DEFAULT_CLOSE, aborts: false, since: Time::ZERO }
    }

    /// Bounds how long a close may go without progress.
    pub fn with_close_limit(mut self, limit: Duration) -> Self {
        self.close_limit = limit;
        self
    }

    /// Resets a silent connection at once, instead of closing it first.
    pub fn aborting(mut self) -> Self {
        self.aborts = true;
        self
    }

    /// Changes the limit from inside [`Transport::with_policy`](marline_core::Transport::with_policy), counted from when bytes last
    /// moved; `None` waits forever. Returns the one before.
    pub fn set_limit(&mut self, limit: Option<Duration>) -> Option<Duration> {
        std::mem::replace(&mut self.limit, limit)
    }
}

/// [`IdleTimeout::DEFAULT`], and [`IdleTimeout::DEFAULT_CLOSE`] for the close.
impl Default for IdleTimeout {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl Policy for IdleTimeout {
    fn name(&self) -> &'static str {
        "idle time-out"
    }

    fn watches(&self) -> Watch {
        Watch::ACTIVITY
    }

    fn attached(&mut self, io: &mut PolicyIo<'_>) {
        self.since = io.now();
        self.due(io);
    }

    fn due(&mut self, io: &mut PolicyIo<'_>) {
        let closing = io.is_closing();
        let Some(limit) = (if closing { Some(self.close_limit) } else { self.limit }) else {
            return io.set_deadline(None);
        };
        let end = io.active().max(self.since) + limit;
        if io.now() < end {
            io.set_deadline(Some(end));
        } else if closing || self.aborts {
            io.abort(CloseReason::TimedOut);
        } else {
            io.close(CloseReason::TimedOut);
        }
    }

    fn closing(&mut self, io: &mut PolicyIo<'_>) {
        self.since = io.now();
        self.due(io);
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Ends a connection that stands too long, however busy it is; the protocol hears [`CloseReason::TimedOut`]. Against peers that keep a
/// connection alive with a byte now and then.
#[derive(Clone, Debug)]
pub struct Deadline {
    span: Duration,
    grace: Duration,
    since: Time,
}

impl Deadline {
    /// Resets the connection so long after the policy was put in place.
    pub fn after(span: Duration) -> Self {
        Self { span, grace: Duration::ZERO, since: Time::ZERO }
    }

    /// Closes first, as `lose_connection` does, and resets so much later if the connection still stands.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Changes how long the connection may stand, counted from when the policy was put in place.
    pub fn set_span(&mut self, span: Duration) {
        self.span = span;
    }
}

impl Policy for Deadline {
    fn name(&self) -> &'static str {
        "deadline"
    }

    fn attached(&mut self, io: &mut PolicyIo<'_>) {
        self.since = io.now();
        io.set_deadline(Some(self.since + self.span));
    }

    fn due(&mut self, io: &mut PolicyIo<'_>) {
        let (now, end) = (io.now(), self.since + self.span);
        if now < end {
            io.set_deadline(Some(end));
        } else if now < end + self.grace {
            io.close(CloseReason::TimedOut);
            io.set_deadline(Some(end + self.grace));
        } else {
            io.abort(CloseReason::TimedOut);
        }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}
