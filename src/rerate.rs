//! `tollgate rerate`: what past calls would have cost by other prices.

use std::{path::PathBuf, process::ExitCode};

use metering::rerate::{Rerate, Side, Sums};
use schemas::{money::Pico, price::Book, time::Time};

use crate::{
    EXIT_USAGE, history,
    load::{self, load},
    roles::open_road,
};

/// Recompute past charges by other prices and report the difference, by tenant and model. Nothing is changed.
///
/// The prices are those of the file over the built-in book; a call is rated at the time of its admission. Reads the log only: one
/// on disk has one process, so stop that first.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A price file, as `prices` in the configuration names them.
    #[arg(long, value_name = "FILE")]
    prices: PathBuf,
    /// From when on, by admission: a day (UTC) such as 2026-11-01, or an instant such as 2026-11-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    from: Option<Time>,
    /// Up to when, exclusive.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    to: Option<Time>,
    /// The configuration file; only its `log` is used.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let book = match load::price_file(&args.prices) {
        Ok(file) => Book::layered(&[file]),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let mut rerate = Rerate::new(&book, args.from.unwrap_or(Time::ZERO), args.to.unwrap_or(Time::MAX));
    let read = open_road(&loaded.config).and_then(|road| history::entries(&*road, |entry| rerate.take(&entry)));
    match read {
        Ok(()) => {
            show(&rerate);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(rerate: &Rerate<'_>) {
    let mut all = Sums::default();
    let row = |tenant: &str, model: &str, attempts: &str, sides: [&str; 3]| {
        let [before, after, delta] = sides;
        println!("{tenant:<16} {model:<28} {attempts:>8} {before:>22} {after:>22} {delta:>22}");
    };
    row("tenant", "model", "attempts", ["before, usd", "after, usd", "difference, usd"]);
    let sums = |tenant: &str, model: &str, sums: &Sums| {
        let delta = Pico(sums.after.cost.0 - sums.before.cost.0).to_string();
        row(tenant, model, &sums.attempts.to_string(), [&side(&sums.before), &side(&sums.after), &delta]);
    };
    for ((tenant, model), of) in &rerate.sums {
        sums(tenant, model, of);
        all.attempts += of.attempts;
        for (all, of) in [(&mut all.before, &of.before), (&mut all.after, &of.after)] {
            all.cost += of.cost;
            all.unpriced += of.unpriced;
        }
    }
    sums("all", "", &all);
    if all.before.unpriced + all.after.unpriced > 0 {
        println!("+n: so many charges have no price there, and are in no sum");
    }
}

fn side(side: &Side) -> String {
    let missing = if side.unpriced > 0 { format!(" +{}", side.unpriced) } else { String::new() };
    format!("{}{missing}", side.cost)
}
