//! What is shown of tables whose rows replace or end each other.
//!
//! Rows are only ever added; a marker row says that something changed or is gone. Both functions here are folds over all the
//! stored rows of a small table, in any order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array},
    compute::{concat_batches, filter_record_batch, is_not_null, take_record_batch},
    datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType},
};

use super::{LOG_OFFSET, TableDef};
use crate::error::Error;

/// The rows of the newest record of each `key`; a newest record without `value` means that nothing is left of it.
pub(super) fn of_each(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    key: &str,
    value: &str,
) -> Result<RecordBatch, Error> {
    let mut shown = Vec::with_capacity(batches.len());
    for batch in of_each_with_markers(batches, key)? {
        shown.push(filter_record_batch(&batch, &is_not_null(texts(&batch, value)?)?)?);
    }
    Ok(concat_batches(schema, &shown)?)
}

/// The rows of the newest record of each `key`, markers too.
pub(super) fn of_each_with_markers(batches: &[RecordBatch], key: &str) -> Result<Vec<RecordBatch>, Error> {
    let mut newest: HashMap<&str, i64> = HashMap::new();
    for batch in batches {
        for (key, offset) in texts(batch, key)?.iter().zip(longs(batch, LOG_OFFSET)?) {
            let known = newest.entry(key.unwrap_or_default()).or_insert(*offset);
            *known = (*known).max(*offset);
        }
    }
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let rows = texts(batch, key)?.iter().zip(longs(batch, LOG_OFFSET)?);
        let keep: BooleanArray =
            rows.map(|(key, offset)| Some(newest.get(key.unwrap_or_default()) == Some(offset))).collect();
        kept.push(filter_record_batch(batch, &keep)?);
    }
    Ok(kept)
}

/// For histories: each change is a marker row (its last `key` column is NULL) and the rows that are in force after it, all
/// with the same offset and the same time in column `from`. A row that is in force after several changes in a row is shown
/// once, with the time of the change that ended it in column `to`.
pub(super) fn runs(
    table: &TableDef,
    batches: &[RecordBatch],
    key: &[&str],
    from: &str,
    to: &str,
) -> Result<RecordBatch, Error> {
    let all = concat_batches(&table.stored_schema(), batches)?;
    let keys = key.iter().map(|name| texts(&all, name)).collect::<Result<Vec<_>, _>>()?;
    let times = column(&all, from)?.as_primitive_opt::<TimestampMicrosecondType>().ok_or(Error::Shape)?;
    let mut changes: BTreeMap<i64, (Option<i64>, Vec<usize>)> = BTreeMap::new();
    for (row, offset) in longs(&all, LOG_OFFSET)?.iter().enumerate() {
        let change = changes.entry(*offset).or_default();
        change.0 = times.is_valid(row).then(|| times.value(row));
        if keys.last().is_some_and(|last| last.is_valid(row)) {
            change.1.push(row);
        }
    }
    let mut open: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut shown: Vec<(u32, Option<i64>)> = Vec::new();
    for (since, rows) in changes.values() {
        let mut still = HashMap::with_capacity(rows.len());
        for row in rows {
            let key: Vec<_> = keys.iter().map(|column| column.value(*row)).collect();
            let place = open.remove(&key).unwrap_or_else(|| {
                shown.push((u32::try_from(*row).unwrap_or(u32::MAX), None));
                shown.len() - 1
            });
            still.insert(key, place);
        }
        for ended in open.values() {
            if let Some(run) = shown.get_mut(*ended) {
                run.1 = *since;
            }
        }
        open = still;
    }
    let rows = take_record_batch(&all, &UInt32Array::from_iter_values(shown.iter().map(|(row, _)| *row)))?;
    let ends = TimestampMicrosecondArray::from_iter(shown.iter().map(|(_, end)| *end)).with_timezone("UTC");
    let columns =
        table
            .columns()
            .map(|shown| {
                if shown.name == to {
                    Ok(Arc::new(ends.clone()) as ArrayRef)
                } else {
                    column(&rows, shown.name).cloned()
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(table.schema(), columns)?)
}

pub(super) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or(Error::Shape)
}

pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, Error> {
    column(batch, name)?.as_string_opt::<i32>().ok_or(Error::Shape)
}

fn longs<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i64], Error> {
    Ok(column(batch, name)?.as_primitive_opt::<Int64Type>().ok_or(Error::Shape)?.values())
}
