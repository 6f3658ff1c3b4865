//! `prices`: the rows of every price book that was ever in force, and when.
//!
//! Each change of the book is a marker row and the rows of the book. A book that was only ever published, so that calls could be rated by
//! it anew, is in no entry of the ledger: its rows come from the policy topic, without a marker and without a policy record. A row that a
//! later one takes the place of ends there, though the book lets it go on: at no time do two rows price the same.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array,
    },
    compute::{concat_batches, filter_record_batch, is_not_null, is_null, take_record_batch},
    datatypes::Int64Type,
};
use schemas::{
    id::Lane,
    ledger::Fact,
    price::{Book, Row},
    time::Time,
};

use super::{
    Builder, Column, Kind, Placed, Policies, PushError, TableDef,
    charges::per_million,
    column::Value,
    newest::{self, column, texts},
    who::{LOG, log},
};
use crate::error::Error;

const COLUMNS: &[Column] = &[
    Column { name: "provider", kind: Kind::Text, doc: "The provider, or its vendor." },
    Column { name: "model", kind: Kind::Text, doc: "The models: a name, or a pattern." },
    Column { name: "token_class", kind: Kind::Text, doc: "What is priced, such as input, cache_read or output." },
    Column { name: "service_tier", kind: Kind::Text, doc: "The service tier; NULL for the standard one." },
    Column {
        name: "above_input_tokens",
        kind: Kind::Long,
        doc: "Holds for requests with more input tokens than this.",
    },
    Column { name: "price_per_mtok_usd", kind: Kind::Price, doc: "Dollars per million tokens or units." },
    Column { name: "valid_from", kind: Kind::Time, doc: "The first admission time that it prices." },
    Column { name: "valid_to", kind: Kind::Time, doc: "The first admission time after those; NULL if there is none." },
    Column { name: "price_id", kind: Kind::Text, doc: "Names the row, in charges too." },
    Column { name: "price_source", kind: Kind::Text, doc: "Where the price was read." },
    Column { name: "source_date", kind: Kind::Text, doc: "The day it was read." },
    Column { name: "price_book", kind: Kind::Text, doc: "The hash of the book." },
    Column {
        name: "policy_offset",
        kind: Kind::Long,
        doc: "The policy record that put the book in force; NULL if none did.",
    },
    Column {
        name: "in_force_from",
        kind: Kind::Time,
        doc: "Since when the book is in force; NULL if it never was, and only past calls were rated by it.",
    },
];

const TO: &[Column] = &[Column {
    name: "in_force_to",
    kind: Kind::Time,
    doc: "Until when; NULL if the book is in force; the beginning of 1970 if it never was.",
}];

pub(super) const TABLE: TableDef = TableDef {
    name: "prices",
    doc: "One row for each price of each book and time over which the book was in force, and of books that past calls were rated by anew.",
    stored: &[COLUMNS, LOG],
    shown: Some(&[COLUMNS, TO, LOG]),
    resolve: Some(resolve),
    condense: None,
    push,
    sort: &["provider", "model"],
    day: None,
    sums: &["price_per_mtok_usd"],
    shared: true,
    hidden: false,
};

fn push(rows: &mut Builder, placed: &Placed, policies: &dyn Policies) -> Result<(), PushError> {
    let Placed { entry, place, .. } = placed;
    let Fact::Book(in_force) = &entry.fact else { return Ok(()) };
    // Every lane of metering follows the policy; one history is enough.
    if place.lane != Lane(0) {
        return Ok(());
    }
    let book = policies.book(in_force.book).ok_or(PushError::PolicyBehind)?;
    let hash = in_force.book.to_string();
    let since = [Value::Text(&hash), Value::count(in_force.policy.0), Value::Time(entry.recorded_at)];
    rows.row(&[&[Value::Null; 11], &since, &log(*place)])?;
    book.rows_on_top().try_for_each(|row| rows.row(&[&price(row), &since, &log(*place)]))
}

fn price(row: &Row) -> [Value<'_>; 11] {
    [
        Value::text(&row.provider),
        Value::text(row.model.as_str()),
        Value::Text(row.class.name()),
        Value::text(&row.tier),
        Value::count(row.above),
        per_million(row.unit_price),
        Value::Time(row.valid_from),
        if row.valid_to == Time::MAX { Value::Null } else { Value::Time(row.valid_to) },
        Value::text(&row.price_id),
        Value::text(&row.source),
        Value::text(&row.source_date),
    ]
}

