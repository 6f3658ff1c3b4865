use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use object_store::ObjectStoreExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::{
    compact,
    lake::{
        DataFile, Lake,
        fixture::{Home, Kind},
        rewrite::Replaced,
    },
    table::{
        by_name,
        fixture::{self, Known},
    },
    tail::{Bounds, Tail},
};

async fn open(home: &Home) -> Arc<Lake> {
    Lake::open_at(home.place.clone(), 2, 0).await.expect("a lake")
}

fn usage() -> &'static TableDef {
    by_name("usage").expect("usage")
}

fn files(lake: &Lake) -> Vec<Arc<DataFile>> {
    lake.pin()[usage().index()].files.clone()
}

/// A lake with so many files of 1,200 attempts each.
async fn filled(home: &Home, number: u64) -> Arc<Lake> {
    let lake = open(home).await;
    let tail = Tail::new(lake.pin(), 2, Bounds { rows: 1_000_000, bytes: 1 << 30 });
    for file in 0..number {
        tail.apply(&fixture::calls(0, file * 1_200..(file + 1) * 1_200), &Known::default()).expect("applied");
        let pin = tail.pin();
        lake.shelve(pin.table("usage").expect("usage"), pin.high()).await.expect("shelved");
    }
    lake
}

/// By rollup, how many rows those of all files stand for, and how many rows they have.
async fn stand_for(lake: &Lake) -> BTreeMap<&'static str, (u64, u64)> {
    let mut all = BTreeMap::new();
    for (stored, path) in files(lake).iter().flat_map(|file| file.rollups.iter().flatten()) {
        let bytes = lake.store().get(path).await.expect("a rollup").bytes().await.expect("its bytes");
        assert_eq!(bytes.len() as u64, stored.size);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a file").build().expect("a reader");
        let sum = all.entry(stored.rollup.name).or_insert((0, 0));
        for batch in reader.map(|batch| batch.expect("rows")) {
            let rows = batch.column_by_name(rollup::ROWS).expect("rows").as_primitive::<Int64Type>();
            sum.0 += rows.iter().flatten().sum::<i64>() as u64;
            sum.1 += batch.num_rows() as u64;
        }
    }
    all
}

/// How many rollups are worth keeping of rows of one hour that are much alike: the hour's, of each tenant and of all, and those by key, user
/// and tags.
const KEPT: usize = 5;

