//! The simulation from the command line: `cargo run -p tollgate --example sim -- --seed 7 --steps 1000000`.
//!
//! Runs one world and says what it did. A failure names the obligation, the seed and the step, and replays exactly.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a simulation that cannot go on says where")]
#![expect(clippy::indexing_slicing, reason = "the places of a world are its own")]
#![expect(clippy::print_stdout, reason = "it says what it did")]

mod world;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(otherwise, |place| arguments[place + 1].parse().unwrap())
    };
    let (seed, steps) = (number("--seed", 1), number("--steps", 100_000));
    // A planted fault is named as the list of them names it.
    let planted = arguments.iter().position(|argument| argument == "--plant").map(|place| &arguments[place + 1]);
    let planted = planted.map(|name| {
        let known = world::PLANTED.iter().find(|known| format!("{:?}", known.plant) == *name);
        known.unwrap_or_else(|| {
            let names: Vec<String> = world::PLANTED.iter().map(|known| format!("{:?}", known.plant)).collect();
            panic!("there is no fault {name}; there are {}", names.join(", "))
        })
    });
    if let Some(planted) = planted {
        let breaks: Vec<String> = planted.breaks.iter().map(|obligation| format!("{obligation:?}")).collect();
        println!("planted: {}; has to break {} ({})", planted.what, breaks.join(" or "), planted.schedule);
    }
    let plant = planted.map(|planted| planted.plant);
    // A failure says what had happened by then: a replay that comes to something else is not the same run.
    let wanted = arguments.iter().position(|argument| argument == "--trace");
    let wanted = wanted.map(|place| u64::from_str_radix(&arguments[place + 1], 16).unwrap());
    let compare = |trace: u64| match wanted {
        Some(wanted) if wanted == trace => println!("the same run, step by step"),
        Some(wanted) => println!("another run than that of trace {wanted:016x}: the code is not the same"),
        None => {}
    };
    match world::run(seed, steps, plant) {
        Ok(world) => {
            compare(world.trace());
            let (steps, passed, trace) = (world.steps, world.passed, world.trace());
            let fewest = (world.fewest < u64::MAX).then(|| format!(", {} at least while they could", world.fewest));
            println!(
                "seed {seed}: {steps} steps, {passed} attempts passed{}, the last unit {} times; every obligation held, \
                 trace {trace:016x}",
                fewest.unwrap_or_default(),
                world.probes
            );
        }
        Err(failure) => {
            println!("{failure}");
            compare(failure.trace);
            std::process::exit(1);
        }
    }
}
