//! libFuzzer's way into [`bodies::postgres`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::postgres::check(input));
