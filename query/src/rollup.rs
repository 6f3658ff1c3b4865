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

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
        UInt32Array, UInt64Array,
    },
    compute::{cast, min, take},
    datatypes::{
        DataType, Decimal128Type, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
    },
    row::{Row, RowConverter, SortField},
};
use datafusion::common::HashMap;

use crate::{
    error::Error,
    sql::Sketch,
    table::{Column, Kind, TableDef},
};

/// The most rows of a rollup, in hundredths of those of its file.
pub(crate) const MOST_PERCENT: usize = 15;

/// What files say they have rollups by. Another number for other columns, and those that are there are read no more.
pub(crate) const FORMAT: &str = "tollgate.rollups.3";

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
const TAGS: &[&str] = &["tenant", "tags", "model", "entry"];

const fn of(
    table: &'static str,
    name: &'static str,
    grain: Grain,
    columns: &'static [&'static [&'static str]],
) -> Rollup {
    Rollup { name, table, grain, columns, sketches: false }
}

const fn with_sketches(rollup: Rollup) -> Rollup {
    Rollup { sketches: true, ..rollup }
}

/// All, by table; those of an hour before those of a day with the same columns, and those of many columns before those of few of them,
/// which are made of them. Those of few columns are worth keeping of files whose rows differ too much for the others.
pub(crate) static ALL: [Rollup; 24] = [
    of("charges", "hourly", Grain::Hour, &[PLACE, BESIDE, PRICE]),
    of("charges", "daily", Grain::Day, &[PLACE, BESIDE, PRICE]),
    of("charges", "hourly_model", Grain::Hour, &[MODEL, BESIDE, PRICE]),
    of("charges", "daily_model", Grain::Day, &[MODEL, BESIDE, PRICE]),
    of("charges", "hourly_tenant", Grain::Hour, &[TENANT, CLASS]),
    of("charges", "daily_tenant", Grain::Day, &[TENANT, CLASS]),
    of("charges", "daily_key", Grain::Day, &[PLACE, BESIDE, PRICE, KEY]),
    of("charges", "daily_user", Grain::Day, &[USER, &["billing_period"]]),
    of("charges", "daily_tags", Grain::Day, &[TAGS, &["billing_period"]]),
    with_sketches(of("usage", "hourly", Grain::Hour, &[PLACE, BESIDE, HOW])),
    with_sketches(of("usage", "daily", Grain::Day, &[PLACE, BESIDE, HOW])),
    with_sketches(of("usage", "hourly_model", Grain::Hour, &[MODEL, BESIDE, HOW])),
    with_sketches(of("usage", "daily_model", Grain::Day, &[MODEL, BESIDE, HOW])),
    with_sketches(of("usage", "hourly_tenant", Grain::Hour, &[TENANT, HOW])),
    with_sketches(of("usage", "daily_tenant", Grain::Day, &[TENANT, HOW])),
    of("usage", "daily_key", Grain::Day, &[PLACE, BESIDE, HOW, KEY]),
    of("usage", "daily_user", Grain::Day, &[USER]),
    of("usage", "daily_tags", Grain::Day, &[TAGS]),
    with_sketches(of("calls", "hourly", Grain::Hour, &[PLACE, ENDED])),
    with_sketches(of("calls", "daily", Grain::Day, &[PLACE, ENDED])),
    with_sketches(of("calls", "hourly_model", Grain::Hour, &[MODEL, ENDED])),
    with_sketches(of("calls", "daily_model", Grain::Day, &[MODEL, ENDED])),
    with_sketches(of("calls", "hourly_tenant", Grain::Hour, &[TENANT, ENDED])),
    with_sketches(of("calls", "daily_tenant", Grain::Day, &[TENANT, ENDED])),
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

/// The rollups of the rows of a file that are worth keeping.
pub(crate) fn made(table: &'static TableDef, rows: &RecordBatch) -> Result<Vec<(&'static Rollup, RecordBatch)>, Error> {
    let mut made: Vec<(&'static Rollup, RecordBatch)> = Vec::new();
    let most = rows.num_rows() * MOST_PERCENT / 100;
    let all = Source::of(table, rows, of_table(table).flat_map(Rollup::columns))?;
    for rollup in of_table(table) {
        // What a finer one has is added up already.
        let is_finer = |finer: &Rollup| {
            finer.grain <= rollup.grain
                && (finer.sketches || !rollup.sketches)
                && rollup.columns().all(|column| finer.has(column))
        };
        let finer = made.iter().filter(|(finer, _)| is_finer(finer)).min_by_key(|(_, rows)| rows.num_rows());
        let reduced = match finer {
            // Where there are few to read in its place it is not worth a file.
            Some((_, rows)) => Source::of(table, rows, rollup.columns())?.reduce(table, rollup, rows.num_rows() / 2)?,
            None => all.reduce(table, rollup, most)?,
        };
        if let Some(rows) = reduced {
            made.push((rollup, rows));
        }
    }
    Ok(made)
}

/// Rows of a table, or of a rollup of it.
struct Source<'a> {
    rows: &'a RecordBatch,
    time: &'a TimestampMicrosecondArray,
    recorded_at: &'a TimestampMicrosecondArray,
    /// How many each stands for, where that is not one.
    weights: Option<&'a Int64Array>,
    measures: Vec<Numbers<'a>>,
    /// By row, which of the measures are NULL.
    unknown: ArrayRef,
    /// The same, and the columns that rollups of it are alike in.
    numbered: (Numbered, HashMap<&'static str, Numbered>),
}

/// Which rows have the same value in a column: numbers from zero, as many as there are values.
struct Numbered {
    of: Vec<u32>,
    values: u64,
}

impl Numbered {
    fn of(column: &ArrayRef) -> Result<Self, Error> {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
        let values = converter.convert_columns(&[Arc::clone(column)])?;
        let mut known = HashMap::new();
        let mut before: Option<(Row<'_>, u32)> = None;
        let mut of = Vec::with_capacity(values.num_rows());
        for value in &values {
            // Rows are sorted by tenant, and much is the same in one after the other.
            let number = match before {
                Some((before, number)) if before == value => number,
                _ => {
                    let next = u32::try_from(known.len()).map_err(|_| Error::Shape)?;
                    *known.entry(value).or_insert(next)
                }
            };
            before = Some((value, number));
            of.push(number);
        }
        Ok(Self { of, values: known.len() as u64 })
    }

    /// Of times, by the hour or the day.
    fn of_times(times: &TimestampMicrosecondArray, grain: Grain) -> Result<Self, Error> {
        let place = |time: i64| time.div_euclid(grain.micros());
        let first = min(times).map_or(0, place);
        let after = |time: &i64| u32::try_from(place(*time) - first).map_err(|_| Error::Shape);
        let of = times.values().iter().map(after).collect::<Result<Vec<_>, _>>()?;
        let values = of.iter().max().map_or(0, |last| u64::from(*last) + 1);
        Ok(Self { of, values })
    }
}

/// A column of numbers.
enum Numbers<'a> {
    Int(&'a arrow::array::Int32Array),
    Long(&'a Int64Array),
    Decimal(&'a Decimal128Array),
}

impl<'a> Numbers<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self, Error> {
        let numbers = match column.data_type() {
            DataType::Int32 => column.as_primitive_opt::<Int32Type>().map(Self::Int),
            DataType::Int64 => column.as_primitive_opt::<Int64Type>().map(Self::Long),
            _ => column.as_primitive_opt::<Decimal128Type>().map(Self::Decimal),
        };
        numbers.ok_or(Error::Shape)
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Int(numbers) => numbers,
            Self::Long(numbers) => numbers,
            Self::Decimal(numbers) => numbers,
        }
    }

    /// Adds the numbers up, by group; nothing where a sum does not fit.
    fn sums(&self, groups: &Groups) -> Option<Vec<i128>> {
        let mut sums = vec![0_i128; groups.first.len()];
        for (row, group) in groups.of.iter().enumerate() {
            if self.array().is_valid(row)
                && let Some(sum) = sums.get_mut(*group)
            {
                let number = match self {
                    Self::Int(numbers) => i128::from(numbers.value(row)),
                    Self::Long(numbers) => i128::from(numbers.value(row)),
                    Self::Decimal(numbers) => numbers.value(row),
                };
                *sum = sum.checked_add(number)?;
            }
        }
        let most = 10_u128.pow(DIGITS.into());
        sums.iter().all(|sum| sum.unsigned_abs() < most).then_some(sums)
    }
}

/// Which rows are alike.
struct Groups {
    /// By row, its group.
    of: Vec<usize>,
    /// By group, its first row.
    first: Vec<usize>,
}

impl Groups {
    /// Those of rows that have the same in all these columns; nothing if there are more than `most`.
    fn new(rows: usize, columns: &[&Numbered], most: usize) -> Option<Self> {
        let mut keys = vec![0_u64; rows];
        let mut values = 1_u64;
        for column in columns {
            if values.checked_mul(column.values).is_none() {
                // There are no more of them than rows, and rows have 32 bits.
                let so_far = Self::of_keys(&keys, usize::MAX)?;
                keys = so_far.of.into_iter().map(|group| group as u64).collect();
                values = so_far.first.len() as u64;
            }
            values = values.saturating_mul(column.values);
            for (key, value) in keys.iter_mut().zip(&column.of) {
                *key = *key * column.values + u64::from(*value);
            }
        }
        Self::of_keys(&keys, most)
    }

    fn of_keys(keys: &[u64], most: usize) -> Option<Self> {
        let mut known = HashMap::new();
        let (mut of, mut first) = (Vec::with_capacity(keys.len()), Vec::new());
        for (row, key) in keys.iter().enumerate() {
            let group = *known.entry(*key).or_insert(first.len());
            if group == first.len() {
                if group == most {
                    return None;
                }
                first.push(row);
            }
            of.push(group);
        }
        Some(Self { of, first })
    }

    /// The same in the order of their first rows in these columns.
    fn sorted(mut self, keys: &[ArrayRef]) -> Result<Self, Error> {
        let converter = RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect())?;
        let firsts: UInt64Array = self.first.iter().map(|row| *row as u64).collect();
        let firsts = keys.iter().map(|key| take(key, &firsts, None)).collect::<Result<Vec<_>, _>>()?;
        let keys = converter.convert_columns(&firsts)?;
        let mut order: Vec<usize> = (0..self.first.len()).collect();
        order.sort_unstable_by(|left, right| keys.row(*left).cmp(&keys.row(*right)));
        let mut places = vec![0; order.len()];
        for (place, group) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(*group) {
                *slot = place;
            }
        }
        for group in &mut self.of {
            *group = places.get(*group).copied().unwrap_or_default();
        }
        self.first = order.iter().filter_map(|group| self.first.get(*group).copied()).collect();
        Ok(self)
    }
}

impl<'a> Source<'a> {
    fn of(table: &TableDef, rows: &'a RecordBatch, columns: impl Iterator<Item = &'static str>) -> Result<Self, Error> {
        let column = |name: &str| rows.column_by_name(name).ok_or(Error::Shape);
        let times = |name: &str| column(name)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or(Error::Shape);
        let measures =
            measures(table).map(|measure| Numbers::of(column(measure.name)?)).collect::<Result<Vec<_>, _>>()?;
        let mut unknown = vec![0_u32; rows.num_rows()];
        for (bit, numbers) in measures.iter().enumerate() {
            if numbers.array().null_count() > 0 {
                for (row, bits) in unknown.iter_mut().enumerate() {
                    *bits |= u32::from(numbers.array().is_null(row)) << bit;
                }
            }
        }
        let mut numbered = HashMap::new();
        for name in columns {
            if !numbered.contains_key(name) {
                numbered.insert(name, Numbered::of(column(name)?)?);
            }
        }
        let unknown: ArrayRef = Arc::new(UInt32Array::from(unknown));
        Ok(Self {
            rows,
            time: times(TIME)?,
            recorded_at: times(RECORDED_AT)?,
            weights: rows.column_by_name(ROWS).and_then(|rows| rows.as_primitive_opt()),
            measures,
            numbered: (Numbered::of(&unknown)?, numbered),
            unknown,
        })
    }

    /// The rows of a rollup; nothing if there are more than `most`.
    fn reduce(&self, table: &TableDef, rollup: &Rollup, most: usize) -> Result<Option<RecordBatch>, Error> {
        let grain = rollup.grain.micros();
        let time: TimestampMicrosecondArray = self.time.unary(|time| time.saturating_sub(time.rem_euclid(grain)));
        let time: ArrayRef = Arc::new(time.with_timezone("UTC"));
        let times = Numbered::of_times(self.time, rollup.grain)?;
        let (unknown, columns) = &self.numbered;
        let mut numbered = vec![&times, unknown];
        let mut keys = Vec::new();
        for column in rollup.columns() {
            numbered.push(columns.get(column).ok_or(Error::Shape)?);
            keys.push(Arc::clone(self.rows.column_by_name(column).ok_or(Error::Shape)?));
        }
        let Some(groups) = Groups::new(self.rows.num_rows(), &numbered, most) else { return Ok(None) };
        // As the rows of the table are: by tenant and time.
        keys.insert(1, Arc::clone(&time));
        keys.push(Arc::clone(&self.unknown));
        let groups = groups.sorted(&keys)?;
        let mut sums = HashMap::new();
        for (measure, numbers) in measures(table).zip(&self.measures) {
            let Some(of) = numbers.sums(&groups) else { return Ok(None) };
            sums.insert(measure.name, of);
        }
        let firsts: UInt64Array = groups.first.iter().map(|row| u64::try_from(*row).unwrap_or(u64::MAX)).collect();
        let schema = rollup.schema(table);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let name = field.name().as_str();
            let first = |column: &ArrayRef| take(column, &firsts, None);
            columns.push(match (name, sums.get(name)) {
                (TIME, _) => first(&time)?,
                (RECORDED_AT, _) => self.recorded_from(&groups),
                (ROWS, _) => self.weight(&groups),
                (_, Some(sums)) => {
                    let known = first(self.rows.column_by_name(name).ok_or(Error::Shape)?)?;
                    let sums = Decimal128Array::new(sums.clone().into(), known.logical_nulls());
                    Arc::new(sums.with_data_type(field.data_type().clone()))
                }
                _ if let Some(measure) = measured(name) => self.sketches(measure, &groups)?,
                _ => first(self.rows.column_by_name(name).ok_or(Error::Shape)?)?,
            });
        }
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }

    /// By group, the first time at which one of its rows was recorded.
    fn recorded_from(&self, groups: &Groups) -> ArrayRef {
        let mut times: Vec<Option<i64>> = vec![None; groups.first.len()];
        for (group, time) in groups.of.iter().zip(self.recorded_at) {
            if let (Some(least), Some(time)) = (times.get_mut(*group), time) {
                *least = Some(least.map_or(time, |least| least.min(time)));
            }
        }
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    }

    /// By group, the sketch of a number.
    fn sketches(&self, measure: &str, groups: &Groups) -> Result<ArrayRef, Error> {
        let merged = self.rows.column_by_name(&sketch_of(measure)).cloned();
        let column = match &merged {
            Some(column) => Arc::clone(column),
            None => cast(self.rows.column_by_name(measure).ok_or(Error::Shape)?, &DataType::Float64)?,
        };
        // One after the other, since one of many numbers is large.
        let mut rows: Vec<(usize, usize)> = groups.of.iter().copied().zip(0..).collect();
        rows.sort_unstable();
        let mut sketches = BinaryBuilder::new();
        for rows in rows.chunk_by(|(group, _), (next, _)| group == next) {
            let mut sketch = Sketch::default();
            for (_, row) in rows.iter().filter(|(_, row)| column.is_valid(*row)) {
                match merged {
                    Some(_) => sketch.merge(column.as_binary::<i32>().value(*row)).ok_or(Error::Shape)?,
                    None => sketch.add(column.as_primitive::<Float64Type>().value(*row)),
                };
            }
            sketches.append_value(sketch.to_bytes());
        }
        Ok(Arc::new(sketches.finish()))
    }

    /// By group, how many rows of the table it stands for.
    fn weight(&self, groups: &Groups) -> ArrayRef {
        let mut counts = vec![0_i64; groups.first.len()];
        for (row, group) in groups.of.iter().enumerate() {
            if let Some(count) = counts.get_mut(*group) {
                *count += self.weights.map_or(1, |weights| weights.value(row));
            }
        }
        Arc::new(Int64Array::from(counts))
    }
}

#[cfg(test)]
mod tests;
