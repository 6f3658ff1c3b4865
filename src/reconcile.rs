//! `tollgate reconcile`: a provider's own export held against what was charged here.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use query::{
    reconcile::{
        self, Book, Cell, Doubts, Export, Found, Invoice, LeftOut, Names, Report, Side, Status, Tolerance, Vendor,
    },
    reports::quoted,
};
use schemas::{
    event::{Api, Operation},
    money::{Pico, parse_decimal},
    time,
    tokens::TokenClass,
};
use serde_json::{Value, json};

use crate::{
    EXIT_USAGE,
    desk::{Asking, Desk, put},
    failure::Failure,
    out, rows,
};

/// Some of it differs.
const EXIT_DIFFERENT: u8 = 1;

/// How long after its end a provider may still add to a day.
const SETTLED_AFTER: std::time::Duration = std::time::Duration::from_secs(2 * 86_400);

/// Compare a provider's own usage or cost export with what was charged here, by UTC day, model, token class and account.
///
/// openai: pages of /v1/organization/costs and /usage/completions, /embeddings and /moderations; other usage is left out, and told. anthropic: pages of cost_report and usage_report/messages. bedrock: a Cost and Usage
/// Report 2.0, CSV or Parquet. Usage and costs of the same days may be given together. Exits with 0 if all is alike within the tolerance, else
/// with 1. A difference is `missing` if the invoice has more than we do, `excess` if we have more; its cause is what it may come from.
/// The files of a Cost and Usage Report are to be of one state of it. A day that the export has without anything in it is compared too. Give all pages: one after which there is more (has_more) is refused alone, and so is a day that was fetched twice.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose export it is.
    #[arg(long, value_enum)]
    provider: Of,
    /// The export; several may be given.
    #[arg(long, value_name = "FILE", required = true)]
    invoice: Vec<PathBuf>,
    /// A provider of the configuration that is billed by it; several may be given. Else the one that is called as --provider is.
    #[arg(long = "as", value_name = "NAME")]
    named: Vec<String>,
    /// A key, project or principal of the export, and the provider of the configuration that uses it. Without any, all are one.
    #[arg(long, value_name = "KEY=NAME", value_parser = pair)]
    key: Vec<(String, String)>,
    /// A model of the export, and what it is called here, where the names do not meet by themselves.
    #[arg(long, value_name = "THEIRS=OURS", value_parser = pair)]
    model: Vec<(String, String)>,
    /// How far a day's quantity or cost may differ, in percent of the larger.
    #[arg(long, value_name = "PERCENT", default_value = "0.1", value_parser = percent)]
    tolerance: i128,
    /// How far a cost may differ in any case, in dollars.
    #[arg(long, value_name = "DOLLARS", default_value = "0.01", value_parser = dollars)]
    tolerance_usd: Pico,
    /// Show what matched as well.
    #[arg(long)]
    all: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value = "table")]
    format: Form,
    /// Where to; standard output if not said.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    Openai,
    Anthropic,
    Bedrock,
}

