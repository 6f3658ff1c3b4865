//! The disk road does what the port promises, and what only a disk can do wrong it does right.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use rustix::io::Errno;
use schemas::{
    error_code::ErrorCode,
    id::{Lane, Offset},
    time::Time,
    topics::Topic,
};
use tempfile::TempDir;

use super::Disk;
use crate::{
    Draft, Error, Member, Options, Outputs, Polled, Road,
    conformance::{self, Books, Ground, View, append, from_start, read, until},
    fault::{Faults, Point},
    segment::files,
};

const SOON: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { segment_bytes: 4096, ..Options::default() }
}

fn open(dir: &Path) -> Arc<Disk> {
    Disk::open(dir, &options()).unwrap()
}

struct Dir(TempDir);

impl Ground for Dir {
    fn open(&mut self) -> Arc<dyn Road> {
        open(self.0.path())
    }

    fn trim(&self, road: &dyn Road, below: &[Offset]) {
        road.trim(below, Time::MAX).unwrap();
    }
}

fn fresh() -> Dir {
    Dir(tempfile::tempdir().unwrap())
}

conformance::suite!(fresh());

/// The directory as a process that dies now would leave it.
fn crashed(dir: &Path) -> Dir {
    let copy = fresh();
    for part in ["", "usage", "ledger", "policy"] {
        let (from, to) = (dir.join(part), copy.0.path().join(part));
        fs::create_dir_all(&to).unwrap();
        for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn events(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("event {number:060}"))
}

/// A member that has its lane.
fn member(disk: &Disk) -> Box<dyn Member> {
    let mut member = disk.member().unwrap();
    assert!(matches!(member.poll(SOON).unwrap(), Polled::Assigned(Lane(0), _)));
    member
}

fn outputs(input: u64, text: &'static str) -> Outputs {
    let body = Bytes::from_static(text.as_bytes());
    let (ledger, decisions) = (vec![body.clone(); 3], vec![(body.clone(), Some(body))]);
    Outputs { input: Offset(input), ledger, decisions, passed: Vec::new() }
}

#[test]
fn offsets_have_no_gap() {
    let mut ground = fresh();
    for round in 0..3_u64 {
        let road = ground.open();
        let journal = road.journal().unwrap();
        let mut books = Books::open(&*road);
        books.settle_in(&*road);
        append(&*road, &journal, events(40));
        let staged = books.stage(40);
        let offsets: Vec<_> = staged[&Lane(0)].iter().map(|record| record.offset.0).collect();
        assert_eq!(offsets, (round * 40..(round + 1) * 40).collect::<Vec<_>>());
        books.commit();
        let entries = read(&mut *from_start(&*road, Topic::Ledger), usize::try_from((round + 1) * 40).unwrap());
        assert!(entries.iter().enumerate().all(|(index, entry)| entry.offset.0 == index as u64));
    }
}

/// A transaction in whose middle `fault` strikes is, after the crash, there whole or not at all, and processing goes on.
fn check_crash(fault: Option<Point>, expect_committed: bool) {
    let dir = fresh();
    let faults = Faults::default();
    let disk = Disk::open(dir.0.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    let journal = disk.journal().unwrap();
    let mut books = Books::open(&*disk);
    books.settle_in(&*disk);
    append(&*disk, &journal, events(30));
    books.stage(30);
    books.commit();
    let before = books.state.clone();
    append(&*disk, &journal, events(30));
    books.stage(30);
    let mut ledger = from_start(&*disk, Topic::Ledger);
    read(&mut *ledger, 30);
    if let Some(point) = fault {
        faults.plant(point, Errno::IO);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| books.commit()));
        assert!(failed.is_err(), "{point:?} did not strike");
        assert!(ledger.poll(Duration::ZERO).unwrap().is_empty(), "{point:?}: seen although nobody was told");
    }
    let mut dir = crashed(dir.0.path());
    let road = dir.open();
    let mut books = Books::open(&*road);
    books.settle_in(&*road);
    assert_eq!(books.state == before, !expect_committed, "{fault:?}");
    if !expect_committed {
        assert_eq!(from_start(&*road, Topic::Ledger).ends().unwrap(), [Offset(30)]);
        books.stage(30);
        books.commit();
    }
    assert_eq!(read(&mut *from_start(&*road, Topic::Ledger), 60).len(), 60);
    let mut view = View::open(&*road);
    view.catch_up();
    assert_eq!(view.state, books.state);
    // The input is at its end: nothing comes twice.
    append(&*road, &road.journal().unwrap(), ["new".to_owned()]);
    assert_eq!(&books.stage(1)[&Lane(0)][0].body[..], b"new");
}

