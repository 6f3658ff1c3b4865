//! libFuzzer's way into [`bodies::sse`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::sse::check(input));
