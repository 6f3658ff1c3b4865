//! libFuzzer's way into [`bodies::arrays`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::arrays::check(input));
