//! Worker threads as a door: jobs go out through the driver, and their answers come back as completions.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use super::Reactor;
use super::beat::Callback;
use super::inner::Inner;
use crate::deferred::Deferred;
use crate::driver::{Answer, JobId, OsError};
use crate::failure::Failure;
use crate::panic::guard_quietly;

/// Jobs that wait for the reactor to run, and the number of the next.
#[derive(Default)]
pub(crate) struct JobQueue {
    waiting: RefCell<VecDeque<(JobId, crate::driver::Job)>>,
    next: Cell<u64>,
}

impl JobQueue {
    fn id(&self) -> JobId {
        let id = self.next.get();
        self.next.set(id + 1);
        JobId(id)
    }

    pub(super) fn take(&self) -> VecDeque<(JobId, crate::driver::Job)> {
        self.waiting.take()
    }
}

impl Reactor {
    /// Runs `f` on a worker thread. Begun before the reactor runs, it waits until then. Jobs go in order; a job cannot be interrupted: cancelling
    /// the Deferred drops its answer. In a simulation the job runs at once, in this thread, and its answer takes a drawn time.
    #[doc(alias = "deferToThread")]
    pub fn defer_to_thread<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Deferred<R> {
        let (deferred, resolver) = Deferred::new();
        let id = self.0.job_queue.id();
        let answer: super::inner::Job = Box::new(move |answer| match answer {
            Answer::Worked(value) => match value.downcast::<R>() {
                Ok(value) => resolver.resolve(*value),
                Err(_) => resolver.fail(Failure::msg("the worker's answer has another type")),
            },
            Answer::Panicked(message) => {
                resolver.fail(Failure::msg(format!("the job panicked: {message}")));
            }
            _ => resolver.fail(Failure::msg("the driver gave another kind of answer")),
        });
        self.0.jobs.borrow_mut().insert(id.0, answer);
        let job: crate::driver::Job = Box::new(move || Box::new(f()));
        if self.is_running() {
            self.0.begin(id, job);
        } else {
            self.0.job_queue.waiting.borrow_mut().push_back((id, job));
        }
        deferred
    }

    /// Runs `f` on a worker thread; a panic in it is logged.
    #[doc(alias = "callInThread")]
    pub fn call_in_thread(&self, f: impl FnOnce() + Send + 'static) {
        self.defer_to_thread(f).done(|result| {
            if let Err(failure) = result {
                crate::log::failure(&failure, "a job on a worker failed");
            }
        });
    }

    /// The most worker threads there may be at once; 10 at the start.
    #[doc(alias = "suggestThreadPoolSize")]
    pub fn set_workers(&self, most: usize) {
        self.0.driver().set_workers(most);
    }

    /// How many worker threads there are, and how many jobs wait for one.
    pub fn workers(&self) -> (usize, usize) {
        let (threads, waiting) = self.0.driver().workers();
        (threads, waiting + self.0.job_queue.waiting.borrow().len())
    }

    /// Looks a name up; the addresses come in the order they should be tried.
    pub fn resolve(&self, name: &str) -> Deferred<Vec<IpAddr>, OsError> {
        let (deferred, resolver) = Deferred::new();
        self.0.resolve_then(name, Box::new(move |result| resolver.finish(result)));
        deferred
    }
}

impl From<crate::deferred::Interrupt> for OsError {
    fn from(interrupt: crate::deferred::Interrupt) -> Self {
        use crate::deferred::Interrupt;
        Self::new(match interrupt {
            Interrupt::TimedOut => std::io::ErrorKind::TimedOut,
            _ => std::io::ErrorKind::Interrupted,
        })
    }
}

/// Told the addresses of a name.
pub(crate) type Resolved = Box<dyn FnOnce(Result<Vec<IpAddr>, OsError>)>;

impl Inner {
    /// Looks a name up; `then` is told from the loop. Answers the number of the look-up.
    pub(crate) fn resolve_then(self: &Rc<Self>, name: &str, then: Resolved) -> u64 {
        let id = self.job_queue.id();
        let begun = self.driver().resolve(id, name);
        match begun {
            Ok(()) => {
                let answer: super::inner::Job = Box::new(move |answer| {
                    then(match answer {
                        Answer::Resolved(result) => result,
                        _ => Err(OsError::UNSUPPORTED),
                    });
                });
                self.jobs.borrow_mut().insert(id.0, answer);
            }
            Err(error) => self.after(super::after::After::Call(Box::new(move || then(Err(error))))),
        }
        id.0
    }

    /// Nobody waits for the answer to a look-up any more. What waited is dropped by the caller, outside the borrow.
    pub(crate) fn forget_job(&self, id: u64) -> Option<super::inner::Job> {
        self.jobs.borrow_mut().remove(&id)
    }

    /// Begins the jobs that waited for the reactor to run.
    pub(super) fn begin_jobs(&self) {
        for (id, job) in self.job_queue.take() {
            self.begin(id, job);
        }
    }

    fn begin(&self, id: JobId, job: crate::driver::Job) {
        let begun = self.driver().work(id, job);
        if let Err(error) = begun {
            let answer = self.jobs.borrow_mut().remove(&id.0);
            if let Some(answer) = answer {
                let text = format!("this driver runs no jobs: {error}");
                self.after(super::after::After::Call(Box::new(move || {
                    answer(Answer::Panicked(text));
                })));
            }
        }
    }

    /// Ends the workers and waits for them. Jobs that were not begun are dropped, and whoever waits for one hears so; so does a job that waits for
    /// the reactor, which would be for ever.
    pub(super) fn end_jobs(&self) {
        self.shared.refuse_blocking(true);
        self.driver().stop_workers();
        self.shared.refuse_blocking(false);
        let jobs = self.jobs.take();
        for (id, job) in jobs {
            let answer = self.driver().take_answer(JobId(id));
            let told = || match answer {
                Some(answer) => job(answer),
                None => drop(job),
            };
            self.beat.around(Callback::Job, || guard_quietly("job", told));
        }
    }

    pub(super) fn answered(&self, id: JobId) {
        let answer = self.driver().take_answer(id);
        let job = self.jobs.borrow_mut().remove(&id.0);
        if let (Some(answer), Some(job)) = (answer, job) {
            self.beat.around(Callback::Job, || guard_quietly("job", || job(answer)));
        }
    }
}
