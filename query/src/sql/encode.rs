//! Answers as bytes: JSON, CSV, Arrow and Parquet, a piece at a time.
//!
//! JSON is exact: integers are numbers, decimals strings, times RFC 3339 in UTC to the microsecond. It is bounded in rows and bytes,
//! because who reads it has all of it in memory. The others are as long as what a query can make in its time. Intervals, and floats that are
//! not finite, are in JSON and CSV what Postgres writes.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type, Int8Type,
        Int16Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;
use schemas::{policy::Tenants, time::Time};

use super::{Head, QueryError, Write, in_text::spans};

/// The most rows of an answer in JSON.
pub const MAX_ROWS: usize = 1_000_000;

/// The most bytes of an answer in JSON.
pub const MAX_BYTES: usize = 64 << 20;

/// The rows, and about the bytes, of a row group of Parquet, which is in memory until it is complete.
const GROUP_ROWS: usize = 131_072;
const GROUP_BYTES: usize = 16 << 20;

/// The rows that are written at a time.
const STEP: usize = 512;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `{"columns": […], "rows": […], "as_of": {…}}`.
    #[default]
    Json,
    /// A header line and a line a row, as Postgres copies them: NULL is nothing, and a text without letters `""`.
    Csv,
    /// The Arrow IPC stream format.
    Arrow,
    /// One Parquet file.
    Parquet,
}

impl Format {
    /// Its name in requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl Format {
    /// Whether what is written of these columns can be read by others.
    pub(crate) fn writes(self, schema: &Schema) -> Result<(), QueryError> {
        let Some(field) = schema.fields().iter().find(|field| !self.holds(field.data_type())) else { return Ok(()) };
        let (name, kind) = (field.name(), sql_type(field.data_type()));
        Err(QueryError::Invalid(format!(
            "column {name} is of type {kind}, which this format does not have: cast it, or ask for json or csv"
        )))
    }

    /// The same of a type.
    const fn holds(self, kind: &DataType) -> bool {
        match (self, kind) {
            (Self::Json | Self::Csv, _) => true,
            (_, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => *scale >= 0,
            (Self::Parquet, DataType::Interval(_) | DataType::Duration(_)) => false,
            _ => true,
        }
    }
}

/// Writes the rows of one answer, a piece at a time.
pub(crate) struct Encoder {
    schema: SchemaRef,
    as_of: serde_json::Value,
    rows: usize,
    bytes: usize,
    to: To,
}

enum To {
    Json(String),
    Csv(Vec<u8>),
    Arrow(Box<arrow::ipc::writer::StreamWriter<Vec<u8>>>),
    Parquet(Box<parquet::arrow::ArrowWriter<Vec<u8>>>),
    /// It has been ended.
    Done,
}

impl Encoder {
    /// Begins an answer with this head, for a caller who may read `tenants`.
    pub(crate) fn new(format: Format, head: &Head, tenants: &Tenants) -> Result<Self, QueryError> {
        let schema = &head.schema;
        unique(schema)?;
        format.writes(schema)?;
        let to = match format {
            Format::Json => {
                let mut text = String::from("{\"columns\":[");
                for (index, field) in schema.fields().iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let kind = quoted(&sql_type(field.data_type()));
                    push(&mut text, format_args!("{comma}{{\"name\":{},\"type\":{kind}}}", quoted(field.name())));
                }
                text.push_str("],\"rows\":[");
                To::Json(text)
            }
            Format::Csv => {
                let mut line = Line::default();
                schema.fields().iter().for_each(|field| line.push(Some(field.name())));
                To::Csv(line.ended())
            }
            Format::Arrow => {
                let writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), schema);
                To::Arrow(Box::new(writer.map_err(arrow_error)?))
            }
            Format::Parquet => {
                let zstd = parquet::basic::Compression::ZSTD(parquet::basic::ZstdLevel::default());
                let properties = parquet::file::properties::WriterProperties::builder()
                    .set_compression(zstd)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
                To::Parquet(Box::new(writer.map_err(ArrowError::from).map_err(arrow_error)?))
            }
        };
        Ok(Self { schema: schema.clone(), as_of: head.as_of.json(tenants), rows: 0, bytes: 0, to })
    }

    fn step(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let before = self.rows;
        self.rows += batch.num_rows();
        match &mut self.to {
            To::Json(text) => {
                if self.rows > MAX_ROWS {
                    return Err(QueryError::TooLarge(format!(
                        "the answer has more than {MAX_ROWS} rows; ask for fewer with WHERE, GROUP BY or LIMIT, or for csv, arrow or parquet"
                    )));
                }
                json_rows(text, &self.schema, batch, before == 0, self.bytes)?;
            }
            To::Csv(text) => csv_rows(text, batch).map_err(arrow_error)?,
            To::Arrow(writer) => writer.write(batch).map_err(arrow_error)?,
            To::Parquet(writer) => {
                writer.write(batch).map_err(ArrowError::from).map_err(arrow_error)?;
                if writer.memory_size() > GROUP_BYTES {
                    writer.flush().map_err(ArrowError::from).map_err(arrow_error)?;
                }
            }
            To::Done => {}
        }
        Ok(())
    }

    /// What was written since this was asked last.
    fn written(&mut self) -> Bytes {
        let written = match &mut self.to {
            To::Json(text) => std::mem::take(text).into_bytes(),
            To::Csv(text) => std::mem::take(text),
            To::Arrow(writer) => std::mem::take(writer.get_mut()),
            To::Parquet(writer) => std::mem::take(writer.inner_mut()),
            To::Done => Vec::new(),
        };
        self.bytes += written.len();
        written.into()
    }
}

