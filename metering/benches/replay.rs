//! How many entries of the ledger a second replay goes through on one core, with three limits on each call.
//!
//! `taskset -c 0 cargo bench -p metering --bench replay`. The ledger is what the engine writes of calls, taken after each thousand
//! events. Measured twice: entries as values, and from the bytes of the log; the baseline of the second only decodes the same bytes. CPU
//! time of this thread counts, not the time on the wall. The first argument is the number of events, 200,000 by default.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{hint::black_box, sync::Arc, time::Duration};

use metering::{
    engine::{Engine, Input},
    replay::Replay,
};
use schemas::{ledger::Entry, wire};

#[path = "desk/calls.rs"]
mod calls;
#[path = "desk/clock.rs"]
mod clock;

use calls::Desk;
use clock::{BATCH, NOW, ROUNDS, median, timed};

fn main() {
    let events = clock::events();
    let desk = Desk::new(NOW);
    let ledger = written(&desk, events / 2);
    let bytes: usize = ledger.iter().map(Vec::len).sum();
    let entries: Vec<Entry> = ledger.iter().map(|body| wire::decode_entry(body).unwrap()).collect();
    let (mut folded, mut whole, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
    // Rounds alternate, so that a slow minute of the machine hits all three.
    for _ in 0..ROUNDS {
        folded.push(fold(&desk, entries.clone().into_iter(), entries.len()));
        whole.push(fold(&desk, ledger.iter().map(|body| wire::decode_entry(body).unwrap()), entries.len()));
        decoded.push(timed(|| ledger.iter().for_each(|body| drop(black_box(wire::decode_entry(body).unwrap())))));
    }
    let rate = |took: Vec<Duration>| entries.len() as f64 / median(took).as_secs_f64();
    let (folded, whole, decoded) = (rate(folded), rate(whole), rate(decoded));
    println!("{} entries of {} bytes, 3 limits; entries a second of one core:", entries.len(), bytes / entries.len());
    println!("folded: {folded:.0}");
    println!("from bytes: {whole:.0}; the same bytes only decoded: {decoded:.0}; ratio {:.2}", whole / decoded);
}

/// The ledger of so many calls, as bytes.
fn written(desk: &Desk, calls: usize) -> Vec<Vec<u8>> {
    let (mut engine, mut ledger) = (desk.leased(), Vec::new());
    let mut commit = |engine: &mut Engine| {
        let commit = engine.take();
        ledger.extend(commit.iter().flat_map(|commit| &commit.ledger).map(wire::encode_entry));
    };
    for (number, event) in (0..calls).flat_map(|number| desk.call(number)).enumerate() {
        engine.apply(Input::Event(desk.origin(number + 2), Ok(event)), NOW);
        if number % BATCH == BATCH - 1 {
            commit(&mut engine);
        }
    }
    commit(&mut engine);
    ledger
}

/// How long it takes to replay a ledger.
fn fold(desk: &Desk, ledger: impl Iterator<Item = Entry>, entries: usize) -> Duration {
    let mut replay = Replay::default();
    replay.book(Arc::clone(&desk.book));
    let mut end = None;
    let took = timed(|| {
        ledger.for_each(|entry| replay.take(entry));
        end = Some(replay.end());
    });
    let (counts, difference) = end.unwrap();
    assert_eq!((counts.entries, difference), (entries as u64, None));
    assert!(counts.attempts > 0 && counts.balances == 3);
    took
}
