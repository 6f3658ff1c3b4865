//! libFuzzer's way into [`bodies::headers`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::headers::check(input));
