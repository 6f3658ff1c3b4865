//! What is imported because no ledger can know it: business metrics, shared costs and commitments.
//!
//! A table is replaced as a whole by each import. It comes as CSV whose first line names columns of it; an empty field is NULL, and what
//! does not fit its column, or would be in no report, is refused with its line.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use schemas::{money::parse_decimal, time::Time};

use super::column::{self, Builder, Column, Kind, Value};
use crate::error::Error;

/// A table that is imported.
#[derive(Debug)]
pub struct Imported {
    /// Its name in SQL.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its columns; `tenant` among them, NULL on rows that are everybody's.
    pub columns: &'static [Column],
    /// The columns that every row has to have.
    required: &'static [&'static str],
    /// The columns by which no two rows are the same.
    unique: &'static [&'static str],
}

/// A row, by the names of its columns; a column that is empty or not there is empty.
struct Row<'a>(HashMap<&'static str, &'a str>);

impl<'a> Row<'a> {
    fn get(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }
}

const fn text(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Text, doc }
}

const fn amount(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Amount, doc }
}

const fn time(name: &'static str, doc: &'static str) -> Column {
    Column { name, kind: Kind::Time, doc }
}

/// Every one.
pub const ALL: &[Imported] = &[
    Imported {
        name: "business_metrics",
        doc: "What a business counts, for unit economics: one row for each metric, tenant and time.",
        columns: &[
            time("time", "When, or the day in UTC."),
            text("tenant", "The tenant."),
            text("metric", "What is counted, such as resolved_tickets."),
            amount("value", "How much of it."),
        ],
        required: &["time", "tenant", "metric", "value"],
        unique: &["time", "tenant", "metric"],
    },
    Imported {
        name: "shared_costs",
        doc: "Costs that are nobody's own, and how they are split: one row for each, or for each tenant's part of a fixed one.",
        columns: &[
            text("period", "The month, as YYYY-MM."),
            text("name", "What it is."),
            amount("cost_usd", "All of it, in dollars."),
            text("method", "fixed, proportional or even."),
            text("tenant", "Whose part a fixed one is; NULL on others."),
            amount("share", "That part of the whole, from 0 to 1; NULL on others."),
        ],
        required: &["period", "name", "cost_usd", "method"],
        unique: &["period", "name", "tenant"],
    },
    Imported {
        name: "commitments",
        doc: "What is bought ahead: provisioned capacity, and prepaid credit.",
        columns: &[
            text("commitment_id", "Its name."),
            text("tenant", "Whose it is; NULL for everybody's."),
            text("kind", "provisioned or credit."),
            text("provider", "The provider, as configured."),
            text("model", "The model; NULL for all of them."),
            time("starts", "The first instant."),
            time("ends", "The first instant after it; NULL if it does not end."),
            text("unit", "What is committed: tokens or usd."),
            amount("quantity", "How much."),
            amount("cost_usd", "What is paid for it, in dollars."),
        ],
        required: &["commitment_id", "kind", "provider", "starts", "unit", "quantity"],
        unique: &["commitment_id"],
    },
];

/// The table of a name.
pub fn by_name(name: &str) -> Option<&'static Imported> {
    ALL.iter().find(|table| table.name == name)
}

/// A day.
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// The most rows of a table.
const MAX_ROWS: usize = 1_000_000;

impl Imported {
    /// A table that is described alike and imported by nobody.
    pub(crate) const fn made(name: &'static str, doc: &'static str, columns: &'static [Column]) -> Self {
        Self { name, doc, columns, required: &[], unique: &[] }
    }

    /// The schema.
    pub(crate) fn schema(&self) -> SchemaRef {
        column::schema(self.columns.iter())
    }

