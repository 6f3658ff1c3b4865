//! Tables that another version made: what an earlier one left is read with NULLs in the columns that it did not know, and what a later one
//! added is kept.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use object_store::path::Path;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde_json::{Value, json};

use super::*;
use crate::{
    compact::compact,
    cut::Cuts,
    lake::file::decode,
    plain,
    policies::PolicyLog,
    sql::{Caller, Engine, encode::Format},
    watermark::Watermark,
};

/// Columns that the earlier version does not know; there is one of each group, in the middle of them.
const LATER: [&str; 4] = ["team", "service_tier", "ttft_ms", "search_count"];

/// Puts these calls into every table of a lake.
async fn shelved(lake: &Arc<Lake>, offsets: Range<u64>) {
    crate::shelve::shelve(lake.clone(), Arc::new(tail(lake, offsets)), true).await.expect("shelved");
}

/// Everything in the folder of `usage`, by path, with this ending.
async fn found(home: &Home, ending: &str) -> Vec<(Path, bytes::Bytes)> {
    let folder = home.place.path("usage").unwrap();
    let mut out = Vec::new();
    let mut listed = home.place.store.list(Some(&folder));
    while let Some(object) = listed.next().await {
        let path = object.unwrap().location;
        if path.as_ref().ends_with(ending) {
            out.push((path.clone(), home.place.store.get(&path).await.unwrap().bytes().await.unwrap()));
        }
    }
    out
}

/// A lake with these calls as a version left it whose `usage` had other columns: `rows` makes its rows of ours, `fields` its schema.
async fn made(home: &Home, rows: impl Fn(RecordBatch) -> RecordBatch, fields: impl Fn(&mut Vec<Value>)) {
    let lake = open(home).await;
    shelved(&lake, 0..20).await;
    let mut sizes = HashMap::new();
    for (path, bytes) in found(home, ".parquet").await {
        let mut writer: Option<ArrowWriter<Vec<u8>>> = None;
        for batch in decode(usage(), bytes).unwrap() {
            let rows = rows(batch);
            let writer = writer.get_or_insert_with(|| ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap());
            writer.write(&rows).unwrap();
        }
        let bytes = writer.unwrap().into_inner().unwrap();
        sizes.insert(path.filename().unwrap().to_owned(), bytes.len());
        home.place.store.put(&path, bytes.into()).await.unwrap();
    }
    for (path, log) in found(home, ".json").await {
        let lines = std::str::from_utf8(&log).unwrap().lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(schema) = line["metaData"]["schemaString"].as_str() {
                let mut schema: Value = serde_json::from_str(schema).unwrap();
                fields(schema["fields"].as_array_mut().unwrap());
                line["metaData"]["schemaString"] = schema.to_string().into();
            }
            if let Some(path) = line["add"]["path"].as_str() {
                let size = sizes[path.rsplit('/').next().unwrap()];
                line["add"]["size"] = size.into();
            }
            let is_there = |kind: &str| line[kind].is_object();
            let kind = ["commitInfo", "protocol", "metaData", "add", "txn"].into_iter().find(|kind| is_there(kind));
            let kind = kind.unwrap();
            json!({ kind: line[kind] }).to_string()
        });
        let log = lines.collect::<Vec<_>>().join("\n");
        home.place.store.put(&path, log.into()).await.unwrap();
    }
}

/// A lake that an earlier version left.
async fn older(home: &Home) {
    let rows = |batch: RecordBatch| {
        let fields = batch.schema().fields().clone();
        let kept = (0..fields.len()).filter(|place| !LATER.contains(&fields[*place].name().as_str()));
        batch.project(&kept.collect::<Vec<_>>()).unwrap()
    };
    made(home, rows, |fields| fields.retain(|field| !LATER.contains(&field["name"].as_str().unwrap()))).await;
}

