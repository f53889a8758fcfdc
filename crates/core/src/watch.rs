//! Watching descriptors that belong to somebody else (another library's socket, a pipe, an eventfd, a device), so that the reactor calls when they
//! can be read or written. What the reactor opened itself is watched by its driver, not here.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::Location;
use std::rc::Rc;

use crate::driver::{Capability, Close, Completion, Handle, Interest};
use crate::failure::Failure;
use crate::panic::{guard, guard_quietly};
use crate::reactor::after::After;
use crate::reactor::beat::Callback;
use crate::reactor::inner::Inner;
use crate::reactor::source::{Entry, Open, Source};
use crate::{CloseReason, Reactor};

impl Reactor {
    /// Watches a descriptor that belongs to the caller: `watcher` is called once a turn for each direction that is wanted and ready
    /// (level-triggered, as `poll(2)` has it). The end of a stream, a hang-up and an error count as readable, or as writable if only that is wanted:
    /// the watcher meets them when it reads or writes. What nothing can wait for (a regular file, a directory, `/dev/null`) is always ready, and as
    /// long as it is wanted no turn sleeps.
    ///
    /// The reactor keeps a duplicate. So the caller's own descriptor may be closed, and its number used again, at any time: the watcher goes
    /// on with what the descriptor stood for when the watch began, and is never called for what the number stands for now. It also means that what
    /// the descriptor stands for stays open until the watch [stops](Watch::stop): a peer does not see the end of a socket before that.
    ///
    /// Reading and writing are the watcher's part, with a descriptor of its own that should be non-blocking. The same descriptor can be watched several
    /// times.
    ///
    /// ```no_run
    /// use std::io::{self, Read};
    /// use std::os::unix::net::UnixStream;
    /// use marline_core::driver::Interest;
    /// use marline_core::{Reactor, Watch, Watcher};
    ///
    /// struct Printer(UnixStream);
    ///
    /// impl Watcher for Printer {
    ///     fn readable(&mut self, watch: &Watch) -> io::Result<()> {
    ///         let mut bytes = [0; 4096];
    ///         match self.0.read(&mut bytes) {
    ///             Ok(0) => watch.stop(),
    ///             Ok(len) => println!("{:?}", &bytes[..len]),
    ///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///             Err(error) => return Err(error),
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn with(reactor: Reactor, stream: UnixStream) -> io::Result<()> {
    /// stream.set_nonblocking(true)?;
    /// let descriptor = stream.try_clone()?;
    /// reactor.watch(&descriptor, Interest::READ, Printer(stream))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// At once, and then nothing was started: `Unsupported` by a driver that has no descriptors of the system, such as the simulated network; what
    /// the system says otherwise, such as that the descriptor is not open for anything (`EBADF`) or that there are too many.
    #[track_caller]
    #[doc(alias = "addReader")]
    #[doc(alias = "addWriter")]
    #[doc(alias = "IReactorFDSet")]
    pub fn watch(
        &self,
        descriptor: &impl AsFd,
        interest: Interest,
        watcher: impl Watcher,
    ) -> io::Result<Watch> {
        if !self.supports(Capability::Watch) {
            let text = format!(
                "the driver \"{}\" has no place for descriptors of the operating system",
                self.driver_name()
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.inner().check_not_gone()?;
        let descriptor = descriptor.as_fd();
        let duplicate = descriptor.try_clone_to_owned()?;
        let handle = self.inner().driver().watch(duplicate, interest)?;
        let watched = Rc::new(Watched {
            inner: Rc::clone(self.inner()),
            handle,
            number: descriptor.as_raw_fd(),
            interest: Cell::new(interest),
            active: Cell::new(true),
            reason: RefCell::new(None),
            watcher: RefCell::new(Some(watcher)),
            site: Location::caller(),
        });
        self.inner().insert(handle, Entry::Other(Rc::clone(&watched) as Rc<dyn Source>));
        Ok(Watch(watched))
    }

    /// What is watched now, in no particular order.
    #[doc(alias = "getReaders")]
    #[doc(alias = "getWriters")]
    pub fn watches(&self) -> Vec<Watch> {
        self.inner().others().into_iter().filter_map(|source| source.as_watch()).collect()
    }

    /// Stops all watches and returns them; each watcher hears its end. Nothing but watches is touched: connections, ports and timers go on.
    #[doc(alias = "removeAll")]
    pub fn stop_watching_all(&self) -> Vec<Watch> {
        let watches = self.watches();
        for watch in &watches {
            watch.stop();
        }
        watches
    }
}

/// The owner of a [`Watch`]: told when the descriptor can be read or written.
///
/// Callbacks come from the loop, never from inside a method of the watch and never one inside another; they may call anything. An error or a
/// panic ends this watch alone.
#[doc(alias = "IReadDescriptor")]
#[doc(alias = "IWriteDescriptor")]
pub trait Watcher: 'static {
    /// A read would not block. Called again in each turn until it is read, or not wanted any more. By default it is not wanted from then on.
    ///
    /// # Errors
    ///
    /// An error ends the watch: [`lost`](Self::lost) follows with [`CloseReason::Failed`].
    #[doc(alias = "doRead")]
    fn readable(&mut self, watch: &Watch) -> io::Result<()> {
        watch.set_interest(Interest { read: false, ..watch.interest() });
        Ok(())
    }

    /// A write would not block. Called again in each turn until the descriptor takes no more, or it is not wanted any more. By default it is not
    /// wanted from then on.
    ///
    /// # Errors
    ///
    /// As for [`readable`](Self::readable).
    #[doc(alias = "doWrite")]
    fn writable(&mut self, watch: &Watch) -> io::Result<()> {
        watch.set_interest(Interest { write: false, ..watch.interest() });
        Ok(())
    }

    /// The watch has ended. Called last, exactly once: with [`CloseReason::Done`] after [`Watch::stop`], `Failed` after an error, `Panicked`
    /// after a panic, `Lost` if the driver could not go on with it, `Stopped` if the reactor stopped. Afterwards the watcher is dropped.
    #[doc(alias = "connectionLost")]
    fn lost(&mut self, _watch: &Watch, _reason: &CloseReason) {}
}

/// A watched descriptor: a handle, which may be dropped; the watch goes on.
///
/// All methods may be called from inside any callback, and do nothing once the watch has ended.
#[derive(Clone)]
pub struct Watch(Rc<dyn AnyWatch>);

impl Watch {
    /// Changes what is waited for, from this call on: what is not wanted any more is not told even if it was found ready before.
    /// With [`Interest::NONE`] the watch stays, and costs nothing.
    #[doc(alias = "removeReader")]
    #[doc(alias = "removeWriter")]
    pub fn set_interest(&self, interest: Interest) {
        self.0.set_interest(interest);
    }

    /// What is waited for; [`Interest::NONE`] once it has ended.
    pub fn interest(&self) -> Interest {
        self.0.interest()
    }

    /// Ends the watch and closes the reactor's duplicate. The watcher hears [`lost`](Watcher::lost) after the callback on the stack.
    pub fn stop(&self) {
        Rc::clone(&self.0).end(CloseReason::Done);
    }

    /// Whether it has not ended.
    pub fn is_active(&self) -> bool {
        self.0.is_active()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("descriptor", &self.0.number())
            .field("interest", &self.interest())
            .field("active", &self.is_active())
            .finish()
    }
}

/// Watches are equal when they are handles of the same one.
impl PartialEq for Watch {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Rc::as_ptr(&self.0), Rc::as_ptr(&other.0))
    }
}

