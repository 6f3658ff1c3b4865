//! The simulation: N gateways, metering and the lake writer on one seeded clock, with an oracle that owes nothing to the engine.
//!
//! A fixed set of seeds runs with every `cargo test`; `run.rs` beside this runs as many steps of one seed as it is asked for. A
//! failure names the obligation, the seed and the step, and replays exactly. That the oracle would see is proved by faults: each is
//! planted alone and has to be caught.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]
#![expect(clippy::indexing_slicing, reason = "the places of a world are its own")]

mod world;

use std::collections::BTreeSet;

use world::{Obligation, Plant};

/// Steps of each seed: three rests.
const STEPS: u64 = 4_500;

/// Seeds within which a planted fault has to be caught.
const SEEDS: u64 = 48;

/// How many calls pass in a world, and how often the last unit is asked for there, on average, at least. It could be asked for eight
/// times; a limit that is used up has none left.
const PASSED: u64 = 90;
const PROBES: u64 = 5;

fn hold(seeds: std::ops::Range<u64>) {
    let worlds = seeds.end - seeds.start;
    let (mut passed, mut probes, mut happened) = (0, 0, BTreeSet::new());
    for seed in seeds {
        let world = world::run(seed, STEPS, None).unwrap_or_else(|failure| panic!("{failure}"));
        passed += world.passed;
        probes += world.probes;
        happened.extend(world.happened.keys().copied());
    }
    let missing: Vec<_> = world::HAPPENS.iter().filter(|what| !happened.contains(*what)).collect();
    assert!(missing.is_empty(), "in {worlds} worlds it never happened that {missing:?}");
    assert!(passed >= PASSED * worlds, "{passed} calls passed in {worlds} worlds");
    assert!(probes >= PROBES * worlds, "the last unit was asked for {probes} times in {worlds} worlds");
}

#[test]
fn every_obligation_holds_whatever_goes_wrong() {
    hold(1..33);
}

#[test]
fn every_obligation_holds_whatever_else_goes_wrong() {
    hold(33..65);
}

/// In every step, and where it breaks: what a failure prints is the very run.
#[test]
fn a_seed_replays_exactly() {
    let told = |plant| match world::run(7, STEPS, plant) {
        Ok(world) => format!("{} passed, trace {:016x}", world.passed, world.trace()),
        Err(failure) => failure.to_string(),
    };
    for plant in [None, Some(Plant::UnknownReleased)] {
        assert_eq!(told(plant), told(plant));
    }
    assert!(told(None).contains("passed"), "{}", told(None));
    assert_ne!(told(None), told(Some(Plant::UnknownReleased)));
}

/// Every planted fault breaks what it has to break, within a few seeds, and nothing else before; and there is no obligation that none
/// breaks. Without a fault none is broken: the other tests say so.
#[test]
fn every_planted_fault_is_caught_by_what_it_breaks() {
    let (mut wrong, mut broken) = (Vec::new(), BTreeSet::new());
    for planted in world::PLANTED {
        let plant = planted.plant;
        let failure = (1..=SEEDS).find_map(|seed| world::run(seed, STEPS, Some(plant)).err());
        println!("{plant:?}: {}", failure.as_ref().map_or("not caught".to_owned(), ToString::to_string));
        match failure {
            None => wrong.push(format!("{plant:?} is not caught: {} ({})", planted.what, planted.schedule)),
            Some(failure) if !planted.breaks.contains(&failure.violation.obligation) => {
                wrong.push(format!("{plant:?} has to break one of {:?}, and: {failure}", planted.breaks));
            }
            Some(failure) => drop(broken.insert(failure.violation.obligation)),
        }
    }
    let idle = Obligation::ALL.iter().filter(|obligation| !broken.contains(*obligation));
    wrong.extend(idle.map(|obligation| format!("no fault breaks {obligation:?}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
