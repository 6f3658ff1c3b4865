//! libFuzzer's way into [`bodies::record`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::record::check(input));
