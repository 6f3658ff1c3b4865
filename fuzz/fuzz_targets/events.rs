//! libFuzzer's way into [`bodies::events`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::events::check(input));
