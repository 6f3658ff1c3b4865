//! libFuzzer's way into [`bodies::request`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::request::check(input));
