//! `tollgate export focus`: one month, as FOCUS has it.

use std::{path::PathBuf, process::ExitCode};

use query::{
    focus::{self, Form, Month, VERSIONS},
    sql::encode::Format,
};
use schemas::{error_code::ErrorCode, time};

use crate::{
    EXIT_USAGE,
    desk::{Asking, Desk, put},
    failure::Failure,
    out, rows,
};

/// Write a month in the FinOps Open Cost and Usage Specification: one row for each hour, tenant, key, user, tags and price.
///
/// A month is closed three days after its end; from then on its rows never change, and what becomes known later is in the month in which it does, as a
/// correction. Usage without a price is in no row, because FOCUS has no unknown cost: what that is, is said on standard error.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The month in UTC, such as 2026-11.
    #[arg(long, value_name = "MONTH", value_parser = Month::parse)]
    period: Month,
    /// The version of FOCUS.
    #[arg(long, value_name = "VERSION", default_value = "1.2", value_parser = clap::builder::PossibleValuesParser::new(VERSIONS))]
    version: String,
    /// How it is written; by the name of --output if not said, else csv.
    #[arg(long, value_enum)]
    format: Option<FileForm>,
    /// Where to; standard output if not said.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FileForm {
    Csv,
    Parquet,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let by_name =
        args.output.as_ref().is_some_and(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    let form = match args.format {
        Some(FileForm::Parquet) => Form::Parquet,
        None if by_name => Form::Parquet,
        _ => Form::Csv,
    };
    match export(args, form) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if error.code() == Some(ErrorCode::QueryRefused) { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn export(args: &Args, form: Form) -> Result<(), Failure> {
    let desk = Desk::open(&args.asking)?;
    let answer = desk.ask(&args.period.sql(), Format::Arrow)?;
    let left_out = desk.json(&args.period.left_out())?;
    desk.close()?;
    let (bytes, count) = focus::write(&answer, form, &args.version)?;
    put(args.output.as_ref(), &bytes)?;
    eprintln!("{count} rows of FOCUS {}", args.version);
    if let Some(closes) = args.period.closes().filter(|closes| time::now() < *closes) {
        eprintln!("the month is open: more may come to it until {closes}");
    }
    if left_out["rows"].as_array().is_some_and(|rows| !rows.is_empty()) {
        out::remark(format_args!(
            "not in it, because nobody knows what it costs (the view unpriced has more):\n{}",
            rows::table(&left_out, "  ")
        ));
    }
    Ok(())
}
