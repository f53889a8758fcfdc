//! What the system says of a thread of this process, and what its stack does: where it is, and by which calls it came there. What asks a
//! thread that computes is in `sys/registers`.

mod calls;
mod maps;

use std::fs;

use marline_core::ThreadState;

use crate::sys::registers::{Registers, SIGNAL, Sampler, ThreadId};
use calls::{Call, call_before};
use maps::{Maps, Memory};

/// A thread that others may ask about.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Where the system tells of it.
    folder: String,
    id: ThreadId,
    /// Not there if the signal is the program's own.
    sampler: Option<Sampler>,
}

impl Watched {
    /// The present thread. A process without `/proc` says nothing of its threads.
    pub(crate) fn present() -> Self {
        let folder = fs::read_link("/proc/thread-self").unwrap_or_default();
        let folder = format!("/proc/{}", folder.display());
        Self { folder, id: ThreadId::present(), sampler: Sampler::start() }
    }

    /// What it does now. Asked by another thread; one that sleeps in a system call is not disturbed.
    pub(crate) fn state(&self) -> ThreadState {
        let mut state = ThreadState::default();
        let sleeps_in = self.read("wchan");
        state.sleeps_in = Some(sleeps_in).filter(|place| !matches!(place.trim(), "" | "0"));
        let line = self.read("syscall");
        let words: Vec<&str> = line.split_whitespace().collect();
        state.system_call = words.first().and_then(|word| word.parse().ok());
        let registers = if words == ["running"] { self.sample() } else { asleep(&words) };
        if let (Some(registers), Ok(memory)) = (registers, Memory::open(&self.folder)) {
            let maps = Maps::read(&self.folder);
            state.instruction = Some(maps.place(registers.instruction, &memory));
            state.stack = stack(&registers, &maps, &memory);
        }
        state
    }

    fn sample(&self) -> Option<Registers> {
        let sampler = self.sampler.as_ref()?;
        // It would answer some day.
        if has_signal(&self.read("status"), BLOCKED) { None } else { sampler.sample(self.id) }
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("{}/{file}", self.folder)).unwrap_or_default()
    }
}

/// Of a thread that waits: the call's number (-1 for none) and six arguments if there is one, the stack pointer and the instruction pointer.
fn asleep(words: &[&str]) -> Option<Registers> {
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let [_, .., stack, instruction] = words else { return None };
    Some(Registers { instruction: hex(instruction)?, stack: hex(stack)?, link: None })
}

/// Whether a set of signals in a thread's status, as `SigBlk:`, has ours in it.
pub(crate) fn has_signal(status: &str, set: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(set));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (SIGNAL - 1) != 0)
}

/// The calls that wait on the stack, innermost first: each word that is an address right after a call instruction, told as the last byte of
/// that call. Words that were left there by calls that have returned are taken for calls as well.
fn stack(registers: &Registers, maps: &Maps, memory: &Memory) -> Vec<String> {
    let begin = registers.stack & !7;
    let Some(end) = maps.end(begin) else { return Vec::new() };
    let mut bytes = vec![0; (end - begin).min(DEPTH) as usize];
    let there = memory.read_to(begin, &mut bytes);
    let words = bytes[..there].as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word));
    let calls = registers.link.into_iter().chain(words).filter_map(|word| {
        let after = word & ADDRESS;
        let is_call = maps.is_code(after.checked_sub(1)?)
            && match call_before(memory.read(after.checked_sub(8)?)?, after)? {
                Call::To(target) => maps.is_code(target),
                Call::Indirect => true,
            };
        is_call.then_some(after - 1)
    });
    calls.take(CALLS).map(|call| maps.place(call, memory)).collect()
}

/// The signals that a thread blocks.
const BLOCKED: &str = "SigBlk:";
/// How much of a stack is looked at, in bytes: some programs keep large buffers there.
const DEPTH: u64 = 256 * 1024;
/// How many calls are told.
const CALLS: usize = 32;
/// The bits of a word that are an address of a program: ARM may have signed a return address in the others.
const ADDRESS: u64 = if cfg!(target_arch = "aarch64") { (1 << 48) - 1 } else { u64::MAX };

#[cfg(test)]
mod tests;
