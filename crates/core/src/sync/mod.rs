//! Taking turns within one thread: [`Lock`], [`Semaphore`] and [`Queue`], for callbacks and for `async` code alike. Combinations of several
//! deferreds are in [`deferred`](crate::deferred).
//!
//! | file | what |
//! |---|---|
//! | `semaphore.rs`, `lock.rs`, `queue.rs` | one each |
//! | `line.rs` | those who wait, first in, first out |
//!
//! # Rules
//!
//! - First in, first out, without exception: whoever comes when others wait waits behind them.
//! - What becomes free goes to the first who waits at once, inside the call that set it free, whose chain runs there and then. What
//!   is set free or put meanwhile, by that chain, goes on when it returns: the stack stays flat, however many wait.
//! - Whoever is cancelled leaves the line, and so does a deferred that is dropped before its turn, awaited or not. What a deferred has been
//!   given but nobody has looked at goes on to the next when it is dropped: nothing is lost when a task is dropped in that very moment.
//!   (A step looks at it, and so does a combination: a chain runs, whether it is kept or dropped.)
//! - Closing, as for a shutdown, fails those who wait, and all who come later, with
//!   [`Interrupt::Abandoned`](crate::deferred::Interrupt::Abandoned). So does dropping the last handle of a queue.
//! - Any method may be called from inside any callback.
//!
//! # Three at a time
//!
//! ```
//! use marline_core::deferred::{Deferred, gather};
//! use marline_core::failure::Failure;
//! use marline_core::sync::Semaphore;
//!
//! # fn fetch(url: &str) -> Deferred<usize> { Deferred::ready(url.len()) }
//! // With callbacks: at most three fetches are under way.
//! fn sizes(urls: Vec<String>) -> Result<Deferred<Vec<usize>>, Failure> {
//!     let slots = Semaphore::new(3)?;
//!     Ok(gather(urls.into_iter().map(|url| slots.run(move || fetch(&url)))))
//! }
//!
//! // The same in a task: the permit goes back when it goes out of scope.
//! async fn size(slots: &Semaphore, url: &str) -> Result<usize, Failure> {
//!     let _permit = slots.acquire().await?;
//!     fetch(url).await
//! }
//! # let sizes = sizes(vec!["a".into(), "bc".into()]).unwrap();
//! # assert_eq!(sizes.try_take().unwrap().unwrap(), [1, 2]);
//! ```

pub use self::lock::Lock;
pub use self::queue::{PutError, Queue, QueueUnderflow};
pub use self::semaphore::{NoPermits, Permit, Semaphore};

mod line;
mod lock;
mod queue;
mod semaphore;
#[cfg(test)]
mod tests;
