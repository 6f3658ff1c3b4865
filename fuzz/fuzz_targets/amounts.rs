//! libFuzzer's way into [`bodies::amounts`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::amounts::check(input));
