//! Columns, and the builder that turns rows of values into Arrow arrays.
//!
//! A row is checked against its columns as it is added, so that a table file cannot put a value under the wrong name.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Int32Builder, Int64Builder,
        RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use schemas::{
    money::{PICO_PER_USD, Pico},
    time::Time,
};

use super::PushError;
use crate::error::Error;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means.
    pub doc: &'static str,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A small integer.
    Int,
    /// An integer.
    Long,
    /// True or false.
    Flag,
    /// An instant in UTC, to the microsecond.
    Time,
    /// Dollars of one row: DECIMAL(18, 12), in files the integer of pico-dollars.
    Usd,
    /// Dollars per million: DECIMAL(18, 6).
    Price,
    /// An amount in a limit's own unit: DECIMAL(38, 12).
    Amount,
    /// Bytes.
    Bytes,
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Flag => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Usd => DataType::Decimal128(18, 12),
            Self::Price => DataType::Decimal128(18, 6),
            Self::Amount => DataType::Decimal128(38, 12),
            Self::Bytes => DataType::Binary,
        }
    }
}

/// The schema of columns. Any column may be NULL: what is not known is.
pub(super) fn schema<'a>(columns: impl Iterator<Item = &'a Column>) -> SchemaRef {
    Arc::new(Schema::new(
        columns.map(|column| Field::new(column.name, column.kind.data_type(), true)).collect::<Vec<_>>(),
    ))
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// NULL in a column of any kind.
    Null,
    /// For [`Kind::Text`].
    Text(&'a str),
    /// For [`Kind::Int`] and [`Kind::Long`].
    Int(i64),
    /// For [`Kind::Flag`].
    Flag(bool),
    /// For [`Kind::Time`].
    Time(Time),
    /// For [`Kind::Usd`], [`Kind::Price`] and [`Kind::Amount`]: the integer of the last decimal.
    Decimal(i128),
    /// For [`Kind::Bytes`].
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Text, or NULL where there is none.
    pub(super) fn text(text: &'a str) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }

    /// A count. One that no row can hold stands at the largest that a row can.
    pub(super) fn count(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// The value in it, or NULL.
    pub(super) fn or_null(value: Option<Self>) -> Self {
        value.unwrap_or(Self::Null)
    }

    /// Dollars of one row; NULL where a row cannot hold them.
    pub(super) fn usd(amount: Pico) -> Self {
        Self::or_null(amount.row().map(|pico| Self::Decimal(i128::from(pico))))
    }

    /// An amount in a limit's own unit; NULL where it has more than 26 digits.
    pub(super) fn amount(unit: schemas::limit::Unit, amount: i128) -> Self {
        let scale = if unit == schemas::limit::Unit::Usd { 1 } else { PICO_PER_USD };
        let fits = |value: &i128| value.unsigned_abs() < 10_u128.pow(38);
        Self::or_null(amount.checked_mul(scale).filter(fits).map(Self::Decimal))
    }
}

/// Collects rows.
#[derive(Debug)]
pub struct Builder {
    columns: Vec<(&'static Column, Cells)>,
    rows: usize,
}

#[derive(Debug)]
enum Cells {
    Text(StringBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Flag(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder),
    Bytes(BinaryBuilder),
}

impl Cells {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::with_capacity(0, 0)),
            Kind::Int => Self::Int(Int32Builder::with_capacity(0)),
            Kind::Long => Self::Long(Int64Builder::with_capacity(0)),
            Kind::Flag => Self::Flag(BooleanBuilder::with_capacity(0)),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::with_capacity(0).with_data_type(kind.data_type())),
            Kind::Bytes => Self::Bytes(BinaryBuilder::with_capacity(0, 0)),
            Kind::Usd | Kind::Price | Kind::Amount => {
                Self::Decimal(Decimal128Builder::with_capacity(0).with_data_type(kind.data_type()))
            }
        }
    }

    fn append(&mut self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(cells), Value::Text(text)) => cells.append_value(text),
            (Self::Text(cells), Value::Null) => cells.append_null(),
            (Self::Int(cells), Value::Int(int)) => match i32::try_from(int) {
                Ok(int) => cells.append_value(int),
                Err(_) => return false,
            },
            (Self::Int(cells), Value::Null) => cells.append_null(),
            (Self::Long(cells), Value::Int(int)) => cells.append_value(int),
            (Self::Long(cells), Value::Null) => cells.append_null(),
            (Self::Flag(cells), Value::Flag(flag)) => cells.append_value(flag),
            (Self::Flag(cells), Value::Null) => cells.append_null(),
            (Self::Time(cells), Value::Time(time)) => cells.append_value(time.as_micros()),
            (Self::Time(cells), Value::Null) => cells.append_null(),
            (Self::Decimal(cells), Value::Decimal(integer)) => cells.append_value(integer),
            (Self::Decimal(cells), Value::Null) => cells.append_null(),
            (Self::Bytes(cells), Value::Bytes(bytes)) => cells.append_value(bytes),
            (Self::Bytes(cells), Value::Null) => cells.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(cells) => ArrayBuilder::finish(cells),
            Self::Int(cells) => ArrayBuilder::finish(cells),
            Self::Long(cells) => ArrayBuilder::finish(cells),
            Self::Flag(cells) => ArrayBuilder::finish(cells),
            Self::Time(cells) => ArrayBuilder::finish(cells),
            Self::Decimal(cells) => ArrayBuilder::finish(cells),
            Self::Bytes(cells) => ArrayBuilder::finish(cells),
        }
    }
}

impl Builder {
    /// An empty builder of rows of these columns.
    pub(super) fn new(columns: impl Iterator<Item = &'static Column>) -> Self {
        Self { columns: columns.map(|column| (column, Cells::new(column.kind))).collect(), rows: 0 }
    }

    /// Adds a row, given as groups of values in the order of the columns.
    pub(super) fn row(&mut self, groups: &[&[Value<'_>]]) -> Result<(), PushError> {
        let mut values = groups.iter().flat_map(|group| group.iter());
        for (column, cells) in &mut self.columns {
            let fits = values.next().is_some_and(|value| cells.append(*value));
            if !fits {
                return Err(PushError::Misfit(column.name));
            }
        }
        if values.next().is_some() {
            return Err(PushError::Misfit("(none)"));
        }
        self.rows += 1;
        Ok(())
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows as a batch, and leaves it empty.
    pub fn finish(&mut self) -> Result<RecordBatch, Error> {
        self.rows = 0;
        let schema = schema(self.columns.iter().map(|(column, _)| *column));
        let arrays = self.columns.iter_mut().map(|(_, cells)| cells.finish()).collect();
        Ok(RecordBatch::try_new(schema, arrays)?)
    }
}