#[test]
fn a_crash_before_a_transaction() {
    check_crash(None, false);
}

#[test]
fn a_crash_as_the_ledger_is_written() {
    check_crash(Some(Point::Write), false);
}

#[test]
fn a_crash_before_the_ledger_is_on_the_platter() {
    check_crash(Some(Point::Sync), false);
}

#[test]
fn a_crash_between_ledger_and_store() {
    check_crash(Some(Point::Commit), false);
}

#[test]
fn a_crash_before_anybody_is_told() {
    check_crash(Some(Point::Committed), true);
}

#[test]
fn a_transaction_that_failed_in_its_middle_is_the_last() {
    let dir = fresh();
    let faults = Faults::default();
    let disk = Disk::open(dir.0.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    let mut member = member(&disk);
    faults.plant(Point::Commit, Errno::IO);
    assert!(member.commit(Lane(0), &outputs(0, "lost")).is_err());
    assert!(matches!(member.commit(Lane(0), &outputs(0, "more")), Err(Error::Broken { .. })));
    drop((member, disk));
    let disk = open(dir.0.path());
    self::member(&disk).commit(Lane(0), &outputs(0, "kept")).unwrap();
    let entries = read(&mut *from_start(&*disk, Topic::Ledger), 3);
    assert!(entries.iter().all(|entry| &entry.body[..] == b"kept"));
}

#[test]
fn a_full_disk_refuses_a_transaction_whole() {
    let dir = fresh();
    let faults = Faults::default();
    let disk = Disk::open(dir.0.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    let mut member = member(&disk);
    let large = || Outputs { ledger: vec![Bytes::from(vec![b'x'; 3000])], ..Outputs::default() };
    member.commit(Lane(0), &large()).unwrap();
    // The segment made in advance, and the one that is then needed at once.
    faults.plant(Point::Create, Errno::NOSPC);
    faults.plant(Point::Create, Errno::NOSPC);
    until("a refusal", || member.commit(Lane(0), &large()).is_err_and(|error| matches!(error, Error::Full { .. })));
    let before = from_start(&*disk, Topic::Ledger).ends().unwrap()[0].0;
    while faults.hit(Point::Create).is_err() {}
    member.commit(Lane(0), &large()).unwrap();
    read(&mut *from_start(&*disk, Topic::Ledger), usize::try_from(before + 1).unwrap());
}

#[test]
fn a_store_without_room_takes_the_same_transaction_later() {
    let dir = fresh();
    let faults = Faults::default();
    let disk = Disk::open(dir.0.path(), &Options { faults: faults.clone(), ..options() }).unwrap();
    let mut member = member(&disk);
    member.commit(Lane(0), &outputs(0, "before")).unwrap();
    let mut ledger = from_start(&*disk, Topic::Ledger);
    read(&mut *ledger, 3);
    for _ in 0..2 {
        faults.plant(Point::Commit, Errno::NOSPC);
        assert!(matches!(member.commit(Lane(0), &outputs(0, "kept")), Err(Error::Full { .. })));
        assert_eq!(ledger.poll(Duration::ZERO).unwrap().len(), 0);
    }
    member.commit(Lane(0), &outputs(0, "kept")).unwrap();
    let entries = read(&mut *ledger, 3);
    assert!(entries.iter().all(|entry| &entry.body[..] == b"kept"));
    assert_eq!(ledger.poll(Duration::ZERO).unwrap().len(), 0);
}

#[test]
fn lost_records_that_were_committed_are_damage() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let journal = disk.journal().unwrap();
    let mut books = Books::open(&*disk);
    books.settle_in(&*disk);
    append(&*disk, &journal, events(3));
    books.stage(3);
    books.commit();
    disk.publish(&[Bytes::from_static(b"policy")]).unwrap();
    for part in ["usage", "ledger", "policy"] {
        let copy = crashed(dir.0.path());
        let file = copy.0.path().join(part).join(format!("{:020}.log", 0));
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last] ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = Disk::open(copy.0.path(), &options()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::JournalCorrupt, "{part}: {error}");
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        let copy = crashed(dir.0.path());
        fs::remove_dir_all(copy.0.path().join(part)).unwrap();
        let error = Disk::open(copy.0.path(), &options()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::JournalCorrupt, "{part}: {error}");
    }
}

