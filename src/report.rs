//! `tollgate report`: a documented question, answered on the terminal, as data, or as a page with a chart.

use std::{path::PathBuf, process::ExitCode};

use query::{
    described::Described,
    reports::{self, Period, Span},
    sql::encode::Format,
};
use schemas::time;

use crate::{
    EXIT_USAGE,
    desk::{Asking, Desk, put},
    failure::Failure,
    rows,
};

mod chart;
mod page;

/// Answer a documented question: what was spent by whom, on what, and why. Without a name it lists the reports.
///
/// Money is exact, in dollars. What has no price or is not known is in no sum and is shown apart. Columns that are statistics say so in
/// `tollgate report NAME --describe`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The report.
    name: Option<String>,
    /// From when on, by the time of the calls: a day of the time zone, or an instant. The first of this month, or of that of --as-of, if not said.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to when, exclusive. The end of the month of --from if not said.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The time zone of days and months, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// What was recorded before this, and nothing later: the numbers as they were known then.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// What to group by, separated by commas: tenant, team, project, user_id, key_name, model, provider, tag:NAME, and others.
    #[arg(long, value_name = "DIMENSIONS")]
    by: Option<String>,
    /// hour, day, week, month or total.
    #[arg(long, value_name = "GRAIN")]
    grain: Option<String>,
    /// Another parameter of the report, as NAME=VALUE.
    #[arg(long, value_name = "NAME=VALUE", value_parser = set)]
    set: Vec<(String, String)>,
    /// How it is written.
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
    /// Where to; standard output if not said.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Put an apostrophe before what a spreadsheet would take for a formula: for CSV that is opened in one, and holds names that others chose.
    #[arg(long)]
    for_spreadsheet: bool,
    /// Say what it answers, takes and gives, and print its SQL; ask nobody.
    #[arg(long)]
    describe: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Table,
    Json,
    Csv,
    Parquet,
    Html,
}

fn set(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let Some(name) = &args.name else {
        print!("{}", list());
        return ExitCode::SUCCESS;
    };
    let Some(report) = reports::by_name(name) else {
        eprintln!("error: there is no report {name:?}; `tollgate report` lists them");
        return ExitCode::from(EXIT_USAGE);
    };
    let asked = args.period().and_then(|period| Ok((reports::fill(report, &period, &args.said())?, period)));
    let (sql, period) = match asked {
        Ok(asked) => asked,
        Err(mistake) => {
            eprintln!("error: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.for_spreadsheet && args.format != Form::Csv {
        eprintln!("error: --for-spreadsheet is for --format csv");
        return ExitCode::from(EXIT_USAGE);
    }
    if args.describe {
        print!("{}\n{sql}\n", described(report));
        return ExitCode::SUCCESS;
    }
    match answer(args, report, &sql, &period) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn period(&self) -> Result<Period, String> {
        let (from, to, as_of) = (self.from.clone(), self.to.clone(), self.as_of.clone());
        Period::new(&Span { from, to, zone: Some(self.time_zone.clone()), as_of }, time::now())
    }

    fn said(&self) -> Vec<(String, String)> {
        let named = [("by", &self.by), ("grain", &self.grain)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        named.chain(self.set.iter().cloned()).collect()
    }

    /// What a page says of how it was asked for, beside its time.
    fn told(&self) -> Vec<(String, String)> {
        let as_of = self.as_of.iter().map(|at| ("as of".to_owned(), at.clone()));
        let tenants = self.asking.tenant.iter().map(|tenant| ("tenant".to_owned(), tenant.clone()));
        self.said().into_iter().chain(as_of).chain(tenants).collect()
    }
}

fn answer(args: &Args, report: &Described, sql: &str, period: &Period) -> Result<(), Failure> {
    let desk = Desk::open(&args.asking)?;
    let bytes = match args.format {
        Form::Json => desk.ask(sql, Format::Json)?,
        Form::Csv if args.for_spreadsheet => query::csv::without_formulas(&desk.ask(sql, Format::Csv)?)?,
        Form::Csv => desk.ask(sql, Format::Csv)?,
        Form::Parquet => desk.ask(sql, Format::Parquet)?,
        Form::Table => {
            let answer = desk.json(sql)?;
            let through = answer["as_of"]["complete_through"].as_str().unwrap_or("(nothing yet)");
            format!("{}complete through {through}\n", rows::table(&answer, "")).into_bytes()
        }
        Form::Html => page::page(report, period, &args.told(), &desk.json(sql)?).into_bytes(),
    };
    desk.close()?;
    put(args.output.as_ref(), &bytes)
}

/// Every report with the questions that it answers.
fn list() -> String {
    let width = reports::ALL.iter().map(|report| report.name.len()).max().unwrap_or(0);
    let line = |report: &Described| format!("{:width$}  {}\n", report.name, report.about);
    reports::ALL.iter().map(line).collect()
}

fn described(report: &Described) -> String {
    let mut text = format!("{}\n{}\n", report.name, report.about);
    for parameter in &report.parameters {
        let of = if parameter.default.is_empty() { "nothing" } else { parameter.default };
        text.push_str(&format!("\n--set {}=…  ({}, else {of})  {}", parameter.name, parameter.kind, parameter.doc));
    }
    text.push('\n');
    for column in &report.columns {
        let unit = if column.unit.is_empty() { String::new() } else { format!(" [{}]", column.unit) };
        text.push_str(&format!("\n{}{unit}: {}", column.name, column.doc));
    }
    text.push('\n');
    text
}
