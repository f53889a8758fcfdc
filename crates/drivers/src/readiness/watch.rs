//! Watching descriptors that belong to somebody else: a duplicate of each is in the selector while something is wanted of it.
//!
//! What a selector refuses (a regular file, a directory, /dev/null) is always ready, and reported so at every wait that finds it wanted: it
//! is put on the list of changes again each time it was reported, and found there when the next wait begins, which then does not block.

use std::os::fd::OwnedFd;

use marline_core::driver::{self, Completion, Handle, OsError};
use rustix::io::Errno;

use super::Readiness;
use super::selector::{Interest, Ready, Selector, token};
use super::table::{Armed, Kind};
use crate::socket::fault;

impl<S: Selector> Readiness<S> {
    pub(super) fn open_watch(
        &mut self,
        descriptor: OwnedFd,
        interest: driver::Interest,
    ) -> Result<Handle, OsError> {
        let want = wanted(interest);
        let watch = self.table.insert(descriptor, Kind::Watch, want);
        let Some(entry) = self.table.get_mut(watch) else { return Err(OsError::STALE) };
        // At once, and also if nothing is wanted yet: what cannot be watched is an error here.
        let told = match entry.fd() {
            Some(fd) => self.selector.add(fd, token(watch), want),
            None => Err(Errno::BADF),
        };
        match told {
            Ok(()) => entry.armed = Armed::with(want),
            Err(Errno::PERM) => entry.kind = Kind::AlwaysReady,
            Err(errno) => {
                self.table.remove(watch);
                return Err(fault(errno));
            }
        }
        self.touch(watch);
        Ok(watch)
    }

    pub(super) fn change_interest(&mut self, watch: Handle, interest: driver::Interest) {
        let Some(entry) = self.table.watch(watch) else { return };
        entry.want = wanted(interest);
        self.touch(watch);
    }

    /// Something can be done with a watched descriptor. The same event comes back for what can be written.
    pub(super) fn watch_ready(&mut self, watch: Handle, ready: Ready) -> Option<Completion> {
        let want = self.table.watch(watch).map_or(Interest::NONE, |entry| entry.want);
        let reads = want.has(Interest::READ);
        if !self.read_done {
            self.read_done = true;
            if reads && ready.readable() {
                return Some(Completion::Readable { watch });
            }
        }
        self.advance();
        // An error or a hang-up is told to the reader, if there is one.
        let writes = ready.has_room() || (!reads && ready.writable());
        (want.has(Interest::WRITE) && writes).then_some(Completion::Writable { watch })
    }

    /// The selector knows nothing of what is always ready: the wait that begins finds it so.
    pub(super) fn report_always_ready(&mut self, watch: Handle, want: Interest) {
        let reports = [
            (Interest::READ, Completion::Readable { watch }),
            (Interest::WRITE, Completion::Writable { watch }),
        ];
        for (interest, report) in reports {
            if want.has(interest) && !self.notices.contains(&report) {
                self.notices.push_back(report);
            }
        }
    }

    /// Whether what was found ready is still wanted; if so it will be found again.
    pub(super) fn is_still_wanted(&mut self, watch: Handle, interest: Interest) -> bool {
        let wanted = self.table.watch(watch).is_some_and(|entry| entry.want.has(interest));
        if wanted {
            self.touch(watch);
        }
        wanted
    }

    /// Takes a descriptor that others may hold, too, out of the selector, which holds on to what it refers to: closing our own would not do, as long
    /// as theirs is open.
    pub(super) fn leave_selector(&mut self, handle: Handle) {
        if let Some(entry) = self.table.get(handle)
            && entry.armed != Armed::NO
            && let Some(fd) = entry.fd()
        {
            // There is nothing to be done about a failure, and no reason for one.
            let _ = self.selector.remove(fd);
        }
    }
}

fn wanted(interest: driver::Interest) -> Interest {
    let read = if interest.read { Interest::READ } else { Interest::NONE };
    let write = if interest.write { Interest::WRITE } else { Interest::NONE };
    read.and(write)
}
