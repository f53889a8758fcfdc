//! How a timer says that it fired: a count of the thread's own, so that the closures capture nothing more than a word.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static SUM: Cell<u64> = const { Cell::new(0) };
}

/// Counts one that had nothing to remember.
pub(crate) fn count() {
    COUNT.set(COUNT.get() + 1);
}

/// Counts one that remembers a word.
pub(crate) fn count_with(word: u64) {
    COUNT.set(COUNT.get() + 1);
    SUM.set(SUM.get().wrapping_add(word));
}

/// How many have fired since the last `reset`.
pub(crate) fn total() -> usize {
    std::hint::black_box(SUM.get());
    COUNT.get()
}

/// Begins anew.
pub(crate) fn reset() {
    COUNT.set(0);
}