    /// Reads records of text, the first of which names columns; the error says which line is wrong and how.
    pub(crate) fn parse(&self, records: &[Vec<String>]) -> Result<RecordBatch, String> {
        let Some((head, lines)) = records.split_first() else {
            return Err("it is empty: its first line names columns".into());
        };
        if lines.len() > MAX_ROWS {
            return Err(format!("it has more than {MAX_ROWS} rows"));
        }
        let known = || self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        if let Some(other) = head.iter().find(|name| self.columns.iter().all(|column| column.name != name.trim())) {
            return Err(format!("line 1: there is no column {other:?}; {} has {}", self.name, known()));
        }
        if let Some(absent) = self.required.iter().find(|name| head.iter().all(|column| column.trim() != **name)) {
            return Err(format!("line 1: there is no column {absent}, which every row of {} has", self.name));
        }
        if let Some(twice) =
            head.iter().enumerate().find(|(at, name)| head.iter().take(*at).any(|before| before.trim() == name.trim()))
        {
            return Err(format!("line 1: the column {} stands twice", twice.1.trim()));
        }
        let places: Vec<_> =
            self.columns.iter().map(|column| head.iter().position(|name| name.trim() == column.name)).collect();
        let (mut rows, mut seen) = (Builder::new(self.columns.iter()), Seen::default());
        let lines_of = |record: &[String]| 1 + record.iter().map(|field| field.matches('\n').count()).sum::<usize>();
        let mut at = 1 + lines_of(head);
        for line in lines {
            if line.len() != head.len() {
                return Err(format!("line {at}: it has {} fields and the first line {}", line.len(), head.len()));
            }
            let text = |place: &Option<usize>| place.and_then(|place| line.get(place)).map_or("", |text| text.trim());
            let row = Row(self.columns.iter().zip(&places).map(|(column, place)| (column.name, text(place))).collect());
            let cells = self.columns.iter().map(|column| {
                let text = row.get(column.name);
                cell(column, text).map_err(|wanted| format!("line {at}: {} is {text:?}; {wanted}", column.name))
            });
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            self.fits(&row, &mut seen).map_err(|(column, why)| format!("line {at}: {column}: {why}"))?;
            rows.row(&[&cells]).map_err(|error| format!("line {at}: {error}"))?;
            at += lines_of(line);
        }
        rows.finish().map_err(|error: Error| error.to_string())
    }
}

/// What rows before a row said.
#[derive(Default)]
struct Seen<'a> {
    keys: HashSet<Vec<(Option<Time>, &'a str)>>,
    /// By month and name, what a shared cost is and how it is split, and what of it is given away.
    shared: BTreeMap<[&'a str; 2], (&'a str, &'a str, i128)>,
}

/// All of a cost, in shares of twelve decimals.
pub(super) const WHOLE: i128 = 1_000_000_000_000;

impl Imported {
    /// Whether a row whose cells fit is one that a report shows; else the column, and what to do.
    fn fits<'a>(&self, row: &Row<'a>, seen: &mut Seen<'a>) -> Result<(), (&'static str, String)> {
        if let Some(absent) = self.required.iter().find(|name| row.get(name).is_empty()) {
            return Err((absent, format!("it is empty, and every row of {} has one", self.name)));
        }
        // An instant may be written in several ways.
        let is_time = |name: &str| self.columns.iter().any(|column| column.name == name && column.kind == Kind::Time);
        let part = |name: &&'static str| match row.get(name) {
            text if is_time(name) => (Time::parse(text).ok(), ""),
            text => (None, text),
        };
        if !seen.keys.insert(self.unique.iter().map(part).collect()) {
            let last = self.unique.last().copied().unwrap_or_default();
            let said: Vec<&str> = self.unique.iter().map(|name| row.get(name)).collect();
            return Err((last, format!("a row before has the same {}: {}", self.unique.join(", "), said.join(", "))));
        }
        match self.name {
            "shared_costs" => shared(row, seen),
            "commitments" => commitment(row),
            _ => Ok(()),
        }
    }
}

fn shared<'a>(row: &Row<'a>, seen: &mut Seen<'a>) -> Result<(), (&'static str, String)> {
    let [period, name, cost, method] = ["period", "name", "cost_usd", "method"].map(|name| row.get(name));
    let fixed = method == "fixed";
    for column in ["tenant", "share"] {
        match (fixed, row.get(column).is_empty()) {
            (true, true) => return Err((column, "a fixed part is a tenant's, with its share from 0 to 1".into())),
            (false, false) => return Err((column, format!("leave it empty: {method} is split among all tenants"))),
            _ => {}
        }
    }
    let share = parse_decimal(row.get("share"), 12).unwrap_or(0);
    if !(0..=WHOLE).contains(&share) {
        return Err(("share", "write a number from 0 to 1".into()));
    }
    let (whole, split, given) = seen.shared.entry([period, name]).or_insert((cost, method, 0));
    *given += share;
    if parse_decimal(whole, 12) != parse_decimal(cost, 12) {
        return Err(("cost_usd", format!("a row before says that all of {name} in {period} costs {whole}")));
    }
    if *split != method {
        return Err(("method", format!("a row before splits {name} in {period} as {split}")));
    }
    if *given > WHOLE {
        return Err(("share", format!("the shares of {name} in {period} come to more than 1")));
    }
    Ok(())
}

