//! `tollgate rerate`: what past calls would have cost by other prices, and with `--apply` the corrections that make it so.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use metering::rerate::{MOST, Prices, Rerate, Side, Sums};
use schemas::{event::Event, money::Pico, price::PriceFile, time, tokens::Completeness};

use crate::{
    EXIT_USAGE,
    failure::Failure,
    history::History,
    load::{self, Loaded, load},
    period::Period,
    publish::publish_books,
    roles::open_road,
    scribe::Scribe,
};

/// Recompute past charges by other prices and report the difference, by tenant and model.
///
/// The prices are those of the file on top of the book that each attempt is charged by now, as if the file had stood last under `prices`:
/// what it does not name costs what it did. A call is rated at the time of its admission, and compared with what it is charged now,
/// corrections included. Attempts whose usage is not known, or not all of it, are listed with the reason. Without --apply the log is only read. One on disk has one process, so stop that first.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A price file, as `prices` in the configuration names them.
    #[arg(long, value_name = "FILE")]
    prices: PathBuf,
    #[command(flatten)]
    period: Period,
    /// Append the corrections: what was charged is taken back and charged anew, and the difference counts in the limits that the
    /// calls fell under. Nothing is edited, and a second time there is no difference. On Kafka metering has to run.
    #[arg(long)]
    apply: bool,
    /// With --apply, leave charges without a price that have one now; else it refuses (exit 64), and nothing is corrected. Limits in
    /// dollars count nothing of what has no price.
    #[arg(long, requires = "apply")]
    allow_unpriced: bool,
    /// The configuration file; its `log` and `lake` are used, and under FILE its prices for what metering knew no book of.
    #[arg(long, value_name = "FILE", default_value = "tollgate.yaml")]
    config: PathBuf,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if let Err(code) = args.period.check() {
        return code;
    }
    let loaded = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let file = match load::price_file(&args.prices) {
        Ok(file) => file,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = if args.apply {
        Scribe::open(&loaded.config).and_then(|scribe| apply(args, &file, scribe, &loaded))
    } else {
        open_road(&loaded.config)
            .and_then(|road| look(args, &file, &loaded, &History::new(&*road, &loaded.config)))
            .map(|rerate| show(&rerate))
            .map(|()| ExitCode::SUCCESS)
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn look(args: &Args, file: &PriceFile, loaded: &Loaded, history: &History<'_>) -> Result<Rerate, Failure> {
    let mut prices = Prices::new(file.clone(), &loaded.book);
    history.books(|book| prices.know(&book))?;
    let mut rerate = Rerate::new(prices, args.period.from(), args.period.to());
    history.entries(|lane, entry| rerate.take(lane, entry))?;
    Ok(rerate)
}

/// Writes the corrections that are missing, and looks again; gives the exit code.
fn apply(args: &Args, file: &PriceFile, mut scribe: Scribe, loaded: &Loaded) -> Result<ExitCode, Failure> {
    let rerate = look(args, file, loaded, &History::new(scribe.road(), &loaded.config))?;
    show(&rerate);
    if rerate.differing() > MOST {
        return Err(format!(
            "more than {MOST} attempts differ; apply a part of the time at once, with --from and --to"
        )
        .into());
    }
    if let Some((charges, model)) = rerate.losing().filter(|_| !args.allow_unpriced) {
        scribe.leave()?;
        eprintln!(
            "error: {charges} charges that have a price would have none, the first of model `{model}`, and limits in dollars would count \
             nothing of them; nothing is corrected: give them a price in {}, or say --allow-unpriced",
            args.prices.display()
        );
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    publish_books(scribe.road(), rerate.books())?;
    let corrections = rerate.corrections(time::now());
    let ids: BTreeSet<String> = corrections.iter().map(|learned| learned.id.clone()).collect();
    for learned in corrections {
        let lane = learned.lane(scribe.road().lanes());
        scribe.write(lane, &Event::Learned(Box::new(learned)))?;
    }
    scribe.confirmed()?;
    let after = look(args, file, loaded, &History::new(scribe.road(), &loaded.config))?;
    scribe.leave()?;
    println!("{} attempts corrected", ids.len());
    match after.gone(&ids) {
        0 => {}
        gone => println!(
            "{gone} counters of limits are not moved: their limits are not in force any more, or their windows are long over"
        ),
    }
    let left = after.still_differing(&rerate);
    match after.differing() - left {
        0 => {}
        new => println!("{new} attempts that have ended since differ as well: the prices in force are others"),
    }
    match left {
        0 => Ok(ExitCode::SUCCESS),
        left => {
            Err(format!("{left} attempts still differ: they were corrected otherwise meanwhile; run it again").into())
        }
    }
}

/// The report; the sum of all comes last.
fn show(rerate: &Rerate) {
    show_inexact(rerate);
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

/// Lists the attempts that the sums do not know, or not in full.
fn show_inexact(rerate: &Rerate) {
    let inexact: Vec<_> = rerate.inexact.iter().filter(|(_, count)| **count > 0).collect();
    if inexact.is_empty() {
        return;
    }
    println!("not known exactly:");
    for ((tenant, model, known), count) in inexact {
        let what = match known {
            Completeness::Missing(_) => "left out, nothing is known",
            Completeness::LowerBound(_) => "rated by the part that was reported",
            Completeness::Estimated(_) => "rated by an estimate",
            Completeness::Exact => continue,
        };
        let why = known.doubt().map_or("", |doubt| doubt.reason());
        println!("{tenant:<16} {model:<28} {count:>8} {what}: {why}");
    }
}

fn side(side: &Side) -> String {
    let missing = if side.unpriced > 0 { format!(" +{}", side.unpriced) } else { String::new() };
    format!("{}{missing}", side.cost)
}