impl Eq for Watch {}

trait AnyWatch: Source {
    fn set_interest(&self, interest: Interest);
    fn interest(&self) -> Interest;
    fn is_active(&self) -> bool;
    fn number(&self) -> RawFd;
}

/// The owner of a watching handle.
struct Watched<W> {
    inner: Rc<Inner>,
    handle: Handle,
    /// The caller's descriptor when the watch began: for reports only.
    number: RawFd,
    interest: Cell<Interest>,
    active: Cell<bool>,
    /// What `lost` is to be told.
    reason: RefCell<Option<CloseReason>>,
    /// Borrowed while a callback of the watcher is on the stack, and then only: that is how no second one can start.
    watcher: RefCell<Option<W>>,
    site: &'static Location<'static>,
}

impl<W: Watcher> Watched<W> {
    fn call(
        self: &Rc<Self>,
        callback: &'static str,
        f: impl FnOnce(&mut W, &Watch) -> io::Result<()>,
    ) {
        let me = Watch(Rc::clone(self) as Rc<dyn AnyWatch>);
        let result = {
            let Ok(mut watcher) = self.watcher.try_borrow_mut() else { return };
            let Some(watcher) = &mut *watcher else { return };
            let outer = self.inner.beat.begin(Callback::Watch, Some(self.handle));
            let result = guard(|| f(watcher, &me));
            self.inner.beat.end(outer);
            result
        };
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                Rc::clone(self).end(CloseReason::Failed(Rc::new(Failure::new(error))));
            }
            Err(message) => {
                self.log(callback, &message);
                self.panicked(message);
            }
        }
    }

    /// A panic is the reason even if the same callback had ended the watch before.
    fn panicked(self: &Rc<Self>, message: Rc<str>) {
        let reason = CloseReason::Panicked(message);
        if self.active.get() {
            Rc::clone(self).end(reason);
        } else {
            *self.reason.borrow_mut() = Some(reason);
        }
    }

    fn log(&self, callback: &str, message: &str) {
        let (watcher, descriptor) = (std::any::type_name::<W>(), self.number);
        crate::log::engine::watcher_panicked(watcher, descriptor, callback, message);
    }
}

