//! How other threads and signal handlers end a wait: an eventfd that is written once however many call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Ends the wait of one driver. Shared by everything that may do so; outlives the driver if it must.
#[derive(Debug)]
pub(crate) struct Wake {
    event: OwnedFd,
    /// Whether the eventfd has been written since it was last drained.
    called: AtomicBool,
}

impl Wake {
    pub(crate) fn new() -> Result<Self, Errno> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { event, called: AtomicBool::new(false) })
    }

    /// Ends the wait, also one that has not begun. Only an atomic swap and at most one `write(2)`: may be called from a signal handler.
    pub(crate) fn wake(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            // Fails only if the counter is full, and then the wait ends anyway.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }

    /// Makes the next call count again. Whatever was done before the calls up to now is visible after this.
    ///
    /// The eventfd is emptied first: a call in between sees the flag still set and writes nothing, which is right, for its work is
    /// looked at after this. The other way round a call in between would be swallowed and block all later ones.
    pub(crate) fn drain(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
        self.called.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(wake: &Wake) -> Option<u64> {
        let mut count = [0; 8];
        rustix::io::read(&wake.event, &mut count).ok().map(|_| u64::from_ne_bytes(count))
    }

    #[test]
    fn many_calls_write_once() {
        let wake = Wake::new().unwrap();
        for _ in 0..1000 {
            wake.wake();
        }
        assert_eq!(written(&wake), Some(1));
    }

    #[test]
    fn a_call_after_draining_counts_again() {
        let wake = Wake::new().unwrap();
        wake.wake();
        wake.drain();
        assert_eq!(written(&wake), None);
        wake.wake();
        assert_eq!(written(&wake), Some(1));
    }
}
