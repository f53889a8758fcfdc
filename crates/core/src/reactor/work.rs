//! Worker threads as a door: jobs go out through the driver, and their answers come back as completions.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::panic::Location;
use std::rc::Rc;

use super::Reactor;
use super::after::After;
use super::beat::Callback;
use super::inner::Inner;
use crate::deferred::{Deferred, Interrupt};
use crate::driver::{Answer, JobId, OsError};
use crate::failure::Failure;
use crate::log::job::Errand;
use crate::panic::guard_quietly;

/// Who waits for the answer to a job, or to a look-up.
pub(crate) struct Waiter {
    tell: Box<dyn FnOnce(Result<Answer, OsError>)>,
    /// Where a job was deferred.
    site: Option<&'static Location<'static>>,
}

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
    /// Runs `f` on a worker thread. Its answer comes back to the reactor's thread; a panic in it is the error
    /// [`Interrupt::Panicked`](crate::deferred::Interrupt::Panicked). Begun before the reactor runs, it waits until then. Jobs begin in the order
    /// given, and cannot be interrupted: cancelling the Deferred drops the answer, and the job runs to its end. In a simulation the job runs at once,
    /// in this thread, and its answer takes a drawn time.
    ///
    /// When the reactor stops, jobs that have begun are waited for, and answer after *during shutdown*, even where that keeps the program from ending;
    /// jobs that have not are dropped, and their Deferreds fail with [`Interrupt::Abandoned`](crate::deferred::Interrupt::Abandoned).
    ///
    /// What the job logs goes where the caller's events go, inside the caller's span, and says on whose behalf: [`log::context`](crate::log::context).
    #[track_caller]
    #[doc(alias = "deferToThread")]
    pub fn defer_to_thread<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Deferred<R> {
        let site = Location::caller();
        let (deferred, resolver) = Deferred::new();
        let id = self.0.job_queue.id();
        let tell = Box::new(move |answer| match answer {
            Ok(Answer::Worked(value)) => match Box::<dyn Any + Send>::downcast::<R>(value) {
                Ok(value) => resolver.resolve(*value),
                Err(_) => resolver.fail(Failure::msg("the worker's answer has another type")),
            },
            Ok(Answer::Panicked(text)) => resolver.fail(Interrupt::Panicked(text.into()).into()),
            Ok(_) => resolver.fail(Failure::msg("the driver gave another kind of answer")),
            Err(error) => resolver.fail(Failure::new(error)),
        });
        self.0.jobs.borrow_mut().insert(id.0, Waiter { tell, site: Some(site) });
        let errand = Errand::new(site);
        let job: crate::driver::Job = Box::new(move || errand.run(|| Box::new(f())));
        if self.is_running() {
            self.0.begin(id, job);
        } else {
            self.0.job_queue.waiting.borrow_mut().push_back((id, job));
        }
        deferred
    }

    /// Runs `f` on a worker thread; a panic in it is logged.
    #[track_caller]
    #[doc(alias = "callInThread")]
    pub fn call_in_thread(&self, f: impl FnOnce() + Send + 'static) {
        self.defer_to_thread(f).done(|result| {
            if let Err(failure) = result {
                crate::log::failure(&failure, "a job on a worker failed");
            }
        });
    }

    /// The most worker threads there may be at once; 10 at the start, and at least one. There is no least number: a thread is started when a job finds none
    /// idle, and then kept until the reactor stops or this is lowered.
    #[doc(alias = "suggestThreadPoolSize")]
    #[doc(alias = "adjustPoolsize")]
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

impl From<Interrupt> for OsError {
    fn from(interrupt: Interrupt) -> Self {
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
                let tell = Box::new(move |answer| {
                    then(match answer {
                        Ok(Answer::Resolved(result)) => result,
                        Ok(_) => Err(OsError::UNSUPPORTED),
                        Err(error) => Err(error),
                    });
                });
                self.jobs.borrow_mut().insert(id.0, Waiter { tell, site: None });
            }
            Err(error) => self.after(After::Call(Box::new(move || then(Err(error))))),
        }
        id.0
    }

    /// Nobody waits for the answer to a look-up any more. What waited is dropped by the caller, outside the borrow.
    pub(crate) fn forget_job(&self, id: u64) -> Option<Waiter> {
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
            let waiter = self.jobs.borrow_mut().remove(&id.0);
            if let Some(waiter) = waiter {
                self.after(After::Call(Box::new(move || (waiter.tell)(Err(error)))));
            }
        }
    }

    /// Ends the workers and waits for them. Jobs that were not begun are dropped, and whoever waits for one hears so; so does a job that waits for
    /// the reactor, which would be for ever.
    pub(super) fn end_jobs(&self) {
        self.shared.refuse_blocking(true);
        self.driver().stop_workers();
        self.shared.refuse_blocking(false);
        let waiters = self.jobs.take();
        for (id, waiter) in waiters {
            let answer = self.driver().take_answer(JobId(id));
            self.tell(waiter, answer);
        }
    }

    pub(super) fn answered(&self, id: JobId) {
        let answer = self.driver().take_answer(id);
        let waiter = self.jobs.borrow_mut().remove(&id.0);
        match waiter {
            Some(waiter) if answer.is_some() => self.tell(waiter, answer),
            // Nobody waits any more.
            _ => guard_quietly("drop of an answer", || drop((waiter, answer))),
        }
    }

    /// Tells whoever waits, or drops it if there is no answer and never will be.
    fn tell(&self, waiter: Waiter, answer: Option<Answer>) {
        self.site.set(waiter.site);
        self.beat.note_site(waiter.site);
        let told = || match answer {
            Some(answer) => (waiter.tell)(Ok(answer)),
            None => drop(waiter),
        };
        self.beat.around(Callback::Job, || guard_quietly("job", told));
    }
}