impl Of {
    const fn vendor(self) -> (Vendor, &'static str) {
        match self {
            Self::Openai => (Vendor::OpenAi, "openai"),
            Self::Anthropic => (Vendor::Anthropic, "anthropic"),
            Self::Bedrock => (Vendor::Bedrock, "bedrock"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Table,
    Json,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (one, other) = text.split_once('=').ok_or("write THEIRS=OURS")?;
    Ok((one.to_owned(), other.to_owned()))
}

fn percent(text: &str) -> Result<i128, &'static str> {
    let points = parse_decimal(text, 2).ok_or("write a percentage with at most two decimals")?;
    if (0..=10_000).contains(&points) { Ok(points) } else { Err("a percentage is at least 0 and at most 100") }
}

fn dollars(text: &str) -> Result<Pico, &'static str> {
    Pico::parse_usd(text).filter(|amount| amount.0 >= 0).ok_or("write an amount of dollars")
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let export = match export(args) {
        Ok(export) if export.days.is_empty() => {
            out::remark(format_args!("{}", unsaid(&export)));
            eprintln!("error: the export is about no day: it has no buckets or lines that can be compared");
            return ExitCode::from(EXIT_USAGE);
        }
        Ok(export) => export,
        Err(mistake) => {
            eprintln!("error: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match reconciled(args, &export) {
        Ok(report) if report.count(Status::Matched) == report.found.len() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_DIFFERENT),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn export(args: &Args) -> Result<Export, String> {
    let mut pages = Vec::new();
    for file in &args.invoice {
        let named = file.display();
        let bytes = std::fs::read(file).map_err(|error| format!("{named} cannot be read: {error}"))?;
        pages.extend(reconcile::read(args.provider.vendor().0, &bytes).map_err(|why| format!("{named}: {why}"))?);
    }
    Export::of(pages)
}

fn reconciled(args: &Args, export: &Export) -> Result<Report, Failure> {
    let mut names = Names::of(args.key.iter().cloned().collect(), args.model.iter().cloned().collect());
    let desk = Desk::open(&args.asking)?;
    let asked = Asked::ask(args, &desk, export)?;
    desk.close()?;
    let used = rows_of(&asked.charges).chain(rows_of(&asked.inexact));
    names.heed(export, used.filter_map(|row| row["model"].as_str()));
    let invoice = export.invoice(&names);
    let ours = Ours::of(&asked, &invoice, &names);
    let tolerance = Tolerance { basis_points: args.tolerance, cost: args.tolerance_usd };
    let report = reconcile::compare(&invoice, &ours.book, &ours.doubts, tolerance);
    let mut shown: BTreeMap<String, String> =
        export.lines.iter().map(|line| (names.theirs(&line.model), line.model.clone())).collect();
    shown.extend(ours.models);
    put(args.output.as_ref(), told(args, &report, &shown, export).as_bytes())?;
    Ok(report)
}

/// What was asked of here in the time of the export.
struct Asked {
    /// What was charged.
    charges: Value,
    /// Days and models of which not all is known.
    inexact: Value,
}

impl Asked {
    fn ask(args: &Args, desk: &Desk, export: &Export) -> Result<Self, Failure> {
        let (first, last) = (export.days.keys().next(), export.days.keys().next_back());
        let [first, last] = [first, last].map(|day| day.map_or("", String::as_str));
        let fallback = [args.provider.vendor().1.to_owned()];
        let named = if args.named.is_empty() { fallback.as_slice() } else { &args.named };
        let providers: Vec<String> =
            named.iter().chain(args.key.iter().map(|(_, name)| name)).map(|name| quoted(name)).collect();
        let of = format!(
            "provider IN ({}) AND time >= TIMESTAMP {} AND time < TIMESTAMP {} + INTERVAL '1 day'",
            providers.join(", "),
            quoted(&format!("{first}T00:00:00Z")),
            quoted(&format!("{last}T00:00:00Z")),
        );
        let charges = desk.json(&reconcile::charged(&of))?;
        let inexact = desk.json(&reconcile::inexact(&of))?;
        Ok(Self { charges, inexact })
    }
}

/// One side: what was charged here.
struct Ours {
    book: Book,
    doubts: Doubts,
    /// What models are called here, by what their names come to.
    models: BTreeMap<String, String>,
}

impl Ours {
    fn of(asked: &Asked, invoice: &Invoice, names: &Names) -> Self {
        let settled_through: String = time::now().earlier(SETTLED_AFTER).to_string().chars().take(10).collect();
        let (mut book, mut models) = (Book::new(), BTreeMap::new());
        for row in rows_of(&asked.charges) {
            let model = text(row, "model");
            let name = names.ours(&model);
            models.insert(name.clone(), model);
            let class = TokenClass::parse(&text(row, "token_class"));
            let day = text(row, "day");
            let api = Api::ALL.into_iter().find(|api| row["api"] == api.name());
            let counts = invoice.counts(&day, api.map_or(Operation::Unknown, Api::operation), class);
            let cell = Cell { day, model: name, class, account: text(row, "provider") };
            let side: &mut Side = book.entry(cell).or_default();
            if counts {
                *side.quantity.get_or_insert_default() += whole(row, "quantity");
            }
            if let Some(cost) = row["cost_usd"].as_str().and_then(Pico::parse_usd) {
                *side.cost.get_or_insert_default() += cost;
            }
            side.unpriced += whole(row, "unpriced");
        }
        let inexact = rows_of(&asked.inexact).map(|row| (text(row, "day"), names.ours(&text(row, "model")))).collect();
        Self { book, doubts: Doubts { inexact, settled_through }, models }
    }
}

fn rows_of(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["rows"].as_array().into_iter().flatten()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn whole(row: &Value, name: &str) -> i128 {
    row[name].as_i64().map_or(0, i128::from)
}

/// What was found, as it is written.
fn told(args: &Args, report: &Report, models: &BTreeMap<String, String>, export: &Export) -> String {
    const COLUMNS: [&str; 12] = [
        "day",
        "model",
        "token_class",
        "account",
        "status",
        "cause",
        "invoice_quantity",
        "our_quantity",
        "invoice_usd",
        "our_usd",
        "difference_quantity",
        "difference_usd",
    ];
    let shown = report.found.iter().filter(|found| args.all || found.status != Status::Matched);
    let table = json!({
        "columns": COLUMNS.map(|name| json!({"name": name})),
        "rows": shown.map(|found| row(found, models)).collect::<Vec<_>>(),
        "matched": report.count(Status::Matched),
        "missing": report.count(Status::Missing),
        "excess": report.count(Status::Excess),
        "given_twice": export.again,
        "left_out": export.left_out.iter().map(|(what, some)| json!({"what": what, "lines": some.lines, "usd": usd(some.cost)})).collect::<Vec<_>>(),
    });
    match args.format {
        Form::Json => format!("{table}\n"),
        Form::Table => {
            let counts = [Status::Matched, Status::Missing, Status::Excess]
                .map(|status| format!("{} {}", report.count(status), status.name()));
            let rows = if rows_of(&table).next().is_some() { rows::table(&table, "") } else { String::new() };
            let unsaid = unsaid(export);
            format!(
                "{rows}{}, of {} days × models × classes × accounts\n{unsaid}",
                counts.join(", "),
                report.found.len()
            )
        }
    }
}

/// Sentences about what the export has and is not compared; none if there is nothing.
fn unsaid(export: &Export) -> String {
    let one = |(what, some): (&String, &LeftOut)| {
        let cost = some.cost.map_or(String::new(), |cost| format!(" ({cost} USD)"));
        format!("{} × {what}{cost}", some.lines)
    };
    let all: Vec<String> = export.left_out.iter().map(one).collect();
    let left_out = if all.is_empty() {
        String::new()
    } else {
        format!("Left out, since nothing here counts the same: {}.\n", all.join(", "))
    };
    let again = match export.again {
        0 => String::new(),
        lines => format!("Lines that were given twice, and are taken once: {lines}.\n"),
    };
    left_out + &again
}

fn usd(cost: Option<Pico>) -> Value {
    cost.map_or(Value::Null, |cost| cost.to_string().into())
}

fn row(found: &Found, models: &BTreeMap<String, String>) -> Value {
    let (invoice, ours) = (found.invoice, found.ours);
    let model = models.get(&found.cell.model).unwrap_or(&found.cell.model);
    let both = |apart: Option<i128>| apart.map_or(Value::Null, |apart| apart.to_string().into());
    let quantity = |quantity: Option<i128>| quantity.map_or(Value::Null, |quantity| quantity.to_string().into());
    // What of ours has no price at all is not known to cost nothing.
    let known = ours.cost.or_else(|| (ours.unpriced == 0).then(Pico::default));
    let difference = invoice.cost.zip(known).map(|(theirs, own)| Pico(theirs.0 - own.0));
    json!({
        "day": found.cell.day, "model": model, "token_class": found.cell.class.map(TokenClass::name), "account": found.cell.account,
        "status": found.status.name(), "cause": found.cause.name(),
        "invoice_quantity": quantity(invoice.quantity), "our_quantity": quantity(ours.quantity),
        "invoice_usd": usd(invoice.cost), "our_usd": usd(ours.cost),
        "difference_quantity": both(invoice.quantity.map(|theirs| theirs - ours.quantity.unwrap_or(0))),
        "difference_usd": usd(difference),
    })
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_tolerance_is_a_percentage_or_told_what_it_is_not() {
        for (text, points) in [("0", 0), ("0.1", 10), ("100", 10_000), ("100.00", 10_000)] {
            assert_eq!(percent(text), Ok(points), "{text}");
        }
        for beyond in ["101", "100.01", "-1"] {
            assert_eq!(percent(beyond), Err("a percentage is at least 0 and at most 100"), "{beyond}");
        }
        for unread in ["", "a", "0.001", "1e1", "5%"] {
            assert_eq!(percent(unread), Err("write a percentage with at most two decimals"), "{unread}");
        }
    }
}