impl Write for Encoder {
    type Piece = Bytes;

    /// A few rows at a time, so that an answer that is too long is noticed before it is written.
    fn rows(&mut self, batch: &RecordBatch) -> Result<Bytes, QueryError> {
        for start in (0..batch.num_rows()).step_by(STEP) {
            self.step(&batch.slice(start, STEP.min(batch.num_rows() - start)))?;
        }
        Ok(self.written())
    }

    /// `as_of` is part of JSON only.
    fn end(&mut self) -> Result<Option<Bytes>, QueryError> {
        Ok(Some(match std::mem::replace(&mut self.to, To::Done) {
            To::Json(mut text) => {
                push(&mut text, format_args!("],\"as_of\":{}}}", self.as_of));
                bounded(self.bytes + text.len())?;
                text.into()
            }
            To::Csv(text) => text.into(),
            To::Arrow(writer) => writer.into_inner().map_err(arrow_error)?.into(),
            To::Parquet(writer) => writer.into_inner().map_err(ArrowError::from).map_err(arrow_error)?.into(),
            To::Done => return Ok(None),
        }))
    }
}

/// Refuses two columns of one name: an answer in JSON could show only one of them.
fn unique(schema: &SchemaRef) -> Result<(), QueryError> {
    let mut names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first()) {
        Some(name) => Err(QueryError::Invalid(format!("two columns are named {name}: give one another name with AS"))),
        None => Ok(()),
    }
}

fn bounded(size: usize) -> Result<(), QueryError> {
    if size > MAX_BYTES {
        let limit = MAX_BYTES >> 20;
        return Err(QueryError::TooLarge(format!(
            "an answer in JSON may have {limit} MiB; ask for fewer rows or columns, or for csv, arrow or parquet"
        )));
    }
    Ok(())
}

fn arrow_error(error: ArrowError) -> QueryError {
    datafusion::common::DataFusionError::from(error).into()
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}

