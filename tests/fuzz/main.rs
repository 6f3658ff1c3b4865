//! The fuzz targets for a short while: the bodies of `fuzz/`, fed from a fixed seed over real inputs, with nothing but stable Rust.
//!
//! Each target takes every one of its seeds as it is, then so many changed ones, within three seconds of an unoptimised build. A
//! failure prints the input, and `TOLLGATE_FUZZ_INPUT` with that text runs it alone. `TOLLGATE_FUZZ_SEED` takes other throws,
//! `TOLLGATE_FUZZ_TIMES` so many times more of them, and `TOLLGATE_FUZZ_CORPUS` writes the seeds into a directory for `cargo fuzz`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::{env, fmt::Write as _, fs, panic, path::Path};

#[path = "../../fuzz/src/lib.rs"]
pub mod bodies;
mod change;
mod seeds;

use bodies::dice::Dice;

/// The longest input that is made of others.
const LONGEST: usize = 8 * 1024;

fn check(name: &str, body: fn(&[u8]), seeds: Vec<Vec<u8>>, words: &[&str], rounds: usize) {
    if let Ok(input) = env::var("TOLLGATE_FUZZ_INPUT") {
        return body(&bytes(&input));
    }
    if let Some(corpus) = env::var_os("TOLLGATE_FUZZ_CORPUS") {
        let place = Path::new(&corpus).join(name);
        fs::create_dir_all(&place).unwrap();
        seeds.iter().enumerate().for_each(|(at, seed)| fs::write(place.join(at.to_string()), seed).unwrap());
    }
    let number = |name: &str, otherwise| env::var(name).map_or(otherwise, |value| value.parse().unwrap());
    let seed = number("TOLLGATE_FUZZ_SEED", 1);
    let rounds = rounds * usize::try_from(number("TOLLGATE_FUZZ_TIMES", 1)).unwrap();
    println!("{name}: seed {seed}, {} inputs as they are and {rounds} changed", seeds.len());
    assert!(!seeds.is_empty());
    let mut dice = Dice::new(seed);
    for round in 0..seeds.len() + rounds {
        let input = seeds.get(round).cloned().unwrap_or_else(|| change::changed(&mut dice, &seeds, words, LONGEST));
        if let Err(why) = panic::catch_unwind(|| body(&input)) {
            // What is longer is a seed, which is always the same.
            let input = &input[..input.len().min(LONGEST)];
            let shown = String::from_utf8_lossy(input);
            println!("{name}: seed {seed}, round {round} fails:\n{shown}\nTOLLGATE_FUZZ_INPUT={}", hex(input));
            panic::resume_unwind(why);
        }
    }
}

fn hex(input: &[u8]) -> String {
    input.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.trim().as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

macro_rules! targets {
    ($($name:ident: $rounds:literal,)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name), bodies::$name::check, seeds::$name(), seeds::words(stringify!($name)), $rounds);
        })*
    };
}

// How often each is fed: what an unoptimised build does in a second or two of one core.
targets! {
    amounts: 2_000,
    checks: 30_000,
    config: 500,
    encoded: 200,
    events: 500,
    eventstream: 60,
    headers: 1_000,
    json: 1_000,
    meter: 300,
    record: 20_000,
    request: 500,
    segment: 100,
    sse: 200,
    telling: 500,
    translation: 500,
    wire: 2_000,
}

#[cfg(feature = "query")]
targets! {
    arrays: 20_000,
    flight: 2_000,
    postgres: 20_000,
    sql: 1_000,
}
