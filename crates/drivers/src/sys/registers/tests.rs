//! Threads that are asked where they are, and what becomes of the signal's action.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use super::*;

/// A thread that computes until it is told to stop, and says first where its stack is.
struct Computing {
    id: ThreadId,
    /// The address of a local variable.
    local: u64,
    thread: thread::JoinHandle<()>,
}

impl Computing {
    fn start(stop: &'static AtomicBool) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let local = 0_u8;
            sender.send((ThreadId::present(), (&raw const local).addr() as u64)).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let (id, local) = receiver.recv().unwrap();
        Self { id, local, thread }
    }
}

/// Asks until there is an answer: on a busy machine the first may be late.
fn sample(sampler: &Sampler, thread: ThreadId) -> Registers {
    (0..100).find_map(|_| sampler.sample(thread)).expect("an answer")
}

#[test]
fn a_thread_that_computes_says_where_it_is_and_others_are_not_taken_for_it() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let sampler = Sampler::start().unwrap();
    let threads = [Computing::start(&STOP), Computing::start(&STOP)];
    for _ in 0..3 {
        for thread in &threads {
            let registers = sample(&sampler, thread.id);
            assert!(registers.stack.abs_diff(thread.local) < 0x4000, "{registers:x?}");
            assert_ne!(registers.instruction, 0);
        }
    }
    STOP.store(true, Ordering::Relaxed);
    for Computing { thread, .. } in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_thread_that_is_gone_says_nothing() {
    let _alone = alone();
    let sampler = Sampler::start().unwrap();
    let id = thread::spawn(ThreadId::present).join().unwrap();
    assert_eq!(sampler.sample(id), None);
}

#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_another() {
    let _alone = alone();
    let sampler = Sampler::start().unwrap();
    let (sender, ids) = mpsc::channel();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        block(true);
        sender.send(ThreadId::present()).unwrap();
        gone_on.recv().unwrap();
        // Now the signal comes.
        block(false);
        sender.send(ThreadId::present()).unwrap();
        gone_on.recv().unwrap();
    });
    let id = ids.recv().unwrap();
    assert_eq!(sampler.sample(id), None);
    go_on.send(()).unwrap();
    ids.recv().unwrap();
    assert_eq!(STATE.load(Ordering::Acquire), IDLE);
    sample(&sampler, id);
    go_on.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn the_action_is_there_as_long_as_one_samples_and_then_the_default_again() {
    let _alone = alone();
    assert_eq!(action(), Some(libc::SIG_DFL));
    let one = Sampler::start().unwrap();
    let other = Sampler::start().unwrap();
    assert_eq!(action(), Some(action_address()));
    drop(one);
    assert_eq!(action(), Some(action_address()));
    drop(other);
    assert_eq!(action(), Some(libc::SIG_DFL));
}

#[test]
fn an_action_of_the_programs_own_stays_and_gets_no_signal_of_ours() {
    extern "C" fn theirs(_signal: c_int) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let theirs = theirs as extern "C" fn(c_int) as libc::sighandler_t;

    let _alone = alone();
    for before in [theirs, libc::SIG_IGN] {
        set_action(before, 0).unwrap();
        assert!(Sampler::start().is_none());
        assert_eq!(action(), Some(before));
        set_action(libc::SIG_DFL, 0).unwrap();
    }
    // One that is put in the place of ours.
    let sampler = Sampler::start().unwrap();
    set_action(theirs, 0).unwrap();
    assert_eq!(sampler.sample(ThreadId::present()), None);
    drop(sampler);
    assert_eq!(action(), Some(theirs));
    set_action(libc::SIG_DFL, 0).unwrap();
    assert_eq!(CALLS.load(Ordering::Relaxed), 0);
}

#[test]
fn a_signal_that_nobody_has_asked_for_is_ignored_as_ever() {
    let _alone = alone();
    let sampler = Sampler::start().unwrap();
    assert!(send(ThreadId::present()));
    assert_eq!(STATE.load(Ordering::Acquire), IDLE);
    // Passed on by somebody who knows no context.
    let asked = 1 << 32 | u64::from(ThreadId::present().0.cast_unsigned());
    STATE.store(asked, Ordering::Release);
    answer(SIGNAL, ptr::null_mut(), ptr::null_mut());
    assert_eq!(STATE.swap(IDLE, Ordering::AcqRel), asked);
    drop(sampler);
}
