//! Signals of the process, as one driver watches them. What runs inside the handler lives in `sys`.

use std::sync::Arc;

use marline_core::driver::OsError;
use signal_hook_registry::{SigId, unregister};

use crate::sys::{Raised, on_signal};
use crate::wake::Wake;

/// The signals that one driver watches. Any number of drivers may watch the same one.
///
/// When the last of them stops, the process's handler stays installed and does nothing more: the signal is then ignored; what it did
/// before it was first watched (ending the process, say) does not come back. `signal-hook-registry` works so, because a handler
/// cannot be taken out safely while another library may have put its own in front.
#[derive(Debug)]
pub(crate) struct Signals {
    raised: Arc<Raised>,
    watched: Vec<(i32, SigId)>,
    /// Taken from `raised`, not reported yet.
    waiting: u64,
}

impl Signals {
    pub(crate) fn new(wake: Arc<Wake>) -> Self {
        Self { raised: Arc::new(Raised::new(wake)), watched: Vec::new(), waiting: 0 }
    }

    /// Starts or stops watching; both once too often is no harm.
    pub(crate) fn watch(&mut self, number: i32, on: bool) -> Result<(), OsError> {
        let at = self.watched.iter().position(|&(watched, _)| watched == number);
        match (at, on) {
            (None, true) => {
                let id = on_signal(number, Arc::clone(&self.raised))?;
                self.watched.push((number, id));
            }
            (Some(at), false) => {
                unregister(self.watched.swap_remove(at).1);
                // What came in before is not reported any more.
                self.collect();
                self.waiting &= !bit(number);
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks what has come in.
    pub(crate) fn collect(&mut self) {
        self.waiting |= self.raised.take();
    }

    /// The next one to be reported, lowest number first.
    pub(crate) fn next(&mut self) -> Option<i32> {
        if self.waiting == 0 {
            return None;
        }
        let number = self.waiting.trailing_zeros() as i32 + 1;
        self.waiting &= self.waiting - 1;
        Some(number)
    }

    pub(crate) fn any(&self) -> bool {
        self.waiting != 0
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, id) in self.watched.drain(..) {
            unregister(id);
        }
    }
}

const fn bit(number: i32) -> u64 {
    1 << (number - 1)
}
