//! [`Queue`]: values for those who wait for one, and those who wait for values.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::line::{Line, Supply};
use crate::deferred::{Deferred, Interrupt, Lease, Lender};
use crate::failure::Failure;

/// Hands values over, in the order in which they were put, to those who get, in the order in which they came. Clones are the same queue. See
/// the [module](super) for the rules.
///
/// Without limits, unless they are set.
///
/// ```
/// use marline_core::sync::Queue;
/// use marline_core::testing::success_result_of;
///
/// let queue = Queue::new().with_size(2);
/// let first = queue.get(); // waits
/// queue.put("a")?;         // goes to the first; the next two stay in the queue
/// queue.put("b")?;
/// queue.put("c")?;
/// assert_eq!(queue.put("d").unwrap_err().into_value(), "d");
/// assert_eq!(success_result_of(first), "a");
/// assert_eq!(success_result_of(queue.get()), "b");
///
/// async fn work(queue: Queue<String>) {
///     while let Ok(job) = queue.get().await { // until it is closed and empty
///         println!("{job}");
///     }
/// }
/// # Ok::<(), marline_core::sync::PutError<&str>>(())
/// ```
#[doc(alias = "DeferredQueue")]
pub struct Queue<T: 'static>(Rc<Inner<T>>);

struct Inner<T: 'static> {
    size: Cell<usize>,
    backlog: Cell<usize>,
    closed: Cell<bool>,
    line: Line<T>,
    /// By their numbers, in order; those that have been given back included.
    values: RefCell<VecDeque<(u64, T)>>,
    numbers: Cell<u64>,
}

impl<T: 'static> Queue<T> {
    /// Makes an empty queue.
    pub fn new() -> Self {
        Self(Rc::new(Inner {
            size: Cell::new(usize::MAX),
            backlog: Cell::new(usize::MAX),
            closed: Cell::new(false),
            line: Line::new(),
            values: RefCell::default(),
            numbers: Cell::new(0),
        }))
    }

    /// Holds at most `size` values that nobody waits for. 0 is a queue that only hands over. Values that are given back may exceed it.
    pub fn with_size(self, size: usize) -> Self {
        self.0.size.set(size);
        self
    }

    /// Lets at most `backlog` wait for a value. 0 is a queue of which only what is there can be had.
    pub fn with_backlog(self, backlog: usize) -> Self {
        self.0.backlog.set(backlog);
        self
    }

    /// Gives a value to the first who waits, whose chain runs before this returns; or else to the queue.
    ///
    /// # Errors
    ///
    /// If the queue is full or closed. The value is in the error.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        let inner = &self.0;
        if self.is_closed() {
            return Err(PutError::Closed(value));
        }
        // Those who wait have the first values for themselves; there are some only while the line is being served.
        if self.len() >= inner.size.get().saturating_add(self.waiting()) {
            return Err(PutError::Overflow(value));
        }
        let number = inner.numbers.get();
        inner.numbers.set(number + 1);
        inner.values.borrow_mut().push_back((number, value));
        inner.serve();
        Ok(())
    }

    /// Waits for a value. One that is there is taken at once.
    ///
    /// Fails at once with [`QueueUnderflow`] if as many wait already as [may](Self::with_backlog), with [`Interrupt::Abandoned`] when the
    /// queue is closed and empty, or its last handle has been dropped; with [`Interrupt::Cancelled`] if it is cancelled.
    ///
    /// Dropped before its turn it leaves the line. Dropped later, its value goes back to where it was in the queue, unless it was
    /// looked at: awaited to the end, [taken](Deferred::try_take), or given to a step.
    #[track_caller]
    pub fn get(&self) -> Deferred<T> {
        let inner = &self.0;
        let lender: Weak<Inner<T>> = Rc::downgrade(inner);
        if let Some((number, value)) = inner.take() {
            let (deferred, lease) = Lease::new(lender, 0, Location::caller());
            lease.resolve(number, value);
            return deferred;
        }
        // Only those count who wait for values still to come.
        let waiting = self.waiting().saturating_sub(self.len());
        if self.is_closed() && self.waiting() >= self.len() {
            return Deferred::failed(Failure::from(Interrupt::Abandoned));
        }
        let backlog = inner.backlog.get();
        if waiting >= backlog {
            return Deferred::failed(Failure::from(QueueUnderflow { backlog }));
        }
        inner.line.join(lender, Location::caller())
    }

    /// Takes the first value, if there is one and nobody waits for it. Allocates nothing.
    pub fn try_get(&self) -> Option<T> {
        self.0.take().map(|(_, value)| value)
    }

    /// Closes it for good: no value can be put any more. Those that are there can be had; once there are none, those who wait, and all
    /// who come, get [`Interrupt::Abandoned`].
    pub fn close(&self) {
        self.0.closed.set(true);
        self.0.serve();
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Returns how many values are in the queue.
    #[doc(alias = "pending")]
    pub fn len(&self) -> usize {
        self.0.values.borrow().len()
    }

    /// Whether no value is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many wait for a value.
    pub fn waiting(&self) -> usize {
        self.0.line.len()
    }
}

impl<T: 'static> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: 'static> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("waiting", &self.waiting())
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl<T: 'static> Inner<T> {
    /// The first value, if nobody waits for it.
    fn take(&self) -> Option<(u64, T)> {
        if self.line.is_empty() { self.values.borrow_mut().pop_front() } else { None }
    }

    fn serve(&self) {
        self.line.serve(|| match self.values.borrow_mut().pop_front() {
            Some((number, value)) => Supply::Value(number, value),
            None if self.closed.get() => Supply::Closed,
            None => Supply::Nothing,
        });
    }
}

impl<T: 'static> Lender<T> for Inner<T> {
    fn leave(&self, turn: u64) {
        self.line.leave(turn);
    }

    fn give_back(&self, number: u64, value: T) {
        let mut values = self.values.borrow_mut();
        let place = values.partition_point(|&(other, _)| other < number);
        values.insert(place, (number, value));
        drop(values);
        self.serve();
    }
}

/// The queue did not take a value: here it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[doc(alias = "QueueOverflow")]
pub enum PutError<T> {
    /// The queue holds as many as it may.
    Overflow(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> PutError<T> {
    /// Takes the value out.
    pub fn into_value(self) -> T {
        match self {
            Self::Overflow(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow(_) => "the queue is full",
            Self::Closed(_) => "the queue is closed",
        })
    }
}

/// Without the value, which need not be one that can be shown.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow(_) => "Overflow(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> Error for PutError<T> {}

/// As many wait for a value of a queue already as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueUnderflow {
    /// How many may.
    pub backlog: usize,
}

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wait for a value of the queue already", self.backlog)
    }
}

impl Error for QueueUnderflow {}
