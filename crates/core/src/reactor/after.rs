//! What is done after the outermost callback and before the next: one queue for the whole reactor, first in first out, always run
//! at stack depth zero.

use super::beat::Callback;
use super::inner::Inner;
use super::source::Entry;
use crate::driver::Handle;
use crate::panic::guard_quietly;
use crate::transport::AnyProtocol;

/// One thing to be done.
#[doc(hidden)]
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "named in a public trait, but not for users"
)]
pub enum After {
    /// A call that had to wait, such as one by `Connection::with`.
    Call(Box<dyn FnOnce()>),
    /// A connection goes on closing.
    Finish(Handle),
    /// A connection's output leaves.
    Flush(Handle),
    /// A connection's output passes its layers.
    Pump(Handle),
    /// A connection's policies are called whose time has come: by their timer ...
    PoliciesDue(Handle),
    /// ... or because somebody has changed one.
    Policies(Handle),
    /// Held bytes are delivered.
    Held(Handle),
    /// The next descriptor that came with bytes is delivered.
    Descriptor(Handle),
    /// Another protocol takes over.
    Upgrade(Handle, Box<dyn AnyProtocol>),
    /// A producer is paused or resumed.
    Producer(Handle, Ask),
    /// The protocol hears that all has left.
    Writable(Handle),
    /// Connections that wait for the reactor's byte budget go on.
    Ease,
    /// A closed handle's owner is told.
    Lost(Entry),
}

/// What a producer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "part of `After`")]
pub enum Ask {
    Pause,
    Resume,
}

impl After {
    fn handle(&self) -> Option<Handle> {
        match self {
            Self::Finish(handle)
            | Self::Flush(handle)
            | Self::Pump(handle)
            | Self::PoliciesDue(handle)
            | Self::Policies(handle)
            | Self::Held(handle)
            | Self::Descriptor(handle)
            | Self::Upgrade(handle, _)
            | Self::Producer(handle, _)
            | Self::Writable(handle) => Some(*handle),
            Self::Call(_) | Self::Ease | Self::Lost(_) => None,
        }
    }
}

impl Inner {
    /// Puts something on the queue.
    pub(crate) fn after(&self, after: After) {
        self.todo.set(self.todo.get() | Self::AFTER);
        self.after.borrow_mut().push_back(after);
    }

    /// Sends what the callback wrote and does what was to be done after it.
    pub(crate) fn settle(&self) {
        self.settle_lent(&[]);
    }

    /// The same after a callback that `lent` was lent to.
    #[inline(always)]
    pub(super) fn settle_lent(&self, lent: &[u8]) {
        match self.todo.get() {
            0 => {}
            // Nearly all there ever is: then nothing is left to look for.
            Self::QUICK => {
                self.todo.set(0);
                if !self.send_quick(lent) {
                    self.settle_all(lent);
                }
            }
            _ => self.settle_all(lent),
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_all(&self, lent: &[u8]) {
        // Whatever comes after this is no longer inside the callback that the bytes were lent to.
        self.flush_lent(lent);
        let settling = self.tasks.settling(true);
        loop {
            self.todo.set(self.todo.get() & Self::TASKS);
            self.flush_cork(&[]);
            let Some(after) = self.after.borrow_mut().pop_front() else {
                if self.todo.get() & !Self::TASKS == 0 && !self.run_ready() {
                    self.tasks.settling(settling);
                    return;
                }
                continue;
            };
            self.todo.set(self.todo.get() | Self::AFTER);
            self.do_after(after);
        }
    }

    fn do_after(&self, after: After) {
        match after {
            After::Call(f) => self.beat.around(Callback::Call, || guard_quietly("with", f)),
            After::Ease => self.ease(),
            After::Lost(entry) => entry.lost(),
            after => {
                // A connection that has ended meanwhile needs nothing more; what was for it is dropped here, outside every borrow.
                if let Some(transport) = after.handle().and_then(|handle| self.stream(handle)) {
                    transport.engine(|stream| stream.after(&transport, after));
                }
            }
        }
    }
}
