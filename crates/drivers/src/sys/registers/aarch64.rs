//! 64-bit ARM: a call leaves its return address in a register, x30, and only functions that call others save it.

use libc::ucontext_t;

use super::Registers;

pub(super) const IS_KNOWN: bool = true;

pub(super) fn registers(context: &ucontext_t) -> Registers {
    let registers = &context.uc_mcontext;
    Registers { instruction: registers.pc, stack: registers.sp, link: Some(registers.regs[30]) }
}
