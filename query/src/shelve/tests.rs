use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use journal::{Error as LogError, Follower, Header, Journal, Member, Reader, Record, Road};
use object_store::ObjectStoreExt as _;
use schemas::{
    id::{Lane, Offset, ProducerId, Seq},
    ledger::Fact,
    time::Time,
    topics::Topic,
};
use tokio::runtime::Handle;

use super::{Deps, Shelver};
use crate::{
    compact,
    config::ShelveConfig,
    error::Error,
    lake::{
        Lake,
        fixture::{Home, Kind},
    },
    table::{
        LOG_OFFSET, LOG_PARTITION, Policies, by_name,
        fixture::{self, Known},
    },
    tail::{Bounds, Pin, Placed},
};

/// What takes longer than this hangs; a busy machine does not take that long.
const HANGS: Duration = Duration::from_secs(300);

/// A ledger of two lanes in memory, and from where on it has them.
#[derive(Default)]
struct Ledger(Mutex<[Vec<Record>; 2]>, Mutex<[Offset; 2]>);

impl Ledger {
    fn append(&self, entries: &[Placed]) {
        let mut lanes = self.0.lock().unwrap();
        for Placed { place, body, .. } in entries {
            let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
            let record = Record { lane: place.lane, offset: place.offset, header, body: body.clone() };
            lanes[usize::from(place.lane.0)].push(record);
        }
    }
}

struct Memory(Arc<Ledger>);

impl Road for Memory {
    fn lanes(&self) -> u16 {
        2
    }

    fn kept(&self) -> Result<Vec<Offset>, LogError> {
        Ok(self.0.1.lock().unwrap().to_vec())
    }

    fn since(&self, _: Lane, _: Time) -> Result<Vec<Offset>, LogError> {
        self.kept()
    }

    fn trim(&self, below: &[Offset], _: Time) -> Result<(), LogError> {
        let mut lanes = self.0.0.lock().unwrap();
        for ((lane, below), kept) in lanes.iter_mut().zip(below).zip(self.0.1.lock().unwrap().iter_mut()) {
            lane.retain(|record| record.offset >= *below);
            *kept = (*kept).max(*below);
        }
        Ok(())
    }

    fn reader(&self, _: Topic, from: &[Offset]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(MemoryReader { ledger: self.0.clone(), next: from.to_vec() }))
    }

    fn journal(&self) -> Result<Arc<Journal>, LogError> {
        Err(LogError::Closed)
    }

    fn member(&self) -> Result<Box<dyn Member>, LogError> {
        Err(LogError::Closed)
    }

    fn follower(&self) -> Result<Box<dyn Follower>, LogError> {
        Err(LogError::Closed)
    }

    fn publish(&self, _: &[Bytes]) -> Result<(), LogError> {
        Err(LogError::Closed)
    }

    fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}

struct MemoryReader {
    ledger: Arc<Ledger>,
    next: Vec<Offset>,
}

impl Reader for MemoryReader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let lanes = self.ledger.0.lock().unwrap();
            let mut out = Vec::new();
            for (lane, next) in lanes.iter().zip(&mut self.next) {
                for record in lane.iter().filter(|record| record.offset >= *next).take(10) {
                    out.push(record.clone());
                }
                if let Some(last) = out.last().filter(|last| Some(last.lane) == lane.first().map(|first| first.lane)) {
                    *next = Offset(last.offset.0 + 1).max(*next);
                }
            }
            drop(lanes);
            if !out.is_empty() || Instant::now() >= deadline {
                return Ok(out);
            }
            thread::yield_now();
        }
    }

    fn ends(&mut self) -> Result<Vec<Offset>, LogError> {
        let (lanes, kept) = (self.ledger.0.lock().unwrap(), self.ledger.1.lock().unwrap());
        let end = |(lane, kept): (&Vec<Record>, &Offset)| lane.last().map_or(*kept, |last| Offset(last.offset.0 + 1));
        Ok(lanes.iter().zip(kept.iter()).map(end).collect())
    }
}

