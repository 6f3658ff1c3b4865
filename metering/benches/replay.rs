//! How many entries of the ledger a second replay goes through on one core, from bytes to balances, with three limits on each call.
//!
//! `taskset -c 0 cargo bench -p metering --bench replay`. The ledger is what the engine writes of calls, taken after each thousand
//! events. Baselines in the same run: the same bytes only decoded, and the events of those calls gone through by the engine, from bytes
//! to bytes. CPU time of this thread counts, not the time on the wall. The first argument is the number of events, 200,000 by default.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{hint::black_box, sync::Arc, time::Duration};

use metering::{engine::Input, replay::Replay};
use schemas::{event::Event, time::Time, wire};

#[path = "desk/calls.rs"]
mod calls;
#[path = "desk/clock.rs"]
mod clock;

use calls::Desk;
use clock::{median, timed};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Time = Time::from_micros(1_795_000_000_000_000);
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;

fn main() {
    let events = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200_000);
    let desk = Desk::new(NOW);
    let bodies: Vec<Vec<u8>> =
        (0..events / 2).flat_map(|number| desk.call(number)).map(|event| wire::encode_event(&event)).collect();
    let ledger = written(&desk, &bodies);
    let bytes: usize = ledger.iter().map(Vec::len).sum();
    let (mut folded, mut decoded, mut engine) = (Vec::new(), Vec::new(), Vec::new());
    // Rounds alternate, so that a slow minute of the machine hits all three.
    for _ in 0..ROUNDS {
        folded.push(timed(|| fold(&desk, &ledger)));
        decoded.push(timed(|| decode(&ledger)));
        engine.push(timed(|| drop(black_box(written(&desk, &bodies)))));
    }
    let rate = |took: Vec<Duration>| ledger.len() as f64 / median(took).as_secs_f64();
    let (folded, decoded, engine) = (rate(folded), rate(decoded), rate(engine));
    println!("{} entries of {} bytes, 3 limits; entries a second of one core:", ledger.len(), bytes / ledger.len());
    println!("replayed from bytes: {folded:.0}");
    println!("the same bytes only decoded: {decoded:.0}; ratio {:.2}", folded / decoded);
    println!("written by the engine, from bytes to bytes: {engine:.0}; ratio {:.2}", folded / engine);
}

/// The ledger of some events, as bytes.
fn written(desk: &Desk, bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut engine, mut ledger) = (desk.leased(), Vec::new());
    for (number, body) in bodies.iter().enumerate() {
        let event: Event = wire::decode_event(body).unwrap();
        engine.apply(Input::Event(desk.origin(number + 2), Ok(event)), NOW);
        if number % BATCH == BATCH - 1 || number + 1 == bodies.len() {
            ledger.extend(engine.take().unwrap().ledger.iter().map(wire::encode_entry));
        }
    }
    ledger
}

fn fold(desk: &Desk, ledger: &[Vec<u8>]) {
    let mut replay = Replay::default();
    replay.book(Arc::clone(&desk.book));
    for body in ledger {
        replay.take(wire::decode_entry(body).unwrap());
    }
    let (counts, difference) = replay.end();
    assert_eq!((counts.entries, difference), (ledger.len() as u64, None));
    assert!(counts.attempts > 0 && counts.balances == 3);
}

fn decode(ledger: &[Vec<u8>]) {
    for body in ledger {
        black_box(wire::decode_entry(body).unwrap());
    }
}
