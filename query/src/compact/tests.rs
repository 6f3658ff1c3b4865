use std::sync::Arc;

use schemas::{id::Offset, ledger::Fact, time::Time};

use super::{MANY, Measure, SMALL_BYTES, TINY_BYTES, candidates, compact, rewrite};
use crate::{
    lake::{
        DataFile, Lake, Version,
        fixture::{Home, Kind},
    },
    table::{
        TableDef, by_name,
        fixture::{self, Known},
    },
    tail::{Bounds, Placed, Tail},
};

fn rows(table: &'static TableDef, entries: &[Placed]) -> arrow::array::RecordBatch {
    let known = Known::with(&fixture::limits());
    let mut rows = table.builder();
    for placed in entries {
        (table.push)(&mut rows, placed, &known).expect("rows");
    }
    rows.finish().expect("a batch")
}

#[test]
fn a_difference_in_rows_or_sums_is_seen() {
    let usage = by_name("usage").unwrap();
    let measure = |entries: &[Placed]| Measure::of(usage, &[rows(usage, entries)]).expect("measured");
    let same = measure(&fixture::calls(0, 0..10));
    let mut cheaper = fixture::calls(0, 0..10);
    let Fact::Charged(charged) = &mut cheaper[3].entry.fact else { panic!("a charge") };
    charged.charges.clear();
    assert_eq!(same.difference(&measure(&fixture::calls(0, 0..10))), None);
    assert_eq!(same.difference(&measure(&fixture::calls(0, 0..9))), Some("rows from 10 to 9".into()));
    assert_eq!(same.difference(&measure(&cheaper)), Some("sum of cost_usd".into()));
}

#[test]
fn rewritten_rows_are_sorted_and_equal() {
    let usage = by_name("usage").unwrap();
    let files =
        rewrite(usage, &[rows(usage, &fixture::calls(0, 5..9)), rows(usage, &fixture::calls(1, 0..7))]).expect("equal");
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [11]);
}

#[test]
fn superseded_states_of_a_counter_go() {
    let balances = by_name("balances").unwrap();
    let limits = fixture::limits();
    let state = |offset: u64| {
        let balance = fixture::balance(&limits[0], &[], &[(0, i128::from(offset))]);
        fixture::placed(0, offset, fixture::entry(0, Fact::Balance(Box::new(balance))))
    };
    let old = [rows(balances, &[state(0), state(3)]), rows(balances, &[state(2)])];
    let files = rewrite(balances, &old).expect("equal for queries");
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [1]);
}

fn sized(file: &Arc<DataFile>, size: u64) -> Arc<DataFile> {
    let mut file = DataFile::clone(file);
    file.size = size;
    Arc::new(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_of_a_day_become_one() {
    let home = Home::new(Kind::Local).await;
    let lake = Lake::open_at(home.place.clone(), 2, 0).await.expect("a lake");
    let usage = by_name("usage").unwrap();
    let tail = Tail::new(lake.pin(), 2, Bounds { rows: 10_000, bytes: 1 << 30 });
    for end in 1..=MANY as u64 {
        tail.apply(&fixture::calls(0, end - 1..end), &Known::default()).expect("applied");
        let pin = tail.pin();
        lake.shelve(pin.table("usage").unwrap(), pin.high()).await.expect("shelved");
    }
    let many: Arc<Version> = lake.pin()[usage.index()].clone();
    let groups = |version: &Version, now: Time| candidates(version, now).iter().map(Vec::len).collect::<Vec<_>>();
    let (today, later) = (fixture::at(60), fixture::at(2 * 86_400));
    assert_eq!((groups(&many, today), groups(&many, later)), (vec![MANY], vec![MANY]));
    // Fewer wait for others, until nothing comes any more.
    let mut few = Version::clone(&many);
    few.files.truncate(2);
    assert_eq!((groups(&few, today), groups(&few, later)), (vec![], vec![2]));
    // One that is much larger is not written again for them, nor are those that are large enough, and what is joined fits in memory.
    for (sizes, joined) in [
        (&[TINY_BYTES, 8 * TINY_BYTES + 1][..], None),
        (&[TINY_BYTES, 8 * TINY_BYTES], Some(2)),
        (&[1, SMALL_BYTES / 2, SMALL_BYTES + 1, SMALL_BYTES + 1], Some(3)),
        (&[1, SMALL_BYTES + 1, SMALL_BYTES + 1], None),
        (&[SMALL_BYTES, SMALL_BYTES], None),
    ] {
        few.files = many.files.iter().zip(sizes).map(|(file, size)| sized(file, *size)).collect();
        assert_eq!(groups(&few, later), Vec::from_iter(joined), "{sizes:?}");
    }
    assert_eq!(compact(&lake, usage, &many).await.expect("compacted"), 1);
    let one = lake.pin()[usage.index()].clone();
    assert_eq!((one.files.len(), one.files[0].rows, one.covered_of(0)), (1, MANY as u64, Offset(MANY as u64)));
    assert_eq!(compact(&lake, usage, &one).await.expect("nothing to do"), 0);
}