/// The stored rows of a book that may never have been in force.
pub(crate) fn published(book: &Book) -> Result<RecordBatch, Error> {
    let mut rows = TABLE.builder();
    let hash = book.hash().to_string();
    // Of no lane, so that no cut through one leaves them out.
    let since = [Value::Text(&hash), Value::Null, Value::Null, Value::Int(-1), Value::Int(-1)];
    for row in book.rows() {
        rows.row(&[&price(row), &since]).map_err(|_| Error::Shape)?;
    }
    rows.finish()
}

fn resolve(table: &TableDef, batches: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let (mut in_force, mut beside) = (Vec::with_capacity(batches.len()), Vec::new());
    for batch in batches {
        let policy = batch.column_by_name("policy_offset").ok_or(Error::Shape)?;
        in_force.push(filter_record_batch(batch, &is_not_null(policy)?)?);
        beside.push(filter_record_batch(batch, &is_null(policy)?)?);
    }
    let runs = newest::runs(table, &in_force, &["price_book", "price_id"], "in_force_from", "in_force_to")?;
    let mut shown = vec![runs.clone()];
    let known: HashSet<&str> = texts(&runs, "price_book")?.iter().flatten().collect();
    for batch in &beside {
        let other: BooleanArray =
            texts(batch, "price_book")?.iter().map(|book| book.map(|book| !known.contains(book))).collect();
        let batch = filter_record_batch(batch, &other)?;
        let column = |column: &Column| {
            let rows = batch.num_rows();
            Ok(match column.name {
                "in_force_to" => {
                    Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")) as ArrayRef
                }
                super::LOG_PARTITION | super::LOG_OFFSET => new_null_array(&column.kind.data_type(), rows),
                name => batch.column_by_name(name).cloned().ok_or(Error::Shape)?,
            })
        };
        let columns = table.columns().map(column).collect::<Result<Vec<ArrayRef>, Error>>()?;
        shown.push(RecordBatch::try_new(table.schema(), columns)?);
    }
    one_at_a_time(&concat_batches(&table.schema(), &shown)?)
}

/// The rows, each for the times over which it is the one that prices: of those that are valid the one that became so last.
fn one_at_a_time(rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let names = ["price_book", "provider", "model", "token_class", "service_tier"];
    let names = names.into_iter().map(|name| texts(rows, name)).collect::<Result<Vec<_>, _>>()?;
    let above = rows.column_by_name("above_input_tokens").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (above, from) = (above.ok_or(Error::Shape)?, times(rows, "valid_from")?);
    let (to, since) = (times(rows, "valid_to")?, times(rows, "in_force_from")?);
    let known = |times: &TimestampMicrosecondArray, row| times.is_valid(row).then(|| times.value(row));
    let mut alike: BTreeMap<_, Vec<(i64, i64, u32)>> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        let words: Vec<Option<&str>> = names.iter().map(|name| name.is_valid(row).then(|| name.value(row))).collect();
        let place = (words, above.value(row), known(since, row));
        let valid = (known(from, row).unwrap_or(i64::MIN), known(to, row).unwrap_or(i64::MAX));
        alike.entry(place).or_default().push((valid.0, valid.1, u32::try_from(row).unwrap_or(u32::MAX)));
    }
    let mut parts: Vec<(u32, i64, i64)> = Vec::with_capacity(rows.num_rows());
    for same in alike.values_mut() {
        same.sort_unstable();
        for (at, (from, to, row)) in same.iter().enumerate() {
            let mut next = *from;
            for (later, ends, _) in same.iter().skip(at + 1).filter(|(later, ..)| later < to) {
                if next < *later {
                    parts.push((*row, next, *later));
                }
                next = next.max(*ends);
            }
            if next < *to {
                parts.push((*row, next, *to));
            }
        }
    }
    parts.sort_unstable();
    let taken = take_record_batch(rows, &UInt32Array::from_iter_values(parts.iter().map(|(row, ..)| *row)))?;
    let bound = |times: Vec<i64>, none: i64| -> ArrayRef {
        let times = times.into_iter().map(|time| (time != none).then_some(time));
        Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
    };
    let (from, to) = (parts.iter().map(|part| part.1).collect(), parts.iter().map(|part| part.2).collect());
    let (from, to) = (bound(from, i64::MIN), bound(to, i64::MAX));
    let columns =
        taken.schema_ref().fields().iter().zip(taken.columns()).map(|(field, column)| match field.name().as_str() {
            "valid_from" => Arc::clone(&from),
            "valid_to" => Arc::clone(&to),
            _ => Arc::clone(column),
        });
    Ok(RecordBatch::try_new(rows.schema(), columns.collect())?)
}

fn times<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray, Error> {
    column(rows, name)?.as_primitive_opt().ok_or(Error::Shape)
}
