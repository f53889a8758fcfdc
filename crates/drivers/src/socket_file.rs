//! The file of a UNIX socket that is bound to a path: its mode, its lock, what a crash left behind, and its removal.
//!
//! A program that is killed leaves its socket file and its lock file behind. The kernel has let go of the lock, so the next start takes it,
//! removes the dead socket and binds anew.

use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use marline_core::driver::{OsError, SocketFile};
use rustix::fs::{
    CWD, FileType, FlockOperation, Mode, OFlags, Stat, chmod, fchmod, flock, fstat, lstat, openat,
    unlink,
};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketType, bind, connect};

use crate::socket::fault;
use crate::unix::{is_file, socket, to_system};

/// The file of a bound socket, removed when this is dropped if it is still the one that was made.
#[derive(Debug)]
pub(crate) struct BoundFile {
    /// Absolute, for the process may change its directory meanwhile.
    path: PathBuf,
    made: Identity,
    /// Dropped after the file was removed.
    _lock: Option<Lock>,
}

impl BoundFile {
    /// Binds a socket to a path or an abstract name, and makes its file as asked. `None` for an abstract name, which has no file.
    ///
    /// The mode is the file's from the beginning: the system makes the file with the mode of the socket itself, less the umask, and what the
    /// umask took is given back afterwards.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another holds the lock, or listens without one; `InvalidInput` for a mode that is more than permissions; else what the
    /// system says. Without a lock, or for a file that is no socket, that something is there already (`EADDRINUSE`).
    pub(crate) fn bind(
        socket: BorrowedFd<'_>,
        path: &Path,
        file: &SocketFile,
    ) -> Result<Option<Self>, OsError> {
        let addr = to_system(path)?;
        if !is_file(path) {
            bind(socket, &addr).map_err(fault)?;
            return Ok(None);
        }
        let mode = match file.mode {
            Some(bits) if bits & !PERMISSIONS != 0 => {
                return Err(OsError::new(ErrorKind::InvalidInput));
            }
            bits => bits.map(Mode::from_raw_mode),
        };
        let path = std::path::absolute(path)?;
        let lock = if file.lock { Some(Lock::take(&path)?) } else { None };
        if lock.is_some() {
            remove_dead(&path, &addr)?;
        }
        if let Some(mode) = mode {
            fchmod(socket, mode).map_err(fault)?;
        }
        bind(socket, &addr).map_err(fault)?;
        let made = lstat(&path).map_err(fault)?;
        let bound = Self { path, made: Identity::of(&made), _lock: lock };
        if let Some(mode) = mode
            && Mode::from_raw_mode(made.st_mode) != mode
        {
            chmod(&bound.path, mode).map_err(fault)?;
        }
        Ok(Some(bound))
    }
}

impl Drop for BoundFile {
    fn drop(&mut self) {
        // Gone, or no longer ours to remove: then somebody else has seen to it.
        if lstat(&self.path).is_ok_and(|stat| Identity::of(&stat) == self.made) {
            let _ = unlink(&self.path);
        }
    }
}

/// The lock of a path: whoever has it may listen there. Removed, while it is held, when this is dropped.
#[derive(Debug)]
struct Lock {
    file: OwnedFd,
    path: PathBuf,
}

impl Lock {
    fn take(path: &Path) -> Result<Self, OsError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        for _ in 0..ATTEMPTS {
            let file = openat(CWD, &path, LOCK_FLAGS, LOCK_MODE).map_err(fault)?;
            let opened = fstat(&file).map_err(fault)?;
            if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile {
                return Err(OsError::new(ErrorKind::AlreadyExists));
            }
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(IN_USE),
                Err(errno) => return Err(fault(errno)),
            }
            // Who held it may have removed it between our open and our lock: then this is the lock of nothing.
            if lstat(&path).is_ok_and(|stat| Identity::of(&stat) == Identity::of(&opened)) {
                return Ok(Self { file, path });
            }
        }
        Err(IN_USE)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let held = fstat(&self.file).map(|stat| Identity::of(&stat));
        if held.is_ok() && lstat(&self.path).map(|stat| Identity::of(&stat)) == held {
            let _ = unlink(&self.path);
        }
    }
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, number: stat.st_ino }
    }
}

/// Removes a socket that nobody listens on any more; a file of any other kind is left alone, and an error to whoever binds.
fn remove_dead(path: &Path, addr: &SocketAddrUnix) -> Result<(), OsError> {
    match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fault(errno)),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            return Err(IN_USE);
        }
        Ok(_) => {}
    }
    if is_alive(addr)? {
        return Err(IN_USE);
    }
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(fault(errno)),
    }
}

/// Whether some program, one that takes no lock, has the socket of a path. Asked with a datagram socket, which only another such can be
/// connected to: a stream's listener sees nothing of it.
fn is_alive(addr: &SocketAddrUnix) -> Result<bool, OsError> {
    let probe = socket(SocketType::DGRAM).map_err(fault)?;
    let answer = connect(&probe, addr);
    Ok(!matches!(answer, Err(Errno::CONNREFUSED | Errno::NOENT)))
}

const IN_USE: OsError = OsError::new(ErrorKind::AddrInUse);
const PERMISSIONS: u32 = 0o777;
const LOCK_FLAGS: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    // Should it be a FIFO, opening it would wait.
    .union(OFlags::NONBLOCK);
const LOCK_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How often a lock may be removed under our hands before the path counts as in use.
const ATTEMPTS: usize = 16;
