mod kept;
mod older;

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use futures::StreamExt;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use schemas::id::Offset;

use super::{
    Lake,
    fixture::{Home, Kind},
    store,
};
use crate::{
    error::Error,
    table::{
        ALL, LOG_OFFSET, TableDef, by_name,
        fixture::{self, Known},
    },
    tail::{Bounds, Tail},
};

async fn open(home: &Home) -> Arc<Lake> {
    Lake::open_at(home.place.clone(), 2, 0).await.expect("a lake")
}

/// A tail over what the lake has now, with these calls of lane 0 in it.
fn tail(lake: &Lake, offsets: Range<u64>) -> Tail {
    let tail = Tail::new(lake.pin(), 2, Bounds { rows: 1_000_000, bytes: 1 << 30 });
    tail.apply(&fixture::calls(0, offsets), &Known::default()).expect("applied");
    tail
}

fn usage() -> &'static TableDef {
    by_name("usage").expect("usage")
}

/// Shelves what a tail holds of `usage`.
async fn shelve(lake: &Lake, tail: &Tail) -> Result<(), Error> {
    let pin = tail.pin();
    let version = lake.shelve(pin.table("usage").expect("usage"), pin.high()).await?;
    tail.loaded(usage(), version);
    Ok(())
}

/// The offsets of all rows of `usage`, sorted, as a lake opened anew reads them.
async fn stored(home: &Home) -> Vec<i64> {
    let lake = open(home).await;
    let files = lake.pin()[usage().index()].files.clone();
    let batches = lake.read(usage(), &files).await.expect("rows");
    assert_eq!(
        files.iter().map(|file| file.rows).sum::<u64>(),
        batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    );
    let column = |batch: &arrow::array::RecordBatch| {
        batch.column_by_name(LOG_OFFSET).expect("offsets").as_primitive::<Int64Type>().values().to_vec()
    };
    let mut out: Vec<_> = batches.iter().flat_map(column).collect();
    out.sort_unstable();
    out
}

