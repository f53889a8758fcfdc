//! Call instructions, recognised by what stands before the place to which they return.

/// A call that ends at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To this address.
    To(u64),
    /// To an address that it takes from a register or from memory.
    Indirect,
}

/// The call that ends where `code` ends, at the address `after`; `None` if none does, or on machines that we do not know.
pub(super) fn call_before(code: [u8; 8], after: u64) -> Option<Call> {
    if cfg!(target_arch = "x86_64") {
        x86_64(code, after)
    } else if cfg!(target_arch = "aarch64") {
        aarch64(code, after)
    } else {
        None
    }
}

/// Intel's manual, volume 2, CALL: `E8 rel32`, and `FF /2`, whose operand is one to six bytes long. Instructions have no fixed
/// length, so other bytes may look like one.
fn x86_64(code: [u8; 8], after: u64) -> Option<Call> {
    let [_, _, _, 0xe8, a, b, c, d] = code else {
        return FORM_LENGTHS
            .iter()
            .any(|&long| is_indirect(&code[8 - long..]))
            .then_some(Call::Indirect);
    };
    let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
    Some(Call::To(after.wrapping_add_signed(distance)))
}

/// Whether these bytes are one call of the form `FF /2`.
fn is_indirect(code: &[u8]) -> bool {
    let [0xff, operand, rest @ ..] = code else { return false };
    let (mode, extension, register) = (operand >> 6, operand >> 3 & 7, operand & 7);
    let scaled = mode != 3 && register == 4;
    let displacement = match mode {
        0 if register == 5 => 4,
        0 if scaled && rest.first().is_some_and(|scale| scale & 7 == 5) => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    extension == 2 && rest.len() == usize::from(scaled) + displacement
}

/// How long `FF /2` can be.
const FORM_LENGTHS: [usize; 5] = [2, 3, 4, 6, 7];

/// Arm's manual, C6.2: `BL`, `BLR`, and `BLRA..`, which checks the address first.
fn aarch64(code: [u8; 8], after: u64) -> Option<Call> {
    let [.., a, b, c, d] = code;
    let word = u32::from_le_bytes([a, b, c, d]);
    if !after.is_multiple_of(4) {
        None
    } else if word >> 26 == 0b10_0101 {
        // 26 bits with a sign, in words, from the call itself.
        let distance = i64::from((word << 6).cast_signed() >> 4);
        Some(Call::To(after.wrapping_sub(4).wrapping_add_signed(distance)))
    } else if word & 0xffff_fc1f == 0xd63f_0000 || word & 0xfeff_f800 == 0xd63f_0800 {
        Some(Call::Indirect)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes at the end of eight that mean nothing.
    fn ending(code: &[u8]) -> [u8; 8] {
        let mut all = [0x90; 8];
        all[8 - code.len()..].copy_from_slice(code);
        all
    }

    /// As an assembler writes them.
    #[test]
    fn the_calls_of_x86_64_are_recognised_and_nothing_else() {
        let calls: &[(&[u8], Call)] = &[
            (&[0xe8, 0x10, 0, 0, 0], Call::To(0x1010)),
            (&[0xe8, 0xf0, 0xff, 0xff, 0xff], Call::To(0xff0)),
            (&[0xff, 0xd0], Call::Indirect),             // call rax
            (&[0x41, 0xff, 0xd7], Call::Indirect),       // call r15
            (&[0xff, 0x10], Call::Indirect),             // call [rax]
            (&[0x41, 0xff, 0x14, 0x24], Call::Indirect), // call [r12]
            (&[0xff, 0x50, 0x18], Call::Indirect),       // call [rax+0x18]
            (&[0xff, 0x54, 0x24, 0x08], Call::Indirect), // call [rsp+8]
            (&[0xff, 0x15, 1, 2, 3, 4], Call::Indirect), // call [rip+...]
            (&[0xff, 0x90, 0, 1, 0, 0], Call::Indirect), // call [rax+0x100]
            (&[0xff, 0x94, 0x24, 0, 1, 0, 0], Call::Indirect), // call [rsp+0x100]
            (&[0xff, 0x14, 0xc5, 0, 1, 0, 0], Call::Indirect), // call [rax*8+0x100]
        ];
        for (code, call) in calls {
            assert_eq!(x86_64(ending(code), 0x1000), Some(*call), "{code:x?}");
        }
        let others: &[&[u8]] = &[
            &[],
            &[0xe9, 0x10, 0, 0, 0],    // jmp
            &[0xff, 0xe0],             // jmp rax
            &[0xff, 0x25, 1, 2, 3, 4], // jmp [rip+...]
            &[0xff, 0x15, 1, 2, 3],    // cut short
            &[0xff, 0xd0, 0x90],       // ends earlier
            &[0xff, 0x50],             // its displacement would follow
            &[0xff, 0x14],             // its scale would follow
            &[0xff, 0x30],             // push [rax]
            &[0xc3],                   // ret
        ];
        for code in others {
            assert_eq!(x86_64(ending(code), 0x1000), None, "{code:x?}");
        }
    }

    #[test]
    fn the_calls_of_aarch64_are_recognised_and_nothing_else() {
        let at = |word: u32| aarch64(ending(&word.to_le_bytes()), 0x1000);
        assert_eq!(at(0x9400_0004), Some(Call::To(0x100c))); // bl +0x10
        assert_eq!(at(0x97ff_fffc), Some(Call::To(0xfec))); // bl -0x10
        assert_eq!(at(0xd63f_0100), Some(Call::Indirect)); // blr x8
        assert_eq!(at(0xd63f_091f), Some(Call::Indirect)); // blraaz x8
        assert_eq!(at(0xd73f_0909), Some(Call::Indirect)); // blraa x8, x9
        assert_eq!(at(0x1400_0004), None); // b
        assert_eq!(at(0xd61f_0100), None); // br x8
        assert_eq!(at(0xd65f_03c0), None); // ret
        assert_eq!(aarch64(ending(&0x9400_0004_u32.to_le_bytes()), 0x1002), None);
    }
}
