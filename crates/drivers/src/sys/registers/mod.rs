//! Where another thread of this process is while it computes: asked of it by a signal, `SIGURG`, whose action is here. What to take from a
//! signal's context is the machine's own (`x86_64.rs`, `aarch64.rs`; elsewhere nothing, and no signal is sent).
//!
//! `SIGURG` because its default is to be ignored: one that comes late, after the action was taken out, ends nobody, and one that is
//! still pending then is forgotten.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod machine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "elsewhere.rs"]
mod machine;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod machine;

use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) instruction: u64,
    pub(crate) stack: u64,
    /// Where the present function returns to, on machines that have a register for that: if the function has called another
    /// meanwhile, it may hold any earlier value.
    pub(crate) link: Option<u64>,
}

/// The signal that asks.
pub(crate) const SIGNAL: i32 = libc::SIGURG;

/// Asks threads where they are. The process has the signal's action as long as there is one of these.
#[derive(Debug)]
pub(crate) struct Sampler(());

impl Sampler {
    /// `None` where that is not possible: on other machines, and if the signal's action is not the default, but the program's own.
    pub(crate) fn start() -> Option<Self> {
        if !machine::IS_KNOWN {
            return None;
        }
        let mut samplers = lock(&SAMPLERS);
        if *samplers == 0 && !install() {
            return None;
        }
        *samplers += 1;
        Some(Self(()))
    }

