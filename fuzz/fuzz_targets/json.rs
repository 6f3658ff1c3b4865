//! libFuzzer's way into [`bodies::json`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::json::check(input));
