//! The simulation: N gateways, metering and the lake writer on one seeded clock, with an oracle that owes nothing to the engine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

mod world;

/// Seeds that run with every `cargo test`.
const SEEDS: u64 = 12;
const STEPS: u64 = 6_000;

#[test]
fn every_obligation_holds_whatever_goes_wrong() {
    for seed in 0..SEEDS {
        if let Err(failure) = world::run(seed, STEPS, None) {
            panic!("{failure}");
        }
    }
}