    /// Where that thread of this process is. Waits for its answer for up to a quarter of a second.
    ///
    /// `None` if it does not answer: it is gone, it blocks the signal, the machine is too busy, or the action was replaced meanwhile.
    pub(crate) fn sample(&self, thread: ThreadId) -> Option<Registers> {
        // One question at a time.
        let mut serial = lock(&SERIAL);
        // Somebody else's action would take the signal for theirs. And a thread that came too late may still be writing.
        if action()? != action_address() || STATE.load(Ordering::Acquire) == WRITING {
            return None;
        }
        *serial = serial.checked_add(1).unwrap_or(1);
        let question = u64::from(*serial) << 32 | u64::from(thread.0.cast_unsigned());
        STATE.store(question, Ordering::Release);
        if send(thread) {
            let begin = Instant::now();
            while STATE.load(Ordering::Acquire) != WRITTEN && begin.elapsed() < WAIT {
                thread::sleep(PAUSE);
            }
        }
        // Withdraws it, if nobody has taken it up.
        match STATE.compare_exchange(question, IDLE, Ordering::AcqRel, Ordering::Acquire) {
            Err(WRITTEN) => {
                let registers = Registers {
                    instruction: INSTRUCTION.load(Ordering::Relaxed),
                    stack: STACK.load(Ordering::Relaxed),
                    link: Some(LINK.load(Ordering::Relaxed)).filter(|&link| link != 0),
                };
                STATE.store(IDLE, Ordering::Release);
                Some(registers)
            }
            _ => None,
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let mut samplers = lock(&SAMPLERS);
        *samplers -= 1;
        // One that somebody has put in its place stays.
        if *samplers == 0 && action() == Some(action_address()) {
            let _ = set_action(libc::SIG_DFL, 0);
        }
    }
}

/// What the system calls a thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(libc::pid_t);

impl ThreadId {
    /// The thread that asks.
    pub(crate) fn present() -> Self {
        // SAFETY: the call has no arguments and touches no memory. It always succeeds, so `errno` is left alone too.
        let id = unsafe { libc::syscall(libc::SYS_gettid) };
        Self(id as libc::pid_t)
    }
}

/// The action: answers the question of the moment, if this is the thread that it was put to.
///
/// Atomics and a system call that cannot fail: nothing here allocates, locks, panics or sets `errno`. It stays callable after it was
/// taken out, for somebody may have put theirs in front of it.
extern "C" fn answer(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    let question = STATE.load(Ordering::Acquire);
    if question <= WRITTEN || question as u32 != ThreadId::present().0.cast_unsigned() {
        return;
    }
    if context.is_null()
        || STATE.compare_exchange(question, WRITING, Ordering::AcqRel, Ordering::Relaxed).is_err()
    {
        return;
    }
    // SAFETY: the action is installed with SA_SIGINFO, so the kernel, and whoever passes a signal on, gives it a pointer to the
    // `ucontext_t` of what was interrupted, which is valid until the action returns.
    let registers = machine::registers(unsafe { &*context.cast::<ucontext_t>() });
    INSTRUCTION.store(registers.instruction, Ordering::Relaxed);
    STACK.store(registers.stack, Ordering::Relaxed);
    LINK.store(registers.link.unwrap_or(0), Ordering::Relaxed);
    STATE.store(WRITTEN, Ordering::Release);
}

fn action_address() -> libc::sighandler_t {
    answer as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as libc::sighandler_t
}

/// Makes `answer` the signal's action, if that is the default.
fn install() -> bool {
    if action() != Some(libc::SIG_DFL) {
        return false;
    }
    let flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    match set_action(action_address(), flags) {
        Some(before) if before.sa_sigaction == libc::SIG_DFL => true,
        Some(before) => {
            // Another thread was faster: it gets its own back.
            // SAFETY: a valid action, just handed out by the kernel for this signal, and no place for the old one.
            unsafe { libc::sigaction(SIGNAL, &raw const before, ptr::null_mut()) };
            false
        }
        None => false,
    }
}

/// What the process does at the signal: the address of a function, or `SIG_DFL`, `SIG_IGN`.
fn action() -> Option<libc::sighandler_t> {
    // SAFETY: `sigaction` is plain old data, for which zeroes are valid.
    let mut present: libc::sigaction = unsafe { zeroed() };
    // SAFETY: no new action is given, and the place for the present one is valid and ours.
    let told = unsafe { libc::sigaction(SIGNAL, ptr::null(), &raw mut present) };
    (told == 0).then_some(present.sa_sigaction)
}

/// Sets that, and answers what it was.
fn set_action(action: libc::sighandler_t, flags: c_int) -> Option<libc::sigaction> {
    // SAFETY: `sigaction` is plain old data, for which zeroes are valid: no signal is blocked in the action.
    let (mut new, mut before): (libc::sigaction, libc::sigaction) = unsafe { (zeroed(), zeroed()) };
    new.sa_sigaction = action;
    new.sa_flags = flags;
    // SAFETY: both places are valid and ours. The action is SIG_DFL, or `answer` with the flags that its arguments ask for; it does
    // only what is async-signal-safe.
    let done = unsafe { libc::sigaction(SIGNAL, &raw const new, &raw mut before) };
    (done == 0).then_some(before)
}

/// Sends the signal; `false` if there is no such thread in this process.
fn send(thread: ThreadId) -> bool {
    // SAFETY: sending a signal touches no memory of ours. It goes to this process alone, whose action was just seen to be `answer`; were
    // it replaced since by the default, nothing would come of it.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.0, SIGNAL) == 0 }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both hold a number that is right at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many samplers there are.
static SAMPLERS: Mutex<usize> = Mutex::new(0);
/// The number of the last question; held while one is asked.
static SERIAL: Mutex<u32> = Mutex::new(0);

/// One of the three below, or a question: its number, from one, in the upper half, and the thread it is put to in the lower. So a thread
/// that answers too late sees that its question has been withdrawn.
static STATE: AtomicU64 = AtomicU64::new(IDLE);
const IDLE: u64 = 0;
/// The thread has taken it up.
const WRITING: u64 = 1;
/// The answer is there.
const WRITTEN: u64 = 2;

static INSTRUCTION: AtomicU64 = AtomicU64::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);
static LINK: AtomicU64 = AtomicU64::new(0);

/// How long an answer is waited for. A thread that computes answers as soon as it gets the processor.
const WAIT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_micros(50);

/// The signal belongs to the process: tests that have samplers take turns.
#[cfg(test)]
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    lock(&ALONE)
}

/// Blocks the signal in this thread, or lets it in again.
#[cfg(test)]
pub(crate) fn block(on: bool) {
    // SAFETY: `sigset_t` is plain old data, and all places are valid and ours.
    unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, SIGNAL);
        let how = if on { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        assert_eq!(libc::pthread_sigmask(how, &raw const set, ptr::null_mut()), 0);
    }
}

#[cfg(test)]
mod tests;
