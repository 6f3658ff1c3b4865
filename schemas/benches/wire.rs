//! How long it takes to write and read the records of one call: `cargo bench -p schemas`.
//!
//! Prints nanoseconds and bytes for each kind of record, the best of some rounds. The records are those of `golden/v1`.

#![expect(clippy::expect_used, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use schemas::wire::{decode_entry, decode_event, encode_entry_into, encode_event_into, hash};

const ROUNDS: u32 = 20;
const TIMES: u32 = 20_000;

fn main() {
    let admitted = include_bytes!("../golden/v1/event-admitted.bin");
    let settled = include_bytes!("../golden/v1/event-settled.bin");
    let charged = include_bytes!("../golden/v1/entry-charged.bin");
    let mut out = Vec::with_capacity(4096);
    for (name, body) in [("admitted", admitted.as_slice()), ("settled", settled)] {
        let event = decode_event(body).expect("a golden record decodes");
        report(name, "encode", body, || {
            out.clear();
            encode_event_into(black_box(&event), &mut out);
        });
        report(name, "decode", body, || {
            let _ = black_box(decode_event(black_box(body)));
        });
    }
    let entry = decode_entry(charged).expect("a golden record decodes");
    report("charged", "encode", charged, || {
        out.clear();
        encode_entry_into(black_box(&entry), &mut out);
    });
    report("charged", "decode", charged, || {
        let _ = black_box(decode_entry(black_box(charged)));
    });
    report("settled", "hash", settled, || {
        black_box(hash(black_box(settled)));
    });
}

fn report(name: &str, what: &str, body: &[u8], mut run: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..TIMES).for_each(|_| run());
        best = best.min(start.elapsed());
    }
    println!("{name:9} {what} {:5} ns for {} bytes", best.as_nanos() / u128::from(TIMES), body.len());
}
