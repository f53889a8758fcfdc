//! The only unsafe code of the workspace. One block so far: what runs inside a signal handler.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use signal_hook_registry::SigId;

use crate::wake::Wake;

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
