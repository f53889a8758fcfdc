//! The driver contract: what a reactor asks of the thing that waits for the operating system, or pretends to.
//!
//! A driver *completes operations*; it does not merely report readiness. It is never borrowed while user code runs. The rules
//! that every driver keeps are in [`Driver`]; the conformance suite runs them over each. What may be missing is in
//! [`Capability`], with its types in `request.rs`.

mod error;
mod options;
mod request;

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::SystemTime;

use crate::{Addr, Time};

pub use crate::reactor::stall::{Look, StallWatch};
pub use error::OsError;
pub use options::{
    Adopt, ConnectOptions, DatagramOptions, Interface, ListenOptions, Membership, SocketFile,
    SocketOption,
};
pub use request::{
    Answer, Capability, FileAnswer, FileRequest, Interest, Job, JobId, ProcessRequest,
    SerialRequest,
};

/// Names one thing a driver holds: a listening port, a connection, a datagram socket, a watched descriptor.
///
/// The driver chooses a dense index, so that the reactor's table can use the same one, and changes the version each time the
/// index is used again: a stale handle is an error, not a stranger's connection.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    /// Place in the tables of driver and reactor.
    pub index: u32,
    /// How often the place has been used before, modulo 2³².
    pub version: u32,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.version)
    }
}

/// What wakes a reactor that waits, from any thread. Calling it once too often does no harm.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What waits for the operating system, or pretends to: epoll, io_uring, the simulated network, a recording.
///
/// # The contract
///
/// - *One completion at a time.* [`wait`](Self::wait) collects and reports nothing; [`next`](Self::next) is then called until it
///   answers `None`, and each completion is dispatched before the next is asked for. In between any method may be called.
/// - *Nothing after `close`.* Once `close(h)` was called nothing is reported for `h`, not even what had been collected. An index
///   is used again only when nothing is in flight for it, and under another version. Calls with a stale handle do nothing and
///   answer [`OsError::STALE`].
/// - *Nothing while receiving is off.* After `receive(h, false)` neither bytes nor the end of the stream are reported until
///   `receive(h, true)`; a reset is, as [`Completion::Failed`], for it destroys what was not read.
/// - *A bounded share.* A source gets one receive of at most a scratch buffer, or a bounded number of accepts, and then waits for the
///   others.
/// - *Every answer is input*: completions, the values returned here, `now`. A recording of them is a recording of the run.
/// - *Output in order.* While a buffer is in flight for a connection the reactor sends nothing else on it.
/// - *Failed is the last word.* After `Failed { handle }` the reactor closes the handle; the driver reports no more for it.
/// - No method blocks but `wait`.
pub trait Driver {
    /// The driver's name as people write it: `epoll`, `sim`.
    fn name(&self) -> &'static str;

    /// Whether an optional part of the contract is there.
    fn supports(&self, capability: Capability) -> bool;

    /// Monotonic time. Does not move while a turn's completions are dispatched only because the reactor asks once a turn.
    fn now(&mut self) -> Time;

    /// Wall-clock time, which people may set at will: for dates in messages, never for deadlines.
    fn wall_clock(&mut self) -> SystemTime;

    /// Wall-clock time for lines of the log, and for nothing that a program could act on: how much is logged must not change a run, so this alone is no
    /// input, and a recording does not keep it. Where time is virtual it is that of [`wall_clock`](Self::wall_clock).
    fn log_clock(&mut self) -> SystemTime {
        SystemTime::now()
    }

    /// Entropy for the reactor's random source. The same seed makes the same run in a simulation.
    fn seed(&mut self) -> [u8; 32];

    /// What other threads call to end a [`wait`](Self::wait), also one that has not begun yet.
    fn waker(&self) -> Waker;

    /// Waits until something can be reported, the waker was called, or `until` has come; `None` is for ever, a moment in the past
    /// is no wait at all. Reports nothing itself, but answers whether `until` may have come: a driver that knows spares the reactor a look at
    /// its timers and the clock, one that does not answers [`Woken::Perhaps`].
    ///
    /// # Errors
    ///
    /// When the wait itself fails, which ends the run. Being interrupted by a signal is not an error.
    fn wait(&mut self, until: Option<Time>) -> io::Result<Woken>;

    /// The next completion, or `None` when all that `wait` collected has been reported. Received bytes lie at the start of `scratch`.
    fn next(&mut self, scratch: &mut [u8]) -> Option<Completion>;

