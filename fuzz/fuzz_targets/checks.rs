//! libFuzzer's way into [`bodies::checks`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::checks::check(input));