fn commitment(row: &Row<'_>) -> Result<(), (&'static str, String)> {
    let at = |name: &str| Time::parse(row.get(name)).ok();
    if let (Some(starts), Some(ends)) = (at("starts"), at("ends"))
        && ends <= starts
    {
        return Err(("ends", "it is not after starts".into()));
    }
    if (row.get("kind"), row.get("unit")) == ("credit", "tokens") {
        return Err(("unit", "credit is in usd".into()));
    }
    if parse_decimal(row.get("cost_usd"), 12).is_some_and(|cost| cost < 0) {
        return Err(("cost_usd", "write what is paid for it: no less than 0".into()));
    }
    match parse_decimal(row.get("quantity"), 12) {
        Some(quantity) if quantity > 0 => Ok(()),
        _ => Err(("quantity", "write how much is committed: more than 0".into())),
    }
}

/// A month, as billing periods are written.
fn is_month(text: &str) -> bool {
    text.len() == 7 && Time::parse(&format!("{text}-01")).is_ok_and(|month| month >= Time::ZERO)
}

/// The columns whose text is one of few words.
const ONE_OF: &[(&str, &[&str], &str)] = &[
    ("method", &["fixed", "proportional", "even"], "write fixed, proportional or even"),
    ("kind", &["provisioned", "credit"], "write provisioned or credit"),
    ("unit", &["tokens", "usd"], "write tokens or usd"),
];