/// The name of a type in SQL.
pub(crate) fn sql_type(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "SMALLINT".into(),
        DataType::Int32 | DataType::UInt16 => "INTEGER".into(),
        DataType::Int64 | DataType::UInt32 => "BIGINT".into(),
        DataType::UInt64 => "UBIGINT".into(),
        DataType::Float16 | DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::Timestamp(..) => "TIMESTAMP".into(),
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".into(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".into(),
        DataType::Null => "NULL".into(),
        DataType::Dictionary(_, value) => sql_type(value),
        other => other.to_string(),
    }
}

fn csv_rows(text: &mut Vec<u8>, batch: &RecordBatch) -> Result<(), ArrowError> {
    const MICROS: Option<&str> = Some("%Y-%m-%dT%H:%M:%S%.6fZ");
    const TIMES: FormatOptions<'static> =
        FormatOptions::new().with_timestamp_format(MICROS).with_timestamp_tz_format(MICROS);
    let columns = spelled(batch)?;
    let cells = columns.iter().map(|column| Ok((column, ArrayFormatter::try_new(column, &TIMES)?)));
    let cells = cells.collect::<Result<Vec<_>, ArrowError>>()?;
    let (mut line, mut cell) = (Line { text: std::mem::take(text), cells: 0 }, String::new());
    for row in 0..batch.num_rows() {
        for (column, formatter) in &cells {
            if is_null(*column, row) {
                line.push(None);
                continue;
            }
            cell.clear();
            formatter.value(row).write(&mut cell)?;
            line.push(Some(match cell.as_str() {
                "inf" if column.data_type().is_floating() => INFINITY,
                "-inf" if column.data_type().is_floating() => MINUS_INFINITY,
                other => other,
            }));
        }
        line.end();
    }
    *text = line.text;
    Ok(())
}

/// Lines of CSV.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// In the last.
    cells: usize,
}

impl Line {
    /// Adds a cell.
    fn push(&mut self, cell: Option<&str>) {
        if self.cells > 0 {
            self.text.push(b',');
        }
        self.cells += 1;
        match cell {
            None => {}
            Some(plain) if !plain.is_empty() && !plain.contains(['"', ',', '\n', '\r']) => {
                self.text.extend_from_slice(plain.as_bytes());
            }
            Some(other) => {
                self.text.push(b'"');
                self.text.extend_from_slice(other.replace('"', "\"\"").as_bytes());
                self.text.push(b'"');
            }
        }
    }

    fn end(&mut self) {
        self.text.push(b'\n');
        self.cells = 0;
    }

    fn ended(mut self) -> Vec<u8> {
        self.end();
        self.text
    }
}

fn json_rows(
    text: &mut String,
    schema: &SchemaRef,
    batch: &RecordBatch,
    mut first: bool,
    before: usize,
) -> Result<(), QueryError> {
    let names: Vec<_> = schema.fields().iter().map(|field| format!("{}:", quoted(field.name()))).collect();
    let columns = spelled(batch).map_err(arrow_error)?;
    let cells = columns.iter().map(|column| Cells::new(column)).collect::<Result<Vec<_>, _>>();
    let cells = cells.map_err(arrow_error)?;
    for row in 0..batch.num_rows() {
        text.push_str(if first { "{" } else { ",{" });
        first = false;
        for (index, (name, cells)) in names.iter().zip(&cells).enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(name);
            cells.push(text, row).map_err(arrow_error)?;
            // A text of many MiB becomes six times as long where each letter of it is escaped.
            bounded(before + text.len())?;
        }
        text.push('}');
    }
    Ok(())
}

/// A column, as JSON shows it.
struct Cells<'a> {
    array: &'a dyn Array,
    /// For types without a JSON form of their own.
    text: ArrayFormatter<'a>,
}

const PLAIN: FormatOptions<'static> = FormatOptions::new();

