//! libFuzzer's way into [`bodies::telling`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::telling::check(input));
