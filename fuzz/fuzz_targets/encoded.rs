//! libFuzzer's way into [`bodies::encoded`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::encoded::check(input));