/// Runs a test on both kinds of store.
async fn on_both<F: Future<Output = ()>>(test: impl Fn(Home) -> F) {
    for kind in [Kind::Local, Kind::S3] {
        test(Home::new(kind).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_shelved_once_and_found_again() {
    on_both(|home| async move {
        let lake = open(&home).await;
        let first = tail(&lake, 0..50);
        shelve(&lake, &first).await.expect("shelved");
        shelve(&lake, &first).await.expect("nothing to do");
        let reopened = open(&home).await;
        assert_eq!(reopened.pin()[usage().index()].covered, [Offset(50), Offset(0)]);
        shelve(&reopened, &tail(&reopened, 0..80)).await.expect("shelved");
        assert_eq!(stored(&home).await, (0..80).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_landed_but_reported_failure_is_not_made_again() {
    on_both(|home| async move {
        let lake = open(&home).await;
        home.faults.commits_unconfirmed.store(1, SeqCst);
        shelve(&lake, &tail(&lake, 0..20)).await.expect("recognised");
        assert_eq!(home.faults.commits_unconfirmed.load(SeqCst), 0, "the fault happened");
        assert_eq!(stored(&home).await, (0..20).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_did_not_land_is_made_again_with_the_same_files() {
    on_both(|home| async move {
        let lake = open(&home).await;
        home.faults.commits_refused.store(3, SeqCst);
        shelve(&lake, &tail(&lake, 0..20)).await.expect("made again");
        assert_eq!(stored(&home).await, (0..20).collect::<Vec<_>>());
        assert_eq!(files_on_the_store(&home).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_files_and_commit_loses_and_doubles_nothing() {
    on_both(|home| async move {
        let lake = open(&home).await;
        home.faults.commits_refused.store(usize::MAX, SeqCst);
        shelve(&lake, &tail(&lake, 0..20)).await.expect_err("no commit");
        home.faults.commits_refused.store(0, SeqCst);
        assert!(files_on_the_store(&home).await > 0, "files were left behind");
        let after = open(&home).await;
        shelve(&after, &tail(&after, 0..25)).await.expect("shelved");
        assert_eq!(stored(&home).await, (0..25).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_each_row_is_taken_from_one() {
    on_both(|home| async move {
        let (one, two) = (open(&home).await, open(&home).await);
        let (ours, theirs) = (tail(&one, 0..40), tail(&two, 0..30));
        // Both read position 0; the second learns at its commit that rows are there, and adds the rest.
        shelve(&two, &theirs).await.expect("shelved");
        shelve(&one, &ours).await.expect("shelved");
        assert_eq!(stored(&home).await, (0..40).collect::<Vec<_>>());
        // The other one's turn, with less than is there already.
        theirs.apply(&fixture::calls(0, 30..35), &Known::default()).expect("applied");
        shelve(&two, &theirs).await.expect("nothing to add");
        assert_eq!(stored(&home).await, (0..40).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_race_add_up_to_one_ledger() {
    on_both(|home| async move {
        let mut writers = Vec::new();
        for step in [7, 10, 13] {
            let lake = open(&home).await;
            writers.push(tokio::spawn(async move {
                let tail = tail(&lake, 0..0);
                for end in (step..60).step_by(step).chain([60]) {
                    let from = tail.high()[0].0;
                    tail.apply(&fixture::calls(0, from..end as u64), &Known::default()).expect("applied");
                    shelve(&lake, &tail).await.expect("shelved");
                }
            }));
        }
        for writer in writers {
            writer.await.expect("no panic");
        }
        assert_eq!(stored(&home).await, (0..60).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_once_however_many_start_together() {
    on_both(|home| async move {
        let opened = futures::future::join_all((0..4).map(|_| Lake::open_at(home.place.clone(), 2, 0))).await;
        assert!(opened.iter().all(Result::is_ok), "{:?}", opened.iter().find_map(|lake| lake.as_ref().err()));
        let logs = home.place.store.list(Some(&home.place.path("usage/_delta_log").unwrap())).count().await;
        assert_eq!(logs, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_away_says_so_and_takes_everything_later() {
    on_both(|home| async move {
        let lake = open(&home).await;
        let rows = tail(&lake, 0..10);
        home.faults.away.store(1, SeqCst);
        shelve(&lake, &rows).await.expect_err("the lake is away");
        home.faults.away.store(0, SeqCst);
        shelve(&lake, &rows).await.expect("shelved");
        assert_eq!(stored(&home).await, (0..10).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_tells_where_its_rows_are() {
    let home = Home::new(Kind::Local).await;
    let lake = open(&home).await;
    let midnight = 43_200; // seconds after noon: half of the calls are of the next day
    shelve(&lake, &tail(&lake, midnight - 3..midnight + 3)).await.expect("shelved");
    let mut files = lake.pin()[usage().index()].files.clone();
    files.sort_by_key(|file| file.day.clone());
    let days: Vec<_> = files.iter().map(|file| (file.day.as_deref().unwrap(), file.rows)).collect();
    assert_eq!(days, [("2026-11-20", 3), ("2026-11-21", 3)]);
    assert_eq!(files[0].tenants, Some(("acme".into(), "globex".into())));
    assert_eq!(files[1].times().unwrap().0, fixture::at(midnight as i64));
    assert!(files[0].path.as_ref().contains("/usage/day=2026-11-20/part-"), "{}", files[0].path);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_tidied_and_still_says_the_same() {
    on_both(|home| async move {
        let lake = open(&home).await;
        let rows = tail(&lake, 0..0);
        for end in 1..=12 {
            rows.apply(&fixture::calls(0, rows.high()[0].0..end * 5), &Known::default()).expect("applied");
            shelve(&lake, &rows).await.expect("shelved");
        }
        lake.tidy(usage()).await.expect("tidied");
        rows.apply(&fixture::calls(0, 60..70), &Known::default()).expect("applied");
        shelve(&lake, &rows).await.expect("shelved");
        assert_eq!(open(&home).await.pin()[usage().index()].covered, [Offset(70), Offset(0)]);
        assert_eq!(stored(&home).await, (0..70).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_overwrites_is_refused() {
    on_both(|home| async move {
        let path = home.place.path("twice").expect("a path");
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        home.place.store.put_opts(&path, "1".into(), create()).await.expect("put");
        let second = home.place.store.put_opts(&path, "2".into(), create()).await;
        assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(home.place.store.get(&path).await.unwrap().bytes().await.unwrap(), "1");
        store::probe(&home.place).await.expect("it has conditional put");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_on_a_bucket_does_not_end_with_the_query_that_read_first() {
    let home = Home::new(Kind::S3).await;
    let lake = open(&home).await;
    crate::shelve::shelve(lake.clone(), Arc::new(tail(&lake, 0..50)), true).await.expect("shelved");
    for _ in 0..50 {
        let wanted = serde_json::json!([{"n": 50}]);
        assert_eq!(older::answered(&lake, "SELECT count(*) AS n FROM usage WHERE input_tokens >= 0").await, wanted);
        // Takes over the connection of the query, whose threads end about now.
        lake.refresh(usage()).await.expect("read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_that_are_none_are_refused() {
    for url in ["gs://bucket/x", "s3://", "http://example.org/"] {
        assert!(matches!(store::open(url).await, Err(Error::Url { .. })), "{url}");
    }
    // What Delta's reader of logs would look for elsewhere.
    let temporary = tempfile::TempDir::new().expect("a directory");
    for (name, is_refused) in [("a%20b", true), ("a%C3%A9", true), ("100%", false), ("a%b", false)] {
        let url = temporary.path().join(name);
        let refused = store::place(url.to_str().expect("text")).is_err_and(|error| matches!(error, Error::Url { .. }));
        assert_eq!(refused, is_refused, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_opens_at_any_local_path() {
    let directory = tempfile::TempDir::new().unwrap();
    for name in ["plain", "with space", "ümläut", "100%#1"] {
        let url = directory.path().join(name);
        let lake = Lake::open(url.to_str().unwrap(), 1).await.expect(name);
        shelve(&lake, &Tail::new(lake.pin(), 1, Bounds { rows: 10, bytes: 10 })).await.expect(name);
        assert!(url.join("usage/_delta_log").is_dir(), "{name}");
    }
    assert!(ALL.len() == 11);
}

async fn files_on_the_store(home: &Home) -> usize {
    let folder = home.place.path("usage").expect("a path");
    let files = home.place.store.list(Some(&folder)).filter_map(|file| async { file.ok() });
    files.filter(|file| futures::future::ready(is_data(file.location.as_ref()))).count().await
}

fn is_data(path: &str) -> bool {
    path.ends_with(".parquet") && !path.contains("_delta_log")
}