fn cell<'a>(column: &Column, text: &'a str) -> Result<Value<'a>, &'static str> {
    match column.kind {
        _ if text.is_empty() => Ok(Value::Null),
        Kind::Time => match Time::parse(text)? {
            // What is used of them is known by the day.
            time if matches!(column.name, "starts" | "ends") && time.as_micros() % DAY_MICROS != 0 => {
                Err("write a day: a commitment begins and ends with one, in UTC")
            }
            time => Ok(Value::Time(time)),
        },
        Kind::Amount => {
            parse_decimal(text, 12).map(Value::Decimal).ok_or("write a plain number with at most twelve decimals")
        }
        _ if column.name == "period" && !is_month(text) => Err("write a month, as 2026-11"),
        _ => match ONE_OF.iter().find(|(name, ..)| *name == column.name) {
            Some((_, known, wanted)) if !known.contains(&text) => Err(wanted),
            _ => Ok(Value::Text(text)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_its_line() {
        let check = |lines: &[&str], wanted: Result<usize, &str>| {
            let records: Vec<Vec<String>> =
                lines.iter().map(|line| line.split(',').map(str::to_owned).collect()).collect();
            match (by_name("business_metrics").unwrap().parse(&records), wanted) {
                (Ok(rows), Ok(count)) => assert_eq!(rows.num_rows(), count),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, wanted) => panic!("{got:?}, not {wanted:?}"),
            }
        };
        let head = "time,tenant,metric,value";
        check(&[head, "2026-11-01,acme,tickets,3.5"], Ok(1));
        check(&["metric,time,tenant,value", "tickets,2026-11-01T10:00:00Z,acme,1"], Ok(1));
        check(&[], Err("empty"));
        check(&["time,tenat"], Err("no column \"tenat\""));
        check(&[head, "2026-11-01,acme,tickets"], Err("line 2: it has 3 fields"));
        check(&[head, "2026-11-01,a,m,1", "tomorrow,a,m,1"], Err("line 3: time is \"tomorrow\""));
        check(&[head, "2026-11-01,a,m,1e5"], Err("plain number"));
        check(&["time,tenant,value", "2026-11-01,acme,1"], Err("line 1: there is no column metric"));
        check(&[head, "2026-11-01,,tickets,1"], Err("line 2: tenant: it is empty"));
        check(&[head, "2026-11-01,a,m,1", "2026-11-01,a,m,2"], Err("line 3: metric: a row before"));
        for again in
            ["2026-11-01T00:00:00Z,a,m,7", "2026-11-01T01:00:00+01:00,a,m,9", " 2026-11-01T00:00:00.000Z,a,m,1"]
        {
            check(&[head, "2026-11-01,a,m,1", again], Err("line 3: metric: a row before"));
        }
        check(&[head, "2026-11-01,a,m,1", "2026-11-01T00:00:01Z,a,m,1"], Ok(2));
        check(
            &["time,tenant,metric,value,value", "2026-11-01,a,m,5,500"],
            Err("line 1: the column value stands twice"),
        );
        check(&["time,tenant,metric,value, time", "2026-11-01,a,m,5,"], Err("line 1: the column time stands twice"));
        check(&[head, "2026-11-01,a,m\nn,1", "2026-11-01,a,m,x"], Err("line 4: value"));
    }

    #[test]
    fn a_row_that_no_report_would_show_is_refused() {
        let check = |table: &str, head: &str, lines: &[&str], wanted: Result<usize, &str>| {
            let lines = std::iter::once(&head).chain(lines);
            let records: Vec<Vec<String>> = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
            match (by_name(table).unwrap().parse(&records), wanted) {
                (Ok(rows), Ok(count)) => assert_eq!(rows.num_rows(), count),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}, not {part}"),
                (got, wanted) => panic!("{got:?}, not {wanted:?}"),
            }
        };
        let shared = |lines: &[&str], wanted| {
            check("shared_costs", "period,name,cost_usd,method,tenant,share", lines, wanted);
        };
        shared(&["2026-11,a,3,even,,", "2026-11,b,3,fixed,acme,0.25", "2026-11,b,3.0,fixed,globex,0.75"], Ok(3));
        for period in ["2026-1", "Nov 2026", "2026-13", "2026-11-01", "0000-01"] {
            shared(&[&format!("{period},a,3,even,,")], Err("line 2: period is"));
        }
        shared(&["2026-11,a,3,Even,,"], Err("write fixed, proportional or even"));
        shared(&["2026-11,a,3,,,"], Err("line 2: method: it is empty"));
        shared(&["2026-11,a,,even,,"], Err("line 2: cost_usd: it is empty"));
        shared(&["2026-11,a,3,fixed,acme,"], Err("line 2: share"));
        shared(&["2026-11,a,3,fixed,,1"], Err("line 2: tenant"));
        shared(&["2026-11,a,3,fixed,acme,1.5"], Err("from 0 to 1"));
        shared(&["2026-11,a,3,even,acme,"], Err("leave it empty"));
        shared(&["2026-11,a,3,even,,", "2026-11,a,3,even,,"], Err("line 3: tenant: a row before"));
        shared(&["2026-11,a,3,fixed,b,0.5", "2026-11,a,4,fixed,c,0.5"], Err("line 3: cost_usd"));
        shared(&["2026-11,a,3,fixed,b,0.6", "2026-11,a,3,fixed,c,0.5"], Err("more than 1"));
        shared(&["2026-11,a,3,fixed,b,0.6", "2026-11,a,3,even,,"], Err("line 3: method"));
        let bought = |lines: &[&str], wanted| {
            check("commitments", "commitment_id,kind,provider,starts,ends,unit,quantity", lines, wanted);
        };
        bought(&["a,credit,p,2026-11-01,,usd,5", "b,provisioned,p,2026-11-01,2026-12-01,tokens,5"], Ok(2));
        bought(&[",credit,p,2026-11-01,,usd,5"], Err("line 2: commitment_id: it is empty"));
        bought(&["a,credit,p,,,usd,5"], Err("line 2: starts: it is empty"));
        bought(&["a,credit,p,2026-11-01,2026-11-01,usd,5"], Err("line 2: ends"));
        bought(&["a,credit,p,2026-11-01,,usd,5", "a,credit,p,2026-12-01,,usd,5"], Err("line 3: commitment_id"));
        bought(&["a,credit,p,2026-11-01,,tokens,5"], Err("credit is in usd"));
        bought(&["a,credit,p,2026-11-01,,EUR,5"], Err("write tokens or usd"));
        bought(&["a,Provisioned,p,2026-11-01,,usd,5"], Err("write provisioned or credit"));
        bought(&["a,credit,p,2026-11-01,,usd,0"], Err("line 2: quantity"));
        bought(&["a,credit,p,2026-11-01T12:00:00Z,,usd,1"], Err("write a day"));
        let head = "commitment_id,kind,provider,starts,unit,quantity,cost_usd";
        check("commitments", head, &["a,credit,p,2026-11-01,usd,5,-5"], Err("line 2: cost_usd"));
        check("commitments", head, &["a,credit,p,2026-11-01,usd,5,0"], Ok(1));
    }
}