/// The paths of all rollups that are on the store.
async fn on_the_store(home: &Home) -> Vec<Path> {
    let folder = folder(&home.place, usage()).expect("a path");
    home.place.store.list(Some(&folder)).map_ok(|found| found.location).try_collect().await.expect("listed")
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_are_in_the_log_once_whatever_fails_and_known_to_whoever_opens_the_lake() {
    for kind in [Kind::Local, Kind::S3] {
        let home = Home::new(kind).await;
        let lake = filled(&home, 3).await;
        home.faults.commits_unconfirmed.store(1, SeqCst);
        assert_eq!(compact::roll(&lake, usage()).await.expect("recognised"), 3);
        assert_eq!(home.faults.commits_unconfirmed.load(SeqCst), 0, "the fault happened");
        assert_eq!(compact::roll(&lake, usage()).await.expect("nothing to do"), 0);
        let all = stand_for(&lake).await;
        assert_eq!(all.len(), KEPT, "{all:?}");
        assert!(all.values().all(|(rows, own)| *rows == 3_600 && *own <= 20), "{all:?}");
        // As the log says it, and as its checkpoint does.
        assert_eq!(stand_for(&open(&home).await.clone()).await, all);
        lake.tidy(usage()).await.expect("tidied");
        let again = open(&home).await;
        assert_eq!(stand_for(&again).await, all);
        assert_eq!(files(&again).iter().map(|file| file.rows).sum::<u64>(), 3_600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again() {
    let home = Home::new(Kind::Local).await;
    let lake = filled(&home, 1).await;
    home.faults.away.store(1, SeqCst);
    compact::roll(&lake, usage()).await.expect_err("the lake is away");
    home.faults.away.store(0, SeqCst);
    home.faults.commits_refused.store(3, SeqCst);
    assert_eq!(compact::roll(&lake, usage()).await.expect("made again"), 1);
    assert_eq!(stand_for(&lake).await.get("daily_key").map(|(rows, _)| *rows), Some(1_200));
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_go_with_their_file_and_not_before() {
    let home = Home::new(Kind::Local).await;
    let lake = filled(&home, 8).await;
    let old = files(&lake);
    compact::roll(&lake, usage()).await.expect("made");
    let before = on_the_store(&home).await.len();
    assert_eq!(before, 8 * KEPT);
    assert_eq!(compact::compact(&lake, usage(), &lake.pin()[usage().index()]).await.expect("compacted"), 1);
    // Queries of before may still read them.
    assert_eq!(on_the_store(&home).await.len(), before);
    assert_eq!(lake.roll(usage(), &old).await.expect("told"), Replaced::Overtaken);
    assert_eq!(compact::roll(&lake, usage()).await.expect("made"), 1);
    lake.tidy(usage()).await.expect("tidied");
    let left = on_the_store(&home).await;
    // The joined rows are of several hours, so there are those of their day, of each tenant and of all.
    assert_eq!(left.len(), KEPT + 2, "{left:?}");
    assert_eq!(stand_for(&lake).await.get("hourly").map(|(rows, _)| *rows), Some(9_600));
}

/// The formats that the log names at each file.
async fn named(lake: &Lake) -> Vec<Vec<String>> {
    let told = lake.table(usage()).unwrap().log.told().await.expect("told");
    let sorted = |told: Told| {
        let mut formats: Vec<String> = told.formats.into_iter().collect();
        formats.sort();
        formats
    };
    told.into_values().map(sorted).collect()
}

/// Two versions at once make theirs once each, and neither takes away what the other reads.
#[tokio::test(flavor = "multi_thread")]
async fn rollups_of_another_version_stay_for_a_day_and_go_then() {
    const OTHER: &str = "tollgate.rollups.3";
    let home = Home::new(Kind::Local).await;
    assert_eq!(compact::roll(&*filled(&home, 1).await, usage()).await.expect("made"), 1);
    // As the other version would have left it.
    let store = &home.place.store;
    let log = home.place.path("usage").unwrap().join("_delta_log");
    for found in store.list(Some(&log)).try_collect::<Vec<_>>().await.unwrap() {
        let text = store.get(&found.location).await.unwrap().bytes().await.unwrap();
        let text = String::from_utf8_lossy(&text).replace(rollup::FORMAT, OTHER);
        store.put(&found.location, text.into_bytes().into()).await.unwrap();
    }
    for path in on_the_store(&home).await {
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        let other = Path::parse(path.as_ref().replace(rollup::FORMAT, OTHER)).unwrap();
        store.put(&other, bytes.into()).await.unwrap();
        store.delete(&path).await.unwrap();
    }
    let lake = open(&home).await;
    assert!(files(&lake)[0].rollups.is_none());
    for made in [1, 0] {
        assert_eq!(compact::roll(&lake, usage()).await.expect("made"), made);
        assert_eq!(named(&lake).await, [[OTHER, rollup::FORMAT]]);
    }
    let before = files(&lake);
    let of_a_day = Lake::open_at(home.place.clone(), 2, 86_400).await.expect("a lake");
    of_a_day.tidy(usage()).await.expect("tidied");
    assert_eq!(
        (named(&lake).await, on_the_store(&home).await.len()),
        (vec![vec![OTHER.to_owned(), rollup::FORMAT.to_owned()]], 2 * KEPT)
    );
    // When a day is over the log names them no more, and when another is, they are gone.
    for left in [2 * KEPT, KEPT] {
        lake.tidy(usage()).await.expect("tidied");
        assert_eq!(
            (named(&lake).await, on_the_store(&home).await.len()),
            (vec![vec![rollup::FORMAT.to_owned()]], left)
        );
        assert_eq!(files(&*open(&home).await), before);
    }
    assert_eq!(stand_for(&lake).await.len(), KEPT);
}

#[test]
fn what_a_log_says_is_read_as_far_as_it_is_known() {
    let tag = |rollup: &Rollup| rollup.by_tag.then(|| "a:b/c".into());
    let all = rollup::of_table(usage()).map(|rollup| Stored { rollup, tag: tag(rollup), rows: 5, size: 700 });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(Stored::name);
    assert_eq!(listed(usage(), tags(&all, None).as_ref()), Some(all));
    assert_eq!(listed(usage(), tags(&[], None).as_ref()), Some(Vec::new()));
    let of = |key: &str, text: &str| Some(HashMap::from([(key.to_owned(), Some(text.to_owned()))]));
    assert_eq!(listed(usage(), of(rollup::FORMAT, r#"{"by_the_minute":[1,2]}"#).as_ref()), Some(Vec::new()));
    assert_eq!(listed(usage(), of("tollgate.rollups.0", r#"{"daily":[1,2]}"#).as_ref()), None);
    assert_eq!(listed(usage(), None), None);
}
