use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use parquet::{
    basic::{Compression, Type},
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader, SerializedFileReader},
    },
};

use super::{Encoded, PIECE, ROW_GROUP, decode, encode, encode_rollup};
use crate::{
    rollup,
    table::{
        TableDef, by_name,
        fixture::{self, Known},
    },
};

fn usage() -> &'static TableDef {
    by_name("usage").expect("usage")
}

fn rows(offsets: std::ops::Range<u64>) -> RecordBatch {
    let mut rows = usage().builder();
    for placed in fixture::calls(0, offsets) {
        (usage().push)(&mut rows, &placed, &Known::default()).expect("rows");
    }
    rows.finish().expect("a batch")
}

fn metadata(file: &Encoded) -> ParquetMetaData {
    SerializedFileReader::new(bytes::Bytes::from(file.bytes.clone())).expect("a file").metadata().clone()
}

#[test]
fn rows_come_back_sorted_by_tenant_and_time() {
    let row = |batch: &RecordBatch, row: usize| {
        let tenant = batch.column_by_name("tenant").unwrap().as_string::<i32>().value(row).to_owned();
        let time = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>().value(row);
        (tenant, time)
    };
    // Of one piece, and of several.
    for (half, all) in [(5, 9), (PIECE as u64, 2 * PIECE as u64 + 1)] {
        let files = encode(usage(), &[rows(half..all), rows(0..half)]).expect("encoded");
        assert_eq!(files.len(), 1);
        let back = decode(usage(), files[0].bytes.clone().into()).expect("decoded");
        let keys: Vec<_> = back.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at))).collect();
        assert_eq!(keys.len() as u64, all);
        assert!(keys.is_sorted(), "of {all}");
        assert_eq!(keys[0], ("acme".into(), fixture::at(0).as_micros()));
    }
}

#[test]
fn a_file_is_laid_out_for_readers_that_skip() {
    let file = encode(usage(), &[rows(0..100)]).expect("encoded").remove(0);
    let metadata = metadata(&file);
    let group = metadata.row_group(0);
    assert_eq!(group.sorting_columns().map(Vec::len), Some(2));
    let column = |name: &str| group.columns().iter().find(|column| column.column_path().string() == name).expect(name);
    for (name, kind) in [("cost_usd", Type::INT64), ("time", Type::INT64), ("call_id", Type::BYTE_ARRAY)] {
        assert_eq!(column(name).column_type(), kind, "{name}");
        assert!(matches!(column(name).compression(), Compression::ZSTD(_)), "{name}");
        assert!(column(name).column_index_offset().is_some(), "{name} has no page index");
    }
    assert!(column("call_id").bloom_filter_offset().is_some());
    assert!(column("tenant").bloom_filter_offset().is_none());
    assert!(file.bytes.len() < 40_000, "{} bytes for 100 rows", file.bytes.len());
}

#[test]
fn a_row_group_has_131_072_rows_at_most() {
    let batch = rows(0..2_048);
    let many: Vec<_> = std::iter::repeat_n(batch, ROW_GROUP / 2_048 + 1).collect();
    let files = encode(usage(), &many).expect("encoded");
    let groups: Vec<_> = metadata(&files[0]).row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [131_072, 2_048]);
}

/// A dictionary is read whole for a single page.
#[test]
fn a_page_of_a_rollup_is_read_without_what_differs_in_others() {
    let made = rollup::made(usage(), &rows(0..2_000)).expect("rollups").remove(0);
    let file =
        SerializedFileReader::new(bytes::Bytes::from(encode_rollup(&made.rows).expect("encoded"))).expect("a file");
    for column in file.metadata().row_group(0).columns() {
        let name = column.column_path().string();
        let is_alike = made.rollup.has(&name) && name != "cache_hit";
        assert_eq!(column.dictionary_page_offset().is_some(), is_alike, "{name}");
    }
}