impl<W: Watcher> Source for Watched<W> {
    fn completed(self: Rc<Self>, completion: Completion) {
        match completion {
            Completion::Readable { .. } => self.call("readable", W::readable),
            Completion::Writable { .. } => self.call("writable", W::writable),
            Completion::Failed { error, .. } => self.end(CloseReason::Lost(error)),
            _ => {}
        }
    }

    fn lost(self: Rc<Self>) {
        let Some(mut watcher) = self.watcher.borrow_mut().take() else { return };
        let reason = self.reason.borrow_mut().take().unwrap_or(CloseReason::Stopped);
        let me = Watch(Rc::clone(&self) as Rc<dyn AnyWatch>);
        let lost = || guard(|| watcher.lost(&me, &reason));
        if let Err(message) = self.inner.beat.around(Callback::Watch, lost) {
            self.log("lost", &message);
        }
        guard_quietly("drop", || drop(watcher));
        guard_quietly("drop", || drop(reason));
    }

    fn end(self: Rc<Self>, reason: CloseReason) {
        if !self.active.replace(false) {
            return;
        }
        self.interest.set(Interest::NONE);
        *self.reason.borrow_mut() = Some(reason);
        self.inner.driver().close(self.handle, Close::Graceful);
        let entry = self.inner.remove(self.handle);
        self.inner.after(After::Lost(entry));
    }

    fn describe(&self) -> Open {
        Open::new("watch", format!("descriptor {}", self.number), self.site)
    }

    fn type_name(&self) -> Option<&'static str> {
        Some(std::any::type_name::<W>())
    }

    fn as_watch(self: Rc<Self>) -> Option<Watch> {
        Some(Watch(self))
    }
}

impl<W: Watcher> AnyWatch for Watched<W> {
    fn set_interest(&self, interest: Interest) {
        if self.active.get() && self.interest.replace(interest) != interest {
            self.inner.driver().set_interest(self.handle, interest);
        }
    }

    fn interest(&self) -> Interest {
        self.interest.get()
    }

    fn is_active(&self) -> bool {
        self.active.get()
    }

    fn number(&self) -> RawFd {
        self.number
    }
}
