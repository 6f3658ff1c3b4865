//! libFuzzer's way into [`bodies::flight`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::flight::check(input));
