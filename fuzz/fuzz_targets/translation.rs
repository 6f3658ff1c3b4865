//! libFuzzer's way into [`bodies::translation`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::translation::check(input));
