//! libFuzzer's way into [`bodies::sql`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::sql::check(input));