/// The rows of an answer over a lake.
pub(super) async fn answered(lake: &Arc<Lake>, sql: &str) -> Value {
    let watermark = Arc::new(Watermark::default());
    watermark.restored();
    let cuts = Cuts::new(Arc::new(tail(lake, 0..0)), lake.store(), watermark, Arc::new(PolicyLog::default()));
    let engine = Arc::new(Engine::new(Arc::new(cuts)).unwrap());
    let caller = Caller::of(schemas::policy::Tenants::All);
    let answer = engine.answer(&caller, sql, Format::Json).await.unwrap();
    serde_json::from_slice::<Value>(&answer).unwrap()["rows"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_wrote_is_read_with_nothing_in_the_columns_that_it_did_not_know() {
    on_both(|home| async move {
        older(&home).await;
        let lake = open(&home).await;
        let opened = lake.pin()[usage().index()].clone();
        assert_eq!((opened.number, opened.covered_of(0)), (2, Offset(20)), "one commit adds the columns");
        assert_eq!(open(&home).await.pin()[usage().index()].number, 2, "and no other does again");
        let questions = [
            "SELECT count(*) AS n, count(team) AS team, count(ttft_ms) AS ttft, count(search_count) AS s, \
             sum(input_tokens) AS input, CAST(sum(cost_usd) * 1000000000000 AS BIGINT) AS pico FROM usage",
            "SELECT count(*) AS n FROM usage WHERE ttft_ms IS NULL AND team IS NULL",
            "SELECT count(*) AS n FROM usage WHERE ttft_ms >= 20 OR service_tier = 'x'",
        ];
        let wanted = |old: i64, new: i64| {
            let all = old + new;
            let tokens = all * (all - 1) / 2;
            [
                json!([{"n": all, "team": new, "ttft": new, "s": new, "input": tokens, "pico": tokens + all}]),
                json!([{"n": old}]),
                json!([{"n": new}]),
            ]
        };
        for (sql, wanted) in questions.iter().zip(wanted(20, 0)) {
            assert_eq!(answered(&lake, sql).await, wanted, "{sql}");
        }
        for end in 3..=10 {
            shelved(&lake, (end - 1) * 10..end * 10).await;
        }
        for (sql, wanted) in questions.iter().zip(wanted(20, 80)) {
            assert_eq!(answered(&lake, sql).await, wanted, "{sql}");
        }
        let version = lake.refresh(usage()).await.expect("read");
        assert_eq!(compact(&lake, usage(), &version).await.expect("compacted"), 1);
        lake.tidy(usage()).await.expect("tidied");
        let lake = open(&home).await;
        assert_eq!(lake.pin()[usage().index()].files.len(), 1);
        for (sql, wanted) in questions.iter().zip(wanted(20, 80)) {
            assert_eq!(answered(&lake, sql).await, wanted, "{sql} after compaction");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_a_later_version_are_kept_and_not_shown() {
    let home = Home::new(Kind::Local).await;
    let rows = |batch: RecordBatch| {
        let mut columns: Vec<(String, arrow::array::ArrayRef)> =
            batch.schema().fields().iter().map(|field| field.name().clone()).zip(batch.columns().to_vec()).collect();
        let novel = Arc::new(arrow::array::Int64Array::from(vec![7; batch.num_rows()]));
        columns.insert(3, ("novel".into(), novel));
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    };
    let field = json!({ "name": "novel", "type": "long", "nullable": true, "metadata": {} });
    made(&home, rows, |fields| fields.insert(3, field.clone())).await;
    let lake = open(&home).await;
    assert_eq!(answered(&lake, "SELECT sum(input_tokens) AS n FROM usage").await, json!([{"n": 190}]));
    for end in 3..=10 {
        shelved(&lake, (end - 1) * 10..end * 10).await;
    }
    let version = lake.pin()[usage().index()].clone();
    assert!(version.is_of_later && version.files.len() == 9);
    assert_eq!(compact(&lake, usage(), &version).await.expect("left alone"), 0);
    assert_eq!(answered(&lake, "SELECT sum(input_tokens) AS n FROM usage").await, json!([{"n": 4_950}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_refused() {
    let home = Home::new(Kind::Local).await;
    made(
        &home,
        |batch| batch,
        |fields| {
            fields
                .iter_mut()
                .filter(|field| field["name"] == "status")
                .for_each(|field| field["type"] = "string".into());
        },
    )
    .await;
    let opened = Lake::open_at(home.place.clone(), 2, 0).await;
    let is_told = matches!(&opened, Err(Error::OtherSchema { table: "usage", column }) if column == "status");
    assert!(is_told, "{:?}", opened.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_files_have_all_columns_whichever_version_wrote_them() {
    let home = Home::new(Kind::Local).await;
    older(&home).await;
    let lake = open(&home).await;
    shelved(&lake, 20..30).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("plain");
    let url = home.place.url.to_file_path().unwrap();
    plain::write(url.to_str().unwrap(), 2, &plain::Days::default(), &folder).await.expect("written");
    assert!(plain::strange(&folder).expect("read").is_empty());
    let day = folder.join("usage/day=2026-11-20");
    let (mut rows, mut files) = (0, 0);
    for path in std::fs::read_dir(day).unwrap().map(|entry| entry.unwrap().path()) {
        let file = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
        let names: Vec<_> = file.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, usage().stored_columns().map(|column| column.name).collect::<Vec<_>>());
        rows += file.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>();
        files += 1;
    }
    assert_eq!((files, rows), (2, 30));
}
