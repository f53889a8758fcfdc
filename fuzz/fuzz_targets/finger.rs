//! Questions of finger: what is read can be written and is read again. What is checked is in `marline_protocols::finger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| marline_protocols::finger::fuzz(data));
