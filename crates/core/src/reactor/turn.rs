//! One turn of the loop, as ARCHITECTURE.md describes it: calls, timers, a pending stop, the wait, completions, what is left to flush.

use std::time::Duration;

use super::beat::Callback;
use super::current::Entered;
use super::inner::Inner;
use super::lifecycle::{Event, Stage};
use super::source::Entry;
use super::{Reactor, Turn};
use crate::driver::{Completion, Handle, Woken};
use crate::panic::guard_quietly;
use crate::{RunError, Time};

impl Reactor {
    /// Runs until [`stop`](Self::stop) or [`crash`](Self::crash): [`start`](Self::start) and then turn after turn. May be called again afterwards.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`] if it runs, [`RunError::Nested`] from inside a callback if it does not, [`RunError::Driver`] if the driver can
    /// no longer wait, or the reactor is gone: its last handle had been dropped before a transport gave this one.
    pub fn run(&self) -> Result<(), RunError> {
        if self.0.lifecycle.stage() == Stage::Idle && self.0.is_inside() {
            return Err(RunError::Nested);
        }
        self.start()?;
        self.turns(None, |turn| turn == Turn::Continue).map(drop)
    }

    /// Starts the reactor for somebody who turns it: fires *startup*. With [`turn`](Self::turn), `descriptor` and
    /// [`next_wakeup`](Self::next_wakeup) a foreign loop can run a reactor inside itself.
    ///
    /// # Errors
    ///
    /// [`RunError::AlreadyRunning`], or [`RunError::Driver`] if it is gone (see [`run`](Self::run)).
    pub fn start(&self) -> Result<(), RunError> {
        self.0.check_not_gone().map_err(RunError::Driver)?;
        if !self.0.lifecycle.begin() {
            return Err(RunError::AlreadyRunning);
        }
        self.fire_event(Event::Startup);
        Ok(())
    }

    /// One turn: waits at most `timeout` (`None`: until something happens), and not at all if there is work. See the page "one turn of the loop" in
    /// ARCHITECTURE.md for the order.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] from inside a callback of the same reactor, [`RunError::Driver`] if the driver cannot wait; then the reactor has crashed.
    #[doc(alias = "iterate")]
    pub fn turn(&self, timeout: Option<Duration>) -> Result<Turn, RunError> {
        self.turns(timeout, |_| false)
    }

    /// Turn after turn, as long as `again` says so.
    fn turns(
        &self,
        timeout: Option<Duration>,
        again: impl Fn(Turn) -> bool,
    ) -> Result<Turn, RunError> {
        let inner = &self.0;
        if inner.is_inside() {
            return Err(RunError::Nested);
        }
        inner.check_not_gone().map_err(RunError::Driver)?;
        let _entered = Entered::new(inner);
        inner.in_turn.set(true);
        // Whoever turns the reactor may have let any time pass.
        inner.wakeup.look();
        let mut scratch = inner.scratch.take();
        let result = loop {
            match self.turn_with(timeout, &mut scratch) {
                Ok(turn) if again(turn) => {}
                result => break result,
            }
        };
        inner.scratch.set(scratch);
        inner.in_turn.set(false);
        inner.forget_now();
        inner.lend(&[]);
        if result.is_err() {
            inner.lifecycle.set(Stage::Idle);
        }
        result
    }

    /// The moment at which a turn has something to do even if nothing is reported: the earliest deadline, or the start of time if work waits
    /// already; `None` if there is neither.
    pub fn next_wakeup(&self) -> Option<Time> {
        if self.0.is_busy() {
            return Some(Time::ZERO);
        }
        match (self.0.next_deadline(), self.0.driver().deadline()) {
            (Some(work), Some(errand)) => Some(work.min(errand)),
            (work, errand) => work.or(errand),
        }
    }

    fn turn_with(&self, timeout: Option<Duration>, scratch: &mut [u8]) -> Result<Turn, RunError> {
        let inner = &self.0;
        let mut wakeup = inner.wakeup.earliest();
        if inner.is_busy() || inner.wakeup.is_to_look() {
            if let Some(turn) = self.begin_turn() {
                return Ok(turn);
            }
            wakeup = if inner.is_busy() { Some(Time::ZERO) } else { inner.wakeup.earliest() };
        }
        let until = self.wait_until(timeout, wakeup);
        let woken = inner.driver().wait(until);
        inner.forget_now();
        if woken.map_err(RunError::Driver)? == Woken::Perhaps {
            inner.wakeup.look();
        }

        loop {
            let completion = inner.driver().next(scratch);
            match completion {
                Some(Completion::Received { conn, len }) => {
                    if let Some(bytes) = scratch.get(..len) {
                        self.received(conn, bytes);
                    }
                }
                Some(completion) => self.dispatch(completion, scratch),
                None => break,
            }
        }
        if inner.is_busy() { Ok(self.end_turn()) } else { Ok(Turn::Continue) }
    }

    /// What comes before the wait; whether the loop is over.
    #[inline(never)]
    fn begin_turn(&self) -> Option<Turn> {
        let inner = &self.0;
        if inner.is_busy() {
            self.take_in();
            inner.settle();
            self.run_calls();
        }
        self.run_timers();
        self.stop_if_asked()
    }

    /// What comes after the completions.
    #[inline(never)]
    fn end_turn(&self) -> Turn {
        let inner = &self.0;
        inner.flush_dirty();
        if inner.is_busy() {
            inner.settle();
        }
        self.stop_if_asked().unwrap_or(Turn::Continue)
    }

