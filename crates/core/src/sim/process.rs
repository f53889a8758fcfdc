//! What the network keeps for one driver: its handles, what it has to report, and how other threads wake it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::driver::{Answer, Handle, JobId};
use crate::table::Table;
use crate::{Addr, Time};

use super::net::Ready;
use super::queue::Side;

/// One driver of one host, as the network sees it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) host: u32,
    /// Whether it has not been closed, and its host has not crashed since it was made.
    pub(super) alive: bool,
    pub(super) handles: Table<Target>,
    pub(super) ready: VecDeque<Ready>,
    /// How many of `ready` this round reports; what comes later waits for the next.
    pub(super) round: usize,
    pub(super) wake: Arc<Wake>,
    pub(super) seed: [u8; 32],
    /// Whether the world runs its reactor, and moves time itself.
    pub(super) driven: bool,
    /// Whether it is on the world's list of those that have something to do.
    pub(super) dirty: bool,
    /// The deadline of its reactor that the world knows of.
    pub(super) planned: Option<Time>,
    pub(super) signals: Vec<i32>,
    pub(super) answers: Vec<(JobId, Answer)>,
    /// When each worker thread there is will be free.
    pub(super) workers: Vec<Time>,
    pub(super) most_workers: usize,
    /// The socket of the datagram reported last, and where that came from.
    pub(super) source: Option<(Handle, Addr)>,
    /// That datagram.
    pub(super) chunk: Vec<u8>,
}

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    End(Handle, Side),
    Port(Handle),
    Socket(Handle),
}

impl Process {
    pub(super) fn new(host: u32, seed: [u8; 32], bell: Arc<AtomicBool>) -> Self {
        Self {
            host,
            alive: true,
            handles: Table::new(),
            ready: VecDeque::new(),
            round: 0,
            wake: Arc::new(Wake::new(bell)),
            seed,
            driven: false,
            dirty: false,
            planned: None,
            signals: Vec::new(),
            answers: Vec::new(),
            workers: Vec::new(),
            most_workers: 10,
            source: None,
            chunk: Vec::new(),
        }
    }
}

/// How other threads end a wait.
#[derive(Debug)]
pub(super) struct Wake {
    called: AtomicBool,
    /// Told too: the world looks at this one alone.
    world: Arc<AtomicBool>,
    sleeping: Mutex<()>,
    bell: Condvar,
}

impl Wake {
    const fn new(world: Arc<AtomicBool>) -> Self {
        Self {
            called: AtomicBool::new(false),
            world,
            sleeping: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    pub(super) fn call(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            // The lock orders the bell after the sleeper's last look.
            let _asleep = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
            self.world.store(true, Ordering::SeqCst);
            self.bell.notify_all();
        }
    }

    /// Whether it was called since the last look.
    pub(super) fn take(&self) -> bool {
        self.called.load(Ordering::Relaxed) && self.called.swap(false, Ordering::SeqCst)
    }

    /// Whether it was called, without forgetting it.
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// Sleeps until it is called, really; answers false when it was not for so long.
    pub(super) fn sleep(&self, patience: Duration) -> bool {
        let asleep = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = self.bell.wait_timeout_while(asleep, patience, |()| !self.is_called());
        drop(slept);
        self.take()
    }
}
