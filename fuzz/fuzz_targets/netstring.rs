//! Netstrings: however a stream is cut, the same strings, and writing them gives the bytes read. What is checked is in `marline_protocols::netstring`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| marline_protocols::netstring::fuzz(data));
