use std::{ops::Range, sync::atomic::Ordering::SeqCst};

use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch},
    compute::concat_batches,
};
use object_store::PutPayload;
use schemas::ledger::Fact;

use super::*;
use crate::{
    compact::compact,
    lake::fixture::{Home, Kind},
    table::{
        ARCHIVE,
        fixture::{self, Known},
    },
    tail::{Bounds, Placed, Tail},
};

/// A lake of two lanes, and what was put into it.
struct House {
    runtime: Runtime,
    home: Home,
    lake: Arc<Lake>,
    tail: Tail,
}

impl House {
    fn new(kind: Kind) -> Self {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let (home, lake) = runtime.block_on(async {
            let home = Home::new(kind).await;
            let lake = Lake::open_at(home.place.clone(), 2, 0).await.unwrap();
            (home, lake)
        });
        let tail = Tail::new(lake.pin(), 2, Bounds { rows: 1_000_000, bytes: 1 << 30 });
        Self { runtime, home, lake, tail }
    }

    fn shelve(&self, placed: &[Placed]) {
        self.tail.apply(placed, &Known::default()).unwrap();
        let pin = self.tail.pin();
        let version = self.runtime.block_on(self.lake.shelve(pin.table(ARCHIVE.name).unwrap(), pin.high())).unwrap();
        self.tail.loaded(ARCHIVE, version);
    }

    fn newest(&self) -> Arc<Version> {
        self.lake.pin()[ARCHIVE.index()].clone()
    }

    /// Has rows of its one file changed behind its back.
    fn tamper(&self, change: impl Fn(&RecordBatch) -> RecordBatch) {
        let version = self.newest();
        let rows = self.runtime.block_on(self.lake.read(ARCHIVE, &version.files)).unwrap();
        let changed = change(&concat_batches(&ARCHIVE.stored_schema(), &rows).unwrap());
        let encoded = crate::lake::encode(ARCHIVE, &[changed]).unwrap();
        self.runtime.block_on(self.lake.replace(ARCHIVE, &version.files, encoded)).unwrap();
    }

    /// The bodies before these offsets, by lane.
    fn read(&self, to: [u64; 2]) -> Result<[Vec<Vec<u8>>; 2], ArchiveError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let archive = Archive { runtime, found: Some((self.newest(), self.lake.store())) };
        let mut out = [Vec::new(), Vec::new()];
        archive.read(&to.map(Offset), |lane, body| {
            out[usize::from(lane.0)].push(body.to_vec());
            Ok(())
        })?;
        Ok(out)
    }
}

/// Records of a lane, one every two hours. In lane 1 every other offset is a mark, as on Kafka.
fn records(lane: u16, numbers: Range<u64>) -> Vec<Placed> {
    let record = |number: u64| {
        let entry = fixture::entry(number as i64 * 7_200, Fact::Charged(Box::new(fixture::charged(number, "acme"))));
        let (step, marks) = (u64::from(lane) + 1, u64::from(lane));
        let follows = (number * step).saturating_sub(marks);
        Placed { follows: Offset(follows), ..fixture::placed(lane, number * step, entry) }
    };
    numbers.map(record).collect()
}

fn bodies(lane: u16, numbers: Range<u64>) -> Vec<Vec<u8>> {
    records(lane, numbers).into_iter().map(|placed| placed.body.to_vec()).collect()
}

/// What was shelved comes back in order, whatever went wrong and was compacted meanwhile, up to any offsets.
fn a_ledger_comes_back_as_it_was(kind: Kind) {
    let house = House::new(kind);
    for number in 0..60_u64 {
        match number % 7 {
            2 => house.home.faults.commits_refused.store(1, SeqCst),
            5 => house.home.faults.commits_unconfirmed.store(1, SeqCst),
            _ => {}
        }
        // Lane 1 is behind now and then, and catches up.
        let late = number.saturating_sub(if number % 10 < 8 { number % 10 } else { 0 });
        house.shelve(&[records(0, number..number + 1), records(1, late.saturating_sub(9)..late)].concat());
        if number % 20 == 19 {
            let version = house.newest();
            assert!(house.runtime.block_on(compact(&house.lake, ARCHIVE, &version)).is_ok());
        }
    }
    let [all, half] = [house.read([60, 58 * 2 + 1]).unwrap(), house.read([30, 25]).unwrap()];
    assert_eq!(all, [bodies(0, 0..60), bodies(1, 0..59)], "{kind:?}");
    assert_eq!(half, [bodies(0, 0..30), bodies(1, 0..13)], "{kind:?}");
    assert_eq!(house.read([0, 0]).unwrap(), [Vec::<Vec<u8>>::new(), Vec::new()]);
}

#[test]
fn a_ledger_comes_back_as_it_was_on_disk() {
    a_ledger_comes_back_as_it_was(Kind::Local);
}