#[test]
fn a_store_that_is_lost_or_of_an_earlier_day_is_damage() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let mut member = member(&disk);
    member.commit(Lane(0), &outputs(0, "one")).unwrap();
    let early = crashed(dir.0.path());
    member.commit(Lane(0), &outputs(0, "two")).unwrap();
    let between = crashed(dir.0.path());
    member.commit(Lane(0), &outputs(0, "three")).unwrap();
    let check = |state: Option<&Path>, ok: bool| {
        let copy = crashed(dir.0.path());
        let path = copy.0.path().join("state.redb");
        fs::remove_file(&path).unwrap();
        if let Some(state) = state {
            fs::copy(state.join("state.redb"), path).unwrap();
        }
        match Disk::open(copy.0.path(), &options()) {
            Ok(_) => assert!(ok, "{state:?}"),
            Err(error) => assert!(!ok && error.code() == ErrorCode::JournalCorrupt, "{state:?}: {error}"),
        }
    };
    check(None, false);
    check(Some(early.0.path()), false);
    // One transaction behind is what a crash may leave.
    check(Some(between.0.path()), true);
    check(Some(dir.0.path()), true);
}

#[test]
fn one_process_one_member() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let error = Disk::open(dir.0.path(), &options()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    let member = disk.member().unwrap();
    assert!(matches!(disk.member().err(), Some(Error::Misused(_))));
    drop(member);
    disk.member().unwrap();
    assert!(disk.reader(Topic::Usage, &[]).is_err());
    assert!(disk.reader(Topic::Decisions, &[]).is_err());
    assert!(matches!(disk.reader(Topic::Ledger, &[Offset(1)]).err(), Some(Error::NotKept { end: 0, .. })));
}

#[test]
fn a_transaction_names_input_that_is_there() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let journal = disk.journal().unwrap();
    journal.append(&[Draft { lane: Lane(0), body: b"one" }; 5]).unwrap();
    journal.sync().unwrap();
    let mut member = member(&disk);
    member.commit(Lane(0), &outputs(4, "four")).unwrap();
    for (lane, input) in [(0, 3), (0, 6), (1, 5)] {
        assert!(member.commit(Lane(lane), &outputs(input, "wrong")).is_err(), "{lane} {input}");
    }
    member.commit(Lane(0), &outputs(5, "five")).unwrap();
    read(&mut *from_start(&*disk, Topic::Ledger), 6);
}

