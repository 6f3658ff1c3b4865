//! libFuzzer's way into [`bodies::wire`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::wire::check(input));
