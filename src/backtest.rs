//! `tollgate backtest`: which past calls other limits would have refused.

use std::{fs, path::PathBuf, process::ExitCode};

use metering::backtest::{Backtest, Findings, MOST};
use schemas::{error_code::ErrorCode, limit::Limit};

use crate::{
    EXIT_USAGE,
    failure::Failure,
    history::History,
    load::{Loaded, load},
    period::Period,
    roles::open_road,
};

/// Say which past calls other limits would have refused, by limit and tenant.
///
/// Goes through the ledger's attempts in the order of their admission, over limits that are empty at first, and judges each by what it
/// used in the end. A gateway holds the most that a call can use, so near the end of an amount it refuses a little earlier. A call that
/// was tried several times is judged each time. An attempt of which nothing is known is a request, and uses nothing else. Reads the log only: one on disk has one process, so stop that first.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file with a list `limits`, as the configuration has one.
    #[arg(long, value_name = "FILE")]
    limits: PathBuf,
    #[command(flatten)]
    period: Period,
    /// List every attempt that would have been refused.
    #[arg(long)]
    calls: bool,
    /// The configuration file; its `log`, `lake`, tenants and providers are used.
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
    let limits = match limits(args, &loaded) {
        Ok(limits) => limits,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("error: {mistake}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match judge(args, &loaded, limits) {
        Ok(findings) => {
            show(args, &findings);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The limits of the file, or every mistake as a line.
fn limits(args: &Args, loaded: &Loaded) -> Result<Vec<Limit>, Vec<String>> {
    let name = args.limits.display().to_string();
    let text = fs::read_to_string(&args.limits)
        .map_err(|error| vec![format!("{name}: {}: it cannot be read: {error}", ErrorCode::ConfigUnreadable)])?;
    let env = |variable: &str| std::env::var(variable).ok();
    let limits = loaded.config.other_limits(&text, &name, &env);
    let (limits, warnings) = limits.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(limits)
}

fn judge(args: &Args, loaded: &Loaded, limits: Vec<Limit>) -> Result<Findings, Failure> {
    let mut backtest = Backtest::new(limits, args.period.from(), args.period.to());
    let (road, mut fits) = (open_road(&loaded.config)?, true);
    History::new(&*road, &loaded.config).entries(|_, entry| {
        if fits {
            fits = backtest.take(entry);
        }
    })?;
    if fits {
        Ok(backtest.judge())
    } else {
        Err(format!("more than {MOST} attempts; name less time with --from and --to").into())
    }
}

fn show(args: &Args, findings: &Findings) {
    let row = |cells: [&str; 8]| {
        let [limit, tenant, attempts, refused, tokens, usd, unknown, first] = cells;
        println!("{limit:<24} {tenant:<16} {attempts:>9} {refused:>9} {tokens:>14} {usd:>18} {unknown:>8} {first}");
    };
    row(["limit", "tenant", "attempts", "refused", "tokens refused", "usd refused", "unknown", "first refusal"]);
    for ((limit, tenant), verdict) in &findings.verdicts {
        let first = verdict.first.map_or_else(|| "-".to_owned(), |(at, call)| format!("{at} {call}"));
        let counts = [verdict.attempts, verdict.refused, verdict.unknown].map(|count| count.to_string());
        let [attempts, refused, unknown] = &counts;
        let (tokens, cost) = (verdict.tokens.to_string(), verdict.cost.to_string());
        row([limit, tenant, attempts, refused, &tokens, &cost, unknown, &first]);
    }
    if findings.verdicts.values().any(|verdict| verdict.unknown > 0) {
        println!(
            "unknown: of so many attempts nobody knows what they used of the limit; they are taken to use nothing of it"
        );
    }
    println!("{} attempts would have been refused, judged by what they used in the end", findings.refused.len());
    if args.calls {
        for (at, call, attempt, limits) in &findings.refused {
            println!("{at} {call} {attempt} {}", limits.join(","));
        }
    }
}