    // ---- streams

    /// Opens a listening socket; accepting begins at once. Answers the address it is bound to.
    ///
    /// # Errors
    ///
    /// What the system says, synchronously.
    fn listen(&mut self, addr: &Addr, options: &ListenOptions) -> Result<(Handle, Addr), OsError>;

    /// Begins to connect. [`Completion::Connected`] or [`Completion::Failed`] comes later, never from inside this call.
    ///
    /// # Errors
    ///
    /// [`ConnectFault::Bind`] when the local address cannot be had, else what the system says at once.
    fn connect(&mut self, to: &Addr, options: &ConnectOptions) -> Result<Handle, ConnectFault>;

    /// Starts or stops receiving on a connection, accepting on a port, datagrams on a socket. A new connection does not receive
    /// until it is told to. Repeated calls within a turn cost nothing until the driver waits.
    fn receive(&mut self, handle: Handle, on: bool);

    /// Sends what can leave at once of bytes lent for the call, on a connection that has nothing in flight: the short way that nearly all
    /// output takes. Answers how many bytes have left; `None`, with nothing done, when the connection takes none now or is broken, or the driver does not
    /// send at once: then [`send`](Self::send) does it, or says why not.
    #[inline]
    fn send_now(&mut self, _conn: Handle, _bytes: &[u8]) -> Option<usize> {
        None
    }

