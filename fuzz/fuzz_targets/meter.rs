//! libFuzzer's way into [`bodies::meter`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::meter::check(input));