#[test]
fn a_follower_that_is_late_gets_the_state_and_what_is_gone() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let mut books = Books::open(&*disk);
    books.settle_in(&*disk);
    let key = |number: usize| Bytes::from(format!("key {number}"));
    let large = |fill: u8| Some(Bytes::from(vec![fill; 1 << 20]));
    books.decide(Lane(0), (0..4).map(|number| (key(number), large(1))).collect());
    let mut view = View::open(&*disk);
    view.catch_up();
    // More than a mailbox holds, and a key goes meanwhile.
    books.decide(Lane(0), vec![(key(0), None)]);
    for round in 2..20 {
        books.decide(Lane(0), vec![(key(1), large(round))]);
    }
    view.reach(&books.state);
    books.decide(Lane(0), vec![(key(9), large(9)), (key(2), None)]);
    view.reach(&books.state);
}

#[test]
fn a_large_state_comes_in_parts() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let mut books = Books::open(&*disk);
    books.settle_in(&*disk);
    let state = Bytes::from(vec![7; 4000]);
    books.decide(Lane(0), (0..1000).map(|number| (Bytes::from(format!("{number:05}")), Some(state.clone()))).collect());
    let mut follower = disk.follower().unwrap();
    let mut parts = Vec::new();
    while !follower.caught_up() {
        parts.push(follower.poll(SOON).unwrap().len());
    }
    assert!(parts.len() > 3 && parts.iter().sum::<usize>() == 1001, "{parts:?}");
    drop(books);
    let Polled::Assigned(_, all) = disk.member().unwrap().poll(SOON).unwrap() else { panic!() };
    assert_eq!(all.len(), 1001);
}

#[test]
fn the_ledger_is_trimmed_by_offset_and_age() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let mut member = member(&disk);
    for _ in 0..50 {
        let ledger = vec![Bytes::from(vec![b'x'; 500])];
        member.commit(Lane(0), &Outputs { ledger, ..Outputs::default() }).unwrap();
    }
    let bytes = disk.ledger_bytes();
    disk.trim(&[Offset(50)], Time::ZERO).unwrap();
    assert_eq!(disk.ledger_bytes(), bytes);
    disk.trim(&[Offset(20)], Time::MAX).unwrap();
    assert!(disk.ledger_bytes() < bytes);
    let Some(Error::NotKept { first, end: 50, .. }) = disk.reader(Topic::Ledger, &[Offset(0)]).err() else { panic!() };
    assert!((1..=20).contains(&first));
    drop((member, disk));
    let disk = open(dir.0.path());
    let mut reader = disk.reader(Topic::Ledger, &[Offset(first)]).unwrap();
    read(&mut *reader, usize::try_from(50 - first).unwrap());
}

#[test]
fn what_is_old_goes_also_where_little_is_written() {
    let dir = fresh();
    let disk = open(dir.0.path());
    let mut member = member(&disk);
    let mut commit = |disk: &Disk, text| {
        member.commit(Lane(0), &outputs(0, text)).unwrap();
        disk.shared.ledger.end()
    };
    assert_eq!(commit(&disk, "old"), 3);
    disk.trim(&[Offset(2)], Time::MAX).unwrap();
    assert_eq!(disk.kept().unwrap(), [Offset(0)], "one of them may not go, and a segment goes whole");
    disk.trim(&[Offset(3)], Time::ZERO).unwrap();
    assert_eq!(disk.kept().unwrap(), [Offset(0)], "it is not old");
    disk.trim(&[Offset(3)], Time::MAX).unwrap();
    disk.trim(&[Offset(3)], Time::MAX).unwrap();
    assert_eq!(disk.kept().unwrap(), [Offset(3)]);
    let ledger = |dir: &Path| files::segments(&dir.join("ledger")).unwrap().len();
    assert_eq!(ledger(dir.0.path()), 1, "what is empty is not ended again");
    // A crash now: the empty segment is where the log goes on.
    let copy = crashed(dir.0.path());
    let again = open(copy.0.path());
    assert_eq!((again.kept().unwrap(), again.shared.ledger.end()), (vec![Offset(3)], 3));
    assert_eq!(commit(&disk, "new"), 6);
    let mut reader = disk.reader(Topic::Ledger, &[Offset(3)]).unwrap();
    assert_eq!(read(&mut *reader, 3).len(), 3);
}
