//! libFuzzer's way into [`bodies::config`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::config::check(input));
