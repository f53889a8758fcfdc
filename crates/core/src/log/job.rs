//! Whose line it is on a worker thread: a job takes along on whose behalf it was deferred, and where its caller's events go.

use std::cell::RefCell;
use std::panic::Location;

use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Span, dispatcher};

use super::{Context, context};
use crate::reactor::current;

thread_local! {
    /// Of the job that runs on this thread.
    static JOB: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// What a job takes along to its worker.
pub(crate) struct Errand {
    context: Context,
    /// The subscriber of whoever deferred it, if there is one.
    dispatch: Option<Dispatch>,
    span: Span,
}

impl Errand {
    /// Of what runs now, for a job deferred at `site`.
    pub(crate) fn new(site: &'static Location<'static>) -> Self {
        let caller = context();
        let dispatch = dispatcher::get_default(Dispatch::clone);
        Self {
            context: Context {
                protocol: caller.as_ref().and_then(|caller| caller.protocol),
                callback: "job",
                connection: caller.as_ref().and_then(|caller| caller.connection),
                peer: caller.and_then(|caller| caller.peer),
                site: Some(site),
            },
            dispatch: (!dispatch.is::<NoSubscriber>()).then_some(dispatch),
            span: Span::current(),
        }
    }

    /// Runs the job, on whatever thread. To the job there is no current reactor, also where it runs inside one.
    pub(crate) fn run<R>(self, job: impl FnOnce() -> R) -> R {
        let Self { context, dispatch, span } = self;
        let _outside = current::leave();
        let _named = Named(JOB.replace(Some(context)));
        match dispatch {
            Some(dispatch) => dispatcher::with_default(&dispatch, || span.in_scope(job)),
            None => job(),
        }
    }
}

/// The job's context, if one runs on this thread.
pub(super) fn running() -> Option<Context> {
    JOB.try_with(|job| job.borrow().clone()).ok().flatten()
}

/// As long as it lives the job is this thread's; afterwards the one before is again, in a panic too.
struct Named(Option<Context>);

impl Drop for Named {
    fn drop(&mut self) {
        JOB.replace(self.0.take());
    }
}
