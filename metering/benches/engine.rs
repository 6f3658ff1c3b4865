//! How many events a second the pure engine accepts on one core, with three limits on each call.
//!
//! `taskset -c 0 cargo bench -p metering --bench engine`. A call is two events, `Admitted` and `Settled`, made beforehand; what
//! is to be committed is taken after each thousand. Measured twice: events as values, and from the bytes of the log to the
//! bytes of the log; the baseline of the second reads and writes the same records without an engine between. CPU time of this
//! thread counts, not the time on the wall. The first argument is the number of events, 200,000 by default.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::{hint::black_box, time::Duration};

use metering::engine::{Commit, Input};
use schemas::{
    decision::{Key, State},
    event::{Admitted, Event},
    ledger::{Begun, Charged, Entry, Fact},
    wire,
};

#[path = "desk/calls.rs"]
mod calls;
#[path = "desk/clock.rs"]
mod clock;

use calls::Desk;
use clock::{BATCH, NOW, ROUNDS, median, timed};

fn main() {
    let events = clock::events();
    let desk = Desk::new(NOW);
    let values: Vec<Event> = (0..events / 2).flat_map(|number| desk.call(number)).collect();
    let bodies: Vec<Vec<u8>> = values.iter().map(wire::encode_event).collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let (mut pure, mut whole, mut wire_alone) = (Vec::new(), Vec::new(), Vec::new());
    // Rounds alternate, so that a slow minute of the machine hits all three.
    for _ in 0..ROUNDS {
        pure.push(alone(&desk, values.clone()));
        whole.push(coded(&desk, &bodies));
        wire_alone.push(coding_alone(&bodies));
    }
    let rate = |took: Vec<Duration>| events as f64 / median(took).as_secs_f64();
    let (pure, whole, wire_alone) = (rate(pure), rate(whole), rate(wire_alone));
    println!("{events} events of {} bytes, 3 limits, taken per {BATCH}; events a second of one core:", bytes / events);
    println!("engine alone: {pure:.0}");
    println!(
        "bytes to bytes: {whole:.0}; the same bytes read and written without the engine: {wire_alone:.0}; ratio {:.2}",
        whole / wire_alone
    );
}

/// The engine alone: values in, values out.
fn alone(desk: &Desk, events: Vec<Event>) -> Duration {
    let mut engine = desk.leased();
    let expected = events.len();
    let took = timed(|| {
        for (number, event) in events.into_iter().enumerate() {
            engine.apply(Input::Event(desk.origin(number + 2), Ok(event)), NOW);
            if number % BATCH == BATCH - 1 {
                black_box(engine.take());
            }
        }
    });
    assert_eq!(engine.counts().accepted, expected as u64 + 2);
    took
}

/// What metering does between the log and the log.
fn coded(desk: &Desk, bodies: &[Vec<u8>]) -> Duration {
    let mut engine = desk.leased();
    let took = timed(|| {
        for (number, body) in bodies.iter().enumerate() {
            let event = wire::decode_event(body).map_err(|error| error.to_string());
            engine.apply(Input::Event(desk.origin(number + 2), event), NOW);
            if number % BATCH == BATCH - 1 {
                black_box(engine.take().map(|commit| encoded(&commit)));
            }
        }
    });
    assert_eq!(engine.counts().accepted, bodies.len() as u64 + 2);
    took
}

/// Writes what is to be committed, as bytes; gives how many.
fn encoded(commit: &Commit) -> usize {
    let state = |(key, state): &(Key, Option<State>)| {
        wire::encode_key(key).len() + state.as_ref().map_or(0, |state| black_box(wire::encode_state(state)).len())
    };
    let ledger: Vec<Vec<u8>> = commit.ledger.iter().map(wire::encode_entry).collect();
    black_box(&ledger).iter().map(Vec::len).sum::<usize>() + commit.decisions.iter().map(state).sum::<usize>()
}

/// Reads each event and writes it as an entry of the ledger, uncharged.
fn coding_alone(bodies: &[Vec<u8>]) -> Duration {
    timed(|| {
        for batch in bodies.chunks(BATCH) {
            let entry = |body: &Vec<u8>| {
                let fact = match wire::decode_event(body).unwrap() {
                    Event::Settled(settled) => {
                        Fact::Charged(Box::new(Charged { settled: *settled, charges: Vec::new() }))
                    }
                    Event::Admitted(admitted) => {
                        let Admitted { attempt, holds } = *admitted;
                        Fact::Admitted(Box::new(Begun { attempt, holds, producer: None }))
                    }
                    other => unreachable!("{other:?}"),
                };
                wire::encode_entry(&Entry { recorded_at: NOW, fact })
            };
            black_box(batch.iter().map(entry).collect::<Vec<_>>());
        }
    })
}
