//! Rollups: rows of a file of the lake added up, so that what is asked of many of them need not read them all.
//!
//! A rollup is made of the rows of one file, and a file never changes: so it is right for as long as its file is in a version, whatever is corrected, comes late or is compacted, and a cut that has the file may read the one for the other. A row
//! of a rollup stands for rows that are alike in its columns, in the hour or the day of their time, and in which of their numbers are
//! NULL; each number is their sum. Sums are integers in `DECIMAL(26)`, which no file fills.
//!
//! One that would have more than [`MOST_PERCENT`] of the rows of its file is not kept for that file: then the rows themselves are read.
//! Nor is one that would have more than half of the rows of another that knows all that it does.
//! It does no I/O. The lake keeps them beside its tables, `sql::rolled` reads them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub(crate) use self::reduce::{Made, made};
use crate::table::{Column, Kind, TableDef};

mod numbered;
mod reduce;
mod tags;

/// The most rows of a rollup, in hundredths of those of its file.
pub(crate) const MOST_PERCENT: usize = 15;

/// What files say they have rollups by. Another number for other columns, and those that are there are read no more.
pub(crate) const FORMAT: &str = "tollgate.rollups.5";

/// How the name of every format begins.
pub(crate) const FORMATS: &str = "tollgate.rollups.";

/// The column with how many rows a row stands for.
pub(crate) const ROWS: &str = "rows";

/// The columns with times. A row of a rollup has the beginning of its hour or day, and the first time at which one of its rows was recorded.
pub(crate) const TIME: &str = "time";
pub(crate) const RECORDED_AT: &str = "recorded_at";

/// The digits of a sum: 10⁷ rows of 19 digits.
const DIGITS: u8 = 26;

/// One kind of rollup of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rollup {
    /// Its name, and that of its folder.
    pub(crate) name: &'static str,
    /// The table.
    table: &'static str,
    /// How much time a row stands for.
    pub(crate) grain: Grain,
    /// The columns in which rows are alike, in groups.
    columns: &'static [&'static [&'static str]],
    /// Whether it has a sketch of each of [`SKETCHED`].
    sketches: bool,
    /// Whether there is one for each tag: `tags` has that one alone there, so `tag()` of it is the same.
    pub(crate) by_tag: bool,
}

/// How much time a row of a rollup stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    /// An hour.
    Hour,
    /// A day in UTC.
    Day,
}

impl Grain {
    /// How long it is.
    pub(crate) const fn micros(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }
}

const TENANT: &[&str] = &["tenant"];
const MODEL: &[&str] = &["tenant", "model", "provider"];
/// Of all tenants together, for those who may see them all.
const ANYONE: &[&str] = &["model", "provider"];
const PLACE: &[&str] = &["tenant", "team", "project", "model", "provider"];

/// What is nearly always the same beside the others.
const BESIDE: &[&str] = &["provider_account", "service_tier", "region", "entry", "unpriced_reason"];
const PRICE: &[&str] =
    &["token_class", "price_per_mtok_usd", "price_id", "price_source", "price_book", "billing_period"];
const CLASS: &[&str] = &["token_class", "entry", "unpriced_reason", "billing_period"];
const HOW: &[&str] = &["outcome", "completeness", "cache_hit"];
const ENDED: &[&str] = &["outcome", "entry"];
const KEY: &[&str] = &["key_name"];
const USER: &[&str] = &["tenant", "user_id", "entry"];
const TAGS: &[&str] = &["tenant", "tags", "entry"];
const BILLED: &[&str] = &["billing_period"];

