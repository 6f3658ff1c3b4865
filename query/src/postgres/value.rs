//! Values as Postgres writes them, in text and in binary, and the types that stand for the engine's.
//!
//! Decimals are exact in both: they go through their digits, since the library that there is for it (`arrow-pg` 0.16) takes 28 of
//! them at most. What has no type of its own there is text.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
        IntervalUnit, SchemaRef, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    },
    error::ArrowError,
    util::display::ArrayFormatter,
};
use bytes::{BufMut as _, BytesMut};

use super::message::{Column, Told, format};
use crate::sql::{
    QueryError, bytea,
    in_text::{PLAIN, in_era, intervals, short, span},
    types,
};

/// Microseconds and days from 1970 to 2000, where Postgres begins to count.
pub(super) const MICROS_2000: i64 = 946_684_800_000_000;
pub(super) const DAYS_2000: i32 = 10_957;

/// A type of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Bytes,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Numeric,
}

impl Kind {
    /// What stands for a type of the engine.
    pub(super) fn of(kind: &DataType) -> Self {
        u32::try_from(types::of(kind).oid).ok().and_then(Self::from_oid).unwrap_or(Self::Text)
    }

    /// What a client calls by this number; nothing where it does not say.
    pub(super) const fn from_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            20 => Self::Int8,
            21 => Self::Int2,
            23 | 26 => Self::Int4,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1700 => Self::Numeric,
            18 | 19 | 25 | 1042 | 1043 => Self::Text,
            _ => return None,
        })
    }

    /// Its number.
    pub(crate) const fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytes => 17,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Float4 => 700,
            Self::Float8 => 701,
            Self::Date => 1_082,
            Self::Time => 1_083,
            Self::Timestamp => 1_114,
            Self::TimestampTz => 1_184,
            Self::Interval => 1_186,
            Self::Numeric => 1_700,
        }
    }

    /// The one type of the engine that values are written from.
    pub(super) fn written_from(self, zone: &Option<Arc<str>>) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Bytes => DataType::Binary,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Text | Self::Numeric => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => {
                let zone = zone.clone().unwrap_or_else(|| "UTC".into());
                DataType::Timestamp(TimeUnit::Microsecond, Some(zone))
            }
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }
}

/// The columns of an answer, as clients are told.
pub(super) fn columns(schema: &SchemaRef) -> Vec<Column> {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let length = i16::try_from(types::of(field.data_type()).length).unwrap_or(-1);
        let (oid, modifier) = (Kind::of(field.data_type()).oid(), types::modifier(field.data_type()));
        Column { name: field.name().clone(), oid, length, modifier }
    };
    schema.fields().iter().map(column).collect()
}

/// Rows as they are sent, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: bytes::Bytes,
    pub(super) ends: Vec<usize>,
}

/// Writes rows.
pub(super) struct Rows {
    pub(super) kinds: Vec<Kind>,
    pub(super) formats: Vec<i16>,
    /// The zone in which instants are shown as text, if that is not UTC.
    pub(super) zone: Option<Arc<str>>,
}

impl crate::sql::Write for Rows {
    type Piece = Block;

    fn rows(&mut self, batch: &RecordBatch) -> Result<Block, QueryError> {
        self.block(batch).map_err(|error| datafusion::common::DataFusionError::from(error).into())
    }

    fn end(&mut self) -> Result<Option<Block>, QueryError> {
        Ok(None)
    }
}

impl Rows {
    fn block(&self, batch: &RecordBatch) -> Result<Block, ArrowError> {
        let each = batch.columns().iter().zip(&self.kinds).map(|(column, kind)| plain(column, *kind, &self.zone));
        let arrays = each.collect::<Result<Vec<_>, _>>()?;
        let cells = arrays.iter().zip(&self.kinds).enumerate().map(|(at, (array, kind))| {
            Ok(Cells {
                array,
                kind: *kind,
                binary: format(&self.formats, at) == 1,
                text: ArrayFormatter::try_new(array, &PLAIN)?,
            })
        });
        let cells = cells.collect::<Result<Vec<_>, ArrowError>>()?;
        let (mut told, mut ends) = (Told::default(), Vec::with_capacity(batch.num_rows()));
        for row in 0..batch.num_rows() {
            told.row(cells.len(), |column, body| cells.get(column).map_or(Ok(false), |cells| cells.put(body, row)))?;
            ends.push(told.0.len());
        }
        Ok(Block { bytes: told.0.freeze(), ends })
    }
}

/// A column as the one type that its kind is written from.
fn plain(column: &ArrayRef, kind: Kind, zone: &Option<Arc<str>>) -> Result<ArrayRef, ArrowError> {
    let wanted = kind.written_from(zone);
    if *column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    if kind == Kind::Interval {
        return intervals(column);
    }
    if arrow::compute::can_cast_types(column.data_type(), &wanted) {
        return cast(column, &wanted);
    }
    let shown = ArrayFormatter::try_new(column, &PLAIN)?;
    let texts = (0..column.len()).map(|row| match column.is_null(row) {
        true => Ok(None),
        false => shown.value(row).try_to_string().map(Some),
    });
    Ok(Arc::new(texts.collect::<Result<arrow::array::StringArray, _>>()?))
}

