//! `tollgate replay`: the books made anew from the log, and proved equal to those in force.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use journal::Road;
use metering::replay::{Counts, Difference, Replay};
use schemas::{decision::State, error_code::ErrorCode};

use crate::{
    failure::Failure,
    history::{self, History},
    load::load,
    roles::open_road,
};

/// The books do not agree.
const EXIT_DIFFERENT: u8 = 1;
/// Rebuild every balance from the log and prove it equal to the live one.
///
/// Rates every attempt again by the book that it was stamped with, adds up what attempts used of every limit, and compares both with
/// what metering wrote and with the state that gateways obey, to the unit. Reads the ledger from its beginning: what the log has let go
/// of from the lake, where a row that is missing or changed is a difference too. Reads only. A log on disk has one process, so stop that
/// first; on Kafka it may run beside the roles, when no call is open. Exits with 0 if all is equal, else with 1 and the first
/// difference.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file; only its `log` and `lake` are used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let begun = Instant::now();
    let proof = open_road(&loaded.config).and_then(|road| replay(&*road, &History::new(&*road, &loaded.config)));
    match proof {
        Ok((counts, difference)) => say(counts, difference.as_ref(), begun.elapsed()),
        Err(error) if error.code() == Some(ErrorCode::ArchiveDamaged) => {
            println!("NOT equal; the first difference: {error}");
            ExitCode::from(EXIT_DIFFERENT)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_DIFFERENT)
        }
    }
}

fn replay(road: &dyn Road, history: &History<'_>) -> Result<(Counts, Option<Difference>), Failure> {
    let mut replay = Replay::default();
    history.books(|book| replay.book(book))?;
    let states = history::states_in_step(road)?;
    history.entries(|_, entry| replay.take(entry))?;
    for (_, state) in &states {
        if let State::Instance(instance) = state {
            replay.live(instance);
        }
    }
    let chain = replay.chain();
    let (counts, mut difference) = replay.end();
    if let Some(mut chain) = chain {
        history.entries(|_, entry| chain.take(entry))?;
        difference = difference.or_else(|| chain.end());
    }
    Ok((counts, difference))
}

fn say(counts: Counts, difference: Option<&Difference>, took: Duration) -> ExitCode {
    let Counts { entries, attempts, charges, corrections, balances } = counts;
    println!(
        "replayed {entries} entries in {:.1} s: {attempts} attempts, {corrections} corrections, {charges} charges, \
         {balances} balances",
        took.as_secs_f64()
    );
    match difference {
        None => {
            println!("all of it is equal, to the unit");
            ExitCode::SUCCESS
        }
        Some(difference) => {
            println!("NOT equal; the first difference: {difference}");
            ExitCode::from(EXIT_DIFFERENT)
        }
    }
}