#[test]
fn a_ledger_comes_back_as_it_was_on_s3() {
    a_ledger_comes_back_as_it_was(Kind::S3);
}

/// An archive of ten records of lane 0, changed so, is refused with these words, whether its end or its middle is wanted.
fn check(change: impl Fn(&House), wanted: &str, code: ErrorCode) {
    let house = House::new(Kind::Local);
    house.shelve(&records(0, 0..10));
    assert_eq!(house.read([10, 0]).unwrap(), [bodies(0, 0..10), Vec::new()]);
    change(&house);
    for to in [10, 6] {
        let error = house.read([to, 0]).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}, and not {wanted}");
        assert_eq!(error.code(), Some(code));
    }
}

fn without(rows: &RecordBatch, gone: usize) -> RecordBatch {
    concat_batches(&rows.schema(), &[rows.slice(0, gone), rows.slice(gone + 1, rows.num_rows() - gone - 1)]).unwrap()
}

#[test]
fn a_row_that_is_missing_is_named() {
    let damaged = ErrorCode::ArchiveDamaged;
    check(|house| house.tamper(|rows| without(rows, 5)), "offsets 5 to 5 of lane 0 are missing", damaged);
    // The last that is wanted is missed by the one after it, and the last of all by the version.
    let house = House::new(Kind::Local);
    house.shelve(&records(0, 0..10));
    house.tamper(|rows| without(rows, 9));
    assert!(house.read([10, 0]).unwrap_err().to_string().contains("offsets 9 to 9 of lane 0 are missing"));
    check(|house| house.tamper(|rows| without(rows, 0)), "offsets 0 to 0 of lane 0 are neither", ErrorCode::HistoryGap);
}

#[test]
fn a_row_that_was_changed_is_named() {
    let changed = |rows: &RecordBatch| {
        let mut columns = rows.columns().to_vec();
        let index = rows.schema().index_of("body").unwrap();
        let body = columns[index].as_binary::<i32>().clone();
        let mut bodies: Vec<Vec<u8>> = body.iter().map(|body| body.unwrap().to_vec()).collect();
        *bodies[3].last_mut().unwrap() ^= 1;
        columns[index] = Arc::new(BinaryArray::from_iter_values(bodies)) as ArrayRef;
        RecordBatch::try_new(rows.schema(), columns).unwrap()
    };
    let damaged = ErrorCode::ArchiveDamaged;
    check(|house| house.tamper(changed), "offset 3 of lane 0: it is not what was written", damaged);
    let twice = |rows: &RecordBatch| concat_batches(&rows.schema(), &[rows.clone(), rows.slice(4, 1)]).unwrap();
    check(|house| house.tamper(twice), "offset 4 of lane 0: it stands twice", damaged);
}

#[test]
fn a_file_that_is_gone_or_cut_is_named() {
    let file = |house: &House| (house.lake.store(), house.newest().files[0].path.clone());
    let gone = |house: &House| {
        let (store, path) = file(house);
        house.runtime.block_on(store.delete(&path)).unwrap();
    };
    check(gone, ".parquet is gone", ErrorCode::ArchiveDamaged);
    let cut = |house: &House| {
        let (store, path) = file(house);
        house.runtime.block_on(store.put(&path, PutPayload::from_static(b"PAR1"))).unwrap();
    };
    check(cut, ".parquet: ", ErrorCode::ArchiveDamaged);
}

#[test]
fn what_the_archive_never_had_is_a_gap() {
    let house = House::new(Kind::Local);
    house.runtime.block_on(house.lake.begin(&[Offset(4), Offset(0)])).unwrap();
    assert_eq!(house.newest().covered, [Offset(4), Offset(0)]);
    let tail = Tail::new(house.lake.pin(), 2, Bounds { rows: 1_000_000, bytes: 1 << 30 });
    let house = House { tail, ..house };
    house.shelve(&records(0, 4..10));
    // A table that has something is where it is.
    house.runtime.block_on(house.lake.begin(&[Offset(40), Offset(40)])).unwrap();
    assert_eq!(house.newest().covered, [Offset(10), Offset(0)]);
    for (to, wanted) in [
        ([10, 0], "offsets 0 to 3 of lane 0 are neither in the log nor in the lake"),
        ([12, 0], "offsets 10 to 11 of lane 0 are neither in the log nor in the lake"),
        ([0, 2], "offsets 0 to 1 of lane 1 are neither in the log nor in the lake"),
    ] {
        let error = house.read(to).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), (wanted, Some(ErrorCode::HistoryGap)));
    }
    let nowhere = tempfile::tempdir().unwrap();
    let lake = nowhere.path().join("lake");
    let error = Archive::open(lake.to_str().unwrap(), 1).unwrap().read(&[Offset(3)], |_, _| Ok(())).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::HistoryGap));
    assert!(!lake.exists(), "a look makes nothing");
}
