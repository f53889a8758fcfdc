//! The optional part of the driver contract: which capabilities there are, what is asked of them and what they answer.
//!
//! Every capability the project plans is named here from the start, so that a family (CGI in http, a mail spool) needs core's
//! contract only, and so that simulation and replay can answer every one of them.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::OsError;

/// An optional part of the contract; a driver that lacks it answers [`OsError::UNSUPPORTED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Datagram sockets.
    Datagrams,
    /// Multicast groups.
    Multicast,
    /// UNIX sockets, streams and (with [`Datagrams`](Self::Datagrams)) datagrams.
    Unix,
    /// Taking over sockets that somebody else has opened.
    Adopt,
    /// Looking names up.
    Resolve,
    /// Running jobs on worker threads, or on what stands in for them.
    Work,
    /// Signals of the process.
    Signals,
    /// Child processes.
    Processes,
    /// Pseudo-terminals for child processes.
    Terminals,
    /// Watching descriptors that belong to somebody else.
    Watch,
    /// Passing descriptors over a connection.
    PassDescriptors,
    /// Sending files without copying them.
    SendFile,
    /// Files and their metadata, off the loop.
    Files,
    /// Noticing changes of files.
    FileWatch,
    /// Serial lines.
    Serial,
    /// Watching for callbacks that hold the loop. A driver whose time is virtual has none: no time passes in a callback.
    Stalls,
}

impl Capability {
    /// Every capability, for reports.
    pub const ALL: [Self; 16] = [
        Self::Datagrams,
        Self::Multicast,
        Self::Unix,
        Self::Adopt,
        Self::Resolve,
        Self::Work,
        Self::Signals,
        Self::Processes,
        Self::Terminals,
        Self::Watch,
        Self::PassDescriptors,
        Self::SendFile,
        Self::Files,
        Self::FileWatch,
        Self::Serial,
        Self::Stalls,
    ];
}

/// Names a job that was begun, until its answer is taken. The reactor chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// What runs on a worker. A panic inside it is caught by whoever runs it and becomes [`Answer::Panicked`].
pub type Job = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// The answer to a job.
#[non_exhaustive]
pub enum Answer {
    /// The addresses of a name, in the order they should be tried; never empty.
    Resolved(Result<Vec<IpAddr>, OsError>),
    /// What a job returned.
    Worked(Box<dyn Any + Send>),
    /// A job panicked, with this message.
    Panicked(String),
    /// What became of a file operation.
    File(Result<FileAnswer, OsError>),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved(result) => f.debug_tuple("Resolved").field(result).finish(),
            Self::Worked(_) => f.write_str("Worked(..)"),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(message).finish(),
            Self::File(result) => f.debug_tuple("File").field(result).finish(),
        }
    }
}

/// What is waited for on a watched descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Report when it can be read.
    pub read: bool,
    /// Report when it can be written.
    pub write: bool,
}

impl Interest {
    /// Nothing: no report.
    pub const NONE: Self = Self { read: false, write: false };
    /// When it can be read.
    pub const READ: Self = Self { read: true, write: false };
    /// When it can be written.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Both.
    pub const BOTH: Self = Self { read: true, write: true };
}

/// A child process to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRequest {
    /// The file to run.
    pub program: OsString,
    /// The arguments, the program's own name (`argv[0]`) first.
    pub arguments: Vec<OsString>,
    /// The environment, whole; `None` inherits.
    pub environment: Option<Vec<(OsString, OsString)>>,
    /// The working directory; `None` inherits.
    pub directory: Option<PathBuf>,
    /// Whether it gets a pseudo-terminal instead of pipes.
    pub terminal: bool,
}

/// One operation on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileRequest {
    /// The length in bytes.
    Length(PathBuf),
    /// All bytes of a file, at most so many.
    Read(PathBuf, u64),
    /// Replaces a file's bytes in one step.
    Write(PathBuf, Vec<u8>),
}

/// What an operation on a file answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileAnswer {
    /// A length in bytes.
    Length(u64),
    /// Bytes read.
    Bytes(Vec<u8>),
    /// It was done.
    Done,
}

/// A serial line to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialRequest {
    /// The device.
    pub path: PathBuf,
    /// Bits per second.
    pub baud: u32,
}
