//! Frames behind their length: however a stream is cut, the same frames, and writing them gives the bytes read. What is checked is in `marline_protocols::length_prefix`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| marline_protocols::length_prefix::fuzz(data));