struct House {
    home: Home,
    ledger: Arc<Ledger>,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl House {
    async fn new(kind: Kind) -> Self {
        Self { home: Home::new(kind).await, ledger: Arc::new(Ledger::default()), seen: Arc::default() }
    }

    async fn lake(&self) -> Arc<Lake> {
        Lake::open_at(self.home.place.clone(), 2, 0).await.expect("a lake")
    }

    async fn start(&self, writes: bool, policies: Arc<dyn Policies>, config: ShelveConfig) -> (Arc<Lake>, Shelver) {
        let (lake, started) = self.start_on(&self.ledger, writes, policies, config).await;
        (lake, started.expect("started"))
    }

    async fn start_on(
        &self,
        ledger: &Arc<Ledger>,
        writes: bool,
        policies: Arc<dyn Policies>,
        config: ShelveConfig,
    ) -> (Arc<Lake>, Result<Shelver, Error>) {
        let lake = self.lake().await;
        let seen = self.seen.clone();
        let deps = Deps {
            road: Arc::new(Memory(ledger.clone())),
            lake: lake.clone(),
            policies,
            observe: Box::new(move |entries| {
                seen.lock().unwrap().extend(entries.iter().map(|placed| placed.place.offset.0))
            }),
            runtime: Handle::current(),
            writes,
            config,
        };
        (lake, Shelver::start(deps))
    }
}

/// Commits often, so that every hand-over happens many times in a test.
fn often() -> ShelveConfig {
    ShelveConfig {
        commit_rows: 40,
        commit_age: Duration::from_millis(50),
        idle_commit: Duration::from_millis(200),
        refresh: Duration::from_millis(30),
        compact: Some(Duration::from_millis(20)),
        ..ShelveConfig::default()
    }
}

/// Commits only when stopped.
fn never() -> ShelveConfig {
    let hour = Duration::from_secs(3_600);
    ShelveConfig {
        commit_rows: usize::MAX,
        commit_age: hour,
        idle_commit: hour,
        compact: None,
        ..ShelveConfig::default()
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + HANGS;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The offsets of `usage` in each lane that a query with this pin reads, sorted.
async fn read(lake: &Lake, pin: &Pin) -> [Vec<i64>; 2] {
    let usage = pin.table("usage").expect("usage");
    let mut batches = lake.read(usage.table, &usage.version.files).await.expect("files");
    let beyond = pin.beyond();
    let mut out = [Vec::new(), Vec::new()];
    batches.extend(usage.tail().expect("rows"));
    for batch in &batches {
        let (lanes, offsets) = places(batch);
        for (lane, offset) in lanes.iter().zip(offsets) {
            let end = beyond.iter().find(|(beyond, _)| i32::from(beyond.0) == *lane).map(|(_, end)| end.0 as i64);
            if end.is_none_or(|end| *offset < end) {
                out[*lane as usize].push(*offset);
            }
        }
    }
    out.iter_mut().for_each(|lane| lane.sort_unstable());
    out
}

fn places(batch: &RecordBatch) -> (&[i32], &[i64]) {
    let lanes = batch.column_by_name(LOG_PARTITION).expect("lanes").as_primitive::<Int32Type>().values();
    (lanes, batch.column_by_name(LOG_OFFSET).expect("offsets").as_primitive::<Int64Type>().values())
}

fn upto(high: &[Offset]) -> [Vec<i64>; 2] {
    [0, 1].map(|lane: usize| (0..high[lane].0 as i64).collect())
}

/// Adds a call to each lane, again and again until told to stop. Gives how many.
fn feed(ledger: Arc<Ledger>, enough: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut offset = 0;
        while !enough.load(SeqCst) {
            ledger.append(&fixture::calls(0, offset..offset + 1));
            ledger.append(&fixture::calls(1, offset..offset + 1));
            offset += 1;
            thread::sleep(Duration::from_millis(2));
        }
        offset
    })
}

/// Every row exactly once, at every moment, while two processes shelve and compact one lake and rows keep coming.
async fn every_row_is_in_an_answer_once(kind: Kind) {
    let house = House::new(kind).await;
    let known = || Arc::new(Known::default());
    let (lake, writer) = house.start(true, known(), often()).await;
    let (_, second) = house.start(true, known(), often()).await;
    let (reading, follower) = house.start(false, known(), often()).await;
    let enough = Arc::new(AtomicBool::new(false));
    let feeder = feed(house.ledger.clone(), enough.clone());
    let commits = || writer.status().commits + second.status().commits;
    let deadline = Instant::now() + HANGS;
    let mut looks = 0;
    while looks < 20 || commits() < 20 {
        assert!(Instant::now() < deadline, "{kind:?}: {:?} {:?}", writer.status(), second.status());
        for (lake, shelver) in [(&lake, &writer), (&reading, &follower)] {
            let pin = shelver.tail().pin();
            assert_eq!(read(lake, &pin).await, upto(pin.high()), "{kind:?}, look {looks}");
            looks += 1;
        }
    }
    enough.store(true, SeqCst);
    let end = Offset(feeder.join().expect("fed"));
    until("catching up", || [&writer, &second, &follower].iter().all(|shelver| shelver.tail().high() == [end, end]));
    let late = follower.tail().pin();
    for shelver in [writer, second, follower] {
        tokio::task::spawn_blocking(move || shelver.stop()).await.expect("no panic").expect("stopped");
    }
    assert_eq!(read(&reading, &late).await, upto(late.high()), "a pin outlives what it was taken from");
    let usage = house.lake().await.pin()[by_name("usage").unwrap().index()].clone();
    assert_eq!(usage.covered, [end, end]);
    assert_eq!(usage.files.iter().map(|file| file.rows).sum::<u64>(), 2 * end.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_in_an_answer_once_on_disk() {
    every_row_is_in_an_answer_once(Kind::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_in_an_answer_once_on_s3() {
    every_row_is_in_an_answer_once(Kind::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_visible_before_any_commit_and_stopping_commits_it() {
    let house = House::new(Kind::Local).await;
    let (lake, shelver) = house.start(true, Arc::new(Known::default()), never()).await;
    house.ledger.append(&fixture::calls(0, 0..5));
    until("reading", || shelver.tail().high()[0] == Offset(5));
    let pin = shelver.tail().pin();
    assert_eq!(pin.table("usage").unwrap().version.files.len(), 0);
    assert_eq!(read(&lake, &pin).await, upto(&[Offset(5), Offset(0)]));
    assert_eq!(*house.seen.lock().unwrap(), [0, 1, 2, 3, 4]);
    tokio::task::spawn_blocking(move || shelver.stop()).await.expect("no panic").expect("stopped");
    for version in house.lake().await.pin() {
        assert_eq!(version.covered, [Offset(5), Offset(0)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_away_fills_the_tail_and_no_more() {
    let house = House::new(Kind::Local).await;
    let config = ShelveConfig { tail: Bounds { rows: 200, bytes: 1 << 30 }, ..often() };
    let (_, shelver) = house.start(true, Arc::new(Known::default()), config).await;
    house.home.faults.away.store(1, SeqCst);
    house.ledger.append(&fixture::calls(0, 0..500));
    until("the tail is full", || shelver.tail().is_full() && shelver.status().lake.is_some());
    let held = shelver.tail().held().rows;
    assert!(held < 200 + 4 * 20, "{held} rows are held");
    assert!(shelver.status().degraded().is_some_and(|why| why.contains("away")), "{:?}", shelver.status());
    house.home.faults.away.store(0, SeqCst);
    until("catching up", || shelver.tail().high()[0] == Offset(500) && shelver.status().degraded().is_none());
    assert!(shelver.status().caught_up);
}

/// As one that a later version adds, or whose folder was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_behind_the_archive_catches_up_though_the_tail_is_small() {
    let house = House::new(Kind::Local).await;
    let known = || Arc::new(Known::default());
    house.ledger.append(&fixture::calls(0, 0..500));
    let (_, shelver) = house.start(true, known(), often()).await;
    until("reading", || shelver.tail().high()[0] == Offset(500));
    tokio::task::spawn_blocking(move || shelver.stop()).await.expect("no panic").expect("stopped");
    let (store, folder) = (&house.home.place.store, house.home.place.path("usage").expect("a path"));
    let paths: Vec<_> = store.list(Some(&folder)).map_ok(|found| found.location).try_collect().await.expect("listed");
    for path in paths {
        store.delete(&path).await.expect("deleted");
    }
    let config = ShelveConfig { tail: Bounds { rows: 100, bytes: 1 << 30 }, ..often() };
    let (lake, shelver) = house.start(true, known(), config).await;
    let usage = || lake.pin()[by_name("usage").expect("usage").index()].clone();
    until("catching up", || usage().covered[0] == Offset(500));
    assert_eq!(usage().files.iter().map(|file| file.rows).sum::<u64>(), 500);
    tokio::task::spawn_blocking(move || shelver.stop()).await.expect("no panic").expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_wait_for_the_policy_that_they_name() {
    struct Late(Mutex<Known>);
    impl Policies for Late {
        fn book(&self, hash: schemas::id::BookHash) -> Option<schemas::price::Book> {
            self.0.lock().unwrap().book(hash)
        }
        fn limit(&self, id: schemas::id::LimitId) -> Option<Arc<schemas::limit::Limit>> {
            self.0.lock().unwrap().limit(id)
        }
    }
    let house = House::new(Kind::Local).await;
    let late = Arc::new(Late(Mutex::default()));
    let (_, shelver) = house.start(true, late.clone(), never()).await;
    let limits = fixture::limits();
    let balance = Fact::Balance(Box::new(fixture::balance(&limits[0], &[], &[(0, 1)])));
    house.ledger.append(&[fixture::placed(0, 0, fixture::entry(0, balance))]);
    house.ledger.append(&fixture::calls(1, 0..1));
    *late.0.lock().unwrap() = Known::with(&limits);
    until("both are read", || shelver.tail().high() == [Offset(1), Offset(1)]);
    assert!(shelver.tail().pin().table("balances").unwrap().has_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_stops_the_reading_and_is_named() {
    let house = House::new(Kind::Local).await;
    let (_, shelver) = house.start(true, Arc::new(Known::default()), never()).await;
    house.ledger.append(&fixture::calls(0, 0..1));
    until("reading", || shelver.tail().high()[0] == Offset(1));
    let header = Header { producer: ProducerId::NONE, seq: Seq(0), hash: 0 };
    let record = Record { lane: Lane(0), offset: Offset(1), header, body: Bytes::from_static(b"\xff\xff") };
    house.ledger.0.lock().unwrap()[0].push(record);
    until("the error", || shelver.status().ledger.is_some());
    assert!(shelver.status().ledger.unwrap().contains("record 1 of lane 0"));
    assert_eq!(shelver.tail().high()[0], Offset(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_a_pinned_reader_its_files() {
    let house = House::new(Kind::Local).await;
    let lake = house.lake().await;
    let config = ShelveConfig { commit_rows: 1, compact: None, ..often() };
    let (_, shelver) = house.start(true, Arc::new(Known::default()), config).await;
    for offset in 0..12 {
        house.ledger.append(&fixture::calls(0, offset..offset + 1));
        until("a commit", || shelver.tail().pin().table("usage").unwrap().version.covered[0] == Offset(offset + 1));
    }
    let usage = by_name("usage").unwrap();
    let pin = shelver.tail().pin();
    let version = lake.refresh(usage).await.expect("refreshed");
    let (one, two) = tokio::join!(compact::compact(&lake, usage, &version), async {
        let other = house.lake().await;
        compact::compact(&other, usage, &version).await
    });
    assert_eq!(one.expect("compacted") + two.expect("compacted"), 1, "one of them came first");
    assert_eq!(lake.refresh(usage).await.expect("refreshed").files.len(), 1);
    assert_eq!(read(&lake, &pin).await, upto(&[Offset(12), Offset(0)]));
    until("the new version", || shelver.tail().pin().table("usage").unwrap().version.files.len() == 1);
    assert_eq!(read(&lake, &shelver.tail().pin()).await, upto(&[Offset(12), Offset(0)]));
}

/// Calls of a log that is another one.
fn others(offsets: Range<u64>) -> Vec<Placed> {
    let call = |offset| Fact::Charged(Box::new(fixture::charged(offset + 1_000, "globex")));
    offsets.map(|offset| fixture::placed(0, offset, fixture::entry(0, call(offset)))).collect()
}

/// Whether it has read further than the lake of the other is, or not as far: it may have begun when there was nothing to compare.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_with_another_log_puts_nothing_into_the_lake() {
    for read in [8, 3] {
        let house = House::new(Kind::Local).await;
        let other = Arc::new(Ledger::default());
        let config = ShelveConfig { refresh: Duration::from_millis(30), keep: Some(Duration::ZERO), ..never() };
        let (_, stranger) = house.start_on(&other, true, Arc::new(Known::default()), config).await;
        let stranger = stranger.expect("nothing is in the lake yet");
        other.append(&others(0..read));
        until("reading", || stranger.tail().high()[0] == Offset(read));
        let (_, own) = house.start(true, Arc::new(Known::default()), often()).await;
        house.ledger.append(&fixture::calls(0, 0..5));
        let pin = || own.tail().pin();
        until("a commit", || pin().tables().iter().all(|table| table.version.covered[0] == Offset(5)));
        other.append(&others(read..8));
        until("the error", || stranger.status().degraded().is_some_and(|why| why.starts_with("TG5009")));
        for shelver in [stranger, own] {
            drop(tokio::task::spawn_blocking(move || shelver.stop()).await.expect("no panic"));
        }
        let usage = house.lake().await.pin()[by_name("usage").unwrap().index()].clone();
        let rows = usage.files.iter().map(|file| file.rows).sum::<u64>();
        assert_eq!((usage.covered[0], rows), (Offset(5), 5), "{read}");
        assert_eq!(other.0.lock().unwrap()[0].len(), 8, "its log keeps what no lake has");
    }
}

/// The archive's last record of each lane is that of the log: after a restart, a rewrite and a trim, and of no other log, however long.
#[tokio::test(flavor = "multi_thread")]
async fn a_lake_is_opened_with_its_own_log_only() {
    let house = House::new(Kind::Local).await;
    let stop = |shelver: Shelver| tokio::task::spawn_blocking(move || shelver.stop());
    let known = || Arc::new(Known::default());
    for end in 1..=9_u64 {
        house.ledger.append(&fixture::calls(0, end - 1..end));
        let config = ShelveConfig { keep: end.is_multiple_of(2).then_some(Duration::ZERO), ..never() };
        let (_, own) = house.start(true, known(), config).await;
        until("reading", || own.tail().high()[0] == Offset(end));
        stop(own).await.expect("no panic").expect("stopped");
    }
    let (lake, archive) = (house.lake().await, crate::table::ARCHIVE);
    let version = lake.refresh(archive).await.expect("read");
    assert_eq!(compact::compact(&lake, archive, &version).await.expect("compacted"), 1);
    lake.tidy(archive).await.expect("tidied");
    let other = Arc::new(Ledger::default());
    other.append(&others(0..20));
    let error = house.start_on(&other, true, known(), never()).await.1.err().expect("refused");
    assert!(matches!(error, Error::OtherLog { lane: Lane(0), offset: 8 }), "{error}");
    let shorter = Arc::new(Ledger::default());
    shorter.append(&fixture::calls(0, 0..5));
    let error = house.start_on(&shorter, false, known(), never()).await.1.err().expect("refused");
    assert!(matches!(error, Error::Log(LogError::NotKept { asked: 9, end: 5, .. })), "{error}");
    let (_, own) = house.start(true, known(), never()).await;
    stop(own).await.expect("no panic").expect("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_lets_go_of_what_every_table_has() {
    let house = House::new(Kind::Local).await;
    let kept =
        |lane: usize| house.ledger.0.lock().unwrap()[lane].iter().map(|record| record.offset.0).collect::<Vec<_>>();
    let stop = |shelver: Shelver| tokio::task::spawn_blocking(move || shelver.stop());
    house.ledger.append(&fixture::calls(0, 0..5));
    house.ledger.append(&fixture::calls(1, 0..2));
    let config = ShelveConfig { keep: Some(Duration::ZERO), ..never() };
    // Who does not write the lake does not have the log trimmed, and who was not told to does not either.
    for (writes, config) in [(false, config), (true, never())] {
        let (_, shelver) = house.start(writes, Arc::new(Known::default()), config).await;
        until("reading", || shelver.tail().high() == [Offset(5), Offset(2)]);
        stop(shelver).await.expect("no panic").expect("stopped");
        assert_eq!((kept(0).len(), kept(1).len()), (5, 2));
    }
    let (_, shelver) = house.start(true, Arc::new(Known::default()), config).await;
    house.ledger.append(&fixture::calls(0, 5..8));
    until("reading", || shelver.tail().high() == [Offset(8), Offset(2)]);
    assert_eq!(kept(0).len(), 8, "what a table does not have stays");
    stop(shelver).await.expect("no panic").expect("stopped");
    assert_eq!((kept(0), kept(1)), (Vec::new(), Vec::new()));

    house.ledger.append(&fixture::calls(0, 8..9));
    let (lake, shelver) = house.start(true, Arc::new(Known::default()), config).await;
    until("reading", || shelver.tail().high() == [Offset(9), Offset(2)]);
    assert_eq!(read(&lake, &shelver.tail().pin()).await, upto(&[Offset(9), Offset(2)]));
}