    /// Whether the loop has ended.
    fn over(&self) -> Option<Turn> {
        let lifecycle = &self.0.lifecycle;
        if !matches!(lifecycle.stage(), Stage::Ended | Stage::Crashed) {
            return None;
        }
        // What the last callbacks wrote still leaves, as far as the system takes it at once.
        self.0.flush_dirty();
        self.0.settle();
        self.0.remove_signals();
        self.0.unset_waiting(Inner::ENDING);
        lifecycle.set(Stage::Idle);
        Some(Turn::Stopped)
    }

    /// Begins to stop if somebody has asked for it, and tells if the loop is over.
    #[inline]
    fn stop_if_asked(&self) -> Option<Turn> {
        if self.0.is_waiting(Inner::ENDING) { self.end() } else { None }
    }

    #[cold]
    fn end(&self) -> Option<Turn> {
        let lifecycle = &self.0.lifecycle;
        self.0.unset_waiting(Inner::ENDING);
        if lifecycle.take_stop_request() && lifecycle.stage() != Stage::Crashed {
            // A reactor that is still starting has its startup cut short.
            lifecycle.end_firing(Event::Startup);
            lifecycle.set(Stage::Stopping);
            self.fire(Event::Shutdown);
            self.0.settle();
        }
        self.over()
    }

    /// Until when a turn waits that is to wait `timeout` at most and has work at `wakeup`.
    #[inline]
    fn wait_until(&self, timeout: Option<Duration>, wakeup: Option<Time>) -> Option<Time> {
        if timeout == Some(Duration::ZERO) {
            return Some(Time::ZERO);
        }
        let limit = timeout.map(|timeout| self.now() + timeout);
        match (wakeup, limit) {
            (Some(wakeup), Some(limit)) => Some(wakeup.min(limit)),
            (wakeup, limit) => wakeup.or(limit),
        }
    }

    /// What other threads have brought, and the tasks that were put off.
    fn take_in(&self) {
        let inner = &self.0;
        inner.take_later();
        if inner.shared.is_pending() {
            // Says that there is nothing more before it looks.
            let remote = inner.shared.take();
            let calls = remote.into_iter().map(|call| -> super::Call { call });
            inner.calls.borrow_mut().extend(calls);
            inner.take_woken();
        }
    }

    /// Calls of this thread and of others, those present when the turn began.
    fn run_calls(&self) {
        let inner = &self.0;
        let present = inner.calls.borrow().len();
        inner.unset_waiting(Inner::CALLS);
        for _ in 0..present {
            let Some(call) = inner.calls.borrow_mut().pop_front() else { break };
            inner.beat.around(Callback::Call, || guard_quietly("call", || call(self)));
            inner.settle();
        }
        debug_assert!(inner.calls.borrow().is_empty() || inner.is_waiting(Inner::CALLS));
    }

    /// Timers that are due; those set meanwhile wait for the next turn.
    fn run_timers(&self) {
        let inner = &self.0;
        if !inner.wakeup.is_to_look() {
            return;
        }
        if inner.timers.borrow().is_empty() {
            return inner.wakeup.looked(None);
        }
        let now = self.now();
        let mark = inner.timers.borrow().mark();
        loop {
            let Some((_, timer)) = inner.timers.borrow_mut().pop_due(now.as_nanos(), mark) else {
                break;
            };
            inner.site.set(Some(timer.site));
            inner.beat.note_site(Some(timer.site));
            let call = || crate::panic::guard(|| (timer.call)(self));
            if let Err(message) = inner.beat.around(Callback::Timer, call) {
                crate::log::engine::timer_panicked(timer.site, &message);
            }
            inner.settle();
        }
        inner.note_wakeup(now);
    }

    /// Bytes for a connection: the way that all traffic takes.
    #[inline(always)]
    fn received(&self, conn: Handle, bytes: &[u8]) {
        let inner = &self.0;
        let Some(transport) = inner.reported_stream(conn) else { return };
        inner.lend(bytes);
        inner.beat.begin_data(conn);
        transport.raw().__deliver(&transport, bytes);
        inner.beat.end_data();
        inner.settle_lent(bytes);
    }

    #[inline(never)]
    fn dispatch(&self, completion: Completion, scratch: &[u8]) {
        let inner = &self.0;
        match completion {
            Completion::Received { .. } => {}
            Completion::Lent { conn, chunk, len } => {
                let buffer = inner.driver().take_chunk(chunk);
                self.received(conn, buffer.get(..len).unwrap_or_default());
                inner.lend(&[]);
                inner.driver().give_back(chunk, buffer);
            }
            Completion::Answered { id } => inner.answered(id),
            Completion::Signal { number } => inner.signalled(number),
            Completion::Accepted { port, .. } | Completion::AcceptFailed { port, .. } => {
                self.complete(port, completion);
            }
            Completion::Connected { conn }
            | Completion::ReadClosed { conn }
            | Completion::Sent { conn, .. }
            | Completion::FileFailed { conn, .. } => self.complete(conn, completion),
            Completion::Failed { handle, .. } => self.complete(handle, completion),
            Completion::ReceivedWith { conn, len, .. } => {
                self.complete(conn, completion);
                inner.settle();
                // What came along may have ended the connection, and its place be used again.
                if inner.stream(conn).is_some() {
                    self.received(conn, scratch.get(..len).unwrap_or_default());
                    inner.lend(&[]);
                }
            }
            // `complete` would clone the owner twice, and there may be a million of these a second.
            Completion::Datagrams { socket, .. } => {
                if let Entry::Other(source) = inner.reported(socket) {
                    source.completed(completion);
                }
            }
            Completion::DatagramFailed { socket, .. } => self.complete(socket, completion),
            Completion::Readable { watch } | Completion::Writable { watch } => {
                self.complete(watch, completion);
            }
            Completion::Exited { process, .. } => self.complete(process, completion),
        }
        inner.settle();
    }

    fn complete(&self, handle: Handle, completion: Completion) {
        self.0.reported(handle).completed(completion);
    }
}