/// A column, as it is written.
struct Cells<'a> {
    array: &'a ArrayRef,
    kind: Kind,
    binary: bool,
    text: ArrayFormatter<'a>,
}

impl Cells<'_> {
    /// Writes a value; false if it is NULL.
    fn put(&self, body: &mut BytesMut, row: usize) -> Result<bool, ArrowError> {
        if self.array.is_null(row) {
            return Ok(false);
        }
        if self.binary { self.put_binary(body, row) } else { self.put_text(body, row) }.map(|()| true)
    }

    fn put_text(&self, body: &mut BytesMut, row: usize) -> Result<(), ArrowError> {
        match self.kind {
            Kind::Text | Kind::Numeric => body.put_slice(self.array.as_string::<i32>().value(row).as_bytes()),
            Kind::Bool => body.put_u8(if self.array.as_boolean().value(row) { b't' } else { b'f' }),
            Kind::Float4 => float(body, f64::from(self.array.as_primitive::<Float32Type>().value(row)), |body| {
                put(body, format_args!("{}", self.array.as_primitive::<Float32Type>().value(row)));
            }),
            Kind::Float8 => {
                let value = self.array.as_primitive::<Float64Type>().value(row);
                float(body, value, |body| put(body, format_args!("{value}")));
            }
            Kind::Bytes => body.put_slice(bytea::written(self.array.as_binary::<i32>().value(row)).as_bytes()),
            Kind::Interval => {
                let value = self.array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                body.put_slice(span(value).as_bytes());
            }
            _ => {
                let (text, era) = in_era(self.text.value(row).try_to_string()?);
                let [time, zone] = short(&text, self.kind == Kind::TimestampTz);
                [time, zone, era].iter().for_each(|part| body.put_slice(part.as_bytes()));
            }
        }
        Ok(())
    }

    fn put_binary(&self, body: &mut BytesMut, row: usize) -> Result<(), ArrowError> {
        let array = self.array;
        let instant = || array.as_primitive::<TimestampMicrosecondType>().value(row);
        match self.kind {
            Kind::Bool => body.put_u8(u8::from(array.as_boolean().value(row))),
            Kind::Bytes => body.put_slice(array.as_binary::<i32>().value(row)),
            Kind::Int2 => body.put_i16(array.as_primitive::<Int16Type>().value(row)),
            Kind::Int4 => body.put_i32(array.as_primitive::<Int32Type>().value(row)),
            Kind::Int8 => body.put_i64(array.as_primitive::<Int64Type>().value(row)),
            Kind::Float4 => body.put_f32(array.as_primitive::<Float32Type>().value(row)),
            Kind::Float8 => body.put_f64(array.as_primitive::<Float64Type>().value(row)),
            Kind::Text => body.put_slice(array.as_string::<i32>().value(row).as_bytes()),
            Kind::Date => body.put_i32(array.as_primitive::<Date32Type>().value(row).saturating_sub(DAYS_2000)),
            Kind::Time => body.put_i64(array.as_primitive::<Time64MicrosecondType>().value(row)),
            Kind::Timestamp | Kind::TimestampTz => body.put_i64(instant().saturating_sub(MICROS_2000)),
            Kind::Interval => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                body.put_i64(value.nanoseconds.div_euclid(1_000));
                body.put_i32(value.days);
                body.put_i32(value.months);
            }
            Kind::Numeric => numeric(body, array.as_string::<i32>().value(row)),
        }
        Ok(())
    }
}

fn put(body: &mut BytesMut, arguments: std::fmt::Arguments<'_>) {
    let written = body.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a buffer that grows takes everything");
}

/// What is not finite has names of its own.
fn float(body: &mut BytesMut, value: f64, finite: impl FnOnce(&mut BytesMut)) {
    match value {
        _ if value.is_nan() => body.put_slice(b"NaN"),
        f64::INFINITY => body.put_slice(b"Infinity"),
        f64::NEG_INFINITY => body.put_slice(b"-Infinity"),
        _ => finite(body),
    }
}

/// A decimal in binary: how many groups of four digits, where the point is, sign, digits behind the point, the groups.
fn numeric(body: &mut BytesMut, text: &str) {
    let (sign, digits) = text.strip_prefix('-').map_or((0_u16, text), |digits| (0x4000, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!(
        "{}{whole}{part}{}",
        "0".repeat(whole.len().wrapping_neg() % 4),
        "0".repeat(part.len().wrapping_neg() % 4)
    );
    let mut groups: Vec<u16> = padded
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit.wrapping_sub(b'0') % 10)))
        .collect();
    let mut weight = whole.len().div_ceil(4) as i16 - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight = if groups.is_empty() { 0 } else { weight - leading as i16 };
    body.put_u16(groups.len() as u16);
    body.put_i16(weight);
    body.put_u16(sign);
    body.put_u16(part.len() as u16);
    groups.iter().for_each(|group| body.put_u16(*group));
}

#[cfg(test)]
mod tests;
