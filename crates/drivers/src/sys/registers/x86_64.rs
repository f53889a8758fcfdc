//! x86-64: the return address is on the stack.

use libc::{REG_RIP, REG_RSP, ucontext_t};

use super::Registers;

pub(super) const IS_KNOWN: bool = true;

pub(super) fn registers(context: &ucontext_t) -> Registers {
    let registers = &context.uc_mcontext.gregs;
    Registers {
        instruction: registers[REG_RIP as usize].cast_unsigned(),
        stack: registers[REG_RSP as usize].cast_unsigned(),
        link: None,
    }
}
