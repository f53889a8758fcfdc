//! Output that is not copied: files, and buffers that are moved. Here is what these checks are written with.

mod behind;
mod buffers;
mod ends;
mod files;
mod layered;
mod mixed;

use std::fs::File;
use std::io::Write;

use marline_core::deferred::Deferred;
use marline_core::transport::{SendFileCause, SendFileError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use crate::streams::kit::{Outcome, pattern};

/// What the sending of a file comes to.
pub(crate) type Sent = Outcome<u64, SendFileError>;

/// A file without a name, of so many bytes in a pattern that begins anew with each file.
pub(crate) fn file(len: usize) -> File {
    let mut file = empty();
    file.write_all(&pattern(len)).unwrap();
    file
}

fn empty() -> File {
    let mode = Mode::RUSR | Mode::WUSR;
    open(std::env::temp_dir(), OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)
        .unwrap()
        .into()
}

/// A file of so many zeros that take no room.
pub(crate) fn sparse(len: u64) -> File {
    let file = empty();
    file.set_len(len).unwrap();
    file
}

pub(crate) fn sent(deferred: Deferred<u64, SendFileError>) -> Sent {
    Outcome::of(deferred)
}

/// Why a file was not sent, in a word or two.
fn word(cause: &SendFileCause) -> String {
    match cause {
        SendFileCause::File(error) => format!("File({:?})", error.kind()),
        SendFileCause::Connection(reason) => format!("Connection({reason})"),
        other => format!("{other:?}"),
    }
}

/// Tells whether somebody still has a file open: it is locked through the very opening that is given away.
struct Lock(File);

impl Lock {
    /// Locks a file that is about to be given away.
    fn on(file: &File) -> Self {
        flock(file, FlockOperation::LockExclusive).unwrap();
        // Another opening of the same file, for which the lock is in the way.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        Self(File::options().read(true).open(path).unwrap())
    }

    fn is_held(&self) -> bool {
        flock(&self.0, FlockOperation::NonBlockingLockShared).is_err()
    }
}
