//! Line framing: however a stream is cut, the same lines. What is checked is in `marline_protocols::line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| marline_protocols::line::fuzz(data));
