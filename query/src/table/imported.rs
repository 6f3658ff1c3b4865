//! What is imported because no ledger can know it: business metrics, shared costs and commitments.
//!
//! A table is replaced as a whole by each import. It comes as CSV whose first line names columns of it; an empty field is NULL, and what
//! does not fit its column is refused with its line.

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
        let places: Vec<_> =
            self.columns.iter().map(|column| head.iter().position(|name| name.trim() == column.name)).collect();
        let mut rows = Builder::new(self.columns.iter());
        for (index, line) in lines.iter().enumerate() {
            let at = index + 2;
            if line.len() != head.len() {
                return Err(format!("line {at}: it has {} fields and the first line {}", line.len(), head.len()));
            }
            let cells = self.columns.iter().zip(&places).map(|(column, place)| {
                let text = place.and_then(|place| line.get(place)).map_or("", |text| text.trim());
                cell(column, text).map_err(|wanted| format!("line {at}: {} is {text:?}; {wanted}", column.name))
            });
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            rows.row(&[&cells]).map_err(|error| format!("line {at}: {error}"))?;
        }
        rows.finish().map_err(|error: Error| error.to_string())
    }
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
        let check_in = |table: &str, lines: &[&str], wanted: Result<usize, &str>| {
            let records: Vec<Vec<String>> =
                lines.iter().map(|line| line.split(',').map(str::to_owned).collect()).collect();
            let got = by_name(table).unwrap().parse(&records);
            match (got, wanted) {
                (Ok(rows), Ok(count)) => assert_eq!(rows.num_rows(), count),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, wanted) => panic!("{got:?}, not {wanted:?}"),
            }
        };
        let check = |lines: &[&str], wanted| check_in("business_metrics", lines, wanted);
        check(&["time,tenant,metric,value", "2026-11-01,acme,tickets,3.5"], Ok(1));
        check(&["metric,time,tenant", "tickets,2026-11-01T10:00:00Z,acme"], Ok(1));
        check(&[], Err("empty"));
        check(&["time,tenat"], Err("no column \"tenat\""));
        check(&["time,tenant,metric,value", "2026-11-01,acme,tickets"], Err("line 2: it has 3 fields"));
        check(&["time,value", "2026-11-01,1", "tomorrow,1"], Err("line 3: time is \"tomorrow\""));
        check(&["time,value", "2026-11-01,1e5"], Err("plain number"));
        check_in("shared_costs", &["period,method", "2026-11,even"], Ok(1));
        check_in("shared_costs", &["period,method", "2026-11,Even"], Err("write fixed, proportional or even"));
        check_in("commitments", &["kind,unit,starts", "credit,usd,2026-11-01"], Ok(1));
        check_in("commitments", &["kind,unit", "Provisioned,usd"], Err("write provisioned or credit"));
        check_in("commitments", &["kind,unit", "credit,EUR"], Err("write tokens or usd"));
        check_in("commitments", &["starts", "2026-11-01T12:00:00Z"], Err("write a day"));
    }
}
