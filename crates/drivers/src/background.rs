//! What goes on beside the loop: jobs and name lookups on threads, signals, and the waker through which they reach it. Every driver
//! for a kernel has one of these.

use std::collections::VecDeque;
use std::sync::Arc;

use marline_core::driver::{Answer, Completion, Job, JobId, OsError, Waker};
use rustix::io::Errno;

use crate::names::look_up;
use crate::signals::Signals;
use crate::wake::Wake;
use crate::workers::{Inbox, Pool};

/// The part of a driver that other threads and signal handlers report to.
#[derive(Debug)]
pub(crate) struct Background {
    wake: Arc<Wake>,
    inbox: Arc<Inbox>,
    jobs: Pool,
    /// Apart from the jobs, so that name servers which do not answer cannot hold these up.
    lookups: Pool,
    signals: Signals,
    /// Collected, not reported yet.
    finished: VecDeque<(JobId, Answer)>,
    /// Reported, not fetched yet.
    reported: Vec<(JobId, Answer)>,
}

impl Background {
    pub(crate) fn new() -> Result<Self, Errno> {
        let wake = Arc::new(Wake::new()?);
        let inbox = Arc::new(Inbox::new(Arc::clone(&wake)));
        Ok(Self {
            jobs: Pool::new("marline-worker", JOB_THREADS, Arc::clone(&inbox)),
            lookups: Pool::new("marline-names", LOOKUP_THREADS, Arc::clone(&inbox)),
            signals: Signals::new(Arc::clone(&wake)),
            finished: VecDeque::new(),
            reported: Vec::new(),
            inbox,
            wake,
        })
    }

    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    pub(crate) fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        Arc::new(move || wake.wake())
    }

    /// Looks what has come in, after the wake descriptor became readable.
    pub(crate) fn collect(&mut self) {
        self.wake.drain();
        self.finished.extend(self.inbox.take());
        self.signals.collect();
    }

    /// Whether [`next`](Self::next) has something.
    pub(crate) fn any(&self) -> bool {
        self.signals.any() || !self.finished.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<Completion> {
        if let Some(number) = self.signals.next() {
            return Some(Completion::Signal { number });
        }
        let (id, answer) = self.finished.pop_front()?;
        self.reported.push((id, answer));
        Some(Completion::Answered { id })
    }

    pub(crate) fn work(&mut self, id: JobId, job: Job) -> Result<(), OsError> {
        self.jobs.run(id, Box::new(move || Answer::Worked(job()))).map_err(OsError::from)
    }

    pub(crate) fn resolve(&mut self, id: JobId, name: &str) -> Result<(), OsError> {
        let name = name.to_owned();
        self.lookups.run(id, Box::new(move || look_up(&name))).map_err(OsError::from)
    }

    pub(crate) fn take_answer(&mut self, id: JobId) -> Option<Answer> {
        let at = self.reported.iter().rposition(|&(reported, _)| reported == id)?;
        Some(self.reported.swap_remove(at).1)
    }

    pub(crate) fn set_workers(&mut self, most: usize) {
        self.jobs.set_most(most);
    }

    pub(crate) fn workers(&self) -> (usize, usize) {
        self.jobs.census()
    }

    pub(crate) fn stop_workers(&mut self) {
        self.jobs.stop();
        self.lookups.stop();
    }

    pub(crate) fn watch_signal(&mut self, number: i32, on: bool) -> Result<(), OsError> {
        self.signals.watch(number, on)
    }
}

/// Twisted's number too.
const JOB_THREADS: usize = 10;
const LOOKUP_THREADS: usize = 4;
