//! Parquet files of the lake: rows of one table and day, sorted, with what readers need to skip them.
//!
//! Row groups of 131,072 rows, zstd 1, page index, statistics, a bloom filter on call ids, and the sort order in the footer.
//! Columns that are almost all different are not dictionary-encoded. Money is the integer of pico-dollars (INT64).

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int32Array, RecordBatch, new_null_array},
    compute::{concat_batches, interleave_record_batch, take, take_record_batch},
    datatypes::{DataType, Field, Int32Type, SchemaRef, TimestampMicrosecondType},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};

use bytes::Bytes;
use schemas::time::Time;

use super::{order::order, stats};
use crate::{
    error::Error,
    table::{Kind, LOG_OFFSET, TableDef},
};

const ROW_GROUP: usize = 131_072;

/// Rows of a page of a rollup, and about how many bytes it takes at most: who asks about one tenant has hardly any to read beside its own.
const ROLLUP_PAGE: usize = 2_048;
const ROLLUP_PAGE_BYTES: usize = 64 << 10;

/// Rows that are put in their order at once: few enough to stay in the processor's cache.
const PIECE: usize = 8_192;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// Rows of one day, as a file.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Days since 1970; nothing for a table without days.
    pub(crate) day: Option<i32>,
    pub(crate) rows: usize,
    pub(crate) bytes: Vec<u8>,
    /// The statistics for the table's log.
    pub(crate) stats: String,
}

/// Sorts rows and makes one file of each day of them.
///
/// Only what rows are sorted and chosen by is put together as a whole; the rows themselves go to the file a piece at a time, and are
/// copied once.
pub(crate) fn encode(table: &'static TableDef, batches: &[RecordBatch]) -> Result<Vec<Encoded>, Error> {
    let keys = keys(table, batches)?;
    let by = table.sort.iter().map(|name| keys.column_by_name(name).cloned().ok_or(Error::Shape));
    let days = days(table, &keys)?;
    let order = order(days.as_ref(), &by.collect::<Result<Vec<_>, _>>()?)?;
    let mut places: Vec<(usize, usize)> =
        (0..).zip(batches).flat_map(|(at, batch)| (0..batch.num_rows()).map(move |row| (at, row))).collect();
    let (keys, days) = match &order {
        Some(order) => {
            places = order.values().iter().filter_map(|row| places.get(*row as usize).copied()).collect();
            let days = days.map(|days| take(&days, order, None)).transpose()?;
            (take_record_batch(&keys, order)?, days.map(|days| days.as_primitive::<Int32Type>().clone()))
        }
        None => (keys, days),
    };
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let mut out = Vec::new();
    let mut rest = places.as_slice();
    while !rest.is_empty() {
        let start = places.len() - rest.len();
        let day_of = |row: usize| days.as_ref().map(|days| days.value(row));
        let day = day_of(start);
        let same = (start..places.len()).take_while(|row| day_of(*row) == day).count();
        let (today, later) = rest.split_at(same);
        out.push(encode_day(table, day, (&batches, today), &keys.slice(start, same))?);
        rest = later;
    }
    Ok(out)
}

/// The columns of rows that they are sorted by, or that the table's log has statistics of.
fn keys(table: &'static TableDef, batches: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let schema = table.stored_schema();
    let is_key = |name: &str| table.sort.contains(&name) || stats::COLUMNS.contains(&name);
    let keys: Vec<usize> =
        (0..).zip(schema.fields()).filter(|(_, field)| is_key(field.name())).map(|(at, _)| at).collect();
    let batches = batches.iter().map(|batch| batch.project(&keys)).collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&Arc::new(schema.project(&keys)?), &batches)?)
}

/// The UTC day of each row.
fn days(table: &TableDef, rows: &RecordBatch) -> Result<Option<Int32Array>, Error> {
    let Some(column) = table.day else { return Ok(None) };
    let times = rows.column_by_name(column).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let day = |micros: i64| i32::try_from(micros.div_euclid(DAY_MICROS)).unwrap_or(0);
    Ok(Some(times.ok_or(Error::Shape)?.unary::<_, Int32Type>(day)))
}

/// The rows at places, of which `keys` are the keys, as a file.
fn encode_day(
    table: &'static TableDef,
    day: Option<i32>,
    (batches, places): (&[&RecordBatch], &[(usize, usize)]),
    keys: &RecordBatch,
) -> Result<Encoded, Error> {
    let schema = table.stored_schema();
    let properties = properties(table, &schema, places.len())?;
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    for piece in places.chunks(PIECE) {
        writer.write(&interleave_record_batch(batches, piece)?)?;
    }
    let bytes = writer.into_inner()?;
    Ok(Encoded { day, rows: places.len(), bytes, stats: stats::of(table, keys)? })
}

/// Rows of a rollup, as a file.
pub(super) fn encode_rollup(rows: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_data_page_row_count_limit(ROLLUP_PAGE)
        .set_data_page_size_limit(ROLLUP_PAGE_BYTES);
    for field in rows.schema_ref().fields() {
        let path = ColumnPath::from(field.name().as_str());
        // A dictionary is read whole for a single page, so only what is the same in many rows has one.
        if !field.data_type().is_string() || field.name() == "user_id" {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Int64) {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties.build()))?;
    writer.write(rows)?;
    Ok(writer.into_inner()?)
}

fn properties(table: &'static TableDef, schema: &SchemaRef, rows: usize) -> Result<WriterProperties, Error> {
    let mut sorting = Vec::new();
    for name in table.sort {
        let column = i32::try_from(schema.index_of(name)?).unwrap_or(0);
        sorting.push(SortingColumn { column_idx: column, descending: false, nulls_first: true });
    }
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorting));
    for column in table.stored_columns() {
        let path = ColumnPath::from(column.name);
        let distinct = matches!(column.kind, Kind::Time | Kind::Usd)
            || (table.hidden && column.kind == Kind::Long)
            || column.name == LOG_OFFSET
            || column.name.ends_with("_ms")
            || column.name.ends_with("_tokens");
        if distinct {
            properties = properties
                .set_column_dictionary_enabled(path, false)
                .set_column_encoding(ColumnPath::from(column.name), Encoding::DELTA_BINARY_PACKED);
        } else if column.name == "call_id" {
            let ids = u64::try_from(rows.clamp(1, ROW_GROUP)).unwrap_or(1);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_max_ndv(path, ids);
        } else if column.name == "raw_usage" || column.name == "checksum" {
            properties = properties.set_column_dictionary_enabled(path, false);
        } else if column.kind == Kind::Bytes {
            // Nobody looks for bytes by their order.
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

/// The name of a day: `YYYY-MM-DD`.
pub(super) fn day_name(day: i32) -> String {
    Time::from_micros(i64::from(day).saturating_mul(DAY_MICROS)).to_string().chars().take(10).collect()
}

/// The rows of a file; what an earlier version did not write is NULL.
pub(crate) fn decode(table: &TableDef, bytes: Bytes) -> Result<Vec<RecordBatch>, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(ROW_GROUP).build()?;
    reader.map(|batch| with_schema(&batch?, &table.stored_schema())).collect()
}

/// The same rows in the columns of the table, which are found by name.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let nothing = |field: &Field| new_null_array(field.data_type(), batch.num_rows());
    let column = |field: &Arc<Field>| batch.column_by_name(field.name()).cloned().unwrap_or_else(|| nothing(field));
    Ok(RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect())?)
}

#[cfg(test)]
mod tests;