impl<'a> Cells<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ArrowError> {
        Ok(Self { array, text: ArrayFormatter::try_new(array, &PLAIN)? })
    }

    fn push(&self, text: &mut String, row: usize) -> Result<(), ArrowError> {
        let array = self.array;
        if is_null(array, row) {
            text.push_str("null");
            return Ok(());
        }
        macro_rules! number {
            ($type:ty) => {
                push(text, format_args!("{}", array.as_primitive::<$type>().value(row)))
            };
        }
        match array.data_type() {
            DataType::Boolean => push(text, format_args!("{}", array.as_boolean().value(row))),
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::UInt8 => number!(UInt8Type),
            DataType::UInt16 => number!(UInt16Type),
            DataType::UInt32 => number!(UInt32Type),
            DataType::UInt64 => number!(UInt64Type),
            DataType::Float32 => float(text, f64::from(array.as_primitive::<Float32Type>().value(row))),
            DataType::Float64 => float(text, array.as_primitive::<Float64Type>().value(row)),
            DataType::Utf8 => push(text, format_args!("{}", quoted(array.as_string::<i32>().value(row)))),
            DataType::LargeUtf8 => push(text, format_args!("{}", quoted(array.as_string::<i64>().value(row)))),
            DataType::Utf8View => push(text, format_args!("{}", quoted(array.as_string_view().value(row)))),
            DataType::Decimal128(precision, scale) => {
                let value = array.as_primitive::<Decimal128Type>().value(row);
                push(text, format_args!("\"{}\"", Decimal128Type::format_decimal(value, *precision, *scale)));
            }
            DataType::Decimal256(precision, scale) => {
                let value = array.as_primitive::<Decimal256Type>().value(row);
                push(text, format_args!("\"{}\"", Decimal256Type::format_decimal(value, *precision, *scale)));
            }
            DataType::Timestamp(unit, _) => push(text, format_args!("\"{}\"", instant(array, *unit, row)?)),
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>().value(row);
                let day = within_years(i64::from(days).saturating_mul(86_400_000_000))?.to_string();
                push(text, format_args!("\"{}\"", day.get(..10).unwrap_or(&day)));
            }
            _ => push(text, format_args!("{}", quoted(&self.text.value(row).try_to_string()?))),
        }
        Ok(())
    }
}

fn is_null(array: &dyn Array, row: usize) -> bool {
    array.is_null(row) || *array.data_type() == DataType::Null
}

const INFINITY: &str = "Infinity";
const MINUS_INFINITY: &str = "-Infinity";

/// JSON has no number for what is not finite.
fn float(text: &mut String, value: f64) {
    match value {
        f64::INFINITY => push(text, format_args!("\"{INFINITY}\"")),
        f64::NEG_INFINITY => push(text, format_args!("\"{MINUS_INFINITY}\"")),
        _ if value.is_nan() => push(text, format_args!("\"NaN\"")),
        _ => push(text, format_args!("{}", serde_json::Value::from(value))),
    }
}

/// What RFC 3339 can say, in microseconds: from the year 0 to the end of 9999.
const YEARS: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// Instants are in UTC whatever zone their type names.
fn instant(array: &dyn Array, unit: TimeUnit, row: usize) -> Result<Time, ArrowError> {
    let micros = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).saturating_mul(1_000_000),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).saturating_mul(1_000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000),
    };
    within_years(micros)
}

fn within_years(micros: i64) -> Result<Time, ArrowError> {
    if !YEARS.contains(&micros) {
        let why = "a time outside of the years 0 to 9999 has no form in JSON; cast it to BIGINT";
        return Err(ArrowError::InvalidArgumentError(why.into()));
    }
    Ok(Time::from_micros(micros))
}

/// Columns as text shows them: spans of time spelled out, and instants with UTC as their zone, so that the `Z` that CSV has is true.
fn spelled(batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Timestamp(unit, Some(zone)) if zone.as_ref() != "UTC" => {
            arrow::compute::cast(column, &DataType::Timestamp(*unit, Some("UTC".into())))
        }
        DataType::Interval(_) | DataType::Duration(_) => Ok(Arc::new(spans(column)?) as ArrayRef),
        _ => Ok(Arc::clone(column)),
    });
    columns.collect()
}
