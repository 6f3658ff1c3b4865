use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use schemas::{
    id::{Offset, ProducerId},
    ledger::{Fact, Heard},
};

use super::{Bounds, Pinned, Tail};
use crate::{
    lake::Version,
    table::{
        ALL, LOG_OFFSET, by_name,
        fixture::{self, Known},
    },
};

const BOUNDS: Bounds = Bounds { rows: 1_000, bytes: 64 << 20 };

fn version(number: u64, covered: [u64; 2]) -> Arc<Version> {
    Arc::new(Version { number, covered: covered.map(Offset).to_vec(), ..Version::default() })
}

fn tail(covered: [u64; 2]) -> Tail {
    Tail::new(ALL.iter().map(|_| version(0, covered)).collect(), 2, BOUNDS)
}

fn apply(tail: &Tail, lane: u16, offsets: std::ops::Range<u64>) {
    tail.apply(&fixture::calls(lane, offsets), &Known::default()).expect("applied");
}

fn usage(pin: &super::Pin) -> &Pinned {
    pin.table("usage").expect("usage")
}

/// The offsets of the rows of `usage` in the tail, sorted.
fn offsets(pin: &super::Pin) -> Vec<i64> {
    let batches = usage(pin).tail().expect("rows");
    let column = |batch: &arrow::array::RecordBatch| {
        batch.column_by_name(LOG_OFFSET).expect("offsets").as_primitive::<Int64Type>().values().to_vec()
    };
    let mut out: Vec<_> = batches.iter().flat_map(column).collect();
    out.sort_unstable();
    out
}

#[test]
fn entries_are_visible_once_in_all_tables_up_to_one_vector() {
    let tail = tail([0, 0]);
    apply(&tail, 0, 0..3);
    apply(&tail, 1, 0..2);
    apply(&tail, 0, 1..5); // a part of it again
    let pin = tail.pin();
    assert_eq!(pin.high(), [Offset(5), Offset(2)]);
    assert_eq!(offsets(&pin), [0, 0, 1, 1, 2, 3, 4]);
    let rows =
        |name: &str| pin.table(name).unwrap().tail().unwrap().iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!((rows("usage"), rows("calls"), rows("charges"), rows("refusals")), (7, 7, 14, 0));
}

#[test]
fn a_pin_keeps_what_it_refers_to_while_the_tail_moves_on() {
    let tail = tail([0, 0]);
    apply(&tail, 0, 0..10);
    let before = tail.pin();
    tail.loaded(by_name("usage").unwrap(), version(1, [6, 0]));
    apply(&tail, 0, 10..12);
    assert_eq!(offsets(&before), (0..10).collect::<Vec<_>>());
    assert_eq!(usage(&before).version.number, 0);
    let after = tail.pin();
    assert_eq!(offsets(&after), (6..12).collect::<Vec<_>>());
    assert_eq!(usage(&after).version.number, 1);
    assert_eq!(after.table("calls").unwrap().version.number, 0, "other tables stay where they are");
}

#[test]
fn an_older_version_never_replaces_a_newer_one() {
    let tail = tail([0, 0]);
    let usage = by_name("usage").unwrap();
    tail.loaded(usage, version(5, [4, 0]));
    tail.loaded(usage, version(3, [2, 0]));
    assert_eq!(super::tests::usage(&tail.pin()).version.number, 5);
}

#[test]
fn what_the_lake_has_is_dropped_and_counted_back() {
    let tail = tail([0, 0]);
    for offset in 0..200 {
        apply(&tail, 0, offset..offset + 1);
    }
    assert_eq!(tail.held().rows, 200 + 200 + 400 + 200);
    for table in ALL {
        tail.loaded(table, version(1, [200, 0]));
    }
    assert_eq!(tail.held(), Bounds { rows: 0, bytes: 0 });
    assert!(offsets(&tail.pin()).is_empty());
}

#[test]
fn the_archive_is_held_by_writers_and_asks_for_no_commit() {
    let heard = Heard {
        producer: ProducerId::NONE,
        gateway: "gw-1".into(),
        at: fixture::NOON,
        low_watermark: fixture::NOON,
        closed: false,
    };
    let heard = fixture::placed(0, 0, fixture::entry(0, Fact::Heard(heard)));
    let held = |tail: Tail| {
        tail.apply(std::slice::from_ref(&heard), &Known::default()).expect("applied");
        let quiet = (tail.held().rows, tail.has_shown());
        apply(&tail, 0, 1..2);
        (quiet, tail.held().rows, tail.has_shown())
    };
    assert_eq!(held(tail([0, 0])), ((1, false), 2 + 4, true));
    assert_eq!(held(tail([0, 0]).for_queries()), ((0, false), 4, true));
}

#[test]
fn small_batches_are_joined() {
    let tail = tail([0, 0]);
    for offset in 0..1_000 {
        apply(&tail, 0, offset..offset + 1);
    }
    let batches = usage(&tail.pin()).tail().expect("rows").len();
    assert!(batches <= 10, "{batches} batches");
    assert!(tail.is_full());
}

#[test]
fn it_starts_where_the_table_that_is_furthest_back_ends() {
    let versions = ALL.iter().enumerate().map(|(index, _)| version(1, [if index == 0 { 2 } else { 5 }, 0])).collect();
    let tail = Tail::new(versions, 2, BOUNDS);
    assert_eq!(tail.high(), [Offset(2), Offset(0)]);
    apply(&tail, 0, 2..7);
    let pin = tail.pin();
    let rows =
        |name: &str| pin.table(name).unwrap().tail().unwrap().iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!((rows("usage"), rows("calls")), (5, 2));
}

#[test]
fn files_beyond_the_tail_are_told() {
    let tail = tail([0, 0]);
    apply(&tail, 0, 0..3);
    tail.loaded(by_name("calls").unwrap(), version(1, [9, 0]));
    assert_eq!(tail.pin().beyond(), [(schemas::id::Lane(0), Offset(3))]);
}

#[test]
fn entries_that_wait_for_the_policy_leave_nothing_behind() {
    let tail = tail([0, 0]);
    let limits = fixture::limits();
    let balance = schemas::ledger::Fact::Balance(Box::new(fixture::balance(&limits[0], &[], &[(0, 1)])));
    let mut entries = fixture::calls(0, 0..2);
    entries.push(fixture::placed(0, 2, fixture::entry(0, balance)));
    assert!(matches!(tail.apply(&entries, &Known::default()), Err(super::ApplyError::PolicyBehind)));
    assert_eq!((tail.high(), tail.held().rows), (vec![Offset(0), Offset(0)], 0));
    tail.apply(&entries, &Known::with(&limits)).expect("applied");
    assert_eq!(tail.high(), [Offset(3), Offset(0)]);
}
