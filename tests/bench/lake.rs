//! A lake as large as a month of a company's calls, made by the real write path, and questions asked of it.
//!
//! `lake fill DIR [--rows N] [--days N] [--round N] [--seed S] [--without-admissions]` appends what metering writes of N attempts to the embedded
//! log in `DIR/log`, and shelves it into `DIR/lake` as the lake writer does, round by round; it says what shelving cost. Nothing is
//! written beside that path. `lake fresh DIR [--rate N] [--seconds N] [--kafka]` writes so many attempts a second, to a real Kafka if told to,
//! while the roles `lake` and `query` run, and says how long after its record is committed a call is in an answer.
//! `lake ask DIR` answers each line of its input, a statement, with an Arrow stream; `questions.py` beside
//! this folder starts it and asks DuckDB the same.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark ends where it fails")]
#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

#[path = "lake/ask.rs"]
mod ask;
#[path = "../support/kafka.rs"]
#[expect(dead_code, reason = "tests stop and start brokers; a benchmark does not")]
mod broker;
#[path = "lake/fill.rs"]
mod fill;
#[path = "lake/fresh.rs"]
mod fresh;
#[path = "lake/lots.rs"]
mod lots;
#[path = "lake/world.rs"]
mod world;

use std::{path::PathBuf, time::Duration};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(otherwise, |place| arguments[place + 1].parse().unwrap())
    };
    let command = arguments.get(1).map(String::as_str);
    let Some((command, dir)) = command.zip(arguments.get(2).map(PathBuf::from)) else {
        println!("lake fill DIR [--rows N] [--days N] [--round N] [--seed S] [--without-admissions]");
        println!("lake fresh DIR [--rate N] [--seconds N] [--kafka] [--without-admissions] | lake ask DIR");
        return;
    };
    let plan = |dir, rows, days| fill::Plan {
        dir,
        rows,
        days,
        round: number("--round", 500_000),
        seed: number("--seed", 7),
        admissions: !arguments.iter().any(|argument| argument == "--without-admissions"),
    };
    match command {
        "fill" => {
            fill::fill(&plan(dir.clone(), number("--rows", 1_000_000), number("--days", 30)));
            fill::keep_up(&dir);
        }
        "fresh" => {
            let (rate, seconds) = (number("--rate", 1_000_000 / 60), number("--seconds", 60));
            // What is open at the end stays open: there are a few seconds of more.
            let plan = plan(dir, rate * (seconds + 10), 1);
            let on_kafka = arguments.iter().any(|argument| argument == "--kafka");
            let road = if on_kafka { fresh::kafka(&plan) } else { fresh::disk(&plan) };
            fresh::fresh(&plan, road, rate, Duration::from_secs(seconds));
        }
        _ => ask::ask(&dir),
    }
}
