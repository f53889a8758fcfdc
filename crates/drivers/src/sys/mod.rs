//! The only unsafe code of the workspace: here what runs inside a signal handler, in `address.rs` the bytes of an address, in `datagram.rs` the
//! system calls for many datagrams, whose addresses `name.rs` writes and reads, in `calls.rs` those that tests can
//! have fail, in `registers` the signal that asks a thread where it is.

mod address;
pub(crate) mod calls;
pub(crate) mod datagram;
mod name;
pub(crate) mod registers;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use signal_hook_registry::SigId;

use crate::wake::Wake;

pub(crate) use address::bytes as address_bytes;

/// Signals that have come in and were not reported yet, one bit each, and whom to wake.
#[derive(Debug)]
pub(crate) struct Raised {
    bits: AtomicU64,
    wake: Arc<Wake>,
}

impl Raised {
    pub(crate) fn new(wake: Arc<Wake>) -> Self {
        Self { bits: AtomicU64::new(0), wake }
    }

    /// Takes what has come in since the last call: bit `number - 1` each.
    pub(crate) fn take(&self) -> u64 {
        self.bits.swap(0, Ordering::AcqRel)
    }

    fn raise(&self, bit: u64) {
        self.bits.fetch_or(bit, Ordering::AcqRel);
        self.wake.wake();
    }
}

/// Has the process's handler of a signal set its bit in `raised`, beside whatever else it does.
///
/// # Errors
///
/// `InvalidInput` for a number that is no signal or that nobody may catch; else what `sigaction(2)` says.
pub(crate) fn on_signal(number: i32, raised: Arc<Raised>) -> io::Result<SigId> {
    // The registry panics on what it forbids.
    if !(1..=64).contains(&number) || signal_hook_registry::FORBIDDEN.contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bit = 1_u64 << (number - 1);
    // SAFETY: the action runs inside a signal handler and must do only what is async-signal-safe. `Raised::raise` does two atomic
    // operations and at most one write(2) to a descriptor that the captured `Arc` keeps open; it neither allocates, locks nor panics.
    // The registry drops the `Arc` outside of handlers, when the action is unregistered.
    unsafe { signal_hook_registry::register(number, move || raised.raise(bit)) }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// A signal that does nothing unless somebody watches it.
    const WINCH: i32 = 28;

    #[test]
    fn a_signal_sets_its_bit_for_everybody_who_watches_until_they_stop() {
        let raised: Vec<_> =
            (0..2).map(|_| Arc::new(Raised::new(Arc::new(Wake::new().unwrap())))).collect();
        let ids: Vec<_> =
            raised.iter().map(|raised| on_signal(WINCH, Arc::clone(raised)).unwrap()).collect();
        // A signal of one's own is handled before kill(2) returns, by this thread or another: then it comes a moment later.
        kill_process(getpid(), Signal::WINCH).unwrap();
        for raised in &raised {
            while raised.bits.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(raised.take(), 1 << (WINCH - 1));
            assert_eq!(raised.take(), 0);
        }
        for id in ids {
            assert!(signal_hook_registry::unregister(id));
        }
        assert!(raised.iter().all(|raised| Arc::strong_count(raised) == 1));
    }

    #[test]
    fn what_nobody_may_catch_is_refused() {
        for number in [-1, 0, 9, 11, 19, 65] {
            let raised = Arc::new(Raised::new(Arc::new(Wake::new().unwrap())));
            let error = on_signal(number, raised).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
        }
    }
}
