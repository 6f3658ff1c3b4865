//! libFuzzer's way into [`bodies::eventstream`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::eventstream::check(input));