const fn of(
    table: &'static str,
    name: &'static str,
    grain: Grain,
    columns: &'static [&'static [&'static str]],
) -> Rollup {
    Rollup { name, table, grain, columns, sketches: false, by_tag: false }
}

const fn with_sketches(rollup: Rollup) -> Rollup {
    Rollup { sketches: true, ..rollup }
}

const fn by_tag(rollup: Rollup) -> Rollup {
    Rollup { by_tag: true, ..rollup }
}

/// All, by table; those of an hour before those of a day with the same columns, and those of many columns before those of few of them,
/// which are made of them. Those of few columns are worth keeping of files whose rows differ too much for the others.
pub(crate) static ALL: [Rollup; 34] = [
    of("charges", "hourly", Grain::Hour, &[PLACE, BESIDE, PRICE]),
    of("charges", "daily", Grain::Day, &[PLACE, BESIDE, PRICE]),
    of("charges", "hourly_model", Grain::Hour, &[MODEL, BESIDE, PRICE]),
    of("charges", "daily_model", Grain::Day, &[MODEL, BESIDE, PRICE]),
    of("charges", "hourly_tenant", Grain::Hour, &[TENANT, CLASS]),
    of("charges", "daily_tenant", Grain::Day, &[TENANT, CLASS]),
    of("charges", "hourly_anyone", Grain::Hour, &[ANYONE, CLASS]),
    of("charges", "daily_anyone", Grain::Day, &[ANYONE, CLASS]),
    of("charges", "daily_key", Grain::Day, &[PLACE, BESIDE, PRICE, KEY]),
    of("charges", "daily_user", Grain::Day, &[USER, BILLED]),
    of("charges", "daily_tags", Grain::Day, &[TAGS, &["model"], BILLED]),
    by_tag(of("charges", "daily_tag_model", Grain::Day, &[TAGS, &["model"], BILLED])),
    by_tag(of("charges", "daily_tag", Grain::Day, &[TAGS, BILLED])),
    with_sketches(of("usage", "hourly", Grain::Hour, &[PLACE, BESIDE, HOW])),
    with_sketches(of("usage", "daily", Grain::Day, &[PLACE, BESIDE, HOW])),
    with_sketches(of("usage", "hourly_model", Grain::Hour, &[MODEL, BESIDE, HOW])),
    with_sketches(of("usage", "daily_model", Grain::Day, &[MODEL, BESIDE, HOW])),
    with_sketches(of("usage", "hourly_tenant", Grain::Hour, &[TENANT, HOW])),
    with_sketches(of("usage", "daily_tenant", Grain::Day, &[TENANT, HOW])),
    with_sketches(of("usage", "hourly_anyone", Grain::Hour, &[ANYONE, HOW])),
    with_sketches(of("usage", "daily_anyone", Grain::Day, &[ANYONE, HOW])),
    of("usage", "daily_key", Grain::Day, &[PLACE, BESIDE, HOW, KEY]),
    of("usage", "daily_user", Grain::Day, &[USER]),
    of("usage", "daily_tags", Grain::Day, &[TAGS, &["model"]]),
    by_tag(of("usage", "daily_tag_model", Grain::Day, &[TAGS, &["model"]])),
    by_tag(of("usage", "daily_tag", Grain::Day, &[TAGS])),
    with_sketches(of("calls", "hourly", Grain::Hour, &[PLACE, ENDED])),
    with_sketches(of("calls", "daily", Grain::Day, &[PLACE, ENDED])),
    with_sketches(of("calls", "hourly_model", Grain::Hour, &[MODEL, ENDED])),
    with_sketches(of("calls", "daily_model", Grain::Day, &[MODEL, ENDED])),
    with_sketches(of("calls", "hourly_tenant", Grain::Hour, &[TENANT, ENDED])),
    with_sketches(of("calls", "daily_tenant", Grain::Day, &[TENANT, ENDED])),
    with_sketches(of("calls", "hourly_anyone", Grain::Hour, &[ANYONE, ENDED])),
    with_sketches(of("calls", "daily_anyone", Grain::Day, &[ANYONE, ENDED])),
];

/// Those of a table.
pub(crate) fn of_table(table: &TableDef) -> impl Iterator<Item = &'static Rollup> + use<> {
    let name = table.name;
    ALL.iter().filter(move |rollup| rollup.table == name)
}

impl Rollup {
    /// The columns in which rows are alike.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.columns.iter().flat_map(|group| group.iter().copied())
    }

    /// Whether rows are alike in this column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns().any(|own| own == column)
    }

    /// Whether another can be made of its rows.
    fn is_finer(&self, other: &Self) -> bool {
        self.grain <= other.grain
            && (self.sketches || !other.sketches)
            && other.columns().all(|column| self.has(column))
    }

    /// The schema of its rows.
    pub(crate) fn schema(&self, table: &TableDef) -> SchemaRef {
        let own: Vec<_> =
            schema(table).fields().iter().filter(|field| self.keeps(table, field.name())).cloned().collect();
        Arc::new(Schema::new(own))
    }

    /// Whether its rows have this column.
    pub(crate) fn keeps(&self, table: &TableDef, column: &str) -> bool {
        self.has(column)
            || [TIME, RECORDED_AT, ROWS].contains(&column)
            || is_measure(table, column)
            || self.sketches && measured(column).is_some()
    }
}

/// The numbers that are added up.
pub(crate) fn measures(table: &TableDef) -> impl Iterator<Item = &'static Column> + use<> {
    const OTHERS: &[&str] = &["attempt", "status", crate::table::LOG_PARTITION, crate::table::LOG_OFFSET];
    table
        .stored_columns()
        .filter(|column| matches!(column.kind, Kind::Int | Kind::Long | Kind::Usd) && !OTHERS.contains(&column.name))
}

/// Whether a column is a number that is added up.
pub(crate) fn is_measure(table: &TableDef, column: &str) -> bool {
    measures(table).any(|measure| measure.name == column)
}

/// The numbers with sketches, for percentiles.
pub(crate) const SKETCHED: [&str; 2] = ["duration_ms", "ttft_ms"];

/// The column with the sketch of a number.
pub(crate) fn sketch_of(measure: &str) -> String {
    format!("{measure}_sketch")
}

/// The number that a column has the sketch of, if it has any.
pub(crate) fn measured(column: &str) -> Option<&str> {
    column.strip_suffix("_sketch").filter(|measure| SKETCHED.contains(measure))
}

/// The type of the sum of a number.
pub(crate) fn sum_type(of: Kind) -> DataType {
    DataType::Decimal128(DIGITS, if of == Kind::Usd { 12 } else { 0 })
}

/// All the columns that rollups of a table have.
pub(crate) fn schema(table: &TableDef) -> SchemaRef {
    let known = |name: &str| of_table(table).any(|rollup| rollup.has(name)) || [TIME, RECORDED_AT].contains(&name);
    let alike = table.stored_columns().filter(|column| known(column.name));
    let alike = alike.map(|column| Field::new(column.name, column.kind.data_type(), true));
    let sums = measures(table).map(|column| Field::new(column.name, sum_type(column.kind), true));
    let some = of_table(table).any(|rollup| rollup.sketches);
    let sketches = SKETCHED.iter().filter(|_| some);
    let sketches = sketches.map(|measure| Field::new(sketch_of(measure), DataType::Binary, true));
    let fields = alike.chain([Field::new(ROWS, DataType::Int64, true)]).chain(sums).chain(sketches);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
