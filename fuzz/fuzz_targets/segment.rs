//! libFuzzer's way into [`bodies::segment`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::segment::check(input));