    /// Sends bytes on a connection that has nothing in flight. See [`Outgoing`] and [`Sent`].
    fn send(&mut self, conn: Handle, out: Outgoing<'_>) -> Sent;

    /// The buffer of a send that is complete ([`Completion::Sent`] with `done`), to be used again.
    fn reclaim(&mut self, conn: Handle) -> Vec<u8>;

    /// Ends the write side of a connection that has nothing in flight: the peer sees the end of the stream.
    fn shutdown(&mut self, conn: Handle) -> Result<(), OsError>;

    /// Closes a handle of any kind. [`Close::Graceful`] still delivers what was sent before it, even if the peer goes on sending
    /// for a while; [`Close::Reset`] drops everything and sends RST. What is in flight is dropped by both.
    fn close(&mut self, handle: Handle, how: Close);

    /// The address of this end, or `None` for a stale handle.
    fn local_addr(&mut self, handle: Handle) -> Option<Addr>;

    /// The address of the other end, or `None` for a stale handle or one that is not connected.
    fn peer_addr(&mut self, handle: Handle) -> Option<Addr>;

    /// Sets an option of a socket.
    fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<(), OsError>;

    /// The present value of an option: the same variant comes back. Only the kind of `option` matters, not the value in it.
    fn option(&mut self, handle: Handle, option: SocketOption) -> Result<SocketOption, OsError>;

    // ---- datagrams (Capability::Datagrams)

    /// Opens a datagram socket, which receives at once. Answers the address it is bound to.
    fn bind_datagram(
        &mut self,
        _addr: &Addr,
        _options: &DatagramOptions,
    ) -> Result<(Handle, Addr), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Names the one peer of a datagram socket: only its datagrams are received from now on, and its refusals are reported as
    /// [`Completion::DatagramFailed`].
    fn connect_datagram(&mut self, _socket: Handle, _to: &Addr) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Sends one datagram or drops it: sent or failed now, never queued. `to` is `None` on a connected socket.
    fn send_datagram(
        &mut self,
        _socket: Handle,
        _to: Option<&Addr>,
        _parts: &[IoSlice<'_>],
    ) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Sends several, in this order, in as few system calls as it can. Answers how many have left; fewer than all if the next one cannot
    /// leave, and an error if not even the first can.
    fn send_datagrams(&mut self, socket: Handle, batch: &[Datagram<'_>]) -> Result<usize, OsError> {
        for (sent, datagram) in batch.iter().enumerate() {
            if let Err(error) =
                self.send_datagram(socket, datagram.to, &[IoSlice::new(datagram.bytes)])
            {
                return if sent == 0 { Err(error) } else { Ok(sent) };
            }
        }
        Ok(batch.len())
    }

    /// Where the datagrams that were reported last came from.
    fn datagram_source(&mut self, _socket: Handle) -> Option<Addr> {
        None
    }

    /// Moves out at once all that has been received for a socket and is announced: the datagrams of the [`Completion::Datagrams`] just reported, in the
    /// place of [`take_chunk`](Self::take_chunk), and those that its `more` promises, which are reported no more. `None`, with nothing done, where
    /// they come one by one only.
    fn take_datagrams(&mut self, _socket: Handle) -> Option<Mail> {
        None
    }

    /// Gives the buffers back after their bytes were used.
    fn give_back_datagrams(&mut self, _socket: Handle, _mail: Mail) {}

    /// Joins or leaves a multicast group ([`Capability::Multicast`]).
    fn set_membership(
        &mut self,
        _socket: Handle,
        _membership: &Membership,
        _joined: bool,
    ) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    // ---- chunks (drivers that receive into buffers of their own)

    /// Moves out the chunk of a [`Completion::Lent`] or [`Completion::Datagrams`].
    fn take_chunk(&mut self, _chunk: u32) -> Vec<u8> {
        Vec::new()
    }

    /// Gives a chunk back after its bytes were used.
    fn give_back(&mut self, _chunk: u32, _buffer: Vec<u8>) {}

    // ---- optional capabilities; the types are in `request.rs`

    /// Begins to look a name up ([`Capability::Resolve`]); [`Completion::Answered`] follows.
    fn resolve(&mut self, _id: JobId, _name: &str) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Runs a job on a worker ([`Capability::Work`]); [`Completion::Answered`] follows.
    fn work(&mut self, _id: JobId, _job: Job) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// The most worker threads there may be at once.
    fn set_workers(&mut self, _most: usize) {}

    /// The worker threads there are now; `(threads, waiting jobs)`.
    fn workers(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Ends the worker threads and joins them; jobs not yet begun are dropped. A later job starts them anew.
    fn stop_workers(&mut self) {}

    /// The answer to a job, once ([`Completion::Answered`]).
    fn take_answer(&mut self, _id: JobId) -> Option<Answer> {
        None
    }

    /// Starts or stops reporting a signal of the process ([`Capability::Signals`]).
    fn watch_signal(&mut self, _number: i32, _on: bool) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Starts a child process ([`Capability::Processes`], [`Capability::Terminals`]).
    fn spawn(&mut self, _request: &ProcessRequest) -> Result<Handle, OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Takes over a socket that somebody else has opened ([`Capability::Adopt`]), as what it is to be used as. Answers the address it is
    /// bound to. A connection does not receive until it is told to.
    ///
    /// # Errors
    ///
    /// The descriptor comes back. `ENOTSOCK` (by its number) for what is no socket; [`OsError::UNSUPPORTED`] for a socket of another type,
    /// state or family than asked for.
    #[cfg(unix)]
    fn adopt(
        &mut self,
        descriptor: std::os::fd::OwnedFd,
        _what: Adopt,
    ) -> Result<(Handle, Addr), (OsError, std::os::fd::OwnedFd)> {
        Err((OsError::UNSUPPORTED, descriptor))
    }

    /// Watches a descriptor that belongs to somebody else ([`Capability::Watch`]); this is a duplicate of it, for the driver to keep. Each
    /// wait reports once what is wanted and ready: [`Completion::Readable`] and [`Completion::Writable`]. A hang-up or an error is the one that
    /// is wanted, the first if both are, and ends no wait if neither is. What can be polled by nobody (a regular file) is always ready.
    ///
    /// # Errors
    ///
    /// What the system says of a descriptor that cannot be watched, synchronously.
    #[cfg(unix)]
    fn watch(
        &mut self,
        _descriptor: std::os::fd::OwnedFd,
        _interest: Interest,
    ) -> Result<Handle, OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Changes what a watch waits for, from this call on: what is not wanted any more is not reported, though it was collected.
    fn set_interest(&mut self, _watch: Handle, _interest: Interest) {}

    /// Passes a descriptor along with the next byte that is sent ([`Capability::PassDescriptors`]). Several wait together for the same
    /// byte, in their order; nothing is in flight for the connection meanwhile.
    #[cfg(unix)]
    fn send_descriptor(
        &mut self,
        _conn: Handle,
        _descriptor: std::os::fd::OwnedFd,
    ) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// The next descriptor that came with the bytes of a [`Completion::ReceivedWith`], in the order sent. What is not taken is closed with
    /// the next receive.
    #[cfg(unix)]
    fn take_descriptor(&mut self, _conn: Handle) -> Option<std::os::fd::OwnedFd> {
        None
    }

    /// Sends `length` bytes of a file from `offset` on, without copying them through the process ([`Capability::SendFile`]). Answers, and completes, like a
    /// buffer in flight: [`Sent::Now`] with `length`, or [`Sent::InFlight`] and [`Completion::Sent`] as they leave; the file is the driver's until then.
    /// Should the file end early or not be readable later on, [`Completion::FileFailed`] ends the sending instead.
    ///
    /// # Errors
    ///
    /// The file comes back: nothing of it has left, the connection stands, and the bytes can be sent another way.
    #[cfg(unix)]
    fn send_file(
        &mut self,
        _conn: Handle,
        file: std::os::fd::OwnedFd,
        _offset: u64,
        _length: u64,
    ) -> Result<Sent, (OsError, std::os::fd::OwnedFd)> {
        Err((OsError::UNSUPPORTED, file))
    }

    /// Works on a file off the loop ([`Capability::Files`]); [`Completion::Answered`] follows.
    fn file(&mut self, _id: JobId, _request: FileRequest) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Watches a path for changes ([`Capability::FileWatch`]).
    fn watch_path(&mut self, _path: &std::path::Path) -> Result<Handle, OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Opens a serial line as a stream ([`Capability::Serial`]).
    fn open_serial(&mut self, _request: &SerialRequest) -> Result<Handle, OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// Has a thread watch for callbacks that hold the loop ([`Capability::Stalls`]), or ends that. It sleeps while
    /// [`wait`](Self::wait) waits, and is gone before the driver is.
    fn watch_stalls(&mut self, _watch: Option<StallWatch>) -> Result<(), OsError> {
        Err(OsError::UNSUPPORTED)
    }

    /// The descriptor that becomes readable when the driver has something to report, for a foreign loop that runs the reactor inside
    /// itself; `None` where there is none.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    /// When the driver has something to do by itself (a port that rests is to be tried again, say), so that a foreign loop does not sleep
    /// past it; [`wait`](Self::wait) minds it anyway.
    fn deadline(&self) -> Option<Time> {
        None
    }

    /// For drivers with more to offer than the contract, such as the faults of a simulated network.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// What a driver knows of the moment until which it was to wait, when it has waited ([`Driver::wait`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something ended the wait before the moment, as far as the driver has heard. Should the moment come, or have come, the next wait that is to
    /// end at it ends at once.
    Before,
    /// The moment may have come: the reactor looks at its timers at the start of the next turn.
    Perhaps,
}

/// What a driver reports, each for one handle. Small and `Copy`: what does not fit is fetched by handle or id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// A port has accepted a connection, which does not receive yet.
    Accepted {
        /// The listening port.
        port: Handle,
        /// The new connection.
        conn: Handle,
    },
    /// A port could not accept; it goes on as soon as it can.
    AcceptFailed {
        /// The listening port.
        port: Handle,
        /// Why: out of descriptors, out of buffers, the peer gave up.
        error: OsError,
    },
    /// An outgoing connection stands. It does not receive yet.
    Connected {
        /// The connection.
        conn: Handle,
    },
    /// Bytes have arrived and lie at the start of the scratch buffer.
    Received {
        /// The connection.
        conn: Handle,
        /// How many; never zero.
        len: usize,
    },
    /// Bytes have arrived in a chunk of the driver's own: fetch it with [`Driver::take_chunk`], give it back afterwards.
    Lent {
        /// The connection.
        conn: Handle,
        /// Which chunk.
        chunk: u32,
        /// How many of its bytes count, from the start.
        len: usize,
    },
    /// As [`Received`](Self::Received), and descriptors came along: fetch them with [`Driver::take_descriptor`], before the bytes are used.
    ReceivedWith {
        /// The connection.
        conn: Handle,
        /// How many bytes; never zero.
        len: usize,
        /// Whether descriptors were lost that came along: there was no room for them in this process.
        lost: bool,
    },
    /// The peer will send no more.
    ReadClosed {
        /// The connection.
        conn: Handle,
    },
    /// Bytes of the buffer in flight have left.
    Sent {
        /// The connection.
        conn: Handle,
        /// How many since the last report.
        len: usize,
        /// Whether that was the rest: the buffer can be fetched with [`Driver::reclaim`].
        done: bool,
    },
    /// Datagrams from one sender have arrived in a chunk of the driver's own: fetch it with [`Driver::take_chunk`], give it back afterwards;
    /// [`Driver::datagram_source`] tells from where. They lie one behind the other, each of `segment` bytes but for the last, which may be
    /// shorter; with `len` zero it is one empty datagram.
    Datagrams {
        /// The socket.
        socket: Handle,
        /// Which chunk.
        chunk: u32,
        /// How many of its bytes count, from the start.
        len: usize,
        /// How long each is.
        segment: usize,
        /// Whether the next completion is of the same socket too, unless it stops receiving meanwhile: what is sent in answer can wait for
        /// what the next ones are answered with, to leave together.
        more: bool,
    },
    /// The file in flight ends before the bytes asked for, or can no longer be read: the rest is not sent, the connection stands.
    FileFailed {
        /// The connection.
        conn: Handle,
        /// Why; `UnexpectedEof` if the file is too short.
        error: OsError,
    },
    /// A handle has come to its end: connection refused or reset, socket broken. Nothing more is reported for it.
    Failed {
        /// The handle.
        handle: Handle,
        /// Why.
        error: OsError,
    },
    /// A passing error of a datagram socket: the socket goes on. The refusal of a connected peer, or a datagram too long for the driver's chunk
    /// (`EMSGSIZE`), which was dropped.
    DatagramFailed {
        /// The socket.
        socket: Handle,
        /// Why.
        error: OsError,
    },
    /// A job is done: fetch the answer with [`Driver::take_answer`].
    Answered {
        /// Which.
        id: JobId,
    },
    /// A watched signal has come in, at least once since the last report.
    Signal {
        /// Its number.
        number: i32,
    },
    /// A watched descriptor can be read.
    Readable {
        /// The watch.
        watch: Handle,
    },
    /// A watched descriptor can be written.
    Writable {
        /// The watch.
        watch: Handle,
    },
    /// A child process has ended.
    Exited {
        /// The process.
        process: Handle,
        /// Its exit code, or `None` if a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

/// Datagrams of one socket that were received together, in the driver's own buffers.
#[derive(Debug, Default)]
pub struct Mail {
    /// Where their bytes are, among others.
    pub bytes: Vec<u8>,
    /// The datagrams, in the order in which they came.
    pub parcels: Vec<Parcel>,
}

/// What one sender has sent, as [`Completion::Datagrams`] has it: a datagram, or several of a length.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Where it begins in the bytes of the [`Mail`].
    pub at: usize,
    /// How many bytes it has.
    pub len: usize,
    /// How long each datagram is but for the last, which may be shorter.
    pub segment: usize,
    /// Who sent it.
    pub from: Addr,
}

impl Mail {
    /// The bytes of one of its parcels.
    #[inline]
    pub fn bytes_of(&self, parcel: &Parcel) -> &[u8] {
        self.bytes.get(parcel.at..).and_then(|rest| rest.get(..parcel.len)).unwrap_or_default()
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// To whom; `None` on a connected socket.
    pub to: Option<&'a Addr>,
    /// All of it.
    pub bytes: &'a [u8],
}

/// Bytes handed to [`Driver::send`].
#[derive(Debug)]
pub enum Outgoing<'a> {
    /// Bytes lent for the call: the driver sends what it can now. A driver that cannot send at once copies them and answers
    /// [`Sent::InFlight`].
    Lent(&'a [u8]),
    /// Several pieces lent for the call, to leave in this order.
    Vectored(&'a [IoSlice<'a>]),
    /// A buffer of which the bytes from `.1` on are to be sent. If not all can leave now the driver takes it, leaving an empty one, and
    /// answers [`Sent::InFlight`].
    Buffer(&'a mut Vec<u8>, usize),
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many bytes have left now. Fewer than given (only for lent bytes): the rest is still the caller's, to be sent as a buffer.
    Now(usize),
    /// So many bytes have left now; the driver holds the rest and reports [`Completion::Sent`] as they leave.
    InFlight(usize),
    /// The connection is broken. [`Completion::Failed`] is not reported for it again.
    Failed(OsError),
}

/// How a handle is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// What was sent is delivered.
    Graceful,
    /// What was sent may be lost; the peer sees a reset.
    Reset,
}

/// Why a connection could not even be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// The local address cannot be had.
    Bind(OsError),
    /// The attempt itself was refused at once.
    Connect(OsError),
}
